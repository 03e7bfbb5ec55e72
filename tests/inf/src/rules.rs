//! The rules, each with its source. A rule returns what breaks it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::groups;
use crate::inf::{Inf, Section};
use crate::install::{Install, MODERN_BUILD, ends_with, installs, starts_with};
use crate::registry::{
    altitude_belongs_to_the_group, default_instance_is_defined, instance_flags_are_known,
    keys_of_their_generation, only_relative_keys, supported_features_are_stated,
};

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: &'static str,
    /// Where; 0: nowhere, because something is missing.
    pub line: usize,
    /// What is wrong and what to write.
    pub text: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "line {}: {}: {}", self.line, self.rule, self.text)
    }
}

/// A rule.
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// Who says so: a section of minifilter-rules, which names the Microsoft page.
    pub source: &'static str,
    check: fn(&Inf) -> Vec<Finding>,
}

macro_rules! rules {
    ($($source:literal: $($check:ident),+;)+) => {
        &[$($(Rule { name: stringify!($check), source: $source, check: $check }),+),+]
    };
}

/// Every rule.
pub const RULES: &[Rule] = rules! {
    "minifilter-rules §3.8, Version": signature_is_windows_nt, provider_is_someone_else, driver_version_is_valid,
        catalog_is_named, driver_is_locked_down;
    "minifilter-rules §3.7, class table": class_belongs_to_the_group;
    "minifilter-rules §3.8, primitive driver": is_primitive, installs_are_decorated, both_generations_are_served,
        uninstall_is_legacy_only, every_section_is_used;
    "minifilter-rules §3.8, files": copied_files_have_a_source, files_run_from_the_right_directory;
    "minifilter-rules §3.8, AddService": service_exists, service_is_a_file_system_driver, start_is_by_demand_or_boot,
        errors_are_normal, load_order_group_is_given, filter_manager_is_needed;
    "minifilter-rules §3.8, Isolation": only_relative_keys;
    "minifilter-rules §3.8, Registry": keys_of_their_generation, default_instance_is_defined, instance_flags_are_known,
        supported_features_are_stated;
    "minifilter-rules §3.7, altitudes": altitude_belongs_to_the_group;
};

/// Everything that is wrong with a file.
pub fn lint(inf: &Inf) -> Vec<Finding> {
    let named = |rule: &'static Rule| {
        (rule.check)(inf).into_iter().map(|finding| Finding { rule: rule.name, ..finding })
    };
    inf.errors.iter().cloned().chain(RULES.iter().flat_map(named)).collect()
}

/// A finding whose rule [`lint`] fills in.
pub(crate) fn finding(line: usize, text: String) -> Finding {
    Finding { rule: "", line, text }
}

/// One finding unless the condition holds.
fn require(holds: bool, line: usize, text: impl Into<String>) -> Vec<Finding> {
    if holds { Vec::new() } else { vec![finding(line, text.into())] }
}

/// One finding unless `[Version]` has this key with a value that is right.
fn version(inf: &Inf, key: &str, is_right: impl Fn(&crate::Entry) -> bool, text: &str) -> Vec<Finding> {
    let section = inf.section("Version");
    let entry = section.and_then(|section| section.get(key));
    let line = entry.map_or_else(|| section.map_or(0, |section| section.line), |entry| entry.line);
    require(entry.is_some_and(is_right), line, format!("{key} in [Version]: {text}"))
}

fn signature_is_windows_nt(inf: &Inf) -> Vec<Finding> {
    version(
        inf,
        "Signature",
        |entry| entry.value(0).eq_ignore_ascii_case("$Windows NT$"),
        "write \"$WINDOWS NT$\"",
    )
}

fn provider_is_someone_else(inf: &Inf) -> Vec<Finding> {
    let is_right = |entry: &crate::Entry| {
        let provider = entry.value(0).to_lowercase();
        !provider.is_empty() && !provider.contains("microsoft")
    };
    version(inf, "Provider", is_right, "name whoever provides the driver, not Microsoft")
}

fn driver_version_is_valid(inf: &Inf) -> Vec<Finding> {
    let is_right = |entry: &crate::Entry| {
        let parts: Vec<_> = entry.value(1).split('.').map(str::parse::<u16>).collect();
        parts.len() == 4
            && parts.iter().all(Result::is_ok)
            && date(entry.value(0)).is_some_and(|date| date <= today())
    };
    version(inf, "DriverVer", is_right, "write mm/dd/yyyy,w.x.y.z with a date that is not in the future")
}

fn catalog_is_named(inf: &Inf) -> Vec<Finding> {
    let is_right = |entry: &crate::Entry| entry.value(0).len() > 4 && ends_with(entry.value(0), ".cat");
    version(inf, "CatalogFile", is_right, "name the catalog that the package is signed with")
}

fn driver_is_locked_down(inf: &Inf) -> Vec<Finding> {
    version(inf, "PnpLockdown", |entry| entry.number(0) == Some(1), "write 1")
}

fn class_belongs_to_the_group(inf: &Inf) -> Vec<Finding> {
    let mut findings = Vec::new();
    let section = inf.section("Version").map_or(0, |section| section.line);
    for group in
        installs(inf).filter_map(|install| groups::find(install.service()?.get("LoadOrderGroup")?.value(0)))
    {
        for (key, wanted) in [("Class", group.class.0), ("ClassGuid", group.class.1)] {
            let have = inf.value("Version", key).unwrap_or("");
            let right = have.eq_ignore_ascii_case(wanted);
            findings.extend(require(
                right,
                section,
                format!("{key} is '{have}': {} has {wanted}", group.name),
            ));
        }
    }
    findings.dedup();
    findings
}

/// "No [Manufacturer]."
fn is_primitive(inf: &Inf) -> Vec<Finding> {
    let section = inf.section("Manufacturer");
    require(
        section.is_none(),
        section.map_or(0, |section| section.line),
        "a primitive driver has no [Manufacturer]",
    )
}

/// "Arch-decorated only"; a minifilter in Rust is built for these two.
fn installs_are_decorated(inf: &Inf) -> Vec<Finding> {
    let known = [".NTamd64", ".NTarm64"];
    let is_known = |decoration: &str| {
        known.iter().any(|arch| starts_with(decoration, arch) && rest_is_known(decoration, arch))
    };
    installs(inf)
        .filter(|install| !is_known(install.decoration()))
        .map(|install| {
            finding(install.section.line, format!("[{}] must be .NTamd64 or .NTarm64", install.section.name))
        })
        .collect()
}

fn rest_is_known(decoration: &str, arch: &str) -> bool {
    let rest = &decoration[arch.len()..];
    rest.is_empty() || rest == MODERN_BUILD
}

/// "Ship both sections if older than 24H2 is supported", for both processors.
fn both_generations_are_served(inf: &Inf) -> Vec<Finding> {
    ["NTamd64", "NTarm64"]
        .iter()
        .flat_map(|arch| ["", MODERN_BUILD].map(|build| format!("DefaultInstall.{arch}{build}")))
        .flat_map(|name| require(inf.section(&name).is_some(), 0, format!("[{name}] is missing")))
        .collect()
}

/// "No DefaultUninstall unless LegacyUninstall=1", which only makes sense before 24H2.
fn uninstall_is_legacy_only(inf: &Inf) -> Vec<Finding> {
    uninstalls(inf)
        .filter(|section| !ends_with(&section.name, ".Services"))
        .flat_map(|section| {
            let legacy = section.get("LegacyUninstall").is_some_and(|entry| entry.number(0) == Some(1));
            let old = !ends_with(&section.name, MODERN_BUILD);
            require(
                legacy && old,
                section.line,
                format!("[{}] is only for LegacyUninstall = 1", section.name),
            )
        })
        .collect()
}

fn uninstalls(inf: &Inf) -> impl Iterator<Item = &Section> {
    inf.sections.iter().filter(|section| starts_with(&section.name, "DefaultUninstall"))
}

/// A section that nothing leads to is mostly a misspelled one.
fn every_section_is_used(inf: &Inf) -> Vec<Finding> {
    const ALWAYS: &[&str] =
        &["Version", "Strings", "DestinationDirs", "SourceDisksNames", "SourceDisksFiles", "Manufacturer"];
    let is_named = |name: &str| {
        let lists = ["CopyFiles", "DelFiles", "AddReg", "DelReg", "AddService"];
        let entries = inf.sections.iter().flat_map(|section| &section.entries);
        entries
            .filter(|entry| {
                entry
                    .key
                    .as_deref()
                    .is_some_and(|key| lists.iter().any(|list| list.eq_ignore_ascii_case(key)))
            })
            .any(|entry| entry.values.iter().any(|value| value.eq_ignore_ascii_case(name)))
    };
    let is_services_of_one = |name: &str| {
        ends_with(name, ".Services") && inf.section(&name[..name.len() - ".Services".len()]).is_some()
    };
    inf.sections
        .iter()
        .filter(|section| {
            let name = section.name.as_str();
            let begins = starts_with(name, "DefaultInstall") || starts_with(name, "DefaultUninstall");
            let is_install = begins && !ends_with(name, ".Services");
            let is_always = ALWAYS.iter().any(|always| always.eq_ignore_ascii_case(name))
                || starts_with(name, "Strings.");
            !(is_always || is_install || begins && is_services_of_one(name) || is_named(name))
        })
        .map(|section| finding(section.line, format!("nothing leads to [{}]", section.name)))
        .collect()
}

/// "SourceDisksNames/Files."
fn copied_files_have_a_source(inf: &Inf) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, line) in installs(inf).flat_map(Install::copied) {
        let Some(files) = inf.section(name) else {
            findings.push(finding(line, format!("CopyFiles names [{name}], which is missing")));
            continue;
        };
        for file in &files.entries {
            let disk = inf.value("SourceDisksFiles", file.value(0));
            let known = disk.is_some_and(|disk| inf.value("SourceDisksNames", disk).is_some());
            findings.extend(require(
                known,
                file.line,
                format!("'{}' is on no disk of SourceDisksFiles", file.value(0)),
            ));
        }
    }
    findings.dedup();
    findings
}

/// "DefaultDestDir = 13 (run from the driver store)"; the down-level section uses 12. The service's binary is one of the
/// files copied there.
fn files_run_from_the_right_directory(inf: &Inf) -> Vec<Finding> {
    installs(inf)
        .flat_map(|install| {
            let wanted = if install.is_modern() { "13" } else { "12" };
            let directories = install.copied().flat_map(move |(name, line)| {
                let directory = inf
                    .value("DestinationDirs", name)
                    .or_else(|| inf.value("DestinationDirs", "DefaultDestDir"));
                require(directory == Some(wanted), line, format!("[{name}] has to go to directory {wanted}"))
            });
            let binary = install.service().and_then(|service| service.get("ServiceBinary"));
            let copied =
                install.copied().filter_map(|(name, _)| inf.section(name)).flat_map(|files| &files.entries);
            let is_copied = copied
                .map(|file| format!(r"%{wanted}%\{}", file.value(0)))
                .any(|path| binary.is_some_and(|binary| binary.value(0).eq_ignore_ascii_case(&path)));
            let line = binary.map_or(install.section.line, |binary| binary.line);
            let text =
                format!("ServiceBinary must be a file that [{}] copies to %{wanted}%", install.section.name);
            directories.chain(require(is_copied, line, text)).collect::<Vec<_>>()
        })
        .collect()
}

/// "[DefaultInstall.NT<arch>.Services]", `AddService` and the section that it names.
fn service_exists(inf: &Inf) -> Vec<Finding> {
    installs(inf)
        .flat_map(|install| {
            let named = install.add_service().is_some_and(|entry| !entry.value(0).is_empty());
            let text = format!(
                "[{}] needs AddService = name,flags,section, and that section",
                install.services_name()
            );
            require(named && install.service().is_some(), install.section.line, text)
        })
        .collect()
}

/// One finding for each service whose key is missing or not right.
fn service(inf: &Inf, key: &str, is_right: impl Fn(&crate::Entry) -> bool, text: &str) -> Vec<Finding> {
    let mut findings: Vec<_> = installs(inf)
        .filter_map(Install::service)
        .flat_map(|service| {
            let entry = service.get(key);
            let line = entry.map_or(service.line, |entry| entry.line);
            require(entry.is_some_and(&is_right), line, format!("{key} in [{}]: {text}", service.name))
        })
        .collect();
    findings.dedup();
    findings
}

fn service_is_a_file_system_driver(inf: &Inf) -> Vec<Finding> {
    service(inf, "ServiceType", |entry| entry.number(0) == Some(2), "write 2")
}

fn start_is_by_demand_or_boot(inf: &Inf) -> Vec<Finding> {
    service(inf, "StartType", |entry| matches!(entry.number(0), Some(0 | 1 | 3)), "write 3, or 0 or 1")
}

fn errors_are_normal(inf: &Inf) -> Vec<Finding> {
    service(inf, "ErrorControl", |entry| entry.number(0) == Some(1), "write 1")
}

fn load_order_group_is_given(inf: &Inf) -> Vec<Finding> {
    service(inf, "LoadOrderGroup", |entry| groups::find(entry.value(0)).is_some(), "name a minifilter group")
}

fn filter_manager_is_needed(inf: &Inf) -> Vec<Finding> {
    let is_right = |entry: &crate::Entry| entry.values.iter().any(|name| name.eq_ignore_ascii_case("FltMgr"));
    service(inf, "Dependencies", is_right, "write FltMgr")
}

/// `mm/dd/yyyy` as days since 1970.
fn date(text: &str) -> Option<u64> {
    let parts: Vec<u64> = text.split('/').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [month, day, year] = parts[..] else { return None };
    let leap = u64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    let lengths = [31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month).ok()?.checked_sub(1)?;
    if !(1..=*lengths.get(month)?).contains(&day) || !(1970..10_000).contains(&year) {
        return None;
    }
    let leap_days_before = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let years = (year - 1970) * 365 + leap_days_before(year) - leap_days_before(1970);
    Some(years + lengths[..month].iter().sum::<u64>() + day - 1)
}

/// Today in UTC, in the same days.
fn today() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400)
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_count_days_since_1970_or_are_none() {
        assert_eq!(date("01/01/1970"), Some(0));
        assert_eq!(date("03/01/2000"), Some(11_017));
        assert_eq!(date("02/29/2024"), Some(19_782));
        for text in
            ["02/29/2023", "13/01/2024", "00/01/2024", "1/0/2024", "1/1", "1/1/1/1", "a/1/2024", "2024-01-01"]
        {
            assert_eq!(date(text), None, "{text}");
        }
    }
}
