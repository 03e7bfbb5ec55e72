//! Driver images: loading, binding, and what an address in one means.
//!
//! An image is parsed and checked, copied section by section, relocated, and its import slots are filled: a
//! function's slot with a thunk that notes the caller's stack pointer and jumps to the lab's routine, a variable's
//! with its address. Then each section gets the protection that it asks for; nothing is writable and executable.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use crate::Lab;
use crate::import::{Import, Target};
use crate::mapping::{Mapping, PAGE};

mod pe;
mod unwind;

use unwind::{Cursor, Function, Memory};

/// Why an image was not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    /// The file contradicts itself or the PE format.
    Malformed(String),
    /// A good image, but no driver that this lab could run.
    NotADriver(String),
    /// The header's checksum is not that of the file: damaged, or changed after the link.
    Checksum {
        /// What the header says.
        said: u32,
        /// What it is.
        is: u32,
    },
    /// Imports that the lab does not have, as `module!name`, all of them.
    MissingImports(Vec<String>),
    /// A section that asks to be writable and executable.
    WritableCode(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "malformed image: {what}"),
            Self::NotADriver(what) => write!(f, "not a driver for this lab: {what}"),
            Self::Checksum { said, is } => {
                write!(
                    f,
                    "checksum: the header says {said:#010x}, the file has {is:#010x}; damaged or changed after its link"
                )
            }
            Self::MissingImports(names) => {
                write!(f, "{} import(s) that the lab does not have:", names.len())?;
                names.iter().try_for_each(|name| write!(f, "\n  {name}"))
            }
            Self::WritableCode(section) => {
                write!(f, "section {section} is writable and executable, which HVCI and this lab refuse")
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// A section of a loaded image.
#[derive(Debug, Clone)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Where it begins, from the image's base.
    pub rva: u32,
    /// Its size in bytes.
    pub size: u32,
    /// The IMAGE_SCN_… flags.
    pub characteristics: u32,
}

impl Section {
    fn executable(&self) -> bool {
        self.characteristics & object::pe::IMAGE_SCN_MEM_EXECUTE != 0
    }

    fn writable(&self) -> bool {
        self.characteristics & object::pe::IMAGE_SCN_MEM_WRITE != 0
    }

    fn discardable(&self) -> bool {
        self.characteristics & object::pe::IMAGE_SCN_MEM_DISCARDABLE != 0
    }

    /// Drivers mark pageable code by the name of its section.
    fn pageable(&self) -> bool {
        self.name.starts_with("PAGE")
    }

    fn protection(&self) -> i32 {
        match (self.executable(), self.writable()) {
            (true, _) => libc::PROT_READ | libc::PROT_EXEC,
            (false, true) => libc::PROT_READ | libc::PROT_WRITE,
            (false, false) => libc::PROT_READ,
        }
    }
}

/// A mapped driver image.
pub struct Image {
    /// Its file name.
    pub name: String,
    /// The DllCharacteristics of its header; 0x80 is FORCE_INTEGRITY.
    pub dll_characteristics: u16,
    /// Its sections.
    pub sections: Vec<Section>,
    /// The imports it was bound to.
    pub imports: Vec<&'static Import>,
    /// Oddities that did not stop the load.
    pub notes: Vec<String>,
    entry: u32,
    mapping: Mapping,
    _thunks: Mapping,
    functions: Vec<Function>,
    init_gone: Cell<bool>,
    unloaded: Cell<bool>,
}

impl Image {
    /// Where it is mapped.
    pub fn base(&self) -> usize {
        self.mapping.address()
    }

    /// Its size in memory.
    pub fn size(&self) -> usize {
        self.mapping.len()
    }

    /// Address of its entry point.
    pub fn entry(&self) -> usize {
        self.base() + self.entry as usize
    }

    fn contains(&self, address: usize) -> bool {
        (self.base()..self.base() + self.size()).contains(&address)
    }

    fn section_at(&self, address: usize) -> Option<&Section> {
        let rva = u32::try_from(address.checked_sub(self.base())?).ok()?;
        self.sections.iter().find(|s| (s.rva..s.rva + s.size.next_multiple_of(PAGE as u32)).contains(&rva))
    }

    fn protect(&self, section: &Section, protection: i32) {
        let len = (section.size as usize).next_multiple_of(PAGE);
        if len > 0 {
            self.mapping.protect(section.rva as usize, len, protection);
        }
    }
}

impl Memory for Image {
    fn read(&self, rva: u32, into: &mut [u8]) -> Option<()> {
        let end = (rva as usize).checked_add(into.len())?;
        let section = self.section_at(self.base() + rva as usize)?;
        if end > self.size() || self.unloaded.get() || (self.init_gone.get() && section.discardable()) {
            return None;
        }
        // SAFETY: the range lies in a section of this mapping that is readable.
        unsafe {
            std::ptr::copy_nonoverlapping(self.mapping.at(rva as usize), into.as_mut_ptr(), into.len())
        };
        Some(())
    }
}

/// The images of one lab. An image's index stays the same when others come and go.
#[derive(Default)]
pub struct Images {
    images: RefCell<Vec<Rc<Image>>>,
    deepest: Cell<usize>,
    routines: RefCell<BTreeMap<&'static str, &'static Import>>,
    paged_away: Cell<bool>,
}

impl Images {
    /// The image with this index.
    ///
    /// # Panics
    /// If no image was loaded with it.
    pub fn get(&self, index: usize) -> Rc<Image> {
        self.images.borrow()[index].clone()
    }

    /// How many images were loaded, unloaded ones included.
    pub fn count(&self) -> usize {
        self.images.borrow().len()
    }

    /// The image that an address lies in.
    pub fn index_of(&self, address: usize) -> Option<usize> {
        self.images.borrow().iter().position(|i| i.contains(address))
    }

    pub(crate) fn rva(&self, address: usize) -> Option<(usize, u32)> {
        let index = self.index_of(address)?;
        u32::try_from(address - self.images.borrow()[index].base()).ok().map(|rva| (index, rva))
    }

    /// `name+0xRVA` of an address in an image.
    pub fn describe(&self, address: usize) -> Option<String> {
        let (index, rva) = self.rva(address)?;
        Some(format!("{}+{rva:#x}", self.images.borrow()[index].name))
    }

    pub(crate) fn classify(&self, address: usize) -> Option<(&'static str, String)> {
        let image = self.get(self.index_of(address)?);
        let place = self.describe(address)?;
        let section = image.section_at(address);
        Some(match section {
            _ if image.unloaded.get() => {
                ("use-after-unload", format!("{place} after the driver was unloaded"))
            }
            Some(s) if s.discardable() && image.init_gone.get() => (
                "use-after-init",
                format!("{place} in section {}, which is discarded after DriverEntry", s.name),
            ),
            Some(s) if s.pageable() && self.paged_away.get() => {
                ("paged-at-dispatch", format!("{place} in pageable section {} at DISPATCH_LEVEL", s.name))
            }
            Some(s) => ("image-write", format!("{place}, against the protection of section {}", s.name)),
            None => ("image-write", format!("{place}, in the image's headers")),
        })
    }

    pub(crate) fn note_stack(&self, used: usize) {
        self.deepest.set(self.deepest.get().max(used));
    }

    /// The deepest use of stack by driver frames seen at an import so far, in bytes.
    pub fn deepest_stack(&self) -> usize {
        self.deepest.get()
    }

    /// Return addresses of driver frames, innermost first. `rsp` points at a return address into an image;
    /// `limit` is where the driver's part of the stack ends.
    pub(crate) fn walk(&self, rsp: usize, rbp: usize, limit: usize, most: usize) -> Vec<usize> {
        let mut cursor = Cursor { rsp, rbp, limit, careful: false };
        let mut frames = Vec::new();
        let first = cursor.pop();
        self.follow(&mut cursor, first, &mut frames, most);
        frames
    }

    /// As [`walk`](Self::walk), from a faulting instruction instead of a call.
    pub(crate) fn walk_from(
        &self,
        rip: usize,
        rsp: usize,
        rbp: usize,
        limit: usize,
        most: usize,
    ) -> Vec<usize> {
        let Some((index, rva)) = self.rva(rip) else { return Vec::new() };
        let image = self.get(index);
        let mut cursor = Cursor { rsp, rbp, limit, careful: true };
        let mut frames = vec![rip];
        let caller = cursor.step(&*image, &image.functions, rva);
        self.follow(&mut cursor, caller, &mut frames, most);
        frames
    }

    fn follow(&self, cursor: &mut Cursor, mut next: Option<usize>, frames: &mut Vec<usize>, most: usize) {
        while let Some(address) = next
            && frames.len() < most
            && let Some((index, rva)) = self.rva(address)
        {
            frames.push(address);
            let image = self.get(index);
            // A call may be a function's last instruction: the return address then lies in the next one.
            next = cursor.step(&*image, &image.functions, rva.saturating_sub(1));
        }
    }

    pub(crate) fn page_out(&self, away: bool) {
        if self.paged_away.replace(away) == away {
            return;
        }
        for image in self.images.borrow().iter().filter(|i| !i.unloaded.get()) {
            for section in image.sections.iter().filter(|s| s.pageable()) {
                image.protect(section, if away { libc::PROT_NONE } else { section.protection() });
            }
        }
    }
}

/// Bytes of one import thunk.
const THUNK: usize = 32;

/// What names the list of what is left at unload among the rules that can be left unchecked.
pub const LEFT_BEHIND: &str = "left-behind";

impl Lab {
    /// Maps a driver and binds it to `tables`. The image's index is what other calls take.
    ///
    /// # Errors
    /// What is wrong with the file, or every import that no table has.
    pub fn load_image(
        &self,
        name: &str,
        bytes: &[u8],
        tables: &[&[&'static Import]],
    ) -> Result<usize, LoadError> {
        let parsed = pe::parse(bytes)?;
        if let Some(section) = parsed.sections.iter().find(|s| {
            let both = object::pe::IMAGE_SCN_MEM_EXECUTE | object::pe::IMAGE_SCN_MEM_WRITE;
            s.characteristics & both == both
        }) {
            return Err(LoadError::WritableCode(section.name.clone()));
        }
        let imports = bind(&parsed, tables)?;
        let tables = tables.iter().flat_map(|t| t.iter().copied());
        self.images.routines.borrow_mut().extend(tables.map(|i| (i.name, i)));
        let mapping = Mapping::anonymous(parsed.size, libc::PROT_READ | libc::PROT_WRITE);
        place(&mapping, 0, parsed.headers);
        for section in &parsed.sections {
            place(&mapping, section.rva as usize, section.data);
        }
        let moved = (mapping.address() as u64).wrapping_sub(parsed.preferred_base);
        for rva in &parsed.relocations {
            patch(&mapping, *rva, |address| address.wrapping_add(moved));
        }
        let thunks = Mapping::anonymous(imports.len().max(1) * THUNK, libc::PROT_READ | libc::PROT_WRITE);
        for (index, (import, wanted)) in imports.iter().zip(&parsed.imports).enumerate() {
            let target = match import.target {
                Target::Function(function) => {
                    let code = thunk(self.pcr.caller_slot(), function.addr());
                    place(&thunks, index * THUNK, &code);
                    thunks.address() + index * THUNK
                }
                Target::Data(variable) => variable(self).expose_provenance(),
            };
            patch(&mapping, wanted.slot, |_| target as u64);
        }
        thunks.protect(0, thunks.len(), libc::PROT_READ | libc::PROT_EXEC);
        if parsed.cookie != 0 {
            // The kernel's loader gives every image a cookie of its own; 48 bits, as the compiler's check expects.
            let cookie = self.random.next() & 0xFFFF_FFFF_FFFF;
            patch(&mapping, (parsed.cookie - parsed.preferred_base) as u32, |_| cookie);
        }
        mapping.protect(0, PAGE, libc::PROT_READ);
        let sections = parsed
            .sections
            .iter()
            .map(|s| Section {
                name: s.name.trim_end_matches('\0').into(),
                rva: s.rva,
                size: s.size,
                characteristics: s.characteristics,
            })
            .collect();
        let mut image = Image {
            name: name.into(),
            dll_characteristics: parsed.dll_characteristics,
            sections,
            imports,
            notes: parsed.notes,
            entry: parsed.entry,
            mapping,
            _thunks: thunks,
            functions: Vec::new(),
            init_gone: Cell::new(false),
            unloaded: Cell::new(false),
        };
        for section in &image.sections {
            image.protect(section, section.protection());
        }
        image.functions = functions(&image, parsed.exceptions);
        let mut images = self.images.images.borrow_mut();
        images.push(Rc::new(image));
        Ok(images.len() - 1)
    }

    /// Calls an image's entry point as DriverEntry(DriverObject, RegistryPath); afterwards its discardable
    /// sections are gone, as on Windows. Call it in a thread of the system process.
    pub fn call_entry(&self, index: usize, driver_object: *mut u8, registry_path: *mut u8) -> i32 {
        let image = self.images.get(index);
        let entry = std::ptr::with_exposed_provenance::<()>(image.entry());
        // SAFETY: the address is the entry point of a mapped x64 driver, which has this signature (wdm.h,
        // DRIVER_INITIALIZE). What the driver does wrong from here on faults and is reported.
        let entry: extern "win64" fn(*mut u8, *mut u8) -> i32 = unsafe { std::mem::transmute(entry) };
        let status = self.call_driver("DriverEntry", || entry(driver_object, registry_path));
        image.init_gone.set(true);
        for section in image.sections.iter().filter(|s| s.discardable()) {
            image.protect(section, libc::PROT_NONE);
        }
        status
    }

    /// Takes an image's memory away. Returns what it left behind, as text: pool, handles, references, callbacks,
    /// threads. Later calls into it fault and are named.
    pub fn unload_image(&self, index: usize) -> Vec<String> {
        let left = if self.checks(LEFT_BEHIND) { self.left_behind(index) } else { Vec::new() };
        let image = self.images.get(index);
        self.timers.forget(&(image.base()..image.base() + image.size()));
        image.unloaded.set(true);
        image.mapping.protect(0, image.mapping.len(), libc::PROT_NONE);
        left
    }

    /// Address of a routine that driver code may call through a pointer: like a bound import, with a thunk that
    /// tells the lab who called.
    pub fn thunk_for(&self, import: &'static Import) -> usize {
        let Target::Function(function) = import.target else { panic!("{} is no function", import.name) };
        let mut thunks = self.thunks.borrow_mut();
        let page = thunks.entry(function.addr()).or_insert_with(|| {
            let page = Mapping::anonymous(PAGE, libc::PROT_READ | libc::PROT_WRITE);
            place(&page, 0, &thunk(self.pcr.caller_slot(), function.addr()));
            page.protect(0, PAGE, libc::PROT_READ | libc::PROT_EXEC);
            page
        });
        page.address()
    }

    /// The function of that name in the tables that images were bound to.
    pub(crate) fn find_routine(&self, name: &str) -> Option<&'static Import> {
        let import = self.images.routines.borrow().get(name).copied()?;
        matches!(import.target, Target::Function(_)).then_some(import)
    }

    /// What an image holds now and must not hold once it is unloaded.
    pub fn left_behind(&self, index: usize) -> Vec<String> {
        let mut left = Vec::new();
        for block in self.pool.live_of(index) {
            let frames: Vec<_> = block.frames.iter().filter_map(|f| self.images.describe(*f)).collect();
            left.push(format!("{}, allocated at {}", block.describe(), frames.join(" < ")));
        }
        left.extend(self.handles_held(index));
        for thread in self.scheduler.threads() {
            if self.runs_code_of(&thread, index) {
                left.push(format!("{} is still running its code", thread.label()));
            }
        }
        let image = self.images.get(index);
        left.extend(self.locks.use_inside(&(image.base()..image.base() + image.size())));
        left.extend(self.objects.references_held(index));
        left.extend(
            self.obligations.of(index).iter().map(|what| format!("{what}, set up and not taken down")),
        );
        left
    }
}

fn bind(parsed: &pe::Parsed<'_>, tables: &[&[&'static Import]]) -> Result<Vec<&'static Import>, LoadError> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for wanted in &parsed.imports {
        // The HAL's exports are the kernel's since Windows 10 2004; hal.dll forwards to it.
        let module =
            if wanted.module.eq_ignore_ascii_case("hal.dll") { "ntoskrnl.exe" } else { &wanted.module };
        let import = tables
            .iter()
            .flat_map(|table| table.iter())
            .find(|i| i.name == wanted.name && i.module.eq_ignore_ascii_case(module));
        match import {
            Some(import) => found.push(*import),
            None => missing.push(format!("{}!{}", wanted.module, wanted.name)),
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(LoadError::MissingImports(missing)) }
}

/// `mov rax, slot; mov [rax], rsp; mov [rax+8], rbp; mov rax, target; jmp rax`. RAX is no argument in the x64
/// Windows ABI, and volatile.
fn thunk(slot: usize, target: usize) -> Vec<u8> {
    let mut code = vec![0x48, 0xB8];
    code.extend(slot.to_le_bytes());
    code.extend([0x48, 0x89, 0x20, 0x48, 0x89, 0x68, 0x08, 0x48, 0xB8]);
    code.extend(target.to_le_bytes());
    code.extend([0xFF, 0xE0]);
    debug_assert!(code.len() <= THUNK);
    code
}

fn place(mapping: &Mapping, offset: usize, data: &[u8]) {
    assert!(offset + data.len() <= mapping.len(), "data outside the image");
    // SAFETY: the range lies inside a writable mapping that nothing else uses yet.
    unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), mapping.at(offset), data.len()) };
}

fn patch(mapping: &Mapping, rva: u32, change: impl FnOnce(u64) -> u64) {
    let offset = rva as usize;
    assert!(offset + 8 <= mapping.len(), "patch outside the image");
    let at = mapping.at(offset).cast::<u64>();
    // SAFETY: as in `place`; the access may be unaligned.
    unsafe { at.write_unaligned(change(at.read_unaligned())) };
}

fn functions(image: &Image, (rva, size): (u32, u32)) -> Vec<Function> {
    let mut functions = Vec::new();
    for index in 0..size / 12 {
        let at = |field: u32| image.u32(rva.checked_add(index * 12 + field)?);
        let (Some(begin), Some(end), Some(unwind)) = (at(0), at(4), at(8)) else { break };
        functions.push(Function { begin, end, unwind });
    }
    functions.sort_by_key(|f| f.begin);
    functions
}
