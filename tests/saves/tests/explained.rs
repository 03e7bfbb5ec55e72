//! What `intact-policy explain` says is what the driver then does: the command's own code, and the driver in the lab,
//! each given the same `.reg` file, the same file and the same program.

#[path = "../../../policy/src/bin/intact-policy/explain.rs"]
mod explain;
#[allow(dead_code, reason = "the command uses more of it")]
#[path = "../../../policy/src/bin/intact-policy/machine.rs"]
mod machine;
#[allow(dead_code, reason = "the command uses more of it")]
#[path = "../../../policy/src/bin/intact-policy/policy_file.rs"]
mod policy_file;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use intact_saves::{OLD, POLICIES, Policy, Scene, seen};
use lab::{CreateOptions, GENERIC_WRITE};
use machine::Machine;
use policy_file::PolicyFile;

const SEED: u64 = 20_261_127;
/// Sets of rules. With every file and program of the lab, 10,000 cases and a few.
const SETS: usize = 21;

const FOLDERS: [&str; 5] = ["a", "Data", r"Data\Deep", r"Data\Deep\er", "Übung"];
const NAMES: [&str; 8] =
    ["x.txt", "X1.TXT", "report.docx", "report.doc", "README", "ärger.xls", "a b.dat", "x.tmp"];
const PROGRAMS: [&str; 12] = [
    "writer.exe",
    "Writer2.exe",
    "word.exe",
    "excel.exe",
    "a.exe",
    "b.exe",
    "tool.com",
    "setup.exe",
    "ÄPP.exe",
    "reader.exe",
    "x.exe",
    "y.exe",
];
/// Parts of patterns: what matches some names, or none.
const GLOBS: [&str; 8] = ["*.txt", "x*", "report.*", "*.doc?", "?.tmp", "*", "ÄRGER.*", "no*such"];
const IMAGES: [&str; 7] =
    ["writer.exe", "*.exe", "w*", "?.exe", "äpp.exe", r"**\tool.com", r"C:\Programs\*r.exe"];

/// Numbers for the test's own choices (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn pattern(&mut self) -> String {
        let (folder, name, glob) = (self.of(&FOLDERS), self.of(&NAMES), self.of(&GLOBS));
        match self.below(8) {
            0 => format!(r"C:\{folder}\**"),
            1 => format!(r"c:\{folder}\{name}").to_uppercase(),
            2 => format!(r"C:\{folder}\{glob}"),
            3 => format!(r"C:\**\{glob}"),
            4 => format!(r"C:\*\{glob}"),
            5 => format!(r"\Device\HarddiskVolume1\{folder}\{glob}"),
            6 => format!(r"**\{name}"),
            // Another volume, which is not there.
            _ => format!(r"D:\{folder}\**"),
        }
    }

    fn patterns(&mut self, most: usize) -> Vec<String> {
        (0..=self.below(most)).map(|_| self.pattern()).collect()
    }

    fn images(&mut self) -> Vec<String> {
        (0..=self.below(2)).map(|_| self.of(&IMAGES).to_owned()).collect()
    }

    /// A `.reg` file with a policy.
    fn policy(&mut self) -> String {
        let root = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Intact";
        let mut text = format!("Windows Registry Editor Version 5.00\n\n[{root}]\n");
        if self.one_in(12) {
            text.push_str("\"Enabled\"=dword:0\n");
        }
        for rule in 0..2 + self.below(7) {
            let _ = writeln!(text, "\n[{root}\\Rule {rule}]");
            let _ = writeln!(text, "\"Paths\"={}", list(&self.patterns(4)));
            let _ = writeln!(text, "\"Order\"=dword:{}", self.below(3));
            if self.one_in(3) {
                let _ = writeln!(text, "\"ExcludePaths\"={}", list(&self.patterns(2)));
            }
            if self.one_in(2) {
                let _ = writeln!(text, "\"Processes\"={}", list(&self.images()));
            }
            if self.one_in(4) {
                let _ = writeln!(text, "\"ExcludeProcesses\"={}", list(&self.images()));
            }
            if self.one_in(4) {
                text.push_str("\"AuditOnly\"=dword:1\n");
            }
        }
        text
    }
}

/// As REG_MULTI_SZ.
fn list(texts: &[String]) -> String {
    let units = texts.iter().flat_map(|text| text.encode_utf16().chain([0])).chain([0]);
    let bytes: Vec<String> = units.flat_map(u16::to_le_bytes).map(|byte| format!("{byte:02x}")).collect();
    format!("hex(7):{}", bytes.join(","))
}

/// What becomes of a save.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Saved(String),
    Audited(String),
    Untouched,
}

/// What the command says.
fn explained(file: &PolicyFile, path: &str, program: &str) -> Fate {
    let mut machine = Machine::default();
    machine.add(r"C:=\Device\HarddiskVolume1").unwrap();
    let image = format!(r"\Device\HarddiskVolume1\Programs\{program}");
    let text = explain::explain(file, machine, path, Some(&image)).unwrap();
    let winner = text
        .lines()
        .find(|line| line.contains(") applies: "))
        .map(|line| line.trim_start_matches("rule \"").split('"').next().unwrap_or_default().to_owned());
    match winner {
        Some(rule) if text.contains("The save is made atomic") => Fate::Saved(rule),
        Some(rule) if text.contains("is reported (AuditOnly)") => Fate::Audited(rule),
        None if text.contains("The save passes through untouched.") => Fate::Untouched,
        other => panic!("{other:?} in an explanation that nobody understands:\n{text}"),
    }
}

fn files() -> Vec<String> {
    FOLDERS.iter().flat_map(|folder| NAMES.iter().map(move |name| format!(r"{folder}\{name}"))).collect()
}

/// Every file opened for writing by every program, and what the driver's new events say of each.
fn done(scene: &Scene, events_before: usize) -> BTreeMap<(String, &'static str), Vec<Fate>> {
    let mut fates: BTreeMap<(String, &'static str), Vec<Fate>> = BTreeMap::new();
    let mut ids = BTreeMap::new();
    for program in PROGRAMS {
        let process = scene.program(program);
        ids.insert(u64::from(process.id()), program);
        process.call(|caller| {
            for file in files() {
                let options = CreateOptions::open(&format!(r"C:\{file}"), GENERIC_WRITE);
                let handle = caller.create_file(&options).unwrap().handle;
                caller.close(handle).unwrap();
            }
        });
        process.exit(0);
    }
    for event in seen(&scene.lab).into_iter().skip(events_before) {
        let fate = match event.name() {
            "SaveBegun" => Fate::Saved(event.text("Rule")),
            "PassedThrough" => {
                assert_eq!(event.text("Reason"), "the rule is for audit only", "{event:?}");
                Fate::Audited(event.text("Rule"))
            }
            _ => continue,
        };
        let file = event.text("File").trim_start_matches(r"\Device\HarddiskVolume1\").to_owned();
        fates.entry((file, ids[&event.number("ProcessId")])).or_default().push(fate);
    }
    fates
}

#[test]
fn what_explain_says_is_what_the_driver_does() {
    println!("seed {SEED}");
    let mut numbers = Numbers(SEED);
    let builder = Scene::builder().no_files().policy(Policy::default()).lab(|lab| {
        // Nothing here is about schedules.
        lab.config(|config| config.preempt_per_mille = 0)
    });
    let scene = files().iter().fold(builder, |builder, file| builder.file(file, OLD)).build();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (mut cases, mut kinds) = (0, [0; 3]);
    for set in 0..SETS {
        let text = numbers.policy();
        let path = folder.join("explained.reg");
        let utf16: Vec<u8> =
            [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        std::fs::write(&path, &utf16).unwrap();
        let file = PolicyFile::read(&path).unwrap();
        scene.lab.executive().change_registry(|registry| {
            registry.remove_key(POLICIES);
            registry.apply(&utf16).unwrap();
        });
        scene.pass(3_000);
        let before = seen(&scene.lab).len();
        let fates = done(&scene, before);
        for path in files() {
            for program in PROGRAMS {
                let said = explained(&file, &format!(r"C:\{path}"), program);
                let did = match fates.get(&(path.clone(), program)).map(Vec::as_slice) {
                    None => Fate::Untouched,
                    Some([fate]) => fate.clone(),
                    Some(several) => panic!("set {set}: {path} by {program}: {several:?}"),
                };
                assert_eq!(did, said, "set {set}: {path} by {program}:\n{text}");
                cases += 1;
                kinds[match said {
                    Fate::Saved(_) => 0,
                    Fate::Audited(_) => 1,
                    Fate::Untouched => 2,
                }] += 1;
            }
        }
    }
    println!("{cases} cases: {kinds:?} saved, audited, untouched");
    assert!(cases >= 10_000 && kinds.iter().all(|&kind| kind > 500), "{cases}: {kinds:?}");
    scene.end();
}
