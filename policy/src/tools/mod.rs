//! For tools: a policy in the forms in which it is written, kept and distributed. Not for drivers.
//!
//! All forms meet in [`reg::RegFile`](crate::reg::RegFile), what a `.reg` file leaves in an empty registry, and in
//! [`Document`], the same with the meaning that the schema gives it.

mod document;
mod hive;
mod json;
mod oma;
mod template;

pub use document::{Data, Document, Section};
pub use hive::{SIGNATURE as HIVE_SIGNATURE, read_hive};
pub use json::{from_json, to_json};
pub use oma::{from_oma_uri, to_oma_uri};
pub use template::{RULE_SLOTS, Template, adml, admx, slots};
