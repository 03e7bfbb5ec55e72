//! intact.sys: makes the saves of unmodified programs atomic.
//!
//! A program that the policy matches opens a file to modify it. The driver opens the same file once more below itself,
//! inside a kernel transaction: the *twin*. The program's own file object stays a genuine one of NTFS, opened for
//! attributes only, and what the program does with it is sent to the twin. When the program closes its last writing
//! handle the transaction commits; if the program dies, or something that it asked for failed, it is rolled back, and
//! the file is what it was before.
//!
//! Read on in this order: this page (what is registered, what happens at load and unload), [`operations`] (the table of
//! what becomes of each operation), then one file per family below it; [`save`] is what a save is and how it ends.
//!
//! # Limits
//!
//! - A save is one file and its names, or all that a process modifies under a rule (`Scope` = `Process`). Controls that a
//!   transaction cannot take back are refused on a redirected handle. The table says with which status.
//! - While names are changed in a save, folders list them as they are committed, and a name that was given away cannot be
//!   used for another file before the save ends.
//! - While a save lives TxF lets nobody else open its file for writing. Whom share modes let in gets in all the same, and the
//!   save's handles go on without a transaction.
//! - A flush commits what the save has written so far (`OnFlush` = `Defer`: it does not); writing through does not.
//! - A handle that its program opened for reading before the save began sees the last committed version.
//! - A power cut in a save that makes a file may leave the file, empty.
//! - Where no transaction can be had the open passes through untouched, and an event says why.
//!
//! Everything that decides is a pure function, compiled and tested on any host. Everything that touches the kernel goes
//! through the owner types of the crate `kernel`, which has the only `unsafe` code.
#![cfg_attr(windows, no_std)]
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic,
        clippy::integer_division
    )
)]

pub mod attach;
pub mod operations;
pub mod save;

#[cfg(windows)]
pub mod report;
pub mod settings;

#[cfg(windows)]
pub mod driver {
    //! The filter: what is registered, and what happens at load and unload.

    use kernel::callback::OperationEntry;
    use kernel::context::ContextEntry;
    use kernel::filter::{Filter, Load, Slot};
    use kernel::instance::{Instance, Setup};
    use kernel::{Result, Status};

    use crate::attach::{self, Refusal};
    use crate::operations;
    use crate::operations::cleanup::{Cleanup, Close};
    use crate::operations::create::Create;
    use crate::operations::flush::Flush;
    use crate::operations::lock::SwappedLock;
    use crate::operations::removal::{Removal, Shutdown};
    use crate::operations::rename::SetInformation;
    use crate::operations::section::{Section, SectionMade};
    use crate::operations::shortcuts::{NetworkQueryOpen, NoShortcut, QueryOpen};
    use crate::operations::swap::Swapped;
    use crate::operations::write::SwappedWrite;
    use crate::report;
    use crate::report::{Report, counters};
    use crate::save::below::{self, Below};
    use crate::save::clock::Clock;
    use crate::save::files::Files;
    use crate::save::postponed::Postponed;
    use crate::save::redirect::Redirect;
    use crate::settings::in_force::InForce;
    use crate::settings::reload::Reloader;
    use kernel::fltkernel::*;
    use kernel::pool::{Shared, Tag};

    kernel::driver!(Intact, INTACT);

    /// Every operation whose treatment needs it is registered, and no other: each costs something.
    const _: () = {
        let (mut major, mut done) = (0_u8, false);
        while !done {
            let mut registered = false;
            let mut rest = <Intact as Filter>::OPERATIONS;
            while let [entry, others @ ..] = rest {
                registered |= entry.major() == major;
                rest = others;
            }
            let is_end = major == IRP_MJ_OPERATION_END;
            assert!(is_end || registered == operations::must_be_seen(major), "table and registration differ");
            done = major == u8::MAX;
            major = major.wrapping_add(1);
        }
    };

    /// The loaded driver.
    pub struct Intact {
        /// Keeps the policy in force up to date. Dropped first: its thread uses the rest.
        reloader: Reloader,
        /// Saves that wait for the last view of their file.
        pub postponed: Postponed,
        /// Saves that end, or go on otherwise, when their time is over.
        pub clock: Clock,
        /// The policy in force.
        pub policy: Shared<InForce>,
        /// Where events go.
        pub report: Shared<Report>,
    }

    const TAG: Tag = Tag::new(b"Inta");

    impl Filter for Intact {
        /// What is seen. What becomes of it on a redirected handle is in `operations.rs`.
        const OPERATIONS: &'static [OperationEntry] = &[
            OperationEntry::of::<Create>(),
            OperationEntry::of::<Cleanup>(),
            OperationEntry::of::<Close>(),
            OperationEntry::of::<Swapped<IRP_MJ_READ>>(),
            OperationEntry::of::<SwappedWrite>(),
            OperationEntry::of::<Swapped<IRP_MJ_QUERY_INFORMATION>>(),
            OperationEntry::of::<SetInformation>(),
            OperationEntry::of::<Swapped<IRP_MJ_QUERY_EA>>(),
            OperationEntry::of::<Swapped<IRP_MJ_SET_EA>>(),
            OperationEntry::of::<Swapped<IRP_MJ_QUERY_SECURITY>>(),
            OperationEntry::of::<Swapped<IRP_MJ_SET_SECURITY>>(),
            OperationEntry::of::<Flush>(),
            OperationEntry::of::<Swapped<IRP_MJ_FILE_SYSTEM_CONTROL>>(),
            OperationEntry::of::<SwappedLock>(),
            OperationEntry::of::<Section>(),
            OperationEntry::of::<SectionMade>(),
            OperationEntry::of::<NoShortcut<IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE>>(),
            OperationEntry::of::<NoShortcut<IRP_MJ_MDL_READ>>(),
            OperationEntry::of::<NoShortcut<IRP_MJ_PREPARE_MDL_WRITE>>(),
            OperationEntry::of::<NetworkQueryOpen>(),
            OperationEntry::of::<QueryOpen>(),
            OperationEntry::of::<Removal>(),
            OperationEntry::of::<Shutdown>(),
            OperationEntry::END,
        ];

        const CONTEXTS: &'static [ContextEntry] = &[
            ContextEntry::of::<Files>(),
            ContextEntry::of::<Redirect>(),
            ContextEntry::of::<Below>(),
            ContextEntry::END,
        ];

        /// Stopping the service would unload whatever we say; unloading the filter asks first.
        const FLAGS: u32 = FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP;

        fn slot() -> &'static Slot<Self> {
            &INTACT
        }

        /// Reads the policy and begins to watch it. A policy that cannot be read or has errors never fails the load:
        /// nothing is matched then, and events say why.
        fn load(load: &Load<'_>) -> Result<Self> {
            let report = Shared::new(TAG, Report::register())?;
            let policy = Shared::new(TAG, InForce::new()?)?;
            let reloader = Reloader::start(load.registry_path, policy.clone(), report.clone())?;
            let (postponed, clock) = (Postponed::start()?, Clock::start()?);
            Ok(Intact { reloader, postponed, clock, policy, report })
        }

        /// Refused while a redirected handle lives: without us its writes would go around the transaction
        /// (minifilter-rules §3.3).
        fn may_unload(&self, mandatory: bool) -> Result<()> {
            // What only waits for the end of its process to be noticed keeps nobody.
            self.settle();
            if mandatory || counters::close_door() {
                self.report.totals();
                return Ok(());
            }
            Err(Status::FLT_DO_NOT_DETACH)
        }

        fn attach(&self, setup: &Setup<'_>) -> Result<()> {
            let attached =
                attach::decide(&attach::facts(setup)).and_then(|()| match below::is_meant(setup.instance) {
                    Ok(true) if below::comes(setup.instance) => Ok(()),
                    Ok(false) if Files::attach(setup.instance).is_ok() => Ok(()),
                    Ok(_) => Err(Refusal::Resources),
                    Err(_) => Err(Refusal::Unknown),
                });
            attached.map_err(|refusal| {
                self.report.instance_refused(setup.volume, refusal);
                Status::FLT_DO_NOT_ATTACH
            })?;
            self.reloader.volume_came();
            Ok(())
        }

        /// As for unloading, for one volume.
        fn may_detach(&self, instance: Instance<'_>) -> Result<()> {
            self.settle();
            // The lower one sees nothing while nothing is redirected.
            let is_lower = below::is_lower(instance);
            let idle = if is_lower { !counters::any_redirected() } else { Files::is_idle(instance) };
            if idle { Ok(()) } else { Err(Status::FLT_DO_NOT_DETACH) }
        }

        /// The volume goes with handles open: their saves are rolled back.
        fn teardown(&self, instance: Instance<'_>, _reason: u32) {
            self.end_all(instance);
            below::goes(instance);
        }
    }

    impl Intact {
        /// Ends the saves that wait for nothing but that somebody notices the end of their process or of their time, and
        /// waits until the clock has let go of those that it was just ending. PASSIVE_LEVEL, without locks.
        fn settle(&self) {
            let _ = self.clock.settling().look(self);
            self.clock.rest();
        }

        /// Ends every save of a volume, whoever writes. PASSIVE_LEVEL, without locks.
        pub fn end_all(&self, instance: Instance<'_>) {
            Files::break_off(self, instance);
            self.postponed.forget(instance);
            self.clock.rest();
        }

        /// The loaded driver. It is there in every callback.
        pub fn get() -> Option<&'static Intact> {
            INTACT.get()
        }

        /// The filter object. It is there in every callback.
        pub fn filter() -> Option<kernel::filter::Handle> {
            INTACT.handle()
        }
    }

    impl Drop for Intact {
        fn drop(&mut self) {
            self.report.left();
            report::counters::reset();
        }
    }
}

#[cfg(windows)]
pub(crate) use driver::Intact;
