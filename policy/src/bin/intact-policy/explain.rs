//! Which rule a save falls under, and why.

use std::fmt::Write as _;

use intact_policy::{HostUpcase, Kind, Policy, Rule, RuleId, Settings, Value};

use crate::machine::Machine;
use crate::policy_file::PolicyFile;

/// A program that no rule names.
const ANY_PROGRAM: &str = r"\Device\DriveC\any program";

/// The explanation, line by line.
pub(crate) fn explain(
    file: &PolicyFile,
    mut machine: Machine,
    path: &str,
    process: Option<&str>,
) -> Result<String, String> {
    let policy = file.compile(&mut machine).map_err(|_| {
        format!(
            "the policy has errors; see intact-policy check:\n{}",
            file.check(&mut machine).problems.join("\n")
        )
    })?;
    let nt_path = machine.nt_name(path)?;
    let image = match process {
        Some(image) if image.contains('\\') => machine.nt_name(image)?,
        Some(name) => format!(r"\Device\DriveC\{name}").encode_utf16().collect(),
        None => ANY_PROGRAM.encode_utf16().collect(),
    };
    let winner = policy.match_path(&nt_path, &policy.match_process(&image, &HostUpcase), &HostUpcase);

    let mut out = String::new();
    file.notes.iter().for_each(|note| _ = writeln!(out, "note: {note}"));
    let program = process.unwrap_or("any program that no rule names");
    let _ = writeln!(out, "{path}, saved by {program}\n");
    if !policy.is_enabled() {
        let _ = writeln!(out, "Intact is switched off (Enabled = 0): no rule is asked.\n");
    }
    for id in policy.rules() {
        let Some(rule) = policy.rule(id) else { continue };
        let asked = Asked { file, policy: &policy, id, path: &nt_path, image: &image };
        let verdict = match (asked.mismatch(), winner) {
            (Some(reason), _) => format!("does not apply: {reason}"),
            (None, Some(winner)) if winner == id => format!("applies: {}", asked.reason()),
            (None, Some(_)) => "would apply, but a rule before it does".to_owned(),
            (None, None) => "would apply, if Intact were switched on".to_owned(),
        };
        let name = String::from_utf16_lossy(rule.name);
        let _ = writeln!(out, "rule \"{name}\" (order {}, {}) {verdict}", rule.order, rule.key.path());
    }
    out.push('\n');
    match winner.and_then(|id| policy.rule(id)) {
        Some(rule) => out += &outcome(&rule),
        None => out += "The save passes through untouched.\n",
    }
    Ok(out)
}

/// One rule, and what it is asked about.
struct Asked<'a> {
    file: &'a PolicyFile,
    policy: &'a Policy<Vec<u16>>,
    id: RuleId,
    path: &'a [u16],
    image: &'a [u16],
}

impl Asked<'_> {
    fn found(&self, list: Value) -> Option<String> {
        let subject =
            if matches!(list, Value::Processes | Value::ExcludeProcesses) { self.image } else { self.path };
        let element = self.policy.matching_element(self.id, list, subject, &HostUpcase)?;
        let text = self.file.element(self.policy, self.id, list, element);
        Some(format!("{}[{element}] \"{text}\"", list.name()))
    }

    /// Why the rule is not about this save, if it is not.
    fn mismatch(&self) -> Option<String> {
        let lists_programs = self.policy.elements(self.id, Value::Processes) > 0;
        if lists_programs && self.found(Value::Processes).is_none() {
            let children =
                self.policy.includes_children(self.id) && self.found(Value::ExcludeProcesses).is_none();
            let unless =
                if children { ", unless a program of the rule has started it (IncludeChildren)" } else { "" };
            return Some(format!("no element of Processes matches the program{unless}"));
        }
        if let Some(found) = self.found(Value::ExcludeProcesses) {
            return Some(format!("{found} excludes the program"));
        }
        if self.found(Value::Paths).is_none() {
            return Some("no element of Paths matches the file".to_owned());
        }
        self.found(Value::ExcludePaths).map(|found| format!("{found} excludes the file"))
    }

    fn reason(&self) -> String {
        let path = self.found(Value::Paths).unwrap_or_default();
        match self.found(Value::Processes) {
            Some(process) => format!("{path} matches the file, and {process} the program"),
            None => format!("{path} matches the file"),
        }
    }
}

fn outcome(rule: &Rule<'_>) -> String {
    let mut out = if rule.settings.audit_only {
        "The save passes through untouched and is reported (AuditOnly).\n".to_owned()
    } else {
        "The save is made atomic, where the volume and the file allow a transaction.\n".to_owned()
    };
    for row in Value::ALL.iter().filter(|row| !row.at_root && !matches!(row.kind, Kind::Patterns)) {
        if row.value != Value::Order {
            let _ = writeln!(out, "  {} = {}: {}", row.name, setting(&rule.settings, row.value), row.meaning);
        }
    }
    out
}

fn setting(settings: &Settings, value: Value) -> String {
    match value {
        Value::Scope => settings.scope.word().to_owned(),
        Value::IncludeChildren => u32::from(settings.include_children).to_string(),
        Value::OnExit => settings.on_exit.word().to_owned(),
        Value::OnFlush => settings.on_flush.word().to_owned(),
        Value::OnUnavailable => settings.on_unavailable.word().to_owned(),
        Value::SettleMilliseconds => settings.settle_milliseconds.to_string(),
        Value::MaxSeconds => settings.max_seconds.to_string(),
        Value::MaxMegabytes => settings.max_megabytes.to_string(),
        Value::MaxIdleSeconds => settings.max_idle_seconds.to_string(),
        Value::AuditOnly => u32::from(settings.audit_only).to_string(),
        _ => String::new(),
    }
}
