//! What a built driver image must be before anybody loads it: read from the file itself, so that a change of
//! compiler, linker or flags shows.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use object::LittleEndian as LE;
use object::pe;
use object::read::pe::{Import, PeFile64};

/// The modules that Intact may import from.
const MODULES: &[&str] = &["ntoskrnl.exe", "FLTMGR.SYS"];

/// Bits of the optional header that a driver for current Windows has.
const WANTED: &[(u16, &str)] = &[
    (pe::IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, "DYNAMICBASE"),
    (pe::IMAGE_DLLCHARACTERISTICS_NX_COMPAT, "NXCOMPAT"),
    (pe::IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA, "HIGHENTROPYVA"),
    (pe::IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY, "INTEGRITYCHECK"),
];

/// The function that only the panic handler calls.
const PANIC: &str = "KeBugCheckEx";

/// What was read from an image.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) machine: u16,
    pub(crate) subsystem: u16,
    pub(crate) characteristics: u16,
    pub(crate) sections: Vec<Section>,
    /// Imported names by module.
    pub(crate) imports: BTreeMap<String, BTreeSet<String>>,
    /// The name of the symbol file that the image asks for.
    pub(crate) symbols: Option<String>,
    pub(crate) checksum: Checksum,
    pub(crate) has_unwind_data: bool,
}

/// A section of the image.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) writable: bool,
    pub(crate) executable: bool,
}

/// The checksum that the header states, and the one that the file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksum {
    pub(crate) stated: u32,
    pub(crate) actual: u32,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Machine(u16),
    Subsystem(u16),
    MissingFlag(&'static str),
    WritableCode(String),
    Module(String),
    NotInLab(String),
    ReachablePanic,
    Checksum(Checksum),
    Symbols(Option<String>),
    NoUnwindData,
    MachinePath(String),
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Machine(machine) => write!(f, "is for machine {machine:#x}, not x64"),
            Self::Subsystem(subsystem) => write!(f, "has subsystem {subsystem}, not native (1)"),
            Self::MissingFlag(flag) => write!(f, "was linked without /{flag}"),
            Self::WritableCode(section) => write!(f, "section {section} is writable and executable"),
            Self::Module(module) => write!(f, "imports from {module}: only {} may be", MODULES.join(" and ")),
            Self::NotInLab(name) => {
                write!(f, "imports {name}, which `cargo xtask lab -- fidelity` does not list")
            }
            Self::ReachablePanic => write!(
                f,
                "imports {PANIC}, which only the panic handler calls: some indexing, division, unwrap or \
                 formatting can panic"
            ),
            Self::Checksum(Checksum { stated, actual }) => {
                write!(f, "states the checksum {stated:#x} and has {actual:#x}")
            }
            Self::Symbols(name) => write!(f, "names the symbol file {name:?}"),
            Self::NoUnwindData => write!(f, "has no unwind data: a crash dump could not be read"),
            Self::MachinePath(path) => write!(f, "contains a path of the machine that built it: {path}"),
        }
    }
}

impl Image {
    /// Reads an image.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let file = PeFile64::parse(bytes).context("not a 64-bit PE image")?;
        let header = &file.nt_headers().optional_header;
        let sections = file
            .section_table()
            .iter()
            .map(|section| {
                let flags = section.characteristics.get(LE);
                Section {
                    name: String::from_utf8_lossy(section.raw_name()).into_owned(),
                    writable: flags & pe::IMAGE_SCN_MEM_WRITE != 0,
                    executable: flags & pe::IMAGE_SCN_MEM_EXECUTE != 0,
                }
            })
            .collect();
        let mut imports = BTreeMap::new();
        if let Some(table) = file.import_table().context("import table")? {
            let mut descriptors = table.descriptors()?;
            while let Some(descriptor) = descriptors.next()? {
                let module = String::from_utf8_lossy(table.name(descriptor.name.get(LE))?).into_owned();
                let names: &mut BTreeSet<String> = imports.entry(module).or_default();
                let mut thunks = table.thunks(descriptor.original_first_thunk.get(LE))?;
                while let Some(thunk) = thunks.next::<pe::ImageNtHeaders64>()? {
                    names.insert(match table.import::<pe::ImageNtHeaders64>(thunk)? {
                        Import::Ordinal(ordinal) => format!("#{ordinal}"),
                        Import::Name(_, name) => String::from_utf8_lossy(name).into_owned(),
                    });
                }
            }
        }
        let symbols =
            object::Object::pdb_info(&file)?.map(|info| String::from_utf8_lossy(info.path()).into_owned());
        let has_unwind_data = file.data_directory(pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION).is_some();
        Ok(Self {
            machine: file.nt_headers().file_header.machine.get(LE),
            subsystem: header.subsystem.get(LE),
            characteristics: header.dll_characteristics.get(LE),
            sections,
            imports,
            symbols,
            checksum: Checksum {
                stated: header.check_sum.get(LE),
                actual: checksum(bytes, file.dos_header()),
            },
            has_unwind_data,
        })
    }

    /// Every imported name.
    pub(crate) fn imported(&self) -> BTreeSet<&str> {
        self.imports.values().flatten().map(String::as_str).collect()
    }

    /// What is wrong with it, as the image of the driver `name`.
    pub(crate) fn findings(&self, name: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.machine != pe::IMAGE_FILE_MACHINE_AMD64 {
            findings.push(Finding::Machine(self.machine));
        }
        if self.subsystem != pe::IMAGE_SUBSYSTEM_NATIVE {
            findings.push(Finding::Subsystem(self.subsystem));
        }
        for (bit, flag) in WANTED {
            if self.characteristics & bit == 0 {
                findings.push(Finding::MissingFlag(flag));
            }
        }
        for section in &self.sections {
            if section.writable && section.executable {
                findings.push(Finding::WritableCode(section.name.clone()));
            }
        }
        for module in self.imports.keys() {
            if !MODULES.iter().any(|allowed| allowed.eq_ignore_ascii_case(module)) {
                findings.push(Finding::Module(module.clone()));
            }
        }
        if self.imported().contains(PANIC) {
            findings.push(Finding::ReachablePanic);
        }
        if self.checksum.stated != self.checksum.actual {
            findings.push(Finding::Checksum(self.checksum));
        }
        if self.symbols.as_deref() != Some(&format!("{name}.pdb")) {
            findings.push(Finding::Symbols(self.symbols.clone()));
        }
        if !self.has_unwind_data {
            findings.push(Finding::NoUnwindData);
        }
        findings
    }

    /// The imports that the lab does not know, given the names that it knows.
    pub(crate) fn not_in_lab(&self, known: &BTreeSet<String>) -> Vec<Finding> {
        self.imported()
            .into_iter()
            // The panic handler's, if it is there at all, is a finding of its own.
            .filter(|name| !known.contains(*name) && *name != PANIC)
            .map(|name| Finding::NotInLab(name.to_owned()))
            .collect()
    }
}

/// Which of these paths the image contains, as UTF-8 or UTF-16.
pub(crate) fn machine_paths(bytes: &[u8], paths: &[String]) -> Vec<Finding> {
    let contains = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    paths
        .iter()
        .filter(|path| {
            let wide: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
            contains(path.as_bytes()) || contains(&wide)
        })
        .map(|path| Finding::MachinePath(path.clone()))
        .collect()
}

/// The checksum of a PE file: its 16-bit words added up with carry, the checksum's own place left out, plus
/// the length.
fn checksum(bytes: &[u8], dos: &pe::ImageDosHeader) -> u32 {
    let place = dos.e_lfanew.get(LE) as usize + 4 + 20 + 64;
    let mut sum: u32 = 0;
    for (index, pair) in bytes.chunks(2).enumerate() {
        if index * 2 == place || index * 2 == place + 2 {
            continue;
        }
        sum += u32::from(pair[0]) | u32::from(*pair.get(1).unwrap_or(&0)) << 8;
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum + bytes.len() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Image {
        Image {
            machine: pe::IMAGE_FILE_MACHINE_AMD64,
            subsystem: pe::IMAGE_SUBSYSTEM_NATIVE,
            characteristics: WANTED.iter().fold(0, |all, (bit, _)| all | bit),
            sections: vec![Section { name: ".text".into(), writable: false, executable: true }],
            imports: BTreeMap::from([("FLTMGR.SYS".to_owned(), BTreeSet::from(["FltClose".to_owned()]))]),
            symbols: Some("intact.pdb".into()),
            checksum: Checksum { stated: 7, actual: 7 },
            has_unwind_data: true,
        }
    }

    #[test]
    fn a_good_image_has_no_findings() {
        assert_eq!(good().findings("intact"), []);
    }

    #[test]
    fn importing_the_bugcheck_means_a_reachable_panic() {
        let mut image = good();
        image.imports.insert("ntoskrnl.exe".into(), BTreeSet::from([PANIC.to_owned()]));
        assert_eq!(image.findings("intact"), [Finding::ReachablePanic]);
    }

    #[test]
    fn another_module_is_named() {
        let mut image = good();
        image.imports.insert("HAL.dll".into(), BTreeSet::new());
        assert_eq!(image.findings("intact"), [Finding::Module("HAL.dll".into())]);
    }

    #[test]
    fn writable_code_is_named() {
        let mut image = good();
        image.sections[0].writable = true;
        assert_eq!(image.findings("intact"), [Finding::WritableCode(".text".into())]);
    }

    #[test]
    fn each_missing_hardening_flag_is_named() {
        let mut image = good();
        image.characteristics = 0;
        assert_eq!(image.findings("intact").len(), WANTED.len());
    }

    #[test]
    fn a_driver_for_another_machine_subsystem_or_with_foreign_symbols_is_refused() {
        let mut image = good();
        image.machine = pe::IMAGE_FILE_MACHINE_ARM64;
        image.subsystem = pe::IMAGE_SUBSYSTEM_WINDOWS_CUI;
        image.symbols = Some("/build/intact.pdb".into());
        image.has_unwind_data = false;
        image.checksum.stated = 8;
        assert_eq!(image.findings("intact").len(), 5);
    }

    #[test]
    fn an_import_that_the_lab_does_not_list_is_named() {
        let known = BTreeSet::from(["FltOpenVolume".to_owned()]);
        assert_eq!(good().not_in_lab(&known), [Finding::NotInLab("FltClose".into())]);
        assert_eq!(good().not_in_lab(&BTreeSet::from(["FltClose".to_owned()])), []);
    }

    #[test]
    fn a_path_of_the_building_machine_is_found_in_both_encodings() {
        let path = "/home/me/intact".to_owned();
        let wide: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(machine_paths(&wide, std::slice::from_ref(&path)), [Finding::MachinePath(path.clone())]);
        assert_eq!(machine_paths(b"nothing of it", &[path]), []);
    }

    #[test]
    fn what_is_no_image_is_an_error_and_not_a_crash() {
        assert!(Image::parse(b"").is_err());
        assert!(Image::parse(b"MZ is not enough").is_err());
    }
}
