//! Building the project's own programs for Windows, on Windows and elsewhere.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run;
use crate::toolchain::{self, PROGRAM_TARGET};
use crate::tools::{For, Tools};
use crate::workspace;

/// Builds the program `name` of a package, with these features besides its defaults, and returns its path.
pub(crate) fn build(package: &str, name: &str, features: &[&str]) -> Result<PathBuf> {
    let mut folder = target_dir();
    let mut command = if cfg!(windows) {
        let mut command = Command::new(toolchain::cargo());
        command.arg("build");
        command
    } else {
        Tools::ensure(&[For::Program])?;
        let toolchain =
            toolchain::find_for(PROGRAM_TARGET).context("no compiler for programs for Windows")?;
        folder.push(PROGRAM_TARGET);
        let mut command = toolchain.cargo();
        command.arg("build").args(toolchain.program_arguments());
        command
    };
    command.current_dir(workspace::root()).env("CARGO_TARGET_DIR", target_dir());
    command.args(["--profile", "program", "--package", package, "--bin", name]);
    command.args(["--features", &features.join(",")]);
    run::visible(&mut command)?;
    Ok(folder.join("program").join(format!("{name}.exe")))
}

/// One place for all, whatever CARGO_TARGET_DIR says: the library is slow to build.
pub(crate) fn target_dir() -> PathBuf {
    workspace::root().join("target/windows-build")
}
