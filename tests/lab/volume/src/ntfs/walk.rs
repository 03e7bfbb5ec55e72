//! From a path, a relative path or an id to a file record.

use super::record::{Link, ROOT, RecordNumber};
use super::request::{CreateRequest, ReparseStop, Target};
use super::{View, Volume};
use crate::Status;
use crate::names::{Key, Path, Wide};

/// A name, and what is there.
pub(super) struct Found {
    /// `None` for an open by id and for the root.
    pub(super) link: Option<Link>,
    pub(super) record: Option<RecordNumber>,
    pub(super) path: Path,
}

pub(super) enum Walk {
    Found(Found),
    Stopped(ReparseStop),
}

impl Volume {
    /// Walks to the target. Path errors end the walk, a missing last component does not.
    pub(super) fn find(&mut self, request: &CreateRequest) -> Result<Walk, Status> {
        let view = View::of(request.transaction);
        let mut reopened = None;
        let (start, link, units) = match &request.target {
            Target::Path(path) => (ROOT, None, path.clone()),
            Target::Relative(base, path) => {
                if path.0.first() == Some(&u16::from(b'\\')) {
                    return Err(Status::OBJECT_NAME_INVALID);
                }
                let base = self.open(*base)?;
                if let Some(status) = base.ended {
                    return Err(status);
                }
                let (number, link) = (base.file.number(), base.link.clone());
                if path.0.is_empty() && !base.stream.is_empty() {
                    // The object that the handle stands for (winbase/ReOpenFile), which is a stream.
                    let stream = self.record(view, number).and_then(|file| file.streams.get(&base.stream));
                    reopened = Some(stream.ok_or(Status::FILE_DELETED)?.name.clone());
                }
                (number, link, path.clone())
            }
            Target::Id(id) => {
                let record = self.record(view, id.number()).filter(|r| r.sequence == (id.0 >> 48) as u16);
                // The delete sample of Microsoft's relies on INVALID_PARAMETER for a file that is gone
                // (`txf-ktm §3`).
                let record = record.filter(|r| !r.links.is_empty() || id.number() == ROOT);
                let record = record.ok_or(Status::INVALID_PARAMETER)?;
                (id.number(), record.links.first().cloned(), Wide::new())
            }
        };
        let mut path = Path::parse(&units.0).ok_or(Status::OBJECT_NAME_INVALID)?;
        path.stream = path.stream.or(reopened);
        if start == ROOT && path.components.first().is_some_and(is_metadata_file) {
            let inside = request.transaction.is_some();
            return Err(if inside { Status::TRANSACTIONAL_OPEN_NOT_ALLOWED } else { Status::ACCESS_DENIED });
        }
        let mut found = Found { link, record: Some(start), path };
        let components = found.path.components.clone();
        let mut unparsed = units.0.len() - usize::from(units.0.first() == Some(&u16::from(b'\\')));
        for (index, name) in components.iter().enumerate() {
            let parent = found.record.ok_or(Status::OBJECT_PATH_NOT_FOUND)?;
            let record = self.record(view, parent).ok_or(Status::OBJECT_PATH_NOT_FOUND)?;
            if let Some(reparse) = record.reparse.clone().filter(|_| index > 0) {
                let unparsed = unparsed as u16 + 1;
                return Ok(Walk::Stopped(ReparseStop { reparse, unparsed }));
            }
            if !record.directory {
                return Err(Status::OBJECT_PATH_NOT_FOUND);
            }
            let entry = self.lookup(view, parent, &Key::of(&name.0));
            let last = index + 1 == components.len();
            found.record = entry.map(|entry| entry.target);
            let name = entry.filter(|_| found.record.is_some()).map_or(name, |entry| &entry.name).clone();
            unparsed = unparsed.saturating_sub(components[index].0.len() + usize::from(!last));
            found.link = Some(Link { parent, name });
        }
        Ok(Walk::Found(found))
    }
}

/// NTFS's own files in the root directory.
fn is_metadata_file(name: &Wide) -> bool {
    let own =
        ["$Mft", "$MftMirr", "$LogFile", "$Volume", "$AttrDef", "$Bitmap", "$Boot", "$BadClus", "$Secure"];
    let more = ["$UpCase", "$Extend"];
    own.iter().chain(&more).any(|known| Key::of(&Wide::from(*known).0) == Key::of(&name.0))
}
