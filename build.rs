//! Compiles the .proto files under `proto/`: a descriptor set, which the transcoder's tables are made
//! of, and Rust types, which the simulator and the tests build messages with.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Google's messages that nothing here imports, but that an `Any` may hold.
const WELL_KNOWN: [&str; 4] = [
    "google/protobuf/duration.proto",
    "google/protobuf/empty.proto",
    "google/protobuf/field_mask.proto",
    "google/protobuf/wrappers.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true);
    for generation in ["classic", "new"] {
        for file in proto_files(&Path::new("proto").join(generation))? {
            compiler.open_file(file)?;
        }
    }
    for file in WELL_KNOWN {
        compiler.open_file(file)?;
    }
    fs::write(
        out_dir.join("descriptors.binpb"),
        compiler.encode_file_descriptor_set(),
    )?;

    prost_build::Config::new()
        .bytes(["."])
        // The two spellings have the same shape, and would be one name in Rust.
        .extern_path(".Presence.MacAddress", "crate::proto::presence::MacAddress")
        .include_file("proto.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    #[cfg(feature = "serde-types")]
    serialize_types(&compiler, &out_dir)?;
    Ok(())
}

/// Adds a serializer to each generated type of Classic Central's topics.
#[cfg(feature = "serde-types")]
fn serialize_types(compiler: &protox::Compiler, out_dir: &Path) -> Result<(), Box<dyn Error>> {
    const PACKAGES: [&str; 6] = [
        ".Apprf",
        ".Audit",
        ".Location",
        ".Monitoring",
        ".Presence",
        ".Security",
    ];
    pbjson_build::Builder::new()
        .register_descriptors(&compiler.encode_file_descriptor_set())?
        .preserve_proto_field_names()
        .exclude([".Presence.MacAddress"])
        .generate(&PACKAGES, |package| {
            let file = format!("{}.rs", package.to_string().to_lowercase());
            fs::OpenOptions::new().append(true).open(out_dir.join(file))
        })?;
    Ok(())
}

/// The .proto files of a folder, in the order of their names, so that builds are reproducible.
fn proto_files(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
