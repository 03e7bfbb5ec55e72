//! The matcher against a slow one that is right at a glance.

mod common;

use common::Registry;
use common::reference::{BACKSLASH, RuleText, compiled, winner};
use intact_policy::{HostUpcase, RuleId, Value};
use proptest::prelude::*;

/// Few letters, so that patterns and paths meet often; both cases, letters beyond ASCII, halves of surrogate pairs.
fn letter() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![0x61, 0x41, 0x62, 0x62, 0x2E, 0xE9, 0xC9, 0xD83D, 0xDE00, 0xB5, 0x3A3])
}

fn name() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(letter(), 1..5).prop_map(|mut name| {
        // '.' and '..' are no names.
        if name.iter().all(|&unit| unit == 0x2E) {
            name.push(0x62);
        }
        name
    })
}

fn wild_name() -> impl Strategy<Value = Vec<u16>> {
    let unit = prop_oneof![3 => letter(), 1 => Just(0x2A), 1 => Just(0x3F)];
    prop::collection::vec(unit, 1..6).prop_map(|mut name| {
        // '**' is no part of a name.
        name.dedup_by(|after, before| *after == 0x2A && *before == 0x2A);
        if name.iter().all(|&unit| unit == 0x2E) {
            name.push(0x2A);
        }
        name
    })
}

fn on(volume: &str, components: Vec<Vec<u16>>) -> Vec<u16> {
    let mut path = common::utf16(volume);
    for component in components {
        path.push(BACKSLASH);
        path.extend(component);
    }
    path
}

fn pattern() -> impl Strategy<Value = Vec<u16>> {
    let component = prop_oneof![4 => name(), 3 => wild_name(), 2 => Just(vec![0x2A; 2])];
    let volume = prop::sample::select(vec!["C:", "c:", "D:", "**"]);
    let stream = prop::sample::select(vec!["", "", "", ":b", ":?", ":B*", ":b:$data"]);
    (volume, prop::collection::vec(component, 1..6), stream).prop_map(|(volume, components, stream)| {
        let is_below = components.last().is_some_and(|last| *last == [0x2A; 2]);
        [on(volume, components), common::utf16(if is_below { "" } else { stream })].concat()
    })
}

fn path() -> impl Strategy<Value = Vec<u16>> {
    let volume = prop::sample::select(vec![common::DISK_1, common::DISK_1, common::DISK_2, r"\Device"]);
    let stream = prop::sample::select(vec!["", "", ":b", ":ab", "::$DATA", ":b:$DATA"]);
    (volume, prop::collection::vec(name(), 1..7), stream)
        .prop_map(|(volume, components, stream)| [on(volume, components), common::utf16(stream)].concat())
}

fn rule() -> impl Strategy<Value = RuleText> {
    let patterns = |least| prop::collection::vec(pattern(), least..4);
    (0u32..3, patterns(1), patterns(0)).prop_map(|(order, paths, excluded)| RuleText {
        order,
        paths,
        excluded,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_matcher_agrees_with_the_reference(
        rules in prop::collection::vec(rule(), 0..9),
        paths in prop::collection::vec(path(), 1..20),
    ) {
        let policy = compiled(&rules);
        let everyone = policy.processes("any.exe");
        for path in paths {
            let won = policy.0.match_path(&path, &everyone, &HostUpcase);
            prop_assert_eq!(won, policy.0.match_path_one_by_one(&path, &everyone, &HostUpcase));
            let name = won.map(|id: RuleId| String::from_utf16_lossy(policy.0.rule(id).unwrap().name));
            prop_assert_eq!(name, winner(&rules, &path).map(|place| format!("{place:04}")));
        }
    }

    #[test]
    fn any_registry_data_is_read_without_a_panic(
        values in prop::collection::vec((0usize..Value::ALL.len(), 0u32..12, prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        texts in prop::collection::vec(prop::collection::vec(prop_oneof![letter(), any::<u16>(), Just(0x5C), Just(0x2A), Just(0x3A)], 0..30), 0..8),
        path in prop::collection::vec(any::<u16>(), 0..60),
    ) {
        let mut registry = Registry::new();
        for (place, text) in texts.iter().enumerate() {
            let text = [common::utf16(r"C:\"), text.clone()].concat();
            registry = registry.rule(&place.to_string()).list_of_units(Value::Paths, &[text]);
        }
        for (row, kind, data) in values {
            registry = registry.raw_value(Value::ALL[row].name, kind, &data);
        }
        registry.messages();
        if registry.is_valid() {
            let policy = registry.policy();
            let everyone = policy.processes("x");
            prop_assert_eq!(
                policy.0.match_path(&path, &everyone, &HostUpcase),
                policy.0.match_path_one_by_one(&path, &everyone, &HostUpcase)
            );
        }
    }
}
