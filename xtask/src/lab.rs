//! The lab's own program, given the driver of this workspace.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bindings;
use crate::driver::{self, Builder};
use crate::report::Log;
use crate::run;
use crate::toolchain;
use crate::tools::{For, Tools};
use crate::workspace;

/// Builds the lab's program and returns its path.
pub(crate) fn build() -> Result<PathBuf> {
    built(&["--package", "lab", "--bin", "lab"]).map(|folder| folder.join("lab"))
}

/// Builds what these arguments of Cargo say, and returns the folder of the programs.
fn built(what: &[&str]) -> Result<PathBuf> {
    let tools = Tools::ensure(&[For::Bindings, For::Mount])?;
    bindings::ensure(&tools)?;
    let mut command = Command::new(toolchain::cargo());
    // As for the tests, so that it is built once: the profile optimises what is slow otherwise.
    command.current_dir(workspace::root()).arg("build").args(what);
    run::visible(&mut command)?;
    Ok(workspace::target_dir().join("debug"))
}

/// Where the lab and its tests find the drivers.
pub(crate) fn environment() -> Vec<(&'static str, OsString)> {
    vec![
        ("INTACT_SYS", driver::intact_folder().join("intact.sys").into()),
        ("INTACT_TEST_DRIVERS", driver::test_drivers_folder().into()),
    ]
}

/// The names of all imports that the lab serves.
pub(crate) fn known_imports(log: &mut Log) -> Result<BTreeSet<String>> {
    let lab = build()?;
    let output = log.run(Command::new(lab).args(["fidelity", "--json"]))?;
    names(&output)
}

fn names(json: &str) -> Result<BTreeSet<String>> {
    let start = json.find(['[', '{']).context("`lab fidelity --json` printed no JSON")?;
    let value: serde_json::Value =
        serde_json::from_str(json[start..].trim()).context("`lab fidelity --json`")?;
    let rows = value
        .get("imports")
        .unwrap_or(&value)
        .as_array()
        .context("`lab fidelity --json`: no list of imports")?;
    let names: BTreeSet<String> =
        rows.iter().filter_map(|row| row.get("name")?.as_str()).map(str::to_owned).collect();
    if names.is_empty() {
        bail!("`lab fidelity --json` lists no import");
    }
    Ok(names)
}

/// `cargo xtask lab -- ARGUMENTS`. A program is run with Intact, unless the arguments name drivers or want none.
pub(crate) fn command(arguments: &[String]) -> Result<Command> {
    let mut command = Command::new(build()?);
    command.args(arguments.first()).envs(environment());
    if wants_intact(arguments) {
        let folder = driver::build_intact(&Builder::prepare()?)?;
        command.arg("--driver").arg(folder.join("intact.sys"));
        if !arguments.iter().any(|argument| argument.starts_with("--policy")) {
            command.arg("--policy").arg(workspace::root().join("tests/apps/everything.reg"));
        }
    }
    command.args(arguments.iter().skip(1));
    Ok(command)
}

fn wants_intact(arguments: &[String]) -> bool {
    let mut options = arguments.iter().take_while(|argument| *argument != "--");
    options.next().is_some_and(|first| first == "run")
        && !options.any(|option| {
            ["--without", "--driver", "--help", "-h"].contains(&option.as_str())
                || option.starts_with("--driver=")
        })
}

/// `cargo xtask bench`: Intact, with one folder under its care, after the minifilter that does nothing.
pub(crate) fn bench(arguments: &[String]) -> Result<Command> {
    let mut command = Command::new(build()?);
    let builder = Builder::prepare()?;
    let intact = driver::build_intact(&builder)?.join("intact.sys");
    let nothing = builder.build("nothing", &driver::test_drivers_folder())?.image;
    let policy = workspace::root().join("xtask/policy/bench.reg");
    command.arg("bench").arg("--driver").arg(nothing).arg("--driver").arg(intact);
    command.arg("--policy").arg(policy).args(arguments).envs(environment());
    Ok(command)
}

/// `cargo xtask demo`.
pub(crate) fn demo(arguments: &[String]) -> Result<Command> {
    let folder = built(&["--package", "lab", "--package", "intact-apps", "--bins"])?;
    driver::build_intact(&Builder::prepare()?)?;
    let mut command = Command::new(folder.join("intact-demo"));
    command.current_dir(workspace::root()).args(arguments).envs(environment());
    Ok(command)
}

/// `cargo xtask faults`.
pub(crate) fn faults(arguments: &[String]) -> Result<Command> {
    let folder = built(&["--package", "faults", "--bins"])?;
    driver::build_intact(&Builder::prepare()?)?;
    let mut command = Command::new(folder.join("intact-fault-tests"));
    command.current_dir(workspace::root()).args(arguments).envs(environment());
    Ok(command)
}

/// `cargo xtask transparency`.
pub(crate) fn transparency(arguments: &[String]) -> Result<Command> {
    let folder = built(&["--package", "intact-transparency", "--bins"])?;
    driver::build_intact(&Builder::prepare()?)?;
    let mut command = Command::new(folder.join("intact-transparency"));
    command.current_dir(workspace::root()).args(arguments).envs(environment());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_read_whatever_cargo_says_before() {
        let names =
            names("   Compiling lab\n[{\"name\": \"FltClose\", \"module\": \"FLTMGR.SYS\"}]\n").unwrap();
        assert_eq!(names, BTreeSet::from(["FltClose".to_owned()]));
    }

    #[test]
    fn a_program_is_run_with_intact_unless_other_drivers_or_none_are_named() {
        let wants = |line: &str| wants_intact(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(wants("run --seed 3 -- sort --without"));
        assert!(!wants("run --without -- sort"));
        assert!(!wants("run --driver=other.sys -- sort"));
        assert!(!wants("load run"));
    }

    #[test]
    fn a_table_without_imports_is_an_error() {
        assert!(names("[]").is_err());
        assert!(names("nothing").is_err());
    }
}
