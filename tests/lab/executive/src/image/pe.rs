//! Reading a PE image: what a driver file says, checked, before anything is mapped.

use object::LittleEndian as LE;
use object::pe;
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader, ImageThunkData, PeFile64};

use super::LoadError;

/// An image larger than this is no driver.
const MAX_IMAGE: usize = 256 << 20;

/// What a driver file says of itself.
pub(super) struct Parsed<'d> {
    pub(super) preferred_base: u64,
    pub(super) size: usize,
    pub(super) entry: u32,
    pub(super) dll_characteristics: u16,
    pub(super) headers: &'d [u8],
    pub(super) sections: Vec<Section<'d>>,
    /// RVAs of 64-bit addresses to move.
    pub(super) relocations: Vec<u32>,
    pub(super) imports: Vec<Wanted>,
    /// RVA and size of the function table.
    pub(super) exceptions: (u32, u32),
    /// Address (at the preferred base) of the security cookie, 0 if there is none.
    pub(super) cookie: u64,
    pub(super) notes: Vec<String>,
}

pub(super) struct Section<'d> {
    pub(super) name: String,
    pub(super) rva: u32,
    pub(super) size: u32,
    pub(super) data: &'d [u8],
    pub(super) characteristics: u32,
}

/// One import that the image wants bound.
pub(super) struct Wanted {
    pub(super) module: String,
    pub(super) name: String,
    /// RVA of the slot to fill.
    pub(super) slot: u32,
}

fn malformed(what: impl Into<String>) -> LoadError {
    LoadError::Malformed(what.into())
}

fn bad(what: &str) -> impl FnOnce(object::read::Error) -> LoadError + '_ {
    move |error| malformed(format!("{what}: {error}"))
}

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, LoadError> {
    let file = PeFile64::parse(bytes).map_err(bad("not a 64-bit PE image"))?;
    let headers = file.nt_headers();
    let (coff, optional) = (headers.file_header(), headers.optional_header());
    let machine = coff.machine.get(LE);
    if machine != pe::IMAGE_FILE_MACHINE_AMD64 {
        return Err(LoadError::NotADriver(format!(
            "made for machine {machine:#x}; the lab runs x64 (0x8664)"
        )));
    }
    if optional.subsystem() != pe::IMAGE_SUBSYSTEM_NATIVE {
        return Err(LoadError::NotADriver(format!(
            "subsystem {}, where a driver has 1 (native); link with /SUBSYSTEM:NATIVE",
            optional.subsystem()
        )));
    }
    if coff.characteristics.get(LE) & pe::IMAGE_FILE_EXECUTABLE_IMAGE == 0 {
        return Err(LoadError::NotADriver("not marked executable: its link failed".into()));
    }
    let size = optional.size_of_image() as usize;
    if size == 0 || size > MAX_IMAGE {
        return Err(malformed(format!("image size {size:#x}")));
    }
    let header_len = (optional.size_of_headers() as usize).min(bytes.len()).min(size);
    let mut parsed = Parsed {
        preferred_base: optional.image_base(),
        size: size.next_multiple_of(crate::mapping::PAGE),
        entry: optional.address_of_entry_point(),
        dll_characteristics: optional.dll_characteristics(),
        headers: &bytes[..header_len],
        sections: sections(&file, bytes, size)?,
        relocations: Vec::new(),
        imports: Vec::new(),
        exceptions: directory(&file, pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION),
        cookie: 0,
        notes: Vec::new(),
    };
    check_checksum(&file, bytes, optional.check_sum(), &mut parsed.notes)?;
    if parsed.entry as usize >= size {
        return Err(malformed(format!("entry point {:#x} lies outside the image", parsed.entry)));
    }
    if directory(&file, pe::IMAGE_DIRECTORY_ENTRY_TLS).1 != 0 {
        return Err(LoadError::NotADriver(
            "uses thread-local storage, which the kernel does not offer".into(),
        ));
    }
    if coff.characteristics.get(LE) & pe::IMAGE_FILE_RELOCS_STRIPPED != 0 {
        return Err(LoadError::NotADriver("has no relocations; link without /FIXED".into()));
    }
    relocations(&file, bytes, &mut parsed)?;
    imports(&file, bytes, &mut parsed)?;
    parsed.cookie = cookie(&file, &parsed);
    Ok(parsed)
}

fn directory(file: &PeFile64<'_>, index: usize) -> (u32, u32) {
    file.data_directory(index).map_or((0, 0), |d| (d.virtual_address.get(LE), d.size.get(LE)))
}

fn sections<'d>(file: &PeFile64<'d>, bytes: &'d [u8], size: usize) -> Result<Vec<Section<'d>>, LoadError> {
    let mut sections: Vec<Section<'d>> = Vec::new();
    for header in file.section_table().iter() {
        let name = String::from_utf8_lossy(header.raw_name()).into_owned();
        let (rva, virtual_size) = (header.virtual_address.get(LE), header.virtual_size.get(LE));
        let (offset, raw) =
            (header.pointer_to_raw_data.get(LE) as usize, header.size_of_raw_data.get(LE) as usize);
        let extent = if virtual_size == 0 { header.size_of_raw_data.get(LE) } else { virtual_size };
        let end = u64::from(rva) + u64::from(extent);
        if end > size as u64 || !(rva as usize).is_multiple_of(crate::mapping::PAGE) {
            return Err(malformed(format!("section {name} ({rva:#x}+{extent:#x}) does not fit the image")));
        }
        if sections.iter().any(|s| rva < s.rva + s.size.next_multiple_of(4096) && s.rva < rva + extent) {
            return Err(malformed(format!("section {name} overlaps another")));
        }
        let used = raw.min(extent as usize);
        let data = match bytes.get(offset..offset.saturating_add(used)) {
            Some(data) => data,
            None => return Err(malformed(format!("section {name} lies beyond the end of the file"))),
        };
        let characteristics = header.characteristics.get(LE);
        sections.push(Section { name, rva, size: extent, data, characteristics });
    }
    Ok(sections)
}

fn check_checksum(
    file: &PeFile64<'_>,
    bytes: &[u8],
    said: u32,
    notes: &mut Vec<String>,
) -> Result<(), LoadError> {
    if said == 0 {
        notes.push("no checksum in the header (link with /RELEASE): Windows wants one for drivers".into());
        return Ok(());
    }
    let field = file.dos_header().nt_headers_offset() as usize + 4 + 20 + 64;
    let is = checksum(bytes, field);
    if is == said { Ok(()) } else { Err(LoadError::Checksum { said, is }) }
}

/// The PE checksum: 16-bit words added with carry, the field itself left out, plus the length.
fn checksum(bytes: &[u8], field: usize) -> u32 {
    let mut sum = 0u32;
    for (index, word) in bytes.chunks(2).enumerate() {
        let at = index * 2;
        if at == field || at == field + 2 {
            continue;
        }
        let value = u32::from(word[0]) | u32::from(*word.get(1).unwrap_or(&0)) << 8;
        sum += value;
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    (sum & 0xFFFF) + (sum >> 16) + bytes.len() as u32
}

fn relocations(file: &PeFile64<'_>, bytes: &[u8], parsed: &mut Parsed<'_>) -> Result<(), LoadError> {
    if directory(file, pe::IMAGE_DIRECTORY_ENTRY_BASERELOC).1 == 0 {
        return Ok(());
    }
    let blocks = file
        .data_directories()
        .relocation_blocks(bytes, &file.section_table())
        .map_err(bad("relocations"))?;
    let Some(mut blocks) = blocks else { return Ok(()) };
    while let Some(block) = blocks.next().map_err(bad("relocations"))? {
        for relocation in block {
            match relocation.typ {
                pe::IMAGE_REL_BASED_ABSOLUTE => {}
                pe::IMAGE_REL_BASED_DIR64 if relocation.virtual_address as usize + 8 <= parsed.size => {
                    parsed.relocations.push(relocation.virtual_address);
                }
                other => {
                    return Err(malformed(format!(
                        "relocation of type {other} at {:#x}; x64 has DIR64 only, inside the image",
                        relocation.virtual_address
                    )));
                }
            }
        }
    }
    Ok(())
}

fn imports(file: &PeFile64<'_>, _bytes: &[u8], parsed: &mut Parsed<'_>) -> Result<(), LoadError> {
    let Some(table) = file.import_table().map_err(bad("import table"))? else { return Ok(()) };
    let mut descriptors = table.descriptors().map_err(bad("import table"))?;
    while let Some(descriptor) = descriptors.next().map_err(bad("import table"))? {
        let name = table.name(descriptor.name.get(LE)).map_err(bad("import table: a module's name"))?;
        let module = String::from_utf8_lossy(name).into_owned();
        let first = descriptor.first_thunk.get(LE);
        let lookup = match descriptor.original_first_thunk.get(LE) {
            0 => first,
            lookup => lookup,
        };
        let mut thunks = table.thunks(lookup).map_err(bad("import table"))?;
        let mut index = 0u32;
        while let Some(thunk) = thunks.next::<pe::ImageNtHeaders64>().map_err(bad("import table"))? {
            let name = if thunk.is_ordinal() {
                format!("#{}", thunk.ordinal())
            } else {
                let (_, name) =
                    table.hint_name(thunk.address()).map_err(bad("import table: a function's name"))?;
                String::from_utf8_lossy(name).into_owned()
            };
            let slot = index.checked_mul(8).and_then(|o| o.checked_add(first));
            let slot = slot.filter(|s| *s as usize + 8 <= parsed.size).ok_or_else(|| {
                malformed(format!("import table: the slot of {module}!{name} lies outside the image"))
            })?;
            parsed.imports.push(Wanted { module: module.clone(), name, slot });
            index += 1;
        }
    }
    Ok(())
}

/// Offset of SecurityCookie in IMAGE_LOAD_CONFIG_DIRECTORY64 (winnt.h).
const COOKIE_OFFSET: u32 = 0x58;

fn cookie(file: &PeFile64<'_>, parsed: &Parsed<'_>) -> u64 {
    let (rva, size) = directory(file, pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG);
    if rva == 0 || size < COOKIE_OFFSET + 8 {
        return 0;
    }
    let at = u64::from(rva) + u64::from(COOKIE_OFFSET);
    let section = parsed
        .sections
        .iter()
        .find(|s| at >= u64::from(s.rva) && at + 8 <= u64::from(s.rva) + s.data.len() as u64);
    let Some(section) = section else { return 0 };
    let offset = (at - u64::from(section.rva)) as usize;
    let value = section.data[offset..offset + 8].first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b));
    let inside =
        value.checked_sub(parsed.preferred_base).is_some_and(|offset| offset + 8 <= parsed.size as u64);
    if inside { value } else { 0 }
}
