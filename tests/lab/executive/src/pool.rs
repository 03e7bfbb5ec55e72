//! Pool memory under special pool rules: every allocation on pages of its own, up against a guard page, filled
//! with a pattern that shows, taken away when freed and kept away for a while.
//!
//! An overrun past the allocation's last 16-byte step faults at the instruction; a smaller one, or an underrun
//! inside the first page, is found when the block is freed. A use after free faults at the instruction. Past
//! [`GUARDED`] live blocks (the host limits mappings) a block gets no pages of its own and only the pattern.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ptr;

use crate::Lab;
use crate::mapping::{Mapping, PAGE};

/// How many live blocks get guard pages.
pub const GUARDED: usize = 8_000;

const ARENA: usize = 8 << 30;
const QUARANTINE: usize = 256;
const UNINITIALISED: u8 = 0xCD;
/// KI_USER_SHARED_DATA, x64 (wdm.h).
const SHARED_USER_DATA: usize = 0xFFFF_F780_0000_0000;
const SLACK: u8 = 0xFD;
/// Freed blocks up to this size keep their pages while in quarantine: giving them back costs more than they hold.
const KEPT_PAGES: usize = 4;
const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// What kind of memory a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// May be touched at any level.
    NonPaged,
    /// May be touched below `DISPATCH_LEVEL` only.
    Paged,
    /// The body of an object; freed by the object manager only.
    Object,
}

/// A live block.
#[derive(Debug, Clone)]
pub struct Block {
    /// Its address.
    pub address: usize,
    /// Bytes asked for.
    pub size: usize,
    /// The tag it was allocated with.
    pub tag: u32,
    /// What kind of memory it is.
    pub kind: Kind,
    /// The image that allocated it; `None` for the lab's own.
    pub owner: Option<usize>,
    /// Its number among all allocations; the same in every run with the same seed.
    pub serial: u64,
    /// Return addresses of the driver's frames that led to the allocation.
    pub(crate) frames: Vec<usize>,
    data: usize,
    pages: usize,
}

impl Block {
    pub(crate) fn describe(&self) -> String {
        let kind = match self.kind {
            Kind::NonPaged => "nonpaged pool",
            Kind::Paged => "paged pool",
            Kind::Object => "object",
        };
        format!("{kind} #{} tag '{}' of {} bytes", self.serial, tag_text(self.tag), self.size)
    }
}

/// A tag as text, e.g. `IntA`.
pub fn tag_text(tag: u32) -> String {
    tag.to_le_bytes()
        .iter()
        .map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '.' })
        .collect()
}

/// The pool of one lab.
pub struct Pool {
    arena: Mapping,
    next: Cell<usize>,
    live: RefCell<BTreeMap<usize, Block>>,
    freed: RefCell<BTreeMap<usize, Block>>,
    quarantine: RefCell<BTreeMap<usize, VecDeque<usize>>>,
    unguarded: RefCell<BTreeMap<usize, Box<[u128]>>>,
    serial: Cell<u64>,
    bytes: Cell<usize>,
    peak: Cell<usize>,
    paged_away: Cell<bool>,
    /// Guard pages can be touched: their rule is not checked.
    guards_open: bool,
    /// Freed pages can be touched: their rule is not checked.
    freed_open: bool,
}

impl Pool {
    /// An empty pool; `unchecked` is [`Config::unchecked`](crate::Config::unchecked).
    pub(crate) fn new(unchecked: Option<&str>) -> Self {
        Self {
            guards_open: unchecked == Some("pool-overrun"),
            freed_open: unchecked == Some("use-after-free"),
            arena: Mapping::anonymous(ARENA, libc::PROT_NONE),
            next: Cell::new(PAGE),
            live: RefCell::default(),
            freed: RefCell::default(),
            quarantine: RefCell::default(),
            unguarded: RefCell::default(),
            serial: Cell::new(0),
            bytes: Cell::new(0),
            peak: Cell::new(0),
            paged_away: Cell::new(false),
        }
    }

    /// How many blocks were ever allocated.
    pub fn allocations(&self) -> u64 {
        self.serial.get()
    }

    /// The most bytes that were live at one time.
    pub fn peak_bytes(&self) -> usize {
        self.peak.get()
    }

    /// The live blocks of an image, oldest first.
    pub fn live_of(&self, owner: usize) -> Vec<Block> {
        let mut blocks: Vec<_> =
            self.live.borrow().values().filter(|b| b.owner == Some(owner)).cloned().collect();
        blocks.sort_by_key(|b| b.serial);
        blocks
    }

    /// The live block that begins at `address`.
    pub fn block(&self, address: *const u8) -> Option<Block> {
        self.live.borrow().get(&address.addr()).cloned()
    }

    /// The live block that contains `address`.
    pub fn block_containing(&self, address: usize) -> Option<Block> {
        let live = self.live.borrow();
        let (start, block) = live.range(..=address).next_back()?;
        (address - start < block.size.max(1)).then(|| block.clone())
    }

    fn slot(&self, pages: usize) -> usize {
        let mut quarantine = self.quarantine.borrow_mut();
        let waiting = quarantine.entry(pages).or_default();
        if waiting.len() > QUARANTINE
            && let Some(offset) = waiting.pop_front()
        {
            self.freed.borrow_mut().remove(&(self.arena.address() + offset));
            return offset;
        }
        let offset = self.next.get();
        let next = offset + (pages + 1) * PAGE;
        assert!(next <= self.arena.len(), "the lab's pool is full ({ARENA} bytes of address space)");
        self.next.set(next);
        offset
    }

    /// Opens a slot's pages; `None` if the host has no more mappings.
    fn open_slot(&self, pages: usize) -> Option<usize> {
        let offset = self.slot(pages);
        let length = (pages + usize::from(self.guards_open)) * PAGE;
        let opened = self.arena.try_protect(offset, length, READ_WRITE);
        opened.then_some(self.arena.address() + offset)
    }

    /// Memory without guard pages: where its border and where the block begin.
    fn unguarded_memory(&self, rounded: usize) -> (usize, usize) {
        // Page-sized blocks are aligned to pages here too.
        let alignment = if rounded >= PAGE { PAGE } else { 16 };
        let memory = vec![0u128; (rounded + 2 * alignment + 16) / 16].into_boxed_slice();
        let start = (memory.as_ptr().expose_provenance() + 16).next_multiple_of(alignment);
        self.unguarded.borrow_mut().insert(start, memory);
        (start - 16, start)
    }

    fn allocate(
        &self,
        size: usize,
        kind: Kind,
        tag: u32,
        owner: Option<usize>,
        frames: Vec<usize>,
    ) -> *mut u8 {
        let serial = self.serial.get() + 1;
        self.serial.set(serial);
        let rounded = size.max(1).next_multiple_of(16);
        let pages = rounded.div_ceil(PAGE);
        let wanted = self.live.borrow().len() < GUARDED || size >= PAGE || kind == Kind::Paged;
        let slot = if wanted { self.open_slot(pages) } else { None };
        let (data, start) = match slot {
            // Windows aligns blocks of a page and more to pages; smaller ones end at the guard.
            Some(data) => (data, if size >= PAGE { data } else { data + pages * PAGE - rounded }),
            None => self.unguarded_memory(rounded),
        };
        let guarded = slot.is_some();
        let block = Block {
            address: start,
            size,
            tag,
            kind,
            owner,
            serial,
            frames,
            data,
            pages: if guarded { pages } else { 0 },
        };
        let whole = slack(&block);
        let memory = ptr::with_exposed_provenance_mut::<u8>(data);
        // SAFETY: the block's pages (or heap memory) were made writable above and belong to nobody else.
        unsafe {
            ptr::write_bytes(memory, SLACK, whole.1 - data);
            ptr::write_bytes(memory.wrapping_add(start - data), UNINITIALISED, size);
        }
        self.live.borrow_mut().insert(start, block);
        self.bytes.set(self.bytes.get() + size);
        self.peak.set(self.peak.get().max(self.bytes.get()));
        memory.wrapping_add(start - data)
    }

    fn release(&self, block: &Block) {
        self.live.borrow_mut().remove(&block.address);
        self.bytes.set(self.bytes.get() - block.size);
        if block.pages == 0 {
            self.unguarded.borrow_mut().remove(&block.address);
            return;
        }
        let offset = block.data - self.arena.address();
        let away = self.freed_open || self.arena.try_protect(offset, block.pages * PAGE, libc::PROT_NONE);
        if !away {
            // The slot stays open and is never used again: its neighbours cannot be told apart from it.
            return;
        }
        if block.pages > KEPT_PAGES {
            self.arena.discard(offset, block.pages * PAGE);
        }
        self.freed.borrow_mut().insert(block.data, block.clone());
        self.quarantine.borrow_mut().entry(block.pages).or_default().push_back(offset);
    }

    /// Takes paged pool away (at `DISPATCH_LEVEL`) or gives it back.
    pub(crate) fn page_out(&self, away: bool) {
        if self.paged_away.replace(away) == away {
            return;
        }
        let protection = if away { libc::PROT_NONE } else { READ_WRITE };
        for block in self.live.borrow().values().filter(|b| b.kind == Kind::Paged) {
            if block.pages > 0 {
                self.arena.protect(block.data - self.arena.address(), block.pages * PAGE, protection);
            }
        }
    }

    /// Says what the pool knows of an address: rule and text.
    pub(crate) fn classify(&self, address: usize) -> Option<(&'static str, String)> {
        if let Some(block) = self.block_containing(address) {
            let rule = if block.kind == Kind::Paged && self.paged_away.get() {
                "paged-at-dispatch"
            } else {
                "bad-address"
            };
            return Some((rule, format!("byte {} of {}", address - block.address, block.describe())));
        }
        if !(self.arena.address()..self.arena.address() + self.arena.len()).contains(&address) {
            return None;
        }
        let freed = self.freed.borrow();
        if let Some((start, freed)) = freed.range(..=address).next_back()
            && address < start + freed.pages * PAGE
        {
            return Some((
                "use-after-free",
                format!("freed memory: byte {} of the page(s) of {}", address - start, freed.describe()),
            ));
        }
        let live = self.live.borrow();
        let before = live.range(..=address).next_back().map(|(_, b)| b);
        let after = live.range(address..).next().map(|(_, b)| b);
        let past = before.filter(|b| b.pages > 0 && address < b.data + (b.pages + 1) * PAGE);
        let short = after.filter(|b| b.pages > 0 && address + PAGE >= b.data);
        let past = past.map(|b| (address - b.address - b.size, b));
        let short = short.map(|b| (b.address - address, b));
        Some(match (past, short) {
            (Some((far, b)), other) if other.is_none_or(|(near, _)| far < near) => {
                ("pool-overrun", format!("the guard page {far} bytes past the end of {}", b.describe()))
            }
            (_, Some((far, b))) => {
                ("pool-underrun", format!("the guard page {far} bytes before {}", b.describe()))
            }
            _ => ("bad-address", "pool address space that holds no block".into()),
        })
    }
}

/// The first byte of a block's border that lost its pattern.
fn overwritten(from: usize, to: usize) -> Option<usize> {
    static PATTERN: [u8; PAGE] = [SLACK; PAGE];
    // SAFETY: the range lies in the memory of a live block, outside what the driver may use, and is readable.
    let border = unsafe { std::slice::from_raw_parts(ptr::with_exposed_provenance::<u8>(from), to - from) };
    let intact = border.chunks(PAGE).all(|chunk| *chunk == PATTERN[..chunk.len()]);
    if intact { None } else { border.iter().position(|b| *b != SLACK).map(|at| from + at) }
}

/// The range of all bytes of the block's memory, slack included.
fn slack(block: &Block) -> (usize, usize) {
    if block.pages == 0 {
        (block.data, block.data + block.size.max(1).next_multiple_of(16) + 32)
    } else {
        (block.data, block.data + block.pages * PAGE)
    }
}

impl Lab {
    /// Allocates pool memory, filled with a pattern. The running import's caller owns it.
    pub fn allocate(&self, size: usize, kind: Kind, tag: u32) -> *mut u8 {
        let frames = self.try_thread().map(|t| self.frame_addresses(&t)).unwrap_or_default();
        self.pool.allocate(size, kind, tag, self.caller(), frames)
    }

    /// Allocates zeroed memory that belongs to the lab itself: bodies of objects, callback data and the like.
    /// It is guarded like a driver's, and reported to nobody at unload.
    pub fn allocate_own(&self, size: usize, tag: &[u8; 4]) -> *mut u8 {
        let address = self.pool.allocate(size, Kind::Object, u32::from_le_bytes(*tag), None, Vec::new());
        // SAFETY: the block was just allocated with this size.
        unsafe { ptr::write_bytes(address, 0, size) };
        address
    }

    /// Frees memory of [`allocate_own`](Self::allocate_own); a later touch faults.
    pub fn free_own(&self, address: *mut u8) {
        match self.pool.block(address) {
            Some(block) => {
                self.check_block(&block);
                // A driver's context lies in the lab's memory, and so may its locks.
                self.check_block_unused(&block);
                self.locks.forget(&(block.address..block.address + block.size));
                self.pool.release(&block);
            }
            None => panic!("the lab frees memory that it did not allocate"),
        }
    }

    /// Frees a driver's block. `tag` is checked if given and not zero.
    ///
    /// Stops the run for: a second free, an address that is no block's beginning, another tag, an overwritten
    /// border, a block that a lock, wait or work item still uses.
    pub fn free(&self, address: *mut u8, tag: Option<u32>) {
        const SOURCE: &str = "wdm/ExFreePoolWithTag; Driver Verifier special pool";
        let Some(block) = self.pool.block(address) else {
            return match self.pool.classify(address.addr()) {
                Some(("use-after-free", what)) => self.report("double-free", SOURCE, format!("frees {what}")),
                Some((_, what)) => {
                    self.report("bad-free", SOURCE, format!("frees {what}, which no allocation returned"))
                }
                None => self.report("bad-free", SOURCE, "frees an address that is no pool memory"),
            };
        };
        if block.kind == Kind::Object {
            self.report(
                "bad-free",
                SOURCE,
                format!("frees {}, which only its owner may free", block.describe()),
            );
        }
        if let Some(tag) = tag
            && tag != 0
            && tag != block.tag
        {
            self.report(
                "free-wrong-tag",
                SOURCE,
                format!("frees {} with tag '{}'", block.describe(), tag_text(tag)),
            );
        }
        if block.kind == Kind::Paged && self.thread().irql.get() >= crate::irql::DISPATCH_LEVEL {
            self.report("paged-at-dispatch", SOURCE, format!("frees {} at DISPATCH_LEVEL", block.describe()));
        }
        self.check_block(&block);
        self.check_block_unused(&block);
        self.locks.forget(&(block.address..block.address + block.size));
        self.pool.release(&block);
    }

    /// Checks the pattern around a block.
    fn check_block(&self, block: &Block) {
        let (start, end) = slack(block);
        let bad = overwritten(start, block.address).or_else(|| overwritten(block.address + block.size, end));
        if let Some(at) = bad {
            let (rule, where_) = if at < block.address {
                ("pool-underrun", format!("{} bytes before", block.address - at))
            } else {
                ("pool-overrun", format!("{} bytes past the end of", at - block.address - block.size + 1))
            };
            self.report(
                rule,
                "Driver Verifier special pool",
                format!("a byte {where_} {} was overwritten", block.describe()),
            );
        }
    }

    /// A block must not be freed while something in it is in use.
    fn check_block_unused(&self, block: &Block) {
        let range = block.address..block.address + block.size.max(1);
        if let Some(what) = self.use_inside(&range) {
            self.report(
                "free-in-use",
                "Driver Verifier: freeing memory with an active object in it",
                format!("frees {} while {what}", block.describe()),
            );
        }
    }

    /// Describes an address for a fault report.
    pub(crate) fn classify_address(&self, address: usize, rsp: usize) -> (&'static str, String) {
        if address < 0x10000 {
            return ("null-pointer", format!("address {address:#x}, near the null pointer"));
        }
        if (SHARED_USER_DATA..SHARED_USER_DATA + PAGE).contains(&address) {
            let text = "the shared user data page, which the lab does not serve; call the routine instead of inlining it";
            return ("bad-address", text.into());
        }
        if let Some(found) = self.pool.classify(address) {
            return found;
        }
        if let Some(found) = self.images.classify(address) {
            return found;
        }
        if let Some(text) = self.user_memory.describe(address) {
            return (
                "user-pointer",
                format!("{text}; a filter must map or copy user buffers, not touch them"),
            );
        }
        if address.abs_diff(rsp) < 64 * PAGE {
            return ("stack-overflow", "the guard page of the thread's stack".into());
        }
        ("bad-address", "an address that the lab gave to nobody".into())
    }
}
