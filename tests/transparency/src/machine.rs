//! One of the two machines: a lab in which a program runs step by step, and what it is told.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;

use intact_saves::Scene;
use lab::{CreateOptions, Handle, MappedFile, Name, Offset, Pending, Process, Status, Violation};
use lab_volume::{FileId, Whole};

use crate::answer::{Answer, Raw, Value, normalize, number_of};
use crate::program::{Call, END, POSITION, PROCESSES, SLOTS, Step, VIEWS, name_of};
use crate::reports::Watcher;

/// Between two steps, in 100 ns: every step has a time of its own, the same one on both machines.
const TICK: i64 = 10_000;
/// More ticks than a program takes, with what passes after views have gone.
pub const PROGRAM: i64 = 100_000;
/// Longer than a save stays whose last view has gone, in ticks: the driver looks at least once a second.
const LOOK: i64 = 1_200;
/// Longer than all reads and writes take that are under way, in ticks: what waits for them has them waited for on both machines.
const TRANSFERS: i64 = 4 * lab::io::SLOWEST;
/// FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT.
const SYNCHRONOUS: u64 = 0x30;
/// A day, in 100 ns.
const DAY: u64 = 864_000_000_000;
/// What a file may be protected by: everybody may do everything but write; the owner may change that.
const READ_ONLY_FOR_ALL: u32 = 0x12_0089;
const EVERYONE: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];

/// A handle that a program holds.
#[derive(Clone, Copy)]
pub struct Held {
    /// By which process.
    pub process: usize,
    /// The handle.
    pub handle: Handle,
    /// Requests on it take turns.
    synchronous: bool,
}

/// A view that a program has.
#[derive(Clone)]
struct View {
    process: usize,
    mapped: MappedFile,
}

/// A read or write of an asynchronous handle: what it is told is taken when it has ended.
struct Transfer {
    process: usize,
    call: Call,
    state: State,
}

enum State {
    UnderWay(Pending<Result<Raw, Status>>),
    Told(Answer),
}

/// A machine with a program on it.
pub struct Machine {
    /// The lab.
    pub scene: Scene,
    folder: String,
    processes: [Option<Process>; PROCESSES as usize],
    /// What the program holds.
    pub slots: [Option<Held>; SLOTS as usize],
    views: [Option<View>; VIEWS as usize],
    ids: BTreeMap<u64, usize>,
    waiting: Option<(u64, Pending<Result<Raw, Status>>)>,
    /// What `watch` steps have asked for.
    requests: [Option<Pending<Result<Raw, Status>>>; SLOTS as usize],
    /// Reads and writes that were begun, the first one first; what they were told is taken one by one.
    transfers: VecDeque<Transfer>,
    /// Who watches the program's folder.
    pub watchers: Vec<Watcher>,
    begin: i64,
    /// The time of the step, in ticks.
    ticks: i64,
    /// How much later than the steps' own times it is, in ticks.
    late: i64,
    /// Of that, what steps have waited for transfers.
    waited: i64,
    /// Free clusters when the program began: programs before it may have left the two volumes different.
    free: u64,
}

impl Machine {
    /// A machine whose volume has the folders of some programs.
    pub fn new(scene: Scene) -> Machine {
        let begin = scene.lab.executive().scheduler.now();
        Machine {
            scene,
            folder: String::new(),
            processes: [const { None }; PROCESSES as usize],
            slots: [None; SLOTS as usize],
            views: [const { None }; VIEWS as usize],
            ids: BTreeMap::new(),
            waiting: None,
            requests: [const { None }; SLOTS as usize],
            transfers: VecDeque::new(),
            watchers: Vec::new(),
            begin,
            ticks: 0,
            late: 0,
            waited: 0,
            free: 0,
        }
    }

    /// Begins with a program in this folder of the volume, at this time after the machine was made.
    pub fn begin(&mut self, folder: &str, ticks: i64) -> Result<(), Rc<Violation>> {
        self.folder = folder.into();
        self.ids.clear();
        self.transfers.clear();
        // What is there already is numbered first, alike on both machines.
        let found = self.scene.lab.with_volume(|volume| volume.subtree(folder));
        for whole in found.values() {
            number_of(&mut self.ids, whole.id.0);
            for (above, _) in &whole.links {
                number_of(&mut self.ids, above.0);
            }
        }
        self.late = 0;
        self.free = self.scene.lab.with_volume(|volume| volume.information().free_clusters);
        self.at(ticks)
    }

    /// Lets time pass until so many ticks after the machine was made, and what passed besides.
    pub fn at(&mut self, ticks: i64) -> Result<(), Rc<Violation>> {
        self.ticks = ticks;
        let lab = self.scene.lab.executive();
        let left = self.begin + (ticks + self.late) * TICK - lab.scheduler.now();
        if left > 0 { lab.advance(left) } else { Ok(()) }
    }

    /// Views have gone: lets it be noticed.
    fn settle(&mut self) -> Result<(), Rc<Violation>> {
        self.late += LOOK;
        self.scene.lab.executive().advance(LOOK * TICK)
    }

    /// How much later it is than the steps' own times say, in ticks.
    pub fn late(&self) -> i64 {
        self.late
    }

    /// How long steps have waited for transfers, in ticks.
    pub fn waited(&self) -> i64 {
        self.waited
    }

    /// As late as the other machine, where something had to be waited for.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn wait_until(&mut self, ticks: i64, late: i64) -> Result<(), Rc<Violation>> {
        self.late = self.late.max(late);
        self.at(ticks)
    }

    /// Lets the reads and writes end that are under way.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn wait_for_transfers(&mut self) -> Result<(), Rc<Violation>> {
        self.late += TRANSFERS;
        self.scene.lab.executive().advance(TRANSFERS * TICK)?;
        self.note_transfers()
    }

    /// Whether a read or write is under way.
    pub fn is_transferring(&self) -> bool {
        self.transfers.iter().any(|transfer| matches!(transfer.state, State::UnderWay(_)))
    }

    /// Notes what reads and writes were told that have ended.
    fn note_transfers(&mut self) -> Result<(), Rc<Violation>> {
        for transfer in &mut self.transfers {
            let over = matches!(&transfer.state, State::UnderWay(pending) if pending.is_done());
            if over
                && let State::UnderWay(pending) =
                    std::mem::replace(&mut transfer.state, State::Told(Answer::Skipped))
            {
                transfer.state = State::Told(normalize(pending.wait()?, &transfer.call, &mut self.ids));
            }
        }
        Ok(())
    }

    /// What the read or write was told that was begun first of those that are not taken yet, if it has ended.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn ended(&mut self) -> Result<Option<Answer>, Rc<Violation>> {
        self.note_transfers()?;
        Ok(self.transfers.front().and_then(|transfer| match &transfer.state {
            State::Told(answer) => Some(answer.clone()),
            State::UnderWay(_) => None,
        }))
    }

    /// It is taken.
    pub fn take_ended(&mut self) {
        self.transfers.pop_front();
    }

    /// Has the program's folder watched: for every kind of change, and for each of these filters.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn watch(&mut self, filters: &[u32]) -> Result<(), Rc<Violation>> {
        for &filter in [lab_volume::notify::ALL].iter().chain(filters) {
            let process = self.scene.program("watcher.exe");
            let folder = format!(r"C:\{}", self.folder);
            let options =
                CreateOptions::open(&folder, lab::GENERIC_READ).options(lab::DIRECTORY).asynchronous();
            let handle = process.try_call(move |caller| caller.create_file(&options))?;
            let handle = handle.unwrap_or_else(|status| panic!("{folder}: {status}")).handle;
            self.watchers.push(Watcher::new(process, handle, filter));
        }
        self.scene.lab.executive().run_until_idle()
    }

    /// Lets those who watch hear what has changed.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn listen(&mut self) -> Result<(), Rc<Violation>> {
        loop {
            self.scene.lab.executive().run_until_idle()?;
            let heard = self.watchers.iter_mut().map(Watcher::listen).filter(|heard| *heard).count();
            if heard == 0 {
                return Ok(());
            }
        }
    }

    /// Nobody watches any more.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn unwatch(&mut self) -> Result<(), Rc<Violation>> {
        for (process, handle) in self.watchers.drain(..).map(Watcher::end).collect::<Vec<_>>() {
            let closed = process.try_call(move |caller| caller.close(handle))?;
            closed.unwrap_or_else(|status| panic!("a watcher's handle: {status}"));
            process.try_exit(0)?;
        }
        Ok(())
    }

    fn process(&mut self, index: usize) -> Process {
        let scene = &self.scene;
        self.processes[index].get_or_insert_with(|| scene.program(&format!("p{index}.exe"))).clone()
    }

    fn path(&self, name: u64) -> String {
        match name_of(name) {
            "" => format!(r"C:\{}", self.folder),
            name => format!(r"C:\{}\{name}", self.folder),
        }
    }

    /// Who makes a step, and with which handle. `None`: it names a handle that is not there.
    fn maker(&self, step: &Step) -> Option<(usize, Option<Handle>)> {
        if let Some(view) = step.call.view() {
            return Some((self.views[view as usize].as_ref()?.process, None));
        }
        let Some(slot) = step.call.slot() else { return Some(((step.process % PROCESSES) as usize, None)) };
        let held = self.slots[slot as usize]?;
        Some((held.process, Some(held.handle)))
    }

    /// Carries out a step, and says what its process was told.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn perform(&mut self, step: &Step) -> Result<Answer, Rc<Violation>> {
        if let Call::Changes { slot } = step.call {
            return self.changes((slot % SLOTS) as usize, &step.call);
        }
        let Some((process, handle)) = self.maker(step) else { return Ok(Answer::Skipped) };
        match step.call {
            Call::Exit { status } | Call::Kill { status } => return self.end(process, step.call, status),
            Call::Duplicate { slot, to, process } => {
                return Ok(self.duplicate((slot % SLOTS) as usize, (to % SLOTS) as usize, process));
            }
            call @ Call::Watch { slot, .. } => {
                return self.request((slot % SLOTS) as usize, call, process, handle);
            }
            call if self.is_taken(call) => return Ok(Answer::Skipped),
            _ => {}
        }
        let Some(body) = self.body(step.call, process, handle) else { return Ok(Answer::Skipped) };
        let pending = self.process(process).submit(body);
        self.scene.lab.executive().run_until_idle()?;
        if self.is_transfer(step.call) {
            let state = State::UnderWay(pending);
            self.transfers.push_back(Transfer { process, call: step.call, state });
            self.note_transfers()?;
            return Ok(Answer::Begun);
        }
        if self.is_transferring() {
            // No longer than it waits for them: it is to take effect at the same time on both machines.
            for _ in 0..TRANSFERS {
                if pending.is_done() {
                    break;
                }
                self.late += 1;
                self.waited += 1;
                self.scene.lab.executive().advance(TICK)?;
            }
            self.note_transfers()?;
        }
        let slot = step.call.fields().first().map_or(0, |(_, slot)| slot % SLOTS);
        if !pending.is_done() && (matches!(step.call, Call::Lock { .. }) || self.waiting.is_some()) {
            if self.waiting.is_some() {
                // Behind a handle that waits for a lock: two waits could wait for each other.
                return Ok(Answer::Stuck);
            }
            self.waiting = Some((slot, pending));
            return Ok(Answer::Waits);
        }
        let result = pending.wait()?;
        if let Call::Close { .. } = step.call {
            self.slots[slot as usize] = None;
        }
        if let Ok(Raw::Opened { handle, .. }) = &result {
            let synchronous = matches!(step.call, Call::Open { options, .. } if options & SYNCHRONOUS != 0);
            self.slots[slot as usize] = Some(Held { process, handle: *handle, synchronous });
        }
        if let (Ok(Raw::Mapped { view: mapped, .. }), Call::Map { view, .. }) = (&result, step.call) {
            self.views[(view % VIEWS) as usize] = Some(View { process, mapped: mapped.clone() });
        }
        if let Call::Unmap { view } = step.call {
            self.views[(view % VIEWS) as usize] = None;
            self.settle()?;
        }
        Ok(normalize(result, &step.call, &mut self.ids))
    }

    /// Whether it is a read or write that may be under way while the program goes on.
    fn is_transfer(&self, call: Call) -> bool {
        let (Call::Read { slot, .. } | Call::Write { slot, .. }) = call else { return false };
        self.slots[(slot % SLOTS) as usize].is_some_and(|held| !held.synchronous)
    }

    /// Asks for changes. One who waits for the requests of a handle would wait for them for ever.
    fn request(
        &mut self,
        slot: usize,
        call: Call,
        process: usize,
        handle: Option<Handle>,
    ) -> Result<Answer, Rc<Violation>> {
        let waits = self.slots[slot].is_none_or(|held| held.synchronous) || self.requests[slot].is_some();
        let Some(body) = self.body(call, process, handle).filter(|_| !waits) else {
            return Ok(Answer::Skipped);
        };
        self.requests[slot] = Some(self.process(process).submit(body));
        self.scene.lab.executive().run_until_idle()?;
        self.changes(slot, &call)
    }

    /// What a request for changes was told, if it has ended.
    fn changes(&mut self, slot: usize, call: &Call) -> Result<Answer, Rc<Violation>> {
        match self.requests[slot].take_if(|request| request.is_done()) {
            Some(ended) => Ok(normalize(ended.wait()?, call, &mut self.ids)),
            None if self.requests[slot].is_some() => Ok(Answer::Waits),
            None => Ok(Answer::Skipped),
        }
    }

    /// Whether the place is taken where a step is to put what it makes.
    fn is_taken(&self, call: Call) -> bool {
        match call {
            Call::Open { slot, .. } => self.slots[(slot % SLOTS) as usize].is_some(),
            Call::Map { view, .. } => self.views[(view % VIEWS) as usize].is_some(),
            _ => false,
        }
    }

    /// What the step that waits was told, if it has ended.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn poll(&mut self) -> Result<Option<Answer>, Rc<Violation>> {
        match self.waiting.take() {
            Some((_, pending)) if pending.is_done() => {
                let call = Call::Flush { slot: 0 };
                Ok(Some(normalize(pending.wait()?, &call, &mut self.ids)))
            }
            waiting => {
                self.waiting = waiting;
                Ok(None)
            }
        }
    }

    /// Whether a step waits.
    pub fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// Ends the program: every handle is closed, then every process ends. False if something waits that nothing can end.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn finish(&mut self) -> Result<bool, Rc<Violation>> {
        let busy = self.waiting.as_ref().map(|(slot, _)| *slot as usize);
        for slot in (0..SLOTS as usize).filter(|slot| Some(*slot) != busy) {
            if !self.close(slot)? {
                return Ok(false);
            }
        }
        if let Some((slot, pending)) = self.waiting.take() {
            self.scene.lab.executive().run_until_idle()?;
            if !pending.is_done() || !self.close(slot as usize)? {
                return Ok(false);
            }
        }
        for index in 0..PROCESSES as usize {
            self.end(index, Call::Exit { status: 0 }, 0)?;
        }
        self.scene.lab.executive().run_until_idle()?;
        self.requests = [const { None }; SLOTS as usize];
        Ok(true)
    }

    /// Closes a handle. False if its file object is busy with a wait.
    fn close(&mut self, slot: usize) -> Result<bool, Rc<Violation>> {
        let Some(held) = self.slots[slot].take() else { return Ok(true) };
        let pending = self.process(held.process).submit(move |caller| caller.close(held.handle));
        self.scene.lab.executive().run_until_idle()?;
        if !pending.is_done() && self.waiting.is_some() {
            return Ok(false);
        }
        pending.wait().map(|_| true)
    }

    /// Ends a process. One that waits is left alone.
    fn end(&mut self, index: usize, call: Call, status: u64) -> Result<Answer, Rc<Violation>> {
        let waits = self.waiting.as_ref().and_then(|(slot, _)| self.slots[*slot as usize]);
        if waits.is_some_and(|held| held.process == index) {
            return Ok(Answer::Skipped);
        }
        let Some(process) = self.processes[index].take() else { return Ok(Answer::Skipped) };
        let status = (status as u32).cast_signed();
        match call {
            Call::Kill { .. } => {
                let lab = self.scene.lab.executive();
                let thread = lab.terminate_process(process.inner(), status);
                lab.run_until(|_| thread.finished())?;
            }
            _ => process.try_exit(status)?,
        }
        // What cannot be cancelled any more was waited for.
        self.late =
            self.late.max((self.scene.lab.executive().scheduler.now() - self.begin) / TICK - self.ticks);
        self.gone(index)?;
        Ok(Answer::Done(Value::None))
    }

    /// A process has ended.
    fn gone(&mut self, index: usize) -> Result<(), Rc<Violation>> {
        // Nobody is left to be told.
        for transfer in self.transfers.iter_mut().filter(|transfer| transfer.process == index) {
            transfer.state = State::Told(Answer::Skipped);
        }
        self.slots.iter_mut().filter(|held| held.is_some_and(|held| held.process == index)).for_each(
            |held| {
                *held = None;
            },
        );
        let own = |view: &&mut Option<View>| view.as_ref().is_some_and(|view| view.process == index);
        let count = self.views.iter_mut().filter(own).map(|view| *view = None).count();
        // Handles that were closed may have waited for them.
        if count > 0 { self.settle() } else { Ok(()) }
    }

    fn duplicate(&mut self, slot: usize, to: usize, process: u64) -> Answer {
        let target = (process % PROCESSES) as usize;
        let (Some(held), None) = (self.slots[slot], self.slots[to]) else { return Answer::Skipped };
        let (from, into) = (self.process(held.process), self.process(target));
        match from.duplicate(held.handle, &into) {
            Ok(handle) => {
                self.slots[to] = Some(Held { process: target, handle, ..held });
                Answer::Done(Value::None)
            }
            Err(status) => Answer::Failed(status.0),
        }
    }

    /// What runs in the process for a step.
    #[allow(clippy::type_complexity)]
    fn body(
        &self,
        call: Call,
        process: usize,
        handle: Option<Handle>,
    ) -> Option<Box<dyn FnOnce(&lab::Caller<'_>) -> Result<Raw, Status>>> {
        let on = handle.unwrap_or(Handle(0));
        Some(match call {
            Call::Open { .. } => self.open(call, process)?,
            Call::Close { .. } => Box::new(move |caller| caller.close(on).map(|()| Raw::None)),
            Call::Read { at, length, .. } => {
                let at = (at != POSITION).then_some(at & (i64::MAX as u64));
                let length = (length & 0xF_FFFF) as usize;
                Box::new(move |caller| caller.read(on, at, length).map(Raw::Bytes))
            }
            Call::Write { at, length, fill, .. } => {
                let offset = match at {
                    POSITION => Offset::Current,
                    END => Offset::Append,
                    at => Offset::At(at & 0xFFF_FFFF),
                };
                let data: Vec<u8> = (0..length & 0xF_FFFF).map(|at| (fill + at % 251) as u8).collect();
                Box::new(move |caller| caller.write(on, offset, &data).map(|count| Raw::Number(count as u64)))
            }
            Call::Flush { .. } => Box::new(move |caller| caller.flush(on).map(|()| Raw::None)),
            Call::Lock { start, length, exclusive, wait, .. } => {
                // One wait at a time: two could wait for each other.
                let wait = wait != 0 && self.waiting.is_none();
                Box::new(move |caller| {
                    caller.lock(on, start, length, exclusive != 0, wait).map(|()| Raw::None)
                })
            }
            Call::Unlock { start, length, .. } => {
                Box::new(move |caller| caller.unlock(on, start, length).map(|()| Raw::None))
            }
            Call::Query { class, length, .. } => Box::new(move |caller| {
                caller.query_information(on, class as u32, (length & 0xFFFF) as usize).map(Raw::Bytes)
            }),
            Call::Basic { creation, write, attributes, .. } => {
                let time = |days: u64| (days != 0).then_some((days * DAY) as i64);
                let times = [time(creation), None, time(write), None];
                Box::new(move |caller| caller.set_basic(on, times, attributes as u32).map(|()| Raw::None))
            }
            Call::Set { class, value, .. } => {
                let value = value & 0xFFF_FFFF;
                let mut buffer = value.to_le_bytes().to_vec();
                buffer.truncate(if class == 16 { 4 } else { 8 });
                Box::new(move |caller| caller.set_information(on, class as u32, &buffer).map(|()| Raw::None))
            }
            Call::Control { code, first, second, output, .. } => {
                let input = [first.to_le_bytes(), second.to_le_bytes()].concat();
                Box::new(move |caller| {
                    caller.fs_control(on, code as u32, &input, (output & 0xFFFF) as usize).map(Raw::Bytes)
                })
            }
            Call::SetEa { name, length, .. } => {
                let eas = ea(name, length);
                Box::new(move |caller| caller.set_ea(on, &eas).map(|()| Raw::None))
            }
            Call::QueryEa { .. } => Box::new(move |caller| caller.query_ea(on).map(Raw::Bytes)),
            Call::SetSecurity { which, .. } => Box::new(move |caller| {
                caller.set_security(on, which as u32, &protected()).map(|()| Raw::None)
            }),
            Call::QuerySecurity { .. } => Box::new(move |caller| caller.security(on).map(Raw::Bytes)),
            Call::QueryVolume { class, length, .. } => {
                let before = self.free;
                Box::new(move |caller| {
                    let mut found = caller.query_volume(on, class as u32, (length & 0xFFFF) as usize)?;
                    let fields = match class {
                        3 => 8..16,
                        7 => 8..24,
                        _ => 0..0,
                    };
                    for field in found.get_mut(fields).unwrap_or_default().chunks_exact_mut(8) {
                        let free = u64::from_le_bytes(field.try_into().unwrap_or_default());
                        field.copy_from_slice(&free.wrapping_sub(before).to_le_bytes());
                    }
                    Ok(Raw::Bytes(found))
                })
            }
            Call::List { pattern, .. } => {
                let pattern = [None, Some("*"), Some("*.txt"), Some("REPORT*")][(pattern % 4) as usize];
                Box::new(move |caller| caller.query_directory(on, pattern).map(Raw::Entries))
            }
            Call::Attributes { name } => {
                let path = self.path(name);
                Box::new(move |caller| caller.query_attributes_by_path(&path).map(Raw::Attributes))
            }
            Call::Stat { name } => {
                let path = self.path(name);
                Box::new(move |caller| caller.query_stat_by_path(&path).map(Raw::Bytes))
            }
            Call::Rename { name, replace, ex, .. } => {
                let buffer = self.new_name(name, replace, ex);
                let class = if ex == 0 { 10 } else { 65 };
                Box::new(move |caller| caller.set_information(on, class, &buffer).map(|()| Raw::None))
            }
            Call::Link { name, replace, ex, .. } => {
                let buffer = self.new_name(name, replace, ex);
                let class = if ex == 0 { 11 } else { 72 };
                Box::new(move |caller| caller.set_information(on, class, &buffer).map(|()| Raw::None))
            }
            Call::Dispose { delete, ex, .. } => {
                let flags = if delete != 0 { ex as u32 | 1 } else { ex as u32 & !1 };
                let (class, buffer) = match ex {
                    0 => (13, vec![u8::from(delete != 0)]),
                    _ => (64, flags.to_le_bytes().to_vec()),
                };
                Box::new(move |caller| caller.set_information(on, class, &buffer).map(|()| Raw::None))
            }
            Call::Map { writable, size, .. } => {
                let size = (size != 0).then_some(size & 0xFFF_FFFF);
                Box::new(move |caller| {
                    let view = caller.create_section_of(on, writable != 0, size)?;
                    let size = caller.mapped_size(&view)?;
                    Ok(Raw::Mapped { view, size })
                })
            }
            Call::ReadView { view, at, length } => {
                let mapped = self.mapped(view)?;
                let (at, length) = (at & 0xFFF_FFFF, (length & 0xF_FFFF) as usize);
                Box::new(move |caller| caller.read_mapped(&mapped, at, length).map(Raw::Bytes))
            }
            Call::WriteView { view, at, length, fill } => {
                let mapped = self.mapped(view)?;
                let data: Vec<u8> = (0..length & 0xF_FFFF).map(|at| (fill + at % 251) as u8).collect();
                Box::new(move |caller| {
                    caller.write_mapped(&mapped, at & 0xFFF_FFFF, &data).map(|()| Raw::None)
                })
            }
            Call::FlushView { view } => {
                let mapped = self.mapped(view)?;
                Box::new(move |caller| caller.flush_mapped(&mapped).map(|()| Raw::None))
            }
            Call::Unmap { view } => {
                let mapped = self.mapped(view)?;
                Box::new(move |caller| {
                    caller.close_section(mapped);
                    Ok(Raw::None)
                })
            }
            Call::PageWriter {} => Box::new(|caller| {
                caller.mapped_page_writer();
                Ok(Raw::None)
            }),
            Call::Watch { filter, tree, length, .. } => Box::new(move |caller| {
                let length = (length & 0xFFFF) as usize;
                caller.notify_changes(on, filter as u32, tree != 0, length).map(Raw::Changes)
            }),
            Call::Cancel { .. } => Box::new(move |caller| caller.cancel_io(on).map(|()| Raw::None)),
            Call::Changes { .. } | Call::Duplicate { .. } | Call::Exit { .. } | Call::Kill { .. } => {
                return None;
            }
        })
    }

    fn mapped(&self, view: u64) -> Option<MappedFile> {
        self.views[(view % VIEWS) as usize].as_ref().map(|view| view.mapped.clone())
    }

    /// FILE_RENAME_INFORMATION with the whole path.
    fn new_name(&self, name: u64, replace: u64, ex: u64) -> Vec<u8> {
        let path = format!(r"\??\{}", self.path(name));
        let units: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let flags = if ex == 0 { (replace & 1) as u32 } else { ex as u32 };
        let mut buffer = flags.to_le_bytes().to_vec();
        buffer.extend_from_slice(&[0; 12]);
        buffer.extend_from_slice(&(units.len() as u32).to_le_bytes());
        buffer.extend_from_slice(&units);
        buffer
    }

    #[allow(clippy::type_complexity)]
    fn open(
        &self,
        call: Call,
        process: usize,
    ) -> Option<Box<dyn FnOnce(&lab::Caller<'_>) -> Result<Raw, Status>>> {
        let Call::Open {
            name,
            how,
            root,
            access,
            share,
            disposition,
            options,
            attributes,
            allocation,
            ea: with_ea,
            security,
            ..
        } = call
        else {
            return None;
        };
        let root = self.slots[(root % SLOTS) as usize].filter(|held| held.process == process);
        let by_id = how == 3;
        let what = match (how, root) {
            (0, _) | (_, None) if how < 2 => match how {
                1 => Name::Path(self.path(name).replacen("C:", r"\Device\HarddiskVolume1", 1)),
                _ => Name::Path(self.path(name)),
            },
            (1, _) => Name::Path(self.path(name).replacen("C:", r"\Device\HarddiskVolume1", 1)),
            (2, Some(root)) => Name::Relative(root.handle, name_of(name).into()),
            (3, Some(root)) => Name::IdUnder(root.handle, 0),
            _ => return None,
        };
        let mut request = CreateOptions::new(what, 0, disposition as u32);
        request.access = access as u32;
        request.share = share as u32;
        request.options = options as u32;
        request.attributes = attributes as u32;
        request.allocation = allocation;
        request.ea = if with_ea != 0 { ea(1, 9) } else { Vec::new() };
        request.security = (security != 0).then(protected);
        Some(Box::new(move |caller| {
            if by_id && let Name::IdUnder(root, id) = &mut request.name {
                let bytes = caller.query_information(*root, 6, 8)?;
                *id = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
            }
            let created = caller.create_file(&request)?;
            let query = |class, length| caller.query_information(created.handle, class, length);
            let number = |class, length| -> Result<u64, Status> {
                let mut bytes = query(class, length)?;
                bytes.resize(8, 0);
                Ok(u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
            };
            // FileAccessInformation, FileInternalInformation, FileStandardInformation.Directory.
            let about = || Ok((number(8, 4)?, number(6, 8)?, query(5, 24)?.get(21) == Some(&1)));
            match about() {
                Ok((granted, id, directory)) => Ok(Raw::Opened {
                    handle: created.handle,
                    information: created.information,
                    granted: granted as u32,
                    id,
                    directory,
                }),
                // Its transaction has been aborted meanwhile.
                Err(status) => {
                    caller.close(created.handle)?;
                    Err(status)
                }
            }
        }))
    }

    /// Which process makes a step. `None`: it names a handle that is not there, or a process that does not run.
    pub fn process_of(&self, step: &Step) -> Option<usize> {
        let (process, _) = self.maker(step)?;
        self.processes[process].is_some().then_some(process)
    }

    /// Kills a process, with a step of its own on the way if there is one.
    ///
    /// # Errors
    /// The violation that stopped the lab.
    pub fn kill_during(&mut self, index: usize, step: Option<&Step>) -> Result<(), Rc<Violation>> {
        let waits = self.waiting.as_ref().and_then(|(slot, _)| self.slots[*slot as usize]);
        if waits.is_some_and(|held| held.process == index) {
            // Its end ends the wait, too, whose answer nobody is told.
            self.waiting = None;
        }
        let step = step.filter(|step| !self.is_taken(step.call));
        let body = step.and_then(|step| {
            let (process, handle) = self.maker(step)?;
            self.body(step.call, process, handle)
        });
        let under_way = body.map(|body| self.process(index).submit(body));
        if let Some(process) = self.processes[index].take() {
            let lab = self.scene.lab.executive();
            let thread = lab.terminate_process(process.inner(), 1);
            lab.run_until(|_| thread.finished())?;
        }
        drop(under_way);
        // The last step may have made a view, or unmapped one.
        self.settle()?;
        self.gone(index)
    }

    /// Operations inside transactions so far.
    pub fn transacted_operations(&self) -> u64 {
        self.scene.lab.with_volume(|volume| volume.transacted_operations())
    }

    /// Has a transaction aborted after so many more operations inside transactions.
    pub fn abort_after(&self, operations: u64) {
        self.scene.lab.with_volume(|volume| volume.abort_after_operations(operations));
    }

    /// Numbers the files that no answer has told of.
    pub fn number_files(&mut self) {
        let found = self.scene.lab.with_volume(|volume| volume.subtree(&self.folder));
        for whole in found.values() {
            number_of(&mut self.ids, whole.id.0);
        }
    }

    /// What is committed in the program's folder, by path, past every open and cache.
    pub fn committed(&mut self) -> Versions {
        let folder = self.folder.clone();
        let found = self.scene.lab.with_volume(|volume| volume.subtree(&folder));
        found.into_iter().map(|(path, whole)| (path, Version::of(whole, &self.ids))).collect()
    }
}

impl Version {
    /// Has this version's times of its last write and change where they are of the same program: when what was written
    /// through a view is written out is for the system to say, and the driver says it once nobody can write so any more.
    pub fn allow_other_times(&mut self, other: &Version) {
        let allow = |own: &mut i64, other: i64| {
            if (*own - other).abs() < PROGRAM * TICK {
                *own = other;
            }
        };
        allow(&mut self.whole.times.write, other.whole.times.write);
        allow(&mut self.whole.times.change, other.whole.times.change);
    }

    /// Has the named streams of this version that it has not.
    pub fn allow_more_streams(&mut self, other: &Version) {
        for (name, stream) in &other.whole.streams {
            self.whole.streams.entry(name.clone()).or_insert_with(|| stream.clone());
        }
    }

    /// The number of the folder in which it is called by this path.
    pub fn folder(&self, path: &str) -> Option<usize> {
        let last = path.rsplit('\\').next().unwrap_or(path);
        let called = |link: &String| match link.split_once('/') {
            Some((folder, name)) if name.eq_ignore_ascii_case(last) => folder.parse().ok(),
            _ => None,
        };
        self.links.iter().find_map(called)
    }
}

/// The version that has a path.
pub fn called<'a>(versions: &'a Versions, path: &str) -> Option<&'a Version> {
    versions.iter().find(|(own, _)| own.eq_ignore_ascii_case(path)).map(|(_, version)| version)
}

/// Whether two versions differ, in anything but when a directory's entries changed.
pub fn differing(one: &Version, other: &Version) -> bool {
    if !one.whole.directory {
        return one != other;
    }
    let timeless = |version: &Version| {
        let mut version = version.clone();
        version.whole.times = Default::default();
        version
    };
    timeless(one) != timeless(other)
}

/// The files of a program's folder.
pub type Versions = BTreeMap<String, Version>;

/// A version of a file, whole, in a form in which those of two machines can be compared.
#[derive(Clone, PartialEq, Eq)]
pub struct Version {
    /// Which file it is.
    pub id: usize,
    links: Vec<String>,
    /// Everything else.
    pub whole: Whole,
}

impl Version {
    /// Looking numbers no file: a program may not have met it yet.
    fn of(mut whole: Whole, ids: &BTreeMap<u64, usize>) -> Version {
        let number = |id: FileId| ids.get(&id.0).copied().unwrap_or(usize::MAX);
        let id = number(whole.id);
        let links = whole.links.drain(..).map(|(above, name)| format!("{}/{name}", number(above))).collect();
        whole.id = FileId(0);
        Version { id, links, whole }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Whole { attributes, times, security, eas, streams, .. } = &self.whole;
        write!(f, "#{} links {:?} attributes {attributes:#x} {times:?}", self.id, self.links)?;
        write!(f, " security of {} bytes, EAs {eas:?}", security.len())?;
        for (name, (allocated, data)) in streams {
            let start: Vec<String> = data.iter().take(24).map(|byte| format!("{byte:02x}")).collect();
            write!(f, "\n      :{name} {} bytes, {allocated} allocated: {}", data.len(), start.join(" "))?;
        }
        Ok(())
    }
}

/// A new file's extended attribute.
fn ea(name: u64, length: u64) -> Vec<u8> {
    let name = b'A' + (name % 26) as u8;
    let mut buffer = vec![0, 0, 0, 0, 0, 1, (length & 0xFF) as u8, 0, name, 0];
    buffer.extend((0..length & 0xFF).map(|at| at as u8));
    buffer
}

fn protected() -> Vec<u8> {
    let ace = lab_volume::Ace { allow: true, sid: EVERYONE, mask: READ_ONLY_FOR_ALL | 0x7_0000 };
    lab_volume::descriptor(EVERYONE, &[ace]).to_vec()
}
