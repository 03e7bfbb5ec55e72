//! What the driver said it did.

use lab::Lab;
use lab_executive::etw::{Event, Field};

/// How a save ended, or why there was none, in the order of the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A save began.
    Begun,
    /// A handle joined, as writer or reader.
    Joined(String),
    /// It was committed.
    Committed,
    /// It was rolled back for this reason.
    RolledBack(String),
    /// The commit failed.
    CommitFailed,
    /// A flush made a part of it durable.
    Checkpointed,
    /// It was committed and its handles went on without a transaction, for this reason.
    Demoted(String),
    /// An open went on without a transaction, for this reason.
    PassedThrough(String),
    /// An open was denied for want of a transaction, for this reason.
    Denied(String),
}

/// An event with its fields as text.
#[derive(Clone, Debug)]
pub struct Seen(Event);

impl Seen {
    /// The event's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A field as text; empty if there is none of that name.
    pub fn text(&self, field: &str) -> String {
        match self.0.field(field) {
            Some(Field::Text(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }

    /// A field as number.
    ///
    /// # Panics
    /// If it is none.
    pub fn number(&self, field: &str) -> u64 {
        match self.0.field(field) {
            Some(Field::Unsigned(number) | Field::Hex(number)) => *number,
            Some(Field::Signed(number)) => number.cast_unsigned(),
            other => panic!("{field} of {} is {other:?}", self.0),
        }
    }
}

/// All events of Intact so far.
pub fn seen(lab: &Lab) -> Vec<Seen> {
    let events = lab.executive().etw.events();
    events.into_iter().filter(|event| event.provider_name == "Intact").map(Seen).collect()
}

/// What happened to saves so far.
pub fn happened(lab: &Lab) -> Vec<Happened> {
    let understood = |event: &Seen| {
        Some(match event.name() {
            "SaveBegun" => Happened::Begun,
            "SaveJoined" => Happened::Joined(event.text("Role")),
            "SaveCommitted" => Happened::Committed,
            "SaveRolledBack" => Happened::RolledBack(event.text("Reason")),
            "CommitFailed" => Happened::CommitFailed,
            "SaveCheckpointed" => Happened::Checkpointed,
            "SaveDemoted" => Happened::Demoted(event.text("Reason")),
            "PassedThrough" => Happened::PassedThrough(event.text("Reason")),
            "Denied" => Happened::Denied(event.text("Reason")),
            _ => return None,
        })
    };
    seen(lab).iter().filter_map(understood).collect()
}
