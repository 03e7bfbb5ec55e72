//! Where the built test drivers are.

use std::path::PathBuf;

/// The image of a test driver, from `INTACT_DRIVERS` or the workspace's target folder.
///
/// # Panics
/// If it was not built.
pub(crate) fn driver(name: &str) -> PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder =
        std::env::var_os("INTACT_DRIVERS").map_or_else(|| here.join("../../target/drivers"), PathBuf::from);
    let path = folder.join(format!("{name}.sys"));
    assert!(path.is_file(), "{} is not there: build the drivers with `cargo xtask build`", path.display());
    path
}
