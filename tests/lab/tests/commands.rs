//! The commands `lab load` and `lab fidelity`, as a user runs them.

mod common;

use std::process::{Command, Output};

fn lab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lab")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn load_prints_what_a_driver_registers_and_that_nothing_is_left() {
    let driver = common::driver("nothing");
    let out = lab(&["load", driver.to_str().unwrap(), "--altitude", "385100.5"]);
    let shown = text(&out.stdout);
    assert!(out.status.success(), "{shown}{}", text(&out.stderr));
    for line in ["nothing Instance at 385100.5", "IRP_MJ_CREATE", "FltRegisterFilter", "nothing left behind"]
    {
        assert!(shown.contains(line), "{line} is missing in {shown}");
    }
}

#[test]
fn load_gives_json_for_other_programs() {
    let driver = common::driver("nothing");
    let out = lab(&["load", driver.to_str().unwrap(), "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(shown["clean"], true);
    assert_eq!(shown["operations"].as_array().unwrap().len(), 35);
}

#[test]
fn load_says_what_is_wrong_and_fails() {
    let folder = std::env::temp_dir().join(format!("lab commands {}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let junk = folder.join("junk.sys");
    std::fs::write(&junk, b"MZ and nothing more").unwrap();
    let missing = folder.join("missing.sys");
    let mut renamed = std::fs::read(common::driver("nothing")).unwrap();
    let name = b"FltStartFiltering";
    let at = renamed.windows(name.len()).position(|bytes| bytes == name).unwrap();
    renamed[at..at + 3].copy_from_slice(b"Xlt");
    let unknown = folder.join("unknown.sys");
    std::fs::write(&unknown, patched_checksum(renamed)).unwrap();
    for (path, expected) in
        [(&junk, "malformed image"), (&missing, "No such file"), (&unknown, "XltStartFiltering")]
    {
        let out = lab(&["load", path.to_str().unwrap()]);
        let said = text(&out.stderr);
        assert!(!out.status.success());
        assert!(said.contains(expected), "{said} does not say {expected}");
    }
    let out = lab(&["load", common::driver("nothing").to_str().unwrap(), "--altitude", "high"]);
    assert!(text(&out.stderr).contains("no altitude"));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Zeroes the header's checksum, which the loader then does not check.
fn patched_checksum(mut image: Vec<u8>) -> Vec<u8> {
    let pe = u32::from_le_bytes([image[0x3C], image[0x3D], image[0x3E], image[0x3F]]) as usize;
    image[pe + 24 + 64..pe + 24 + 68].fill(0);
    image
}

#[test]
fn fidelity_lists_every_import_with_its_source() {
    let out = lab(&["fidelity", "--json"]);
    let lines: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let lines = lines.as_array().unwrap();
    assert!(lines.len() > 200);
    for line in lines {
        let known = ["modelled", "approximated", "switch"].contains(&line["fidelity"].as_str().unwrap());
        assert!(known && !line["source"].as_str().unwrap().is_empty(), "{line}");
    }
    let table = text(&lab(&["fidelity"]).stdout);
    assert!(table.lines().count() >= lines.len());
}
