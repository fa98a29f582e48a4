//! Compiles routes against the descriptors: every field that they name is looked up, and a field that
//! does not exist is reported.

use std::collections::{BTreeMap, HashMap};

use super::{CompiledRoute, FieldPaths, Fields, Routes, filter, takes};
use crate::config::template::{Placeholder, Segment, Template};
use crate::config::{self, Condition, Config, ConfigErrors, Diagnostic, Pick, suggestion};
use crate::schema::Descriptors;
use crate::transcode::{FieldPath, InvalidPath, MessageId, PathKind, Tables, repeated_messages};

impl Routes {
    /// The routes to each sink.
    ///
    /// # Errors
    /// Every field or element that no message of a route's topics has, and every condition that can
    /// never hold.
    pub fn compile(
        config: &Config,
        descriptors: &Descriptors,
        tables: &Tables,
    ) -> Result<BTreeMap<String, Self>, ConfigErrors> {
        let mut mistakes = Vec::new();
        let mut routes: BTreeMap<String, Self> = BTreeMap::new();
        for route in &config.routes {
            let payloads = descriptors.payloads(|topic| takes(&route.topics, topic));
            let payloads = payloads.iter().filter_map(|name| tables.message(name));
            let check = RouteCheck {
                route,
                tables,
                payloads: payloads.collect(),
            };
            mistakes.extend(check.mistakes());
            routes
                .entry(route.sink.clone())
                .or_default()
                .0
                .push(CompiledRoute {
                    config: route.clone(),
                    field_paths: field_paths(route, tables),
                });
        }
        if mistakes.is_empty() {
            Ok(routes)
        } else {
            Err(ConfigErrors::new(mistakes))
        }
    }
}

/// Looks the route's paths up in every message: the data may name any type.
fn field_paths(route: &config::Route, tables: &Tables) -> FieldPaths {
    let mut names: Vec<Vec<String>> = Vec::new();
    for template in route.key.iter().chain([&route.destination]) {
        for path in paths(template) {
            if !names.iter().any(|known| known == path) {
                names.push(path.to_vec());
            }
        }
    }
    let mut fields = HashMap::new();
    for id in tables.ids() {
        let path = |names: &[String]| FieldPath::compile(tables, id, names).ok();
        let found = Fields {
            in_templates: names.iter().map(|names| path(names)).collect(),
            in_conditions: (route.pick.conditions.iter())
                .map(|condition| path(&condition.path))
                .collect(),
        };
        if (found.in_templates.iter())
            .chain(&found.in_conditions)
            .any(Option::is_some)
        {
            fields.insert(id, found);
        }
    }
    FieldPaths { names, fields }
}

fn paths(template: &Template) -> impl Iterator<Item = &[String]> {
    template
        .segments()
        .iter()
        .filter_map(|segment| match segment {
            Segment::Placeholder(Placeholder::Data(path)) => Some(path.as_slice()),
            _ => None,
        })
}

/// A mistake for every named element that none of the payloads has.
#[must_use]
pub fn unknown_elements(pick: &Pick, tables: &Tables, payloads: &[MessageId]) -> Vec<Diagnostic> {
    let fields = payloads
        .iter()
        .flat_map(|id| repeated_messages(tables, *id));
    let mut known: Vec<&str> = fields.map(|(name, _)| name).collect();
    known.sort_unstable();
    known.dedup();
    let wrong = |(index, name): (usize, &String)| {
        if known.contains(&name.as_str()) {
            return None;
        }
        let advice = suggestion::advice(name, known.iter().copied(), || match &known[..] {
            [] => "leave it out".to_owned(),
            known => format!("there are {}", known.join(", ")),
        });
        let text = format!("no message of these topics has a repeated message `{name}` ({advice})");
        Some(pick.spans.about_element("elements", index, "", text))
    };
    pick.elements.iter().enumerate().filter_map(wrong).collect()
}

/// One route against the messages that its topics are known to have.
struct RouteCheck<'a> {
    route: &'a config::Route,
    tables: &'a Tables,
    payloads: Vec<MessageId>,
}

impl<'a> RouteCheck<'a> {
    fn mistakes(&self) -> Vec<Diagnostic> {
        let mut mistakes = unknown_elements(&self.route.pick, self.tables, &self.payloads);
        if !mistakes.is_empty() {
            // Without the elements it is not known in which messages paths start.
            return mistakes;
        }
        let roots = self.path_roots();
        let spans = &self.route.pick.spans;
        for (index, condition) in self.route.pick.conditions.iter().enumerate() {
            if let Err((entry, text)) = self.condition(condition, &roots) {
                mistakes.push(spans.about_element("where", index, entry, text));
            }
        }
        let templates = [
            ("destination", Some(&self.route.destination)),
            ("key", self.route.key.as_ref()),
        ];
        for (entry, template) in templates {
            for path in template.into_iter().flat_map(paths) {
                if let Err(text) = self.template_path(path, &roots) {
                    mistakes.push(spans.about(entry, text));
                }
            }
        }
        mistakes
    }

    /// The messages in which paths start.
    fn path_roots(&self) -> Vec<MessageId> {
        let pick = &self.route.pick;
        if !pick.split {
            return self.payloads.clone();
        }
        let mut roots = Vec::new();
        for payload in &self.payloads {
            let mut elements = repeated_messages(self.tables, *payload).peekable();
            if elements.peek().is_none() {
                roots.push(*payload);
            }
            let wanted = elements.filter(|(name, _)| pick.wants(name));
            roots.extend(wanted.map(|(_, message)| message));
        }
        roots
    }

    fn condition(
        &self,
        condition: &Condition,
        roots: &[MessageId],
    ) -> Result<(), (&'static str, String)> {
        let kinds = self.kinds(&condition.path, roots);
        let kinds = kinds.map_err(|text| ("path", text))?;
        let mut reasons = Vec::new();
        for kind in &kinds {
            match filter::why_it_never_holds(&condition.test, kind) {
                Some(reason) => reasons.push(reason),
                None => return Ok(()),
            }
        }
        Err((condition.test.key(), reasons.swap_remove(0)))
    }

    fn template_path(&self, path: &[String], roots: &[MessageId]) -> Result<(), String> {
        let kinds = self.kinds(path, roots)?;
        if kinds.iter().all(|kind| *kind == PathKind::Message) {
            let path = path.join(".");
            return Err(format!(
                "`{{data.{path}}}` is a message and has no text (name a field of it)"
            ));
        }
        Ok(())
    }

    /// The kinds of a path's values in the messages that have it; an error if none has it.
    fn kinds(&self, path: &[String], roots: &[MessageId]) -> Result<Vec<PathKind<'a>>, String> {
        let mut kinds = Vec::new();
        let mut failures = Vec::new();
        for id in roots {
            match FieldPath::compile(self.tables, *id, path) {
                Ok(path) => kinds.push(path.kind(self.tables)),
                Err(failure) => failures.push(failure),
            }
        }
        if kinds.is_empty() {
            return Err(self.explain(path, &failures));
        }
        Ok(kinds)
    }

    fn explain(&self, path: &[String], failures: &[InvalidPath<'_>]) -> String {
        let whole = path.join(".");
        let ended = failures.iter().find_map(|failure| match failure {
            InvalidPath::NotAMessage(field) => Some(field),
            InvalidPath::UnknownField { .. } => None,
        });
        if let Some(field) = ended {
            return format!(
                "`data.{whole}`: `{field}` is a value without fields (end the path there)"
            );
        }
        // Only the messages that have the longest part of the path are of use for the advice.
        let depth = |name: &str| path.iter().rposition(|part| part == name).unwrap_or(0);
        let deepest = failures.iter().filter_map(|failure| match failure {
            InvalidPath::UnknownField { field, .. } => Some(depth(field)),
            InvalidPath::NotAMessage(_) => None,
        });
        let Some(deepest) = deepest.max() else {
            return format!("`data.{whole}` is in no message of these topics (leave it out)");
        };
        let mut known: Vec<&str> = Vec::new();
        for failure in failures {
            if let InvalidPath::UnknownField {
                field,
                known: fields,
                ..
            } = failure
                && depth(field) == deepest
            {
                known.extend(fields);
            }
        }
        let field = &path[deepest];
        let starts = if self.route.pick.split {
            "element"
        } else {
            "message"
        };
        let advice = suggestion::advice(field, known, || "see the schema, or `decode`".to_owned());
        format!("`data.{whole}`: no {starts} of these topics has the field `{field}` ({advice})")
    }
}
