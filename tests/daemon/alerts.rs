//! Alerts, dashboard and runbook against the program: each metric that they name exists, each alert
//! fires and does not fire, and says where the runbook tells what to do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use central_forwarder::admin::families::{FAMILIES, Family, PREFIX, Read};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The words in a text that look like our metrics.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let part_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split(|c| !part_of_a_name(c))
        .filter(|word| word.starts_with(PREFIX))
        .collect()
}

/// Every series name that `/metrics` can have.
fn existing() -> BTreeSet<String> {
    let names = FAMILIES.iter().flat_map(|family| {
        let name = family.full_name();
        match family.read {
            Read::Histogram(_) => ["_bucket", "_sum", "_count"]
                .map(|suffix| format!("{name}{suffix}"))
                .to_vec(),
            Read::Counter(_) | Read::Gauge(_) => vec![name],
        }
    });
    names.collect()
}

fn alerts(rules: &str) -> Vec<&str> {
    let lines = rules.lines().map(str::trim);
    lines
        .filter_map(|line| line.strip_prefix("- alert: "))
        .collect()
}

#[test]
fn every_metric_that_is_named_exists() {
    let existing = existing();
    for path in [
        "deploy/prometheus/alerts.yml",
        "deploy/prometheus/alerts_test.yml",
        "deploy/grafana/central-forwarder.json",
        "docs/operating.md",
    ] {
        let text = read(path);
        let named = metrics_in(&text);
        assert!(!named.is_empty(), "{path}");
        for name in named {
            // The document names histograms as a whole.
            let whole = format!("{name}_count");
            assert!(
                existing.contains(name) || existing.contains(&whole),
                "{path} names {name}, which does not exist"
            );
        }
    }
    let unique: BTreeSet<_> = FAMILIES.iter().map(Family::full_name).collect();
    assert_eq!(
        unique.len(),
        FAMILIES.len(),
        "a name stands in the table twice"
    );
}

#[test]
fn every_alert_has_its_tests_and_its_place_in_the_runbook() {
    let rules = read("deploy/prometheus/alerts.yml");
    let tests = read("deploy/prometheus/alerts_test.yml");
    let runbook = read("docs/operating.md");
    let alerts = alerts(&rules);
    assert!(alerts.len() >= 6, "{alerts:?}");
    for alert in &alerts {
        let fires = format!("{{alertname=\"{alert}\"}}");
        assert!(tests.contains(&fires), "no test makes {alert} fire");
        let place = format!("runbook: docs/operating.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&place), "{alert} has no {place}");
        let heading = format!("\n### {alert}\n");
        assert!(
            runbook.contains(&heading),
            "docs/operating.md does not have {alert}"
        );
    }
    let headings = runbook.lines().filter_map(|line| line.strip_prefix("### "));
    for heading in headings {
        assert!(alerts.contains(&heading), "no alert is called {heading}");
    }
}

#[test]
fn the_dashboard_is_whole() {
    let text = read("deploy/grafana/central-forwarder.json");
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert!(
                target["expr"].as_str().unwrap().contains(PREFIX),
                "{target}"
            );
            assert_eq!(target["datasource"]["uid"], "${datasource}");
        }
    }
}

/// `scripts/test` installs it.
#[test]
fn promtool_is_content_and_each_alert_fires_and_does_not() {
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let done = Command::new("promtool")
            .args(arguments)
            .current_dir(repository("deploy/prometheus"))
            .output();
        let Ok(done) = done else {
            support::brokers::note("skipped: there is no promtool (Debian's package prometheus)");
            return;
        };
        let said = String::from_utf8_lossy(&done.stdout);
        let complaints = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{said}{complaints}");
        assert!(said.contains("SUCCESS"), "{said}{complaints}");
    }
}
