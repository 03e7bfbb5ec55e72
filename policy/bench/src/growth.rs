//! How the matcher's own time grows with the number of patterns.

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::mix::{Mix, Paths};
use crate::solvers::{self, NAMES, Path, Solver};
use crate::{GOAL_SIZE, PATHS, SIZES, measure};

/// The times of one path in nanoseconds, and the larger in terms of the smaller.
pub(crate) struct Growth {
    pub(crate) small: f64,
    pub(crate) large: f64,
    pub(crate) times: f64,
}

/// The matcher with so many patterns, and paths for it.
fn prepared(count: usize) -> Result<(Box<dyn Solver>, Vec<Path>), String> {
    let mix = Mix::new(count);
    let paths = mix.paths(Paths::Usual, PATHS).iter().map(|path| Path::new(path)).collect();
    Ok((solvers::build(NAMES[0], &mix)?, paths))
}

/// Measures both sizes in turn, in this process: whatever else the machine does is done to both.
///
/// Other work only ever makes a round slower, and makes the size that needs more of the caches slower by more; so the
/// least median of all rounds counts.
pub(crate) fn measure() -> ExitCode {
    let (Ok(mut small), Ok(mut large)) = (prepared(SIZES[0]), prepared(GOAL_SIZE)) else {
        println!("error the patterns are not valid");
        return ExitCode::FAILURE;
    };
    let mut best = [f64::INFINITY; 2];
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        for ((solver, paths), best) in [&mut small, &mut large].into_iter().zip(&mut best) {
            *best = best.min(measure::round(&mut **solver, paths));
        }
    }
    println!("ok {} {}", best[0], best[1]);
    ExitCode::SUCCESS
}

/// Measures three times in processes of their own, where memory lies elsewhere; the middle one counts.
pub(crate) fn run() -> Result<Growth, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let output = Command::new(&program).arg("growth").output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [small, large] = *numbers.as_slice() else { return Err(format!("the growth failed: {text}")) };
        runs.push(Growth { small, large, times: large / small });
    }
    runs.sort_by(|left, right| left.times.total_cmp(&right.times));
    runs.into_iter().nth(1).ok_or_else(|| "nothing was measured".to_owned())
}

/// Only builds and matches, so that a counter of instructions can look on.
pub(crate) fn rounds(count: usize, rounds: usize) -> ExitCode {
    let Ok((mut solver, paths)) = prepared(count) else { return ExitCode::FAILURE };
    for path in (0..rounds).flat_map(|_| &paths) {
        black_box(solver.winner(black_box(path)));
    }
    ExitCode::SUCCESS
}

/// How many instructions one path takes at both sizes, where there is valgrind.
pub(crate) fn instructions() -> Option<[f64; 2]> {
    let counted = |count: usize, rounds: usize| {
        let output = Command::new("valgrind")
            .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
            .arg(std::env::current_exe().ok()?)
            .args(["rounds", &count.to_string(), &rounds.to_string()])
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = text.lines().find(|line| line.contains("refs:"))?;
        line.rsplit(' ').next()?.replace(',', "").parse::<f64>().ok()
    };
    let of = |size| Some((counted(size, 3)? - counted(size, 1)?) / (2 * PATHS) as f64);
    Some([of(SIZES[0])?, of(GOAL_SIZE)?])
}
