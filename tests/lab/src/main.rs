//! `lab`: loads minifilters and runs programs on a lab volume.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A Windows I/O stack in a user-mode process: loads minifilters, and shows what they do to programs' files.
#[derive(Parser)]
#[command(name = "lab")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    Load(lab::load::Arguments),
    Fidelity(lab::fidelity::Arguments),
    Run(lab::run::Arguments),
    Bench(lab::bench::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Task::Load(arguments) => lab::load::command(&arguments),
        Task::Fidelity(arguments) => lab::fidelity::command(&arguments),
        Task::Run(arguments) => lab::run::command(&arguments),
        Task::Bench(arguments) => lab::bench::command(&arguments),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
