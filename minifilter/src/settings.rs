//! The policy, from the registry to what is asked at every open.

use intact_policy::{
    CompileError, Gather, Key, OnUnavailable, Policy, Raw, Rule, RuleId, RuleSet, Scope, Value, check,
    compile,
};
use kernel::pool::{PoolSlice, Tag};
use kernel::registry::{Reader, RegistryKey};
use kernel::symlink::SymbolicLink;
use kernel::{Result, Status, string};
use widestring::{U16Str, u16str};

use crate::report::Report;

const TAG: Tag = Tag::new(b"InPo");

const POLICIES: &U16Str = u16str!("\\Registry\\Machine\\SOFTWARE\\Policies\\Intact");
const PARAMETERS: &U16Str = u16str!("Parameters");

/// The policy in force; none if there is none or it has errors.
pub struct Settings {
    policy: Option<Policy<PoolSlice<u16>>>,
}

impl Settings {
    /// Whether nothing can match.
    pub fn is_off(&self) -> bool {
        self.policy.as_ref().is_none_or(|policy| !policy.is_enabled() || policy.is_empty())
    }

    /// The rules that are about a process with this image.
    pub fn match_process(&self, image: &[u16]) -> RuleSet {
        self.policy.as_ref().map_or(RuleSet::EMPTY, |policy| policy.match_process(image, &string::upcase))
    }

    /// The first of these rules that is about a file. `path` is a normalized name.
    pub fn match_path(&self, path: &U16Str, rules: &RuleSet) -> Option<Rule<'_>> {
        let policy = self.policy.as_ref()?;
        let id: RuleId = policy.match_path(path.as_slice(), rules, &string::upcase)?;
        policy.rule(id)
    }
}

/// Reads the policy: `HKLM\SOFTWARE\Policies\Intact`, then the service's `Parameters`. Everything that is wrong with it
/// becomes an event. PASSIVE_LEVEL.
pub fn read(service: &U16Str, report: &Report) -> Settings {
    let policy = match load(service, report) {
        Ok(policy) => Some(policy),
        Err(status) => {
            report.policy_not_loaded(status);
            None
        }
    };
    if let Some(policy) = &policy {
        report.policy_loaded(policy.len() as u32, policy.is_enabled());
        for rule in policy.rules().filter_map(|id| policy.rule(id)) {
            for value in not_served(&rule.settings).into_iter().flatten() {
                report.policy_value_ignored(rule.name, value.name());
            }
        }
    }
    Settings { policy }
}

fn load(service: &U16Str, report: &Report) -> Result<Policy<PoolSlice<u16>>> {
    // Twice: to learn how much there is, and to keep it. It may have grown between the two.
    let mut nothing = Gather::new(&mut []);
    gather(service, &mut nothing)?;
    let room = nothing.needed().saturating_add(1024);
    let mut block = PoolSlice::zeroed(TAG, room)?;
    let mut gathered = Gather::new(&mut block);
    gather(service, &mut gathered)?;
    let raw = gathered.finish().map_err(|_| Status::BUFFER_OVERFLOW)?;
    build(&raw, report)
}

fn build(raw: &Raw<'_>, report: &Report) -> Result<Policy<PoolSlice<u16>>> {
    let mut problem = |problem: &intact_policy::Problem<'_>| report.policy_problem(problem);
    let mut size =
        check(raw, &string::upcase, &mut device_of, &mut problem).map_err(|_| Status::INVALID_PARAMETER)?;
    loop {
        match compile(raw, &string::upcase, &mut device_of, PoolSlice::zeroed(TAG, size)?) {
            Ok(policy) => return Ok(policy),
            // A volume came meanwhile.
            Err(CompileError::Full(full)) if full.needed > size => size = full.needed,
            Err(_) => return Err(Status::INVALID_PARAMETER),
        }
    }
}

/// What a rule asks for and this version does not do. Nobody should learn that from a lost file.
fn not_served(settings: &intact_policy::Settings) -> [Option<Value>; 5] {
    let named = |condition: bool, value| condition.then_some(value);
    [
        named(settings.scope != Scope::Handle, Value::Scope),
        named(settings.on_unavailable != OnUnavailable::PassThrough, Value::OnUnavailable),
        named(settings.max_seconds != 0, Value::MaxSeconds),
        named(settings.max_megabytes != 0, Value::MaxMegabytes),
        named(settings.max_idle_seconds != 0, Value::MaxIdleSeconds),
    ]
}

/// The device behind `\??\C:` or `\??\Volume{…}`.
fn device_of(link: &[u16], device: &mut [u16]) -> Option<usize> {
    SymbolicLink::open(U16Str::from_slice(link)).ok()?.target(device).ok()
}

fn gather(service: &U16Str, gathered: &mut Gather<'_>) -> Result<()> {
    let mut names = Reader::new(TAG)?;
    let mut values = Reader::new(TAG)?;
    let policies = RegistryKey::open(POLICIES).ok();
    let parameters = RegistryKey::open(service).and_then(|service| service.subkey(PARAMETERS)).ok();
    for (which, key) in [(Key::Policies, policies), (Key::Parameters, parameters)] {
        let Some(key) = key else { continue };
        gathered.key(which);
        gather_values(&key, &mut values, gathered)?;
        let mut index = 0;
        while let Some(name) = names.subkey_name(&key, index)? {
            gathered.rule(name.as_slice());
            gather_values(&key.subkey(name)?, &mut values, gathered)?;
            index = index.saturating_add(1);
        }
    }
    Ok(())
}

fn gather_values(key: &RegistryKey, values: &mut Reader, gathered: &mut Gather<'_>) -> Result<()> {
    let mut index = 0;
    while let Some(value) = values.value(key, index)? {
        gathered.value(value.name.as_slice(), value.kind, value.data);
        index = index.saturating_add(1);
    }
    Ok(())
}
