//! Where the built drivers are.

use std::path::PathBuf;
use std::sync::OnceLock;

use lab::loading::{InstanceDefinition, Service};

/// The altitude that the INF gives (inf/intact.inf).
const INTACT_ALTITUDE: &str = "225000.5";
/// That of the lower instance, which the driver attaches where it needs it.
const LOWER_ALTITUDE: &str = "225000";

/// Intact as its INF installs it.
pub fn intact_service() -> Service {
    let instance = |name: &str, altitude: &str, flags| InstanceDefinition {
        name: name.into(),
        altitude: altitude.into(),
        flags,
    };
    let instances = vec![instance("Intact", INTACT_ALTITUDE, 0), instance("Intact Below", LOWER_ALTITUDE, 1)];
    Service { instances, ..Service::new("Intact", INTACT_ALTITUDE) }
}

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
