//! What a fuzzer drives: each function takes any bytes and panics if something is wrong. `fuzz/` gives them to
//! libFuzzer, `tests/fuzz.rs` gives them a bounded number of made-up inputs.

use intact_policy::reg::RegFile;
use intact_policy::tools::{Document, from_json, from_oma_uri, read_hive, to_json, to_oma_uri};
use intact_policy::{Gather, HostUpcase, Key, check, compile};

use crate::common::reference::{RuleText, compiled, winner};
use crate::common::{DISK_1, utf16, volumes};

/// Bytes, one after the other; zeros when they have run out.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    fn take(&mut self, length: usize) -> &'b [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A name of few different units, with wildcards if `wild`.
    fn name(&mut self, wild: bool) -> Vec<u16> {
        const UNITS: [u16; 11] = [0x61, 0x41, 0x62, 0x7A, 0x2E, 0xE9, 0xC9, 0xD83D, 0xDE00, 0xB5, 0x3C3];
        let length = self.below(9) + 1;
        let mut name: Vec<u16> = Vec::new();
        for _ in 0..length {
            let choice = self.byte();
            let unit = match choice % 16 {
                11..=13 if wild && name.last() != Some(&0x2A) => 0x2A,
                14 if wild => 0x3F,
                15 => u16::from_le_bytes([self.byte(), self.byte()]),
                choice => UNITS[usize::from(choice) % UNITS.len()],
            };
            // What cannot be in a name is no subject here.
            let is_special = unit < 0x20 || [0x22, 0x2F, 0x3A, 0x3C, 0x3E, 0x5C, 0x7C].contains(&unit);
            let is_wild = [0x2A, 0x3F].contains(&unit) && (!wild || choice % 16 == 15);
            name.push(if is_special || is_wild { 0x62 } else { unit });
        }
        if name.iter().all(|&unit| unit == 0x2E) {
            name.push(0x62);
        }
        name
    }

    fn path(&mut self, start: &str, wild: bool) -> Vec<u16> {
        let mut path = utf16(start);
        let mut ends_in_stars = false;
        for _ in 0..=self.below(5) {
            path.extend([0x5C]);
            ends_in_stars = wild && self.below(4) == 0;
            if ends_in_stars {
                path.extend([0x2A; 2]);
            } else {
                let same = self.below(3) == 0;
                path.extend(if same { vec![0x61] } else { self.name(wild) });
            }
        }
        if !ends_in_stars && self.below(6) == 0 {
            path.push(0x3A);
            path.extend(self.name(wild));
        }
        path
    }

    fn paths(&mut self, least: u8) -> Vec<Vec<u16>> {
        let count = least + self.below(4);
        (0..count)
            .map(|_| {
                let start = ["C:", "c:", "**", r"\Device\HarddiskVolume1"][usize::from(self.below(4))];
                self.path(start, true)
            })
            .collect()
    }
}

/// The matcher answers as the reference does.
pub(crate) fn matcher(data: &[u8]) {
    let mut bytes = Bytes(data);
    let count = bytes.below(5) + 1;
    let rules: Vec<RuleText> = (0..count)
        .map(|_| RuleText {
            order: u32::from(bytes.below(3)),
            paths: bytes.paths(1),
            excluded: bytes.paths(0),
        })
        .collect();
    let policy = compiled(&rules);
    let everyone = policy.processes("any.exe");
    for _ in 0..8 {
        let path = bytes.path(DISK_1, false);
        let won = policy.0.match_path(&path, &everyone, &HostUpcase);
        assert_eq!(
            won,
            policy.0.match_path_one_by_one(&path, &everyone, &HostUpcase),
            "{rules:x?} {path:x?}"
        );
        let name = won.map(|id| String::from_utf16_lossy(policy.0.rule(id).expect("of this policy").name));
        assert_eq!(name, winner(&rules, &path).map(|place| format!("{place:04}")), "{rules:x?} {path:x?}");
    }
}

/// Any values in any keys are judged, and a policy without errors compiles, into exactly what was asked for.
pub(crate) fn registry(data: &[u8]) {
    let fill = |gather: &mut Gather<'_>| {
        let mut bytes = Bytes(data);
        while !bytes.0.is_empty() {
            match bytes.below(8) {
                0 => gather.key(if bytes.below(2) == 0 { Key::Policies } else { Key::Parameters }),
                1 => gather.rule(&[u16::from(bytes.byte())]),
                choice => {
                    let row = &intact_policy::Value::ALL
                        [usize::from(bytes.byte()) % intact_policy::Value::ALL.len()];
                    let kind = [1, 4, 7, u32::from(bytes.byte())][usize::from(bytes.below(4))];
                    let length = usize::from(bytes.byte());
                    let raw = bytes.take(length);
                    // Half of the texts begin as patterns do.
                    let prefix = if choice < 5 { utf16(r"C:\") } else { Vec::new() };
                    let text: Vec<u8> =
                        prefix.into_iter().flat_map(u16::to_le_bytes).chain(raw.iter().copied()).collect();
                    gather.value(&utf16(row.name), kind, &text);
                }
            }
        }
    };
    let mut measure = Gather::new(&mut []);
    fill(&mut measure);
    let mut block = vec![0; measure.needed()];
    let mut gather = Gather::new(&mut block);
    fill(&mut gather);
    let raw = gather.finish().expect("what was measured");
    let mut messages = 0;
    let judged = check(&raw, &HostUpcase, &mut volumes, &mut |problem| {
        messages += usize::from(!problem.to_string().is_empty())
    });
    if let Ok(size) = judged {
        let policy = compile(&raw, &HostUpcase, &mut volumes, vec![0; size]).expect("checked");
        let kept = policy.copy_to(vec![0; policy.size()]).expect("its own size");
        let path: Vec<u16> = data.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        let everyone = kept.match_process(&path, &HostUpcase);
        assert_eq!(
            kept.match_path(&path, &everyone, &HostUpcase),
            policy.match_path_one_by_one(&path, &everyone, &HostUpcase)
        );
    } else {
        assert!(messages > 0, "a policy that is refused says why");
    }
}

/// A `.reg` file is read or refused with words for each line, and what was read survives being written.
pub(crate) fn reg_file(data: &[u8]) {
    for head in ["", "Windows Registry Editor Version 5.00\n", "REGEDIT4\n"] {
        match RegFile::parse(&[head.as_bytes(), data].concat()) {
            Ok(file) => survives(&file),
            Err(errors) => assert!(errors.iter().all(|error| error.line > 0 && !error.text.is_empty())),
        }
    }
}

/// A hive is read or refused.
pub(crate) fn hive(data: &[u8]) {
    for bytes in [data.to_vec(), [b"regf", data].concat()] {
        if let Ok((file, _)) = read_hive(&bytes) {
            survives(&file);
        }
    }
}

/// JSON and SyncML are read or refused.
pub(crate) fn texts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for document in [from_json(&text), from_oma_uri(&text)].into_iter().flatten() {
        survives(&document.to_reg());
    }
}

/// The policy in what was read is the same after it was written and read again.
fn survives(file: &RegFile) {
    let (document, _) = Document::from_reg(file);
    let names = document.sections.iter().filter_map(|section| section.rule.as_deref());
    // A line of a .reg file ends a name; no program can make such a key there.
    if names.clone().all(|name| !name.chars().any(char::is_control)) {
        let again = RegFile::parse(&document.to_reg().to_bytes()).expect("what was written");
        assert_eq!(Document::from_reg(&again).0, Document::from_reg(&document.to_reg()).0);
    }
    let _ = (to_json(&document), to_oma_uri(&document));
}
