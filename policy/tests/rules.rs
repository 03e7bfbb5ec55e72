//! How registry keys become rules: precedence, order, defaults, and what is said about a value that is wrong.

mod common;

use common::{Registry, bytes, utf16};
use intact_policy::{
    CompileError, HostUpcase, Key, Kind, MAX_RULES, OnExit, OnFlush, OnUnavailable, RuleId, RuleSet, Scope,
    Settings, Value, check, compile, kind,
};

const FILE: &str = r"\Device\HarddiskVolume1\Data\a.txt";

fn rule(registry: Registry, name: &str) -> Registry {
    registry.rule(name).list(Value::Paths, &[r"C:\Data\**"])
}

#[test]
fn a_rule_without_settings_has_the_documented_defaults() {
    let policy = rule(Registry::new(), "Plain").policy();
    let plain = policy.0.rule(RuleId(0)).unwrap();
    assert_eq!(plain.name, utf16("Plain"));
    assert_eq!((plain.order, plain.key), (1000, Key::Policies));
    assert_eq!(
        plain.settings,
        Settings {
            scope: Scope::Handle,
            include_children: false,
            on_exit: OnExit::ByStatus,
            on_flush: OnFlush::Checkpoint,
            on_unavailable: OnUnavailable::PassThrough,
            settle_milliseconds: 2000,
            max_seconds: 0,
            max_megabytes: 0,
            max_idle_seconds: 0,
            audit_only: false,
        }
    );
}

#[test]
fn every_setting_is_read() {
    let policy = rule(Registry::new(), "Full")
        .list(Value::Processes, &["a.exe"])
        .word(Value::Scope, "process")
        .number(Value::IncludeChildren, 1)
        .word(Value::OnExit, "Rollback")
        .word(Value::OnFlush, "DEFER")
        .word(Value::OnUnavailable, "Deny")
        .number(Value::SettleMilliseconds, 70_000)
        .number(Value::MaxSeconds, 1)
        .number(Value::MaxMegabytes, 2)
        .number(Value::MaxIdleSeconds, u32::MAX)
        .number(Value::AuditOnly, 1)
        .number(Value::Order, 7)
        .policy();
    let full = policy.0.rule(RuleId(0)).unwrap();
    assert_eq!(full.order, 7);
    assert_eq!(
        full.settings,
        Settings {
            scope: Scope::Process,
            include_children: true,
            on_exit: OnExit::Rollback,
            on_flush: OnFlush::Defer,
            on_unavailable: OnUnavailable::Deny,
            settle_milliseconds: 70_000,
            max_seconds: 1,
            max_megabytes: 2,
            max_idle_seconds: u32::MAX,
            audit_only: true,
        }
    );
}

#[test]
fn the_words_of_the_schema_are_the_words_of_the_choices() {
    let words = |value: Value| match value.schema().kind {
        Kind::Word(words) => words.to_vec(),
        _ => panic!("{} is no choice", value.name()),
    };
    assert_eq!(words(Value::Scope), Scope::ALL.iter().map(|word| word.word()).collect::<Vec<_>>());
    assert_eq!(words(Value::OnExit), OnExit::ALL.iter().map(|word| word.word()).collect::<Vec<_>>());
    assert_eq!(words(Value::OnFlush), OnFlush::ALL.iter().map(|word| word.word()).collect::<Vec<_>>());
    assert_eq!(
        words(Value::OnUnavailable),
        OnUnavailable::ALL.iter().map(|word| word.word()).collect::<Vec<_>>()
    );
    for row in Value::ALL {
        assert_eq!(row.value.name(), row.name, "every value finds its own row");
    }
}

#[test]
fn the_lower_order_is_asked_first_then_the_name() {
    let policy = rule(rule(rule(rule(Registry::new(), "b"), "a"), "Z").number(Value::Order, 5), "é").policy();
    let names: Vec<String> =
        policy.0.rules().map(|id| String::from_utf16_lossy(policy.0.rule(id).unwrap().name)).collect();
    assert_eq!(names, ["Z", "a", "b", "é"]);
    assert_eq!(policy.winner(FILE).as_deref(), Some("Z"));
}

#[test]
fn a_rule_of_group_policy_hides_the_local_rule_of_the_same_name() {
    let registry = Registry::default()
        .key(Key::Parameters)
        .rule("REPORTS")
        .list(Value::Paths, &[r"C:\Data\**"])
        .rule("Local")
        .list(Value::Paths, &[r"C:\Local\**"])
        .key(Key::Policies)
        .rule("Reports")
        .list(Value::Paths, &[r"D:\**"]);
    let policy = registry.policy();
    assert_eq!(policy.0.len(), 2);
    assert_eq!(policy.winner(FILE), None);
    assert_eq!(policy.winner(r"\Device\HarddiskVolume2\x").as_deref(), Some("Reports"));
    assert_eq!(policy.winner(r"\Device\HarddiskVolume1\Local\x").as_deref(), Some("Local"));
    assert_eq!(policy.0.rule(RuleId(0)).unwrap().key, Key::Parameters);
}

#[test]
fn excluded_paths_are_taken_out_and_the_next_rule_is_asked() {
    let registry = rule(Registry::new(), "a").list(Value::ExcludePaths, &[r"C:\Data\**\*.tmp", r"E:\x"]);
    let policy = rule(registry, "b").policy();
    assert_eq!(policy.winner(FILE).as_deref(), Some("a"));
    assert_eq!(policy.winner(r"\Device\HarddiskVolume1\Data\x\y.TMP").as_deref(), Some("b"));
}

#[test]
fn a_program_is_meant_by_its_name_or_by_its_path() {
    let policy = rule(Registry::new(), "name")
        .list(Value::Processes, &["winword.exe", "excel*"])
        .number(Value::Order, 1);
    let policy = rule(policy, "path").list(Value::Processes, &[r"C:\Tools\**"]).number(Value::Order, 2);
    let policy = rule(policy, "rest").list(Value::ExcludeProcesses, &["backup.exe"]).policy();
    let winner = |image: &str| policy.winner_for(FILE, image);
    assert_eq!(winner(r"\Device\HarddiskVolume1\Office\WINWORD.EXE").as_deref(), Some("name"));
    assert_eq!(winner(r"\Device\HarddiskVolume2\Excel2.exe").as_deref(), Some("name"));
    assert_eq!(winner(r"\Device\HarddiskVolume1\Tools\x\sort.exe").as_deref(), Some("path"));
    assert_eq!(winner(r"\Device\HarddiskVolume1\winword.exe\other.exe").as_deref(), Some("rest"));
    assert_eq!(winner(r"\Device\HarddiskVolume1\backup.exe"), None);
    assert!(policy.processes(r"\Device\HarddiskVolume1\backup.exe").is_empty());
}

#[test]
fn a_rule_whose_programs_are_all_inactive_is_about_no_program() {
    let policy = rule(Registry::new(), "R").list(Value::Processes, &[r"E:\Tools\**"]).policy();
    assert_eq!(policy.winner(FILE), None);
}

#[test]
fn an_image_name_pattern_is_checked_too() {
    let messages =
        rule(Registry::new(), "R").list(Value::Processes, &["**", "a/b", "x.exe", "a|b"]).messages();
    assert!(
        messages[0].contains(r#"Processes[1] "**", character 1: '**' means nothing in an image name"#),
        "{messages:?}"
    );
    assert!(messages[1].contains(r#"Processes[2] "a/b", character 2: '/' does not"#), "{messages:?}");
    assert!(messages[2].contains(r#"Processes[4] "a|b", character 2: this character"#), "{messages:?}");
    assert_eq!(messages.len(), 3);
}

#[test]
fn the_emergency_switch_makes_nothing_match() {
    let off = |key: Key| Registry::default().key(key).number(Value::Enabled, 0);
    let policy = rule(off(Key::Policies), "R").policy();
    assert!(!policy.0.is_enabled());
    assert_eq!(policy.winner(FILE), None);
    assert!(policy.processes("x.exe").is_empty());

    let on = rule(off(Key::Parameters).key(Key::Policies).number(Value::Enabled, 1), "R").policy();
    assert_eq!(on.winner(FILE).as_deref(), Some("R"), "group policy decides, whichever key was read first");
    let on =
        rule(Registry::new().number(Value::Enabled, 1).key(Key::Parameters).number(Value::Enabled, 0), "R")
            .policy();
    assert!(on.0.is_enabled());
}

#[test]
fn all_errors_are_reported_each_with_its_value() {
    let registry = Registry::new()
        .number(Value::Enabled, 2)
        .number(Value::Version, 9)
        .word(Value::Scope, "Handle")
        .rule("A")
        .raw_value("Paths", kind::SZ, &bytes(&utf16("C:\\x\0")))
        .rule("B")
        .list(Value::Paths, &[r"C:\x"])
        .word(Value::Scope, "Open")
        .raw_value("OnExit", kind::DWORD, &[0; 4])
        .raw_value("MaxSeconds", kind::DWORD, &[0; 3])
        .raw_value("Processes", kind::MULTI_SZ, &[65, 0, 0])
        .number(Value::AuditOnly, 3)
        .number(Value::Enabled, 1)
        .rule("C")
        .raw_value("Paths", kind::MULTI_SZ, &bytes(&utf16("C:\\x\0\0C:\\y\0\0")));
    assert!(!registry.is_valid());
    assert_eq!(
        registry.messages(),
        [
            "policy: Enabled: is too large: write a number from 0 to 1",
            "policy: Version: is not a version that this Intact reads: it reads version 1",
            "policy: Scope: is not a value that Intact knows here, and is ignored: check its spelling",
            r#"policy rule "A": Paths: is REG_SZ: write it as REG_MULTI_SZ"#,
            r#"policy rule "A": the rule names no files: add at least one pattern, such as C:\Data\**"#,
            r#"policy rule "B": Scope "Open": write one of Handle, Process, Coordinated"#,
            r#"policy rule "B": OnExit: is REG_DWORD: write it as REG_SZ"#,
            r#"policy rule "B": MaxSeconds: has a wrong number of bytes for its type: write the value again"#,
            r#"policy rule "B": Processes: has a wrong number of bytes for its type: write the value again"#,
            r#"policy rule "B": AuditOnly: is too large: write a number from 0 to 1"#,
            r#"policy rule "B": Enabled: is not a value that Intact knows here, and is ignored: check its spelling"#,
            r#"policy rule "C": Paths[2]: an empty line ends the list, and text follows it: remove the empty line"#,
        ]
    );
}

#[test]
fn a_list_may_lack_its_end_marks() {
    for text in ["C:\\Data\\**", "C:\\Data\\**\0", "C:\\Data\\**\0\0", "C:\\Data\\**\0\0\0"] {
        let registry = Registry::new().rule("R").raw_value("paths", kind::MULTI_SZ, &bytes(&utf16(text)));
        assert_eq!(registry.policy().winner(FILE).as_deref(), Some("R"), "{text:?}");
    }
}

#[test]
fn too_many_rules_are_refused_and_the_most_are_accepted() {
    let many = |count: usize| {
        (0..count).fold(Registry::new(), |registry, index| rule(registry, &format!("rule {index:04}")))
    };
    let policy = many(MAX_RULES).policy();
    let last = RuleId(u16::try_from(MAX_RULES - 1).unwrap());
    assert!(policy.processes("x").contains(last));
    assert_eq!(policy.0.rule(last).unwrap().name, utf16("rule 1023"));
    assert_eq!(
        many(MAX_RULES + 1).messages(),
        ["policy: there are more than 1024 rules: put more patterns into fewer rules"]
    );
    assert!(!many(20_000).is_valid());
}

#[test]
fn a_block_that_is_too_small_says_how_large_it_must_be() {
    let registry = rule(Registry::new(), "R");
    let full = registry.gather(&mut []).unwrap_err();
    let mut exact = vec![0; full.needed];
    let raw = registry.gather(&mut exact).unwrap();
    let size = check(&raw, &HostUpcase, &mut common::volumes, &mut |_| {}).unwrap();
    for room in 0..size {
        match compile(&raw, &HostUpcase, &mut common::volumes, vec![0; room]) {
            Err(CompileError::Full(full)) => assert_eq!(full.needed, size),
            other => panic!("{room}: {other:?}"),
        }
    }
    assert!(compile(&raw, &HostUpcase, &mut common::volumes, vec![0xFFFF; size + 9]).is_ok());
}

#[test]
fn a_set_holds_what_was_inserted() {
    let mut set = RuleSet::EMPTY;
    assert!(set.is_empty());
    for id in [0, 63, 64, 1023, 1024, u16::MAX].map(RuleId) {
        set.insert(id);
    }
    let held: Vec<u16> = (0..=u16::MAX).filter(|&id| set.contains(RuleId(id))).collect();
    assert_eq!(held, [0, 63, 64, 1023], "what is past the limit is not held");
}

#[test]
fn what_filter_manager_keeps_below_parameters_is_no_policy() {
    let registry = Registry::default()
        .key(Key::Parameters)
        .raw_value("SupportedFeatures", kind::DWORD, &3u32.to_le_bytes())
        .rule("Instances")
        .raw_value("DefaultInstance", kind::SZ, &bytes(&utf16("Intact\0")));
    let policy = rule(registry.clone(), "R").policy();
    assert_eq!(registry.messages(), [""; 0]);
    assert_eq!(policy.0.len(), 1);
    let by_group_policy = Registry::new().rule("Instances").number(Value::Order, 1);
    assert!(!by_group_policy.is_valid(), "group policy may have a rule of this name");
}

#[test]
fn a_key_without_values_is_no_rule_and_hides_none() {
    let empty = Registry::new().rule("R");
    assert_eq!(empty.messages(), [""; 0]);
    assert!(empty.policy().0.is_empty());
    let local = rule(empty.key(Key::Parameters), "r").policy();
    assert_eq!(local.0.len(), 1);
    assert_eq!(local.0.rule(RuleId(0)).expect("the local rule").key, Key::Parameters);
}

#[test]
fn what_is_read_again_unchanged_is_equal_and_any_change_is_not() {
    let registry = rule(Registry::new().number(Value::Enabled, 1), "R");
    let same = |left: &Registry, right: &Registry| {
        let (mut one, mut other) = (vec![0; 4096], vec![0; 8192]);
        left.gather(&mut one).expect("room") == right.gather(&mut other).expect("room")
    };
    assert!(same(&registry, &registry.clone()));
    for other in [
        rule(Registry::new().number(Value::Enabled, 0), "R"),
        rule(Registry::new().number(Value::Enabled, 1), "S"),
        rule(Registry::new().number(Value::Enabled, 1), "R").number(Value::Order, 1),
        registry.clone().key(Key::Parameters),
    ] {
        assert!(!same(&registry, &other));
    }
}

#[test]
fn a_policy_counts_the_paths_that_wait_for_their_volume() {
    let registry = Registry::new()
        .rule("A")
        .list(Value::Paths, &[r"C:\a", r"X:\b"])
        .list(Value::ExcludePaths, &[r"Y:\c"])
        .rule("B")
        .list(Value::Paths, &[r"**\d"]);
    assert_eq!(registry.policy().0.inactive_paths(), 2);
    assert_eq!(rule(Registry::new(), "R").policy().0.inactive_paths(), 0);
}

#[test]
fn a_caller_that_stops_gathering_has_words_for_it() {
    let problem = intact_policy::Problem::too_large();
    assert!(problem.is_error());
    assert_eq!(
        problem.to_string(),
        "policy: the policy takes more than 64 MiB: use fewer patterns, with wildcards"
    );
}

/// Programs named "a*", and what they start.
fn family(registry: Registry) -> Registry {
    rule(registry, "Family")
        .list(Value::Processes, &["a*.exe"])
        .list(Value::ExcludeProcesses, &["a-helper.exe", "shell.exe"])
        .word(Value::Scope, "Process")
        .number(Value::IncludeChildren, 1)
}

#[test]
fn a_child_is_of_the_rules_of_its_parent_that_include_children() {
    let policy = rule(rule(family(Registry::new()), "Own").list(Value::Processes, &["child.exe"]), "Parent")
        .list(Value::Processes, &["a.exe"])
        .policy();
    let find = |name: &str| policy.0.find(&utf16(name)).unwrap();
    assert_eq!(policy.0.find(&utf16("Fam")), None);
    let image = |name: &str| utf16(&format!(r"\Device\HarddiskVolume1\T\{name}"));
    let parent = policy.0.match_process(&image("a.exe"), &HostUpcase);
    assert!(parent.contains(find("Family")) && parent.contains(find("Parent")));
    let rules = |name: &str, inherited: &RuleSet| {
        let set = policy.0.match_child(&image(name), inherited, &HostUpcase);
        ["Family", "Own", "Parent"].map(|rule| set.contains(find(rule)))
    };
    assert_eq!(
        rules("child.exe", &parent),
        [true, true, false],
        "what is not about children is not inherited"
    );
    assert_eq!(rules("child.exe", &RuleSet::EMPTY), [false, true, false]);
    assert_eq!(rules("SHELL.exe", &parent), [false, false, false], "who is excluded is out");
    assert_eq!(rules("a.exe", &RuleSet::EMPTY), [true, false, true], "by its own name");
    assert!(policy.0.excludes_process(find("Family"), &image("a-helper.exe"), &HostUpcase));
    assert!(!policy.0.excludes_process(find("Family"), &image("a.exe"), &HostUpcase));
    assert!(!policy.0.excludes_process(RuleId(99), &image("shell.exe"), &HostUpcase), "no such rule");
    assert!(policy.0.includes_children(find("Family")) && !policy.0.includes_children(find("Own")));
}

#[test]
fn a_policy_that_is_switched_off_is_about_no_child() {
    let policy = family(Registry::new().number(Value::Enabled, 0)).policy();
    let mut inherited = RuleSet::EMPTY;
    inherited.insert(RuleId(0));
    assert!(policy.0.match_child(&utf16("child.exe"), &inherited, &HostUpcase).is_empty());
}

#[test]
fn children_are_included_only_where_they_can_be_one_with_their_parent() {
    let told = |registry: Registry| {
        let included = registry.policy().0.includes_children(RuleId(0));
        (registry.messages(), included)
    };
    let with = |scope: &str, programs: &[&str], number: u32| {
        let registry =
            rule(Registry::new(), "R").word(Value::Scope, scope).number(Value::IncludeChildren, number);
        told(if programs.is_empty() { registry } else { registry.list(Value::Processes, programs) })
    };
    assert_eq!(with("Process", &["a.exe"], 1), (vec![], true));
    for scope in ["Handle", "Coordinated"] {
        let message = r#"policy rule "R": IncludeChildren: means nothing without Scope = Process, and is ignored: write that, or remove this value"#;
        assert_eq!(with(scope, &["a.exe"], 1), (vec![message.to_owned()], false));
        assert_eq!(with(scope, &["a.exe"], 0), (vec![], false));
    }
    let message = r#"policy rule "R": IncludeChildren: is ignored, because every program would be one with the one that started it: name the programs in Processes"#;
    assert_eq!(with("Process", &[], 1), (vec![message.to_owned()], false));
    assert_eq!(with("Process", &[], 0), (vec![], false));
}
