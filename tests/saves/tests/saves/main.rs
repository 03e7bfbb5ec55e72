//! What becomes of the saves of programs that know nothing of Intact: the driver that Windows would load, in the lab.

mod admissions;
mod alike;
mod as_bare;
mod both_ways;
mod checkpoints;
mod controls;
mod crashes;
mod data;
mod denied;
mod endings;
mod faults;
mod hollow;
mod imports;
mod limits;
mod names;
mod neighbours;
mod opens;
mod policy;
mod process_scope;
mod refusals;
mod reload;
mod reload_amid_saves;
mod schedules;
mod sections;
mod times;
mod unload;
