//! `cargo xtask demo`: real programs under every fault, with and without Intact.
//!
//! Each program saves its file in place on a lab volume: it finishes, or it is killed, the disk is full, or
//! the power is cut, at points spread over an undisturbed run. The exit status is 0 only if with Intact no
//! file is ever damaged, and without it every program's file is, by at least one fault.

mod grid;
mod html;
mod inputs;
mod picture;
mod programs;
mod runner;
mod terminal;

use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::json;

use grid::{Column, Row};
use runner::Runner;

/// Real programs under every fault, with and without Intact.
#[derive(Parser)]
#[command(name = "cargo xtask demo", bin_name = "cargo xtask demo")]
struct Arguments {
    /// The driver.
    #[arg(long, env = "INTACT_SYS", default_value = "target/intact/intact.sys")]
    intact: PathBuf,
    /// The lab's program.
    #[arg(long)]
    lab: Option<PathBuf>,
    /// The page to write.
    #[arg(long, default_value = "target/demo/index.html")]
    page: PathBuf,
    /// Only programs whose name contains this; may be repeated.
    #[arg(long)]
    only: Vec<String>,
    /// Points at which each fault strikes, spread evenly.
    #[arg(long, default_value_t = 5)]
    points: u32,
    /// Decides what a power cut leaves, and every order in the lab.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print everything that was found as JSON instead of the table.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match demo(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn demo(arguments: &Arguments) -> Result<bool> {
    let begun = Instant::now();
    let wanted =
        |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|part| name.contains(part));
    let programs: Vec<_> = programs::PROGRAMS.iter().filter(|program| wanted(program.name)).collect();
    if programs.is_empty() {
        let names: Vec<_> = programs::PROGRAMS.iter().map(|program| program.name).collect();
        bail!("no program is called that; there are: {}", names.join(", "));
    }
    runner::install(&programs)?;
    let runner = Runner::new(arguments.lab.as_deref(), &arguments.intact, arguments.points, arguments.seed)?;
    let rows = runner.all(&programs, |done, of, name| {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K{done} of {of}: {name}");
        }
    });
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    let rows = rows?;
    let mut complaints: Vec<String> = rows.iter().flat_map(Row::complaints).collect();
    complaints.dedup();
    let seconds = begun.elapsed().as_secs_f32();
    if let Some(folder) = arguments.page.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::write(&arguments.page, html::page(&rows, &complaints, seconds))
        .with_context(|| arguments.page.display().to_string())?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&data(&rows, &complaints))?);
    } else {
        print!("{}", terminal::table(&rows, std::io::stdout().is_terminal()));
        let count = |with| -> (usize, usize) {
            let cells = rows.iter().flat_map(|row| Column::ALL.map(|column| row.cell(column, with)));
            cells.fold((0, 0), |(losses, all), cell| (losses + cell.losses(), all + cell.trials.len()))
        };
        let ((without, of), (with, of_with)) = (count(false), count(true));
        println!(
            "\nfiles damaged: without Intact in {without} of {of} runs, with Intact in {with} of {of_with}"
        );
        println!("page: {} ({seconds:.0} s)", arguments.page.display());
        for complaint in &complaints {
            println!("NOT GOOD: {complaint}");
        }
    }
    Ok(complaints.is_empty())
}

fn data(rows: &[Row], complaints: &[String]) -> serde_json::Value {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let cells = |with| -> serde_json::Map<String, serde_json::Value> {
                let cell = |column: Column| (column.title().to_owned(), row.cell(column, with).word().into());
                Column::ALL.map(cell).into_iter().collect()
            };
            json!({
                "program": row.program.name,
                "without": cells(false),
                "with": cells(true),
                "reports": { "without": row.without, "with": row.with },
            })
        })
        .collect();
    json!({ "good": complaints.is_empty(), "complaints": complaints, "rows": rows })
}
