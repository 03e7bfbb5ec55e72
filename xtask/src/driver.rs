//! Building `intact.sys`, and the small drivers of the tests, for Windows.
//!
//! On Windows, Cargo and the WDK do it as the authors of `wdk-sys` meant. Elsewhere the build scripts of
//! `wdk-sys` and `wdk`, which want a WDK, are replaced by a configuration that names the generated bindings;
//! the sources of both crates are the published ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bindings::{self, Bindings};
use crate::run;
use crate::toolchain::{self, TARGET, Toolchain};
use crate::tools::{For, Tools};
use crate::workspace;

/// Arguments of the linker, as the WDK gives them to a kernel driver.
const LINK: &[&str] = &[
    "/DRIVER",
    "/SUBSYSTEM:NATIVE,10.00",
    "/ENTRY:DriverEntry",
    "/NODEFAULTLIB",
    "/NXCOMPAT",
    "/DYNAMICBASE",
    "/HIGHENTROPYVA",
    // As the WDK's own build does; PsSetCreateProcessNotifyRoutineEx demands it.
    "/INTEGRITYCHECK",
    // A checksum in the header, and time stamps that are digests of the content. They still differ between
    // builds of one source, as does the identity of the symbols, and nothing else does: rustc links from a
    // folder with a random name, which the symbols record.
    "/RELEASE",
    "/Brepro",
];

/// The set-up of a build for [`TARGET`].
pub(crate) struct Builder {
    toolchain: Toolchain,
    config: Option<PathBuf>,
    root: PathBuf,
    target: PathBuf,
}

/// Where a built driver is.
pub(crate) struct Built {
    pub(crate) image: PathBuf,
}

impl Builder {
    /// Makes everything ready that a driver build needs.
    pub(crate) fn prepare() -> Result<Self> {
        if cfg!(windows) {
            // The real WDK, found by the crates themselves.
            let toolchain = toolchain::find().context("rustup target add x86_64-pc-windows-msvc")?;
            return Ok(Self::with(toolchain, None));
        }
        let tools = Tools::ensure(&[For::Bindings, For::Driver])?;
        let bindings = bindings::ensure(&tools)?;
        let config = write_config(&bindings, &tools)?;
        let toolchain = toolchain::find().context("no compiler for the driver")?;
        Ok(Self::with(toolchain, Some(config)))
    }

    fn with(toolchain: Toolchain, config: Option<PathBuf>) -> Self {
        // One place for all, whatever CARGO_TARGET_DIR says: the library and the bindings are slow to build.
        Self { toolchain, config, root: workspace::root().to_owned(), target: target_dir() }
    }

    /// The same for a copy of the workspace, which is built into a folder of its own.
    pub(crate) fn for_copy(self, root: PathBuf, target: PathBuf) -> Self {
        Self { root, target, ..self }
    }

    /// `cargo <subcommand>` for the driver's target, with all that was prepared.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut command = self.toolchain.cargo();
        command.arg(subcommand);
        self.complete(&mut command);
        command
    }

    /// `cargo clippy` for the driver's target.
    pub(crate) fn clippy(&self) -> Result<Command> {
        let mut command = self.toolchain.clippy().context("no clippy for the driver's compiler")?;
        self.complete(&mut command);
        Ok(command)
    }

    fn complete(&self, command: &mut Command) {
        command.current_dir(&self.root);
        command.env("CARGO_TARGET_DIR", &self.target);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.args(self.toolchain.arguments());
    }

    /// Builds a package as a driver and puts `<package>.sys` and `<package>.pdb` into `folder`.
    pub(crate) fn build(&self, package: &str, folder: &Path) -> Result<Built> {
        let mut command = self.cargo("rustc");
        // As a cdylib alone: link-time optimisation, which the absence of panics rests on, is given up by
        // Cargo for a package that is a Rust library too.
        command.args(["--profile", "driver", "--lib", "--crate-type", "cdylib", "--package", package]);
        run::visible(&mut command)?;
        let from = self.target.join(TARGET).join("driver");
        let file = package.replace('-', "_");
        fs::create_dir_all(folder)?;
        let image = folder.join(format!("{package}.sys"));
        replace(&from.join(format!("{file}.dll")), &image)?;
        replace(&from.join(format!("{file}.pdb")), &folder.join(format!("{package}.pdb")))?;
        Ok(Built { image })
    }
}

/// Builds `intact.sys` into `target/intact`, with its symbols and its INF. Returns the folder.
pub(crate) fn build_intact(builder: &Builder) -> Result<PathBuf> {
    let folder = intact_folder();
    builder.build("intact", &folder)?;
    let inf = workspace::root().join("inf");
    for entry in fs::read_dir(&inf).with_context(|| format!("reading {}", inf.display()))?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "inf") {
            replace(&path, &folder.join(entry.file_name()))?;
        }
    }
    Ok(folder)
}

/// Builds the drivers of `tests/lab/drivers` into `target/drivers`. Returns the folder.
pub(crate) fn build_test_drivers(builder: &Builder) -> Result<PathBuf> {
    let folder = test_drivers_folder();
    if cfg!(windows) {
        // The lab that would load them does not run there.
        return Ok(folder);
    }
    for name in test_drivers()? {
        builder.build(&name, &folder)?;
    }
    Ok(folder)
}

/// The names of the drivers of the tests.
pub(crate) fn test_drivers() -> Result<Vec<String>> {
    let folder = workspace::root().join("tests/lab/drivers");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// Where `intact.sys` is left.
pub(crate) fn intact_folder() -> PathBuf {
    workspace::root().join("target/intact")
}

/// Where the drivers of the tests are left.
pub(crate) fn test_drivers_folder() -> PathBuf {
    workspace::root().join("target/drivers")
}

fn target_dir() -> PathBuf {
    workspace::root().join("target/driver-build")
}

/// The configuration for `cargo --config`.
fn write_config(bindings: &Bindings, tools: &Tools) -> Result<PathBuf> {
    let path = bindings.root.join("cargo-driver.toml");
    let root = workspace::root().display().to_string();
    // Paths of this machine do not belong into the image, and would make it differ between machines.
    let mut flags = vec![format!("--remap-path-prefix={root}=intact")];
    if let Some(home) = cargo_home() {
        flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    }
    flags.extend(LINK.iter().map(|argument| format!("-Clink-arg={argument}")));
    let flags: Vec<String> = flags.iter().map(|flag| literal(flag)).collect();
    let folder = literal(&bindings.driver().display().to_string());
    let text = format!(
        "# Made by `cargo xtask setup`: builds drivers on a machine that has no WDK.\n\
         [target.{TARGET}]\n\
         linker = {linker}\n\
         rustflags = [{flags}]\n\
         \n\
         # In place of the build script of wdk-sys, whose `links` key is `wdk`.\n\
         [target.{TARGET}.wdk]\n\
         rustc-cfg = ['driver_model__driver_type=\"WDM\"']\n\
         rustc-env = {{ OUT_DIR = {folder} }}\n\
         rustc-link-lib = [\"ntoskrnl\"]\n\
         rustc-link-search = [{folder}]\n\
         \n\
         # In place of the build script of wdk, whose `links` key is `wdk-sys`.\n\
         [target.{TARGET}.wdk-sys]\n\
         rustc-cfg = ['driver_model__driver_type=\"WDM\"']\n",
        linker = literal(&tools.lld_link()?.display().to_string()),
        flags = flags.join(", "),
    );
    // Cargo would rebuild nothing for an untouched content, but others may be reading the file.
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(path);
    }
    fs::write(&path, text)?;
    Ok(path)
}

fn cargo_home() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
}

/// A TOML literal string.
fn literal(text: &str) -> String {
    format!("'{text}'")
}

/// Puts a copy in place in one step: somebody may be reading the old one.
pub(crate) fn replace(from: &Path, to: &Path) -> Result<()> {
    let temporary = to.with_file_name(format!(
        ".{}.{}",
        to.file_name().unwrap_or_default().to_string_lossy(),
        std::process::id()
    ));
    let result = fs::copy(from, &temporary).and_then(|_| fs::rename(&temporary, to));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    if let Err(error) = result {
        bail!("copying {} to {}: {error}", from.display(), to.display());
    }
    Ok(())
}
