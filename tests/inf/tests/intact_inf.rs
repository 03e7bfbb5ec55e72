//! `inf/intact.inf` keeps every rule, and each rule notices when it is broken.

use std::collections::HashSet;

use inf_lint::{Inf, RULES, lint};

const INTACT: &str = include_str!("../../../inf/intact.inf");

#[test]
fn intact_inf_keeps_every_rule() {
    let findings: Vec<String> = lint(&Inf::parse(INTACT)).iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn the_altitude_is_marked_as_not_allocated() {
    let inf = Inf::parse(INTACT);
    let altitude = inf.section("Strings").and_then(|strings| strings.get("Altitude")).expect("an altitude");
    assert!(inf.comments[&altitude.line].contains("NOT ALLOCATED"));
}

#[test]
fn the_version_is_that_of_the_workspace() {
    let inf = Inf::parse(INTACT);
    let version =
        inf.section("Version").and_then(|version| version.get("DriverVer")).expect("a version").value(1);
    assert_eq!(version, concat!(env!("CARGO_PKG_VERSION"), ".0"));
}

/// A rule, a part of `intact.inf`, and what to put in its place to break the rule.
type Break = (&'static str, &'static str, &'static str);

#[rustfmt::skip]
const BREAKS: &[Break] = &[
    ("syntax", "= intact.cat", "= \"intact.cat"),
    ("syntax", "%Provider%", "%Vendor%"),
    ("signature_is_windows_nt", "$WINDOWS NT$", "$Chicago$"),
    ("provider_is_someone_else", "The Intact authors", "Microsoft Corporation"),
    ("provider_is_someone_else", "The Intact authors", ""),
    ("driver_version_is_valid", "11/01/2026", "11/31/2026"),
    ("driver_version_is_valid", "11/01/2026", "11/01/9026"),
    ("driver_version_is_valid", "0.1.0.0", "0.1.0"),
    ("driver_version_is_valid", "0.1.0.0", "0.1.0.65536"),
    ("catalog_is_named", "intact.cat", ""),
    ("driver_is_locked_down", "PnpLockdown = 1", "PnpLockdown = 0"),
    ("class_belongs_to_the_group", "\"SystemRecovery\"", "\"ActivityMonitor\""),
    ("class_belongs_to_the_group", "{2db15374", "{2db15375"),
    ("is_primitive", "[SourceDisksNames]", "[Manufacturer]\nx = y\n[SourceDisksNames]"),
    ("installs_are_decorated", "[DefaultInstall.NTamd64]", "[DefaultInstall]"),
    ("installs_are_decorated", "[DefaultInstall.NTarm64]", "[DefaultInstall.NTx86]"),
    ("installs_are_decorated", "[DefaultInstall.NTarm64.10.0...25952]", "[DefaultInstall.NTarm64.10.0..25952]"),
    ("both_generations_are_served", "[DefaultInstall.NTarm64]", "[DefaultInstall.NTarm]"),
    ("both_generations_are_served", "[DefaultInstall.NTamd64.10.0...25952]", "[Other]"),
    ("uninstall_is_legacy_only", "LegacyUninstall = 1", "LegacyUninstall = 0"),
    ("uninstall_is_legacy_only", "[DefaultUninstall.NTamd64]", "[DefaultUninstall.NTamd64.10.0...25952]"),
    ("every_section_is_used", "[Intact.Registry]", "[Intact.Registry]\n[Forgotten]"),
    ("every_section_is_used", "[DefaultUninstall.NTamd64.Services]", "[DefaultUninstall.NTamd46.Services]"),
    ("copied_files_have_a_source", "intact.sys = 1,,", "inact.sys = 1,,"),
    ("copied_files_have_a_source", "intact.sys = 1,,", "intact.sys = 2,,"),
    ("copied_files_have_a_source", "CopyFiles  = Intact.Files", "CopyFiles  = Intact.File"),
    ("files_run_from_the_right_directory", "Intact.Files           = 13", "Intact.Files           = 12"),
    ("files_run_from_the_right_directory", "Intact.Downlevel.Files = 12", "Intact.Downlevel.Files = 13"),
    ("files_run_from_the_right_directory", r"%13%\intact.sys", r"%12%\intact.sys"),
    ("files_run_from_the_right_directory", r"%12%\intact.sys", r"%12%\other.sys"),
    ("service_exists", "AddService = %Service%,,Intact.Service", "AddService = %Service%,,Intact.Servic"),
    ("service_exists", "[DefaultInstall.NTarm64.Services]", "[DefaultInstall.NTarm64.Service]"),
    ("service_is_a_file_system_driver", "ServiceType    = 2", "ServiceType    = 1"),
    ("start_is_by_demand_or_boot", "StartType      = 3", "StartType      = 2"),
    ("errors_are_normal", "ErrorControl   = 1", "ErrorControl   = 3"),
    ("load_order_group_is_given", "LoadOrderGroup = %Group%", "; LoadOrderGroup"),
    ("load_order_group_is_given", "FSFilter System Recovery", "System Recovery"),
    ("filter_manager_is_needed", "Dependencies   = FltMgr", "Dependencies   = FltLib"),
    ("only_relative_keys", "HKR,\"Parameters\",", "HKLM,\"Parameters\","),
    ("keys_of_their_generation", r#"HKR,"Parameters\Instances\"%Instance%,"Flags""#, r#"HKR,"Instances\"%Instance%,"Flags""#),
    ("keys_of_their_generation", "HKR,,\"SupportedFeatures\"", "HKR,\"Parameters\",\"SupportedFeatures\""),
    ("default_instance_is_defined", r#"HKR,"Parameters\Instances","DefaultInstance",0x00000000,%Instance%"#, r#"HKR,"Parameters\Instances","DefaultInstance",0x00000000,Other"#),
    ("default_instance_is_defined", r#"HKR,"Instances","DefaultInstance""#, r#"HKR,"Instances","Default""#),
    ("default_instance_is_defined", r#"HKR,"Instances\"%Instance%,"Flags""#, r#"HKR,"Instances\"%Instance%,"Flag""#),
    ("instance_flags_are_known", "= 0x0               ;", "= 0x4               ;"),
    ("instance_flags_are_known", r#""Flags",0x00010001"#, r#""Flags",0x00000000"#),
    ("supported_features_are_stated", "Features    = 0x0", "Features    = 0x10"),
    ("supported_features_are_stated", "HKR,,\"SupportedFeatures\"", "HKR,,\"Features\""),
    ("altitude_belongs_to_the_group", "\"225000\"", "\"325000\""),
    ("altitude_belongs_to_the_group", "\"225000\"", "\"225000.x\""),
    ("altitude_belongs_to_the_group", r#""Altitude",0x00000000"#, r#""Altitude",0x00010001"#),
];

#[test]
fn each_rule_notices_what_breaks_it() {
    for (rule, whole, broken) in BREAKS {
        assert!(INTACT.contains(whole), "{rule}: '{whole}' is not in the file");
        let findings = lint(&Inf::parse(&INTACT.replace(whole, broken)));
        assert!(
            findings.iter().any(|finding| finding.rule == *rule),
            "{rule}: '{broken}' passes: {findings:?}"
        );
    }
}

#[test]
fn each_rule_has_something_that_breaks_it_and_a_source() {
    let broken: HashSet<&str> = BREAKS.iter().map(|(rule, ..)| *rule).collect();
    for rule in RULES {
        assert!(broken.contains(rule.name), "{} is never broken", rule.name);
        assert!(rule.source.starts_with("minifilter-rules §3."), "{}", rule.name);
    }
}

#[test]
fn an_empty_file_is_no_inf() {
    let findings = lint(&Inf::parse(""));
    assert!(findings.iter().any(|finding| finding.rule == "signature_is_windows_nt"));
    assert!(findings.iter().any(|finding| finding.rule == "both_generations_are_served"));
}
