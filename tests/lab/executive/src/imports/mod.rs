//! The kernel's routines, by family.

use crate::Import;

pub mod debug;
pub mod etw;
pub mod events;
pub mod lists;
pub mod memory;
pub mod mutexes;
pub mod names;
pub mod objects;
pub mod pool;
pub mod processes;
pub mod pushlocks;
pub(crate) mod raw;
pub mod registry;
pub mod resources;
pub mod rundown;
pub mod security;
pub mod spinlocks;
pub mod strings;
pub mod threads;
pub mod time;

/// Every import that the executive serves, as tables for [`Lab::load_image`](crate::Lab::load_image).
pub fn tables() -> Vec<&'static [&'static Import]> {
    vec![
        debug::TABLE,
        etw::TABLE,
        events::TABLE,
        lists::TABLE,
        memory::TABLE,
        mutexes::TABLE,
        names::TABLE,
        objects::TABLE,
        objects::VARIABLES,
        pool::TABLE,
        processes::TABLE,
        pushlocks::TABLE,
        registry::TABLE,
        resources::TABLE,
        rundown::TABLE,
        security::TABLE,
        security::VARIABLES,
        spinlocks::TABLE,
        strings::TABLE,
        threads::TABLE,
        time::TABLE,
    ]
}
