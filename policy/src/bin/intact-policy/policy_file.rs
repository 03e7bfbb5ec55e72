//! A policy as it is in a file.

use std::path::Path;

use intact_policy::reg::RegFile;
use intact_policy::tools::{Document, HIVE_SIGNATURE, from_json, from_oma_uri, read_hive};
use intact_policy::{
    CompileError, Gather, HostUpcase, Key, Policy, Problem, Raw, Upcase, Value, check, compile,
};

use crate::machine::Machine;

/// A policy that was read and not judged yet.
pub(crate) struct PolicyFile {
    pub(crate) reg: RegFile,
    /// What a reader should know about the file.
    pub(crate) notes: Vec<String>,
    name: String,
    gathered: Vec<u16>,
}

/// What is wrong with a policy.
pub(crate) struct Checked {
    /// `file:line: error: …` and `… warning: …`, in the order of the file.
    pub(crate) problems: Vec<String>,
    /// How many of them are errors.
    pub(crate) errors: usize,
}

impl PolicyFile {
    pub(crate) fn read(path: &Path) -> Result<PolicyFile, String> {
        let shown = path.display();
        let bytes = std::fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
        let mut notes = Vec::new();
        let listed = |what: &str, errors: Vec<String>| {
            let lines: Vec<String> = errors.iter().map(|error| format!("{shown}: {error}")).collect();
            format!("{what}:\n{}", lines.join("\n"))
        };
        let document = |read: fn(&str) -> Result<Document, Vec<String>>, what: &str| {
            let text = String::from_utf8(bytes.clone()).map_err(|error| format!("{shown}: {error}"))?;
            let text = text.trim_start_matches('\u{FEFF}');
            read(text).map(|document| document.to_reg()).map_err(|errors| listed(what, errors))
        };
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace() && !b"\xEF\xBB\xBF".contains(byte));
        let reg = if bytes.starts_with(HIVE_SIGNATURE) {
            let (reg, about) = read_hive(&bytes).map_err(|error| format!("{shown}: {error}"))?;
            notes = about;
            reg
        } else if first == Some(&b'{') {
            document(from_json, "this is no policy in JSON")?
        } else if first == Some(&b'<') {
            document(from_oma_uri, "this is no policy in SyncML")?
        } else {
            RegFile::parse(&bytes).map_err(|errors| {
                let lines = errors.iter().map(ToString::to_string).collect();
                listed("this is no .reg file that regedit would take", lines)
            })?
        };
        // What is read of a hive is what belongs to a policy, and what it lacks is noted.
        if !bytes.starts_with(HIVE_SIGNATURE) {
            notes.extend(unread(&reg));
        }
        let mut measure = Gather::new(&mut []);
        reg.gather(&mut measure);
        Ok(PolicyFile { gathered: vec![0; measure.needed()], reg, notes, name: shown.to_string() })
    }

    /// Where a problem is: the file, and the line if it has lines.
    fn place(&self, problem: &Problem<'_>) -> String {
        let key = problem.key.path();
        let path = match problem.rule {
            Some(rule) => format!(r"{key}\{}", String::from_utf16_lossy(rule)),
            None => key.to_owned(),
        };
        let mut values = self.reg.values(&path).into_iter().flatten();
        match values.find(|value| value.name == problem.value).map_or(0, |value| value.line) {
            0 => self.name.clone(),
            line => format!("{}:{line}", self.name),
        }
    }

    /// Gathers the keys and hands them on.
    fn with_raw<T>(&self, action: impl FnOnce(&Raw<'_>) -> T) -> T {
        let mut block = self.gathered.clone();
        let mut gather = Gather::new(&mut block);
        self.reg.gather(&mut gather);
        match gather.finish() {
            Ok(raw) => action(&raw),
            Err(full) => unreachable!("{} units were measured before", full.needed),
        }
    }

    pub(crate) fn check(&self, machine: &mut Machine) -> Checked {
        let mut checked = Checked { problems: Vec::new(), errors: 0 };
        self.with_raw(|raw| {
            let result = check(raw, &HostUpcase, machine, &mut |problem| {
                checked.errors += usize::from(problem.is_error());
                let severity = if problem.is_error() { "error" } else { "warning" };
                checked.problems.push(format!("{}: {severity}: {problem}", self.place(problem)));
            });
            debug_assert_eq!(result.is_err(), checked.errors > 0);
        });
        checked
    }

    pub(crate) fn compile(&self, machine: &mut Machine) -> Result<Policy<Vec<u16>>, CompileError> {
        self.with_raw(|raw| {
            let size = check(raw, &HostUpcase, machine, &mut |_| {}).map_err(CompileError::Invalid)?;
            compile(raw, &HostUpcase, machine, vec![0; size])
        })
    }

    /// The text of an element, counted from 1, of a list of a rule.
    pub(crate) fn element(
        &self,
        policy: &Policy<Vec<u16>>,
        rule: intact_policy::RuleId,
        list: Value,
        element: usize,
    ) -> String {
        let Some(rule) = policy.rule(rule) else { return String::new() };
        let values =
            self.reg.values(&format!(r"{}\{}", rule.key.path(), String::from_utf16_lossy(rule.name)));
        let value = values
            .into_iter()
            .flatten()
            .find(|value| String::from_utf16_lossy(&value.name).eq_ignore_ascii_case(list.name()));
        let units: Vec<u16> = value
            .into_iter()
            .flat_map(|value| value.data.as_chunks().0)
            .map(|pair| u16::from_le_bytes(*pair))
            .collect();
        let text = units.split(|&unit| unit == 0).nth(element - 1).unwrap_or_default();
        String::from_utf16_lossy(text)
    }
}

/// Sentences about keys that nobody reads: a misspelt key is no error of the policy, which is then just not there.
fn unread(reg: &RegFile) -> Vec<String> {
    let upper = |units: &[u16]| units.iter().map(|&unit| HostUpcase.upcase(unit)).collect::<Vec<u16>>();
    let keys = [Key::Policies, Key::Parameters];
    let roots = keys.map(|key| upper(&key.path().encode_utf16().collect::<Vec<u16>>()));
    let mut found = false;
    let mut notes = Vec::new();
    for (path, values) in reg.keys() {
        let path_in_upper = upper(path);
        let below = roots.iter().find_map(|root| path_in_upper.strip_prefix(root.as_slice()));
        let separators = match below {
            Some([]) => 0,
            Some(rest @ [first, ..]) if *first == u16::from(b'\\') => {
                rest.iter().filter(|unit| **unit == *first).count()
            }
            _ => continue,
        };
        found = true;
        // What is below `Instances` is Filter Manager's.
        if separators > 1 && !values.is_empty() && !path_in_upper.starts_with(&instances(&roots[1])) {
            let path = String::from_utf16_lossy(path);
            notes.push(format!(
                "[{path}] is below a rule, and is not read: a rule is a key directly below the policy's"
            ));
        }
    }
    if !found {
        let [policies, parameters] = keys.map(Key::path);
        notes.push(format!("there is no key {policies} and no key {parameters} in it: is a key misspelt?"));
    }
    notes
}

fn instances(parameters: &[u16]) -> Vec<u16> {
    parameters.iter().copied().chain(r"\INSTANCES\".encode_utf16()).collect()
}
