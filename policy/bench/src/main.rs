//! `cargo xtask bench policy`: the matcher against the crates that one would otherwise take.
//!
//! Each crate solves the same problem at each size in a process of its own, with a limit of time, and its answers are
//! compared with Intact's.

mod growth;
mod measure;
mod mix;
mod solvers;

use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use mix::{Mix, Paths};
use solvers::{NAMES, Path};

#[global_allocator]
static ALLOCATOR: measure::Counting = measure::Counting;

const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
/// The size that the goals are about.
const GOAL_SIZE: usize = 10_000;
const PATHS: usize = 2_000;

/// What one crate needed at one size.
#[derive(Clone, Copy, Debug)]
struct Measured {
    build: f64,
    bytes: f64,
    warm: f64,
    cold: f64,
    adversarial: f64,
    allocations: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["one", name, count] => one(name, count.parse().unwrap_or(0)),
        ["growth"] => growth::measure(),
        ["rounds", count, rounds] => growth::rounds(count.parse().unwrap_or(0), rounds.parse().unwrap_or(0)),
        options if options.iter().all(|option| ["--quick", "--json"].contains(option)) => {
            let json = options.contains(&"--json");
            if options.contains(&"--quick") {
                all(&[10, 1_000, 10_000], Duration::from_secs(30), json)
            } else {
                all(&SIZES, Duration::from_secs(60), json)
            }
        }
        _ => {
            println!(
                "cargo xtask bench policy [--quick] [--json]\n\nTimes the policy matcher against globset, regex and \
                 aho-corasick.\n--quick: three sizes, at most 30 seconds for each. --json: the figures as JSON on standard \
                 output, everything else on standard error."
            );
            ExitCode::from(2)
        }
    }
}

/// Measures one crate at one size, in this process.
fn one(name: &str, count: usize) -> ExitCode {
    let mix = Mix::new(count);
    let prepared =
        |kind, count| mix.paths(kind, count).iter().map(|path| Path::new(path)).collect::<Vec<_>>();
    let usual = prepared(Paths::Usual, PATHS);
    let adversarial = prepared(Paths::Adversarial, 64);
    let live = measure::live();
    let begun = Instant::now();
    let mut solver = match solvers::build(name, &mix) {
        Ok(solver) => solver,
        Err(error) => {
            println!("error {error}");
            return ExitCode::FAILURE;
        }
    };
    let build = begun.elapsed();

    let mut intact = solvers::build(NAMES[0], &mix).expect("the patterns are valid");
    let mut matching = 0;
    let calls = measure::calls();
    // A slow one gets as far as it gets; at least one in ten is compared.
    let begun = Instant::now();
    for (place, path) in usual.iter().chain(&adversarial).enumerate() {
        if begun.elapsed() > Duration::from_secs(10) && place % 10 != 0 {
            continue;
        }
        let (ours, theirs) = (intact.winner(path), solver.winner(path));
        assert_eq!(ours, theirs, "{name} disagrees at {count} patterns about path {place}");
        matching += usize::from(ours.is_some());
    }
    let allocations = measure::calls() - calls;
    assert!(matching > 0);
    drop(intact);
    // What a crate keeps between two paths belongs to it.
    let bytes = solver.size().unwrap_or(measure::live().saturating_sub(live));

    let budget = Duration::from_millis(700);
    let warm = measure::warm(&mut *solver, &usual, budget);
    let cold = measure::cold(&mut *solver, &usual, budget);
    let hard = measure::warm(&mut *solver, &adversarial, budget);
    println!("ok {} {bytes} {warm} {cold} {hard} {allocations}", build.as_secs_f64());
    ExitCode::SUCCESS
}

/// Runs every crate at every size and judges the goals.
fn all(sizes: &[usize], limit: Duration, json: bool) -> ExitCode {
    let say = |line: &str| if json { eprintln!("{line}") } else { println!("{line}") };
    say("Median nanoseconds for one path of 2,000, half of which match.\n");
    say(&format!(
        "{:>8}  {:<14}{:>11}{:>11}{:>14}{:>12}{:>12}",
        "patterns", "", "warm ns", "cold ns", "adversarial", "build ms", "KiB"
    ));
    let mut table: Vec<(usize, &str, Measured)> = Vec::new();
    for &size in sizes {
        for name in NAMES {
            match measured(name, size, limit) {
                Ok(one) => {
                    say(&format!(
                        "{size:>8}  {name:<14}{:>11.0}{:>11.0}{:>14.0}{:>12.1}{:>12.0}",
                        one.warm,
                        one.cold,
                        one.adversarial,
                        one.build * 1e3,
                        one.bytes / 1024.0
                    ));
                    table.push((size, name, one));
                }
                Err(why) => say(&format!("{size:>8}  {name:<14}  {why}")),
            }
        }
    }
    let judged = growth::run().and_then(|growth| judge(&table, &growth));
    let goals = match judged {
        Ok(goals) => goals,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    say(&format!("\nGoals at {GOAL_SIZE} patterns; every answer agreed:"));
    for (reached, goal) in &goals {
        say(&format!("  {}  {goal}", if *reached { "pass" } else { "FAIL" }));
    }
    if let Some([small, large]) = growth::instructions() {
        say(&format!(
            "\nInstructions for one path, by valgrind: {small:.0} at {}, {large:.0} at {GOAL_SIZE} patterns",
            SIZES[0]
        ));
    }
    let passed = goals.iter().all(|(reached, _)| *reached);
    if json {
        println!("{}", as_json(&table, &goals, passed));
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each goal, and whether it is reached.
fn judge(table: &[(usize, &str, Measured)], growth: &growth::Growth) -> Result<Vec<(bool, String)>, String> {
    let of = |name| table.iter().find(|row| row.0 == GOAL_SIZE && row.1 == name).map(|row| row.2);
    let ours = of(NAMES[0]).ok_or("intact-policy itself was not measured")?;
    let others = NAMES.iter().skip(1).filter_map(|name| Some((of(name)?.warm, *name)));
    let (fastest, fastest_name) =
        others.min_by(|left, right| left.0.total_cmp(&right.0)).ok_or("nothing else was measured")?;
    let times = fastest / ours.warm;
    let mib = ours.bytes / f64::from(1 << 20);
    Ok(vec![
        (
            times >= 4.0,
            format!("at least 4 times faster than the fastest ({fastest_name}): {times:.1} times"),
        ),
        (
            growth.times <= 1.3,
            format!(
                "at most 1.3 times its own time at {}: {:.2} times ({:.0} and {:.0} ns, measured in turn)",
                SIZES[0], growth.times, growth.small, growth.large
            ),
        ),
        (mib < 5.0, format!("under 5 MiB: {mib:.2} MiB")),
        (ours.allocations == 0.0, format!("no allocation while matching: {}", ours.allocations)),
    ])
}

fn as_json(table: &[(usize, &str, Measured)], goals: &[(bool, String)], passed: bool) -> String {
    let rows: Vec<String> = table
        .iter()
        .map(|(size, name, one)| {
            format!(
                r#"    {{"patterns": {size}, "crate": "{name}", "warm_ns": {}, "cold_ns": {}, "adversarial_ns": {}, "build_ms": {}, "bytes": {}, "allocations": {}}}"#,
                one.warm, one.cold, one.adversarial, one.build * 1e3, one.bytes, one.allocations
            )
        })
        .collect();
    let goals: Vec<String> = goals
        .iter()
        .map(|(reached, goal)| format!(r#"    {{"goal": "{goal}", "reached": {reached}}}"#))
        .collect();
    format!(
        "{{\n  \"passed\": {passed},\n  \"rows\": [\n{}\n  ],\n  \"goals\": [\n{}\n  ]\n}}",
        rows.join(",\n"),
        goals.join(",\n")
    )
}

/// Runs this program again for one crate at one size: three times, unless that takes long, because other work on the
/// machine only ever makes it slower. The least median of each kind counts.
fn measured(name: &str, size: usize, limit: Duration) -> Result<Measured, String> {
    let begun = Instant::now();
    let mut best = run(name, size, limit)?;
    for _ in 0..2 {
        if begun.elapsed() > Duration::from_secs(12) {
            break;
        }
        let again = run(name, size, limit)?;
        best.build = best.build.min(again.build);
        best.warm = best.warm.min(again.warm);
        best.cold = best.cold.min(again.cold);
        best.adversarial = best.adversarial.min(again.adversarial);
    }
    Ok(best)
}

fn run(name: &str, size: usize, limit: Duration) -> Result<Measured, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(["one", name, &size.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if begun.elapsed() > limit => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("not done within {} s", limit.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut output = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut output).map_err(|error| error.to_string())?;
    }
    let numbers: Vec<f64> = output.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    match *numbers.as_slice() {
        [build, bytes, warm, cold, adversarial, allocations] if status.success() => {
            Ok(Measured { build, bytes, warm, cold, adversarial, allocations })
        }
        _ if status.code() == Some(101) => panic!("{name} disagrees at {size} patterns"),
        _ => Err(format!("failed: {}", output.trim().trim_start_matches("error "))),
    }
}
