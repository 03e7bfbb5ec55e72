//! Results as text for the terminal.

use std::fmt::Write as _;

use crate::Results;
use crate::assumed::Assumed;
use crate::campaign::Crashes;
use crate::crash::Counts;
use crate::schedules::Schedules;
use crate::sites::Sites;

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
    if let Some(crashes) = &results.crashes {
        of_crashes(&mut text, crashes, results.seconds);
    }
    if let Some(sites) = &results.sites {
        of_sites(&mut text, sites);
    }
    if let Some(schedules) = &results.schedules {
        of_schedules(&mut text, schedules);
    }
    if results.assumed != Assumed::NOTHING.to_string() {
        line(&mut text, "assumed", results.assumed.clone());
    }
    line(&mut text, "seed", results.seed.to_string());
    line(&mut text, "trace", format!("{:016x}", results.trace()));
    for failure in results.failures() {
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

fn line(text: &mut String, what: &str, value: String) {
    writeln!(text, "{what:<22} {value}").ok();
}

fn of_sites(text: &mut String, sites: &Sites) {
    let imports: Vec<String> = sites.imports.iter().map(|(name, count)| format!("{name} {count}")).collect();
    line(
        text,
        "failing calls",
        format!(
            "{} call stacks of {} imports, each failed with every documented failure: {} runs with one failing call, \
             {} with two; {} not good; {} of {} places in the image reached",
            sites.stacks,
            sites.imports.len(),
            sites.single,
            sites.pairs,
            sites.share.damaged,
            sites.places.values().map(|(reached, _)| reached).sum::<usize>(),
            sites.places.values().map(|(_, all)| all).sum::<usize>(),
        ),
    );
    line(text, "call stacks", imports.join(", "));
    for place in &sites.unreached {
        let reason = place.reason.unwrap_or("no reason is known");
        line(text, "not reached", format!("{} in {}: {reason}", place.import, place.functions));
    }
}

fn of_schedules(text: &mut String, schedules: &Schedules) {
    let ways: Vec<String> =
        schedules.by_strategy.iter().map(|(name, count)| format!("{count} {name}")).collect();
    line(
        text,
        "schedules",
        format!(
            "{} ({}), {} of them different, up to {} choices; {} waits let time out, {} calls failed that only \
             these make; {} pairs of locks, no circle; \
             {} not good",
            schedules.ran,
            ways.join(", "),
            schedules.different,
            schedules.longest,
            schedules.timeouts,
            schedules.failing,
            schedules.lock_order.len(),
            schedules.failures.len(),
        ),
    );
    for (again, what) in &schedules.failures {
        writeln!(text, "\nFAILED (schedules): {what}\n  again: {again}").ok();
    }
}

fn of_crashes(text: &mut String, crashes: &Crashes, seconds: f64) {
    let mut line = |what: &str, value: String| line(text, what, value);
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
    line("speed", format!("{:.0} crash states per second, all parts", states as f64 / seconds));
    for (difference, count) in &crashes.differences {
        line("told otherwise", format!("{difference} ({count} times)"));
    }
}
