//! `cargo xtask`: set up, build, demonstrate, test and measure Intact. Each command sets up what it needs.

mod bindings;
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
    }
    Ok(())
}
