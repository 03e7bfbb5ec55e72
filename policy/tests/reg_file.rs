//! `.reg` files: what Regedit writes is read as Regedit would read it, and what is wrong is named by its line.

use intact_policy::kind;
use intact_policy::reg::{RegFile, RegValue};
use proptest::prelude::*;

const HEAD: &str = "Windows Registry Editor Version 5.00\r\n\r\n";

fn parse(body: &str) -> RegFile {
    RegFile::parse(format!("{HEAD}{body}").as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn utf16(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

fn value(name: &str, kind: u32, data: &[u8]) -> RegValue {
    RegValue { name: utf16(name), kind, data: data.to_vec(), line: 0 }
}

fn text(name: &str, text: &str) -> RegValue {
    value(
        name,
        kind::SZ,
        &utf16(&format!("{text}\0")).into_iter().flat_map(u16::to_le_bytes).collect::<Vec<_>>(),
    )
}

#[test]
fn every_form_of_data_is_read() {
    let file = parse(
        "[K]\r\n\
         \"Text\"=\"a \\\"quoted\\\" \\\\ b\" ; comment\r\n\
         \"Number\"=dword:0000ABcd\r\n\
         \"Bytes\"=hex:01,fF\r\n\
         \"Empty\"=hex:\r\n\
         \"List\"=hex(7):41,00,\\\r\n  00,00,\\\r\n  00,00\r\n\
         \"Long\"=hex(b):01,02,03,04,05,06,07,08\r\n\
         @=\"default\"\r\n\
         \"Lines\"=\"one\r\ntwo\"\r\n",
    );
    assert_eq!(
        file.values("k").unwrap(),
        [
            text("Text", "a \"quoted\" \\ b"),
            value("Number", kind::DWORD, &0xABCDu32.to_le_bytes()),
            value("Bytes", kind::BINARY, &[1, 255]),
            value("Empty", kind::BINARY, &[]),
            value("List", kind::MULTI_SZ, &[0x41, 0, 0, 0, 0, 0]),
            value("Long", kind::QWORD, &[1, 2, 3, 4, 5, 6, 7, 8]),
            text("", "default"),
            text("Lines", "one\r\ntwo"),
        ]
    );
}

#[test]
fn all_encodings_are_read() {
    let body = format!("{HEAD}[K]\r\n\"é\"=\"€\"\r\n");
    let units = utf16(&body);
    let little: Vec<u8> =
        [0xFF, 0xFE].into_iter().chain(units.iter().flat_map(|unit| unit.to_le_bytes())).collect();
    let big: Vec<u8> =
        [0xFE, 0xFF].into_iter().chain(units.iter().flat_map(|unit| unit.to_be_bytes())).collect();
    let marked: Vec<u8> = [0xEF, 0xBB, 0xBF].into_iter().chain(body.bytes()).collect();
    let ansi = b"REGEDIT4\n[K]\n\"\xE9\"=\"\x80\"\n".to_vec();
    for bytes in [little, big, marked, body.into_bytes(), ansi] {
        assert_eq!(RegFile::parse(&bytes).unwrap().values("K").unwrap(), [text("é", "€")]);
    }
}

#[test]
fn the_ansi_form_keeps_lists_in_single_bytes() {
    let file = RegFile::parse(b"REGEDIT4\n[K]\n\"L\"=hex(7):41,80,00,00\n\"B\"=hex:41,80\n").unwrap();
    assert_eq!(
        file.values("K").unwrap(),
        [
            value("L", kind::MULTI_SZ, &[0x41, 0, 0xAC, 0x20, 0, 0, 0, 0]),
            value("B", kind::BINARY, &[0x41, 0x80])
        ]
    );
}

#[test]
fn later_lines_replace_and_delete_earlier_ones() {
    let file = parse(
        "[A\\B]\n\"x\"=dword:1\n\"y\"=dword:1\n[a\\b]\n\"X\"=dword:2\n\"y\"=-\n[A\\B\\C]\n\"z\"=dword:3\n[A\\BC]\n[D]\n[-A\\B\\C]\n",
    );
    assert_eq!(file.values(r"A\B").unwrap(), [value("X", kind::DWORD, &2u32.to_le_bytes())]);
    assert!(file.values(r"A\B\C").is_none());
    let file = parse("[A]\n[A\\B]\n[AB]\n[-a]\n");
    assert!(file.values("A").is_none() && file.values(r"A\B").is_none());
    assert!(file.values("AB").is_some(), "a key that begins alike is another one");
}

#[test]
fn a_key_may_contain_brackets_and_comments_stand_anywhere() {
    let file = parse("; first\n[A]]\n  ; second\n\n  \"x\"=dword:1;third\n");
    assert_eq!(file.values("A]").unwrap().len(), 1);
}

#[test]
fn unpaired_surrogates_survive() {
    let mut units = utf16(&format!("{HEAD}[K]\r\n\"x\"=\""));
    units.extend([0xD800, u16::from(b'"')]);
    let bytes: Vec<u8> =
        [0xFF, 0xFE].into_iter().chain(units.iter().flat_map(|unit| unit.to_le_bytes())).collect();
    assert_eq!(RegFile::parse(&bytes).unwrap().values("K").unwrap()[0].data, [0x00, 0xD8, 0, 0]);
}

#[test]
fn every_error_is_named_with_its_line() {
    let bad = [
        "\"x\"=dword:1",
        "[K]\n[K",
        "[K]\n[]",
        "[K]\nnothing",
        "[K]\n\"x\"",
        "[K]\n\"x\"=dword:",
        "[K]\n\"x\"=dword:123456789",
        "[K]\n\"x\"=hex:1,2,333",
        "[K]\n\"x\"=hex:01,zz",
        "[K]\n\"x\"=hex:01,\\x",
        "[K]\n\"x\"=hex(:01",
        "[K]\n\"x\"=hex(7:01",
        "[K]\n\"x\"=hex(7)01",
        "[K]\n\"x\"=text",
        "[K]\n\"x\"=\"open",
        "[K]\n\"x\"=dword:1 2",
        "[-K]\n\"x\"=dword:1",
    ];
    for body in bad {
        let errors = RegFile::parse(format!("{HEAD}{body}").as_bytes()).expect_err(body);
        let line = 2 + body.lines().count();
        assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [line], "{body}: {errors:?}");
    }
    let errors = RegFile::parse(b"[K]\n\"x\"=1\n\"y\"=2\n").unwrap_err();
    assert_eq!(
        errors.iter().map(|error| error.line).collect::<Vec<_>>(),
        [1, 2, 3],
        "all of them, not the first"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(prop_oneof![
        any::<u8>(), prop::sample::select(b"[]\"@=-\\\r\n;,:()hexdword01".to_vec()),
    ], 0..200)) {
        let _ = RegFile::parse(&body);
        let _ = RegFile::parse(&[HEAD.as_bytes(), &body].concat());
    }

    #[test]
    fn what_is_written_is_read(name in "[^\"\\\\\r\n\0]{1,10}", data in prop::collection::vec(any::<u8>(), 0..100), kind in 0u32..12) {
        let mut line = format!("[K]\r\n\"{name}\"=hex({kind:x}):");
        for (index, byte) in data.iter().enumerate() {
            let end = if index + 1 == data.len() { "" } else { "," };
            let turn = if index % 20 == 19 && !end.is_empty() { "\\\r\n  " } else { "" };
            line += &format!("{byte:02x}{end}{turn}");
        }
        let file = parse(&line);
        prop_assert_eq!(file.values("K").unwrap(), [value(&name, kind, &data)]);
    }
}

#[test]
fn a_list_of_bytes_may_end_with_a_comma_or_in_a_line_that_is_not_continued() {
    for body in ["01,", "01,\r\n", "01,\n", "01,;comment", "01, ;comment", "01,\\", "01,\\\n", "01,\\\r\n"] {
        let file = parse(&format!("[K]\n\"x\"=hex:{body}"));
        assert_eq!(file.values("K").unwrap(), [value("x", kind::BINARY, &[1])], "{body:?}");
    }
}

#[test]
fn values_are_equal_by_name_type_and_data_wherever_they_are() {
    let one = value("a", kind::BINARY, &[1]);
    assert_eq!(one, RegValue { line: 7, ..one.clone() });
    for other in [value("b", kind::BINARY, &[1]), value("a", kind::SZ, &[1]), value("a", kind::BINARY, &[2])]
    {
        assert_ne!(one, other);
    }
}

#[test]
fn a_forgotten_header_is_one_error_and_what_follows_it_is_judged() {
    let lines = |text: &str| -> Vec<usize> {
        RegFile::parse(text.as_bytes()).unwrap_err().iter().map(|error| error.line).collect()
    };
    assert_eq!(lines("[K]\n\"x\"=dword:1\n"), [1]);
    assert_eq!(lines("junk\n[K]\n\"x\"=dword:1\n"), [1]);
    assert_eq!(lines("junk\n[K]\n\"x\"=1\n"), [1, 3]);
    assert_eq!(lines("junk\nmore\n"), [1]);
}

/// As Regedit writes it, so that a policy that is exported from either can be compared.
#[test]
fn each_value_is_written_as_regedit_writes_it() {
    let mut file = RegFile::default();
    let list: Vec<u8> = utf16("one\0two\0\0").into_iter().flat_map(u16::to_le_bytes).collect();
    let long: Vec<u8> = (0..40).collect();
    for value in [
        text("", "a \"b\" \\c"),
        value("Number", kind::DWORD, &[0xCD, 0xAB, 0, 0]),
        value("Short", kind::DWORD, &[1, 2]),
        text("Control", "x\u{1}"),
        value("Endless", kind::SZ, &[0x41, 0]),
        value("Odd", kind::SZ, &[0x41, 0, 0, 0, 0]),
        value("Nothing", kind::SZ, &[]),
        value("Bytes", kind::BINARY, &long),
        value("List", kind::MULTI_SZ, &list),
        value("Expand", kind::EXPAND_SZ, &[]),
    ] {
        file.set(&utf16("K"), Some(value));
    }
    let expected = [
        "Windows Registry Editor Version 5.00",
        "",
        "[K]",
        r#"@="a \"b\" \\c""#,
        r#""Number"=dword:0000abcd"#,
        r#""Short"=hex(4):01,02"#,
        r#""Control"=hex(1):78,00,01,00,00,00"#,
        r#""Endless"=hex(1):41,00"#,
        r#""Odd"=hex(1):41,00,00,00,00"#,
        r#""Nothing"=hex(1):"#,
        r#""Bytes"=hex:00,01,02,03,04,05,06,07,08,09,0a,0b,0c,0d,0e,0f,10,11,12,13,14,\"#,
        r"  15,16,17,18,19,1a,1b,1c,1d,1e,1f,20,21,22,23,24,25,26,27",
        r"; List: one",
        r"; List: two",
        r#""List"=hex(7):6f,00,6e,00,65,00,00,00,74,00,77,00,6f,00,00,00,00,00"#,
        r#""Expand"=hex(2):"#,
        "",
    ];
    assert_eq!(file.to_text(), expected.join("\r\n"));
    let again = RegFile::parse(file.to_text().as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}"));
    let data = |file: &RegFile| file.values("K").unwrap().iter().map(|v| v.data.clone()).collect::<Vec<_>>();
    assert_eq!(data(&again), data(&file));
}

#[test]
fn what_follows_a_value_on_its_line_is_no_part_of_it() {
    for junk in ["\"Number\"=dword:1 x", "\"Text\"=\"a\" b", "\"Bytes\"=hex:01 02", "@=- x"] {
        let errors = RegFile::parse(format!("{HEAD}[K]\r\n{junk}\r\n").as_bytes()).unwrap_err();
        assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [4], "{junk}: {errors:?}");
    }
}

#[test]
fn what_is_no_byte_is_said_to_be_none() {
    let message = |line: &str| {
        RegFile::parse(format!("{HEAD}[K]\r\n{line}\r\n").as_bytes()).unwrap_err()[0].to_string()
    };
    assert!(message("\"Bytes\"=hex:01,zz").contains("two hexadecimal digits"));
    assert!(message("\"Bytes\"=hex:01 zz").contains("something follows the data"));
    assert_eq!(
        parse("[K]\r\n\"Bytes\"=hex:01,;end\r\n").values("K"),
        Some(&[value_on(4, "Bytes", &[1])][..])
    );
}

fn value_on(line: usize, name: &str, data: &[u8]) -> RegValue {
    RegValue { line, ..value(name, kind::BINARY, data) }
}
