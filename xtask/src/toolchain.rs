//! The compiler that builds the driver.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools;

/// What a driver is built for.
pub(crate) const TARGET: &str = "x86_64-pc-windows-msvc";
/// What a program for Windows is built for on other systems: its libraries can be had there.
pub(crate) const PROGRAM_TARGET: &str = "x86_64-pc-windows-gnu";

/// A compiler that can build for a target.
#[derive(Clone, Debug)]
pub(crate) enum Toolchain {
    /// The compiler that runs `cargo xtask` has the target.
    Installed,
    /// This compiler has not, but its library's sources are there: they are built first.
    FromSource { rustc: PathBuf },
}

/// Finds one for [`TARGET`].
pub(crate) fn find() -> Option<Toolchain> {
    find_for(TARGET)
}

/// Finds one: the target in the toolchain in use, then the library's sources in that toolchain, then Debian's
/// compiler with its sources. Nothing is downloaded.
pub(crate) fn find_for(target: &str) -> Option<Toolchain> {
    let rustc = current_rustc();
    let library = output(Command::new(&rustc).args(["--print", "target-libdir", "--target", target]));
    if library.is_some_and(|dir| has_core(Path::new(dir.trim()))) {
        return Some(Toolchain::Installed);
    }
    [rustc, PathBuf::from("/usr/bin/rustc")]
        .into_iter()
        .find(|rustc| has_source(rustc))
        .map(|rustc| Toolchain::FromSource { rustc })
}

impl Toolchain {
    /// Cargo, set up so that it builds for [`TARGET`] when given [`Self::arguments`].
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(cargo());
        self.environment(&mut command);
        command
    }

    fn environment(&self, command: &mut Command) {
        // What `cargo xtask` was started with is about the host.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        if let Self::FromSource { rustc } = self {
            // Building the library from its sources is an unstable feature of a stable compiler.
            command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        }
    }

    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--target".to_owned(), TARGET.to_owned()];
        if let Self::FromSource { .. } = self {
            arguments.push("-Zbuild-std=core,alloc,compiler_builtins".to_owned());
            arguments.push("-Zbuild-std-features=compiler-builtins-mem".to_owned());
        }
        arguments
    }

    /// The same for a program with the standard library, for [`PROGRAM_TARGET`].
    pub(crate) fn program_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--target".to_owned(), PROGRAM_TARGET.to_owned()];
        if let Self::FromSource { .. } = self {
            arguments.push("-Zbuild-std=std,panic_abort".to_owned());
        }
        arguments
    }

    /// The command that is `cargo clippy` with this compiler.
    pub(crate) fn clippy(&self) -> Option<Command> {
        let program = match self {
            Self::Installed => tools::on_path("cargo-clippy")?,
            Self::FromSource { rustc } if rustc.starts_with("/usr/bin") => {
                Some(PathBuf::from("/usr/bin/cargo-clippy")).filter(|path| path.is_file())?
            }
            Self::FromSource { .. } => tools::on_path("cargo-clippy")?,
        };
        let mut command = Command::new(program);
        command.arg("clippy").env("CARGO", cargo());
        self.environment(&mut command);
        Some(command)
    }
}

/// The Cargo that runs us, or the one on `PATH`.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Whether `cargo <name>` works with the Cargo in use.
pub(crate) fn component(name: &str) -> bool {
    output(Command::new(cargo()).args([name, "--version"])).is_some()
}

/// Whether the compiler in use carries the AddressSanitizer runtime for the host.
pub(crate) fn has_sanitizer() -> bool {
    output(Command::new(current_rustc()).args(["--print", "target-libdir"])).is_some_and(|dir| {
        std::fs::read_dir(dir.trim()).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a"))
        })
    })
}

fn current_rustc() -> PathBuf {
    std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from)
}

fn has_core(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

/// Whether the compiler is new enough for the workspace and its library's sources are where Cargo looks.
fn has_source(rustc: &Path) -> bool {
    let Some(sysroot) = output(Command::new(rustc).args(["--print", "sysroot"])) else { return false };
    let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    let Some(version) = output(Command::new(rustc).arg("--version")) else { return false };
    sources.is_file() && minor(&version).is_some_and(|minor| minor >= 91)
}

/// `rustc 1.96.0 (…)`: 96.
fn minor(version: &str) -> Option<u32> {
    version.split_whitespace().nth(1)?.split('.').nth(1)?.parse().ok()
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(std::process::Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_minor_version_is_read_from_what_rustc_says() {
        assert_eq!(
            super::minor("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"),
            Some(96)
        );
        assert_eq!(super::minor("rustc 1.97.0-nightly (e50aa6fba 2026-05-19)"), Some(97));
    }
}
