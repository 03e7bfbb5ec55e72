//! What a process sees by name while names are others inside its save than outside.
//!
//! Outside, a renamed file keeps its old name and a deleted one stays until the commit (txf-ktm §4.3). Its own process
//! is to find it as it would without us: by the new name, no more by the old one. Listings of folders show what is
//! committed.

use kernel::callback::{Callback, Create as Parameters};
use kernel::context::ContextRef;
use kernel::file::Open;
use kernel::name::{FileName, NameForm};
use kernel::pool::{PoolSlice, Shared};
use kernel::process;
use kernel::transaction::TransactionRef;
use kernel::{Result, Status};
use widestring::U16Str;

use super::decision::{self, FILE_CREATE, FILE_OPEN_BY_FILE_ID, Intent};
use super::opening::{is_case_sensitive, request};
use crate::Intact;
use crate::report::counters;
use crate::save::failure::{Failure, classify};
use crate::save::files::Files;
use crate::save::live::Save;

/// A create by a name that exists inside a save only: the application's own create goes down by a committed name of the
/// same stream of the same file.
pub struct Alias {
    /// The save whose file it is.
    pub save: Shared<Save>,
    committed: PoolSlice<u16>,
}

impl Alias {
    /// For a create by `name` of one of the save's files. Fails with `INSUFFICIENT_RESOURCES`. `None`: it is none of them.
    fn new(save: &Shared<Save>, name: &FileName, file: u64) -> Option<Result<Self>> {
        // The save may have begun with another stream of the file than this create is about.
        let committed = save.files.committed_name(file, name.volume_length(), name.stream().as_slice())?;
        Some(committed.map(|committed| Alias { save: save.clone(), committed }))
    }

    /// The committed name, from the root of the volume.
    pub fn committed(&self) -> &U16Str {
        U16Str::from_slice(&self.committed)
    }
}

/// What a create is about.
pub enum View {
    /// What the volume says.
    Committed,
    /// A file of a save, by a name of its own.
    Alias(Alias),
    /// Nothing any more: it fails.
    Fails(Status),
}

/// Looks a create's name up in the saves of its process. PASSIVE_LEVEL.
#[inline]
pub fn of(data: &Callback<'_>) -> View {
    if counters::any_renamed() { look(data) } else { View::Committed }
}

fn look(data: &Callback<'_>) -> View {
    let (Some(parameters), Some(file), Some(filter)) = (data.create(), data.file(), Intact::filter()) else {
        return View::Committed;
    };
    let request = request(data, file, &parameters);
    if !decision::may_open_a_file(&request)
        || parameters.options & FILE_OPEN_BY_FILE_ID != 0
        || data.has_transaction()
        || file.is_transacted()
        || process::is_inside_file_system()
    {
        return View::Committed;
    }
    let instance = data.instance();
    let Ok(files) = ContextRef::<Files>::of_instance(instance) else { return View::Committed };
    let process = data.process().key();
    let mut after = 0;
    while let Some(save) = files.renamed_after(process, after) {
        after = save.number;
        save.wait_if_ending();
        // Known only now, because it costs more.
        let name = match FileName::of(data, NameForm::Opened) {
            Ok(name) => name,
            Err(Status::INSUFFICIENT_RESOURCES) => return View::Fails(Status::INSUFFICIENT_RESOURCES),
            Err(_) => return View::Committed,
        };
        let case_sensitive = is_case_sensitive(data);
        let find = |transaction: Option<&TransactionRef>| {
            let look = Open { transaction, ..Open::look(name.full(), case_sensitive) };
            look.open(filter, instance).and_then(|opened| opened.file.object().id(instance))
        };
        // What it had is gone, and its program has been told.
        if save.is_gone() || !save.look() {
            continue;
        }
        // Outside a transaction its names are everybody's.
        let found = save.inside().map(|inside| inside.map(|inside| (find(Some(&inside)), find(None))));
        save.is_through();
        let Ok(Some(found)) = found else { continue };
        let view = match found {
            (Ok(inside), outside) if outside != Ok(inside) && save.files.has(inside) => {
                if decision::intent(&request) == Intent::Ignored {
                    // It takes no part in saves, so it is kept out of this one, as it would be by the file's other name.
                    View::Fails(Status::SHARING_VIOLATION)
                } else if parameters.disposition == FILE_CREATE {
                    View::Fails(Status::OBJECT_NAME_COLLISION)
                } else {
                    match Alias::new(&save, &name, inside) {
                        Some(Ok(alias)) => View::Alias(alias),
                        Some(Err(status)) => View::Fails(status),
                        None => continue,
                    }
                }
            }
            // Its program is told now. What it would open is not what it means.
            (Err(status), _) if classify(status.0.cast_unsigned()) == Failure::TransactionGone => {
                save.lose(status);
                View::Fails(Status::UNEXPECTED_IO_ERROR)
            }
            // Outside, the name may be another file's.
            (Err(Status::INSUFFICIENT_RESOURCES), _) => View::Fails(Status::INSUFFICIENT_RESOURCES),
            (Err(Status::DELETE_PENDING), outside) if outside != Err(Status::DELETE_PENDING) => {
                View::Fails(Status::DELETE_PENDING)
            }
            // Its program wants a new file there. Where nobody writes into the save, it can have it.
            (Err(Status::OBJECT_NAME_NOT_FOUND), Ok(_))
                if decision::creates(parameters.disposition) && save.is_alone() =>
            {
                if let Some(intact) = Intact::get() {
                    save.settle(intact, instance, &files, None);
                }
                if save.is_kept() {
                    continue;
                }
                // The name was not given away after all, and what is there is all that is left of the file.
                View::Fails(Status::UNEXPECTED_IO_ERROR)
            }
            (Err(Status::OBJECT_NAME_NOT_FOUND), Ok(_)) => View::Fails(missing(&parameters)),
            _ => continue,
        };
        return view;
    }
    View::Committed
}

/// A name that is gone inside and not outside. A new file cannot have it before the commit; programs know that from files
/// that are being deleted while somebody has them open.
fn missing(parameters: &Parameters) -> Status {
    if decision::creates(parameters.disposition) {
        Status::DELETE_PENDING
    } else {
        Status::OBJECT_NAME_NOT_FOUND
    }
}
