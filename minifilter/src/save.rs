//! A save: one transaction and the files modified in it, ended by exactly one outcome.

pub mod failure;
pub mod outcome;
pub mod wounds;
