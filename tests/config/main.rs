//! The config as its readers meet it: files, the JSON Schema, the reference page, the shipped examples.

mod json_schema;
mod reading;
mod reference;
mod shipped;
