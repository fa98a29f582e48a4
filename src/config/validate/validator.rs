//! What all checks need: where to report, the environment, and the values that several of them read.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use crate::config::OptionCheck;
use crate::config::diagnostics::report::Report;
use crate::config::raw::SecretSource;
use crate::config::secret::Secret;
use crate::config::source::key_path::join;

/// Names become file names.
const MAX_NAME_BYTES: usize = 64;

/// Checks tables, and notes what later checks need to know of them.
#[derive(Debug)]
pub(crate) struct Validator<'a> {
    pub(crate) report: &'a mut Report,
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) kafka_option: OptionCheck,
    /// The types that topics name: SERVICE/VERSION/EVENT to the full name of a message, and the key
    /// path where it stands first.
    pub(crate) messages: BTreeMap<String, (String, String)>,
    /// The events that topics name with their service and version.
    pub(crate) events: BTreeSet<String>,
}

impl Validator<'_> {
    pub(crate) fn secret(&mut self, path: &str, source: SecretSource) -> Option<Secret> {
        let secret = match source {
            SecretSource::Literal(secret) => return Some(secret),
            SecretSource::File(file) => Secret::from_file(file),
            SecretSource::Env(name) => {
                Secret::from_env(&name, self.env.get(&name).map(String::as_str))
            }
        };
        secret
            .map_err(|why| self.report.error(path, format!("{why} ({})", why.advice())))
            .ok()
    }

    pub(crate) fn required_secret(
        &mut self,
        path: &str,
        key: &str,
        source: Option<SecretSource>,
    ) -> Option<Secret> {
        let advice = format!("write {key} = {{ file = \"PATH\" }}");
        let source = self.report.require(path, key, source, &advice)?;
        self.secret(&join(path, key), source)
    }

    /// A whole number from `least` to `most`.
    pub(crate) fn number(
        &mut self,
        path: &str,
        key: &str,
        raw: Option<i64>,
        least: i64,
        most: i64,
    ) -> Option<i64> {
        let number = raw?;
        if (least..=most).contains(&number) {
            return Some(number);
        }
        let text = format!("is out of range (write {least} to {most})");
        self.report.error(&join(path, key), text);
        None
    }

    /// The message never shows the URL: it may hold a password.
    pub(crate) fn http_url(&mut self, path: &str, text: &str) -> Option<Url> {
        let advice = "(write https://HOST/PATH)";
        let why = match Url::parse(text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                format!("is a URL of scheme `{}` {advice}", url.scheme())
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                "holds a user or password (write them as keys of their own)".to_owned()
            }
            Ok(url) => return Some(url),
            Err(error) => format!("is not a URL: {error} {advice}"),
        };
        self.report.error(path, why);
        None
    }

    /// The operator's name for a table.
    pub(crate) fn name(&mut self, path: &str, name: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(plain) {
            let text =
                format!("not a name (use letters, digits, - and _, {MAX_NAME_BYTES} at most)");
            self.report.error(path, text);
        }
    }
}

/// Adds an entry, as long as none failed.
pub(crate) fn collect<T>(all: &mut Option<BTreeMap<String, T>>, name: String, entry: Option<T>) {
    match entry {
        Some(entry) => {
            if let Some(all) = all {
                all.insert(name, entry);
            }
        }
        None => *all = None,
    }
}
