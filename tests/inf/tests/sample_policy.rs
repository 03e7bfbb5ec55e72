//! `inf/intact-sample.reg` is a policy without a mistake, and its comments say what its bytes say.

use intact_policy::{Gather, HostUpcase, Key, Policy, Value, check, compile, kind};

const SAMPLE: &str = include_str!("../../../inf/intact-sample.reg");
const ROOT: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Intact";

/// What a line of the sample says.
enum Line<'t> {
    Key(&'t str),
    Value(&'t str, u32, Vec<u8>),
    Comment(&'t str),
}

/// Reads the forms that the sample uses: keys, `dword:`, `hex(7):`, quoted text.
fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut rest = text.lines();
    assert_eq!(rest.next(), Some("Windows Registry Editor Version 5.00"));
    while let Some(line) = rest.next() {
        if let Some(comment) = line.strip_prefix("; ") {
            lines.push(Line::Comment(comment));
        } else if let Some(key) = line.strip_prefix('[') {
            lines.push(Line::Key(key.strip_suffix(']').expect("a closed key")));
        } else if let Some((name, data)) = line.split_once('=') {
            let mut data = data.to_owned();
            while let Some(continued) = data.strip_suffix('\\') {
                data = continued.to_owned() + rest.next().expect("a continued line").trim_start();
            }
            let (kind, data) = self::data(&data);
            lines.push(Line::Value(name.trim_matches('"'), kind, data));
        } else {
            assert!(line.is_empty(), "{line}");
        }
    }
    lines
}

fn data(text: &str) -> (u32, Vec<u8>) {
    if let Some(bytes) = text.strip_prefix("hex(7):") {
        let byte = |digits| u8::from_str_radix(digits, 16).expect("two digits");
        return (kind::MULTI_SZ, bytes.split(',').map(byte).collect());
    }
    if let Some(number) = text.strip_prefix("dword:") {
        return (kind::DWORD, u32::from_str_radix(number, 16).expect("eight digits").to_le_bytes().to_vec());
    }
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).expect("quoted text");
    (kind::SZ, text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect())
}

fn utf16(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

fn policy() -> Policy<Vec<u16>> {
    let mut block = vec![0; 1 << 16];
    let mut gather = Gather::new(&mut block);
    for line in lines(SAMPLE) {
        match line {
            Line::Key(ROOT) => gather.key(Key::Policies),
            Line::Key(key) => gather
                .rule(&utf16(key.strip_prefix(ROOT).expect("below the policy key").trim_start_matches('\\'))),
            Line::Value(name, kind, data) => gather.value(&utf16(name), kind, &data),
            Line::Comment(_) => {}
        }
    }
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
    let mut lists = 0;
    let lines = lines(SAMPLE);
    for pair in lines.windows(2) {
        let Line::Value(name, kind::MULTI_SZ, data) = &pair[1] else { continue };
        let units: Vec<u16> = data.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let text = String::from_utf16(&units)
            .expect("paired surrogates")
            .trim_end_matches('\0')
            .replace('\0', " | ");
        let Line::Comment(comment) = &pair[0] else { panic!("{name} has no comment") };
        assert_eq!(*comment, format!("{name}: {text}"));
        lists += 1;
    }
    assert!(lists >= 4);
}

#[test]
fn the_sample_uses_only_values_of_the_schema() {
    for line in lines(SAMPLE) {
        if let Line::Value(name, ..) = line {
            assert!(Value::ALL.iter().any(|row| row.name == name), "{name}");
        }
    }
}
