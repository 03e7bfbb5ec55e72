//! Who opens a file that somebody else's save holds, and whom share modes would have let in without us: gets in. The save
//! commits what is there, and its handles go on without a transaction.
//!
//! TxF lets nobody else open for any writing right, nor for execution, a file that a transaction modifies, whatever the
//! share modes (txf-ktm §4.2).

use kernel::Status;
use kernel::callback::{Callback, Create as Parameters};
use kernel::file::Open;
use kernel::filter;
use kernel::name::FileName;

use super::decision::{self, CANNOT_EXECUTE_FILE_IN_TRANSACTION, Claim, FILE_OPEN};
use super::opening::is_case_sensitive;
use crate::save::live::Save;
use crate::save::state::{Place, UNNAMED};

/// A create that a save may keep out.
#[derive(Clone, Copy)]
pub struct Newcomer {
    claim: Claim,
    /// It may be about another stream than a file's unnamed one.
    may_name_stream: bool,
}

impl Newcomer {
    /// `None`: TxF keeps it out of nothing.
    pub fn of(data: &Callback<'_>, parameters: &Parameters, takes: bool) -> Option<Self> {
        takes.then(|| Newcomer {
            may_name_stream: data.may_name_stream(),
            claim: Claim {
                access: decision::implied_access(
                    parameters.access,
                    parameters.disposition,
                    parameters.options,
                ),
                share: u32::from(parameters.share),
            },
        })
    }

    /// Whether the handles of a save would share their file with it (`place`: which, if that is known), and it could go on
    /// without a transaction. IRQL up to APC_LEVEL.
    pub fn is_let_in(self, save: &Save, place: Place) -> bool {
        save.could_go_on_without() && save.shares_with(self.claim, |own| own == place)
    }

    /// Whether that may be so for any of its files. IRQL up to APC_LEVEL.
    pub fn may_be_let_in(self, save: &Save) -> bool {
        let is_about = |own: Place| own.stream == UNNAMED && !self.may_name_stream;
        save.could_go_on_without() && (save.is_of_process() || save.shares_with(self.claim, is_about))
    }

    /// Whether it would be granted what it asks for, were it not for the transaction. PASSIVE_LEVEL.
    pub fn is_kept_out(
        self,
        data: &Callback<'_>,
        parameters: &Parameters,
        name: &FileName,
        filter: filter::Handle,
    ) -> bool {
        let attempt = Open {
            access: self.claim.access,
            options: decision::trial_options(parameters.options),
            disposition: FILE_OPEN,
            checked: true,
            ignore_share: true,
            ..Open::look(name.full(), is_case_sensitive(data))
        };
        matches!(
            attempt.open(filter, data.instance()),
            Err(Status::SHARING_VIOLATION
                | Status::TRANSACTIONAL_CONFLICT
                | CANNOT_EXECUTE_FILE_IN_TRANSACTION)
        )
    }
}
