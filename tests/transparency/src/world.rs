//! What is known of a program's handles while it runs, from what it was told on the bare machine.

use lab::Status;

use crate::answer::{Answer, Value};
use crate::program::{Call, PROCESSES, SLOTS, Step, VIEWS};

/// The number of a save that may have begun again.
const AGAIN: usize = usize::MAX;
/// FILE_WRITE_DATA | FILE_APPEND_DATA.
pub const WRITES: u32 = 0x6;
/// What makes an open a writer for TxF (txf-ktm §3).
pub const TXF_WRITER: u32 = 0x10D_0116;

/// Whether it is a control that the driver does without a transaction: FSCTL_SET_SPARSE, FSCTL_SET_ZERO_DATA.
pub fn is_done_without(code: u64) -> bool {
    matches!(code, 0x9_00C4 | 0x9_80C8)
}

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
    /// Whether its requests may go to a file object of Intact's: in a save, or without a transaction.
    pub redirected: bool,
    /// The save of its process and file that lived when it was opened, if one did.
    pub save: Option<usize>,
}

impl Open {
    /// Whether its save is over, or had none: what is modified through it may begin one.
    pub fn rests(&self) -> bool {
        self.redirected && !self.takes_part
    }
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

/// A view, and whose it is.
#[derive(Clone, Copy, Debug)]
struct View {
    process: u64,
    /// What it was mapped through.
    open: Open,
}

/// The handles and views of a program.
#[derive(Clone, Debug, Default)]
pub struct World {
    slots: [Option<(u64, Open)>; SLOTS as usize],
    views: [Option<View>; VIEWS as usize],
    /// Saves of which handles were closed while the file was mapped, and who closed them.
    postponed: Vec<(usize, u64)>,
    /// Files that were closed while they were mapped through a handle whose save was over: mapping them has begun another one, if
    /// nothing was published before.
    again: Vec<usize>,
    /// Files that were closed before their views had gone.
    late: Vec<usize>,
    /// Files that were mapped.
    mapped: Vec<usize>,
    /// Files of which, or of a stream of which, a save was told to delete it.
    disposed: Vec<usize>,
    /// Files of which names were changed through a handle whose save is over, and may have begun again with that.
    changed: Vec<usize>,
    /// Files that were replaced while a closed handle of theirs waited for a view.
    replaced: Vec<usize>,
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
        if let Call::Control { slot, code, .. } = step.call
            && is_done_without(code)
            && answer.counts()
            && !answer.is(Status::ACCESS_DENIED)
        {
            self.done_without(slot);
        }
        let Answer::Done(value) = answer else { return };
        match (step.call, value) {
            (Call::Open { slot, options, .. }, Value::Opened(information, granted, file)) => {
                self.opened(self.identity(step.process), slot, options, *information, *granted, *file);
            }
            (Call::Open { slot, .. }, Value::OpenedDirectory(_, granted, file)) => {
                let process = self.identity(step.process);
                let (takes_part, redirected, save) = (false, false, None);
                let open = Open { process, file: *file, granted: *granted, takes_part, redirected, save };
                self.slots[(slot % SLOTS) as usize] = Some((process, open));
            }
            (Call::Close { slot }, _) => {
                let closed = self.slots[(slot % SLOTS) as usize].take();
                if let Some((process, open)) = closed {
                    self.close(process, open);
                }
            }
            (Call::Map { slot, view, .. }, _) => {
                let held = self.slots[(slot % SLOTS) as usize];
                self.views[(view % VIEWS) as usize] = held.map(|(process, open)| View { process, open });
                self.mapped.extend(held.map(|(_, open)| open.file));
            }
            (Call::Unmap { view }, _) => self.views[(view % VIEWS) as usize] = None,
            (Call::Duplicate { slot, to, process }, _) => {
                let open = self.slots[(slot % SLOTS) as usize].map(|(_, open)| open);
                self.slots[(to % SLOTS) as usize] = open.map(|open| (self.identity(process), open));
            }
            (Call::Rename { slot, .. } | Call::Link { slot, .. } | Call::Dispose { slot, .. }, _) => {
                let open = self.open(slot);
                let save = open.and_then(|open| open.save);
                let rests = open.filter(Open::rests).map(|open| open.file);
                self.changed.extend(rests);
                if let Call::Dispose { delete: 1.., .. } = step.call {
                    self.disposed.extend(rests);
                }
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
                        self.disposed.push(live.file);
                    }
                }
            }
            (Call::Exit { .. } | Call::Kill { .. }, _) => {
                let process = self.identity(step.process);
                self.ended[(step.process % PROCESSES) as usize] += 1;
                for slot in 0..SLOTS as usize {
                    if let Some((_, open)) = self.slots[slot].take_if(|(own, _)| *own == process) {
                        self.close(process, open);
                    }
                }
                let gone = |view: &&mut Option<View>| view.is_some_and(|view| view.process == process);
                self.views.iter_mut().filter(gone).for_each(|view| *view = None);
            }
            _ => {}
        }
        let (slots, views) = (self.slots, self.views);
        let lives = |live: &Live| {
            let mut all = slots.iter().flatten().map(|(_, open)| open);
            let mut mapped = views.iter().flatten().map(|view| &view.open);
            let keeps = |open: &Open| open.takes_part && open.save == Some(live.number);
            all.any(keeps) || mapped.any(keeps)
        };
        for live in self.live.iter().filter(|live| live.deletes && !lives(live)) {
            if slots.iter().flatten().any(|(_, open)| open.file == live.file) {
                self.deleted.push(live.file);
            }
        }
        self.live.retain(lives);
        let live = &self.live;
        self.displaced.retain(|(save, _)| live.iter().any(|live| live.number == *save));
        self.postponed.retain(|(save, _)| live.iter().any(|live| live.number == *save));
        self.again
            .retain(|file| views.iter().flatten().any(|view| view.open.rests() && view.open.file == *file));
    }

    /// A handle's save was asked for what a transaction does not do: it is over, and its handles go on without one. It stays where
    /// it keeps everybody out.
    fn done_without(&mut self, slot: u64) {
        let Some(open) = self.open(slot).filter(|open| open.takes_part && !self.keeps_out(open.file)) else {
            return;
        };
        for (_, other) in self.slots.iter_mut().flatten() {
            if other.save == open.save {
                (other.takes_part, other.save) = (false, None);
            }
        }
        self.live.retain(|live| Some(live.number) != open.save);
    }

    /// A handle is closed: one whose save was over when it was told to delete its file may have begun another one with that.
    fn close(&mut self, process: u64, open: Open) {
        let held = |file| self.slots.iter().flatten().any(|(_, other)| other.file == file);
        if open.rests() && self.changed.contains(&open.file) && self.is_disposed(open.file) && held(open.file)
        {
            self.deleted.push(open.file);
        }
        if let (true, Some(save)) = (open.takes_part, open.save)
            && self.is_mapped(save)
        {
            self.postponed.push((save, process));
            self.late.push(open.file);
        }
        if open.rests() && self.is_mapped_at_rest(open.file) {
            self.again.push(open.file);
            self.late.push(open.file);
        }
    }

    /// Intact redirects what may modify data or replaced what was there, unless it is one of what is never touched.
    fn opened(&mut self, process: u64, slot: u64, options: u64, information: u32, granted: u32, file: usize) {
        const NEVER: u64 = 0x1 | 0x1000 | 0x1_0000 | 0x10_0000;
        self.let_in(process, options & NEVER == 0, information, granted, file);
        let known = self.live.iter().find(|live| (live.process, live.file) == (process, file)).copied();
        let replaced = matches!(information, 0 | 3);
        if replaced && self.is_postponed(file) {
            self.replaced.push(file);
        }
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
        let (takes_part, save) = (begins || joins, live.map(|live| live.number));
        // Where a save may begin again, it may be one that only has no transaction now, which this one joins.
        let rejoins = granted & TXF_WRITER != 0 && self.may_save_again(file, |own| own == process);
        let redirected =
            options & NEVER == 0 && (takes_part || granted & WRITES != 0 || information != 1 || rejoins);
        let open = Open { process, file, granted, takes_part, redirected, save };
        self.slots[(slot % SLOTS) as usize] = Some((process, open));
    }

    /// Who has got in past a save, without taking part in it: the save is over, and its handles go on without one.
    fn let_in(&mut self, process: u64, touched: bool, information: u32, granted: u32, file: usize) {
        const EXECUTE: u32 = 0x20;
        let takes = granted & (TXF_WRITER | EXECUTE) != 0 || matches!(information, 0 | 3);
        let modifies = granted & TXF_WRITER != 0 || matches!(information, 0 | 3);
        let joins = |live: &Live| live.process == process && touched && modifies && granted & EXECUTE == 0;
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

    /// What a view was mapped through.
    pub fn view(&self, view: u64) -> Option<Open> {
        self.views[(view % VIEWS) as usize].map(|view| view.open)
    }

    /// Whether a file of a save is mapped through one of its handles.
    fn is_mapped(&self, save: usize) -> bool {
        let views = self.views.iter().flatten();
        views.into_iter().any(|view| view.open.takes_part && view.open.save == Some(save))
    }

    /// Whether a view outside of a save, or of another one, is of this file.
    pub fn is_mapped_outside(&self, save: Option<usize>, file: usize) -> bool {
        let inside = |open: &Open| open.takes_part && open.save == save;
        self.views.iter().flatten().any(|view| view.open.file == file && !inside(&view.open))
    }

    /// Whether a handle of a save of this file was closed while the file was mapped, and somebody has it mapped still.
    pub fn is_postponed(&self, file: usize) -> bool {
        let waits = |live: &Live| self.postponed.iter().any(|(save, _)| *save == live.number);
        self.again.contains(&file) || self.live.iter().any(|live| live.file == file && waits(live))
    }

    /// Whether a file that is to be deleted was closed while it was mapped, and somebody has it mapped still.
    pub fn keeps_a_deleted_file(&self) -> bool {
        self.disposed.iter().any(|&file| self.is_postponed(file))
    }

    /// Whether a file is mapped through a handle whose save is over.
    fn is_mapped_at_rest(&self, file: usize) -> bool {
        self.views.iter().flatten().any(|view| view.open.rests() && view.open.file == file)
    }

    /// Whether a file was closed before its views had gone.
    pub fn is_late(&self, file: usize) -> bool {
        self.late.contains(&file)
    }

    /// Files that were replaced while a closed handle of them waited for a view: a stream of them that is open stays.
    pub fn keeping_streams(&self) -> &[usize] {
        &self.replaced
    }

    /// Whether a save was told to delete a file, or a stream of it: that comes, and changes the file, when the save ends.
    pub fn is_disposed(&self, file: usize) -> bool {
        self.disposed.contains(&file)
    }

    /// Files that were mapped: they may be closed before the views go.
    pub fn mapped(&self) -> &[usize] {
        &self.mapped
    }

    /// Whether a save of this file keeps everybody out: names were changed in it, or it is mapped.
    pub fn keeps_out(&self, file: usize) -> bool {
        let again = (self.is_mapped_at_rest(file) || self.changed.contains(&file))
            && self.may_save_again(file, |_| true);
        again
            || self.live.iter().any(|live| live.file == file && (live.renamed || self.is_mapped(live.number)))
    }

    /// What a slot holds.
    pub fn open(&self, slot: u64) -> Option<Open> {
        self.slots[(slot % SLOTS) as usize].map(|(_, open)| open)
    }

    /// The save of a process that a file is in.
    pub fn save_of(&self, process: u64, file: usize) -> Option<usize> {
        let again = || self.may_save_again(file, |own| own == process).then_some(AGAIN);
        self.number_of(process, file).or_else(again)
    }

    fn number_of(&self, process: u64, file: usize) -> Option<usize> {
        self.live.iter().find(|live| (live.process, live.file) == (process, file)).map(|live| live.number)
    }

    /// Whether a file that others were let in to may be in a save again: nobody but handles that were in it may write now, and
    /// what is modified through them begins one.
    fn may_save_again(&self, file: usize, by: impl Fn(u64) -> bool) -> bool {
        let all = self.slots.iter().flatten().map(|(_, open)| open).filter(|open| open.file == file);
        let mut theirs = all.clone().filter(|open| open.rests() && by(open.process));
        let writes = |open: &Open| open.granted & TXF_WRITER != 0;
        theirs.any(|own| {
            all.clone().all(|open| !writes(open) || open.redirected && open.process == own.process)
        })
    }

    /// Whether a process other than this one saves a file.
    pub fn others_save(&self, process: u64, file: usize) -> bool {
        self.others_certainly_save(process, file) || self.may_save_again(file, |own| own != process)
    }

    fn others_certainly_save(&self, process: u64, file: usize) -> bool {
        self.live.iter().any(|live| live.process != process && live.file == file)
    }

    /// Whether a file is in a save of this process, and nobody else holds a handle or a view that takes part in it, nor has
    /// closed one that waits for a view.
    pub fn is_saved_only_by(&self, process: u64, file: usize) -> bool {
        let takes = |open: &Open| open.takes_part && open.file == file;
        let handles = self.slots.iter().flatten().filter(|(_, open)| takes(open)).map(|(holder, _)| *holder);
        let views = self.views.iter().flatten().filter(|view| takes(&view.open)).map(|view| view.process);
        let Some(save) = self.number_of(process, file) else { return false };
        let closed = self.postponed.iter().filter(|(own, _)| *own == save).map(|(_, closer)| *closer);
        !self.others_certainly_save(process, file)
            && handles.chain(views).chain(closed).all(|holder| holder == process)
    }

    /// Whether somebody else than this process has a file open.
    pub fn is_open_elsewhere(&self, process: u64, file: usize) -> bool {
        self.slots.iter().flatten().any(|(holder, open)| *holder != process && open.file == file)
    }

    /// Whether anybody saves a file.
    pub fn is_saved(&self, file: usize) -> bool {
        self.live.iter().any(|live| live.file == file) || self.may_save_again(file, |_| true)
    }

    /// Whether anybody has a file open through Intact, in a save or after one.
    pub fn may_be_ours(&self, file: usize) -> bool {
        self.slots.iter().flatten().any(|(_, open)| open.file == file && open.redirected)
    }

    /// Whether anybody saves a file now, for certain: it has not only handles whose next modification begins a save.
    pub fn is_certainly_saved(&self, file: usize) -> bool {
        self.live.iter().any(|live| live.file == file)
    }

    /// The file whose save a flush of this handle commits: one in which names were changed, or whose file is mapped, goes on
    /// as it is.
    pub fn checkpointed(&self, slot: u64) -> Option<usize> {
        let open = self.open(slot).filter(|open| open.takes_part)?;
        let live = self.live.iter().find(|live| Some(live.number) == open.save)?;
        (!live.renamed && !self.is_mapped(live.number)).then_some(live.file)
    }

    /// Whether a process has changed names in a save.
    pub fn has_renamed(&self, process: u64) -> bool {
        self.any_renamed_by(|own| own == process)
    }

    /// Whether a process other than this one has changed names in a save.
    pub fn others_have_renamed(&self, process: u64) -> bool {
        self.any_renamed_by(|own| own != process)
    }

    /// Whether anybody has changed names in a save.
    pub fn any_renamed(&self) -> bool {
        self.any_renamed_by(|_| true)
    }

    /// In a save, or in one that may have begun again with the change.
    fn any_renamed_by(&self, by: impl Fn(u64) -> bool) -> bool {
        self.live.iter().any(|live| live.renamed && by(live.process))
            || self.changed.iter().any(|file| self.may_save_again(*file, &by))
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

    /// Whether a save may have begun again, of whatever file.
    pub fn any_may_save_again(&self) -> bool {
        let slots = self.slots.iter().flatten().map(|(_, open)| open);
        let mapped = self.views.iter().flatten().any(|view| view.open.rests());
        mapped || slots.clone().any(|open| open.rests() && self.may_save_again(open.file, |_| true))
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
    fn a_view_keeps_a_save_whose_handles_are_closed() {
        let told = |world: &mut World, line: &str| {
            world.told(&line.parse().unwrap(), &Answer::Done(Value::None), None);
        };
        let mut world = World::default();
        open(&mut world, 0, 0, WRITES | 1);
        told(&mut world, "p0 map slot=0 view=0 writable=1 size=0");
        assert_eq!(world.checkpointed(0), None, "a mapped save is not published by a flush");
        told(&mut world, "p0 duplicate slot=0 to=1 process=1");
        told(&mut world, "p1 map slot=1 view=1 writable=0 size=0");
        told(&mut world, "p1 close slot=1");
        told(&mut world, "p0 close slot=0");
        told(&mut world, "p0 unmap view=0");
        assert!(world.is_saved(5) && !world.is_saved_only_by(0, 5), "the other one has a view");
        told(&mut world, "p1 exit status=0");
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
        world.told(&"p1 close slot=3".parse().unwrap(), &Answer::Done(Value::None), None);
        assert!(world.others_save(1, 5), "which may begin again");
        assert!(!world.is_saved_only_by(0, 5), "but need not");
    }
}
