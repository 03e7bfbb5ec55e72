//! A registry to gather from, and a machine with two volumes.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod reference;

use intact_policy::{
    Full, Gather, HostUpcase, Key, Policy, Problem, Raw, RuleSet, Value, check, compile, kind,
};

pub(crate) const DISK_1: &str = r"\Device\HarddiskVolume1";
pub(crate) const DISK_2: &str = r"\Device\HarddiskVolume2";
pub(crate) const GUID: &str = "Volume{0fc6ae4e-0000-0000-0000-100000000000}";

pub(crate) fn utf16(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

pub(crate) fn bytes(units: &[u16]) -> Vec<u8> {
    units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
}

/// `C:` and a volume GUID are disk 1, `D:` is disk 2, `S:` is a substituted directory, `N:` a network drive.
pub(crate) fn volumes(link: &[u16], device: &mut [u16]) -> Option<usize> {
    let target = match String::from_utf16_lossy(link).to_uppercase().as_str() {
        r"\??\C:" => utf16(DISK_1),
        r"\??\D:" => utf16(DISK_2),
        r"\??\S:" => utf16(r"\??\C:\Data"),
        r"\??\N:" => utf16(r"\Device\LanmanRedirector\;N:0\server\share"),
        link if link == format!(r"\??\{GUID}").to_uppercase() => utf16(DISK_1),
        _ => return None,
    };
    device.get_mut(..target.len())?.copy_from_slice(&target);
    Some(target.len())
}

/// Registry keys, filled in call by call.
#[derive(Clone, Default)]
pub(crate) struct Registry {
    steps: Vec<Step>,
}

#[derive(Clone)]
enum Step {
    Key(Key),
    Rule(Vec<u16>),
    Value(Vec<u16>, u32, Vec<u8>),
}

impl Registry {
    pub(crate) fn new() -> Self {
        Registry::default().key(Key::Policies)
    }

    pub(crate) fn key(mut self, key: Key) -> Self {
        self.steps.push(Step::Key(key));
        self
    }

    pub(crate) fn rule(mut self, name: &str) -> Self {
        self.steps.push(Step::Rule(utf16(name)));
        self
    }

    pub(crate) fn raw_value(mut self, name: &str, kind: u32, data: &[u8]) -> Self {
        self.steps.push(Step::Value(utf16(name), kind, data.to_vec()));
        self
    }

    pub(crate) fn list(self, value: Value, elements: &[&str]) -> Self {
        let elements: Vec<Vec<u16>> = elements.iter().map(|element| utf16(element)).collect();
        self.list_of_units(value, &elements)
    }

    pub(crate) fn list_of_units(self, value: Value, elements: &[Vec<u16>]) -> Self {
        let mut units: Vec<u16> =
            elements.iter().flat_map(|element| element.iter().copied().chain([0])).collect();
        units.push(0);
        self.raw_value(value.name(), kind::MULTI_SZ, &bytes(&units))
    }

    pub(crate) fn word(self, value: Value, word: &str) -> Self {
        self.raw_value(value.name(), kind::SZ, &bytes(&utf16(&format!("{word}\0"))))
    }

    pub(crate) fn number(self, value: Value, number: u32) -> Self {
        self.raw_value(value.name(), kind::DWORD, &number.to_le_bytes())
    }

    pub(crate) fn gather<'a>(&self, block: &'a mut [u16]) -> Result<Raw<'a>, Full> {
        let mut gather = Gather::new(block);
        for step in &self.steps {
            match step {
                Step::Key(key) => gather.key(*key),
                Step::Rule(name) => gather.rule(name),
                Step::Value(name, kind, data) => gather.value(name, *kind, data),
            }
        }
        gather.finish()
    }

    fn with_raw<T>(&self, action: impl FnOnce(Raw<'_>) -> T) -> T {
        let needed = self.gather(&mut []).map_or_else(|full| full.needed, |_| 0);
        let mut block = vec![0; needed];
        action(self.gather(&mut block).expect("the size that was asked for"))
    }

    /// Every message, errors and warnings.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.with_raw(|raw| {
            let mut messages = Vec::new();
            let _ = check(&raw, &HostUpcase, &mut volumes, &mut |problem: &Problem<'_>| {
                messages.push(problem.to_string())
            });
            messages
        })
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.with_raw(|raw| check(&raw, &HostUpcase, &mut volumes, &mut |_| {}).is_ok())
    }

    /// The compiled policy; panics with the messages if it has errors.
    pub(crate) fn policy(&self) -> TestPolicy {
        self.with_raw(|raw| {
            let mut messages = String::new();
            let report = &mut |problem: &Problem<'_>| messages += &format!("{problem}\n");
            let Ok(size) = check(&raw, &HostUpcase, &mut volumes, report) else { panic!("{messages}") };
            TestPolicy(compile(&raw, &HostUpcase, &mut volumes, vec![0; size]).expect("checked"))
        })
    }
}

pub(crate) struct TestPolicy(pub(crate) Policy<Vec<u16>>);

impl TestPolicy {
    pub(crate) fn processes(&self, image: &str) -> RuleSet {
        self.0.match_process(&utf16(image), &HostUpcase)
    }

    /// The name of the rule that wins for a path and an image.
    pub(crate) fn winner_for(&self, path: &str, image: &str) -> Option<String> {
        let rule = self.0.match_path(&utf16(path), &self.processes(image), &HostUpcase)?;
        Some(String::from_utf16_lossy(self.0.rule(rule).expect("of this policy").name))
    }

    /// The name of the rule that wins for a path, whatever the program.
    pub(crate) fn winner(&self, path: &str) -> Option<String> {
        self.winner_for(path, r"\Device\HarddiskVolume1\Windows\System32\notepad.exe")
    }
}

/// A policy of one rule with these paths.
pub(crate) fn paths(patterns: &[&str]) -> Registry {
    Registry::new().rule("R").list(Value::Paths, patterns)
}

pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    paths(&[pattern]).policy().winner(path).is_some()
}
