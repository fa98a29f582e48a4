//! What becomes of a frame: decoded, transcoded, routed, against the JSON of other runtimes.

mod conformance;
mod decode;
mod encodings;
mod malformed;
mod random_schemas;
mod readable;
mod routes;
mod schema_tables;
