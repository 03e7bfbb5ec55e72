//! What is known of a program's handles while it runs, from what it was told on the bare machine.

use crate::answer::{Answer, Value};
use crate::program::{Call, PROCESSES, SLOTS, Step};

/// FILE_WRITE_DATA | FILE_APPEND_DATA.
pub const WRITES: u32 = 0x6;
/// What makes an open a writer for TxF (txf-ktm §3).
pub const TXF_WRITER: u32 = 0x10D_0116;

/// An open file object, as the program knows it: handles that were duplicated share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Whose open it was.
    pub process: u64,
    /// Which file, by number.
    pub file: usize,
    /// What its handle may do.
    pub granted: u32,
    /// Whether it takes part in a save.
    pub takes_part: bool,
    /// The save of its process and file that lived when it was opened, if one did.
    pub save: Option<usize>,
}

/// A save that lives, as far as the program's handles tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Live {
    number: usize,
    process: u64,
    file: usize,
    /// Names were changed in it.
    renamed: bool,
    /// It is to delete its file.
    deletes: bool,
}

/// The handles of a program.
#[derive(Clone, Debug, Default)]
pub struct World {
    slots: [Option<(u64, Open)>; SLOTS as usize],
    live: Vec<Live>,
    saves: usize,
    /// Files whose names saves have taken away, by the number of the save.
    displaced: Vec<(usize, usize)>,
    /// Files that saves have deleted while somebody else had them open.
    deleted: Vec<usize>,
    /// How often a process has ended: the next one in its place is another.
    ended: [u64; PROCESSES as usize],
}

impl World {
    /// A step was told this on both machines. `target`: the file that had the name which the step has given to another one.
    pub fn told(&mut self, step: &Step, answer: &Answer, target: Option<usize>) {
        let Answer::Done(value) = answer else { return };
        match (step.call, value) {
            (Call::Open { slot, options, .. }, Value::Opened(information, granted, file)) => {
                self.opened(self.identity(step.process), slot, options, *information, *granted, *file);
            }
            (Call::Open { slot, .. }, Value::OpenedDirectory(_, granted, file)) => {
                let process = self.identity(step.process);
                let open = Open { process, file: *file, granted: *granted, takes_part: false, save: None };
                self.slots[(slot % SLOTS) as usize] = Some((process, open));
            }
            (Call::Close { slot }, _) => self.slots[(slot % SLOTS) as usize] = None,
            (Call::Duplicate { slot, to, process }, _) => {
                let open = self.slots[(slot % SLOTS) as usize].map(|(_, open)| open);
                self.slots[(to % SLOTS) as usize] = open.map(|open| (self.identity(process), open));
            }
            (Call::Rename { slot, .. } | Call::Link { slot, .. } | Call::Dispose { slot, .. }, _) => {
                let open = self.open(slot);
                let save = open.and_then(|open| open.save);
                if let (Some(open), Some(save), Some(target)) = (open, save, target)
                    && open.takes_part
                    && open.file != target
                {
                    self.displaced.push((save, target));
                }
                let changed = |live: &&mut Live| Some(live.number) == save;
                for live in self.live.iter_mut().filter(changed) {
                    live.renamed = true;
                    if let Call::Dispose { delete, .. } = step.call {
                        live.deletes = delete != 0;
                    }
                }
            }
            (Call::Exit { .. } | Call::Kill { .. }, _) => {
                let process = self.identity(step.process);
                self.ended[(step.process % PROCESSES) as usize] += 1;
                let gone = |slot: &&mut Option<(u64, Open)>| slot.is_some_and(|(own, _)| own == process);
                self.slots.iter_mut().filter(gone).for_each(|slot| *slot = None);
            }
            _ => {}
        }
        let slots = self.slots;
        let lives = |live: &Live| {
            slots.iter().flatten().any(|(_, open)| open.takes_part && open.save == Some(live.number))
        };
        for live in self.live.iter().filter(|live| live.deletes && !lives(live)) {
            if slots.iter().flatten().any(|(_, open)| open.file == live.file) {
                self.deleted.push(live.file);
            }
        }
        self.live.retain(lives);
        let live = &self.live;
        self.displaced.retain(|(save, _)| live.iter().any(|live| live.number == *save));
    }

    /// Intact redirects what may modify data or replaced what was there, unless it is one of what is never touched.
    fn opened(&mut self, process: u64, slot: u64, options: u64, information: u32, granted: u32, file: usize) {
        const NEVER: u64 = 0x1 | 0x1000 | 0x1_0000 | 0x10_0000;
        self.let_in(process, options & NEVER == 0, information, granted, file);
        let known = self.live.iter().find(|live| (live.process, live.file) == (process, file)).copied();
        let replaced = matches!(information, 0 | 3);
        let touched = options & NEVER == 0;
        // Who writes outside of saves already keeps the file out of one (txf-ktm §4.2).
        let touched = touched && !self.is_written_outside(known.map(|live| live.number), file);
        let begins = touched && (granted & WRITES != 0 || replaced);
        let joins = touched && known.is_some() && granted & TXF_WRITER != 0;
        let live = known.or_else(|| {
            begins.then(|| {
                let live = Live { number: self.saves, process, file, renamed: false, deletes: false };
                self.saves += 1;
                self.live.push(live);
                live
            })
        });
        let open =
            Open { process, file, granted, takes_part: begins || joins, save: live.map(|live| live.number) };
        self.slots[(slot % SLOTS) as usize] = Some((process, open));
    }

    /// Who has got in past a save, without taking part in it: the save is over, and its handles go on without one.
    fn let_in(&mut self, process: u64, touched: bool, information: u32, granted: u32, file: usize) {
        const EXECUTE: u32 = 0x20;
        let takes = granted & (TXF_WRITER | EXECUTE) != 0 || matches!(information, 0 | 3);
        let joins = |live: &Live| {
            live.process == process && touched && granted & TXF_WRITER != 0 && granted & EXECUTE == 0
        };
        let over = |live: &Live| live.file == file && takes && !joins(live);
        let ended: Vec<usize> = self.live.iter().filter(|live| over(live)).map(|live| live.number).collect();
        for (_, open) in self.slots.iter_mut().flatten() {
            if open.save.is_some_and(|save| ended.contains(&save)) {
                (open.takes_part, open.save) = (false, None);
            }
        }
        self.live.retain(|live| !over(live));
    }

    /// The process that is now in the place of this number.
    pub fn identity(&self, process: u64) -> u64 {
        let place = process % PROCESSES;
        place + PROCESSES * self.ended[place as usize]
    }

    /// What a slot holds.
    pub fn open(&self, slot: u64) -> Option<Open> {
        self.slots[(slot % SLOTS) as usize].map(|(_, open)| open)
    }

    /// The save of a process that a file is in.
    pub fn save_of(&self, process: u64, file: usize) -> Option<usize> {
        self.live.iter().find(|live| (live.process, live.file) == (process, file)).map(|live| live.number)
    }

    /// Whether a process other than this one saves a file.
    pub fn others_save(&self, process: u64, file: usize) -> bool {
        self.live.iter().any(|live| live.process != process && live.file == file)
    }

    /// Whether a file is in a save of this process, and nobody else holds a handle that takes part in it.
    pub fn is_saved_only_by(&self, process: u64, file: usize) -> bool {
        let handles = self.slots.iter().flatten().filter(|(_, open)| open.takes_part && open.file == file);
        self.save_of(process, file).is_some()
            && !self.others_save(process, file)
            && handles.into_iter().all(|(holder, _)| *holder == process)
    }

    /// Whether anybody saves a file.
    pub fn is_saved(&self, file: usize) -> bool {
        self.live.iter().any(|live| live.file == file)
    }

    /// The file whose save a flush of this handle commits: one in which names were changed goes on as it is.
    pub fn checkpointed(&self, slot: u64) -> Option<usize> {
        let open = self.open(slot).filter(|open| open.takes_part)?;
        let live = self.live.iter().find(|live| Some(live.number) == open.save)?;
        (!live.renamed).then_some(live.file)
    }

    /// Whether names were changed in a save of this file.
    pub fn is_renamed(&self, file: usize) -> bool {
        self.live.iter().any(|live| live.file == file && live.renamed)
    }

    /// Whether a process has changed names in a save.
    pub fn has_renamed(&self, process: u64) -> bool {
        self.live.iter().any(|live| live.process == process && live.renamed)
    }

    /// Whether a process other than this one has changed names in a save.
    pub fn others_have_renamed(&self, process: u64) -> bool {
        self.live.iter().any(|live| live.process != process && live.renamed)
    }

    /// Whether anybody has changed names in a save.
    pub fn any_renamed(&self) -> bool {
        self.live.iter().any(|live| live.renamed)
    }

    /// Whether a save has taken a file's name away.
    pub fn is_displaced(&self, file: usize) -> bool {
        self.displaced.iter().any(|(_, displaced)| *displaced == file)
    }

    /// Whether a save has deleted a file that somebody else had open; any file, for `None`.
    pub fn is_deleted(&self, file: Option<usize>) -> bool {
        file.map_or(!self.deleted.is_empty(), |file| self.deleted.contains(&file))
    }

    /// Files that saves have deleted while somebody else had them open.
    pub fn deleted(&self) -> &[usize] {
        &self.deleted
    }

    /// Files that somebody may delete, or streams of them, when a handle is closed.
    pub fn deletable(&self) -> Vec<usize> {
        const DELETE: u32 = 0x1_0000;
        let handles = self.slots.iter().flatten().map(|(_, open)| open);
        handles.filter(|open| open.granted & DELETE != 0).map(|open| open.file).collect()
    }

    /// Whether a handle that takes no part in a save is a writer of a file or directory in TxF's sense.
    pub fn is_written_outside(&self, save: Option<usize>, file: usize) -> bool {
        let inside = |open: &Open| open.takes_part && open.save == save;
        let writes = |open: &Open| open.file == file && open.granted & TXF_WRITER != 0;
        self.slots.iter().flatten().any(|(_, open)| writes(open) && !inside(open))
    }

    /// Whether anybody saves anything.
    pub fn any_save(&self) -> bool {
        !self.live.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(world: &mut World, process: u64, slot: u64, granted: u32) {
        let line = format!(
            "p{process} open slot={slot} name=0 how=0 root=0 access=0 share=7 disposition=1 options=0 attributes=0 \
             allocation=0 ea=0 security=0"
        );
        let step: Step = line.parse().unwrap();
        world.told(&step, &Answer::Done(Value::Opened(1, granted, 5)), None);
    }

    #[test]
    fn a_save_lives_from_the_first_writing_handle_to_the_last() {
        let mut world = World::default();
        open(&mut world, 0, 0, 0x1);
        assert!(!world.any_save());
        open(&mut world, 0, 1, WRITES);
        open(&mut world, 0, 2, 0x1_0000);
        let save = world.save_of(0, 5);
        assert!(save.is_some() && world.open(2).unwrap().takes_part);
        assert_eq!((world.open(0).unwrap().save, world.open(2).unwrap().save), (None, save));
        assert!(world.others_save(1, 5) && !world.others_save(0, 5));
        world.told(&"p0 close slot=1".parse().unwrap(), &Answer::Done(Value::None), None);
        assert_eq!(world.save_of(0, 5), save, "the other one keeps it");
        world.told(&"p0 exit status=0".parse().unwrap(), &Answer::Done(Value::None), None);
        assert!(!world.any_save());
    }

    #[test]
    fn who_gets_in_past_a_save_ends_it() {
        let mut world = World::default();
        open(&mut world, 0, 0, WRITES);
        open(&mut world, 1, 1, 0x1);
        assert!(world.is_saved(5), "who reads ends nothing");
        open(&mut world, 0, 2, WRITES);
        assert!(world.is_saved(5), "who takes part ends nothing");
        open(&mut world, 1, 3, WRITES);
        assert!(!world.others_save(1, 5) && !world.open(0).unwrap().takes_part);
    }
}
