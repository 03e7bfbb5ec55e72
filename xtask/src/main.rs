//! `cargo xtask`: set up, build, demonstrate, test and measure Intact. Each command sets up what it needs.

mod bindings;
mod driver;
mod image;
mod lab;
#[cfg(unix)]
mod mutants;
mod policy;
mod program;
mod report;
mod run;
mod sanitizer;
mod slices;
mod stamp;
mod toolchain;
mod tools;
mod windows;
mod wine;
mod workspace;

use std::process::ExitCode;

use anyhow::{Context, Result};
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
    /// Build what is run on a Windows machine into target/windows: the driver, intact-faults.exe, and PowerShell
    /// scripts that install, test and remove them.
    Windows,
    /// Run the tests: all of them, or the named slices.
    Test(Test),
    /// Run real programs under every fault, with and without Intact.
    ///
    /// One table on the terminal, and a page with a picture of it: target/demo/index.html. The exit status is 0
    /// only if with Intact no file was damaged, and without it some were.
    Demo {
        /// Arguments for the demo: `cargo xtask demo -- --help` shows them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Try every fault: power cuts at every moment of every short program that saves, with and without Intact.
    ///
    /// The exit status is 0 only if with Intact nothing was damaged, and without it something was.
    Faults {
        /// Arguments for the tests: `cargo xtask faults -- --help` shows them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure what Intact costs, against a minifilter that does nothing.
    ///
    /// `cargo xtask bench policy` measures the policy's matcher alone, against globset, regex and aho-corasick.
    Bench {
        /// Arguments for the measurement: `cargo xtask bench -- --help` shows them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run generated programs with and without Intact, and compare everything that they are told.
    ///
    /// The exit status is 0 only if nothing differs but what the written list of differences names.
    Transparency {
        /// `--operations N`, `--seed S`, `--json`, …: `cargo xtask transparency -- --help` shows them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Change the driver in more than two thousand small ways, one at a time, and count how many of them the tests notice.
    ///
    /// One build carries all changes; each is switched on in turn. What no test noticed is in
    /// target/mutants/driver/missed.txt; minifilter/mutants.md explains what is left there. All of them take an hour or
    /// two: `--sample` tries some, `--budget 4` asks the likeliest tests only, `--jobs 2` two changes at once. The exit
    /// status is 0 if enough of them were noticed.
    #[cfg(unix)]
    Mutants(mutants::Arguments),
    /// Tools around the policy.
    Policy {
        #[command(subcommand)]
        task: PolicyTask,
    },
    /// Run the lab's own program: `cargo xtask lab -- --help`.
    Lab {
        /// Arguments for the lab.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(Subcommand)]
enum PolicyTask {
    /// Build intact-policy.exe for Windows into target/intact and print its path.
    Windows,
    /// Change the policy crate in more than a thousand small ways, and count how many of them the tests notice.
    ///
    /// It needs cargo-mutants (cargo install --locked cargo-mutants) and takes an hour or more. What no test noticed is in
    /// target/mutants/policy/mutants.out/missed.txt; policy/mutants.md explains what is left there.
    Mutants {
        /// How many changes are tried at a time.
        #[arg(long, default_value_t = 2)]
        jobs: u32,
        /// Only every N-th of them, beginning with the K-th, as K/N with K from 0.
        #[arg(long)]
        shard: Option<String>,
    },
}

#[derive(clap::Args)]
#[command(after_help = slices_help())]
struct Test {
    /// Names of slices; all of them if none is named.
    slices: Vec<String>,
    /// Print the summary as JSON on standard output.
    #[arg(long)]
    json: bool,
    /// Only list the slices.
    #[arg(long)]
    list: bool,
}

fn slices_help() -> String {
    let mut text = String::from("Slices:\n");
    for slice in slices::SLICES {
        text.push_str(&format!("  {:<8} {}\n", slice.name, slice.about));
    }
    text.push_str("\nThe whole output of a slice is in target/test-logs/SLICE.log.");
    text
}

fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup if cfg!(windows) => {
            println!("nothing to set up: the crates of the driver find the WDK and LLVM by themselves");
        }
        Task::Setup => {
            let tools = Tools::ensure(&[For::Bindings, For::Driver, For::Mount])?;
            let bindings = bindings::ensure(&tools)?;
            println!("{}", bindings.root.display());
        }
        Task::Build { packages } => build(&packages)?,
        Task::Windows => println!("{}", windows::folder()?.display()),
        Task::Test(test) => return self::test(&test),
        Task::Demo { arguments } => return pass_on(&mut lab::demo(&arguments)?),
        Task::Faults { arguments } => return pass_on(&mut lab::faults(&arguments)?),
        Task::Bench { arguments } if arguments.first().is_some_and(|first| first == "policy") => {
            return pass_on(&mut policy::bench(&arguments[1..])?);
        }
        Task::Bench { arguments } => return pass_on(&mut lab::bench(&arguments)?),
        Task::Transparency { arguments } => return pass_on(&mut lab::transparency(&arguments)?),
        #[cfg(unix)]
        Task::Mutants(arguments) => return mutants::run(&arguments),
        Task::Policy { task: PolicyTask::Windows } => println!("{}", policy::windows()?.display()),
        Task::Policy { task: PolicyTask::Mutants { jobs, shard } } => {
            policy::mutants(jobs, shard.as_deref())?;
        }
        Task::Lab { arguments } => return pass_on(&mut lab::command(&arguments)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn test(test: &Test) -> Result<ExitCode> {
    if test.list {
        print!("{}", slices_help());
        return Ok(ExitCode::SUCCESS);
    }
    let passed = report::run(&slices::select(&test.slices)?, test.json)?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a program in our place: its exit status is ours.
fn pass_on(command: &mut std::process::Command) -> Result<ExitCode> {
    let status = command.status().with_context(|| format!("starting {}", run::display(command)))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_after_the_first_dashes_is_the_labs() {
        let line = "xtask lab -- run --seed 3 -- sort -o a a";
        let Task::Lab { arguments } = Arguments::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("another command")
        };
        assert_eq!(arguments.join(" "), "run --seed 3 -- sort -o a a");
    }

    #[test]
    fn the_demo_takes_its_options_without_dashes_too() {
        let line = "xtask demo --points 3";
        let Task::Demo { arguments } = Arguments::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("another command")
        };
        assert_eq!(arguments, ["--points", "3"]);
    }
}
