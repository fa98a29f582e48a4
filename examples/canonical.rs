//! Our side of `scripts/differential`: messages of Central and of the test schemas as canonical
//! JSON.
//!
//! `canonical descriptors` writes the schemas as a `FileDescriptorSet`. `canonical write` reads
//! lines `TYPE BASE64` and answers each with the JSON, or with `!` and what is wrong.

use std::error::Error;
use std::io::{self, BufRead, BufWriter, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use central_forwarder::transcode::{JsonStyle, Tables, write_json};
use prost_reflect::DescriptorPool;

const SCHEMAS: [&str; 2] = ["everything2.proto", "everything3.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut pool = central_forwarder::schema::built_in();
    let set = protox::compile(SCHEMAS, ["tests/fixtures/differential"])?;
    pool.add_file_descriptor_set(set)?;
    match std::env::args().nth(1).as_deref() {
        Some("descriptors") => io::stdout().write_all(&pool.encode_to_vec())?,
        Some("write") => write(&pool)?,
        _ => return Err("usage: canonical descriptors|write".into()),
    }
    Ok(())
}

fn write(pool: &DescriptorPool) -> Result<(), Box<dyn Error>> {
    let tables = Tables::compile(pool);
    let mut output = BufWriter::new(io::stdout().lock());
    let mut json = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (name, bytes) = line.split_once(' ').ok_or("a line is TYPE BASE64")?;
        let id = tables.message(name).ok_or("not a known type")?;
        let bytes = STANDARD.decode(bytes)?;
        json.clear();
        match write_json(&tables, id, &bytes, JsonStyle::Canonical, &mut json) {
            Ok(()) => json.push(b'\n'),
            Err(error) => writeln!(json, "!{error}")?,
        }
        output.write_all(&json)?;
    }
    output.flush()?;
    Ok(())
}
