//! What programs find on a mounted lab volume, how they show in the lab, and what becomes of their saves.

mod children;
mod mount;
mod processes;
mod saves;
mod support;
