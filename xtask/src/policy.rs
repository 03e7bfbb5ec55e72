//! The policy matcher's own measurement, which needs no driver and no lab.

use std::process::Command;

use anyhow::Result;

use crate::run;
use crate::toolchain;
use crate::workspace;

/// `cargo xtask bench policy`: the matcher against the crates that one would otherwise take. They are built for this
/// command alone.
pub(crate) fn bench(arguments: &[String]) -> Result<Command> {
    let mut command = Command::new(toolchain::cargo());
    command.current_dir(workspace::root());
    command.args(["build", "--release", "--package", "policy-bench", "--features", "peers"]);
    run::visible(&mut command)?;
    let mut program = Command::new(workspace::target_dir().join("release/policy-bench"));
    program.args(arguments.iter().filter(|argument| *argument != "--"));
    Ok(program)
}
