//! Where a driver's image calls imports: the call instructions through its import address table, and the functions
//! around them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use object::LittleEndian as LE;
use object::read::pe::{ImageNtHeaders, PeFile64};
use object::{Object, ObjectSection};
use pdb_addr2line::{ContextPdbData, pdb};

/// Every `call [rip + slot]`: the return address from the image's base, and the import's name.
///
/// # Errors
/// The file cannot be read, or is no image.
pub fn calls(path: &Path) -> Result<Vec<(u32, String)>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let wrong = |error: object::Error| format!("{}: {error}", path.display());
    let file = PeFile64::parse(&*bytes).map_err(wrong)?;
    let mut slots: BTreeMap<u32, String> = BTreeMap::new();
    if let Some(table) = file.import_table().map_err(wrong)? {
        let mut descriptors = table.descriptors().map_err(wrong)?;
        while let Some(descriptor) = descriptors.next().map_err(wrong)? {
            let first = descriptor.original_first_thunk.get(LE);
            let mut thunks = table.thunks(first).map_err(wrong)?;
            let mut slot = descriptor.first_thunk.get(LE);
            while let Some(thunk) = thunks.next::<object::pe::ImageNtHeaders64>().map_err(wrong)? {
                let import = table.import::<object::pe::ImageNtHeaders64>(thunk).map_err(wrong)?;
                if let object::read::pe::Import::Name(_, name) = import {
                    slots.insert(slot, String::from_utf8_lossy(name).into_owned());
                }
                slot += 8;
            }
        }
    }
    let base = file.nt_headers().optional_header().image_base.get(LE);
    let mut found = Vec::new();
    for section in file.sections().filter(|section| section.kind() == object::SectionKind::Text) {
        let code = section.data().map_err(wrong)?;
        let start = u32::try_from(section.address() - base).map_err(|error| error.to_string())?;
        for (at, window) in (start..).zip(code.windows(6)) {
            if let [0xFF, 0x15, displacement @ ..] = window
                && let Ok(displacement) = displacement.try_into().map(i32::from_le_bytes)
                && let Some(name) = slots.get(&(at + 6).wrapping_add_signed(displacement))
            {
                found.push((at + 6, name.clone()));
            }
        }
    }
    Ok(found)
}

/// The functions of an image, by its debug information.
pub struct Symbols {
    data: ContextPdbData<'static, 'static, File>,
}

impl Symbols {
    /// Reads the `.pdb` file beside an image.
    ///
    /// # Errors
    /// It is not there, or no such file.
    pub fn beside(image: &Path) -> Result<Symbols, String> {
        let path = image.with_extension("pdb");
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = File::open(&path).map_err(|error| wrong(&error))?;
        let pdb = pdb::PDB::open(file).map_err(|error| wrong(&error))?;
        Ok(Symbols { data: ContextPdbData::try_from_pdb(pdb).map_err(|error| wrong(&error))? })
    }

    /// The functions around an address from the image's base, the inlined ones too, innermost first.
    pub fn around(&self, address: u32) -> String {
        let found = self.data.make_context().ok().and_then(|context| {
            let frames = context.find_frames(address).ok().flatten()?.frames;
            let names = frames.iter().filter_map(|frame| {
                let name = frame.function.as_deref()?;
                Some(name.split('(').next().unwrap_or(name).to_owned())
            });
            Some(names.filter(|name| !name.starts_with("core::")).collect::<Vec<_>>().join(" < "))
        });
        found.unwrap_or_else(|| format!("{address:#x}"))
    }
}
