//! What the lab promises filters, and what it does not let them do. The filters are made of Rust functions.

mod contract;
mod facts;
mod life;
mod made;
mod made_requests;
mod objects;
mod passage;
mod scene;
mod transactions;
