//! The policy, from the registry to what is asked at every open.
//!
//! [`reload`] watches the registry, in a thread of its own, and reads the policy at load and after every change;
//! [`reading`] is how it is read; [`in_force`] holds the policy that is in force, for those who ask.

pub mod digest;
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

        /// The rules that are about a process with this image.
        pub fn match_process(&self, image: &[u16]) -> RuleSet {
            self.policy.match_process(image, &string::upcase)
        }

        /// The first of these rules that is about a file. `path` is a normalized name.
        pub fn match_path(&self, path: &U16Str, rules: &RuleSet) -> Option<Rule<'_>> {
            let id: RuleId = self.policy.match_path(path.as_slice(), rules, &string::upcase)?;
            self.policy.rule(id)
        }
    }
}
