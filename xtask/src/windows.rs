//! What is run on a Windows machine: the folder to copy there, and the test of its program under Wine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::driver::{self, Builder};
use crate::lab;
use crate::program;
use crate::report::{Log, Outcome};
use crate::tools::{For, Tools};
use crate::wine::Session;
use crate::{bindings, policy, toolchain, workspace};

/// `cargo xtask windows`: `target/windows`, with the driver, `intact-faults.exe`, `intact-policy.exe`, and the scripts around them.
pub(crate) fn folder() -> Result<PathBuf> {
    let intact = driver::build_intact(&Builder::prepare()?)?;
    let program = program::build("intact-faults", "intact-faults", &[])?;
    let folder = workspace::root().join("target/windows");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    copy_all(&intact, &folder, &["sys", "pdb", "inf"])?;
    copy_all(&workspace::root().join("tests/windows"), &folder, &["ps1", "md", "reg"])?;
    driver::replace(&program, &folder.join("intact-faults.exe"))?;
    driver::replace(&policy::windows()?, &folder.join("intact-policy.exe"))?;
    Ok(folder)
}

fn copy_all(from: &Path, to: &Path, extensions: &[&str]) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))?.flatten() {
        let path = entry.path();
        let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        if extensions.contains(&extension.as_str()) {
            driver::replace(&path, &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// The slice: `intact-faults.exe` under Wine on mounted lab volumes, with the real driver in front and without.
pub(crate) fn test(log: &mut Log) -> Result<Outcome> {
    if !Tools::obtainable(For::Wine) {
        return Ok(Outcome::Skipped("there is no Wine on this machine".into()));
    }
    if !Tools::obtainable(For::Program) {
        return Ok(Outcome::Skipped("programs for Windows cannot be built on this machine".into()));
    }
    if !Path::new("/dev/fuse").exists() {
        return Ok(Outcome::Skipped("there is no /dev/fuse here".into()));
    }
    let tools = Tools::ensure(&[For::Bindings, For::Mount, For::Wine, For::Program])?;
    bindings::ensure(&tools)?;
    log.say("building intact.sys and intact-faults.exe");
    let folder = folder()?;
    let session = Session::open(tools.wine()?, log)?;
    stand_in(&tools, &session, log)?;
    let mut command = Command::new(toolchain::cargo());
    command.current_dir(workspace::root()).args(["test", "--package", "intact-faults", "--test", "wine"]);
    // One Wine, one drive: one test at a time.
    command.args(["--", "--include-ignored", "--test-threads=1"]);
    command.envs(lab::environment());
    command.env("INTACT_FAULTS_EXE", folder.join("intact-faults.exe"));
    command.env("INTACT_WINE", tools.wine()?).env("INTACT_WINESERVER", session.server()?);
    command.env("INTACT_WINE_PREFIX", session.prefix());
    let count = log.tests(&mut command)?;
    Ok(Outcome::Passed(format!("{count} tests, under Wine")))
}

/// Gives this Wine the library that it lacks, if it does.
pub(crate) fn stand_in(tools: &Tools, session: &Session, log: &mut Log) -> Result<()> {
    let library = session.prefix().join("drive_c/windows/system32/bcryptprimitives.dll");
    if !library.exists() {
        let source = workspace::root().join("tests/windows/wine/bcryptprimitives.c");
        let mut command = Command::new(tools.mingw_gcc()?);
        log.run(command.args(["-shared", "-O1", "-o"]).arg(&library).arg(source).arg("-ladvapi32"))?;
    }
    Ok(())
}
