//! `inf/intact-sample.reg` is a policy without a mistake, and its comments say what its bytes say.

use intact_policy::reg::RegFile;
use intact_policy::{Gather, HostUpcase, Key, Policy, Value, check, compile, kind};

const SAMPLE: &str = include_str!("../../../inf/intact-sample.reg");

fn utf16(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

fn policy() -> Policy<Vec<u16>> {
    let mut block = vec![0; 1 << 16];
    let mut gather = Gather::new(&mut block);
    RegFile::parse(SAMPLE.as_bytes()).expect("a .reg file").gather(&mut gather);
    let raw = gather.finish().expect("room for the sample");
    let mut volumes = |link: &[u16], device: &mut [u16]| {
        let name = [utf16(r"\Device\Volume"), vec![*link.get(4)?]].concat();
        device.get_mut(..name.len())?.copy_from_slice(&name);
        Some(name.len())
    };
    let mut messages = Vec::new();
    let size = check(&raw, &HostUpcase, &mut volumes, &mut |problem| messages.push(problem.to_string()));
    assert_eq!(messages, [""; 0]);
    compile(&raw, &HostUpcase, &mut volumes, vec![0; size.expect("no errors")]).expect("checked")
}

#[test]
fn the_sample_is_a_policy_without_errors_or_warnings_and_matches_what_it_says() {
    let policy = policy();
    let winner = |path: &str, image: &str| {
        let rule = policy.match_path(
            &utf16(path),
            &policy.match_process(&utf16(image), &HostUpcase),
            &HostUpcase,
        )?;
        Some(String::from_utf16_lossy(policy.rule(rule).expect("of this policy").name))
    };
    assert_eq!(winner(r"\Device\VolumeC\Users\x\Documents\a\b.odt", "any.exe").as_deref(), Some("Documents"));
    assert_eq!(winner(r"\Device\VolumeC\Users\x\Documents\a\~$b.odt", "any.exe"), None);
    assert_eq!(winner(r"\Device\VolumeD\Reports\2026\q1.xlsx", "EXCEL.EXE").as_deref(), Some("Reports"));
    assert_eq!(winner(r"\Device\VolumeD\Reports\2026\q1.xlsx", "reportviewer.exe"), None);
}

#[test]
fn the_comment_over_each_list_repeats_it() {
    let reg = RegFile::parse(SAMPLE.as_bytes()).expect("a .reg file");
    let mut lists = 0;
    let mut key = "";
    let mut before = "";
    for line in SAMPLE.lines() {
        if let Some(path) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            key = path;
        } else if let Some((name, _)) = line.strip_prefix('"').and_then(|line| line.split_once("\"=hex(7):"))
        {
            let value = reg.values(key).expect("this key").iter().find(|value| value.name == utf16(name));
            let value = value.expect("this value");
            assert_eq!(value.kind, kind::MULTI_SZ);
            let units: Vec<u16> =
                value.data.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
            let text = String::from_utf16(&units).expect("paired surrogates");
            assert_eq!(before, format!("; {name}: {}", text.trim_end_matches('\0').replace('\0', " | ")));
            lists += 1;
        }
        before = line;
    }
    assert_eq!(lists, 5, "every list is looked at");
}

#[test]
fn the_sample_uses_only_values_of_the_schema() {
    let reg = RegFile::parse(SAMPLE.as_bytes()).expect("a .reg file");
    for rule in ["", r"\Documents", r"\Reports"] {
        for value in reg.values(&format!("{}{rule}", Key::Policies.path())).expect("this key") {
            let name = String::from_utf16_lossy(&value.name);
            assert!(
                Value::ALL.iter().any(|row| row.name == name && row.at_root == rule.is_empty()),
                "{name}"
            );
        }
    }
}
