//! What the volume promises, rule by rule. Tests of a documented rule name its place in the facts.

mod crash;
mod data;
mod dismount;
mod endings;
mod files;
mod isolation;
mod ktm;
mod matrix;
mod namespace;
mod notify;
mod refusals;
mod support;
mod workload;
