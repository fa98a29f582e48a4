//! The status line: what the daemon does, in one line for people.

use super::view::View;
use crate::connection::ConnectionState;
use crate::journal::Stats;

/// Such as `5 of 6 subscriptions connected; sink work is 12034 frames behind`.
pub(super) fn line(view: &View) -> String {
    let journal = view.journal.stats();
    let trouble = journal
        .trouble
        .as_ref()
        .map(|why| format!("the journal cannot be written: {why}"));
    let reload = view
        .last_reload
        .as_ref()
        .filter(|last| last.outcome.is_err());
    let parts = [
        trouble,
        reload.map(|_| "the last reload failed, the config before it is in effect".to_owned()),
        Some(connected(view)),
        refused(view),
        behind(view, &journal),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join("; ")
}

fn connected(view: &View) -> String {
    let subscriptions = view.subscriptions.iter();
    let connected = subscriptions
        .filter(|one| one.state().borrow().is_connected())
        .count();
    format!(
        "{connected} of {} subscriptions connected",
        view.subscriptions.len()
    )
}

/// The first that an operator must do something about.
fn refused(view: &View) -> Option<String> {
    view.subscriptions.iter().find_map(|subscription| {
        let state = subscription.state();
        let state = state.borrow();
        let why = state.refusal()?;
        Some(format!("{} is refused: {why}", subscription.id()))
    })
}

/// The sink that is the furthest behind, and why, if it is known.
fn behind(view: &View, journal: &Stats) -> Option<String> {
    let furthest = journal.cursors.iter().max_by_key(|cursor| cursor.lag)?;
    let name = &furthest.name;
    let delivery = view.deliveries.iter().find(|one| one.sink() == name);
    let why = match delivery.map(|delivery| delivery.status().connection) {
        Some(ConnectionState::BackingOff { why, .. }) => format!(" ({why})"),
        _ => String::new(),
    };
    match furthest.lag {
        0 => Some("all is delivered".to_owned()),
        lag => Some(format!("sink {name} is {lag} frames behind{why}")),
    }
}
