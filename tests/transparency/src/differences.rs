//! The written list of differences: what a program is told otherwise with Intact than without, because TxF forces it.
//! What is not on this list is a defect.

use lab::Status;

use crate::answer::{Answer, Value};
use crate::machine::{Version, Versions, called};
use crate::program::{Call, POSITION, Step, name_of};
use crate::reports::{self, Met, Record};
use crate::world::{Open, TXF_WRITER, WRITES, World, is_done_without};

/// One difference.
pub struct Difference {
    /// Its name.
    pub id: &'static str,
    /// Why it has to be.
    pub reason: &'static str,
    /// The fact that forces it.
    pub source: &'static str,
    /// A program that meets it.
    pub example: &'static str,
    /// Whether an answer that differs is this.
    pub applies: fn(&Situation<'_>) -> bool,
}

/// A step whose answers differ, and what was there before it.
pub struct Situation<'a> {
    /// What was asked.
    pub step: &'a Step,
    /// What was told without Intact.
    pub bare: &'a Answer,
    /// What was told with it.
    pub intact: &'a Answer,
    /// The program's handles before.
    pub world: &'a World,
    /// What was committed before, with Intact.
    pub old: &'a Versions,
    /// What saves of the program have met.
    pub met: &'a Met,
}

/// The list.
pub const LIST: &[Difference] = &[
    Difference {
        id: "others-see-the-old-version",
        reason: "while a save lives, other processes read and query the last committed version",
        source: "txf-ktm §4.1",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 write slot=0 at=0 length=7 fill=1\n\
                  p1 open slot=1 name=0 how=0 root=0 access=0x80000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p1 read slot=1 at=0 length=7",
        applies: others_see_the_old_version,
    },
    Difference {
        id: "earlier-readers-see-the-old-version",
        reason: "a handle that its process opened for reading before the save began keeps the committed version",
        source: "txf-ktm §4.1",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0x80000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 open slot=1 name=0 how=0 root=0 access=0xC0000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 write slot=1 at=0 length=7 fill=1\n\
                  p0 read slot=0 at=0 length=7",
        applies: earlier_readers_see_the_old_version,
    },
    Difference {
        id: "listings-show-the-old-version",
        reason: "a directory handle outside the transaction lists sizes, times and attributes as committed",
        source: "txf-ktm §4.1",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 write slot=0 at=100 length=7 fill=1\n\
                  p0 open slot=1 name=8 how=0 root=0 access=0x80100000 share=7 disposition=1 options=0x21 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 list slot=1 pattern=0",
        applies: listings_show_the_old_version,
    },
    Difference {
        id: "read-only-files-change-after-they-were-made",
        reason: "a file that is to be read-only becomes so inside the transaction, where it could not be opened for writing \
                 otherwise: who watches its folder is told that it has changed",
        source: "minifilter-rules §2.8",
        example: "p1 open slot=1 name=8 how=0 root=0 access=0x80100000 share=7 disposition=1 options=0x1 attributes=0 allocation=0 ea=0 security=0\n\
                  p1 watch slot=1 filter=0xfff tree=0 length=1024\n\
                  p0 open slot=0 name=1 how=0 root=0 access=0xC0000000 share=7 disposition=2 options=0x20 attributes=0x1 allocation=0 ea=0 security=0\n\
                  p0 close slot=0\n\
                  p1 changes slot=1\n\
                  p1 watch slot=1 filter=0xfff tree=0 length=1024",
        applies: read_only_files_change_after_they_were_made,
    },
    Difference {
        id: "changes-are-told-with-the-save",
        reason: "who watches a folder is told of what a save changes when the save ends, and once of each file",
        source: "txf-ktm §4.1; minifilter-rules §2.8",
        example: "p1 open slot=1 name=8 how=0 root=0 access=0x80100000 share=7 disposition=1 options=0x1 attributes=0 allocation=0 ea=0 security=0\n\
                  p1 watch slot=1 filter=0xfff tree=0 length=1024\n\
                  p0 open slot=0 name=0 how=0 root=0 access=0xC0000000 share=7 disposition=5 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p1 changes slot=1",
        applies: changes_are_told_with_the_save,
    },
    Difference {
        id: "one-writer",
        reason: "while a save lives in which names were changed, or whose file is mapped, no other process opens its file for \
                 any writing right",
        source: "txf-ktm §4.2",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0010000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 link slot=0 name=10 replace=0 ex=0\n\
                  p1 open slot=1 name=0 how=0 root=0 access=0xC0000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0",
        applies: one_writer,
    },
    Difference {
        id: "no-execution",
        reason: "while a save lives in which names were changed, or whose file is mapped, its file is not opened for execution",
        source: "txf-ktm §4.2",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0010000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 link slot=0 name=10 replace=0 ex=0\n\
                  p0 open slot=1 name=0 how=0 root=0 access=0xA0000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0",
        applies: no_execution,
    },
    Difference {
        id: "no-links-from-outside",
        reason: "while a save lives, handles that take no part in it cannot change its file in ways that need no right, nor \
                 put another one in its place",
        source: "txf-ktm §4.2",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0x100080 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 open slot=1 name=0 how=0 root=0 access=0xC0000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 link slot=0 name=10 replace=0 ex=0",
        applies: no_links_from_outside,
    },
    Difference {
        id: "streams-of-a-save",
        reason: "a stream that the save makes or removes is not seen by opens outside the transaction, and a new one \
                 cannot be made outside it",
        source: "txf-ktm §4.2, §4.3",
        example: "p0 open slot=0 name=4 how=0 root=0 access=0xC0000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 open slot=1 name=14 how=0 root=0 access=0xC0000000 share=7 disposition=3 options=0x20 attributes=0 allocation=0 ea=0 security=0",
        applies: streams_of_a_save,
    },
    Difference {
        id: "space",
        reason: "the volume holds the old version and the new one",
        source: "txf-ktm §4.7",
        example: "p0 open slot=0 name=4 how=0 root=0 access=0xC0000000 share=7 disposition=5 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 query-volume slot=0 class=3 length=64",
        applies: space,
    },
    Difference {
        id: "refused-controls",
        reason: "compression is never part of a transaction, nor are making a file sparse and zeroing, which cannot be had without \
                 one while names are changed in the save, or its file is mapped; and a request for an oplock is refused before it is \
                 looked at",
        source: "txf-ktm §4.9, §4.8",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0010000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 link slot=0 name=10 replace=0 ex=0\n\
                  p0 control slot=0 code=0x980c8 first=0 second=10 output=0",
        applies: refused_controls,
    },
    Difference {
        id: "refused-valid-data-length",
        reason: "the valid data length is not set inside a transaction",
        source: "txf-ktm §4.9",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 set slot=0 class=39 value=29",
        applies: refused_valid_data_length,
    },
    Difference {
        id: "empty-files-are-not-mapped",
        reason: "a section that extends an empty file of a save cannot be had, and which ones would is not told before",
        source: "txf-ktm §4.5; minifilter-rules §1.5",
        example: "p0 open slot=0 name=5 how=0 root=0 access=0xC0000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 map slot=0 view=0 writable=1 size=100",
        applies: empty_files_are_not_mapped,
    },
    Difference {
        id: "readers-map-the-committed-version",
        reason: "a section over a handle that is opened for reading only is of the committed version, in the save's own \
                 process too",
        source: "txf-ktm §4.1, §4.5",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 write slot=0 at=0 length=7 fill=1\n\
                  p0 open slot=1 name=0 how=0 root=0 access=0x80000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 map slot=1 view=0 writable=0 size=0\n\
                  p0 read-view view=0 at=0 length=7",
        applies: readers_map_the_committed_version,
    },
    Difference {
        id: "readers-mappings-hold-nothing",
        reason: "who has mapped the committed version does not keep the save from cutting, emptying or deleting its own",
        source: "txf-ktm §4.1, §4.5",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0x80000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 map slot=0 view=0 writable=0 size=0\n\
                  p0 open slot=1 name=0 how=0 root=0 access=0xC0000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 set slot=1 class=20 value=0",
        applies: readers_mappings_hold_nothing,
    },
    Difference {
        id: "closed-but-mapped-is-open",
        reason: "a transaction ends when its handles are closed, so one that is closed while the file is mapped stays open, \
                 with its share modes and not deleted yet, until the last view has gone",
        source: "txf-ktm §1.3, §4.5",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0000000 share=0 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 map slot=0 view=0 writable=1 size=0\n\
                  p0 close slot=0\n\
                  p1 open slot=0 name=0 how=0 root=0 access=0x80000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0",
        applies: closed_but_mapped_is_open,
    },
    Difference {
        id: "mapped-files-change-with-the-save",
        reason: "a file whose handle is closed while it is mapped gets what was written through views, is deleted, and has the \
                 times of that, when the last view has gone and the save ends",
        source: "txf-ktm §4.5",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 map slot=0 view=0 writable=1 size=0\n\
                  p0 close slot=0\n\
                  p0 write-view view=0 at=0 length=7 fill=1\n\
                  p0 unmap view=0\n\
                  p0 attributes name=0",
        applies: mapped_files_change_with_the_save,
    },
    Difference {
        id: "no-delete-on-close",
        reason: "an open that deletes on close takes no part in a save, so it is kept out of one in which names were changed \
                 or whose file is mapped",
        source: "txf-ktm §4.2, §4.3",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0010000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 link slot=0 name=10 replace=0 ex=0\n\
                  p0 open slot=1 name=0 how=0 root=0 access=0x110000 share=7 disposition=1 options=0x1020 attributes=0 allocation=0 ea=0 security=0",
        applies: no_delete_on_close,
    },
    Difference {
        id: "no-replacing-of-saved-files",
        reason: "a file that is in a save is not replaced by a name of another, with POSIX semantics either",
        source: "txf-ktm §4.2",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0000000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p1 open slot=1 name=4 how=0 root=0 access=0x110000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p1 rename slot=1 name=0 replace=1 ex=3",
        applies: no_replacing_of_saved_files,
    },
    Difference {
        id: "no-names-of-files-open-for-writing",
        reason: "a save gives its file no name in a folder that somebody has open for writing, and none of a file that \
                 somebody has open for writing: with POSIX semantics either",
        source: "txf-ktm §4.2",
        example: "p0 open slot=1 name=4 how=0 root=0 access=0x110000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 open slot=0 name=0 how=0 root=0 access=0xC0110000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 rename slot=0 name=4 replace=1 ex=3",
        applies: no_names_of_files_open_for_writing,
    },
    Difference {
        id: "replaced-files-keep-their-names",
        reason: "a file whose name a save takes away has it until the save ends, for whoever has it open, and nobody else \
                 changes it before",
        source: "txf-ktm §4.3",
        example: "p0 open slot=1 name=4 how=0 root=0 access=0x80100000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 open slot=0 name=0 how=0 root=0 access=0xC0110000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 rename slot=0 name=4 replace=1 ex=3\n\
                  p0 query slot=1 class=5 length=24",
        applies: replaced_files_keep_their_names,
    },
    Difference {
        id: "deleted-files-go-with-the-save",
        reason: "a file or stream that a save deletes is gone when the save ends, although others have it open",
        source: "txf-ktm §4.3",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0x100080 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 open slot=1 name=0 how=0 root=0 access=0xC0110000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 dispose slot=1 delete=1 ex=0\n\
                  p0 close slot=1\n\
                  p0 attributes name=0",
        applies: deleted_files_go_with_the_save,
    },
    Difference {
        id: "an-exchange-ends-waits-for-locks",
        reason: "the handles of a transaction end with it, and so does the wait for a byte-range lock",
        source: "txf-ktm §4.4",
        example: "p1 open slot=1 name=0 how=0 root=0 access=0x80100000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p1 lock slot=1 start=5 length=1 exclusive=0 wait=0\n\
                  p0 open slot=0 name=0 how=0 root=0 access=0x40000000 share=7 disposition=1 options=0 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 write slot=0 at=0 length=1 fill=0\n\
                  p0 lock slot=0 start=5 length=1 exclusive=1 wait=1\n\
                  p0 flush slot=0",
        applies: an_exchange_ends_waits_for_locks,
    },
    Difference {
        id: "by-id-or-folder",
        reason: "not forced, but not there yet: an open by file id, or relative to a handle, goes down as it is, and is not led to \
                 the committed name of a file that its process has renamed or removed in a save",
        source: "txf-ktm §4.3",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0110000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 rename slot=0 name=10 replace=0 ex=0\n\
                  p0 open slot=1 name=0 how=3 root=0 access=0xC0100000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0",
        applies: by_id_or_folder,
    },
    Difference {
        id: "folders-change-with-the-save",
        reason: "the times of a folder in which a save changes names change when the save ends",
        source: "txf-ktm §4.3",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0110000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 rename slot=0 name=10 replace=0 ex=0\n\
                  p0 attributes name=8",
        applies: folders_change_with_the_save,
    },
    Difference {
        id: "others-see-the-old-names",
        reason: "while a save lives, others find what it renames and deletes by the committed names, and cannot use those \
                 that it has given",
        source: "txf-ktm §4.3",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0110000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 rename slot=0 name=10 replace=0 ex=0\n\
                  p1 open slot=1 name=0 how=0 root=0 access=0x80100000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0",
        applies: others_see_the_old_names,
    },
    Difference {
        id: "a-new-link-is-called-by-the-old-name",
        reason: "a handle that was opened by a hard link which its save has given is the committed file's when the save is over, \
                 and has the name that this was found by",
        source: "txf-ktm §4.3",
        example: "p0 open slot=1 name=0 how=0 root=0 access=0x0 share=0x0 disposition=0 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
                  p0 link slot=1 name=1 replace=0 ex=0\n\
                  p0 open slot=2 name=1 how=0 root=0 access=0x0 share=0x0 disposition=1 options=0x0 attributes=0x0 allocation=0 ea=0 security=0\n\
                  p0 close slot=1\n\
                  p0 query slot=2 class=48 length=64",
        applies: a_new_link_is_called_by_the_old_name,
    },
    Difference {
        id: "listings-show-the-old-names",
        reason: "a directory handle outside the transaction lists the committed names",
        source: "txf-ktm §4.1",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0110000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 rename slot=0 name=10 replace=0 ex=0\n\
                  p0 open slot=1 name=8 how=0 root=0 access=0x80100000 share=7 disposition=1 options=0x21 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 list slot=1 pattern=0",
        applies: listings_show_the_old_names,
    },
    Difference {
        id: "a-name-given-away-is-taken",
        reason: "the committed name exists until the save ends, so its process cannot give it to another file",
        source: "txf-ktm §4.3",
        example: "p0 open slot=0 name=0 how=0 root=0 access=0xC0110000 share=7 disposition=1 options=0x20 attributes=0 allocation=0 ea=0 security=0\n\
                  p0 rename slot=0 name=10 replace=0 ex=0\n\
                  p0 open slot=1 name=0 how=0 root=0 access=0xC0100000 share=7 disposition=2 options=0x20 attributes=0 allocation=0 ea=0 security=0",
        applies: a_name_given_away_is_taken,
    },
];

/// The difference of the list that this is.
pub fn find(situation: &Situation<'_>) -> Option<&'static Difference> {
    LIST.iter().find(|difference| (difference.applies)(situation))
}

impl Situation<'_> {
    /// The handle that the step is about, or the one that its view was mapped through.
    fn open(&self) -> Option<Open> {
        let call = self.step.call;
        call.slot()
            .map_or_else(|| call.view().and_then(|view| self.world.view(view)), |slot| self.world.open(slot))
    }

    fn named(&self) -> Option<u64> {
        match self.step.call {
            Call::Open { name, how: 0..=2, .. } | Call::Attributes { name } | Call::Stat { name } => {
                Some(name)
            }
            _ => None,
        }
    }

    fn committed(&self, name: u64) -> Option<&Version> {
        let name = name_of(name).split(':').next().unwrap_or_default();
        called(self.old, name)
    }

    /// The number of the folder that a name is in; of the program's own folder by the empty name.
    fn folder(&self, name: u64) -> Option<usize> {
        let name = name_of(name).split(':').next().unwrap_or_default();
        match name.rsplit_once('\\') {
            Some((above, _)) => called(self.old, above).map(|version| version.id),
            None => self.old.iter().find_map(
                |(path, version)| {
                    if path.contains('\\') { None } else { version.folder(path) }
                },
            ),
        }
    }

    /// The folder that a step names.
    fn named_folder(&self) -> Option<usize> {
        match name_of(self.named()?) {
            "" => self.folder(0),
            name => called(self.old, name).filter(|version| version.whole.directory).map(|folder| folder.id),
        }
    }

    /// The file that the step is about, by its number.
    fn file(&self) -> Option<usize> {
        if let Some(open) = self.open() {
            return Some(open.file);
        }
        if let Call::Open { how: 3, root, .. } = self.step.call {
            return self.world.open(root).map(|open| open.file);
        }
        self.named().and_then(|name| self.committed(name)).map(|version| version.id)
    }

    /// Who asks: whose file object it is.
    fn process(&self) -> u64 {
        self.open().map_or(self.world.identity(self.step.process), |open| open.process)
    }

    /// A request that only looks.
    fn looks(&self) -> bool {
        matches!(
            self.step.call,
            Call::Read { .. }
                | Call::Map { .. }
                | Call::ReadView { .. }
                | Call::Query { .. }
                | Call::QueryEa { .. }
                | Call::QuerySecurity { .. }
                | Call::Attributes { .. }
                | Call::Stat { .. }
                | Call::Control { code: 0x9_40CF, .. }
        )
    }

    /// What a read gave is what is committed there. (Where the position stood is not known here: then it is some part.)
    fn is_committed_data(&self) -> bool {
        let at = match self.step.call {
            Call::Read { at, .. } => at,
            Call::ReadView { at, .. } => return self.is_committed_in_view(at),
            _ => return true,
        };
        let file = self.file();
        let streams = self.old.values().filter(|version| Some(version.id) == file);
        let mut contents = streams.flat_map(|version| version.whole.streams.values().map(|(_, data)| data));
        match self.intact {
            Answer::Done(Value::Bytes(read)) if at == POSITION => contents
                .any(|data| read.is_empty() || data.windows(read.len()).any(|part| part == read.as_slice())),
            Answer::Done(Value::Bytes(read)) => contents
                .any(|data| data.get(at as usize..).is_some_and(|rest| rest.starts_with(read.as_slice()))),
            Answer::Failed(status) => *status == Status::END_OF_FILE.0,
            _ => false,
        }
    }
}

impl Situation<'_> {
    /// What a view gave is what is committed there, with zeros to the end of its last page.
    fn is_committed_in_view(&self, at: u64) -> bool {
        let file = self.file();
        let streams = self.old.values().filter(|version| Some(version.id) == file);
        let mut contents = streams.flat_map(|version| version.whole.streams.values().map(|(_, data)| data));
        let Answer::Done(Value::Bytes(read)) = self.intact else { return false };
        contents.any(|data| {
            let bytes = data.get(at as usize..).unwrap_or_default().iter().copied();
            bytes.chain(std::iter::repeat(0)).take(read.len()).eq(read.iter().copied())
        })
    }
}

/// An open of whatever is allowed finds a file that a save makes read-only as it was, and is kept out by its share modes.
fn may_still_write(situation: &Situation<'_>) -> bool {
    const MAXIMUM_ALLOWED: u64 = 0x200_0000;
    let asks = matches!(situation.step.call, Call::Open { access, .. } if access & MAXIMUM_ALLOWED != 0);
    match situation.bare {
        Answer::Done(Value::Opened(_, granted, file)) => {
            asks && granted & WRITES == 0
                && situation.intact.is(Status::SHARING_VIOLATION)
                && situation.world.others_save(situation.process(), *file)
        }
        _ => false,
    }
}

/// An open finds the attributes that a save changes as they were: that the file is to be read only, and those that replacing it
/// has to name, are asked for before share modes are.
fn must_name_old_attributes(situation: &Situation<'_>) -> bool {
    const READ_ONLY: u32 = 0x1;
    const HIDDEN_AND_SYSTEM: u32 = 0x6;
    let Call::Open { name, disposition, options, attributes, .. } = situation.step.call else { return false };
    let named = if matches!(disposition, 0 | 4 | 5) { HIDDEN_AND_SYSTEM & !(attributes as u32) } else { 0 };
    let denies = |old: &Version| {
        // An open that deletes on close is no part of its own process's save either.
        let outside = situation.world.others_save(situation.process(), old.id)
            || options & 0x1000 != 0 && situation.world.is_saved(old.id);
        outside && old.whole.attributes & (READ_ONLY | named) != 0
    };
    situation.bare.is(Status::SHARING_VIOLATION)
        && situation.intact.is(Status::ACCESS_DENIED)
        && situation.committed(name).is_some_and(denies)
}

fn others_see_the_old_version(situation: &Situation<'_>) -> bool {
    if may_still_write(situation) || must_name_old_attributes(situation) {
        return true;
    }
    let Some(file) = situation.file() else { return false };
    let outside = situation.open().is_none_or(|open| !open.takes_part);
    outside
        && situation.looks()
        && situation.world.others_save(situation.process(), file)
        && situation.is_committed_data()
}

fn earlier_readers_see_the_old_version(situation: &Situation<'_>) -> bool {
    let Some(open) = situation.open().filter(|open| !open.takes_part) else { return false };
    let live = situation.world.save_of(open.process, open.file);
    situation.looks() && live.is_some() && open.save != live && situation.is_committed_data()
}

fn listings_show_the_old_version(situation: &Situation<'_>) -> bool {
    let (Call::List { .. }, Answer::Done(Value::Lines(bare)), Answer::Done(Value::Lines(intact))) =
        (situation.step.call, situation.bare, situation.intact)
    else {
        return false;
    };
    let name_and_file = |line: &String| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let saved = |line: &String| file_of_line(line).is_some_and(|file| situation.world.is_saved(file));
    bare.len() == intact.len()
        && bare.iter().zip(intact).all(|(bare, intact)| {
            name_and_file(bare) == name_and_file(intact) && (bare == intact || saved(bare))
        })
}

/// The file that a line of a listing is about, by its number.
fn file_of_line(line: &str) -> Option<usize> {
    line.split(' ').nth(1)?.strip_prefix('#')?.parse().ok()
}

/// A line of a listing without the times.
fn untimed_line(line: &str) -> Option<(&str, &str)> {
    let (before, after) = line.split_once(" Times {")?;
    Some((before, after.split_once('}')?.1))
}

/// The status, and what was told; what waits has been told nothing yet, and what was cancelled never.
fn told(answer: &Answer) -> Option<(u32, Vec<Record>)> {
    let lines = match answer {
        Answer::Done(Value::Lines(lines)) => lines,
        Answer::Waits => return Some((Status::SUCCESS.0, Vec::new())),
        answer => return answer.is(Status::CANCELLED).then(|| (Status::CANCELLED.0, Vec::new())),
    };
    let (status, changes) = lines.split_first()?;
    let change = |line: &String| {
        let (action, name) = line.split_once(' ')?;
        Some((action.parse().ok()?, name.to_owned()))
    };
    let status = u32::from_str_radix(status.strip_prefix("0x")?, 16).ok()?;
    Some((status, changes.iter().map(change).collect::<Option<_>>()?))
}

/// What was told to a step that asks for changes.
fn changes(situation: &Situation<'_>) -> Option<[(u32, Vec<Record>); 2]> {
    let asks = matches!(situation.step.call, Call::Watch { .. } | Call::Changes { .. });
    let both = [told(situation.bare).filter(|_| asks)?, told(situation.intact)?];
    // Its handle was closed, or its process has ended, before anything was told.
    let ended = [Status::NOTIFY_CLEANUP.0, Status::CANCELLED.0];
    let ended = both.iter().all(|(status, _)| ended.contains(status));
    (!ended && !situation.met.saved.is_empty()).then_some(both)
}

fn changes_are_told_with_the_save(situation: &Situation<'_>) -> bool {
    // What has ended there waits here, or the other way round.
    let not_found = |answer: &Answer| answer.is(Status::NOT_FOUND);
    let waits = matches!(situation.step.call, Call::Cancel { .. })
        && !situation.met.saved.is_empty()
        && (not_found(situation.bare) && situation.intact.is_done()
            || not_found(situation.intact) && situation.bare.is_done());
    waits
        || changes(situation).is_some_and(|[(status, bare), (_, intact)]| {
            // More is told without Intact, and does not fit.
            status == Status::NOTIFY_ENUM_DIR.0 || reports::is_about_saves(&bare, &intact, situation.met)
        })
}

fn read_only_files_change_after_they_were_made(situation: &Situation<'_>) -> bool {
    changes(situation)
        .is_some_and(|[(_, bare), (_, intact)]| reports::is_more_of_read_only(&bare, &intact, situation.met))
}

fn one_writer(situation: &Situation<'_>) -> bool {
    let Some(file) = situation.file() else { return false };
    if !situation.intact.is(Status::SHARING_VIOLATION)
        || !situation.world.others_save(situation.process(), file)
    {
        return false;
    }
    match (situation.step.call, situation.bare) {
        (Call::Open { .. }, Answer::Done(Value::Opened(information, granted, _))) => {
            situation.world.keeps_out(file) && (granted & TXF_WRITER != 0 || *information != 1)
        }
        // What would have kept it out anyway is part of the save, or is asked later.
        (Call::Open { .. }, Answer::Failed(_)) => true,
        _ => false,
    }
}

fn no_execution(situation: &Situation<'_>) -> bool {
    const EXECUTE: u32 = 0x20;
    // By a name that its own save has given, its file is told only by the answer.
    let file = match situation.bare {
        Answer::Done(Value::Opened(_, _, file)) => Some(*file),
        // By no name, below what a handle has open.
        _ => situation.file().or_else(|| match situation.step.call {
            Call::Open { how: 2, root, .. } => situation.world.open(root).map(|open| open.file),
            _ => None,
        }),
    };
    let saved = file.is_some_and(|file| situation.world.is_saved(file) || situation.world.is_postponed(file));
    let kept_out = file.is_some_and(|file| situation.world.keeps_out(file));
    let refused = situation.intact.is(Status::SHARING_VIOLATION);
    let Call::Open { access, .. } = situation.step.call else { return false };
    match (situation.bare, situation.intact) {
        // The most that is allowed is less.
        (Answer::Done(Value::Opened(information, granted, file)), Answer::Done(value)) => {
            saved && *value == Value::Opened(*information, granted & !EXECUTE, *file)
        }
        (Answer::Done(Value::Opened(_, granted, _)), _) => kept_out && refused && granted & EXECUTE != 0,
        // It is asked before what else keeps it out.
        _ => saved && refused && access as u32 & (EXECUTE | 0x3000_0000) != 0,
    }
}

fn no_links_from_outside(situation: &Situation<'_>) -> bool {
    matches!(situation.step.call, Call::Link { .. } | Call::Rename { .. } | Call::Control { .. })
        && situation.intact.is(Status::SHARING_VIOLATION)
        && situation.open().is_some_and(|open| {
            let target = match situation.step.call {
                Call::Link { name, .. } | Call::Rename { name, .. } => {
                    situation.committed(name).map(|version| version.id)
                }
                _ => None,
            };
            let saved = |file| situation.world.is_saved(file);
            !open.takes_part && (saved(open.file) || target.is_some_and(saved))
        })
}

fn streams_of_a_save(situation: &Situation<'_>) -> bool {
    let Some(file) = situation.file() else { return false };
    let stream = situation.named().and_then(|name| name_of(name).split_once(':')).map(|(_, stream)| stream);
    stream.is_some_and(|stream| stream != ":$DATA") && situation.world.is_saved(file)
}

fn space(situation: &Situation<'_>) -> bool {
    matches!(situation.step.call, Call::QueryVolume { class: 3 | 7, .. })
        && (situation.world.any_save() || situation.world.any_may_save_again())
        && situation.bare.is_done()
        && situation.intact.is_done()
}

fn in_a_save(situation: &Situation<'_>) -> bool {
    situation.open().is_some_and(|open| open.takes_part)
}

/// In a save, or in one that has gone on without a transaction: its handles are treated alike.
fn is_ours(situation: &Situation<'_>) -> bool {
    situation.open().is_some_and(|open| open.redirected)
}

fn refused_controls(situation: &Situation<'_>) -> bool {
    let Call::Control { code, .. } = situation.step.call else { return false };
    let keeps_out = || situation.open().is_some_and(|open| situation.world.keeps_out(open.file));
    // FSCTL_REQUEST_OPLOCK, malformed: of a file that a save has open it is said first that none is granted.
    if code == 0x9_0240 {
        let ours = situation.open().is_some_and(|open| situation.world.may_be_ours(open.file));
        return ours && !situation.bare.is_done() && situation.intact.is(Status(0xC000_00E2));
    }
    (code == 0x9_C040 || is_done_without(code) && keeps_out())
        && is_ours(situation)
        && situation.intact.is(Status(0xC000_0010))
}

fn refused_valid_data_length(situation: &Situation<'_>) -> bool {
    matches!(situation.step.call, Call::Set { class: 39, .. })
        && is_ours(situation)
        && situation.bare.is_done()
        && situation.intact.is(Status::INVALID_PARAMETER)
}

fn empty_files_are_not_mapped(situation: &Situation<'_>) -> bool {
    let Call::Map { writable, size, .. } = situation.step.call else { return false };
    let told = match situation.bare {
        // A section without a size is as long as the file.
        Answer::Done(_) => writable != 0 && size != 0,
        bare => bare.is(Status(0xC000_011E)) || bare.is(Status(0xC000_0040)),
    };
    told && is_ours(situation) && situation.intact.is(Status::INSUFFICIENT_RESOURCES)
}

fn readers_map_the_committed_version(situation: &Situation<'_>) -> bool {
    let Some(open) = situation.open().filter(|open| !open.takes_part) else { return false };
    matches!(situation.step.call, Call::Map { .. } | Call::ReadView { .. })
        && situation.world.is_saved(open.file)
        && situation.is_committed_data()
}

fn readers_mappings_hold_nothing(situation: &Situation<'_>) -> bool {
    let Some(file) = situation.file() else { return false };
    let save = match situation.open() {
        Some(open) if open.takes_part => open.save,
        Some(_) => return false,
        None => situation.world.save_of(situation.process(), file),
    };
    let refused = [Status(0xC000_0243), Status::CANNOT_DELETE];
    refused.iter().any(|status| situation.bare.is(*status))
        && situation.intact.is_done()
        && situation.world.is_mapped_outside(save, file)
}

fn closed_but_mapped_is_open(situation: &Situation<'_>) -> bool {
    // By whatever name the save has given it.
    let deleted = situation.bare.is(Status(0xC000_0034)) && situation.intact.is(Status::DELETE_PENDING);
    if matches!(situation.step.call, Call::Open { .. }) && deleted {
        return situation.world.keeps_a_deleted_file();
    }
    // Nor does another file get its name.
    if let Call::Rename { name, .. } | Call::Link { name, .. } = situation.step.call {
        let target = situation.committed(name).map(|target| target.id);
        return situation.intact.is(Status::ACCESS_DENIED)
            && target.is_some_and(|file| situation.world.is_postponed(file));
    }
    let told = match situation.step.call {
        Call::Open { .. } => situation.intact.is(Status::SHARING_VIOLATION),
        // One that is deleted is still there.
        Call::ReadView { .. } | Call::WriteView { .. } | Call::FlushView { .. } => {
            matches!(situation.bare, Answer::Failed(_)) && situation.intact.is_done()
        }
        _ => false,
    };
    told && situation.file().is_some_and(|file| situation.world.is_postponed(file))
}

fn mapped_files_change_with_the_save(situation: &Situation<'_>) -> bool {
    let (Answer::Done(bare), Answer::Done(intact)) = (situation.bare, situation.intact) else { return false };
    if let (Call::List { .. }, Value::Lines(bare), Value::Lines(intact)) = (situation.step.call, bare, intact)
    {
        let late = |line: &String| file_of_line(line).is_some_and(|file| situation.world.is_late(file));
        let alike = |bare: &String, intact: &String| {
            bare == intact || late(bare) && untimed_line(bare) == untimed_line(intact)
        };
        return bare.len() == intact.len()
            && bare.iter().zip(intact).all(|(bare, intact)| alike(bare, intact));
    }
    let file = situation.file();
    situation.looks()
        && file.is_some_and(|file| situation.world.is_late(file))
        && untimed(bare).is_some_and(|bare| untimed(intact) == Some(bare))
        && unlike_units(bare, intact) <= 2
}

fn no_delete_on_close(situation: &Situation<'_>) -> bool {
    let renamed = situation.file().is_some_and(|file| situation.world.keeps_out(file));
    // By a name that the save has given, the file is found by its own process only.
    let renamed = renamed || situation.world.has_renamed(situation.process());
    // What would have kept it out anyway is part of the save.
    let kept_out = matches!(situation.bare, Answer::Failed(_))
        && situation.file().is_some_and(|file| situation.world.is_saved(file));
    matches!(situation.step.call, Call::Open { options, .. } if options & 0x1000 != 0)
        && (renamed || kept_out)
        && situation.intact.is(Status::SHARING_VIOLATION)
}

fn no_replacing_of_saved_files(situation: &Situation<'_>) -> bool {
    let (Call::Rename { name, .. } | Call::Link { name, .. }) = situation.step.call else { return false };
    let refused = [Status::ACCESS_DENIED, Status::SHARING_VIOLATION];
    refused.iter().any(|status| situation.intact.is(*status))
        && situation.committed(name).is_some_and(|target| situation.world.is_saved(target.id))
}

fn no_names_of_files_open_for_writing(situation: &Situation<'_>) -> bool {
    let (Call::Rename { name, .. } | Call::Link { name, .. }) = situation.step.call else { return false };
    let told = [Status::ACCESS_DENIED, Status::SHARING_VIOLATION, Status::OBJECT_NAME_COLLISION];
    let Some(open) = situation.open().filter(|open| open.takes_part) else { return false };
    let mut met = situation.committed(name).map(|target| target.id).into_iter().chain(situation.folder(name));
    // What would have kept it out anyway is asked later.
    told.iter().any(|status| situation.intact.is(*status))
        && met.any(|file| situation.world.is_written_outside(open.save, file))
}

fn replaced_files_keep_their_names(situation: &Situation<'_>) -> bool {
    let displaced = situation.file().is_some_and(|file| situation.world.is_displaced(file));
    let outside = situation.open().is_none_or(|open| !open.takes_part);
    let refused =
        [Status::SHARING_VIOLATION, Status::ACCESS_DENIED].iter().any(|status| situation.intact.is(*status));
    // By another name that it has it is found, and has got no time of the change yet.
    let but_for_times = match (situation.bare, situation.intact) {
        (Answer::Done(bare), Answer::Done(intact)) => {
            untimed(bare).is_some_and(|bare| untimed(intact) == Some(bare))
        }
        _ => false,
    };
    displaced && outside && (refused || situation.looks() && (situation.open().is_some() || but_for_times))
}

fn deleted_files_go_with_the_save(situation: &Situation<'_>) -> bool {
    match situation.open() {
        Some(open) => !open.takes_part && situation.world.is_deleted(Some(open.file)),
        None => situation.bare.is(Status::DELETE_PENDING) && situation.world.is_deleted(None),
    }
}

fn an_exchange_ends_waits_for_locks(situation: &Situation<'_>) -> bool {
    let ends = match situation.step.call {
        Call::Flush { .. } => in_a_save(situation),
        Call::Control { code, .. } if is_done_without(code) => in_a_save(situation),
        // What is modified is in a transaction again.
        Call::Write { .. }
        | Call::Basic { .. }
        | Call::Set { .. }
        | Call::SetEa { .. }
        | Call::SetSecurity { .. }
        | Call::Map { .. }
        | Call::Rename { .. }
        | Call::Link { .. }
        | Call::Dispose { .. } => situation.open().is_some_and(|open| open.rests()),
        // Somebody is let in; or the save ends, and a handle that only reads goes back to its own file.
        Call::Open { .. } | Call::Close { .. } | Call::Exit { .. } | Call::Kill { .. } => {
            situation.world.any_save()
        }
        _ => false,
    };
    ends && *situation.bare == Answer::Waits && situation.intact.is(Status::LOCK_NOT_GRANTED)
}

fn by_id_or_folder(situation: &Situation<'_>) -> bool {
    matches!(situation.step.call, Call::Open { how: 2 | 3, .. })
        && situation.world.has_renamed(situation.process())
}

/// A folder's answers are alike but for the times that it has got on the bare volume.
fn folders_change_with_the_save(situation: &Situation<'_>) -> bool {
    let (Answer::Done(bare), Answer::Done(intact)) = (situation.bare, situation.intact) else { return false };
    let file = situation.open().map(|open| open.file).or_else(|| situation.named_folder());
    let folder = |file: usize| {
        let names = 0..crate::program::NAMES.len() as u64;
        names.into_iter().any(|name| situation.folder(name) == Some(file))
    };
    situation.looks()
        && situation.world.any_renamed()
        && file.is_some_and(folder)
        && untimed(bare).is_some_and(|bare| untimed(intact) == Some(bare))
        && unlike_units(bare, intact) <= 2
}

/// What is left of attributes without the times, and how much there is of a structure.
fn untimed(value: &Value) -> Option<(String, usize)> {
    match value {
        Value::Bytes(bytes) => Some((String::new(), bytes.len())),
        Value::Lines(lines) => {
            let line = lines.first()?;
            Some((line[line.find("}, attributes")?..].into(), lines.len()))
        }
        _ => None,
    }
}

/// How many pieces of eight bytes differ: there are two times that change.
fn unlike_units(one: &Value, other: &Value) -> usize {
    match (one, other) {
        (Value::Bytes(one), Value::Bytes(other)) => {
            one.chunks(8).zip(other.chunks(8)).filter(|(one, other)| one != other).count()
        }
        _ => 0,
    }
}

fn others_see_the_old_names(situation: &Situation<'_>) -> bool {
    let by_name = matches!(
        situation.step.call,
        Call::Open { .. }
            | Call::Attributes { .. }
            | Call::Stat { .. }
            | Call::Rename { .. }
            | Call::Link { .. }
            | Call::Query { .. }
            | Call::Dispose { .. }
    );
    by_name && situation.world.others_have_renamed(situation.process())
}

fn a_new_link_is_called_by_the_old_name(situation: &Situation<'_>) -> bool {
    // FileNameInformation, FileAllInformation, FileNormalizedNameInformation.
    if !matches!(situation.step.call, Call::Query { class: 9 | 18 | 48, .. }) {
        return false;
    }
    let Some(open) = situation.open().filter(|open| !open.takes_part) else { return false };
    let Some(names) = situation.met.names.get(&open.file).filter(|names| names.len() > 1) else {
        return false;
    };
    let named = |answer: &Answer| match answer {
        Answer::Done(Value::Bytes(bytes)) => names.iter().any(|name| {
            let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            bytes.windows(units.len()).any(|part| part.eq_ignore_ascii_case(&units))
        }),
        // STATUS_BUFFER_OVERFLOW: one of them may be too long for the buffer.
        answer => answer.is(Status(0x8000_0005)),
    };
    named(situation.bare) && named(situation.intact)
}

fn listings_show_the_old_names(situation: &Situation<'_>) -> bool {
    matches!(situation.step.call, Call::List { .. }) && situation.world.any_renamed()
}

fn a_name_given_away_is_taken(situation: &Situation<'_>) -> bool {
    let makes = matches!(situation.step.call, Call::Open { disposition: 0 | 2 | 3 | 5, .. });
    let takes = makes || matches!(situation.step.call, Call::Rename { .. } | Call::Link { .. });
    takes && situation.world.has_renamed(situation.process()) && !situation.intact.is_done()
}
