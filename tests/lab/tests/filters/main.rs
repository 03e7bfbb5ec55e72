//! What the lab promises filters, and what it does not let them do. The filters are made of Rust functions.

mod answers;
mod broken;
mod context_rules;
mod contract;
mod dismount;
mod enlistments;
mod extra_parameters;
mod facts;
mod inside;
mod life;
mod made;
mod made_requests;
mod objects;
mod opens;
mod oplocks;
mod passage;
mod scene;
mod swaps;
mod transactions;
