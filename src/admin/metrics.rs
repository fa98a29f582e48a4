//! A [`Status`] in the text format of Prometheus.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{self, Registry};

use super::families::{FAMILIES, Family, PREFIX, Read, Samples, Unit};
use super::status::Status;

pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// What `/metrics` answers.
///
/// # Panics
/// Never: a `String` takes everything.
#[must_use]
pub fn text(status: Status) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Scrape(status)));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).expect("a String takes everything");
    text
}

#[derive(Debug)]
struct Scrape(Status);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in FAMILIES {
            let unit = match family.unit {
                Unit::Number => None,
                Unit::Seconds => Some(registry::Unit::Seconds),
                Unit::Bytes => Some(registry::Unit::Bytes),
            };
            let kind = match family.read {
                Read::Counter(_) => MetricType::Counter,
                Read::Gauge(_) => MetricType::Gauge,
                Read::Histogram(_) => MetricType::Histogram,
            };
            let metric =
                encoder.encode_descriptor(family.name, family.help, unit.as_ref(), kind)?;
            encode(family, &self.0, metric)?;
        }
        Ok(())
    }
}

fn encode(family: &Family, status: &Status, mut metric: MetricEncoder<'_>) -> fmt::Result {
    match family.read {
        Read::Counter(read) => each(family, status, read, &mut metric, |mut metric, value| {
            metric.encode_counter::<NoLabelSet, _, u64>(value, None)
        }),
        Read::Gauge(read) => each(family, status, read, &mut metric, |mut metric, value| {
            metric.encode_gauge(value)
        }),
        Read::Histogram(read) => each(family, status, read, &mut metric, |mut metric, latency| {
            metric.encode_histogram::<NoLabelSet>(
                latency.sum,
                latency.count,
                &latency.buckets,
                None,
            )
        }),
    }
}

fn each<T>(
    family: &Family,
    status: &Status,
    read: fn(&Status, &mut Samples<T>),
    metric: &mut MetricEncoder<'_>,
    encode: impl Fn(MetricEncoder<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    let mut samples = Samples(Vec::new());
    read(status, &mut samples);
    for (values, sample) in &samples.0 {
        let values = values.iter().map(String::as_str);
        let labels: Vec<_> = family.labels.iter().copied().zip(values).collect();
        encode(metric.encode_family(&labels)?, sample)?;
    }
    Ok(())
}

/// `docs/metrics.md`.
#[must_use]
pub fn document() -> String {
    let mut text = String::from(
        "# Metrics\n\nWhat `GET /metrics` answers, in the text format of Prometheus. This page is made \
         from the program: `UPDATE_DOCS=1 cargo test --test daemon the_page_is`.\n\nCounters begin at 0 with the \
         process, and those of a subscription or sink when a reload changes it. Alerts that are made \
         of these: [`operating.md`](operating.md).\n\n| name | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    text.extend(FAMILIES.iter().map(row));
    text
}

fn row(family: &Family) -> String {
    let kind = match family.read {
        Read::Counter(_) => "counter",
        Read::Gauge(_) => "gauge",
        Read::Histogram(_) => "histogram",
    };
    let labels = family.labels.iter().map(|label| format!("`{label}`"));
    let labels = labels.collect::<Vec<_>>().join(", ");
    let name = family.full_name();
    format!("| `{name}` | {kind} | {labels} | {} |\n", family.help)
}
