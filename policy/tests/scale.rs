//! Many patterns, and patterns made to be hard.

mod common;

use common::{DISK_1, Registry, paths, utf16};
use intact_policy::{HostUpcase, Value};

/// Patterns of every kind of edge, `count` of them.
fn mixed(count: usize) -> Vec<String> {
    (0..count)
        .map(|index| match index % 10 {
            0..=3 => format!(r"C:\dir{}\project{index}\**", index % 37),
            4 | 5 => format!(r"C:\dir{}\exact{index}.txt", index % 37),
            6 | 7 => format!(r"C:\dir{}\sub{index}\*.e{}", index % 37, index % 11),
            8 => format!(r"**\leading{index}_*.x"),
            _ => format!(r"C:\dir{}\*\middle{index}\*.txt", index % 37),
        })
        .collect()
}

/// A path that the pattern at `index` of [`mixed`] matches.
fn inside(index: usize) -> String {
    let directory = format!(r"{DISK_1}\DIR{}", index % 37);
    match index % 10 {
        0..=3 => format!(r"{directory}\Project{index}\a\b.txt"),
        4 | 5 => format!(r"{directory}\exact{index}.TXT"),
        6 | 7 => format!(r"{directory}\sub{index}\file.e{}", index % 11),
        8 => format!(r"\Device\HarddiskVolume9\a\leading{index}_b.x"),
        _ => format!(r"{directory}\any\middle{index}\c.txt"),
    }
}

#[test]
fn each_of_ten_thousand_patterns_is_found_and_no_other() {
    let patterns = mixed(10_000);
    let mut registry = Registry::new();
    for (rule, patterns) in patterns.chunks(100).enumerate() {
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        registry = registry.rule(&format!("{rule:03}")).list(Value::Paths, &patterns);
    }
    let policy = registry.policy();
    let kept = policy.0.copy_to(vec![0; policy.0.size()]).expect("the size of itself");
    assert!(policy.0.size() * 2 < 5 << 20, "{} units are more than 5 MiB", policy.0.size());
    let everyone = policy.processes("x");
    for index in 0..patterns.len() {
        let path = utf16(&inside(index));
        let winner = kept.match_path(&path, &everyone, &HostUpcase);
        assert_eq!(winner.map(|rule| usize::from(rule.0)), Some(index / 100), "{}", inside(index));
        let outside = [path, utf16("x")].concat();
        let is_below = index % 10 < 4;
        assert_eq!(
            kept.match_path(&outside, &everyone, &HostUpcase).is_some(),
            is_below,
            "{}",
            inside(index)
        );
    }
}

#[test]
fn a_copy_needs_as_much_room_as_the_policy_uses() {
    let policy = paths(&[r"C:\x\*.txt"]).policy();
    let size = policy.0.size();
    assert!(policy.0.copy_to(vec![0; size]).is_ok());
    assert_eq!(policy.0.copy_to(vec![0; size - 1]).unwrap_err().needed, size);
}

#[test]
fn more_wildcards_than_are_followed_at_once_are_still_all_asked() {
    let letters: Vec<String> = (b'a'..=b'z').map(char::from).map(String::from).collect();
    let all: String = letters.concat();
    for deep in [r"\**\x", r"\x"] {
        let patterns: Vec<String> =
            letters.iter().map(|letter| format!(r"C:\*{letter}*{deep}{letter}")).collect();
        let policy = paths(&patterns.iter().map(String::as_str).collect::<Vec<_>>()).policy();
        for letter in &letters {
            assert!(policy.winner(&format!(r"{DISK_1}\{all}\x{letter}")).is_some(), "{deep}{letter}");
        }
        assert!(policy.winner(&format!(r"{DISK_1}\{all}\x0")).is_none());
    }
}

#[test]
fn a_component_longer_than_any_file_system_allows_is_still_matched() {
    let long = "n".repeat(5000);
    let policy = paths(&[r"C:\*\end", r"C:\n*z"]).policy();
    assert!(policy.winner(&format!(r"{DISK_1}\{long}\end")).is_some());
    assert!(policy.winner(&format!(r"{DISK_1}\{long}\other")).is_none());
    assert!(policy.winner(&format!(r"{DISK_1}\{long}z")).is_some());
    assert!(policy.winner(&format!(r"{DISK_1}\{long}")).is_none());
}

#[test]
fn literal_ends_longer_than_what_is_hashed_are_compared_whole() {
    let (common, other) = ("c".repeat(40), "d".repeat(40));
    let policy =
        paths(&[&format!(r"C:\{common}1*"), &format!(r"C:\*2{common}"), &format!(r"C:\{other}*{other}")])
            .policy();
    let hit = |name: &str| policy.winner(&format!(r"{DISK_1}\{name}")).is_some();
    assert!(hit(&format!("{common}1")));
    assert!(!hit(&format!("{common}3")));
    assert!(hit(&format!("2{common}")));
    assert!(!hit(&format!("3{common}")));
    assert!(hit(&format!("{other}{other}")));
    assert!(!hit(&other), "beginning and end may not overlap");
}

#[test]
fn patterns_and_paths_made_to_be_slow_stay_within_the_bound() {
    let patterns: Vec<String> = (0..1000).map(|index| format!(r"C:\**\*a*a*a*a*a*{index}*b*")).collect();
    let policy = paths(&patterns.iter().map(String::as_str).collect::<Vec<_>>()).policy();
    let path = format!(r"{DISK_1}{}", format!(r"\{}", "a".repeat(250)).repeat(20));
    let steps = patterns.iter().map(String::len).sum::<usize>() as u64 * path.len() as u64 * 2;
    let begun = std::time::Instant::now();
    assert_eq!(policy.winner(&path), None);
    let nanoseconds = begun.elapsed().as_nanos() as u64;
    assert!(nanoseconds < steps * 20, "{nanoseconds} ns for at most {steps} steps");
}

#[test]
fn a_hundred_thousand_patterns_in_eight_mebibytes_load_within_bounded_memory() {
    let patterns: Vec<String> = mixed(100_000)
        .into_iter()
        .map(|pattern| pattern.replacen("C:", r"C:\a\long\enough\prefix", 1))
        .collect();
    let mut registry = Registry::new();
    for (rule, patterns) in patterns.chunks(1000).enumerate() {
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        registry = registry.rule(&format!("{rule:03}")).list(Value::Paths, &patterns);
    }
    let bytes = patterns.iter().map(|pattern| 2 * (pattern.len() + 1)).sum::<usize>();
    assert!(bytes >= 8 << 20, "{bytes} bytes of values");
    let policy = registry.policy();
    let kept = policy.0.size() * 2;
    assert!(kept < 32 << 20, "{kept} bytes are kept");
    let path = inside(4).replacen(DISK_1, &format!(r"{DISK_1}\a\long\enough\prefix"), 1);
    assert_eq!(policy.winner(&path).as_deref(), Some("000"));
}

#[test]
fn a_policy_that_would_take_more_than_the_most_memory_is_refused_with_a_reason() {
    let deep = r"\a\b\c\d\e\f\g\h\i\j\k\l\m\n\o\p\q\r\s\t\u\v\w\x\y\z".repeat(20);
    let patterns: Vec<String> = (0..4000).map(|index| format!(r"C:\{index}{deep}")).collect();
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let registry = Registry::new().rule("R").list(Value::Paths, &patterns);
    assert!(!registry.is_valid());
    assert_eq!(
        registry.messages(),
        ["policy: the policy takes more than 64 MiB: use fewer patterns, with wildcards"]
    );
}

/// How deep below `top` the stack is.
fn depth_below(top: &u8) -> usize {
    let here = 0u8;
    (std::ptr::from_ref(top) as usize).abs_diff(std::ptr::from_ref(&here) as usize)
}

#[test]
fn matching_takes_less_than_two_kibibytes_of_stack_however_many_patterns_there_are() {
    use std::cell::Cell;
    let few = paths(&[r"C:\a\**", r"**\*a*b*c"]).policy();
    let patterns: Vec<String> = (0..2000).map(|index| format!(r"C:\**\*{index}*a*\**\b{index}?")).collect();
    let many = paths(&patterns.iter().map(String::as_str).collect::<Vec<_>>()).policy();
    let path = utf16(&format!(r"{DISK_1}{}", r"\1234567890abcdé".repeat(200)));
    for policy in [&few, &many] {
        let everyone = policy.processes("x");
        let deepest = Cell::new(0);
        let top = 0u8;
        // The table is asked for letters that are not ASCII, from the innermost loops.
        let upcase = |unit: u16| {
            deepest.set(deepest.get().max(depth_below(&top)));
            intact_policy::Upcase::upcase(&HostUpcase, unit)
        };
        policy.0.match_path(&path, &everyone, &upcase);
        policy.0.match_path_one_by_one(&path, &everyone, &upcase);
        assert!((1..2048).contains(&deepest.get()), "{} bytes", deepest.get());
    }
}
