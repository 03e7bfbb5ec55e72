//! The experiments of `intact-faults answers` that only need files and transactions, in the lab: what its model of
//! Windows answers. The program shows it beside what a real machine says.

#![cfg(not(windows))]

use std::path::PathBuf;

use intact_faults::Answer;
use intact_faults::answer::of_the_lab;
use intact_faults::experiments::{self, File, Open, Outcome, Place, Status, Transaction};
use intact_saves::Scene;
use lab::{CreateOptions, Handle, NON_DIRECTORY, Name, Offset, Process};

/// The bare lab volume, and a program on it.
struct Volume(Process);

struct LabFile(Process, Handle);

struct LabTransaction(Process, Handle);

fn path(name: &str) -> String {
    format!(r"C:\Plain\{name}")
}

fn status<T>(result: Result<T, lab::Status>) -> Outcome<T> {
    result.map_err(|status| Status(status.0))
}

impl Place for Volume {
    type File = LabFile;
    type Transaction = LabTransaction;

    fn transaction(&self) -> Result<LabTransaction, String> {
        let handle = self.0.call(|caller| caller.create_transaction());
        handle.map(|handle| LabTransaction(self.0.clone(), handle)).map_err(|status| status.to_string())
    }

    fn open(&self, name: &str, how: Open, inside: Option<&LabTransaction>) -> Outcome<LabFile> {
        let mut options = CreateOptions::new(Name::Path(path(name)), how.access, how.disposition)
            .share(how.share)
            .options(NON_DIRECTORY | how.options);
        if let Some(transaction) = inside {
            options = options.inside(transaction.1);
        }
        status(self.0.create_file(options)).map(|handle| LabFile(self.0.clone(), handle))
    }

    fn contents(&self, name: &str) -> Outcome<Option<Vec<u8>>> {
        match self.0.contents(&path(name)) {
            Err(lab::Status(0xC000_0034)) => Ok(None),
            other => status(other).map(Some),
        }
    }

    fn put(&self, name: &str, contents: &[u8]) -> Outcome<()> {
        status(self.0.put(&path(name), contents))
    }

    fn remove(&self, name: &str) {
        let path = path(name);
        let _ = self.0.call(move |caller| caller.delete(&path));
    }
}

impl Drop for LabFile {
    fn drop(&mut self) {
        self.0.close(self.1).expect("a handle of our own");
    }
}

impl File for LabFile {
    fn read(&self, offset: u64, length: usize) -> Outcome<Vec<u8>> {
        status(self.0.read(self.1, offset, length))
    }

    fn write(&self, offset: u64, data: &[u8]) -> Outcome<usize> {
        let (handle, data) = (self.1, data.to_vec());
        status(self.0.call(move |caller| caller.write(handle, Offset::At(offset), &data)))
    }

    fn lock(&self, offset: u64, length: u64) -> Outcome<()> {
        let handle = self.1;
        status(self.0.call(move |caller| caller.lock(handle, offset, length, true, false)))
    }

    fn unlock(&self, offset: u64, length: u64) -> Outcome<()> {
        let handle = self.1;
        status(self.0.call(move |caller| caller.unlock(handle, offset, length)))
    }

    fn id(&self) -> Outcome<u64> {
        let handle = self.1;
        status(self.0.call(move |caller| caller.information(handle))).map(|information| information.id)
    }

    fn delete(&self, posix: bool) -> Outcome<()> {
        let handle = self.1;
        let set = move |caller: &lab::Caller<'_>| match posix {
            true => caller.set_information(handle, 64, &3u32.to_le_bytes()),
            false => caller.set_delete(handle, true),
        };
        status(self.0.call(set))
    }

    fn rename(&self, to: &str, posix: bool) -> Outcome<()> {
        let (handle, to) = (self.1, format!(r"\??\{}", path(to)));
        let name: Vec<u8> = to.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut data = if posix { 3u64 } else { 1 }.to_le_bytes().to_vec();
        data.extend_from_slice(&[0; 8]);
        data.extend_from_slice(&(name.len() as u32).to_le_bytes());
        data.extend_from_slice(&name);
        let class = if posix { 65 } else { 10 };
        status(self.0.call(move |caller| caller.set_information(handle, class, &data)))
    }

    fn control(&self, code: u32, input: &[u8]) -> Outcome<()> {
        let (handle, input) = (self.1, input.to_vec());
        status(self.0.call(move |caller| caller.fs_control(handle, code, &input, 0))).map(|_| ())
    }
}

impl Drop for LabTransaction {
    fn drop(&mut self) {
        self.0.close(self.1).expect("a handle of our own");
    }
}

impl Transaction for LabTransaction {
    fn commit(&self) -> Outcome<()> {
        let handle = self.1;
        status(self.0.call(move |caller| caller.commit_transaction(handle)))
    }

    fn rollback(&self) -> Outcome<()> {
        let handle = self.1;
        status(self.0.call(move |caller| caller.rollback_transaction(handle)))
    }
}

fn answers() -> Vec<Answer> {
    let scene = Scene::builder().bare().no_files().file(r"Plain\folder.txt", b"").build();
    experiments::all(&Volume(scene.program("intact-faults.exe")))
}

#[test]
fn the_lab_answers_what_is_kept_as_its_model() {
    let answers = answers();
    let kept = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("lab-answers.json");
    if std::env::var_os("INTACT_KEEP_LAB_ANSWERS").is_some() {
        let text = serde_json::to_string_pretty(&answers).expect("JSON");
        std::fs::write(&kept, format!("{text}\n")).expect("writing the answers of the lab");
        return;
    }
    let known = of_the_lab();
    for (answer, known) in answers.iter().zip(&known) {
        assert_eq!(
            answer, known,
            "if the model was changed on purpose, INTACT_KEEP_LAB_ANSWERS=1 keeps it anew"
        );
    }
    assert_eq!(answers.len(), known.len());
}

#[test]
fn every_experiment_comes_to_a_conclusion_where_there_are_transactions() {
    for answer in answers() {
        assert!(answer.conclusion.is_some() && answer.open.is_none(), "{answer:#?}");
    }
}
