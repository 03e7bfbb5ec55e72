//! Experiments about transactions that only need files: performed on Windows to ask, and in the lab, whose answers say
//! what the model expects.

mod ends;
mod isolation;
mod names;
mod status;

pub use status::Status;

use crate::answer::Answer;

/// A result of the native API.
pub type Outcome<T> = Result<T, Status>;

/// How to open: synchronously, a file and no directory.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// Access mask; SYNCHRONIZE is added.
    pub access: u32,
    /// FILE_SHARE_*.
    pub share: u32,
    /// FILE_OPEN and its like.
    pub disposition: u32,
    /// FILE_* create options besides.
    pub options: u32,
}

/// GENERIC_READ.
pub const READ: u32 = 0x8000_0000;
/// GENERIC_WRITE.
pub const WRITE: u32 = 0x4000_0000;
/// DELETE.
pub const DELETE: u32 = 0x1_0000;
/// FILE_READ_ATTRIBUTES.
pub const READ_ATTRIBUTES: u32 = 0x80;
/// FILE_WRITE_ATTRIBUTES.
pub const WRITE_ATTRIBUTES: u32 = 0x100;
/// FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE.
pub const SHARE_ALL: u32 = 7;

impl Open {
    /// What exists, sharing everything.
    pub fn existing(access: u32) -> Open {
        Open { access, share: SHARE_ALL, disposition: 1, options: 0 }
    }
}

/// An open file; closed when dropped.
pub trait File {
    /// NtReadFile.
    ///
    /// # Errors
    /// Its status.
    fn read(&self, offset: u64, length: usize) -> Outcome<Vec<u8>>;
    /// NtWriteFile; the bytes written.
    ///
    /// # Errors
    /// Its status.
    fn write(&self, offset: u64, data: &[u8]) -> Outcome<usize>;
    /// NtLockFile, exclusive, without waiting.
    ///
    /// # Errors
    /// Its status.
    fn lock(&self, offset: u64, length: u64) -> Outcome<()>;
    /// NtUnlockFile.
    ///
    /// # Errors
    /// Its status.
    fn unlock(&self, offset: u64, length: u64) -> Outcome<()>;
    /// FileInternalInformation.
    ///
    /// # Errors
    /// Its status.
    fn id(&self) -> Outcome<u64>;
    /// FileDispositionInformation, or the POSIX form of FileDispositionInformationEx.
    ///
    /// # Errors
    /// Its status.
    fn delete(&self, posix: bool) -> Outcome<()>;
    /// FileRenameInformation, or FileRenameInformationEx with POSIX semantics; replacing, to a name in the
    /// experiment's folder.
    ///
    /// # Errors
    /// Its status.
    fn rename(&self, to: &str, posix: bool) -> Outcome<()>;
    /// NtFsControlFile without output.
    ///
    /// # Errors
    /// Its status.
    fn control(&self, code: u32, input: &[u8]) -> Outcome<()>;
}

/// A transaction of the program's own; its last handle is closed when it is dropped.
pub trait Transaction {
    /// NtCommitTransaction.
    ///
    /// # Errors
    /// Its status.
    fn commit(&self) -> Outcome<()>;
    /// NtRollbackTransaction.
    ///
    /// # Errors
    /// Its status.
    fn rollback(&self) -> Outcome<()>;
}

/// Where experiments take place: one folder, which no filter looks after.
pub trait Place {
    /// Its files.
    type File: File;
    /// Its transactions.
    type Transaction: Transaction;
    /// A new transaction, or what keeps the question from being asked.
    ///
    /// # Errors
    /// A sentence.
    fn transaction(&self) -> Result<Self::Transaction, String>;
    /// Opens a name in the folder, in a transaction or outside.
    ///
    /// # Errors
    /// The status of NtCreateFile.
    fn open(&self, name: &str, how: Open, inside: Option<&Self::Transaction>) -> Outcome<Self::File>;
    /// All bytes of a file, or nothing if there is none, from outside.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn contents(&self, name: &str) -> Outcome<Option<Vec<u8>>>;
    /// Makes or replaces a file.
    ///
    /// # Errors
    /// Why not.
    fn put(&self, name: &str, contents: &[u8]) -> Outcome<()>;
    /// Deletes a file, if it is there.
    fn remove(&self, name: &str);
}

/// The old version of every file.
pub const OLD: &[u8] = b"the old version of this file";
/// What is written over it.
pub const NEW: &[u8] = b"THE NEW VERSION";

/// `STATUS_SUCCESS`, or the failure.
pub fn shown<T>(result: &Outcome<T>) -> String {
    match result {
        Ok(_) => Status(0).to_string(),
        Err(status) => status.to_string(),
    }
}

/// What an experiment says.
#[derive(Clone, Debug)]
pub enum Finding {
    /// This.
    Concluded(String),
    /// Nothing yet, because of this.
    Open(String),
    /// This much, and the rest is open.
    Partly(String, String),
}

/// A fresh file with [`OLD`] in it.
fn fresh<'a>(place: &impl Place, name: &'a str) -> Result<&'a str, Finding> {
    match place.put(name, OLD) {
        Ok(()) => Ok(name),
        Err(status) => Err(Finding::Open(format!("{name} cannot be made: {status}"))),
    }
}

fn transaction<P: Place>(place: &P) -> Result<P::Transaction, Finding> {
    place.transaction().map_err(Finding::Open)
}

/// What the file holds, in a few words.
fn holds(place: &impl Place, name: &str) -> String {
    match place.contents(name) {
        Ok(Some(contents)) if contents == OLD => "the old version".into(),
        Ok(Some(contents)) if contents.starts_with(NEW) => "the new version".into(),
        Ok(Some(contents)) => format!("{} other bytes", contents.len()),
        Ok(None) => "no such file".into(),
        Err(status) => format!("cannot be read: {status}"),
    }
}

fn exists(place: &impl Place, name: &str) -> &'static str {
    let open = place.open(name, Open::existing(READ_ATTRIBUTES), None);
    if open.is_ok() { "there" } else { "not there" }
}

/// Ids and questions of all experiments here.
pub const QUESTIONS: &[(&str, &str)] = &[
    (
        "M2",
        "A non-transacted FILE_READ_ATTRIBUTES open beside a transacted writer of the same file; a second writer \
         in the same transaction",
    ),
    (
        "M3",
        "Rename, POSIX rename and delete with an extra non-transacted handle open, in a transaction and outside",
    ),
    ("Tb", "Rollback of an aborted transaction"),
    ("Tc", "Does closing the last handle of a transaction with open transacted files abort it at once?"),
    ("Td", "FileRenameInformationEx and FileDispositionInformationEx (POSIX) in a transaction"),
    ("Te", "Byte-range locks in a transaction"),
    ("Tg", "Supersede and overwrite in a transaction, and the file id"),
    ("Th", "Setting a reparse point in a transaction"),
    ("Tj", "Do non-transacted handles with FILE_WRITE_ATTRIBUTES only really conflict with a transaction?"),
];

impl Finding {
    /// The answer with what was found.
    pub fn complete(self, answer: Answer) -> Answer {
        match self {
            Finding::Concluded(conclusion) => answer.concluding(conclusion),
            Finding::Open(why) => answer.left_open(why),
            Finding::Partly(conclusion, why) => answer.concluding(conclusion).left_open(why),
        }
    }
}

/// Performs every experiment.
pub fn all<P: Place>(place: &P) -> Vec<Answer> {
    let ask = |(id, question): &(&str, &str)| {
        let mut answer = Answer::new(id, question);
        perform(place, &mut answer).complete(answer)
    };
    QUESTIONS.iter().map(ask).collect()
}

/// Performs one, and notes what it does into the answer.
fn perform<P: Place>(place: &P, answer: &mut Answer) -> Finding {
    let result = match answer.id.as_str() {
        "M2" => isolation::beside_a_writer(place, answer),
        "M3" => names::with_an_extra_handle(place, answer),
        "Tb" => ends::rollback_twice(place, answer),
        "Tc" => ends::last_handle(place, answer),
        "Td" => names::posix(place, answer),
        "Te" => isolation::locks(place, answer),
        "Tg" => names::file_id(place, answer),
        "Th" => names::reparse(place, answer),
        "Tj" => isolation::attribute_writers(place, answer),
        other => Err(Finding::Open(format!("there is no experiment {other}"))),
    };
    result.unwrap_or_else(|finding| finding)
}
