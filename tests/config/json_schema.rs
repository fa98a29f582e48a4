//! The JSON Schema of the config takes what the config takes, and refuses what editors should
//! underline.

use std::fs;
use std::path::{Path, PathBuf};

use central_forwarder::config;
use serde_json::Value;

/// Whether a value fits a schema, by the keywords that our schema uses; an unknown one is an error
/// of this test.
fn fits(value: &Value, schema: &Value, root: &Value) -> bool {
    let Value::Object(keywords) = schema else {
        return schema == &Value::Bool(true);
    };
    keywords
        .iter()
        .all(|(keyword, rule)| match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "format" => true,
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                fits(value, root.pointer(pointer).expect("it is there"), root)
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|name| is_of(value, name)),
                name => is_of(value, name),
            },
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "minimum" => value
                .as_f64()
                .is_none_or(|number| number >= rule.as_f64().unwrap()),
            "pattern" => {
                assert_eq!(rule, "^wss?://");
                let text = value.as_str().unwrap_or_default();
                text.starts_with("ws://") || text.starts_with("wss://")
            }
            "anyOf" | "oneOf" => {
                let choices = rule.as_array().unwrap();
                choices.iter().any(|choice| fits(value, choice, root))
            }
            "items" => {
                let items = value.as_array().into_iter().flatten();
                items.into_iter().all(|item| fits(item, rule, root))
            }
            "required" => {
                let mut names = rule.as_array().unwrap().iter();
                !value.is_object() || names.all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "properties" => {
                let entries = value.as_object().into_iter().flatten();
                entries
                    .into_iter()
                    .all(|(key, value)| rule.get(key).is_none_or(|rule| fits(value, rule, root)))
            }
            "additionalProperties" => {
                let known = &schema["properties"];
                let entries = value.as_object().into_iter().flatten();
                let mut others = entries.filter(|(key, _)| known.get(key).is_none());
                others.all(|(_, value)| fits(value, rule, root))
            }
            other => panic!("this test does not know the keyword {other}"),
        })
}

fn is_of(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("{other} does not exist in TOML"),
    }
}

fn read(text: &str) -> Value {
    toml::from_str(text).unwrap()
}

fn files_in(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_in(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            found.push(path);
        }
    }
}

#[test]
fn every_shipped_config_fits() {
    let schema = config::json_schema();
    let mut files = Vec::new();
    files_in(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("config"),
        &mut files,
    );
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        let config = read(&fs::read_to_string(&file).unwrap());
        assert!(fits(&config, &schema, &schema), "{}", file.display());
    }
}

#[test]
fn every_form_of_a_value_fits_and_what_is_wrong_does_not() {
    let schema = config::json_schema();
    let account = |entry: &str| format!("[accounts.acme]\n{entry}");
    let sink = |entry: &str| format!("[sinks.lake]\n{entry}");
    for good in [
        account("topics = \"monitoring\""),
        account("topics = [\"audit\", { service = \"s\", version = \"v1\", event = \"e\" }]"),
        account("key = { file = \"/run/key\" }"),
        account("endpoint = \"wss://a.example/streaming/api\""),
        sink("max_backlog = 1000000"),
        sink("max_backlog = \"1 GiB\"\non_full = \"block\""),
        sink("options = { \"linger.ms\" = 5, \"acks\" = \"all\" }"),
        sink("version = 5\nqos = 1"),
        "[[routes]]\nwhere = [{ path = \"data.status\", one_of = [\"DOWN\", 3, true] }]".to_owned(),
    ] {
        assert!(fits(&read(&good), &schema, &schema), "{good}");
    }
    for bad in [
        "state_dri = \"/var/lib\"".to_owned(),
        account("topics = [1]"),
        account("key = { fiel = \"/run/key\" }"),
        account("endpoint = \"https://a.example\""),
        account("generation = \"old\""),
        sink("type = \"kafak\""),
        sink("qos = 3"),
        sink("exchange = { knid = \"topic\" }"),
        "[[routes]]\nformat = \"xml\"".to_owned(),
    ] {
        assert!(!fits(&read(&bad), &schema, &schema), "{bad}");
    }
}

#[test]
fn nothing_in_it_is_null() {
    let text = config::json_schema().to_string();
    assert!(!text.contains("null"), "{text}");
    assert_eq!(
        config::json_schema()["properties"]["state_dir"]["type"],
        "string"
    );
}
