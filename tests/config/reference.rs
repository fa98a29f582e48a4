//! `docs/configuration.md` is made of the JSON Schema, and what both say about defaults, and about which
//! key belongs to which type of sink or account, is what the program does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use central_forwarder::config::{self, Config, ConfigErrors, Diagnostic};
use rdkafka::ClientConfig;
use serde_json::{Map, Value};
use tempfile::TempDir;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");

const HEAD: &str = "\
# Configuration

Every key, its type, its default, and what it is for. This page is made from the program's JSON Schema
(`central-forwarder config schema`, which editors take as well): `UPDATE_DOCS=1 cargo test --test config the_page_is`.
[`config/central-forwarder.toml`](../config/central-forwarder.toml) has the same keys as a file to begin with,
[`config/examples`](../config/examples) what is common.

`central-forwarder check -c FILE` names every mistake with its place. Of several `-c` a later one wins, key by key,
and a folder stands for its `*.toml`; all routes stand together. Environment variables override any key, with `__`
between the levels: `CENTRAL_FORWARDER__SINKS__LAKE__TYPE`.

| type | is written |
|---|---|
| duration | a whole number and `ms`, `s`, `m`, `h` or `d`: `\"30s\"` |
| size | a whole number and `KiB`, `MiB`, `GiB`, `TiB` (of 1024) or `kB`, `MB`, `GB`, `TB` (of 1000): `\"64 MiB\"`; alone, bytes |
| secret | a string, `{ file = \"PATH\" }` or `{ env = \"NAME\" }`. Files are read anew at a reload |
| list of strings | `[\"a\", \"b\"]`; one alone may stand without brackets |
| template | text with `{account}`, `{topic}`, `{subject}`, `{customer_id}`, `{msp_id}`, `{type}`, `{element}`, `{id}` or `{data.PATH}` in it |
| literal | a string, a number, `true` or `false` |
| table | `{ key = value }`, or a `[heading]` of its own |
";

/// A config in which each table of the schema stands, with what it cannot be without.
const BASE: &str = r#"
    log = {}
    journal = {}
    admin = {}
    schemas = {}
    [accounts.classic]
    generation = "classic"
    endpoint = "wss://central.example/streaming/api"
    key = "k"
    topics = ["audit"]
    tls = {}
    [accounts.new]
    generation = "new"
    endpoint = "wss://central.example"
    client_id = "i"
    client_secret = "s"
    tenant = "t"
    topics = [{ event = "ap-events" }]
    tls = {}
    [sinks.kafka]
    type = "kafka"
    brokers = ["kafka:9092"]
    sasl = { mechanism = "PLAIN", username = "u", password = "p" }
    create = {}
    tls = {}
    schema_registry = { url = "http://registry" }
    [sinks.amqp]
    type = "amqp"
    url = "amqp://rabbit"
    exchange = { name = "e" }
    queue = { name = "q" }
    tls = {}
    [sinks.mqtt]
    type = "mqtt"
    url = "mqtts://mosquitto"
    tls = {}
    [sinks.file]
    type = "file"
    path = "/tmp/events"
    rotate = {}
    [sinks.stdout]
    type = "stdout"
    [[routes]]
    topics = "*"
    sink = "amqp"
    destination = "a"
    where = [{ path = "data.status", exists = true }]
"#;

/// What is librdkafka's own default, which we do not repeat: our key, its property, and its unit.
const LIBRDKAFKA: [(&str, &str, &str); 2] = [
    ("compression", "compression.codec", ""),
    ("linger", "linger.ms", "ms"),
];

const ANY: &str = "*";
const EACH: &str = "[]";

/// A table of the config, by its place in it.
struct Table {
    /// Of keys; [`ANY`] is one of the operator's, [`EACH`] an element of a list.
    path: Vec<String>,
    description: String,
    keys: Vec<Key>,
}

/// A key that a table may have.
struct Key {
    name: String,
    schema: Value,
    /// The types of sinks, or the generation of accounts, that have it; empty: all have it.
    owners: BTreeSet<String>,
    meaning: String,
}

impl Table {
    /// As TOML has it, with NAME for the keys that are the operator's.
    fn heading(&self) -> String {
        let steps = self.path.iter().filter(|step| *step != EACH);
        let steps = steps.map(|step| if step == ANY { "NAME" } else { step });
        let path = steps.collect::<Vec<_>>().join(".");
        if self.path.last().is_some_and(|step| step == EACH) {
            format!("[[{path}]]")
        } else {
            format!("[{path}]")
        }
    }

    /// All who have a key of this name.
    fn owners(&self, name: &str) -> BTreeSet<&str> {
        let keys = self.keys.iter().filter(|key| key.name == name);
        keys.flat_map(|key| &key.owners)
            .map(String::as_str)
            .collect()
    }
}

impl Key {
    /// A key whose description may begin with its owners: `classic: The key.`
    fn new(name: &str, schema: &Value) -> Self {
        let (owners, meaning) = parts(schema);
        Self {
            name: name.to_owned(),
            schema: schema.clone(),
            owners: owners.into_iter().map(str::to_owned).collect(),
            meaning: meaning.to_owned(),
        }
    }
}

/// The keys of a table whose `type` decides which there are: those of all types once.
fn keys_by_type(variants: &[&Value]) -> Vec<Key> {
    let names: Vec<&Value> = variants.iter().map(|it| type_of(it)).collect();
    let mut keys: Vec<Key> = Vec::new();
    for variant in variants {
        for (name, property) in variant["properties"].as_object().unwrap() {
            let has_it = |variant: &&&Value| variant["properties"].get(name).is_some();
            let mut key = Key::new(name, property);
            if variants.iter().filter(has_it).count() < variants.len() {
                key.owners
                    .insert(type_of(variant).as_str().unwrap().to_owned());
            } else if keys.iter().any(|other| other.name == *name) {
                continue;
            } else if name == "type" {
                key.schema = serde_json::json!({ "enum": names });
            }
            keys.push(key);
        }
    }
    keys.sort_by(|one, other| one.name.cmp(&other.name));
    keys
}

fn type_of(variant: &Value) -> &Value {
    &variant["properties"]["type"]["const"]
}

/// The tables of a schema, outer ones first.
fn tables(schema: &Value, root: &Value, path: &[String], found: &mut Vec<Table>) {
    let schema = resolved(schema, root);
    let below = |step: &str| [path, &[step.to_owned()]].concat();
    let choices = schema["anyOf"].as_array().into_iter().flatten();
    let choices: Vec<&Value> = choices.map(|choice| resolved(choice, root)).collect();
    let depends_on_type = choices.iter().any(|choice| type_of(choice).is_string());
    if !depends_on_type {
        for choice in &choices {
            tables(choice, root, path, found);
        }
    }
    for (keyword, step) in [("additionalProperties", ANY), ("items", EACH)] {
        if schema[keyword].is_object() {
            tables(&schema[keyword], root, &below(step), found);
        }
    }
    // Those without a description are forms of a value.
    let Some(description) = schema["description"].as_str() else {
        return;
    };
    let keys = if depends_on_type {
        keys_by_type(&choices)
    } else {
        let properties = schema["properties"].as_object().into_iter().flatten();
        properties
            .map(|(name, property)| Key::new(name, property))
            .collect()
    };
    let is_known = found.iter().any(|table| table.path == path);
    if keys.is_empty() || is_known {
        return;
    }
    let inner: Vec<(String, Value)> = keys
        .iter()
        .map(|key| (key.name.clone(), key.schema.clone()))
        .collect();
    found.push(Table {
        path: path.to_vec(),
        description: description.to_owned(),
        keys,
    });
    for (name, property) in inner {
        tables(&property, root, &below(&name), found);
    }
}

fn all_tables() -> Vec<Table> {
    let schema = config::json_schema();
    let mut found = Vec::new();
    tables(&schema, &schema, &[], &mut found);
    found
}

fn resolved<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    schema["$ref"].as_str().map_or(schema, |reference| {
        let pointer = reference.trim_start_matches('#');
        root.pointer(pointer).expect("it is there")
    })
}

fn kind(schema: &Value, root: &Value) -> String {
    let schema = resolved(schema, root);
    if let Some(title) = schema["title"].as_str() {
        return title.to_owned();
    }
    if let Some(values) = values(schema) {
        let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
        return values.join(", ");
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}s", kind(&schema["items"], root)),
        Some("object")
            if resolved(&schema["additionalProperties"], root)["properties"].is_object() =>
        {
            "tables".to_owned()
        }
        Some("object") => "table".to_owned(),
        Some(name) => name.to_owned(),
        None => panic!("of no type: {schema}"),
    }
}

/// All that a value can be, where these are few.
fn values(schema: &Value) -> Option<Vec<Value>> {
    if let Some(values) = schema["enum"].as_array() {
        return Some(values.clone());
    }
    let choices = schema["oneOf"].as_array()?.iter();
    Some(
        choices
            .flat_map(|choice| match choice.get("const") {
                Some(value) => vec![value.clone()],
                None => values(choice).unwrap(),
            })
            .collect(),
    )
}

/// For whom a key is, and what it is for: `amqp, mqtt: The broker.`
fn parts(property: &Value) -> (BTreeSet<&str>, &str) {
    let text = property["description"]
        .as_str()
        .expect("every key is described");
    let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    match text.split_once(": ") {
        Some((owners, rest)) if owners.split(", ").all(is_word) => {
            (owners.split(", ").collect(), rest)
        }
        _ => (BTreeSet::new(), text),
    }
}

fn document() -> String {
    let root = config::json_schema();
    let mut page = HEAD.to_owned();
    for table in all_tables() {
        let heading = if table.path.is_empty() {
            "At the top".to_owned()
        } else {
            format!("`{}`", table.heading())
        };
        write!(page, "\n## {heading}\n\n{}\n", table.description).unwrap();
        for (owner, rows) in rows(&table, &root) {
            if !owner.is_empty() {
                write!(page, "\nOnly for `{owner}`:\n").unwrap();
            }
            page.push_str("\n| key | type | default | |\n|---|---|---|---|\n");
            page.extend(rows);
        }
    }
    page
}

/// The rows of a table by whom their keys are for, those for all first.
fn rows<'a>(table: &'a Table, root: &Value) -> BTreeMap<&'a str, Vec<String>> {
    let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for key in &table.keys {
        let default = key.schema.get("default");
        let default = default.map_or_else(String::new, |default| format!("`{default}`"));
        let (name, meaning) = (&key.name, &key.meaning);
        let kind = kind(&key.schema, root);
        let row = format!("| `{name}` | {kind} | {default} | {meaning} |\n");
        if key.owners.is_empty() {
            rows.entry("").or_default().push(row.clone());
        }
        for owner in &key.owners {
            rows.entry(owner).or_default().push(row.clone());
        }
    }
    rows
}

#[test]
fn the_page_is_what_the_schema_says() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PAGE, document()).unwrap();
    }
    let written = fs::read_to_string(PAGE).unwrap();
    let advice = "run: UPDATE_DOCS=1 cargo test --test config the_page_is";
    assert_eq!(written, document(), "{advice}");
}

fn load(config: &toml::Table) -> Result<Config, ConfigErrors> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, config.to_string()).unwrap();
    let loaded = config::load(&[file], std::iter::empty(), |_, _| Ok(()))?;
    Ok(loaded.config)
}

/// The base with one key more, if it does not have it, once for each table in which it can stand.
fn with(table: &Table, key: &str, value: &Value) -> Vec<(Vec<String>, toml::Table)> {
    let base: toml::Value = toml::Value::Table(BASE.parse().unwrap());
    let mut places = vec![Vec::new()];
    for step in &table.path {
        places = places
            .iter()
            .flat_map(|place: &Vec<String>| {
                let steps = steps(at(&mut base.clone(), place), step);
                steps.into_iter().map(|step| [&place[..], &[step]].concat())
            })
            .collect();
    }
    let configs = places.into_iter().filter_map(|place| {
        let mut config = base.clone();
        let entries = at(&mut config, &place).as_table_mut()?;
        let value = toml::Value::try_from(value).unwrap();
        entries.entry(key).or_insert(value);
        Some((place, config.as_table()?.clone()))
    });
    configs.collect()
}

/// Where a step of a table's path leads to.
fn steps(value: &toml::Value, step: &str) -> Vec<String> {
    match value {
        toml::Value::Table(entries) => {
            let keys = entries.keys().filter(|key| step == ANY || *key == step);
            keys.cloned().collect()
        }
        toml::Value::Array(items) if step == EACH => {
            (0..items.len()).map(|index| index.to_string()).collect()
        }
        _ => Vec::new(),
    }
}

fn at<'a>(value: &'a mut toml::Value, place: &[String]) -> &'a mut toml::Value {
    place.iter().fold(value, |value, step| match value {
        toml::Value::Table(entries) => &mut entries[step.as_str()],
        toml::Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
        _ => panic!("{step} of a value without parts"),
    })
}

/// Whether a remark says that a key is not for this type of sink or generation of account.
fn is_out_of_place(remark: &Diagnostic, key: &str) -> bool {
    let is_about = remark.key.rsplit('.').next() == Some(key);
    is_about
        && (remark.text.contains("is for sinks of type")
            || remark.text.contains("is for accounts of generation"))
}

#[test]
fn a_default_is_what_happens_when_the_key_is_left_out() {
    let base = load(&BASE.parse().unwrap()).unwrap();
    let mut seen = 0;
    for table in all_tables() {
        for key in &table.keys {
            let Some(default) = key.schema.get("default") else {
                continue;
            };
            let key = &key.name;
            if let Some((_, property, unit)) = LIBRDKAFKA.iter().find(|(it, ..)| it == key) {
                let librdkafka = ClientConfig::new().create_native_config().unwrap();
                let value = librdkafka.get(property).unwrap();
                assert_eq!(*default, format!("{value}{unit}"));
                continue;
            }
            let mut is_taken = false;
            for (place, config) in with(&table, key, default) {
                match load(&config) {
                    Ok(config) => {
                        assert_eq!(config, base, "{place:?}: {key} = {default}");
                        is_taken = true;
                    }
                    Err(mistakes) => {
                        let expected = mistakes
                            .diagnostics()
                            .iter()
                            .all(|it| is_out_of_place(it, key));
                        assert!(expected, "{place:?}: {key} = {default}: {mistakes}");
                    }
                }
            }
            assert!(
                is_taken,
                "{}: {key} stands nowhere in the base",
                table.heading()
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn a_key_is_for_whom_it_says() {
    let root = config::json_schema();
    let mut seen = 0;
    for table in all_tables() {
        let ["sinks" | "accounts", ANY] =
            &table.path.iter().map(String::as_str).collect::<Vec<_>>()[..]
        else {
            continue;
        };
        for key in &table.keys {
            let owners = table.owners(&key.name);
            let value = key.schema.get("default").cloned();
            let value = value.unwrap_or_else(|| sample(&key.schema, &root));
            let key = &key.name;
            for (place, config) in with(&table, key, &value) {
                let name = place[1].as_str();
                let mistakes = load(&config).err();
                let mistakes = mistakes.iter().flat_map(ConfigErrors::diagnostics);
                let refused = mistakes.into_iter().any(|it| is_out_of_place(it, key));
                let wanted = owners.is_empty() || owners.contains(name);
                assert_eq!(refused, !wanted, "{key} of {name}: {owners:?}");
                seen += usize::from(refused);
            }
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn the_file_to_begin_with_shows_the_defaults() {
    let file = include_str!("../../config/central-forwarder.toml");
    for table in all_tables() {
        for key in &table.keys {
            if let Some(default) = key.schema.get("default") {
                let shown = format!("{} = {default}", key.name);
                assert!(file.contains(&shown), "{}: {shown}", table.heading());
            }
        }
    }
}

/// A value of the right form.
fn sample(property: &Value, root: &Value) -> Value {
    match kind(property, root).as_str() {
        "duration" => "1m".into(),
        "size" => "1 GiB".into(),
        "URL" => "wss://central.example".into(),
        "URL or table" => "https://registry".into(),
        "string" | "secret" | "template" | "list of strings" | "list of topics" => "x".into(),
        "integer" => 1.into(),
        "table" => Value::Object(Map::new()),
        _ => values(resolved(property, root)).map_or(Value::Null, |values| values[0].clone()),
    }
}
