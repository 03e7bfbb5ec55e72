//! A policy in JSON, as OMA-URI settings, in a written `.reg` file and in a hive is the same policy.

mod common;

use common::{bytes, utf16};
use intact_policy::reg::{RegFile, RegValue};
use intact_policy::tools::{
    Data, Document, Section, from_json, from_oma_uri, read_hive, to_json, to_oma_uri,
};
use intact_policy::{Key, Kind, Value, kind};
use proptest::prelude::*;

const SAMPLE: &str = include_str!("../../inf/intact-sample.reg");

fn sample() -> RegFile {
    RegFile::parse(SAMPLE.as_bytes()).expect("the sample is a .reg file")
}

fn document(file: &RegFile) -> Document {
    let (document, left_out) = Document::from_reg(file);
    assert_eq!(left_out, [""; 0]);
    document
}

/// With the value that each absent one stands for.
fn filled(mut document: Document) -> Document {
    for section in document.sections.iter_mut().filter(|section| section.rule.is_some()) {
        for row in Value::ALL.iter().filter(|row| !row.at_root) {
            let default = match row.kind {
                Kind::Patterns => continue,
                Kind::Word(words) => Data::Word(words[0].to_owned()),
                Kind::Number { default, .. } => Data::Number(default),
            };
            if section.values.iter().all(|(value, _)| *value != row.value) {
                section.values.push((row.value, default));
            }
        }
        section.values.sort_by_key(|(value, _)| Value::ALL.iter().position(|row| row.value == *value));
    }
    document
}

#[test]
fn the_sample_keeps_its_meaning_in_every_form() {
    let original = document(&sample());
    assert_eq!(original.sections.len(), 3);
    assert_eq!(from_json(&to_json(&original)).as_ref(), Ok(&original));
    assert_eq!(document(&original.to_reg()), original);
    assert_eq!(document(&RegFile::parse(&sample().to_bytes()).expect("what was written")), original);
    // Device management gives every element of a setting.
    let oma = to_oma_uri(&original).expect("rules of Group Policy's key");
    assert_eq!(from_oma_uri(&oma), Ok(filled(original)));
}

#[test]
fn the_published_oma_uri_sample_is_the_sample_policy() {
    let published = include_str!("../../inf/intact-oma-uri.xml");
    assert_eq!(to_oma_uri(&document(&sample())).as_deref(), Ok(published));
}

#[test]
fn device_management_sets_the_published_template_too() {
    let xml = r#"<SyncML xmlns="SYNCML:SYNCML1.2"><SyncBody><Replace><Item>
        <Target><LocURI>./Device/Vendor/MSFT/Policy/Config/Intact~Policy~Intact/Rule07</LocURI></Target>
        <Data><![CDATA[<enabled/><data id="Paths" value="C:\a\**&#xF000;D:\b"/><data id="Order" value="7"/>]]></Data>
        </Item></Replace></SyncBody></SyncML>"#;
    let document = from_oma_uri(xml).expect("a setting of Rule07");
    assert_eq!(document.sections[1].rule.as_deref(), Some("Rule07"));
    assert_eq!(
        document.sections[1].values,
        [
            (Value::Paths, Data::List(vec![r"C:\a\**".into(), r"D:\b".into()])),
            (Value::Order, Data::Number(7)),
        ]
    );
}

#[test]
fn device_management_switches_the_policy_off_and_leaves_the_version_to_it() {
    let set = |name: &str, data: &str| {
        let xml = format!(
            r#"<SyncML xmlns="SYNCML:SYNCML1.2"><SyncBody><Replace><Item>
            <Target><LocURI>./Device/Vendor/MSFT/Policy/Config/Intact~Policy~Intact/{name}</LocURI></Target>
            <Data><![CDATA[{data}]]></Data></Item></Replace></SyncBody></SyncML>"#
        );
        let document = from_oma_uri(&xml).expect("a setting of the policy");
        document.sections.into_iter().flat_map(|section| section.values).collect::<Vec<_>>()
    };
    assert_eq!(set("Enabled", "<enabled/>"), [(Value::Enabled, Data::Number(1))]);
    assert_eq!(set("Enabled", "<disabled/>"), [(Value::Enabled, Data::Number(0))]);
    assert_eq!(set("Version", "<enabled/>"), [(Value::Version, Data::Number(1))]);
    // A version that is switched off is one that is not there, not version 0.
    assert_eq!(set("Version", "<disabled/>"), []);
}

#[test]
fn a_rule_without_values_is_not_given_to_device_management() {
    let mut document = document(&sample());
    let oma = to_oma_uri(&document).expect("rules of Group Policy's key");
    let empty = |key| Section { key, rule: Some("Nothing".into()), values: Vec::new() };
    document.sections.extend([empty(Key::Policies), empty(Key::Parameters)]);
    assert_eq!(to_oma_uri(&document), Ok(oma));
}

#[test]
fn what_a_form_cannot_hold_is_named_and_not_left_out() {
    let body = "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Intact\\R]\n\"Path\"=\"x\"\n\"Scope\"=dword:1\n\"Paths\"=hex(7):00,d8,00,00\n\"Order\"=hex(4):01\n";
    let file = RegFile::parse(format!("Windows Registry Editor Version 5.00\n{body}").as_bytes()).unwrap();
    let (_, left_out) = Document::from_reg(&file);
    for (told, expected) in left_out.iter().zip([
        "Path is not a value that Intact knows here",
        "Scope is REG_DWORD: write it as REG_SZ",
        "Paths has half of a surrogate pair, which only .reg files and hives can hold",
        "Order does not have four bytes",
    ]) {
        assert_eq!(told, &format!(r"[HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Intact\R] {expected}"));
    }
    assert_eq!(left_out.len(), 4);
    let local = Section { key: Key::Parameters, rule: None, values: vec![(Value::Enabled, Data::Number(0))] };
    let refused = to_oma_uri(&Document { sections: vec![local] }).unwrap_err();
    assert!(refused.contains("device management cannot write"), "{refused}");
}

#[test]
fn every_mistake_in_json_is_named_with_its_place() {
    let text = r#"{ "Policy": {}, "Policies": { "Enabled": "yes", "Rules": {
        "A": { "Paths": "C:\\x", "Order": -1, "Scope": 3, "Pats": [] },
        "B": { "Paths": ["C:\\x", ""] }, "C\\D": 1 } }, "Parameters": { "Rules": [] } }"#;
    assert_eq!(
        from_json(text).unwrap_err(),
        [
            "Policy is no key: there are Policies and Parameters",
            "Policies.Enabled must be a number",
            r#"Policies.Rules.A.Paths must be a list of patterns: ["C:\\Data\\**"]"#,
            "Policies.Rules.A.Order must be a whole number that fits into REG_DWORD",
            r#"Policies.Rules.A.Scope must be one of "Handle", "Process", "Coordinated""#,
            "Policies.Rules.A.Pats is not a value that Intact knows here",
            "Policies.Rules.B.Paths [2] must be a pattern between quotes",
            r"Policies.Rules.C\D is no name of a registry key",
            r"Policies.Rules.C\D must be an object",
            "Parameters.Rules must be an object: name to rule",
        ]
    );
    assert!(from_json("{").unwrap_err()[0].starts_with("this is no JSON: "));
    assert_eq!(
        from_json("[]").unwrap_err(),
        ["the file must be an object with Policies, Parameters or both"]
    );
}

#[test]
fn every_mistake_in_syncml_is_named_with_its_place() {
    let item = |uri: &str, data: &str| {
        format!("<Item><Target><LocURI>{uri}</LocURI></Target><Data><![CDATA[{data}]]></Data></Item>")
    };
    let config = "./Device/Vendor/MSFT/Policy/Config/Intact~Policy~Intact/";
    let items = [
        item("./Device/Other", "<enabled/>"),
        item(&format!("{config}Enabled"), "on"),
        item(&format!("{config}Rule99"), "<enabled/>"),
        item(&format!("{config}Rule01"), "<enabled/><data id=\"Order\" value=\"first\"/>"),
        item(&format!("{config}Rule02"), "<enabled/><data id=\"Pats\" value=\"x\"/>"),
        item(&format!("{config}Rule03"), "<enabled>"),
        item(&format!("{config}Rule04"), ""),
        item(&format!("{config}Rule05"), "<disabled/>"),
    ];
    let xml = format!("<SyncML xmlns=\"SYNCML:SYNCML1.2\">{}</SyncML>", items.concat());
    let errors = from_oma_uri(&xml).unwrap_err();
    let expected = [
        "./Device/Other is no setting of Intact",
        "Enabled: write <enabled/> or <disabled/>",
        "Rule99: is a setting that the template does not have",
        "Rule01: Order \"first\": write a number",
        "Rule02: \"Pats\" is not a value that Intact knows here",
        "Rule03: the payload is no XML",
        "Rule04: write <enabled/> or <disabled/>",
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.contains(expected), "{error}: {expected}");
    }
    assert!(from_oma_uri("<a>").unwrap_err()[0].starts_with("this is no XML: "));
    assert_eq!(from_oma_uri("<a/>").unwrap_err(), ["there is no <Item> of SyncML 1.2 in it"]);
}

fn texts() -> impl Strategy<Value = String> {
    // No separators of registry paths or of lists; quotes, escapes and letters of all planes.
    let letters =
        prop::sample::select(vec!['a', 'Z', '"', '&', '<', '\'', ']', ';', ' ', 'é', '€', '😀', '%']);
    prop::collection::vec(letters, 1..6)
        .prop_map(|letters| letters.into_iter().collect::<String>().trim().to_owned() + "x")
}

fn documents() -> impl Strategy<Value = Document> {
    let values = |at_root: bool| {
        let value =
            prop::sample::select(Value::ALL.iter().filter(|row| row.at_root == at_root).collect::<Vec<_>>());
        let one =
            (value, prop::collection::vec(texts(), 1..4), any::<u32>()).prop_map(|(row, list, number)| {
                let data = match row.kind {
                    Kind::Patterns => Data::List(list),
                    Kind::Word(words) => Data::Word(words[number as usize % words.len()].to_owned()),
                    Kind::Number { max, .. } if row.at_root => {
                        Data::Number(if row.value == Value::Version { 1 } else { number % (max + 1) })
                    }
                    Kind::Number { .. } => Data::Number(number),
                };
                (row.value, data)
            });
        prop::collection::vec(one, 1..6).prop_map(|mut values| {
            values.sort_by_key(|(value, _)| Value::ALL.iter().position(|row| row.value == *value));
            values.dedup_by_key(|(value, _)| *value);
            values
        })
    };
    (values(true), prop::collection::btree_map(texts(), values(false), 0..4)).prop_map(|(root, rules)| {
        let root = Section { key: Key::Policies, rule: None, values: root };
        // Registry names differ by more than case.
        let mut known = Vec::new();
        let rules = rules.into_iter().filter(|(name, _)| {
            let upper = name.to_uppercase();
            !known.contains(&upper) && {
                known.push(upper);
                true
            }
        });
        let rules: Vec<Section> =
            rules.map(|(name, values)| Section { key: Key::Policies, rule: Some(name), values }).collect();
        Document { sections: [vec![root], rules].concat() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_policy_comes_back_from_every_form(original in documents()) {
        prop_assert_eq!(&from_json(&to_json(&original)).unwrap(), &original);
        let reg = original.to_reg();
        prop_assert_eq!(&document(&RegFile::parse(&reg.to_bytes()).unwrap()), &original);
        prop_assert_eq!(&document(&RegFile::parse(reg.to_text().as_bytes()).unwrap()), &original);
        prop_assert_eq!(from_oma_uri(&to_oma_uri(&original).unwrap()).unwrap(), filled(original.clone()));
        let hive = Hive::holding(&original, &["Policies", "Intact"]);
        prop_assert_eq!(document(&read_hive(&hive).unwrap().0), original);
    }

    #[test]
    fn a_damaged_hive_is_read_or_refused_and_nothing_else(
        original in documents(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut hive = Hive::holding(&original, &["Policies", "Intact"]);
        for (place, byte) in damage {
            let place = place.index(hive.len());
            hive[place] = byte;
        }
        let _ = read_hive(&hive);
        hive.truncate(cut.index(hive.len()));
        let _ = read_hive(&hive);
    }

    #[test]
    fn any_text_is_read_or_refused_by_every_reader(text in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = from_json(&text);
        let _ = from_oma_uri(&text);
        let _ = RegFile::parse(&bytes);
        let _ = read_hive(&[b"regf".as_slice(), &bytes].concat());
    }
}

/// Writes hives as Windows lays them out.
struct Hive {
    bins: Vec<u8>,
}

impl Hive {
    fn holding(document: &Document, path: &[&str]) -> Vec<u8> {
        let mut hive = Hive { bins: vec![0; 32] };
        let mut rules = Vec::new();
        let mut root = (0, u32::MAX);
        for section in &document.sections {
            let values: Vec<RegValue> = Document { sections: vec![section.clone()] }
                .to_reg()
                .keys()
                .flat_map(|(_, values)| values.to_vec())
                .collect();
            let list = hive.values(&values);
            match &section.rule {
                None => root = list,
                Some(rule) => rules.push(hive.key(rule, list, (0, u32::MAX))),
            }
        }
        let subkeys = hive.list(*b"lh", &rules);
        let (mut name, parents) =
            path.split_last().map_or(("ROOT", &[][..]), |(last, before)| (*last, before));
        let mut key = hive.key(name, root, (rules.len() as u32, subkeys));
        for parent in parents.iter().rev() {
            let other = hive.key("Other", (0, u32::MAX), (0, u32::MAX));
            let list = hive.list(*b"lf", &[other, key]);
            name = parent;
            key = hive.key(name, (0, u32::MAX), (2, list));
        }
        if !path.is_empty() {
            // The root lists its keys in two parts.
            let other = hive.key("Select2", (0, u32::MAX), (0, u32::MAX));
            let parts = [hive.list(*b"li", &[other]), hive.list(*b"lh", &[key])];
            let list = hive.list(*b"ri", &parts);
            key = hive.key("ROOT", (0, u32::MAX), (2, list));
        }
        hive.file(key)
    }

    /// The file, with the root at `key`.
    fn file(self, key: u32) -> Vec<u8> {
        let mut file = vec![0; 0x1000];
        file[..4].copy_from_slice(b"regf");
        file[4] = 1;
        file[8] = 1;
        file[0x24..0x28].copy_from_slice(&key.to_le_bytes());
        file.extend(self.bins);
        file
    }

    fn cell(&mut self, content: &[u8]) -> u32 {
        let at = self.bins.len() as u32;
        let size = (content.len() + 4).next_multiple_of(8);
        self.bins.extend((-(size as i32)).to_le_bytes());
        self.bins.extend(content);
        self.bins.resize(at as usize + size, 0);
        at
    }

    fn key(&mut self, name: &str, values: (u32, u32), subkeys: (u32, u32)) -> u32 {
        let narrow = name.chars().all(|letter| u32::from(letter) < 256);
        let name: Vec<u8> =
            if narrow { name.chars().map(|letter| letter as u8).collect() } else { bytes(&utf16(name)) };
        let mut cell = vec![0; 76];
        cell[..2].copy_from_slice(b"nk");
        cell[2] = if narrow { 0x20 } else { 0 };
        cell[20..24].copy_from_slice(&subkeys.0.to_le_bytes());
        cell[28..32].copy_from_slice(&subkeys.1.to_le_bytes());
        cell[36..40].copy_from_slice(&values.0.to_le_bytes());
        cell[40..44].copy_from_slice(&values.1.to_le_bytes());
        cell[72..74].copy_from_slice(&(name.len() as u16).to_le_bytes());
        cell.extend(name);
        self.cell(&cell)
    }

    fn list(&mut self, kind: [u8; 2], offsets: &[u32]) -> u32 {
        let mut cell = kind.to_vec();
        cell.extend((offsets.len() as u16).to_le_bytes());
        for offset in offsets {
            cell.extend(offset.to_le_bytes());
            if kind[0] == b'l' && kind[1] != b'i' {
                cell.extend([0; 4]);
            }
        }
        self.cell(&cell)
    }

    fn values(&mut self, values: &[RegValue]) -> (u32, u32) {
        let mut offsets = Vec::new();
        for value in values {
            let (size, place) = match value.data.len() {
                length @ 0..=4 => {
                    let mut inside = [0; 4];
                    inside[..length].copy_from_slice(&value.data);
                    (length as u32 | 0x8000_0000, u32::from_le_bytes(inside))
                }
                length @ 5..=16_344 => (length as u32, self.cell(&value.data)),
                length => {
                    let pieces: Vec<u32> = value.data.chunks(16_344).map(|piece| self.cell(piece)).collect();
                    let list: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_le_bytes()).collect();
                    let mut head = b"db".to_vec();
                    head.extend((pieces.len() as u16).to_le_bytes());
                    let list = self.cell(&list);
                    head.extend(list.to_le_bytes());
                    (length as u32, self.cell(&head))
                }
            };
            let name = bytes(&value.name);
            let mut cell = b"vk".to_vec();
            cell.extend((name.len() as u16).to_le_bytes());
            cell.extend([size.to_le_bytes(), place.to_le_bytes(), value.kind.to_le_bytes(), [0; 4]].concat());
            cell.extend(name);
            offsets.push(self.cell(&cell));
        }
        let list: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        (offsets.len() as u32, self.cell(&list))
    }
}

#[test]
fn a_list_longer_than_one_cell_is_read_from_a_hive() {
    let paths: Vec<String> = (0..2000).map(|place| format!(r"C:\Data\Project{place:06}\**")).collect();
    let rule = Section {
        key: Key::Policies,
        rule: Some("Long".into()),
        values: vec![(Value::Paths, Data::List(paths))],
    };
    let original = Document { sections: vec![rule] };
    let hive = Hive::holding(&original, &["Policies", "Intact"]);
    let (read, notes) = read_hive(&hive).expect("a hive");
    assert_eq!(notes, [""; 0]);
    assert_eq!(document(&read).sections[1..], original.sections);
}

#[test]
fn a_hive_saved_from_the_policy_key_itself_is_the_policy() {
    let original = document(&sample());
    let (read, notes) = read_hive(&Hive::holding(&original, &[])).expect("a hive");
    assert_eq!(notes, [format!("the hive's root is taken for {}", Key::Policies.path())]);
    assert_eq!(document(&read), original);
}

#[test]
fn the_services_own_key_is_found_in_the_current_control_set() {
    let mut hive = Hive { bins: vec![0; 32] };
    let name = utf16("Current");
    let current = hive.values(&[RegValue { name, kind: kind::DWORD, data: vec![2, 0, 0, 0], line: 0 }]);
    let select = hive.key("Select", current, (0, u32::MAX));
    let set = |hive: &mut Hive, name: &str, number: u8| {
        let enabled =
            RegValue { name: utf16("Enabled"), kind: kind::DWORD, data: vec![number, 0, 0, 0], line: 0 };
        let values = hive.values(&[enabled]);
        let mut key = hive.key("Parameters", values, (0, u32::MAX));
        for parent in ["Intact", "Services", name] {
            let list = hive.list(*b"lh", &[key]);
            key = hive.key(parent, (0, u32::MAX), (1, list));
        }
        key
    };
    let sets = [set(&mut hive, "ControlSet001", 1), set(&mut hive, "ControlSet002", 0), select];
    let list = hive.list(*b"lf", &sets);
    let root = hive.key("ROOT", (0, u32::MAX), (3, list));
    let mut file = vec![0; 0x1000];
    file[..4].copy_from_slice(b"regf");
    file[4] = 7;
    file[0x24..0x28].copy_from_slice(&root.to_le_bytes());
    file.extend(hive.bins);
    let (read, notes) = read_hive(&file).expect("a hive");
    assert_eq!(
        notes,
        [
            "the hive was not closed cleanly: changes that are only in its .LOG files are missing",
            "ControlSet002 is the current control set"
        ]
    );
    let enabled = (Value::Enabled, Data::Number(0));
    assert_eq!(
        document(&read).sections,
        [Section { key: Key::Parameters, rule: None, values: vec![enabled] }]
    );
}

#[test]
fn a_hive_without_a_policy_is_said_to_have_none() {
    let mut hive = Hive { bins: vec![0; 32] };
    // Of a list that has no elements, the offset means nothing; of one that is nowhere, the count.
    let other = hive.key("Other", (0, 0x7FFF_0000), (0, 0x7FFF_0000));
    let another = hive.key("Another", (3, u32::MAX), (3, u32::MAX));
    let list = hive.list(*b"lh", &[other, another]);
    let root = hive.key("ROOT", (0, u32::MAX), (2, list));
    let (file, notes) = read_hive(&hive.file(root)).expect("a hive");
    assert_eq!(notes, ["the hive holds no policy of Intact"]);
    assert_eq!(file.keys().count(), 0);
}

#[test]
fn only_a_hive_without_the_policys_place_is_taken_for_the_policy_itself() {
    let mut hive = Hive { bins: vec![0; 32] };
    let enabled = |number: u8| RegValue {
        name: utf16("Enabled"),
        kind: kind::DWORD,
        data: vec![number, 0, 0, 0],
        line: 0,
    };
    let (one, zero) = (hive.values(&[enabled(1)]), hive.values(&[enabled(0)]));
    let intact = hive.key("Intact", one, (0, u32::MAX));
    let list = hive.list(*b"lh", &[intact]);
    let policies = hive.key("Policies", (0, u32::MAX), (1, list));
    let list = hive.list(*b"lh", &[policies]);
    let root = hive.key("ROOT", zero, (1, list));
    let (file, notes) = read_hive(&hive.file(root)).expect("a hive");
    assert_eq!(notes, [""; 0]);
    assert_eq!(file.values(Key::Policies.path()).expect("the key"), [enabled(1)]);
}

#[test]
fn data_that_begins_like_a_list_of_pieces_is_data() {
    for length in [6, 20_000] {
        let text = RegValue {
            name: utf16("Paths"),
            kind: kind::MULTI_SZ,
            data: b"db".iter().copied().chain(vec![1; length - 2]).collect(),
            line: 0,
        };
        let mut hive = Hive { bins: vec![0; 32] };
        let values = hive.values(std::slice::from_ref(&text));
        let rule = hive.key("R", values, (0, u32::MAX));
        let list = hive.list(*b"lh", &[rule]);
        let root = hive.key("ROOT", (0, u32::MAX), (1, list));
        let (file, _) = read_hive(&hive.file(root)).expect("a hive");
        assert_eq!(
            file.values(&format!(r"{}\R", Key::Policies.path())).expect("the rule"),
            [text],
            "{length}"
        );
    }
}

#[test]
fn a_small_hive_that_unfolds_into_a_large_policy_is_refused() {
    let mut hive = Hive { bins: vec![0; 32] };
    let large = RegValue { name: utf16("Paths"), kind: kind::MULTI_SZ, data: vec![65; 1 << 20], line: 0 };
    let values = hive.values(&[large]);
    let rules: Vec<u32> =
        (0..80).map(|place| hive.key(&format!("R{place}"), values, (0, u32::MAX))).collect();
    let list = hive.list(*b"lh", &rules);
    let root = hive.key("ROOT", (0, u32::MAX), (80, list));
    let refused = read_hive(&hive.file(root)).unwrap_err();
    assert_eq!(refused, "the policy in the hive is larger than any that Intact takes");
}

#[test]
fn a_word_with_text_behind_its_end_is_left_out_with_its_reason() {
    let body = "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Intact\\R]\n\"Scope\"=hex(1):41,00,00,00,42,00,00,00\n\"OnExit\"=hex(1):41,00,00,00,00,00\n";
    let file = RegFile::parse(format!("Windows Registry Editor Version 5.00\n{body}").as_bytes()).unwrap();
    let (document, left_out) = Document::from_reg(&file);
    assert_eq!(left_out, [r"[HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Intact\R] Scope has text behind its end"]);
    assert_eq!(document.sections[0].values, [(Value::OnExit, Data::Word("A".into()))]);
}

#[test]
fn json_keeps_the_order_of_the_keys_and_refuses_what_is_there_twice() {
    let local = r#"{"Parameters":{"Rules":{"L":{"Paths":["C:\\l"]}}},"Policies":{"Rules":{"G":{"Paths":["C:\\g"]}}}}"#;
    let keys: Vec<Key> = from_json(local).unwrap().sections.iter().map(|section| section.key).collect();
    assert_eq!(keys, [Key::Policies, Key::Policies, Key::Parameters, Key::Parameters]);
    let twice = r#"{"Policies":{"Rules":{"R":{"Order":1,"order":2,"Scope":"Handle\u0000x"}}}}"#;
    assert_eq!(
        from_json(twice).unwrap_err(),
        [
            "Policies.Rules.R.order is there twice",
            r#"Policies.Rules.R.Scope must be one of "Handle", "Process", "Coordinated""#,
        ]
    );
}
