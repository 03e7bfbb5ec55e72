//! File-corruption fault tests: what becomes of files when the power goes, a call fails, or threads meet.
//!
//! The real `intact.sys` runs in the lab, and every short program of a small language saves through it. Each is
//! stopped by a fault, everywhere it can be, and the volume is looked at: every file is entirely old or entirely new.
//! The same programs on the bare volume show what the faults do without the driver.

pub mod assumed;
pub mod campaign;
pub mod crash;
pub(crate) mod healing;
pub mod image;
pub mod machine;
pub mod oracle;
pub mod page;
pub mod schedules;
pub mod sites;
pub mod states;
pub mod strikes;
pub mod told;
pub mod workload;

use serde::Serialize;

/// What a panic said.
pub fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// What a run found.
#[derive(Debug, Serialize)]
pub struct Results {
    /// The seed that it was run with.
    pub seed: u64,
    /// How long it took.
    pub seconds: f64,
    /// Whether the time was enough for the whole enumeration.
    pub enumerated: bool,
    /// Up to how many actions workloads were enumerated.
    pub enumerated_actions: u32,
    /// Power cuts and endings.
    pub crashes: Option<campaign::Crashes>,
    /// Failing calls.
    pub sites: Option<sites::Sites>,
    /// Threads against each other.
    pub schedules: Option<schedules::Schedules>,
    /// Whether it was the bounded part that runs in the ordinary tests.
    pub slice: bool,
    /// What was assumed of Windows besides the defaults.
    pub assumed: String,
}

impl Results {
    /// Everything that happened, as one number: same seed, same number.
    pub fn trace(&self) -> u64 {
        let crashes = self.crashes.as_ref().map_or(0, |crashes| crashes.trace);
        let sites = self.sites.as_ref().map_or(0, |sites| sites.trace);
        let schedules = self.schedules.as_ref().map_or(0, |schedules| schedules.trace);
        campaign::mix(campaign::mix(crashes, sites), schedules)
    }

    /// Every failure.
    pub fn failures(&self) -> impl Iterator<Item = &campaign::Failure> {
        let crashes = self.crashes.iter().flat_map(|crashes| &crashes.failures);
        crashes.chain(self.sites.iter().flat_map(|sites| &sites.failures))
    }

    /// What is not as it should be; empty if all is well.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if let Some(crashes) = &self.crashes {
            if !crashes.failures.is_empty() {
                complaints.push(format!("kinds of failure with Intact: {}", crashes.failures.len()));
            }
            if !self.enumerated {
                complaints
                    .push("the time was over before every workload had run; give more --minutes".into());
            }
            if crashes.without.damaged == 0 {
                complaints.push("without Intact nothing was damaged: the faults do not strike".into());
            }
            if crashes.lying.damaged == 0 {
                complaints
                    .push("a disk that ignores flushes damaged nothing: the faults do not strike".into());
            }
            if crashes.with.limited == 0 {
                let limit = oracle::Limit::EmptyPlaceholder.text();
                complaints.push(format!("a documented limit was never met: {limit}"));
            }
        }
        if let Some(sites) = &self.sites {
            if !sites.failures.is_empty() {
                complaints
                    .push(format!("runs with a failing call that were not good: {}", sites.failures.len()));
            }
            let unknown = sites.unreached.iter().filter(|place| place.reason.is_none()).count();
            // A slice tries a few of the schedules, and some calls are made only where threads meet.
            if unknown > 0 && !self.slice && self.schedules.is_some() {
                complaints.push(format!(
                    "calls of the driver that are not reached, for no known reason: {unknown}"
                ));
            }
            for (part, _) in sites.reasons_without_a_place() {
                complaints.push(format!("a reason is kept for {part}, which is reached, or is not there"));
            }
            if sites.single == 0 {
                complaints.push("no call was failed".into());
            }
        }
        if let Some(schedules) = &self.schedules
            && !schedules.failures.is_empty()
        {
            complaints.push(format!("schedules that were not good: {}", schedules.failures.len()));
        }
        complaints
    }
}
