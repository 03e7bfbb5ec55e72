//! The ledger of the driver's saves: what it tells of each is in order, what it counts is what it tells, and what lives is
//! what holds a transaction. It is balanced after every step.

use std::collections::{BTreeMap, BTreeSet};

use lab::Lab;
use lab_executive::etw::{Event, Field};
use lab_volume::Phase;

/// What was told so far.
#[derive(Debug, Default)]
pub struct Ledger {
    live: BTreeSet<u64>,
    /// How often each event came, by the name of its sum.
    sums: BTreeMap<&'static str, u64>,
}

/// Events of saves and opens, and the sums that count them.
const SUMS: [(&str, &str); 8] = [
    ("SaveBegun", "Begun"),
    ("SaveCommitted", "Committed"),
    ("SaveRolledBack", "RolledBack"),
    ("CommitFailed", "CommitFailed"),
    ("SaveCheckpointed", "Checkpointed"),
    ("SaveDemoted", "Demoted"),
    ("PassedThrough", "PassedThrough"),
    ("Denied", "Denied"),
];

fn number(event: &Event, field: &str) -> Option<u64> {
    match event.field(field) {
        Some(Field::Unsigned(number) | Field::Hex(number)) => Some(*number),
        _ => None,
    }
}

impl Ledger {
    /// Takes what was told since, and balances.
    ///
    /// # Errors
    /// What does not add up.
    pub fn balance(&mut self, lab: &Lab) -> Result<(), String> {
        for event in lab.executive().etw.take_events() {
            self.enter(&event)?;
        }
        let states = lab.transactions();
        let undecided = |phase: Phase| !matches!(phase, Phase::Committed | Phase::Aborted);
        let held = states.iter().filter_map(|state| state.phase).filter(|phase| undecided(*phase)).count();
        if held != self.live.len() {
            return Err(format!("the saves {:?} live, and {held} transactions do", self.live));
        }
        Ok(())
    }

    /// Whether no save lives.
    pub fn is_settled(&self) -> bool {
        self.live.is_empty()
    }

    fn enter(&mut self, event: &Event) -> Result<(), String> {
        let Some((name, sum)) = SUMS.iter().find(|(name, _)| *name == event.name) else {
            return self.compare(event);
        };
        *self.sums.entry(sum).or_default() += 1;
        let Some(save) = number(event, "Save") else { return Ok(()) };
        let in_order = match *name {
            "SaveBegun" => self.live.insert(save),
            "SaveCommitted" | "SaveRolledBack" | "CommitFailed" => self.live.remove(&save),
            _ => true,
        };
        if in_order { Ok(()) } else { Err(format!("save {save} was not as it is told: {event}")) }
    }

    /// The driver's own sums, which it tells when it is unloaded.
    fn compare(&self, event: &Event) -> Result<(), String> {
        if event.name == "Miscounted" {
            return Err(event.to_string());
        }
        if event.name != "Totals" {
            return Ok(());
        }
        let counted = |sum: &str| self.sums.get(sum).copied().unwrap_or(0);
        for (_, sum) in SUMS {
            if number(event, sum) != Some(counted(sum)) {
                return Err(format!("{} of {sum} were told, but {event}", counted(sum)));
            }
        }
        let ended = counted("Committed") + counted("RolledBack") + counted("CommitFailed");
        let live = self.live.len() as u64;
        if number(event, "Live") != Some(live) || counted("Begun") != ended + live {
            return Err(format!("{live} saves live, but {event}"));
        }
        Ok(())
    }
}
