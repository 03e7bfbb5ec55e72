//! Which rights a create gets.

use super::record::{FileRecord, RecordNumber};
use super::request::{CreateRequest, Disposition};
use super::security::{self, access, attributes};
use super::walk::Found;
use super::{View, Volume};
use crate::Status;

impl Volume {
    /// The rights that an open of an existing file gets.
    pub(super) fn grant(
        &self,
        request: &CreateRequest,
        found: &Found,
        record: &FileRecord,
        number: RecordNumber,
        implied: u32,
    ) -> Result<u32, Status> {
        let subject = request.subject.as_ref();
        let mut allowed = security::allowed(&record.security, subject);
        if let Some(parent) =
            found.link.as_ref().and_then(|link| self.record(View::of(request.transaction), link.parent))
        {
            let above = security::allowed(&parent.security, subject);
            if above & access::DELETE_CHILD != 0 {
                allowed |= access::DELETE;
            }
            if above & access::READ_DATA != 0 {
                allowed |= access::READ_ATTRIBUTES;
            }
        }
        if record.attributes & attributes::READONLY != 0 && !record.directory {
            allowed &= !(access::WRITE_DATA | access::APPEND_DATA);
        }
        let maximum = request.access & access::MAXIMUM_ALLOWED != 0;
        let wanted = security::map_generic(request.access & !access::MAXIMUM_ALLOWED);
        if wanted & access::ACCESS_SYSTEM_SECURITY & !allowed != 0 {
            return Err(Status::PRIVILEGE_NOT_HELD);
        }
        if (wanted | implied) & !allowed != 0 {
            return Err(Status::ACCESS_DENIED);
        }
        let mut granted = wanted | if maximum { allowed & access::ALL } else { 0 };
        if granted & access::EXECUTE != 0
            && !record.directory
            && !self.may_execute(request.transaction, number, granted | implied)
        {
            if wanted & access::EXECUTE != 0 {
                return Err(Status::CANNOT_EXECUTE_FILE_IN_TRANSACTION);
            }
            granted &= !access::EXECUTE;
        }
        Ok(granted)
    }
}

/// The creator of a file gets what it asks for, whatever the new descriptor says; only MAXIMUM_ALLOWED is
/// measured by the descriptor.
pub(super) fn grant_creator(request: &CreateRequest, security: &[u8]) -> Result<u32, Status> {
    let subject = request.subject.as_ref();
    let wanted = security::map_generic(request.access & !access::MAXIMUM_ALLOWED);
    let privileged = subject.is_none_or(|subject| subject.privileged);
    if wanted & access::ACCESS_SYSTEM_SECURITY != 0 && !privileged {
        return Err(Status::PRIVILEGE_NOT_HELD);
    }
    let maximum = request.access & access::MAXIMUM_ALLOWED != 0;
    Ok(wanted | if maximum { security::allowed(security, subject) & access::ALL } else { 0 })
}

/// What a disposition asks for beyond the desired access, when there is something to replace.
pub(super) fn implied_access(disposition: Disposition, replaces: bool) -> u32 {
    let overwrite = access::WRITE_DATA | access::WRITE_EA | access::WRITE_ATTRIBUTES;
    match disposition {
        Disposition::Supersede if replaces => overwrite | access::DELETE,
        _ if replaces => overwrite,
        _ => 0,
    }
}
