//! What a route takes of a payload: the checks that need no schema of the payload.

use crate::config::diagnostics::report::Report;
use crate::config::diagnostics::spans::SourceSpans;
use crate::config::raw;
use crate::config::source::key_path::join;
use crate::config::{Condition, Pick, Test};

pub(crate) fn filter(
    path: &str,
    split: Option<bool>,
    elements: Option<raw::Names>,
    conditions: Vec<raw::Condition>,
    report: &mut Report,
) -> Option<Pick> {
    let elements = elements.map(|raw::Names(names)| {
        let path = join(path, "elements");
        if names.is_empty() {
            report.missing(
                &path,
                &path,
                "is empty, so that nothing would be left (leave it out for all)",
            );
        }
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                let at = report.element(&path, index);
                report.error(&at, format!("`{name}` stands here twice (leave one out)"));
            }
        }
        names
    });
    let list = join(path, "where");
    let conditions: Vec<_> = conditions
        .into_iter()
        .enumerate()
        .map(|(index, raw)| condition(&report.element(&list, index), raw, report))
        .collect();
    Some(Pick {
        split: split.unwrap_or_default(),
        elements: elements.unwrap_or_default(),
        conditions: conditions.into_iter().collect::<Option<_>>()?,
        spans: SourceSpans::of(report, path),
    })
}

fn condition(at: &str, raw: raw::Condition, report: &mut Report) -> Option<Condition> {
    let advice = "write path = \"data.FIELD\"";
    let path = report.require(at, "path", raw.path, advice);
    let path = path.and_then(|path| {
        let names: Vec<String> = path.split('.').map(str::to_owned).collect();
        match names.split_first() {
            Some((first, rest))
                if first == "data" && !rest.is_empty() && names.iter().all(|n| !n.is_empty()) =>
            {
                Some(rest.to_vec())
            }
            _ => {
                let text = format!("`{path}` does not name a field ({advice})");
                report.error(&join(at, "path"), text);
                None
            }
        }
    });
    let tests = [
        raw.equals.map(Test::Equals),
        raw.not_equals.map(Test::NotEquals),
        raw.one_of.map(Test::OneOf),
        raw.exists.map(Test::Exists),
    ];
    let mut tests: Vec<Test> = tests.into_iter().flatten().collect();
    if tests.len() > 1 {
        let text = "is a second test of one condition (write a condition for each)";
        report.error(&join(at, tests[1].key()), text);
    }
    let test = if tests.is_empty() {
        let text = "there is no test (add equals, not_equals, one_of or exists)";
        if !report.is_reported(at) {
            report.error(at, text);
        }
        None
    } else {
        Some(tests.swap_remove(0))
    };
    if let Some(Test::OneOf(values)) = &test
        && values.is_empty()
    {
        report.error(
            &join(at, "one_of"),
            "is empty, so that nothing matches (name the values)",
        );
    }
    Some(Condition {
        path: path?,
        test: test?,
    })
}
