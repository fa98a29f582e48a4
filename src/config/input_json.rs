//! The `input.json` of HPE's sample client: `{"customers": {NAME: {"username", "wsskey", "topic"}}}`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::config::secret::{Secret, fits_a_header};

/// Thousands of customers, and no endless device.
const MAX_BYTES: u64 = 16 << 20;

/// What the file has of one customer.
#[derive(Clone, Debug)]
pub struct Customer {
    pub name: String,
    pub key: Secret,
    pub username: Option<String>,
    pub topic: Option<String>,
}

/// Why there is no customer. The messages show no key.
#[derive(Debug, thiserror::Error)]
pub enum InvalidInputJson {
    #[error("cannot read the file {}: {source} (correct the path or the permissions)", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the file {}, line {line}, is not an input.json of HPE's sample client (it has {{\"customers\": {{NAME: {{\"wsskey\": ...}}}}}})", path.display())]
    Form { path: PathBuf, line: usize },
    #[error("the file {} has no customer {wanted} (write customer = \"NAME\"; it has {known})", path.display())]
    NoCustomer {
        path: PathBuf,
        wanted: String,
        known: String,
    },
    #[error("the wsskey of {customer} in the file {} is empty or holds characters that no HTTP header can carry (copy it anew)", path.display())]
    Key { path: PathBuf, customer: String },
}

#[derive(serde::Deserialize)]
struct Input {
    customers: BTreeMap<String, Entry>,
}

#[derive(serde::Deserialize)]
struct Entry {
    wsskey: String,
    username: Option<String>,
    topic: Option<String>,
}

impl Customer {
    /// All customers of a file, in the order of their names.
    ///
    /// # Errors
    /// See [`InvalidInputJson`].
    pub fn all(path: &Path) -> Result<Vec<Self>, InvalidInputJson> {
        let text = read(path).map_err(|source| InvalidInputJson::Read {
            path: path.to_owned(),
            source,
        })?;
        // What serde says may show a value.
        let input: Input = serde_json::from_str(&text).map_err(|error| InvalidInputJson::Form {
            path: path.to_owned(),
            line: error.line(),
        })?;
        let customers = input.customers.into_iter();
        customers
            .map(|(name, entry)| {
                if !fits_a_header(&entry.wsskey) {
                    return Err(InvalidInputJson::Key {
                        path: path.to_owned(),
                        customer: name,
                    });
                }
                Ok(Self {
                    key: Secret::of_customer(entry.wsskey, path, &name),
                    username: entry.username.filter(|name| fits_a_header(name)),
                    topic: entry.topic,
                    name,
                })
            })
            .collect()
    }

    /// The customer that is wanted, or else the only one, or else the one with the account's name.
    pub(crate) fn read(
        path: &Path,
        wanted: Option<&str>,
        account: &str,
    ) -> Result<Self, InvalidInputJson> {
        let mut customers = Self::all(path)?;
        if wanted.is_none() && customers.len() == 1 {
            return Ok(customers.remove(0));
        }
        let wanted = wanted.unwrap_or(account);
        let known: Vec<String> = customers.iter().map(|one| one.name.clone()).collect();
        let found = customers.into_iter().find(|one| one.name == wanted);
        found.ok_or_else(|| InvalidInputJson::NoCustomer {
            path: path.to_owned(),
            wanted: wanted.to_owned(),
            known: known.join(", "),
        })
    }
}

/// The file with another key in place of a customer's, and all else as it was.
///
/// # Errors
/// It is not such a file, or has no such customer.
pub fn with_key(text: &str, customer: &str, key: &str) -> Result<String, serde_json::Error> {
    let mut input: serde_json::Value = serde_json::from_str(text)?;
    let place = &mut input["customers"][customer]["wsskey"];
    if let Some(old) = place.as_str() {
        // Keys are base64 and dots: they stand in JSON as they are. So the file keeps its form, and
        // customers with the same key get the new one too.
        let replaced = text.replace(&quoted(old), &quoted(key));
        let read: serde_json::Value = serde_json::from_str(&replaced)?;
        if read["customers"][customer]["wsskey"] == key {
            return Ok(replaced);
        }
    }
    *place = key.into();
    serde_json::to_string_pretty(&input)
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: &str = r#"{
  "customers": {
    "B": {"username": "b@x", "wsskey": "k.b", "topic": "audit", "mine": [1,2]},
    "A": {"wsskey": "k.a"}
  },   "other": 1.50
}"#;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input.json");
        std::fs::write(&path, INPUT).unwrap();
        (folder, path)
    }

    #[test]
    fn a_customer_is_found_by_its_name_or_the_accounts() {
        let (_folder, path) = file();
        let found = Customer::read(&path, None, "B").unwrap();
        assert_eq!(found.key.expose(), "k.b");
        assert_eq!(found.username.as_deref(), Some("b@x"));
        assert_eq!(found.topic.as_deref(), Some("audit"));
        let found = Customer::read(&path, Some("A"), "B").unwrap();
        assert_eq!((found.key.expose(), found.topic), ("k.a", None));
        let error = Customer::read(&path, None, "C").unwrap_err().to_string();
        assert!(
            error.contains("no customer C") && error.contains("A, B"),
            "{error}"
        );
    }

    #[test]
    fn a_new_key_changes_nothing_else() {
        let changed = with_key(INPUT, "B", "new.key").unwrap();
        assert_eq!(changed, INPUT.replace("k.b", "new.key"));
        let escaped = INPUT.replace("k.b", "k\\u002eb");
        let changed = with_key(&escaped, "B", "new.key").unwrap();
        let read: serde_json::Value = serde_json::from_str(&changed).unwrap();
        assert_eq!(read["customers"]["B"]["wsskey"], "new.key");
        assert_eq!(read["customers"]["B"]["mine"][1], 2);
    }

    #[test]
    fn what_is_no_such_file_is_named_and_no_key_is_shown() {
        let (_folder, path) = file();
        std::fs::write(&path, r#"{"customers": {"A": {"wsskey": ["hunter2"]}}}"#).unwrap();
        let error = Customer::all(&path).unwrap_err().to_string();
        assert!(
            error.contains("line 1") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
