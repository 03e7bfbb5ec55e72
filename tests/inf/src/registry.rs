//! Rules about what a minifilter writes below its service key.

use crate::groups;
use crate::inf::Inf;
use crate::install::{Install, Registry, installs, starts_with};
use crate::rules::{Finding, finding};

/// "Isolation: only HKR, …, no absolute paths."
pub(crate) fn only_relative_keys(inf: &Inf) -> Vec<Finding> {
    each(inf, |_, line| {
        (!line.root().eq_ignore_ascii_case("HKR")).then(|| {
            finding(
                line.entry.line,
                format!("'{}' is outside of the service's own key: write HKR", line.root()),
            )
        })
    })
}

/// "Decorated 24H2 uses HKR,Parameters and Parameters\Instances; the down-level section uses HKR,Instances."
pub(crate) fn keys_of_their_generation(inf: &Inf) -> Vec<Finding> {
    each(inf, |install, line| {
        let is_below_parameters =
            line.key().eq_ignore_ascii_case("Parameters") || starts_with(line.key(), "Parameters\\");
        (is_below_parameters != install.is_modern()).then(|| {
            let place = if install.is_modern() { "below Parameters" } else { "beside Parameters" };
            finding(
                line.entry.line,
                format!("'{}' has to be {place} in [{}]", line.key(), install.section.name),
            )
        })
    })
}

/// "DefaultInstance + Instances\<name> (Altitude, Flags)."
pub(crate) fn default_instance_is_defined(inf: &Inf) -> Vec<Finding> {
    installs(inf)
        .filter_map(|install| {
            let lines = install.registry();
            let instances = instances_key(install);
            let default = lines
                .iter()
                .find(|line| line.is("DefaultInstance") && line.key().eq_ignore_ascii_case(instances));
            let Some(default) = default.and_then(|line| line.text().map(|text| (text, line.entry.line)))
            else {
                return Some(finding(
                    install.section.line,
                    format!("no DefaultInstance (REG_SZ) in {instances}"),
                ));
            };
            let key = format!("{instances}\\{}", default.0);
            let has =
                |name: &str| lines.iter().any(|line| line.key().eq_ignore_ascii_case(&key) && line.is(name));
            (!has("Altitude") || !has("Flags"))
                .then(|| finding(default.1, format!("{key} needs both Altitude and Flags")))
        })
        .collect()
}

/// "Altitude is a decimal string", within the range of the load order group (§3.7).
pub(crate) fn altitude_belongs_to_the_group(inf: &Inf) -> Vec<Finding> {
    each(inf, |install, line| {
        if !line.is("Altitude") {
            return None;
        }
        let Some(altitude) = line.text().and_then(integer_part) else {
            return Some(finding(
                line.entry.line,
                "an altitude is a decimal number as REG_SZ, such as 225000.5".to_owned(),
            ));
        };
        let group = groups::find(install.service()?.get("LoadOrderGroup")?.value(0))?;
        let (first, last) = group.altitudes;
        (!(first..=last).contains(&altitude)).then(|| {
            finding(
                line.entry.line,
                format!("altitude {altitude} is outside of {first} to {last} of {}", group.name),
            )
        })
    })
}

/// "Instance Flags (REG_DWORD): 0, 1 [D]; 2 [U]."
pub(crate) fn instance_flags_are_known(inf: &Inf) -> Vec<Finding> {
    each(inf, |_, line| {
        (line.is("Flags") && line.dword().is_none_or(|flags| flags > 3))
            .then(|| finding(line.entry.line, "Flags of an instance is a REG_DWORD of 0 to 3".to_owned()))
    })
}

/// "SupportedFeatures (REG_DWORD): 1, 2, 4, 8", in Parameters or, before 24H2, in the service key itself.
pub(crate) fn supported_features_are_stated(inf: &Inf) -> Vec<Finding> {
    installs(inf)
        .filter_map(|install| {
            let key = if install.is_modern() { "Parameters" } else { "" };
            let lines = install.registry();
            let line = lines
                .iter()
                .find(|line| line.is("SupportedFeatures") && line.key().eq_ignore_ascii_case(key));
            let Some(line) = line else {
                return Some(finding(
                    install.section.line,
                    format!("no SupportedFeatures in '{key}' of the service key"),
                ));
            };
            line.dword().is_none_or(|features| features > 0xF).then(|| {
                finding(line.entry.line, "SupportedFeatures is a REG_DWORD of bits 1, 2, 4 and 8".to_owned())
            })
        })
        .collect()
}

fn instances_key(install: Install<'_>) -> &'static str {
    if install.is_modern() { r"Parameters\Instances" } else { "Instances" }
}

/// The integer part of `225000.5`.
fn integer_part(altitude: &str) -> Option<u32> {
    let (integer, fraction) = altitude.split_once('.').unwrap_or((altitude, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(integer) && is_number(fraction)).then(|| integer.parse().ok()).flatten()
}

/// Asks about every registry line of every install section.
fn each<'i>(inf: &'i Inf, mut ask: impl FnMut(Install<'i>, Registry<'i>) -> Option<Finding>) -> Vec<Finding> {
    installs(inf)
        .flat_map(|install| install.registry().into_iter().map(move |line| (install, line)))
        .filter_map(|(install, line)| ask(install, line))
        .collect()
}
