//! The decisions of the driver under AddressSanitizer.

use std::process::Command;

use anyhow::{Result, bail};

use crate::report::{Log, Outcome};
use crate::tools::{For, Tools};
use crate::{report, toolchain, workspace};

/// The crates whose code runs in the kernel without `unsafe` of their own, and so decide on lengths and
/// indices that others rely on.
const PACKAGES: &[&str] = &["intact", "intact-policy"];

const HOST: &str = "x86_64-unknown-linux-gnu";

/// Runs their own tests, and the fuzz targets of the policy on their made-up inputs.
pub(crate) fn run(log: &mut Log) -> Result<Outcome> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(Outcome::Skipped("only on x86-64 Linux".into()));
    }
    let tools = Tools::ensure(&[For::Sanitizer])?;
    let mut flags = vec!["-Zsanitizer=address".to_owned()];
    if !toolchain::has_sanitizer() {
        // Debian's compiler comes without the runtime: clang's is linked.
        flags.push("-Zexternal-clangrt".to_owned());
        flags.push(format!("-Clinker={}", tools.asan_clang()?.display()));
        flags.push("-Clink-arg=-fsanitize=address".to_owned());
    }
    let mut command = Command::new(toolchain::cargo());
    command
        .current_dir(workspace::root())
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // It then says that it is there.
        .env("ASAN_OPTIONS", "verbosity=1")
        .env("CARGO_TARGET_DIR", workspace::root().join("target/asan"))
        // With a target named, build scripts and macros are left alone.
        .args(["test", "--target", HOST, "--lib", "--test", "fuzz"]);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    let output = log.run(&mut command)?;
    let count = report::passed(&output);
    if count == 0 || !output.contains("AddressSanitizer: ") {
        bail!("{count} tests ran, and the runtime did not say that it was there");
    }
    Ok(Outcome::Passed(format!("{count} tests")))
}
