//! The policy, from the registry to what is asked at every open.
//!
//! [`reload`] watches the registry, in a thread of its own, and reads the policy at load and after every change;
//! [`reading`] is how it is read; [`in_force`] holds the policy that is in force, for those who ask. [`families`] knows
//! which processes count as one, and [`children`] is told of those that start.

#[cfg(windows)]
pub mod children;
pub mod digest;
#[cfg(windows)]
pub mod families;
#[cfg(windows)]
pub mod in_force;
#[cfg(windows)]
pub mod links;
#[cfg(windows)]
pub mod reading;
#[cfg(windows)]
pub mod reload;

#[cfg(windows)]
pub use policy::Settings;

#[cfg(windows)]
mod policy {
    use intact_policy::{Policy, Rule, RuleId, RuleSet, Scope};
    use kernel::pool::PoolSlice;
    use kernel::string;
    use widestring::U16Str;

    /// A policy. It never changes; a changed one is another.
    pub struct Settings {
        pub(super) policy: Policy<PoolSlice<u16>>,
    }

    impl Settings {
        /// Whether nothing can match.
        pub fn is_off(&self) -> bool {
            !self.policy.is_enabled() || self.policy.is_empty()
        }

        /// Whether a rule makes one save of all that a process modifies.
        pub fn has_saves_of_processes(&self) -> bool {
            let mut rules = self.policy.rules().filter_map(|id| self.policy.rule(id));
            rules.any(|rule| rule.settings.scope == Scope::Process)
        }

        /// Whether a rule makes one of a program and those that it starts.
        pub fn has_families(&self) -> bool {
            self.policy.is_enabled() && self.policy.rules().any(|id| self.policy.includes_children(id))
        }

        /// The rules that are about a process with this image, which is of families by the rules `inherited`.
        pub fn match_process(&self, image: &[u16], inherited: &RuleSet) -> RuleSet {
            self.policy.match_child(image, inherited, &string::upcase)
        }

        /// The rule with this name.
        pub fn find(&self, rule: &[u16]) -> Option<RuleId> {
            self.policy.find(rule)
        }

        /// Whether the rule with this name takes a process with this image out.
        pub fn excludes(&self, rule: &[u16], image: &[u16]) -> bool {
            self.find(rule).is_some_and(|rule| self.policy.excludes_process(rule, image, &string::upcase))
        }

        /// The names of those of these rules that include children.
        pub fn with_children<'a>(&'a self, rules: &'a RuleSet) -> impl Iterator<Item = &'a [u16]> {
            let ids = self.policy.rules().filter(|&id| rules.contains(id));
            ids.filter_map(|id| self.policy.rule(id))
                .filter(|rule| rule.settings.include_children)
                .map(|rule| rule.name)
        }

        /// The first of these rules that is about a file. `path` is a normalized name.
        pub fn match_path(&self, path: &U16Str, rules: &RuleSet) -> Option<Rule<'_>> {
            let id: RuleId = self.policy.match_path(path.as_slice(), rules, &string::upcase)?;
            self.policy.rule(id)
        }
    }
}
