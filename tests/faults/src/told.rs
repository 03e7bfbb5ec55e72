//! Results as text for the terminal.

use std::fmt::Write as _;

use crate::Results;
use crate::crash::Counts;

/// What was looked at, in one line.
pub fn counts(counts: &Counts) -> String {
    format!(
        "{} workloads, {} crash points, {} crash states ({} of them in recovery), {} different disks recovered: \
         {} old, {} new, {} with a documented limit, {} damaged; driver attached to {} different volumes",
        counts.workloads,
        counts.points,
        counts.states,
        counts.nested,
        counts.disks,
        counts.old,
        counts.new,
        counts.limited,
        counts.damaged,
        counts.volumes,
    )
}

/// Everything.
pub fn summary(results: &Results) -> String {
    let mut text = String::new();
    let crashes = &results.crashes;
    let mut line = |what: &str, value: String| {
        writeln!(text, "{what:<22} {value}").ok();
    };
    line("with Intact", counts(&crashes.with));
    line("without", counts(&crashes.without));
    line(
        "disk ignores flushes",
        format!("{} (with Intact: no software can save these)", counts(&crashes.lying)),
    );
    for (actions, growth) in &crashes.growth {
        let per = |count: u64, seconds: f64| count as f64 / seconds.max(1e-9);
        line(
            &format!("{actions} action(s)"),
            format!(
                "{:.1} crash states, {:.0} driver calls per workload; {:.0} crash states and {:.0} driver calls \
                 per second of one core",
                per(growth.states, growth.workloads as f64),
                per(growth.calls, growth.workloads as f64),
                per(growth.states, growth.recovering),
                per(growth.calls, growth.running),
            ),
        );
    }
    let states = crashes.with.states + crashes.without.states + crashes.lying.states;
    line("speed", format!("{:.0} crash states per second, all parts", states as f64 / results.seconds));
    for (difference, count) in &crashes.differences {
        line("told otherwise", format!("{difference} ({count} times)"));
    }
    line("seed", results.seed.to_string());
    line("trace", format!("{:016x}", crashes.trace));
    for failure in &crashes.failures {
        writeln!(
            text,
            "\nFAILED ({}): {}\n  program: {}\n  fault: {}\n  again: {}",
            failure.part, failure.what, failure.workload, failure.fault, failure.reproduce
        )
        .ok();
    }
    for complaint in results.complaints() {
        writeln!(text, "NOT GOOD: {complaint}").ok();
    }
    writeln!(text, "{:.0} s", results.seconds).ok();
    text
}
