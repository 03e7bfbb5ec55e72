//! The `intact-policy` command, as an administrator uses it.

use std::path::PathBuf;
use std::process::{Command, Output};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../inf/intact-sample.reg");

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_intact-policy")).args(args).output().expect("the command runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn explain(args: &[&str]) -> String {
    let output = run(&[&["explain", "--policy", SAMPLE], args].concat());
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

fn file(name: &str, body: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, format!("Windows Registry Editor Version 5.00\n{body}")).expect("a file");
    path.to_str().expect("a path").to_owned()
}

#[test]
fn check_accepts_the_sample() {
    let output = run(&["check", SAMPLE]);
    assert!(output.status.success());
    assert!(text(&output).starts_with("2 rules, 0 warnings"), "{}", text(&output));
}

#[test]
fn check_reports_all_errors_and_fails() {
    let policy = file(
        "wrong.reg",
        "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Intact\\R]\n\"Paths\"=\"C:\\\\x\"\n\"Scope\"=\"Everything\"\n\"Path\"=dword:1\n",
    );
    let output = run(&["check", &policy]);
    assert_eq!(output.status.code(), Some(1));
    for expected in [
        "error: policy rule \"R\": Paths: is REG_SZ: write it as REG_MULTI_SZ",
        "error: policy rule \"R\": Scope \"Everything\": write one of Handle, Process, Coordinated",
        "warning: policy rule \"R\": Path: is not a value that Intact knows here",
        "3 errors, 1 warnings",
    ] {
        assert!(text(&output).contains(expected), "{expected}: {}", text(&output));
    }
}

#[test]
fn explain_names_the_rule_that_applies_and_the_reasons_of_the_others() {
    let told = explain(&[r"d:\reports\2026\Q1.XLSX", "--process", "excel.exe"]);
    assert!(told.contains("rule \"Reports\" (order 100, HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Intact) applies: \
                           Paths[1] \"D:\\Reports\\**\\*.xls?\" matches the file, and Processes[1] \"excel.exe\" the program"), "{told}");
    assert!(told.contains("rule \"Documents\""), "{told}");
    assert!(told.contains("does not apply: no element of Paths matches the file"), "{told}");
    assert!(told.contains("The save is made atomic"), "{told}");
    assert!(told.contains("OnExit = ByStatus"), "{told}");
}

#[test]
fn explain_says_why_nothing_applies() {
    let told = explain(&[r"D:\Reports\a.csv", "--process", "ReportViewer.exe"]);
    assert!(told.contains("ExcludeProcesses[1] \"reportviewer.exe\" excludes the program"), "{told}");
    let told = explain(&[r"D:\Reports\a.csv"]);
    assert!(told.contains("no element of Processes matches the program"), "{told}");
    let told = explain(&[r"C:\Users\x\Documents\~$a.docx"]);
    assert!(told.contains("ExcludePaths[1] \"**\\~$*\" excludes the file"), "{told}");
    assert!(told.contains("The save passes through untouched."), "{told}");
}

#[test]
fn explain_asks_with_the_volumes_that_are_given() {
    let volume = r"C:=\Device\HarddiskVolume3";
    let told = explain(&[r"\Device\HarddiskVolume3\Users\x\Documents\a", "--volume", volume]);
    assert!(told.contains("rule \"Documents\""), "{told}");
    assert!(told.contains("applies: Paths[1]"), "{told}");
    let output = run(&["check", SAMPLE, "--volume", volume]);
    assert!(
        text(&output).contains("Paths[1] \"D:\\Reports\\**\\*.xls?\": this volume is not there now"),
        "{}",
        text(&output)
    );
}

#[test]
fn audit_order_and_the_switch_are_told() {
    let rule = |name: &str, more: &str| {
        format!(
            "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Intact\\{name}]\n\"Paths\"=hex(7):43,00,3a,00,5c,00,2a,00,2a,00,00,00,00,00\n{more}\n"
        )
    };
    let two = rule("A", "\"AuditOnly\"=dword:1") + &rule("B", "");
    let policy = file("audit.reg", &two);
    let told = text(&run(&["explain", "--policy", &policy, r"C:\x"]));
    assert!(told.contains("is reported (AuditOnly)"), "{told}");
    assert!(told.contains("rule \"B\" (order 1000, HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Intact) would apply, but a rule before it does"), "{told}");
    let off =
        file("off.reg", &(two + "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Intact]\n\"Enabled\"=dword:0\n"));
    let told = text(&run(&["explain", "--policy", &off, r"C:\x"]));
    assert!(told.contains("Intact is switched off"), "{told}");
    assert!(told.contains("would apply, if Intact were switched on"), "{told}");
}

#[test]
fn wrong_use_is_told_with_status_2() {
    let broken = file("broken.reg", "[open\n");
    for args in [
        &["judge"][..],
        &["check"],
        &["check", "missing.reg"],
        &["check", &broken],
        &["check", SAMPLE, "--volume", "C"],
        &["check", SAMPLE, "--all"],
        &["explain", r"C:\x"],
        &["explain", "--policy"],
        &["explain", "--policy", SAMPLE, "x.txt"],
        &["explain", "--policy", SAMPLE, r"relative\x.txt"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
        assert!(text(&output).contains("--help"), "{args:?}");
    }
    assert!(run(&["--help"]).status.success());
    assert!(text(&run(&[])).contains("intact-policy check FILE"));
}

#[test]
fn check_says_on_which_line_a_problem_is() {
    let policy =
        file("lines.reg", "\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Intact\\R]\n\"Order\"=\"x\"\n");
    let told = text(&run(&["check", &policy]));
    assert!(told.contains("lines.reg:4: error: policy rule \"R\": Order: is REG_SZ"), "{told}");
    assert!(told.contains("lines.reg: error: policy rule \"R\": the rule names no files"), "{told}");
}

#[test]
fn show_prints_the_rules_in_order_with_their_sources() {
    let local = "[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\Intact\\Parameters";
    let list = "\"Paths\"=hex(7):43,00,3a,00,5c,00,2a,00,2a,00,00,00,00,00\n";
    let group = format!("[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Intact\\A]\n{list}\"Order\"=dword:2\n");
    let policy = file(
        "show.reg",
        &format!(
            "{group}{local}]\n\"Enabled\"=dword:1\n{local}\\a]\n{list}{local}\\B]\n{list}\"Order\"=dword:1\n"
        ),
    );
    let told = text(&run(&["show", &policy]));
    let places: Vec<Option<usize>> = [
        "Enabled = 1    (HKEY_LOCAL_MACHINE\\SYSTEM",
        "Version = 1    (default)",
        "rule \"B\"    (HKEY_LOCAL_MACHINE\\SYSTEM",
        "  Order = 1\n",
        "rule \"A\"    (HKEY_LOCAL_MACHINE\\SOFTWARE",
        "  Order = 2\n",
        "rule \"a\" of HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\Intact\\Parameters is hidden",
    ]
    .iter()
    .map(|part| told.find(part))
    .collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {told}");
    let wrong =
        file("show-wrong.reg", "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Intact\\R]\n\"Order\"=\"x\"\n");
    let output = run(&["show", &wrong]);
    assert!(
        !output.status.success() && text(&output).contains("the rule names no files"),
        "{}",
        text(&output)
    );
}

#[test]
fn convert_leads_from_each_form_to_each_other() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = |name: &str| folder.join(name).to_str().expect("a path").to_owned();
    let shown = text(&run(&["show", SAMPLE]));
    let forms = [("reg", path("c.reg")), ("json", path("c.json")), ("oma-uri", path("c.xml"))];
    for (to, file) in &forms {
        assert!(run(&["convert", SAMPLE, "--to", to, "--output", file]).status.success());
    }
    for (_, from) in &forms {
        for (to, _) in &forms {
            let output = run(&["convert", from, "--to", to, "--output", &path("again")]);
            assert!(output.status.success(), "{from} to {to}: {}", text(&output));
            // Device management writes defaults out.
            let told = text(&run(&["show", &path("again")])).replace("    (default)", "");
            assert_eq!(told, shown.replace("    (default)", ""), "{from} to {to}");
        }
    }
    assert_eq!(run(&["convert", SAMPLE, "--to", "yaml"]).status.code(), Some(2));
    let unknown =
        file("unknown.reg", "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Intact\\R]\n\"Ordr\"=dword:1\n");
    let output = run(&["convert", &unknown, "--to", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty() && text(&output).contains("Ordr is not a value"), "{}", text(&output));
}

#[test]
fn the_templates_are_printed() {
    let told = text(&run(&["template", "admx"]));
    assert!(told.starts_with("<?xml") && told.contains("<policyDefinitions "), "{told}");
    assert!(text(&run(&["template", "adml"])).contains("<policyDefinitionResources "));
    assert_eq!(run(&["template", "adm"]).status.code(), Some(2));
}

/// A rule in a `.reg` file that is about all of `C:`, and whatever else is given.
fn rule(key: &str, name: &str, more: &str) -> String {
    format!(
        "[HKEY_LOCAL_MACHINE\\{key}\\{name}]\n\"Paths\"=hex(7):43,00,3a,00,5c,00,2a,00,2a,00,00,00,00,00\n{more}\n"
    )
}

const GROUP: &str = r"SOFTWARE\Policies\Intact";
const LOCAL: &str = r"SYSTEM\CurrentControlSet\Services\Intact\Parameters";

#[test]
fn every_setting_of_the_rule_that_applies_is_told_and_nothing_else() {
    let more = "\"Scope\"=\"Process\"\n\"OnExit\"=\"Rollback\"\n\"OnFlush\"=\"Defer\"\n\"OnUnavailable\"=\"Deny\"\n\
                \"SettleMilliseconds\"=dword:1\n\"MaxSeconds\"=dword:2\n\"MaxMegabytes\"=dword:3\n\"MaxIdleSeconds\"=dword:4\n";
    let policy = file("settings.reg", &rule(GROUP, "R", more));
    let told = text(&run(&["explain", "--policy", &policy, r"C:\x"]));
    let settings: Vec<&str> =
        told.lines().filter_map(|line| line.strip_prefix("  ")?.split(':').next()).collect();
    assert_eq!(
        settings,
        [
            "Scope = Process",
            "IncludeChildren = 0",
            "OnExit = Rollback",
            "OnFlush = Defer",
            "OnUnavailable = Deny",
            "SettleMilliseconds = 1",
            "MaxSeconds = 2",
            "MaxMegabytes = 3",
            "MaxIdleSeconds = 4",
            "AuditOnly = 0",
        ],
        "{told}"
    );
    let policy = file("settings-audit.reg", &rule(GROUP, "R", "\"AuditOnly\"=dword:1"));
    assert!(text(&run(&["explain", "--policy", &policy, r"C:\x"])).contains("AuditOnly = 1"));
}

#[test]
fn a_program_is_named_by_its_path_too() {
    // C:\T\**
    let list = "\"Processes\"=hex(7):43,00,3a,00,5c,00,54,00,5c,00,2a,00,2a,00,00,00,00,00";
    let policy = file("by-path.reg", &rule(GROUP, "R", list));
    let told = |image: &str| text(&run(&["explain", "--policy", &policy, r"C:\x", "--process", image]));
    assert!(
        told(r"c:\t\tool.exe").contains("Processes[1] \"C:\\T\\**\" the program"),
        "{}",
        told(r"c:\t\tool.exe")
    );
    assert!(told(r"c:\u\tool.exe").contains("no element of Processes matches the program"));
    assert!(told("tool.exe").contains("no element of Processes matches the program"));
}

#[test]
fn what_is_no_volume_and_no_full_path_is_refused_by_name() {
    for (args, expected) in [
        (&["check", SAMPLE, "--volume", r"1:=\Device\X"][..], r"'1:=\Device\X' is no volume"),
        (&["check", SAMPLE, "--volume", r"C:=C:\X"], r"'C:=C:\X' is no volume"),
        (&["check", SAMPLE, "--all"], "there is no option '--all'"),
        (&["explain", "--policy", SAMPLE, r"ab\x"], "'ab' is no volume"),
        (&["explain", "--policy", SAMPLE, r"abc:\x"], "'abc:' is no volume"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output).contains(expected), "{args:?}: {}", text(&output));
    }
}

#[test]
fn check_tells_how_much_memory_the_policy_takes() {
    use intact_policy::{Gather, HostUpcase, check, compile, reg::RegFile};
    let policy = rule(GROUP, "R", "");
    let reg = RegFile::parse(format!("Windows Registry Editor Version 5.00\n{policy}").as_bytes()).unwrap();
    let mut block = vec![0; 1000];
    let mut gather = Gather::new(&mut block);
    reg.gather(&mut gather);
    let raw = gather.finish().unwrap();
    let mut volume = |_: &[u16], device: &mut [u16]| {
        let name: Vec<u16> = r"\Device\DriveC".encode_utf16().collect();
        device[..name.len()].copy_from_slice(&name);
        Some(name.len())
    };
    let size = check(&raw, &HostUpcase, &mut volume, &mut |_| {}).unwrap();
    let compiled = compile(&raw, &HostUpcase, &mut volume, vec![0; size]).unwrap();
    let told = text(&run(&["check", &file("memory.reg", &policy)]));
    assert!(told.contains(&format!("takes {} bytes", compiled.size() * 2)), "{told}");
}

#[test]
fn the_form_of_a_file_is_known_by_its_first_letter() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let json = text(&run(&["convert", SAMPLE, "--to", "json"]));
    let xml = text(&run(&["convert", SAMPLE, "--to", "oma-uri"]));
    assert!(json.starts_with('{') && xml.starts_with('<'), "{json}\n{xml}");
    for before in ["", " \r\n", "\u{FEFF}", "\u{FEFF} \n"] {
        for (name, body) in [("first.json", &json), ("first.xml", &xml)] {
            let path = folder.join(name);
            // What stands before an XML declaration must be a mark at most.
            let body = if name.ends_with("xml") {
                before.trim().to_owned() + body
            } else {
                before.to_owned() + body
            };
            std::fs::write(&path, body).expect("a file");
            let output = run(&["check", path.to_str().expect("a path")]);
            assert!(output.status.success(), "{before:?} {name}: {}", text(&output));
        }
    }
}

#[test]
fn show_names_what_is_hidden_and_only_that_and_the_warnings() {
    let empty = format!("[HKEY_LOCAL_MACHINE\\{GROUP}\\B]\n[HKEY_LOCAL_MACHINE\\{LOCAL}\\A]\n");
    let policy = file("hidden.reg", &(rule(GROUP, "A", "") + &rule(LOCAL, "B", "") + &empty));
    let told = text(&run(&["show", &policy]));
    assert!(!told.contains("is hidden") && !told.ends_with("\n\n"), "{told}");
    let policy =
        file("hidden-both.reg", &(rule(GROUP, "A", "") + &rule(LOCAL, "B", "") + &rule(LOCAL, "a", "")));
    let told = text(&run(&["show", &policy]));
    assert_eq!(told.matches("is hidden").count(), 1, "{told}");
    assert!(told.contains(&format!("rule \"a\" of HKEY_LOCAL_MACHINE\\{LOCAL} is hidden")), "{told}");
    let policy = file("show-warning.reg", &rule(GROUP, "A", "\"Ordr\"=dword:1"));
    let told = text(&run(&["show", &policy]));
    assert!(
        told.contains("warning: policy rule \"A\": Ordr: is not a value that Intact knows here"),
        "{told}"
    );
}

#[test]
fn keys_that_nobody_reads_are_named() {
    let misspelt = file("misspelt.reg", &rule(r"SOFTWARE\Policies\Intct", "R", ""));
    let deep = file("deep.reg", &(rule(GROUP, "R", "") + &rule(GROUP, r"Rules\X", "")));
    let instances = file("instances.reg", &rule(LOCAL, r"Instances\Intact Instance", ""));
    for (policy, expected) in [
        (&misspelt, "is a key misspelt?"),
        (&deep, r"[HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Intact\Rules\X] is below a rule, and is not read"),
    ] {
        for args in [
            &["check", policy][..],
            &["show", policy],
            &["explain", "--policy", policy, r"C:\x"],
            &["convert", policy, "--to", "json"],
        ] {
            let output = run(args);
            let told = text(&output);
            assert!(output.status.success(), "{args:?}: {told}");
            assert_eq!(told.matches("note: ").count(), 1, "{args:?}: {told}");
            assert!(told.contains(expected), "{args:?}: {told}");
        }
    }
    assert!(!text(&run(&["check", &instances])).contains("note: "));
    assert!(!text(&run(&["check", SAMPLE])).contains("note: "));
}

#[test]
fn what_is_no_reg_file_at_all_is_refused_in_one_sentence() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("else.txt");
    std::fs::write(&path, "root:x:0\nbin:x:1\n\nmore\n").expect("a file");
    let told = text(&run(&["check", path.to_str().expect("a path")]));
    assert_eq!(told.matches(": line ").count(), 1, "{told}");
    assert!(
        told.contains("line 1: a .reg file begins with 'Windows Registry Editor Version 5.00'"),
        "{told}"
    );
}
