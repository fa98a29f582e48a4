//! `import`: a config from the `input.json` of HPE's sample client.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{self, PathBuf};

use super::Failure;
use crate::config::input_json::Customer;
use crate::streams::CLASSIC_TOPICS;

/// Print a config for the customers in the input.json of HPE's sample client
///
/// The keys stay in that file: they are read from it, and renewed keys are written back into it, as
/// that client does.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// `{"customers": {NAME: {"username", "wsskey", "topic"}}}`
    #[arg(value_name = "INPUT.json")]
    input: PathBuf,
    /// Central's host, as in the sample client's `--hostname`
    #[arg(long, value_name = "HOST", value_parser = host)]
    hostname: String,
}

/// # Errors
/// The file has another format, or the output cannot be written.
pub fn run(args: &Args) -> Result<(), Failure> {
    let customers = Customer::all(&args.input).map_err(Failure::usage)?;
    if customers.is_empty() {
        let text = format!("the file {} has no customers", args.input.display());
        return Err(Failure::usage(text));
    }
    let input = path::absolute(&args.input).map_err(Failure::at_run_time)?;
    let text = config(&customers, &input.display().to_string(), &args.hostname);
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::at_run_time)
}

fn config(customers: &[Customer], input: &str, host: &str) -> String {
    let mut text = "\
# Where frames are kept until every sink has them. Without it they are in memory only.
# state_dir = \"/var/lib/central-forwarder\"
"
    .to_owned();
    let mut names = BTreeSet::new();
    for customer in customers {
        let name = unique(&customer.name, &mut names);
        let topic = customer
            .topic
            .as_deref()
            .filter(|topic| CLASSIC_TOPICS.contains(topic));
        let topics = match topic {
            Some(topic) => format!("topics = [{}]", quoted(topic)),
            None => format!("topics = []  # of {}", CLASSIC_TOPICS.join(", ")),
        };
        let _ = write!(
            text,
            "
[accounts.{name}]
generation = \"classic\"
endpoint = {endpoint}
input_json = {input}
customer = {customer}
{topics}
",
            endpoint = quoted(&format!("wss://{host}/streaming/api")),
            input = quoted(input),
            customer = quoted(&customer.name),
        );
    }
    text.push_str(
        "
# Prints records, as `--decode_data` did. Other types: kafka, amqp, mqtt, file.
[sinks.screen]
type = \"stdout\"

[[routes]]
topics = \"*\"
sink = \"screen\"
",
    );
    text
}

/// A customer's name as the name of an account.
fn unique(customer: &str, taken: &mut BTreeSet<String>) -> String {
    const LONGEST: usize = 56;
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    let mut base: String = customer.chars().map(plain).take(LONGEST).collect();
    if base.is_empty() {
        base.push('_');
    }
    let mut name = base.clone();
    for number in 2.. {
        if taken.insert(name.clone()) {
            break;
        }
        name = format!("{base}-{number}");
    }
    name
}

/// A TOML string.
fn quoted(text: &str) -> toml::Value {
    toml::Value::String(text.to_owned())
}

/// A host, with a port or without.
fn host(text: &str) -> Result<String, String> {
    let url = url::Url::parse(&format!("wss://{text}/"));
    match url {
        Ok(url) if url.path() == "/" && url.username().is_empty() && url.query().is_none() => {
            Ok(text.to_owned())
        }
        _ => Err("write the host alone, such as app-uswest4.central.arubanetworks.com".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_become_accounts_with_names_of_their_own() {
        let mut taken = BTreeSet::new();
        assert_eq!(unique("acme", &mut taken), "acme");
        assert_eq!(unique("Globex Ltd.", &mut taken), "Globex_Ltd_");
        assert_eq!(unique("Globex Ltd!", &mut taken), "Globex_Ltd_-2");
        assert_eq!(unique("", &mut taken), "_");
        assert_eq!(unique(&"x".repeat(99), &mut taken).len(), 56);
    }

    #[test]
    fn a_hostname_is_a_host() {
        assert!(host("app.central.example:8443").is_ok());
        for odd in ["", "wss://app", "app/streaming", "u@app", "a b"] {
            assert!(host(odd).is_err(), "{odd}");
        }
    }
}
