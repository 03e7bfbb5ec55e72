//! Says what to do when the declarations were not generated yet, before `include!` fails without a hint.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-env-changed=INTACT_BINDINGS");
    let folder = std::env::var("INTACT_BINDINGS").unwrap_or_default();
    let file = Path::new(&folder).join("lab.rs");
    println!("cargo::rerun-if-changed={}", file.display());
    if !file.is_file() {
        println!("cargo::error={} is not there: run `cargo xtask setup` first", file.display());
    }
}
