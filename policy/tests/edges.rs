//! The edges of what is accepted and answered: lengths, counts, words, and questions that only tools ask.

mod common;

use common::{DISK_1, Registry, TestPolicy, bytes, utf16, volumes};
use intact_policy::{
    Gather, HostUpcase, Key, MAX_PATH_UNITS, MAX_RULES, Problem, RuleId, RuleSet, Upcase, Value, check,
    compile, kind,
};

fn paths(patterns: &[&str]) -> Registry {
    Registry::new().rule("R").list(Value::Paths, patterns)
}

fn everything() -> RuleSet {
    let mut set = RuleSet::EMPTY;
    (0..MAX_RULES).for_each(|id| set.insert(RuleId(id as u16)));
    set
}

/// By the index and by asking each pattern: one answer.
#[track_caller]
fn matches(policy: &TestPolicy, path: &[u16]) -> bool {
    let all = everything();
    let indexed = policy.0.match_path(path, &all, &HostUpcase);
    assert_eq!(indexed, policy.0.match_path_one_by_one(path, &all, &HostUpcase));
    indexed.is_some()
}

fn of_length(length: usize) -> Vec<u16> {
    let mut path = utf16(&format!(r"{DISK_1}\x"));
    // Components of at most 200 units, as long as it takes.
    while path.len() < length {
        path.extend(utf16(r"\").into_iter().chain(utf16(&"a".repeat(200))).take(length - path.len()));
    }
    path
}

#[test]
fn the_longest_path_there_can_be_is_matched_and_no_longer_one() {
    let policy = paths(&[r"C:\**"]).policy();
    assert!(matches(&policy, &of_length(MAX_PATH_UNITS - 1)));
    assert!(matches(&policy, &of_length(MAX_PATH_UNITS)));
    assert!(!matches(&policy, &of_length(MAX_PATH_UNITS + 1)));
}

#[test]
fn nothing_matches_while_the_policy_is_off_however_it_is_asked() {
    let off = Registry::new().number(Value::Enabled, 0).rule("R").list(Value::Paths, &[r"C:\**"]).policy();
    assert!(!matches(&off, &utf16(&format!(r"{DISK_1}\x"))));
    assert!(!off.0.is_empty(), "there are rules all the same");
    assert!(Registry::new().policy().0.is_empty());
}

#[test]
fn a_pattern_may_be_as_long_as_a_path() {
    let longest = format!(r"C:\{}", "a".repeat(MAX_PATH_UNITS - 3));
    assert!(paths(&[&longest]).is_valid());
    assert!(!paths(&[&format!("{longest}a")]).is_valid());
}

#[test]
fn two_keys_may_name_as_many_rules_as_both_can_hold_and_no_more() {
    let fill = |registry: Registry, count: usize| {
        (0..count).fold(registry, |registry, index| {
            registry.rule(&format!("rule {index:04}")).list(Value::Paths, &[r"C:\x"])
        })
    };
    // The local rules are all hidden by those of Group Policy.
    let most = fill(fill(Registry::new(), MAX_RULES).key(Key::Parameters), MAX_RULES);
    assert!(most.is_valid());
    // Empty keys are no rules, and are not compared with each other without end either.
    let empty =
        |count: usize| (0..count).fold(Registry::new(), |registry, index| registry.rule(&index.to_string()));
    assert!(empty(2 * MAX_RULES).is_valid());
    assert!(!empty(2 * MAX_RULES + 1).is_valid() && !empty(2 * MAX_RULES + 2).is_valid());
}

#[test]
fn a_word_ends_with_its_text() {
    let with = |text: &str| paths(&[r"C:\x"]).raw_value("OnExit", kind::SZ, &bytes(&utf16(text)));
    assert!(with("Commit").is_valid() && with("Commit\0").is_valid() && with("Commit\0\0").is_valid());
    assert!(!with("Commit\0Rollback\0").is_valid());
}

#[test]
fn what_filter_manager_keeps_is_known_in_its_own_key_only() {
    let warnings = |key: Key, name: &str| {
        let registry = paths(&[r"C:\x"]).key(key).raw_value(name, kind::DWORD, &[3, 0, 0, 0]);
        registry.messages().len()
    };
    assert_eq!(warnings(Key::Parameters, "SupportedFeatures"), 0);
    assert_eq!(warnings(Key::Parameters, "Supported"), 1);
    assert_eq!(warnings(Key::Policies, "SupportedFeatures"), 1);
}

#[test]
fn a_gathering_says_how_much_it_needs_before_it_is_finished() {
    let mut block = vec![0; 4096];
    let mut gather = Gather::new(&mut block);
    gather.key(Key::Policies);
    let before = gather.needed();
    gather.rule(&utf16("R"));
    gather.value(&utf16("Paths"), kind::MULTI_SZ, &bytes(&utf16("C:\\x\0\0")));
    assert!(before > 1 && gather.needed() > before + 5);
    let mut none = Gather::new(&mut []);
    none.key(Key::Policies);
    assert_eq!(none.needed(), before);
    assert_eq!(none.finish().unwrap_err().needed, before);
}

#[test]
fn stars_give_back_what_they_took_too_much_of() {
    let policy = paths(&[r"C:\**\a\**\b"]).policy();
    let ask = |path: &str| matches(&policy, &utf16(&format!("{DISK_1}{path}")));
    assert!(ask(r"\a\b") && ask(r"\x\a\a\x\b") && ask(r"\a\x\a\b\x\b"));
    assert!(!ask(r"\a\x") && !ask(r"\x\b") && !ask(r"\b\a") && !ask(r"\a\b\x"));
}

#[test]
fn a_path_that_does_not_begin_with_a_backslash_is_matched_from_its_first_component() {
    let policy = paths(&[r"**\a\b"]).policy();
    assert!(matches(&policy, &utf16(r"\Device\a\b")));
    assert!(!matches(&policy, &utf16(r"\Device\a")) && !matches(&policy, &[]));
}

#[test]
fn a_root_that_is_no_drive_is_told_from_one_that_lacks_its_backslash() {
    let says = |pattern: &str| paths(&[pattern]).messages().remove(0);
    assert!(says(r"C:x").contains("character 3") && !says(r"1:x").contains("character 3"));
    assert!(!paths(&[r"1:\x"]).is_valid() && !paths(&[r"\??\1:\x"]).is_valid());
}

#[test]
fn a_volume_guid_has_its_form() {
    for not in [
        "Volume{0fc6ae4e-0000-0000-0000-10000000000}",
        "Volume{0fc6ae4e-0000-0000-0000-1000000000000}",
        "Volumx{0fc6ae4e-0000-0000-0000-100000000000}",
        "Volume{0fc6ae4g-0000-0000-0000-100000000000}",
    ] {
        assert!(!paths(&[&format!(r"\??\{not}\x")]).is_valid(), "{not}");
    }
    assert!(paths(&[&format!(r"\??\{}\x", common::GUID)]).is_valid());
}

#[test]
fn only_what_is_rarely_meant_draws_a_warning() {
    let warnings = |pattern: &str| paths(&[pattern]).messages().len();
    assert_eq!(warnings(r"C:\*x*"), 0);
    assert_eq!(warnings(r"C:\~1"), 0, "there is nothing before the tilde");
    assert_eq!(warnings(r"C:\a~1"), 1);
    assert_eq!(warnings(r"C:\abcdef~1"), 1);
    assert_eq!(warnings(r"C:\abcdefg~1"), 0, "8.3 names are shorter");
}

#[test]
fn a_policy_is_as_large_as_what_it_holds_and_can_be_copied() {
    let policy = paths(&[r"C:\data\**", r"C:\more\*.txt"]).policy();
    let size = policy.0.size();
    assert!(size > 40);
    assert_eq!(policy.0.copy_to(vec![0; size - 1]).unwrap_err().needed, size);
    let copy = TestPolicy(policy.0.copy_to(vec![0; size]).unwrap());
    assert!(matches(&copy, &utf16(&format!(r"{DISK_1}\data\x"))));
    let larger = paths(&[r"C:\data\**", r"C:\more\*.txt", r"C:\a third pattern\*"]).policy();
    assert!(larger.0.size() > size);
}

#[test]
fn the_element_that_matches_is_counted_from_one() {
    let rule = paths(&[r"C:\a", r"E:\inactive", r"C:\*", r"C:\b"]).list(Value::ExcludePaths, &[r"C:\no"]);
    let policy = rule.policy().0;
    let which = |list, path: &str| {
        policy.matching_element(RuleId(0), list, &utf16(&format!("{DISK_1}{path}")), &HostUpcase)
    };
    assert_eq!([r"\a", r"\b", r"\x\y"].map(|path| which(Value::Paths, path)), [Some(1), Some(3), None]);
    assert_eq!([r"\no", r"\a"].map(|path| which(Value::ExcludePaths, path)), [Some(1), None]);
    assert_eq!(policy.elements(RuleId(0), Value::Paths), 4);
    assert_eq!(policy.elements(RuleId(0), Value::ExcludePaths), 1);
    assert_eq!(policy.elements(RuleId(0), Value::Processes), 0);
}

#[test]
fn a_set_with_any_rule_is_not_empty() {
    let mut set = RuleSet::EMPTY;
    assert!(set.is_empty());
    set.insert(RuleId(700));
    assert!(!set.is_empty());
}

#[test]
fn a_message_shows_long_text_cut_and_control_characters_visible() {
    let message = |text: &str| paths(&[text]).messages().remove(0);
    // `SHOWN` is 120.
    assert!(!message(&"x".repeat(120)).contains("x..."));
    assert!(message(&"x".repeat(121)).contains(&format!("{}...", "x".repeat(120))));
    let control = message("x\u{1F}y z\u{7F}!");
    assert!(control.contains("x\u{FFFD}y z\u{FFFD}!"), "{control}");
}

#[test]
fn registry_types_have_the_names_that_regedit_shows() {
    let names = [
        (0, "REG_NONE"),
        (1, "REG_SZ"),
        (2, "REG_EXPAND_SZ"),
        (3, "REG_BINARY"),
        (4, "REG_DWORD"),
        (5, "REG_DWORD_BIG_ENDIAN"),
        (6, "REG_LINK"),
        (7, "REG_MULTI_SZ"),
        (11, "REG_QWORD"),
        (8, "an unknown type"),
    ];
    for (number, name) in names {
        assert_eq!(kind::name(number), name);
    }
}

/// A closure is a table; it is not asked about ASCII.
#[test]
fn a_table_of_ones_own_is_used_beyond_ascii() {
    let upcase = |unit: u16| {
        assert!(unit > 0x7F, "ASCII needs no table");
        if unit == 0x0451 { 0x0401 } else { unit }
    };
    assert_eq!(Upcase::upcase(&upcase, 0x0451), 0x0401);
    let registry = paths(&[r"C:\01 ё_[]"]);
    let mut block = vec![0; 4096];
    let raw = registry.gather(&mut block).unwrap();
    let size = check(&raw, &upcase, &mut volumes, &mut |_: &Problem<'_>| {}).unwrap();
    let policy = compile(&raw, &upcase, &mut volumes, vec![0; size]).unwrap();
    let ask = |path: &str| policy.match_path(&utf16(&format!("{DISK_1}{path}")), &everything(), &upcase);
    assert!(ask("\\01 Ё_[]").is_some() && ask("\\01 ё_[]").is_some() && ask("\\01 е_[]").is_none());
}

#[test]
fn rules_with_the_same_pattern_are_all_there_and_once() {
    let same = |count: usize, times: usize| {
        (0..count).fold(Registry::new(), |registry, index| {
            let patterns = vec![r"C:\x"; times];
            registry.rule(&format!("r{index}")).list(Value::Paths, &patterns)
        })
    };
    let policy = same(5, 3).policy();
    let path = utf16(&format!(r"{DISK_1}\x"));
    for id in 0..5 {
        let mut only = RuleSet::EMPTY;
        only.insert(RuleId(id));
        assert_eq!(policy.0.match_path(&path, &only, &HostUpcase), Some(RuleId(id)));
    }
    assert_eq!(policy.0.match_path(&path, &RuleSet::EMPTY, &HostUpcase), None);
}

#[test]
fn a_pattern_that_waits_for_its_volume_takes_no_room_for_its_text() {
    let size = |pattern: &str| paths(&[r"C:\x", pattern]).policy().0.size();
    assert_eq!(size(r"E:\x"), size(r"E:\a\much\longer\pattern\*.txt"));
    assert_eq!(size(r"S:\x"), size(r"S:\a\much\longer\pattern\*.txt"));
}

/// What is asked for before a policy is compiled is enough, and not much more than what it takes.
#[test]
fn no_more_room_is_asked_for_than_the_patterns_may_take() {
    let room = |patterns: &[String]| {
        let registry = paths(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
        let needed = registry.gather(&mut []).unwrap_err().needed;
        let mut block = vec![0; needed];
        let raw = registry.gather(&mut block).unwrap();
        let asked = check(&raw, &HostUpcase, &mut volumes, &mut |_: &Problem<'_>| {}).unwrap();
        (asked, registry.policy().0.size())
    };
    let long: Vec<String> = (0..40).map(|number| format!(r"C:\{number}{}", "x".repeat(150))).collect();
    let deep: Vec<String> =
        (0..40).map(|number| format!(r"C:{}", format!(r"\{number}").repeat(10))).collect();
    let stars: Vec<String> = (0..40).map(|number| format!(r"C:\**\{number}*x\a?b")).collect();
    for (patterns, quarters) in [(long, 5), (deep, 6), (stars, 9)] {
        let (asked, taken) = room(&patterns);
        assert!(asked >= taken && asked * 4 < taken * quarters, "{asked} for {taken}");
    }
}

#[test]
fn the_keys_are_where_the_documentation_says() {
    assert_eq!(Key::Policies.path(), r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Intact");
    let service = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\Intact\Parameters";
    assert_eq!(Key::Parameters.path(), service);
}
