//! Hard resets: what is prepared before one, and what must be left after it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use intact_faults::{Intact, Machine, Report, ScenarioReport};
use intact_scenarios::{File, Outcome, RESETS};
use serde::{Deserialize, Serialize};

use super::drive::{self, Programs};
use super::machine::boot;
use super::nt;

/// What was prepared, and in which start of the system.
#[derive(Serialize, Deserialize)]
struct Marker {
    boot: Option<u32>,
    intact: Intact,
}

fn marker(folder: &Path) -> PathBuf {
    folder.join("prepared.json")
}

/// Brings every scenario of a reset to the point where it strikes, says so, and waits.
///
/// # Errors
/// A step went otherwise than expected, or nobody reset the machine in time.
pub(crate) fn prepare(folder: &Path, machine: &Machine, patience: Duration) -> Result<()> {
    fs::create_dir_all(folder)?;
    let marker = marker(folder);
    if marker.exists() {
        fs::remove_file(&marker).with_context(|| marker.display().to_string())?;
    }
    let in_front = machine.intact.is_in_front();
    let mut held = Vec::new();
    for scenario in RESETS {
        let own = drive::arrange(scenario, folder)?;
        let mut programs = Programs::new(scenario, &own);
        if let Some(otherwise) = programs.all_steps(in_front)?.first() {
            bail!("{}: step {}: {}", scenario.name, otherwise.step, otherwise.happened);
        }
        held.push(programs);
    }
    let text = serde_json::to_vec(&Marker { boot: boot(), intact: machine.intact.clone() })?;
    nt::put(&marker, &text).map_err(|status| anyhow::anyhow!("{}: {status}", marker.display()))?;
    println!("{machine}");
    println!(
        "READY: {} programs hold their files half written. Reset the machine now, without shutting",
        held.len()
    );
    println!(
        "it down (Stop-VM -TurnOff, or the reset button), then run `intact-faults check` on the same folder."
    );
    std::io::stdout().flush()?;
    std::thread::sleep(patience);
    bail!("nobody reset the machine within {} s", patience.as_secs())
}

/// Judges what a reset left. Whether Intact was in front of the folder at `prepare` counts: rolling back is NTFS's own
/// when it starts again, and a driver that starts on demand need not be there for it.
///
/// # Errors
/// Nothing was prepared here, or the machine was not restarted since (`restarted`: it was, take my word).
pub(crate) fn check(folder: &Path, machine: Machine, restarted: bool) -> Result<Report> {
    let marker = marker(folder);
    let text = fs::read(&marker).with_context(|| {
        format!("{}: nothing was prepared here, or it was lost (intact-faults prepare)", marker.display())
    })?;
    let marker: Marker = serde_json::from_slice(&text).context("the marker of `prepare`")?;
    match (marker.boot, boot()) {
        _ if restarted => {}
        (Some(then), Some(now)) if then != now => {}
        (Some(_), Some(_)) => bail!("the machine was not restarted since `prepare`: reset it first"),
        _ => bail!(
            "this system does not tell its starts apart; say --restarted if it was reset since `prepare`"
        ),
    }
    let in_front = marker.intact.is_in_front();
    let expected = |file: &File| if in_front { file.with_intact } else { Outcome::Anything };
    let judged = RESETS.iter().map(|scenario| {
        let files = drive::look(scenario, &folder.join(scenario.name), expected)?;
        Ok(ScenarioReport::judged(scenario.name, Vec::new(), files))
    });
    let scenarios = judged.collect::<Result<Vec<_>>>()?;
    Ok(Report::new(Machine { intact: marker.intact, ..machine }, scenarios))
}
