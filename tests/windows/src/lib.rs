//! What `intact-faults` reports, as data: written by the program on Windows, read by whoever judges it.

pub mod answer;
pub mod experiments;
pub mod report;

pub use answer::{Answer, Answers};
pub use report::{FileReport, Intact, Machine, Report, ScenarioReport, Verdict};
