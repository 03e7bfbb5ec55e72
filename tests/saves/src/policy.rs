//! Policies, as they stand in the registry.

use lab::Executive;
use lab_executive::registry::{Registry, Value};

/// Where Group Policy writes.
pub const POLICIES: &str = r"\Registry\Machine\SOFTWARE\Policies\Intact";

/// The values of one rule.
#[derive(Clone, Debug)]
pub struct Rule {
    name: String,
    values: Vec<Value>,
}

impl Rule {
    /// A rule about these paths.
    pub fn new(name: &str, paths: &[&str]) -> Self {
        Rule { name: name.into(), values: Vec::new() }.strings("Paths", paths)
    }

    /// With a list.
    pub fn strings(mut self, name: &str, texts: &[&str]) -> Self {
        self.values.push(Value::strings(name, texts));
        self
    }

    /// With a text.
    pub fn text(mut self, name: &str, text: &str) -> Self {
        self.values.push(Value::string(name, text));
        self
    }

    /// With a number.
    pub fn number(mut self, name: &str, number: u32) -> Self {
        self.values.push(Value::dword(name, number));
        self
    }
}

/// What an administrator has configured.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    values: Vec<Value>,
    rules: Vec<Rule>,
}

impl Policy {
    /// Only this rule.
    pub fn of(rule: Rule) -> Self {
        Policy::default().and(rule)
    }

    /// This rule too.
    pub fn and(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// With a number at the root.
    pub fn number(mut self, name: &str, number: u32) -> Self {
        self.values.push(Value::dword(name, number));
        self
    }

    pub(crate) fn write(&self, lab: &Executive) {
        lab.change_registry(|registry| self.put(registry));
    }

    /// In the place of what is there.
    pub(crate) fn replace(&self, lab: &Executive) {
        lab.change_registry(|registry| {
            registry.remove_key(POLICIES);
            self.put(registry);
        });
    }

    /// Puts it into a registry.
    pub fn put(&self, registry: &Registry) {
        let root = registry.create(POLICIES);
        self.values.iter().for_each(|value| registry.set(&root, value.clone()));
        for rule in &self.rules {
            let key = registry.create(&format!(r"{POLICIES}\{}", rule.name));
            rule.values.iter().for_each(|value| registry.set(&key, value.clone()));
        }
    }
}
