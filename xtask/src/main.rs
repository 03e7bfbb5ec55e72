//! `cargo xtask`: set up, build, demonstrate, test and measure Intact. Each command sets up what it needs.

mod bindings;
mod driver;
mod run;
mod stamp;
mod toolchain;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use tools::{For, Tools};

/// Set up, build, demonstrate, test and measure Intact.
///
/// Every command first sets up what it needs: on Debian as root it installs packages and says which;
/// elsewhere it names what is missing and how to get it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building needs and generate the Windows declarations (target/bindings).
    Setup,
    /// Build intact.sys, intact.pdb and intact.inf into target/intact and print that path.
    ///
    /// The drivers of the tests (tests/lab/drivers) go to target/drivers.
    Build {
        /// Only these packages: `intact`, or names of folders in tests/lab/drivers.
        packages: Vec<String>,
    },
}

fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Setup => {
            let tools = Tools::ensure(&[For::Bindings, For::Driver, For::Mount])?;
            let bindings = bindings::ensure(&tools)?;
            println!("{}", bindings.root.display());
        }
        Task::Build { packages } => build(&packages)?,
    }
    Ok(())
}

fn build(packages: &[String]) -> Result<()> {
    let builder = driver::Builder::prepare()?;
    if packages.is_empty() {
        let folder = driver::build_intact(&builder)?;
        driver::build_test_drivers(&builder)?;
        println!("{}", folder.display());
        return Ok(());
    }
    for package in packages {
        if package == "intact" {
            println!("{}", driver::build_intact(&builder)?.display());
        } else {
            println!("{}", builder.build(package, &driver::test_drivers_folder())?.image.display());
        }
    }
    Ok(())
}
