//! The policy in force, and which of its rules are about which process, remembered, so that a process's image is looked
//! at once.
//!
//! Both are behind one lock and change together: what is remembered is always about the policy in force. Who asks takes
//! a reference to the policy along and lets go of the lock; the policy that a create was asked with stays whole until
//! that create is done, whatever comes into force meanwhile.

use core::sync::atomic::{AtomicBool, Ordering};

use intact_policy::{Rule, RuleSet};
use kernel::pool::{PoolVec, Shared, Tag};
use kernel::process::{Process, ProcessKey};
use kernel::sync::PushLock;
use kernel::{Result, Status};
use widestring::U16Str;

use super::Settings;
use super::families::Families;

/// Processes remembered. A newer one takes the place of an older one with the same place.
const PLACES: usize = 64;

struct Known {
    process: ProcessKey,
    rules: RuleSet,
}

const NOBODY: Known = Known { process: ProcessKey::NONE, rules: RuleSet::EMPTY };

struct State {
    settings: Option<Shared<Settings>>,
    /// A process is recognised by its object and its birth, so nothing has to be told about its end.
    known: PoolVec<Known>,
}

/// The policy in force; none until one was read that has no errors.
pub struct InForce {
    state: PushLock<State>,
    /// Whether nothing can match, so that who asks need not take the lock.
    off: AtomicBool,
    /// Whether a rule makes one save of all that a process modifies.
    of_processes: AtomicBool,
    /// Whether a rule makes one of a program and those that it starts.
    with_children: AtomicBool,
    /// Which processes count as one.
    pub families: Families,
}

/// The rules of one policy that are about one process.
pub struct About {
    settings: Shared<Settings>,
    rules: RuleSet,
}

impl About {
    /// The first rule that is about a file, too. `path` is a normalized name.
    pub fn match_path(&self, path: &U16Str) -> Option<Rule<'_>> {
        self.settings.match_path(path, &self.rules)
    }

    /// The names of those that include children.
    pub fn with_children(&self) -> impl Iterator<Item = &[u16]> {
        self.settings.with_children(&self.rules)
    }
}

impl InForce {
    /// No policy. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn new() -> Result<Self> {
        let mut known = PoolVec::new(Tag::new(b"InPr"));
        for _ in 0..PLACES {
            known.push(NOBODY)?;
        }
        let state = PushLock::new(State { settings: None, known });
        Ok(InForce {
            state,
            off: AtomicBool::new(true),
            of_processes: AtomicBool::new(false),
            with_children: AtomicBool::new(false),
            families: Families::new(),
        })
    }

    /// Whether nothing can match.
    #[inline]
    pub fn is_off(&self) -> bool {
        self.off.load(Ordering::Relaxed)
    }

    /// Whether a create may begin a save; `data`: it modifies data.
    #[inline]
    pub fn begins(&self, data: bool) -> bool {
        !self.is_off() && (data || self.of_processes.load(Ordering::Relaxed))
    }

    /// Whether processes have to be followed: a rule includes children, or one did and there are some.
    pub fn has_families(&self) -> bool {
        self.with_children.load(Ordering::Relaxed) || !self.families.is_empty()
    }

    /// The policy.
    pub fn settings(&self) -> Option<Shared<Settings>> {
        self.state.read().settings.clone()
    }

    /// Whether there is a policy.
    pub fn is_some(&self) -> bool {
        self.state.read().settings.is_some()
    }

    /// Puts a policy in force. Whoever asks from now on is told by it. PASSIVE_LEVEL.
    pub fn replace(&self, settings: Shared<Settings>) {
        let (off, of_processes) = (settings.is_off(), settings.has_saves_of_processes());
        let with_children = settings.has_families();
        let mut state = self.state.write();
        let former = state.settings.replace(settings);
        for known in state.known.iter_mut() {
            *known = NOBODY;
        }
        self.off.store(off, Ordering::Relaxed);
        self.of_processes.store(of_processes, Ordering::Relaxed);
        self.with_children.store(with_children, Ordering::Relaxed);
        drop(state);
        // The last reference frees it; not under the lock.
        drop(former);
    }

    /// The rules that are about a process; `None` if none is. PASSIVE_LEVEL. Fails with `INSUFFICIENT_RESOURCES`; it is
    /// asked anew then.
    pub fn about(&self, process: Process<'_>) -> Result<Option<About>> {
        let key = process.key();
        let place = key.hash() & (PLACES - 1);
        let settings = {
            let state = self.state.read();
            let Some(settings) = &state.settings else { return Ok(None) };
            match state.known.get(place) {
                Some(known) if known.process == key => {
                    if known.rules.is_empty() {
                        return Ok(None);
                    }
                    return Ok(Some(About { settings: settings.clone(), rules: known.rules }));
                }
                _ => settings.clone(),
            }
        };
        let rules = match process.image_name() {
            Ok(image) => {
                let inherited = self.families.rules_of(key, &settings);
                settings.match_process(image.as_slice(), &inherited)
            }
            Err(Status::INSUFFICIENT_RESOURCES) => return Err(Status::INSUFFICIENT_RESOURCES),
            // A process without an image is none that saves.
            Err(_) => RuleSet::EMPTY,
        };
        let mut state = self.state.write();
        // Another policy may be in force by now; this answer is not about it.
        if state.settings.as_ref().is_some_and(|now| now.is(&settings))
            && let Some(known) = state.known.get_mut(place)
        {
            *known = Known { process: key, rules };
        }
        drop(state);
        Ok(if rules.is_empty() { None } else { Some(About { settings, rules }) })
    }
}
