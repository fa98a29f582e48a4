//! The config as its readers meet it: files, the JSON Schema, the reference page, the shipped examples.

mod accounts;
mod json_schema;
mod layers;
mod mistakes;
mod operator;
mod reference;
mod shipped;
mod sinks;
