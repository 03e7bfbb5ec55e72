//! Running other programs, and saying so.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// One thing that takes a while: a spinner while it lasts, a line with its time when it is done.
pub(crate) struct Step {
    bar: ProgressBar,
    what: String,
    begun: Instant,
}

impl Step {
    pub(crate) fn start(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(what.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, what, begun: Instant::now() }
    }

    pub(crate) fn done(self) {
        self.bar.finish_and_clear();
        eprintln!("  {} ({:.1} s)", self.what, self.begun.elapsed().as_secs_f64());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The command as a person would type it, without its environment.
pub(crate) fn display(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Runs a command whose output the user sees.
pub(crate) fn visible(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {}", display(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", display(command));
    }
    Ok(())
}

/// Runs a command whose output matters only when it fails.
pub(crate) fn quiet(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("starting {}", display(command)))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}\n{stdout}{stderr}", display(command), output.status);
    }
    Ok(stdout)
}
