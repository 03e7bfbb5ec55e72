//! What each form of pattern means, and what is said about one that is wrong.

mod common;

use common::{GUID, Registry, matches, paths};
use intact_policy::{MAX_PATH_UNITS, Value};

#[test]
fn a_pattern_covers_exactly_the_names_of_its_form() {
    let table: &[(&str, &[&str], &[&str])] = &[
        (
            r"C:\Data\a.txt",
            &[r"\Device\HarddiskVolume1\Data\a.txt", r"\DEVICE\harddiskvolume1\DATA\A.TXT"],
            &[
                r"\Device\HarddiskVolume1\Data\a.txtx",
                r"\Device\HarddiskVolume2\Data\a.txt",
                r"\Device\HarddiskVolume1\Data",
            ],
        ),
        (
            r"C:\Data\**",
            &[r"\Device\HarddiskVolume1\Data\a", r"\Device\HarddiskVolume1\Data\b\c\d.txt"],
            &[r"\Device\HarddiskVolume1\Data", r"\Device\HarddiskVolume1\Database\a"],
        ),
        (
            r"D:\Reports\*.xls?",
            &[r"\Device\HarddiskVolume2\Reports\a.xlsx", r"\Device\HarddiskVolume2\Reports\.xlsm"],
            &[
                r"\Device\HarddiskVolume2\Reports\a.xls",
                r"\Device\HarddiskVolume2\Reports\2026\a.xlsx",
                r"\Device\HarddiskVolume2\Reports\a.xlsx\b",
            ],
        ),
        (
            r"C:\**\*.docx",
            &[r"\Device\HarddiskVolume1\a.docx", r"\Device\HarddiskVolume1\x\y\a.docx"],
            &[r"\Device\HarddiskVolume1\x\a.doc", r"\Device\HarddiskVolume1\x\a.docx\y"],
        ),
        (
            r"C:\A\**\B\**",
            &[
                r"\Device\HarddiskVolume1\A\B\f",
                r"\Device\HarddiskVolume1\A\x\B\y\f",
                r"\Device\HarddiskVolume1\A\B\B",
            ],
            &[
                r"\Device\HarddiskVolume1\A\B",
                r"\Device\HarddiskVolume1\A\x\y",
                r"\Device\HarddiskVolume1\B\f",
            ],
        ),
        (
            r"C:\a*b*c",
            &[r"\Device\HarddiskVolume1\abbc", r"\Device\HarddiskVolume1\axbxcbc"],
            &[r"\Device\HarddiskVolume1\ab\c"],
        ),
        (
            r"**\notes.txt",
            &[r"\Device\HarddiskVolume7\x\notes.txt", r"\Device\HarddiskVolume2\notes.txt"],
            &[r"\Device\HarddiskVolume2\notes"],
        ),
        (r"\Device\HarddiskVolume3\x", &[r"\Device\HarddiskVolume3\X"], &[r"\Device\HarddiskVolume1\x"]),
        (r"\device\HarddiskVolume?\x", &[r"\Device\HarddiskVolume3\X"], &[r"\Device\HarddiskVolume33\x"]),
        (r"\??\C:\x", &[r"\Device\HarddiskVolume1\x"], &[r"\??\C:\x"]),
        (r"\\?\c:\x", &[r"\Device\HarddiskVolume1\x"], &[r"\Device\HarddiskVolume2\x"]),
        (r"C:\a[b]{c}!%d%", &[r"\Device\HarddiskVolume1\A[B]{C}!%D%"], &[r"\Device\HarddiskVolume1\ab"]),
        (
            r"C:\**\**\x",
            &[r"\Device\HarddiskVolume1\x", r"\Device\HarddiskVolume1\a\x"],
            &[r"\Device\HarddiskVolume1\a"],
        ),
    ];
    for (pattern, inside, outside) in table {
        for path in *inside {
            assert!(matches(pattern, path), "{pattern} should match {path}");
        }
        for path in *outside {
            assert!(!matches(pattern, path), "{pattern} should not match {path}");
        }
    }
}

#[test]
fn a_volume_guid_stands_for_its_device() {
    let pattern = format!(r"\??\{GUID}\Data\**");
    assert!(matches(&pattern, r"\Device\HarddiskVolume1\Data\x"));
    assert!(matches(&format!(r"\\?\{GUID}\Data\**"), r"\Device\HarddiskVolume1\Data\x"));
}

#[test]
fn a_pattern_without_a_stream_covers_every_stream_of_the_file() {
    let file = r"\Device\HarddiskVolume1\a.txt";
    for path in
        [file.to_owned(), format!("{file}:notes"), format!("{file}::$DATA"), format!("{file}:notes:$DATA")]
    {
        assert!(matches(r"C:\a.txt", &path), "{path}");
        assert!(matches(r"C:\**", &path), "{path}");
    }
}

#[test]
fn a_pattern_with_a_stream_covers_only_that_stream() {
    for pattern in [r"C:\*.txt:notes", r"C:\a.txt:notes:$data", r"C:\**\a.txt:n*"] {
        assert!(matches(pattern, r"\Device\HarddiskVolume1\a.txt:Notes"), "{pattern}");
        assert!(matches(pattern, r"\Device\HarddiskVolume1\a.txt:notes:$DATA"), "{pattern}");
        assert!(!matches(pattern, r"\Device\HarddiskVolume1\a.txt"), "{pattern}");
        assert!(!matches(pattern, r"\Device\HarddiskVolume1\a.txt::$DATA"), "{pattern}");
        assert!(!matches(pattern, r"\Device\HarddiskVolume1\a.txt:other"), "{pattern}");
    }
}

#[test]
fn letters_beyond_ascii_match_in_either_case() {
    assert!(matches(r"C:\Prüfung\ÉTÉ.txt", r"\Device\HarddiskVolume1\PRÜFUNG\été.TXT"));
    assert!(matches(r"C:\ΜΟΥΣΑ", r"\Device\HarddiskVolume1\μουσα"));
    assert!(!matches(r"C:\straße", r"\Device\HarddiskVolume1\STRASSE"));
    assert!(!matches(r"C:\ı", r"\Device\HarddiskVolume1\I"));
}

#[test]
fn unpaired_surrogates_are_compared_as_they_are() {
    let name = |surrogate: u16| [common::utf16(r"C:\"), vec![surrogate]].concat();
    let policy = Registry::new().rule("R").list_of_units(Value::Paths, &[name(0xD800)]).policy();
    let ask = |surrogate: u16| {
        let path = [common::utf16(common::DISK_1), vec![0x5C, surrogate]].concat();
        policy.0.match_path(&path, &policy.processes("x"), &intact_policy::HostUpcase).is_some()
    };
    assert!(ask(0xD800));
    assert!(!ask(0xD801));
}

#[test]
fn the_longest_path_matches_and_a_longer_pattern_is_refused() {
    let deep = r"\deep".repeat(6000);
    assert!(matches(r"C:\**\x", &format!(r"{}{deep}\x", common::DISK_1)));
    let longest = format!(r"C:{}", r"\a".repeat(16_382));
    assert!(paths(&[&longest]).is_valid());
    let too_long = format!(r"C:\{}", "a".repeat(MAX_PATH_UNITS));
    let messages = paths(&[&too_long]).messages();
    assert!(messages[0].contains("longer than 32767 characters"), "{messages:?}");
    assert!(messages[0].len() < 300, "a message shows only part of a long text");
}

#[test]
fn a_pattern_made_to_explode_takes_no_time() {
    let pattern = format!(r"C:\**\{}b", "*a".repeat(100));
    let path = format!(r"{}\{}", common::DISK_1, "a".repeat(30_000));
    let begun = std::time::Instant::now();
    assert!(!matches(&pattern, &path));
    assert!(begun.elapsed().as_secs() < 5);
}

#[test]
fn an_error_names_the_place_and_how_to_write_it() {
    let table: &[(&str, &str)] = &[
        (
            r"C:\Data/x",
            r#"policy rule "R": Paths[1] "C:\Data/x", character 8: '/' does not separate components: write '\'"#,
        ),
        (r"\\server\share\**", "is on the network"),
        (r"\??\UNC\server\share\**", "is on the network"),
        (r"\Device\Mup\server\share\x", "is on the network"),
        (r"\\.\C:\x", "character 1: begins with no known root"),
        (r"\Windows\x", "character 1: begins with no known root"),
        (r"\??\Volume{12}\x", "character 5: is no volume GUID"),
        (r"\??\GLOBALROOT\x", "character 5: begins with no known root"),
        (r"C:x", "character 3: a backslash must follow the drive"),
        (r"%TEMP%\x", "character 1: environment variables are not expanded"),
        (r"report.docx", r"names no volume: write C:\..., or **\..."),
        (r"C:\", "character 4: names a volume and no files on it"),
        (r"C:", "names a volume"),
        (r"\Device\HarddiskVolume3", "names a volume"),
        (r"\??\C:", "names a volume"),
        (r"C:\Data\", "character 8: ends with '\\'"),
        (r"C:\Data\\x", "character 9: there is nothing between two backslashes"),
        (r"C:\Data\..\x", "character 9: '.' and '..' do not occur"),
        (r"C:\Data\a**", "character 10: '**' must stand alone"),
        (r"C:\Data\a<b", "character 10: this character cannot occur"),
        ("C:\\Data\\a\u{1}b", "character 10: this character cannot occur"),
        (r"C:\Da:ta\x", "character 6: ':' can only stand before the name of a stream"),
        (r"C:\x:", "is no stream of a file"),
        (r"C:\x::$DATA", "is no stream of a file"),
        (r"C:\x:s:$INDEX_ALLOCATION", "is no stream of a file"),
        (r"C:\:s", "is no stream of a file"),
    ];
    for (pattern, expected) in table {
        let registry = paths(&[pattern]);
        let messages = registry.messages();
        assert_eq!(messages.len(), 1, "{pattern}: {messages:?}");
        assert!(messages[0].contains(expected), "{pattern}: {}", messages[0]);
        assert!(!registry.is_valid(), "{pattern}");
    }
}

#[test]
fn a_pattern_on_a_volume_that_is_not_there_is_inactive_and_the_others_work() {
    let registry = paths(&[r"E:\x", r"N:\x", r"S:\x", r"C:\x"]);
    assert_eq!(
        registry.messages(),
        [
            r#"policy rule "R": Paths[1] "E:\x": this volume is not there now, so the pattern is inactive until it is"#,
            r#"policy rule "R": Paths[2] "N:\x": this drive is on the network, so the pattern is inactive: Intact protects local volumes only"#,
            r#"policy rule "R": Paths[3] "S:\x": this drive stands for something else than a volume (subst?), so the pattern is inactive: write the path on the volume"#,
        ]
    );
    let policy = registry.policy();
    assert!(policy.winner(r"\Device\HarddiskVolume1\x").is_some());
    assert!(policy.winner(r"\x").is_none());
}

#[test]
fn what_is_rarely_meant_draws_a_warning() {
    let registry = paths(&[r"C:\*.*", r"C:\name.", r"C:\name \x", r"C:\PROGRA~1\x", r"C:\draft~", r"C:\*~1"]);
    let messages = registry.messages();
    assert!(registry.is_valid());
    assert_eq!(messages.len(), 4, "{messages:?}");
    assert!(messages[0].contains("write '*' for all names"));
    assert!(messages[1].contains("Paths[2] \"C:\\name.\", character 8: ends with a dot or a space"));
    assert!(messages[2].contains("ends with a dot or a space"));
    assert!(messages[3].contains("8.3 name"));
}
