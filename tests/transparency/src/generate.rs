//! The generator: a seed makes a program.
//!
//! It keeps track of what the program would hold if everything succeeded, so that most requests find a handle; whether
//! they succeed is for the file system to say.

use lab_executive::random::Random;

use crate::program::{Call, END, NAMES, POSITION, PROCESSES, Program, SLOTS, Step, VIEWS};

/// What programs do.
#[derive(Clone, Copy, Debug)]
pub struct Focus {
    /// Steps of a program, at most.
    pub steps: usize,
    /// Processes other than the first one.
    pub others: bool,
    /// Processes that end with another status than zero, or from outside.
    pub deaths: bool,
    /// Renames, links and deletes.
    pub names: bool,
    /// Mapped files.
    pub maps: bool,
    /// Folders that are watched.
    pub watches: bool,
    /// Handles whose reads and writes may be under way while others are made.
    pub late: bool,
    /// Sparse files, and more of what is asked of them.
    pub sparse: bool,
}

impl Default for Focus {
    fn default() -> Self {
        Focus {
            steps: 40,
            others: true,
            deaths: true,
            names: true,
            maps: true,
            watches: true,
            late: true,
            sparse: true,
        }
    }
}

const GENERIC_READ: u64 = 0x8000_0000;
const GENERIC_WRITE: u64 = 0x4000_0000;
const SYNCHRONIZE: u64 = 0x10_0000;
const DELETE: u64 = 0x1_0000;
/// FILE_EXECUTE, GENERIC_EXECUTE, GENERIC_ALL, MAXIMUM_ALLOWED.
const EXECUTES: u64 = 0x20 | 0x2000_0000 | 0x1000_0000 | 0x200_0000;

/// Every kind of access that share modes, TxF or the information classes tell apart.
const ACCESSES: [u64; 20] = [
    GENERIC_READ | GENERIC_WRITE,
    GENERIC_READ | GENERIC_WRITE,
    GENERIC_READ | GENERIC_WRITE,
    GENERIC_READ | GENERIC_WRITE | DELETE,
    GENERIC_WRITE,
    GENERIC_READ,
    GENERIC_READ,
    GENERIC_READ | DELETE,
    SYNCHRONIZE | 0x4,         // append only
    SYNCHRONIZE | 0x4 | 0x80,  // append, read attributes
    SYNCHRONIZE | 0x2,         // write data only
    SYNCHRONIZE | 0x3 | 0x180, // read, write, attributes
    SYNCHRONIZE | DELETE,
    SYNCHRONIZE | 0x80,
    SYNCHRONIZE | 0x180,
    SYNCHRONIZE | 0x8 | 0x10,     // EAs
    0x1F_01FF,                    // FILE_ALL_ACCESS
    0x200_0000 | SYNCHRONIZE,     // MAXIMUM_ALLOWED
    0x6_0000 | SYNCHRONIZE | 0x2, // READ_CONTROL, WRITE_DAC, write
    0x2000_0000 | GENERIC_READ,   // execute
];

/// Create options besides how the file object waits.
const OPTIONS: [u64; 12] = [
    0, 0, 0, 0, 0, 0x40,      // FILE_NON_DIRECTORY_FILE
    0x2,       // FILE_WRITE_THROUGH
    0x8,       // FILE_NO_INTERMEDIATE_BUFFERING
    0x4,       // FILE_SEQUENTIAL_ONLY
    0x4000,    // FILE_OPEN_FOR_BACKUP_INTENT
    0x20_0000, // FILE_OPEN_REPARSE_POINT
    0x800,     // FILE_RANDOM_ACCESS
];

/// Classes of NtQueryInformationFile, and one that there is not.
const QUERIES: [u64; 23] =
    [4, 5, 6, 7, 8, 9, 14, 14, 16, 17, 18, 21, 22, 28, 34, 35, 46, 48, 54, 59, 68, 71, 99];
const SETTINGS: [u64; 8] = [14, 14, 14, 19, 20, 20, 39, 16];
const CONTROLS: [u64; 10] = [
    0x9_40CF, // FSCTL_QUERY_ALLOCATED_RANGES
    0x9_003C, // FSCTL_GET_COMPRESSION
    0x9_0028, // FSCTL_IS_VOLUME_MOUNTED
    0x9_00A8, // FSCTL_GET_REPARSE_POINT
    0x9_009C, // FSCTL_GET_OBJECT_ID
    0x9_0240, // FSCTL_REQUEST_OPLOCK
    0x9_000C, // FSCTL_OPLOCK_BREAK_ACKNOWLEDGE
    0x9_0064, // FSCTL_GET_NTFS_VOLUME_DATA
    0x9_1234, // none
    0x9_0073, // FSCTL_GET_RETRIEVAL_POINTERS
];
/// Controls that modify.
const CHANGES: [u64; 3] = [
    0x9_00C4, // FSCTL_SET_SPARSE
    0x9_80C8, // FSCTL_SET_ZERO_DATA
    0x9_C040, // FSCTL_SET_COMPRESSION
];
/// The name of a file that is sparse.
const SPARSE: u64 = 16;
const SIZES: [u64; 9] = [0, 1, 7, 15, 100, 512, 4096, 5000, 20_000];

struct Generator<'a> {
    random: Random,
    focus: &'a Focus,
    /// Which slots hold a handle, and of which process, if everything succeeded.
    held: [Option<u64>; SLOTS as usize],
    /// Which views there are, and of which process, if everything succeeded.
    mapped: [Option<u64>; VIEWS as usize],
    /// Which slots hold a folder that can be watched, if everything succeeded.
    folders: Vec<u64>,
    /// Which slots hold a handle whose requests may be under way together.
    loose: Vec<u64>,
    /// Which slots hold a handle that may take no part in a save, because it deletes on close or executes. What is mapped to write
    /// through one keeps saves of the file from committing (README, Limits): nothing is.
    apart: Vec<u64>,
    /// Percentage of handles that are so.
    overlapped: u64,
    /// It is much about sparse files.
    sparse: bool,
    processes: u64,
    names: Vec<u64>,
}

/// The program of a seed.
pub fn program(seed: u64, focus: &Focus) -> Program {
    let random = Random::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let processes = if !focus.others { 1 } else { [1, 1, 1, 1, 1, 2, 2, 2, 3, PROCESSES][random.below(10)] };
    let mut names: Vec<u64> = (0..2 + random.below(3)).map(|_| random.below(8) as u64).collect();
    names.push(random.below(NAMES.len()) as u64);
    let sparse = focus.sparse && random.below(8) == 0;
    if sparse {
        names.push(SPARSE);
    }
    let (held, mapped) = ([None; SLOTS as usize], [None; VIEWS as usize]);
    let overlapped = if focus.late { [20, 20, 20, 80][random.below(4)] } else { 0 };
    let (folders, loose, apart) = Default::default();
    let mut generator = Generator {
        random,
        focus,
        held,
        mapped,
        folders,
        loose,
        apart,
        overlapped,
        sparse,
        processes,
        names,
    };
    let length = 3 + generator.below(focus.steps as u64 - 2);
    let steps = (0..length).map(|_| generator.step()).collect();
    Program { steps }
}

impl Generator<'_> {
    fn below(&self, bound: u64) -> u64 {
        self.random.below(bound as usize) as u64
    }

    fn pick(&self, from: &[u64]) -> u64 {
        from[self.random.below(from.len())]
    }

    fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn name(&self) -> u64 {
        if self.chance(6) { self.below(NAMES.len() as u64) } else { self.pick(&self.names) }
    }

    fn size(&self) -> u64 {
        if self.chance(70) { self.pick(&SIZES) } else { self.below(9000) }
    }

    fn held(&self) -> Vec<u64> {
        (0..SLOTS).filter(|&slot| self.held[slot as usize].is_some()).collect()
    }

    fn step(&mut self) -> Step {
        let process = self.below(self.processes);
        let held = self.held();
        let open = match held.len() {
            0 => 90,
            1 => 30,
            2 | 3 => 15,
            _ => 4,
        };
        let mapped: Vec<u64> = (0..VIEWS).filter(|&view| self.mapped[view as usize].is_some()).collect();
        self.folders.retain(|folder| held.contains(folder));
        let call = if !self.folders.is_empty() && self.chance(20) {
            self.on_folder()
        } else if !mapped.is_empty() && self.chance(30) {
            let view = self.pick(&mapped);
            self.on_view(view)
        } else if self.chance(open) {
            self.open(process)
        } else if held.is_empty() || self.chance(8) {
            self.without_handle(process)
        } else {
            self.on_handle(&held)
        };
        Step { process, call }
    }

    fn open(&mut self, process: u64) -> Call {
        let free = (0..SLOTS).find(|&slot| self.held[slot as usize].is_none());
        let slot = free.unwrap_or_else(|| self.below(SLOTS));
        if self.focus.watches && free.is_some() && self.chance(4) {
            return self.open_folder(process, slot);
        }
        self.folders.retain(|folder| *folder != slot);
        let name = self.name();
        let directory = matches!(name, 8 | 9);
        let access = self.pick(&ACCESSES);
        let mut options = self.pick(&OPTIONS);
        self.loose.retain(|loose| *loose != slot);
        if directory || !self.chance(self.overlapped) {
            options |= 0x20;
        } else {
            self.loose.push(slot);
        }
        if directory && self.chance(60) {
            options = 0x21;
        }
        if self.focus.names && access & (DELETE | 0x1000_0000) != 0 && self.chance(10) {
            options |= 0x1000;
        }
        self.apart.retain(|apart| *apart != slot);
        if options & 0x1000 != 0 || access & EXECUTES != 0 {
            self.apart.push(slot);
        }
        let access = if self.chance(90) { access | SYNCHRONIZE } else { access };
        let held = self.held();
        let how =
            if held.is_empty() { self.below(20) / 19 } else { self.pick(&[0, 0, 0, 0, 0, 0, 0, 1, 2, 3]) };
        self.held[slot as usize] = Some(process);
        Call::Open {
            slot,
            name,
            how,
            root: if held.is_empty() { 0 } else { self.pick(&held) },
            access: if directory && self.chance(70) { GENERIC_READ | SYNCHRONIZE } else { access },
            share: self.pick(&[7, 7, 7, 7, 7, 3, 3, 1, 0, 5, 6, 4, 2]),
            disposition: self.pick(&[1, 1, 1, 1, 1, 3, 3, 5, 5, 0, 2, 4]),
            options,
            attributes: self.pick(&[0, 0, 0, 0, 0x80, 0x20, 0x2, 0x1, 0x4, 0x100]),
            allocation: self.pick(&[0, 0, 0, 0, 0, 5000]),
            ea: u64::from(self.chance(8)),
            security: u64::from(self.chance(5)),
        }
    }

    /// A folder, to be watched.
    fn open_folder(&mut self, process: u64, slot: u64) -> Call {
        self.held[slot as usize] = Some(process);
        self.folders.push(slot);
        Call::Open {
            slot,
            name: self.pick(&[8, 8, 8, 9]),
            how: 0,
            root: 0,
            access: GENERIC_READ | SYNCHRONIZE,
            share: 7,
            disposition: 1,
            options: 0x1,
            attributes: 0,
            allocation: 0,
            ea: 0,
            security: 0,
        }
    }

    fn on_folder(&mut self) -> Call {
        let slot = self.pick(&self.folders);
        match self.below(20) {
            0..=8 => Call::Watch {
                slot,
                filter: self.pick(&[0xFFF, 0xFFF, 0x3, 0x1, 0x10, 0x18, 0x1C, 0xE00, 0x184, 0]),
                tree: self.below(2),
                length: self.pick(&[1024, 1024, 1024, 100, 40, 0]),
            },
            9..=17 => Call::Changes { slot },
            18 => Call::Cancel { slot },
            _ => {
                self.held[slot as usize] = None;
                Call::Close { slot }
            }
        }
    }

    fn without_handle(&mut self, process: u64) -> Call {
        match self.below(if self.focus.deaths { 6 } else { 4 }) {
            0 | 1 => Call::Attributes { name: self.name() },
            2 => Call::Stat { name: self.name() },
            3 => {
                self.gone(process);
                Call::Exit { status: 0 }
            }
            4 => {
                self.gone(process);
                Call::Exit { status: self.pick(&[1, 0x103, 0xC000_0005]) }
            }
            _ => {
                self.gone(process);
                Call::Kill { status: self.pick(&[0, 1, 0xC000_0005]) }
            }
        }
    }

    fn gone(&mut self, process: u64) {
        let all = self.held.iter_mut().chain(&mut self.mapped);
        all.filter(|held| **held == Some(process)).for_each(|held| *held = None);
    }

    fn map(&mut self, slot: u64) -> Call {
        let free = (0..VIEWS).find(|&view| self.mapped[view as usize].is_none());
        let view = free.unwrap_or_else(|| self.below(VIEWS));
        self.mapped[view as usize] = self.held[slot as usize];
        let size = if self.chance(60) { 0 } else { self.size() };
        Call::Map { slot, view, writable: u64::from(self.chance(70) && !self.apart.contains(&slot)), size }
    }

    fn on_view(&mut self, view: u64) -> Call {
        let at = self.pick(&[0, 0, 0, 5, 20, 4096, 8000]);
        let length = if self.chance(80) { self.pick(&[1, 7, 20, 100]) } else { self.size() };
        match self.below(100) {
            0..=29 => Call::ReadView { view, at, length },
            30..=64 => Call::WriteView { view, at, length, fill: self.below(256) },
            65..=74 => Call::FlushView { view },
            75..=84 => Call::PageWriter {},
            _ => {
                self.mapped[view as usize] = None;
                Call::Unmap { view }
            }
        }
    }

    /// Begins reads and writes, and meets those that are under way.
    fn on_loose(&mut self, slot: u64) -> Call {
        let at = self.pick(&[0, 0, 5, 512, 4096]);
        match self.below(20) {
            0..=10 => Call::Write { slot, at, length: self.size(), fill: self.below(256) },
            11..=14 => Call::Read { slot, at, length: self.size() },
            15 | 16 => Call::Cancel { slot },
            17 => Call::Flush { slot },
            _ => {
                self.held[slot as usize] = None;
                Call::Close { slot }
            }
        }
    }

    fn on_handle(&mut self, held: &[u64]) -> Call {
        let slot = self.pick(held);
        if self.loose.contains(&slot) && self.chance(35) {
            return self.on_loose(slot);
        }
        if self.focus.maps && self.chance(6) {
            return self.map(slot);
        }
        if self.sparse && self.chance(20) {
            return self.on_sparse(slot);
        }
        match self.below(100) {
            0..=17 => Call::Read { slot, at: self.place(false), length: self.size() },
            18..=39 => Call::Write { slot, at: self.place(true), length: self.size(), fill: self.below(256) },
            40..=45 => {
                self.held[slot as usize] = None;
                Call::Close { slot }
            }
            46..=57 => Call::Query {
                slot,
                class: self.pick(&QUERIES),
                length: self.pick(&[1024, 1024, 1024, 1024, 24, 8, 3, 0]),
            },
            58..=64 => Call::Set { slot, class: self.pick(&SETTINGS), value: self.size() },
            65..=67 => Call::Basic {
                slot,
                creation: self.below(3),
                write: self.below(3),
                attributes: self.pick(&[0, 0x20, 0x22, 0x80, 0x1, 0x4]),
            },
            68 if self.chance(25) => Call::Cancel { slot },
            68..=71 => Call::Lock {
                slot,
                start: self.pick(&[0, 5, 4096]),
                length: self.pick(&[1, 10, 5000, 0]),
                exclusive: self.below(2),
                wait: u64::from(self.chance(25)),
            },
            72..=74 => {
                Call::Unlock { slot, start: self.pick(&[0, 5, 4096]), length: self.pick(&[1, 10, 5000, 0]) }
            }
            75..=76 => Call::Flush { slot },
            77..=79 => self.control(slot),
            80..=81 => Call::SetEa { slot, name: self.below(3), length: self.pick(&[0, 4, 60]) },
            82 => Call::QueryEa { slot },
            83 => Call::SetSecurity { slot, which: self.pick(&[4, 4, 1]) },
            84 => Call::QuerySecurity { slot },
            85 => Call::QueryVolume { slot, class: self.pick(&[1, 3, 4, 5, 7, 99]), length: 64 },
            86..=88 => Call::List { slot, pattern: self.below(4) },
            89..=91 => {
                let (to, process) = (self.below(SLOTS), self.below(self.processes));
                self.held[to as usize] = Some(process);
                let apart = self.apart.contains(&slot);
                self.apart.retain(|apart| *apart != to);
                self.apart.extend(apart.then_some(to));
                Call::Duplicate { slot, to, process }
            }
            _ if !self.focus.names => Call::Query { slot, class: 18, length: 1024 },
            92..=94 => Call::Rename {
                slot,
                name: self.name(),
                replace: self.below(2),
                ex: self.pick(&[0, 0, 1, 2, 3, 0x40]),
            },
            95..=96 => {
                Call::Link { slot, name: self.name(), replace: self.below(2), ex: self.pick(&[0, 0, 1, 3]) }
            }
            _ => Call::Dispose {
                slot,
                delete: u64::from(self.chance(75)),
                ex: self.pick(&[0, 0, 1, 3, 0x11, 8]),
            },
        }
    }

    fn place(&self, writes: bool) -> u64 {
        match self.below(10) {
            0..=3 => POSITION,
            4 if writes => END,
            5..=7 => 0,
            _ => self.size(),
        }
    }

    /// Makes a file sparse, or none again (its first byte says so), makes holes, and asks for them.
    fn on_sparse(&self, slot: u64) -> Call {
        let (code, output) = match self.below(6) {
            0 => (CHANGES[0], 0),
            1 | 2 => (CHANGES[1], 0),
            _ => (CONTROLS[0], 256),
        };
        let first = if code == CHANGES[0] { 1 } else { self.pick(&[0, 0, 7, 4096, 8192]) };
        Call::Control { slot, code, first, second: first + self.pick(&[10, 5000, 20_000, 40_000]), output }
    }

    fn control(&self, slot: u64) -> Call {
        let code = if self.chance(25) { self.pick(&CHANGES) } else { self.pick(&CONTROLS) };
        let first = self.size();
        Call::Control {
            slot,
            code,
            first,
            second: first + self.size(),
            output: self.pick(&[256, 256, 16, 0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_program_and_others_make_others() {
        let focus = Focus::default();
        assert_eq!(program(7, &focus), program(7, &focus));
        assert_ne!(program(7, &focus), program(8, &focus));
    }

    #[test]
    fn every_call_is_generated() {
        let mut words = std::collections::BTreeSet::new();
        for seed in 0..2000 {
            words.extend(program(seed, &Focus::default()).steps.iter().map(|step| step.call.word()));
        }
        assert_eq!(words.len(), 34, "{words:?}");
    }
}
