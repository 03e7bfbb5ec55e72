//! Which rules are about which process, remembered, so that a process's image is looked at once.

use intact_policy::RuleSet;
use kernel::pool::{PoolVec, Tag};
use kernel::process::{Process, ProcessKey};
use kernel::sync::PushLock;
use kernel::{Result, Status};

use crate::settings::Settings;

/// Processes remembered. A newer one takes the place of an older one with the same place.
const PLACES: usize = 64;

struct Known {
    process: ProcessKey,
    rules: RuleSet,
}

/// What is remembered. A process is recognised by its object and its birth, so nothing has to be told about its end.
pub struct Processes(PushLock<PoolVec<Known>>);

impl Processes {
    /// Nothing remembered. Fails with `INSUFFICIENT_RESOURCES`.
    pub fn new() -> Result<Self> {
        let mut places = PoolVec::new(Tag::new(b"InPr"));
        for _ in 0..PLACES {
            places.push(Known { process: ProcessKey::default(), rules: RuleSet::EMPTY })?;
        }
        Ok(Processes(PushLock::new(places)))
    }

    /// The rules that are about a process. PASSIVE_LEVEL. Fails with `INSUFFICIENT_RESOURCES`; it is asked anew then.
    pub fn rules(&self, settings: &Settings, process: Process<'_>) -> Result<RuleSet> {
        let key = process.key();
        let place = key.hash() & (PLACES - 1);
        if let Some(known) = self.0.read().get(place)
            && known.process == key
        {
            return Ok(known.rules);
        }
        let rules = match process.image_name() {
            Ok(image) => settings.match_process(image.as_slice()),
            Err(Status::INSUFFICIENT_RESOURCES) => return Err(Status::INSUFFICIENT_RESOURCES),
            // A process without an image is none that saves.
            Err(_) => RuleSet::EMPTY,
        };
        if let Some(known) = self.0.write().get_mut(place) {
            *known = Known { process: key, rules };
        }
        Ok(rules)
    }
}
