//! `lab bench`: what a driver costs, in instructions and allocations per operation.
//!
//! One program opens, reads, writes and closes two files: `C:\Plain\file.bin`, and `C:\Saved\file.bin`, which
//! the registry file is meant to put under the driver's care. Counted are the instructions executed inside the
//! driver's image ([`step`]), what it imports and calls, and which of these calls allocate. The numbers are
//! exact and the same in every run; they say nothing about time, which the lab does not model.

mod step;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use lab_volume::{Base, Volume};
use serde::{Deserialize, Serialize};

use crate::caller::{Caller, CreateOptions, GENERIC_READ, GENERIC_WRITE, Handle, Offset};
use crate::loading::Driver;
use crate::run::DriverFile;
use crate::{Lab, Process};
use step::Steps;

/// Counts the instructions that drivers execute for one create, read, write and close.
///
/// The operations are on C:\Plain\file.bin and on C:\Saved\file.bin, 4 KiB each; a driver that treats some files
/// differently is told by the registry file to watch C:\Saved\**. Ratios are against the first driver.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A driver; may be repeated. Each is measured alone.
    #[arg(long = "driver", value_name = "FILE.sys", required = true)]
    drivers: Vec<DriverFile>,
    /// Registry values for the drivers, as a .reg file.
    #[arg(long, value_name = "FILE.reg")]
    policy: Option<PathBuf>,
    /// How often each operation is measured; the median is shown.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Print the numbers as JSON.
    #[arg(long)]
    json: bool,
}

/// What one operation cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// What was done, and to which file.
    pub operation: String,
    /// Instructions executed inside the image.
    pub instructions: u64,
    /// Calls of imports.
    pub calls: u64,
    /// Those among them that allocate.
    pub allocations: u64,
    /// Whether every round cost the same.
    pub steady: bool,
}

/// All costs of one driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Costs {
    /// Its file name.
    pub driver: String,
    /// Per operation, in the order in which they are done.
    pub operations: Vec<Cost>,
}

/// `lab bench`: prints the table; returns the exit status.
///
/// # Errors
/// A driver that does not load, or a rule that it breaks.
pub fn command(arguments: &Arguments) -> Result<u8> {
    let policy = match &arguments.policy {
        Some(path) => Some(fs::read(path).with_context(|| path.display().to_string())?),
        None => None,
    };
    let mut all = Vec::new();
    for driver in &arguments.drivers {
        all.push(measure(driver, policy.as_deref(), arguments.rounds.max(1))?);
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        print!("{}", table(&all));
    }
    Ok(0)
}

/// The operations of one round.
const OPERATIONS: [&str; 4] = ["create", "write", "read", "close"];
/// Where the files are, and what the table calls that.
const FOLDERS: [(&str, &str); 2] = [("Plain", "unmatched"), ("Saved", "matched")];
/// Rounds before the measurement: names and contexts are cached then, as in a system that runs.
const WARM_UP: usize = 3;

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    instructions: u64,
    calls: u64,
    allocations: u64,
}

impl Counters {
    fn now(caller: &Caller<'_>) -> Counters {
        let counts = caller.executive().calls.counts();
        let allocates = |name: &str| name.starts_with("ExAllocate") || name.starts_with("FltAllocate");
        Counters {
            instructions: step::instructions(),
            calls: counts.values().sum(),
            allocations: counts.iter().filter(|(name, _)| allocates(name)).map(|(_, count)| count).sum(),
        }
    }

    fn since(self, before: Counters) -> Counters {
        Counters {
            instructions: self.instructions - before.instructions,
            calls: self.calls - before.calls,
            allocations: self.allocations - before.allocations,
        }
    }
}

/// Measures a driver; `policy`: registry values for it, as a .reg file. One at a time in a process, in one thread.
///
/// # Errors
/// A driver that does not load, or a rule that it breaks.
pub fn measure(driver: &DriverFile, policy: Option<&[u8]>, rounds: usize) -> Result<Costs> {
    // Nothing that the seed decides may change the path through the driver.
    let lab = Lab::builder()
        .config(|config| config.preempt_per_mille = 0)
        .completions_elsewhere(false)
        .base(volume()?)
        .build()?;
    if let Some(policy) = policy {
        let applied = lab.executive().change_registry(|registry| registry.apply(policy));
        applied.map_err(|error| anyhow::anyhow!("the registry file: {error}"))?;
    }
    let loaded =
        lab.load(&driver.path, &driver.service(0, &lab)).map_err(|error| anyhow::anyhow!("{error}"))?;
    let steps = Steps::watch(image(&lab, &loaded)?)?;
    let program = lab.process("bench.exe");
    let mut operations = Vec::new();
    for (folder, word) in FOLDERS {
        let path = format!(r"C:\{folder}\file.bin");
        for _ in 0..WARM_UP {
            round(&program, &path)?;
        }
        let rounds = (0..rounds).map(|_| round(&program, &path)).collect::<Result<Vec<_>>>()?;
        for (index, operation) in OPERATIONS.iter().enumerate() {
            let samples: Vec<Counters> = rounds.iter().map(|round| round[index]).collect();
            operations.push(cost(format!("{word} {operation}"), &samples));
        }
    }
    program.exit(0);
    drop(steps);
    let report = lab.unload();
    if !report.is_clean() {
        bail!("{}: {report}", driver.name());
    }
    Ok(Costs { driver: driver.name(), operations })
}

fn volume() -> Result<Base> {
    let mut volume = Volume::mount(Base::formatted(8192, "Lab"))?;
    for (folder, _) in FOLDERS {
        let put = volume.put_file(&format!(r"{folder}\file.bin"), &[1; 64 * 1024]);
        put.map_err(|status| anyhow::anyhow!("{folder}: {status}"))?;
    }
    Ok(volume.dismount())
}

fn image(lab: &Lab, driver: &Driver) -> Result<std::ops::Range<usize>> {
    let index = driver.image.context("the driver has no image")?;
    let image = lab.executive().images.get(index);
    Ok(image.base()..image.base() + image.size())
}

/// Open, write, read, close: the cost of each.
fn round(program: &Process, path: &str) -> Result<[Counters; 4]> {
    let path = path.to_owned();
    let done = program.try_call(move |caller| {
        let mut costs = [Counters::default(); 4];
        let mut handle = Handle(0);
        for (operation, cost) in costs.iter_mut().enumerate() {
            let before = Counters::now(caller);
            let done = match operation {
                0 => caller
                    .create_file(&CreateOptions::open(&path, GENERIC_READ | GENERIC_WRITE))
                    .map(|created| handle = created.handle),
                1 => caller.write(handle, Offset::At(4096), &[2; 4096]).map(|_| ()),
                2 => caller.read(handle, Some(4096), 4096).map(|_| ()),
                _ => caller.close(handle),
            };
            *cost = Counters::now(caller).since(before);
            done.map_err(|status| format!("{} {path}: {status}", OPERATIONS[operation]))?;
        }
        Ok::<_, String>(costs)
    });
    match done {
        Ok(Ok(costs)) => Ok(costs),
        Ok(Err(failure)) => bail!("{failure}"),
        Err(violation) => bail!("{violation}"),
    }
}

fn cost(operation: String, samples: &[Counters]) -> Cost {
    let median = |of: fn(&Counters) -> u64| -> u64 {
        let mut values: Vec<u64> = samples.iter().map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    let instructions = median(|sample| sample.instructions);
    Cost {
        operation,
        instructions,
        calls: median(|sample| sample.calls),
        allocations: median(|sample| sample.allocations),
        steady: samples.iter().all(|sample| sample.instructions == instructions),
    }
}

fn table(all: &[Costs]) -> String {
    let mut text =
        String::from("Per operation: instructions inside the image, imports called, of these allocations.\n");
    text.push_str("Matched files are in C:\\Saved, unmatched ones in C:\\Plain. ~ means that not every round cost the same.\n\n");
    write!(text, "{:18}", "").ok();
    for (index, costs) in all.iter().enumerate() {
        write!(text, "  {:>30}", costs.driver).ok();
        text.push_str(if index > 0 { "   ratio" } else { "" });
    }
    text.push('\n');
    let Some(first) = all.first() else { return text };
    for (row, base) in first.operations.iter().enumerate() {
        write!(text, "{:18}", base.operation).ok();
        for (index, costs) in all.iter().enumerate() {
            let cost = &costs.operations[row];
            let mark = if cost.steady { "" } else { "~" };
            let cell =
                format!("{mark}{} ({} calls, {} alloc)", cost.instructions, cost.calls, cost.allocations);
            write!(text, "  {cell:>30}").ok();
            if index > 0 {
                write!(text, "  {:>6}", ratio(cost.instructions, base.instructions)).ok();
            }
        }
        text.push('\n');
    }
    text
}

fn ratio(cost: u64, base: u64) -> String {
    if base == 0 { "-".into() } else { format!("{:.1}", cost as f64 / base as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(instructions: u64) -> Counters {
        Counters { instructions, calls: 1, allocations: 0 }
    }

    #[test]
    fn the_median_is_shown_and_a_changing_cost_is_marked() {
        assert!(cost("read".into(), &[counters(5), counters(5)]).steady);
        let uneven = cost("read".into(), &[counters(5), counters(9), counters(6)]);
        assert_eq!((uneven.instructions, uneven.steady), (6, false));
        let costs = Costs { driver: "a.sys".into(), operations: vec![uneven] };
        assert!(table(&[costs]).contains("~6 (1 calls, 0 alloc)"));
    }

    #[test]
    fn a_driver_that_does_nothing_gives_no_ratio() {
        assert_eq!(ratio(10, 0), "-");
        assert_eq!(ratio(15, 10), "1.5");
    }
}
