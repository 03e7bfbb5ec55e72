//! The folder of the experiments that the lab performs too.

use std::fs;
use std::path::PathBuf;

use intact_faults::experiments::{self, Open, Outcome, Place};

use super::super::ktm::{Ktm, Transaction};
use super::super::nt;

/// A folder that no policy covers.
pub(super) struct Plain {
    pub(super) folder: PathBuf,
    pub(super) ktm: Option<Ktm>,
}

/// A file in it.
pub(super) struct PlainFile {
    file: nt::File,
    folder: PathBuf,
}

impl Place for Plain {
    type File = PlainFile;
    type Transaction = Transaction;

    fn transaction(&self) -> Result<Transaction, String> {
        let ktm = self.ktm.ok_or("this system has no transactions (NtCreateTransaction is not there)")?;
        ktm.transaction().map_err(|status| format!("NtCreateTransaction: {status}"))
    }

    fn open(&self, name: &str, how: Open, inside: Option<&Transaction>) -> Outcome<PlainFile> {
        let path = self.folder.join(name);
        let open = || nt::File::open(&path, how);
        let (file, _) = match inside {
            Some(transaction) => transaction.inside(open)?,
            None => open()?,
        };
        Ok(PlainFile { file, folder: self.folder.clone() })
    }

    fn contents(&self, name: &str) -> Outcome<Option<Vec<u8>>> {
        nt::contents(&self.folder.join(name))
    }

    fn put(&self, name: &str, contents: &[u8]) -> Outcome<()> {
        nt::put(&self.folder.join(name), contents)
    }

    fn remove(&self, name: &str) {
        drop(fs::remove_file(self.folder.join(name)));
    }
}

impl experiments::File for PlainFile {
    fn read(&self, offset: u64, length: usize) -> Outcome<Vec<u8>> {
        self.file.read(offset, length)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Outcome<usize> {
        self.file.write(offset, data)
    }

    fn lock(&self, offset: u64, length: u64) -> Outcome<()> {
        self.file.lock(offset, length)
    }

    fn unlock(&self, offset: u64, length: u64) -> Outcome<()> {
        self.file.unlock(offset, length)
    }

    fn id(&self) -> Outcome<u64> {
        self.file.id()
    }

    fn delete(&self, posix: bool) -> Outcome<()> {
        self.file.delete(posix)
    }

    fn rename(&self, to: &str, posix: bool) -> Outcome<()> {
        self.file.rename(&self.folder.join(to), posix)
    }

    fn control(&self, code: u32, input: &[u8]) -> Outcome<()> {
        self.file.control(code, input, 0).map(|_| ())
    }
}

impl experiments::Transaction for Transaction {
    fn commit(&self) -> Outcome<()> {
        Transaction::commit(self)
    }

    fn rollback(&self) -> Outcome<()> {
        Transaction::rollback(self)
    }
}
