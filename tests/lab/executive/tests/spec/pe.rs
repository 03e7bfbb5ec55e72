//! Writes small driver images, so that the loader's tests need no cross-compiler.

/// Sections: name, RVA, characteristics.
pub(crate) const TEXT: u32 = 0x1000;
pub(crate) const RDATA: u32 = 0x2000;
pub(crate) const DATA: u32 = 0x3000;
const PDATA: u32 = 0x4000;
const RELOC: u32 = 0x5000;
pub(crate) const EXTRA: u32 = 0x6000;
const SIZE: u32 = 0x7000;
pub(crate) const BASE: u64 = 0x1_4000_0000;
/// Offset of the PE signature.
const SIGNATURE: usize = 0x40;
pub(crate) const MACHINE: usize = SIGNATURE + 4;
pub(crate) const CHARACTERISTICS: usize = SIGNATURE + 4 + 18;
pub(crate) const SUBSYSTEM: usize = SIGNATURE + 24 + 68;
pub(crate) const DLL_CHARACTERISTICS: usize = SIGNATURE + 24 + 70;
pub(crate) const CHECKSUM: usize = SIGNATURE + 24 + 64;
pub(crate) const TLS_DIRECTORY: usize = SIGNATURE + 24 + 112 + 9 * 8;
const SECTION_HEADERS: usize = SIGNATURE + 24 + 240;
pub(crate) const TEXT_CHARACTERISTICS: usize = SECTION_HEADERS + 36;

/// A driver in the making.
#[derive(Default)]
pub(crate) struct Driver {
    pub(crate) imports: Vec<(&'static str, Vec<&'static str>)>,
    pub(crate) text: Vec<u8>,
    pub(crate) data: Vec<u8>,
    /// Function ranges (offsets in .text) and their UNWIND_INFO.
    pub(crate) functions: Vec<(u32, u32, Vec<u8>)>,
    /// RVAs of addresses to relocate.
    pub(crate) relocations: Vec<u32>,
    /// Name, characteristics and content of one more section.
    pub(crate) extra: Option<(&'static str, u32, Vec<u8>)>,
}

impl Driver {
    pub(crate) fn importing(names: &[&'static str]) -> Self {
        Self { imports: vec![("ntoskrnl.exe", names.to_vec())], ..Self::default() }
    }

    /// RVA of an import's slot: the tables begin .rdata.
    fn slot(&self, name: &str) -> u32 {
        let mut at = RDATA;
        for (_, names) in &self.imports {
            for import in names {
                if *import == name {
                    return at;
                }
                at += 8;
            }
            at += 8;
        }
        panic!("{name} is not imported")
    }

    /// Where the next byte of code goes, as an offset in .text.
    pub(crate) fn here(&self) -> u32 {
        self.text.len() as u32
    }

    pub(crate) fn code(&mut self, bytes: &[u8]) -> &mut Self {
        self.text.extend(bytes);
        self
    }

    /// `call qword ptr [slot]`
    pub(crate) fn call_import(&mut self, name: &str) -> &mut Self {
        let slot = self.slot(name);
        self.relative(&[0xFF, 0x15], slot)
    }

    /// An instruction whose last four bytes say how far `target` (an RVA) is from its end.
    pub(crate) fn relative(&mut self, opcode: &[u8], target: u32) -> &mut Self {
        self.text.extend(opcode);
        let next = TEXT + self.here() + 4;
        self.text.extend(target.wrapping_sub(next).to_le_bytes());
        self
    }

    /// Ends a function that began at `begin`, with its unwind data.
    pub(crate) fn end(&mut self, begin: u32, unwind: &[u8]) -> &mut Self {
        let end = self.here();
        self.functions.push((begin, end, unwind.to_vec()));
        self
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let rdata = self.rdata();
        let (pdata, reloc) = (self.pdata(), self.reloc());
        let mut sections: Vec<(&str, u32, u32, &[u8])> = vec![
            (".text", TEXT, 0x6000_0020, &self.text),
            (".rdata", RDATA, 0x4000_0040, &rdata.0),
            (".data", DATA, 0xC000_0040, &self.data),
            (".pdata", PDATA, 0x4000_0040, &pdata),
            (".reloc", RELOC, 0x4200_0040, &reloc),
        ];
        if let Some((name, characteristics, content)) = &self.extra {
            sections.push((name, EXTRA, *characteristics, content));
        }
        let mut file = vec![0u8; 0x400];
        file[..2].copy_from_slice(b"MZ");
        file[0x3C] = SIGNATURE as u8;
        let mut head = b"PE\0\0".to_vec();
        words(&mut head, &[0x8664, sections.len() as u16]);
        longs(&mut head, &[0, 0, 0]);
        words(&mut head, &[240, 0x22]);
        words(&mut head, &[0x20B, 0]);
        longs(&mut head, &[0, 0, 0, TEXT, TEXT]);
        head.extend(BASE.to_le_bytes());
        longs(&mut head, &[0x1000, 0x200]);
        words(&mut head, &[10, 0, 0, 0, 10, 0]);
        longs(&mut head, &[0, SIZE, 0x400, 0]);
        words(&mut head, &[1, 0x160]);
        head.extend([0; 32]);
        longs(&mut head, &[0, 16]);
        let directories = [
            (1, RDATA + rdata.1, 20 * (self.imports.len() as u32 + 1)),
            (3, PDATA, self.functions.len() as u32 * 12),
            (5, RELOC, reloc.len() as u32),
        ];
        for index in 0..16u32 {
            let (_, rva, size) = directories.iter().find(|d| d.0 == index).copied().unwrap_or((0, 0, 0));
            longs(&mut head, &[rva, size]);
        }
        let mut raw = 0x400u32;
        for (name, rva, characteristics, content) in &sections {
            let mut label = name.as_bytes().to_vec();
            label.resize(8, 0);
            head.extend(label);
            let size = (content.len() as u32).next_multiple_of(0x200);
            longs(&mut head, &[content.len().max(8) as u32, *rva, size, raw, 0, 0, 0, *characteristics]);
            raw += size;
        }
        file[SIGNATURE..SIGNATURE + head.len()].copy_from_slice(&head);
        for (.., content) in &sections {
            file.extend(*content);
            file.resize(file.len().next_multiple_of(0x200), 0);
        }
        file
    }

    /// Import slots, lookup tables and names; and the offset of the descriptors.
    fn rdata(&self) -> (Vec<u8>, u32) {
        let slots: usize = self.imports.iter().map(|(_, names)| names.len() * 8 + 8).sum();
        let descriptors = slots * 2;
        let names_at = descriptors + 20 * (self.imports.len() + 1);
        let mut names: Vec<u8> = Vec::new();
        let (mut tables, mut directory, mut at) = (Vec::new(), Vec::new(), 0usize);
        for (module, imports) in &self.imports {
            let first = at;
            for import in imports {
                let entry = RDATA as usize + names_at + names.len();
                tables.extend((entry as u64).to_le_bytes());
                names.extend([0, 0]);
                names.extend(import.bytes().chain([0]));
                names.resize(names.len().next_multiple_of(2), 0);
            }
            tables.extend([0; 8]);
            at += imports.len() * 8 + 8;
            let name = RDATA as usize + names_at + names.len();
            names.extend(module.bytes().chain([0]));
            names.resize(names.len().next_multiple_of(2), 0);
            let lookup = RDATA as usize + slots + first;
            longs(&mut directory, &[lookup as u32, 0, 0, name as u32, RDATA + first as u32]);
        }
        directory.extend([0; 20]);
        let mut all = tables.clone();
        all.extend(tables);
        all.extend(directory);
        all.extend(names);
        (all, descriptors as u32)
    }

    fn pdata(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut unwind = Vec::new();
        let table = self.functions.len() as u32 * 12;
        for (begin, end, info) in &self.functions {
            longs(&mut out, &[TEXT + begin, TEXT + end, PDATA + table + unwind.len() as u32]);
            unwind.extend(info);
            unwind.resize(unwind.len().next_multiple_of(4), 0);
        }
        out.extend(unwind);
        out
    }

    fn reloc(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for rva in &self.relocations {
            longs(&mut out, &[rva & !0xFFF, 12]);
            words(&mut out, &[0xA000 | (rva & 0xFFF) as u16, 0]);
        }
        out
    }
}

fn words(to: &mut Vec<u8>, values: &[u16]) {
    values.iter().for_each(|v| to.extend(v.to_le_bytes()));
}

fn longs(to: &mut Vec<u8>, values: &[u32]) {
    values.iter().for_each(|v| to.extend(v.to_le_bytes()));
}
