//! `decode`: captured frames to JSON records, one a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use clap::ValueEnum;

use crate::config::{ConfigErrors, Pick, Schemas, SourceSpans};
use crate::frame::Stream;
use crate::record::{self, RecordData, RecordError, RecordMetadata, SplitPayload};
use crate::route;
use crate::schema::{self, Descriptors, Envelope};
use crate::transcode::{JsonStyle, Tables};

/// Tools that capture frames disagree about padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Print captured frames as JSON records, one a line
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The generation of Central that sent the frames
    #[arg(long, value_enum)]
    pub generation: Generation,
    /// The topic, such as `monitoring`; for New Central the event, such as `ap-events`, or
    /// SERVICE/VERSION/EVENT
    #[arg(long)]
    pub topic: String,
    /// How payloads are written as JSON
    #[arg(long, value_enum, default_value = "readable")]
    pub json: Style,
    /// How the input holds frames: one a line in base64, each after its length as a varint, or a
    /// single frame as it is
    #[arg(long, value_enum, default_value = "base64")]
    pub encoding: Encoding,
    /// .proto files, descriptor sets, or folders of them, that replace or extend the built-in schemas
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub schema: Vec<PathBuf>,
    /// Print a record for each element of the payload's repeated messages
    #[arg(long)]
    pub split: bool,
    /// Keep only these repeated messages
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub elements: Vec<String>,
    /// The file with the frames; `-` or none: standard input
    pub file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Generation {
    Classic,
    New,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Style {
    Readable,
    Canonical,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    Base64,
    LengthDelimited,
    Raw,
}

impl From<Style> for JsonStyle {
    fn from(style: Style) -> Self {
        match style {
            Style::Readable => Self::Readable,
            Style::Canonical => Self::Canonical,
        }
    }
}

/// Runs the command. Exit code 0: every frame was decoded; 1: one could not be, or input or output
/// failed; 2: no stream can have this topic.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let Some(stream) = stream(args.generation, &args.topic) else {
        eprintln!(
            "no stream is named {:?}: a topic, or SERVICE/VERSION/EVENT for New Central",
            args.topic
        );
        return ExitCode::from(2);
    };
    let decoder = match Decoder::with(stream, args) {
        Ok(decoder) => decoder,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return ExitCode::from(2);
        }
    };
    let input: Box<dyn BufRead> = match &args.file {
        Some(path) if path.as_os_str() != "-" => match File::open(path) {
            Ok(file) => Box::new(BufReader::new(file)),
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                return ExitCode::FAILURE;
            }
        },
        _ => Box::new(io::stdin().lock()),
    };
    let output = BufWriter::new(io::stdout().lock());
    match decoder.run(input, args.encoding, output, io::stderr().lock()) {
        Ok(0) => ExitCode::SUCCESS,
        // A reader that has closed standard output has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("decode: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The stream that a topic of the command line names.
pub(super) fn stream(generation: Generation, topic: &str) -> Option<Stream> {
    match generation {
        Generation::Classic => Stream::parse(&format!("classic/{topic}")),
        Generation::New if topic.contains('/') => Stream::parse(&format!("new/{topic}")),
        Generation::New => schema::known_event(topic)
            // Messages of an unknown event may name their types themselves.
            .or_else(|| Stream::parse(&format!("new/unknown/unknown/{topic}"))),
    }
}

/// Decodes the frames of one stream.
#[derive(Debug)]
pub struct Decoder {
    schema: Descriptors,
    tables: Tables,
    stream: Stream,
    style: JsonStyle,
    pick: Pick,
}

impl Decoder {
    #[must_use]
    pub fn new(stream: Stream, style: JsonStyle) -> Self {
        Self::of(Descriptors::built_in(), stream, style)
    }

    /// Decodes whole payloads with a schema that is loaded already.
    pub(super) fn of(schema: Descriptors, stream: Stream, style: JsonStyle) -> Self {
        Self {
            tables: Tables::compile(schema.pool()),
            schema,
            stream,
            style,
            pick: Pick::default(),
        }
    }

    /// Decodes as the arguments say.
    ///
    /// # Errors
    /// A schema that cannot be loaded, or an element that no payload of the stream has.
    fn with(stream: Stream, args: &Args) -> Result<Self, ConfigErrors> {
        let schemas = Schemas::of_argument("--schema", args.schema.clone());
        for warning in schemas.find().warnings {
            eprintln!("warning: {warning}");
        }
        let schema = Descriptors::load(&schemas)?;
        let tables = Tables::compile(schema.pool());
        let pick = Pick {
            split: args.split,
            elements: args.elements.clone(),
            spans: SourceSpans::argument("--elements"),
            ..Pick::default()
        };
        let payloads = schema.payloads(|topic| topic == stream.topic());
        let ids: Vec<_> = payloads
            .iter()
            .filter_map(|name| tables.message(name))
            .collect();
        let unknown = route::unknown_elements(&pick, &tables, &ids);
        if !unknown.is_empty() {
            return Err(ConfigErrors::new(unknown));
        }
        Ok(Self {
            schema,
            tables,
            stream,
            style: args.json.into(),
            pick,
        })
    }

    /// Writes the lines of each frame to `output`, one a record, and a line to `errors` for each frame that
    /// cannot be decoded; returns how many those are.
    ///
    /// # Errors
    /// Input or output failed.
    pub fn run(
        &self,
        mut input: impl BufRead,
        encoding: Encoding,
        mut output: impl Write,
        mut errors: impl Write,
    ) -> io::Result<u64> {
        let mut failed = 0;
        let mut number = 0_u64;
        let (mut raw, mut line) = (Vec::new(), Vec::new());
        while let Some(frame) = next_frame(&mut input, encoding, &mut raw, number)? {
            number += 1;
            line.clear();
            let decoded = match frame {
                Ok(()) => self
                    .records(&raw, &mut line)
                    .map_err(|error| error.to_string()),
                Err(reason) => Err(reason),
            };
            match decoded {
                Ok(()) => output.write_all(&line)?,
                Err(reason) => {
                    failed += 1;
                    writeln!(errors, "frame {number}: {reason}")?;
                }
            }
        }
        output.flush()?;
        Ok(failed)
    }

    /// Appends the lines of a frame.
    pub(super) fn records(&self, frame: &[u8], to: &mut Vec<u8>) -> Result<(), RecordError> {
        let envelope = Envelope::open(&self.stream, frame)?;
        let about = RecordMetadata {
            id: None,
            account: None,
            stream: &self.stream,
            received_at: None,
        };
        let (tables, style) = (&self.tables, self.style);
        let whole = RecordData::of(&self.schema, tables, &self.stream, &envelope)?;
        let parts = SplitPayload::of(whole, tables, &self.pick, Some(style))?;
        for subject in parts.records(tables) {
            record::write(tables, style, &about, &envelope, &subject, to)?;
            to.push(b'\n');
        }
        Ok(())
    }
}

/// Reads the next frame into `frame`; `None` at the end of the input, and an inner error for bytes
/// that are no frame.
fn next_frame(
    input: &mut impl BufRead,
    encoding: Encoding,
    frame: &mut Vec<u8>,
    already_read: u64,
) -> io::Result<Option<Result<(), String>>> {
    frame.clear();
    match encoding {
        Encoding::Raw if already_read > 0 => Ok(None),
        Encoding::Raw => {
            input.read_to_end(frame)?;
            Ok(Some(Ok(())))
        }
        Encoding::LengthDelimited => length_delimited(input, frame),
        Encoding::Base64 => base64_line(input, frame),
    }
}

fn base64_line(
    input: &mut impl BufRead,
    frame: &mut Vec<u8>,
) -> io::Result<Option<Result<(), String>>> {
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        let text = line.trim_ascii();
        if !text.is_empty() {
            let decoded = BASE64.decode_vec(text, frame);
            return Ok(Some(
                decoded.map_err(|error| format!("not base64: {error}")),
            ));
        }
        line.clear();
    }
    Ok(None)
}

fn length_delimited(
    input: &mut impl BufRead,
    frame: &mut Vec<u8>,
) -> io::Result<Option<Result<(), String>>> {
    if input.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut length = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        if input.read(&mut byte)? == 0 {
            return Ok(Some(Err("the input ends within a length".to_owned())));
        }
        length |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            let read = input.take(length).read_to_end(frame)? as u64;
            return Ok(Some(if read == length {
                Ok(())
            } else {
                Err(format!(
                    "the input ends after {read} of the frame's {length} bytes"
                ))
            }));
        }
    }
    // Where the next frame begins cannot be known any more.
    io::copy(input, &mut io::sink())?;
    Ok(Some(Err("a length of more than 10 bytes".to_owned())))
}
