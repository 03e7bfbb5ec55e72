//! Checks the INF of a primitive minifilter driver against the rules that Microsoft documents for it.
//!
//! [`Inf::parse`] reads the file as SetupAPI does: sections, continued lines, quotes, comments, `%strings%`.
//! [`lint`] asks each of [`RULES`]. It does not replace `InfVerif`, which runs on Windows only; it lets a mistake show
//! up where the file is edited.

mod groups;
mod inf;
mod install;
mod registry;
mod rules;

pub use groups::{GROUPS, Group};
pub use inf::{Entry, Inf, Section};
pub use rules::{Finding, RULES, Rule, lint};
