//! From the registry to a compiled policy.

use intact_policy::{CompileError, Gather, Key, MAX_UNITS, Policy, Raw, Scope, Value, check, compile};
use kernel::pool::{PoolSlice, Tag};
use kernel::registry::{Reader, RegistryKey};
use kernel::{Result, Status, string};
use widestring::{U16Str, u16str};

use super::Settings;
use super::digest;
use super::links::Links;
use crate::report::Report;

const TAG: Tag = Tag::new(b"InPo");

/// Where Group Policy and Intune write.
pub const POLICIES: &U16Str = u16str!("\\Registry\\Machine\\SOFTWARE\\Policies\\Intact");

/// Problems of one reading that become events. A policy of 100,000 broken patterns must not flood the log.
const MOST_PROBLEMS: u32 = 100;

/// Why there is no policy.
pub enum Failure {
    /// It has this many errors; each was reported.
    Errors(u32),
    /// It is larger than a policy may be.
    TooLarge,
    /// It could not be read, or there was no memory for it. Another time it may work.
    Failed(Status),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Failure::Failed(status)
    }
}

/// What was read, as far as it says whether the same was read again: Windows tells of a change also when what is there is
/// written again.
#[derive(Default)]
pub struct Read {
    digest: u64,
    /// What the volumes' names in it stood for.
    pub links: Links,
}

/// Keys and values on their way into the block, and a digest of them.
struct Pass<'a> {
    gathered: Gather<'a>,
    digest: u64,
}

impl<'a> Pass<'a> {
    /// Everything that the registry has, into this block as far as it fits.
    fn over(parameters: &U16Str, block: &'a mut [u16]) -> core::result::Result<Self, Failure> {
        let mut pass = Pass { gathered: Gather::new(block), digest: digest::START };
        let mut names = Reader::new(TAG)?;
        let mut values = Reader::new(TAG)?;
        for (which, path) in [(Key::Policies, POLICIES), (Key::Parameters, parameters)] {
            let Some(key) = open(RegistryKey::open(path))? else { continue };
            pass.gathered.key(which);
            pass.note(&[which as u16]);
            pass.values(&key, &mut values)?;
            let mut index = 0;
            while let Some(name) = names.subkey_name(&key, index)? {
                // Deleted meanwhile: that was told, too.
                if let Some(rule) = open(key.subkey(name))? {
                    pass.gathered.rule(name.as_slice());
                    pass.note(name.as_slice());
                    pass.values(&rule, &mut values)?;
                }
                index = index.saturating_add(1);
            }
        }
        Ok(pass)
    }

    fn values(&mut self, key: &RegistryKey, values: &mut Reader) -> core::result::Result<(), Failure> {
        let mut index = 0;
        loop {
            match values.value(key, index) {
                Ok(Some(value)) => {
                    self.gathered.value(value.name.as_slice(), value.kind, value.data);
                    self.note(value.name.as_slice());
                    self.note(&[value.kind as u16]);
                    self.digest = digest::bytes(self.digest, value.data);
                }
                Ok(None) => return Ok(()),
                Err(Status::BUFFER_OVERFLOW) => return Err(Failure::TooLarge),
                Err(status) => return Err(Failure::Failed(status)),
            }
            if self.gathered.needed() > MAX_UNITS {
                return Err(Failure::TooLarge);
            }
            index = index.saturating_add(1);
        }
    }

    /// With its length, so that the boundaries count.
    fn note(&mut self, units: &[u16]) {
        self.digest = digest::units(digest::units(self.digest, &[units.len() as u16]), units);
    }
}

/// Reads the policy: `HKLM\SOFTWARE\Policies\Intact`, then `parameters`, the service's own key. `None`: it is what `last`
/// was. Everything that is wrong with it becomes an event. PASSIVE_LEVEL.
///
/// Memory: the values of both keys, at most [`MAX_UNITS`] together, the largest single value at most twice, and the
/// compiled policy, at most [`MAX_UNITS`]; all but what the compiled policy takes is freed before this returns.
pub fn read(
    parameters: &U16Str,
    last: &mut Read,
    report: &Report,
) -> core::result::Result<Option<Settings>, Failure> {
    // Twice: to learn how much there is, and to keep it. If it has grown between the two, another change was told.
    let first = Pass::over(parameters, &mut [])?;
    if last.digest == first.digest && !last.links.have_changed() {
        return Ok(None);
    }
    let room = first.gathered.needed().saturating_add(1024);
    let mut block = PoolSlice::zeroed(TAG, room)?;
    let Pass { gathered, digest } = Pass::over(parameters, &mut block)?;
    let raw = gathered.finish().map_err(|_| Status::BUFFER_OVERFLOW)?;
    let mut links = Links::default();
    let built = match build(&raw, &mut links, report) {
        // A pattern whose volume could not be asked for must not count as one without a volume.
        Ok(policy) => links.failed.map_or(Ok(policy), |status| Err(Failure::Failed(status))),
        Err(failure) => Err(failure),
    };
    // What failed for want of memory has to be read again although it is the same.
    *last = match &built {
        Err(Failure::Failed(_)) => Read::default(),
        _ => Read { digest, links },
    };
    let policy = built?;
    report.policy_loaded(policy.len() as u32, policy.is_enabled());
    for rule in policy.rules().filter_map(|id| policy.rule(id)) {
        if let Some(value) = not_served(&rule.settings) {
            report.policy_value_ignored(rule.name, value.name());
        }
    }
    Ok(Some(Settings { policy }))
}

fn build(
    raw: &Raw<'_>,
    links: &mut Links,
    report: &Report,
) -> core::result::Result<Policy<PoolSlice<u16>>, Failure> {
    let mut told = 0_u32;
    let mut problem = |problem: &intact_policy::Problem<'_>| {
        if told < MOST_PROBLEMS {
            report.policy_problem(problem);
        }
        told = told.saturating_add(1);
    };
    let mut device_of = |link: &[u16], device: &mut [u16]| links.device(link, device);
    let mut size = check(raw, &string::upcase, &mut device_of, &mut problem)
        .map_err(|invalid| Failure::Errors(invalid.errors))?;
    loop {
        match compile(raw, &string::upcase, &mut device_of, PoolSlice::zeroed(TAG, size)?) {
            Ok(policy) => {
                // Building takes more than keeping.
                let smaller = PoolSlice::zeroed(TAG, policy.size()).ok();
                return Ok(smaller.and_then(|block| policy.copy_to(block).ok()).unwrap_or(policy));
            }
            // A volume came meanwhile.
            Err(CompileError::Full(full)) if full.needed > size => size = full.needed,
            Err(_) => return Err(Failure::Failed(Status::INVALID_PARAMETER)),
        }
    }
}

/// What a rule asks for and this version does not do. Nobody should learn that from a lost file.
fn not_served(settings: &intact_policy::Settings) -> Option<Value> {
    (settings.scope == Scope::Coordinated).then_some(Value::Scope)
}

/// An opened key; `None` if there is none. Any other failure may hide one.
fn open(opened: Result<RegistryKey>) -> Result<Option<RegistryKey>> {
    match opened {
        Ok(key) => Ok(Some(key)),
        Err(status) if is_absent(status) => Ok(None),
        Err(status) => Err(status),
    }
}

/// Whether the answer to opening a key means that there is none.
pub fn is_absent(status: Status) -> bool {
    matches!(status, Status::OBJECT_NAME_NOT_FOUND | Status::OBJECT_PATH_NOT_FOUND | Status::KEY_DELETED)
}
