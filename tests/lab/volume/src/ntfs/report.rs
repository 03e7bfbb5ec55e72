//! What is reported to those who watch directories, and when (`minifilter-rules §2.8`, `txf-ktm §4.1`).
//!
//! Outside transactions names and what is set by request are reported at once, what is written when the file is flushed
//! or the handle cleaned up; changes of a transaction when it commits.
//!
//! Approximated: streams that go because their file is overwritten or deleted are not reported.

use std::collections::BTreeMap;

use super::record::{Link, ROOT, RecordNumber};
use super::watch::{NotifyAction, NotifyRecord, notify};
use super::{Open, OpenId, View, Volume};
use crate::ktm::TxId;
use crate::names::{Key, Wide};

/// A change, as it may be of interest to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    file: RecordNumber,
    action: NotifyAction,
    kinds: u32,
    /// Directories above the file, the nearest first, and what it is called from there.
    above: Vec<(RecordNumber, Wide)>,
}

impl Report {
    fn is_change(&self) -> bool {
        matches!(self.action, NotifyAction::Modified | NotifyAction::ModifiedStream)
    }

    /// Whether both say that the same file, by the same name, was changed.
    fn is_same_change(&self, other: &Report) -> bool {
        self.is_change() && (self.file, self.action, &self.above) == (other.file, other.action, &other.above)
    }
}

/// Writes that have not been reported: inside which transaction, to which stream and through which open they were made; and of
/// which kinds they are.
pub(super) type Unreported = BTreeMap<(Option<TxId>, RecordNumber, Key, OpenId), u32>;

impl Volume {
    /// Reports what was done to a file under one of its names.
    pub(super) fn report(
        &mut self,
        view: View,
        file: RecordNumber,
        link: &Link,
        action: NotifyAction,
        kinds: u32,
    ) {
        self.report_stream(view, file, link, None, action, kinds);
    }

    /// As [`report`](Volume::report), for a named stream.
    pub(super) fn report_stream(
        &mut self,
        view: View,
        file: RecordNumber,
        link: &Link,
        stream: Option<&Wide>,
        action: NotifyAction,
        kinds: u32,
    ) {
        if self.nobody_hears(view) {
            return;
        }
        let report = Report { file, action, kinds, above: self.above(view, link, stream) };
        if let Some(tx) = view.transaction().and_then(|id| self.transactions.get_mut(&id)) {
            tx.reports.push(report.clone());
        }
        self.deliver(&report, view.transaction());
    }

    /// Whether a change is of no interest: nobody watches, nor could before it is published.
    fn nobody_hears(&self, view: View) -> bool {
        self.watches.is_empty() && view == View::Committed
    }

    /// What a file is called from each directory above it.
    fn above(&self, view: View, link: &Link, stream: Option<&Wide>) -> Vec<(RecordNumber, Wide)> {
        let mut name = link.name.clone();
        if let Some(stream) = stream {
            name.0.push(u16::from(b':'));
            name.0.extend_from_slice(&stream.0);
        }
        let mut above = vec![(link.parent, name)];
        let mut parent = link.parent;
        while parent != ROOT
            && let Some(up) = self.record(view, parent).and_then(|record| record.links.first())
        {
            let below = &above[above.len() - 1].1;
            let name = [&up.name.0[..], &[u16::from(b'\\')], &below.0[..]].concat();
            above.push((up.parent, Wide(name)));
            parent = up.parent;
        }
        above
    }

    /// Tells those who watch: of a transaction's changes, its own handles only.
    fn deliver(&mut self, report: &Report, only: Option<TxId>) {
        let mut told = Vec::new();
        for (&id, watch) in &mut self.watches {
            let own = self.opens.get(&id).and_then(|open| open.transaction);
            if only.is_some() && own != only {
                continue;
            }
            let found = report.above.iter().position(|(directory, _)| *directory == watch.directory);
            let Some(depth) = found.filter(|&depth| watch.wants(report.kinds, depth)) else { continue };
            let name = report.above[depth].1.clone();
            if watch.keep(NotifyRecord { action: report.action, name }) {
                told.push(id);
            }
        }
        told.into_iter().for_each(|id| self.tell(id));
    }

    /// What a transaction did, now that it is committed, to everybody who was not in it. Undocumented whether change by
    /// change: [`commit_reports_each_change`](crate::Switches::commit_reports_each_change).
    pub(super) fn deliver_committed(&mut self, reports: Vec<Report>) {
        let reports = if self.switches.commit_reports_each_change { reports } else { merged(reports) };
        reports.iter().for_each(|report| self.deliver(report, None));
    }

    /// A file is new under a name, or has it no more.
    pub(super) fn report_name(
        &mut self,
        view: View,
        file: RecordNumber,
        directory: bool,
        link: &Link,
        action: NotifyAction,
    ) {
        let kind = if directory { notify::DIR_NAME } else { notify::FILE_NAME };
        self.report(view, file, link, action, kind);
    }

    /// The entries of a directory have changed, and its times with them.
    pub(super) fn report_directory(&mut self, view: View, directory: RecordNumber) {
        if !self.switches.directory_changes_are_reported || self.nobody_hears(view) {
            return;
        }
        let link = self.record(view, directory).and_then(|record| record.links.first().cloned());
        if let Some(link) = link {
            self.report(view, directory, &link, NotifyAction::Modified, notify::LAST_WRITE);
        }
    }

    /// What was set through an open.
    pub(super) fn report_change(&mut self, open: &Open, kinds: u32) {
        let view = View::of(open.transaction);
        if kinds != 0
            && let Some(link) = self.name_of(open, view)
        {
            self.report(view, open.file.number(), &link, NotifyAction::Modified, kinds);
        }
    }

    /// The named stream of an open is new, or there no more.
    pub(super) fn report_stream_name(&mut self, open: &Open, action: NotifyAction) {
        let view = View::of(open.transaction);
        let record = self.record(view, open.file.number());
        let name = record.and_then(|record| Some(record.streams.get(&open.stream)?.name.clone()));
        if let (Some(link), Some(name)) = (self.name_of(open, view), name) {
            let number = open.file.number();
            self.report_stream(view, number, &link, Some(&name), action, notify::STREAM_NAME);
        }
    }

    /// Data was written through an open, or a size set: `kinds` as of the unnamed stream.
    pub(super) fn note_unreported(&mut self, id: OpenId, open: &Open, kinds: u32) {
        if self.nobody_hears(View::of(open.transaction)) {
            return;
        }
        let key = (open.transaction, open.file.number(), open.stream.clone(), id);
        *self.unreported.entry(key).or_default() |= of_stream(&open.stream, kinds);
        if self.switches.writes_are_reported_at_once {
            self.report_written(open, Some(id));
        }
    }

    /// A stream was emptied by an open of it.
    pub(super) fn report_emptied(&mut self, open: &Open) {
        let (view, number) = (View::of(open.transaction), open.file.number());
        if let Some(link) = self.name_of(open, view) {
            let kinds = of_stream(&open.stream, notify::SIZE | notify::LAST_WRITE);
            self.report_change_of(view, number, &link, &open.stream, kinds);
        }
    }

    /// Reports what was written to an open's file, under the name of the open; `by`: through one open only.
    pub(super) fn report_written(&mut self, open: &Open, by: Option<OpenId>) {
        let number = open.file.number();
        let record = self.record(View::of(open.transaction), number);
        let links = record.map_or(&[][..], |record| &record.links);
        // The name of the open may be gone while the file has others.
        let link = open.link.as_ref().filter(|own| links.contains(own)).or(links.first()).cloned();
        if let Some(link) = link {
            self.report_written_as(open.transaction, number, &link, by);
        }
    }

    fn report_written_as(
        &mut self,
        transaction: Option<TxId>,
        number: RecordNumber,
        link: &Link,
        by: Option<OpenId>,
    ) {
        let mut kinds_of: BTreeMap<Key, u32> = BTreeMap::new();
        self.unreported.retain(|(own, file, stream, open), kinds| {
            let told = (*own, *file) == (transaction, number) && by.is_none_or(|by| by == *open);
            if told {
                *kinds_of.entry(stream.clone()).or_default() |= *kinds;
            }
            !told
        });
        for (stream, kinds) in kinds_of {
            self.report_change_of(View::of(transaction), number, link, &stream, kinds);
        }
    }

    fn report_change_of(&mut self, view: View, number: RecordNumber, link: &Link, stream: &Key, kinds: u32) {
        if stream.is_empty() {
            return self.report(view, number, link, NotifyAction::Modified, kinds);
        }
        let record = self.record(view, number);
        let name = record.and_then(|record| Some(record.streams.get(stream)?.name.clone()));
        if let Some(name) = name {
            self.report_stream(view, number, link, Some(&name), NotifyAction::ModifiedStream, kinds);
        }
    }

    /// The last reference to a file is gone, or a transaction ends: what was written and has no handle any more.
    pub(super) fn report_left(&mut self, transaction: Option<TxId>, of: Option<RecordNumber>) {
        let left = self
            .unreported
            .keys()
            .filter(|(own, file, ..)| *own == transaction && of.is_none_or(|of| of == *file));
        let mut files: Vec<RecordNumber> = left.map(|(_, file, ..)| *file).collect();
        files.dedup();
        for number in files {
            let link =
                self.record(View::of(transaction), number).and_then(|record| record.links.first().cloned());
            match link {
                Some(link) => self.report_written_as(transaction, number, &link, None),
                None => self.forget_unreported(transaction, Some(number)),
            }
        }
    }

    /// Nobody hears of these writes: the file is deleted, or the transaction undone.
    pub(super) fn forget_unreported(&mut self, transaction: Option<TxId>, of: Option<RecordNumber>) {
        self.unreported
            .retain(|(own, file, ..), _| *own != transaction || of.is_some_and(|number| number != *file));
    }
}

/// Kinds of change of a stream, given as of the unnamed one.
fn of_stream(stream: &Key, kinds: u32) -> u32 {
    match stream.is_empty() {
        true => kinds,
        false if kinds & notify::SIZE != 0 => notify::STREAM_SIZE | notify::STREAM_WRITE,
        false => notify::STREAM_WRITE,
    }
}

/// One record for each file that was changed, and none for one that came and went.
fn merged(reports: Vec<Report>) -> Vec<Report> {
    let mut kept: Vec<Report> = Vec::new();
    for report in reports {
        let same = |other: &Report| (other.file, &other.above) == (report.file, &report.above);
        // What was changed before the name went is another change.
        let since = kept.iter_mut().rev().take_while(|earlier| earlier.is_change() || !same(earlier));
        if let Some(earlier) = since.into_iter().find(|earlier| earlier.is_same_change(&report)) {
            earlier.kinds |= report.kinds;
            continue;
        }
        let made = |other: &Report| other.action == NotifyAction::Added && same(other);
        if report.action == NotifyAction::Removed && kept.iter().any(made) {
            lose_old_names(&mut kept, same);
            kept.retain(|other| !same(other));
            continue;
        }
        kept.push(report);
    }
    kept
}

/// A name that came and went was given to a file in the place of another one, too: that is gone.
fn lose_old_names(kept: &mut [Report], passing: impl Fn(&Report) -> bool) {
    let given = |report: &Report| report.action == NotifyAction::RenamedNewName && passing(report);
    for at in 1..kept.len() {
        if given(&kept[at]) && kept[at - 1].action == NotifyAction::RenamedOldName {
            kept[at - 1].action = NotifyAction::Removed;
        }
    }
}
