//! What to put into a config for a simulator.

use std::fmt::Write as _;

use crate::simulator::{Options, Simulator};

/// An account of each generation.
pub(super) fn example(simulator: &Simulator, options: &Options) -> String {
    let mut accounts = Vec::new();
    if !options.topics.is_empty() {
        accounts.push(classic(simulator, options));
    }
    if !options.events.is_empty() {
        accounts.push(new_central(simulator, options));
    }
    accounts.join("\n")
}

fn classic(simulator: &Simulator, options: &Options) -> String {
    let mut text = format!(
        "[accounts.simulated-classic]\ngeneration = \"classic\"\nendpoint = {}\nkey = {}\ntopics = {}\n",
        quoted(&simulator.endpoint()),
        quoted(simulator.key().expose()),
        list(options.topics.iter().map(|topic| quoted(topic))),
    );
    text.push_str(tls(options));
    text
}

fn new_central(simulator: &Simulator, options: &Options) -> String {
    let mut text = format!(
        "[accounts.simulated-new]\ngeneration = \"new\"\nendpoint = {}\ntoken_url = {}\nclient_id = {}\nclient_secret = {}\ntopics = {}\n",
        quoted(&simulator.new_endpoint()),
        quoted(&simulator.token_url()),
        quoted(options.client_id.expose()),
        quoted(options.client_secret.expose()),
        list(options.events.iter().map(|path| quoted(event(path)))),
    );
    text.push_str(tls(options));
    text
}

/// The certificate is self-signed.
fn tls(options: &Options) -> &'static str {
    if options.tls {
        "tls = { verify = false } # or { ca_file = \"...\" }, with --tls-cert-out\n"
    } else {
        ""
    }
}

/// All paths that are simulated are known by their last part.
fn event(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn list(items: impl Iterator<Item = String>) -> String {
    let mut text = String::from("[");
    for (index, item) in items.enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(text, "{comma}{item}").expect("writing to a string never fails");
    }
    text + "]"
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
