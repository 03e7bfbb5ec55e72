//! Where the built drivers are.

use std::path::PathBuf;
use std::sync::OnceLock;

/// The altitude that the INF gives (inf/intact.inf).
pub const INTACT_ALTITUDE: &str = "225000";

fn workspace() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn image(path: PathBuf) -> PathBuf {
    assert!(
        path.is_file(),
        "{} is not there: run `cargo xtask build`, which builds intact.sys and the drivers of the tests",
        path.display()
    );
    path
}

/// `intact.sys` as built: `$INTACT_SYS`, or `target/intact/intact.sys`.
///
/// # Panics
/// If it is not there.
pub fn intact() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        let given = std::env::var_os("INTACT_SYS").map(PathBuf::from);
        image(given.unwrap_or_else(|| workspace().join("target/intact/intact.sys")))
    };
    PATH.get_or_init(find).clone()
}

/// A driver of `tests/lab/drivers` as built: in `$INTACT_TEST_DRIVERS`, or `target/drivers`.
///
/// # Panics
/// If it is not there.
pub fn test_driver(name: &str) -> PathBuf {
    let given = std::env::var_os("INTACT_TEST_DRIVERS").map(PathBuf::from);
    image(given.unwrap_or_else(|| workspace().join("target/drivers")).join(format!("{name}.sys")))
}
