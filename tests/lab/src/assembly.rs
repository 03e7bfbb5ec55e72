//! Putting a lab together, and taking it apart.

use std::fmt;
use std::rc::Rc;

use lab_executive::import::PlannedFault;
use lab_executive::{Config, Violation};
use lab_volume::{Base, Disk, Faults, KtmSwitches, MountError, Switches, Volume};

use crate::flt::Completions;
use crate::process::Process;
use crate::report::Report;
use crate::rooms::Rooms;
use crate::{Executive, ktm};

/// Clusters of a volume that a builder formats: 256 MiB.
const CLUSTERS: u64 = 65_536;
/// A user's SID: S-1-5-21-1-2-3-1001.
pub(crate) const USER: &[u8] =
    &[1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0xE9, 3, 0, 0];

/// What a lab is made from. Two labs with equal settings and equal inputs run alike.
#[derive(Clone, Default)]
pub struct Builder {
    config: Config,
    base: Option<Base>,
    faults: Faults,
    free_space: Option<u64>,
    planned: Vec<PlannedFault>,
    switches: Switches,
    ktm_switches: KtmSwitches,
    settings: crate::flt::Settings,
    access_from_security_context: bool,
    pace: Option<u64>,
}

/// Why a lab could not be made.
#[derive(Debug)]
pub enum BuildError {
    /// The volume does not mount.
    Mount(MountError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount(error) => write!(f, "the volume does not mount: {error}"),
        }
    }
}

impl std::error::Error for BuildError {}

/// What the disk holds after the power is cut or the system is shut down.
pub enum PowerState {
    /// Everything that was written reached the disk, in order.
    Orderly,
    /// The power was cut; the seed picks one of the states that the crash model allows.
    Cut {
        /// Which state.
        seed: u64,
    },
}

/// A transaction, as a test looks at it.
#[derive(Debug, Clone)]
pub struct TransactionState {
    /// Which.
    pub id: lab_volume::TxId,
    /// Where it is on its way.
    pub phase: Option<lab_volume::Phase>,
    /// The self-relative security descriptor it was made with.
    pub security: Option<Vec<u8>>,
}

impl Builder {
    /// The seed that decides every choice.
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// Changes the executive's settings.
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Mounts what is on this disk instead of a fresh volume.
    pub fn base(mut self, base: Base) -> Self {
        self.base = Some(base);
        self
    }

    /// A fresh volume of this many 4 KiB clusters.
    pub fn clusters(mut self, clusters: u64) -> Self {
        self.base = Some(Base::formatted(clusters, "Lab"));
        self
    }

    /// Makes one call of one import site fail.
    pub fn fault(mut self, fault: PlannedFault) -> Self {
        self.planned.push(fault);
        self
    }

    /// Cuts the power after this many disk effects.
    pub fn power_cut_after(mut self, effects: u64) -> Self {
        self.faults.power_cut_after = Some(effects);
        self
    }

    /// Plans disk faults.
    pub fn disk_faults(mut self, change: impl FnOnce(&mut Faults)) -> Self {
        change(&mut self.faults);
        self
    }

    /// Leaves this much free space on the volume.
    pub fn disk_full_after(mut self, bytes: u64) -> Self {
        self.free_space = Some(bytes);
        self
    }

    /// Undocumented behaviour of NTFS and TxF.
    pub fn switches(mut self, change: impl FnOnce(&mut Switches)) -> Self {
        change(&mut self.switches);
        self
    }

    /// Undocumented behaviour of KTM.
    pub fn ktm_switches(mut self, change: impl FnOnce(&mut KtmSwitches)) -> Self {
        change(&mut self.ktm_switches);
        self
    }

    /// Whether reads and writes may complete in other threads and at DISPATCH_LEVEL, by the seed's choice. On by
    /// default.
    pub fn completions_elsewhere(mut self, elsewhere: bool) -> Self {
        self.settings.completions = if elsewhere { Completions::Seeded } else { Completions::Here };
        self
    }

    /// Where requests complete.
    pub fn completions(mut self, completions: Completions) -> Self {
        self.settings.completions = completions;
        self
    }

    /// Enters each operation callback at the highest level that its documentation admits: pre-operations at APC_LEVEL where
    /// the operation may come so, post-operations at DISPATCH_LEVEL in another thread.
    pub fn highest_irql(mut self) -> Self {
        self.settings.completions = Completions::Highest;
        self.settings.pre_operations_at_ceiling = true;
        self
    }

    /// Whether a parameter change without FltSetCallbackDataDirty stops the run (the default) or only has no effect.
    pub fn undirtied_changes_stop(mut self, stop: bool) -> Self {
        self.settings.undirtied_changes_stop = stop;
        self
    }

    /// Whether instances below a swap see the new file object's transaction (minifilter-rules §1.1: unknown).
    pub fn transaction_after_swap(mut self, shown: bool) -> Self {
        self.settings.transaction_after_swap = shown;
        self
    }

    /// Whether the instances of a volume that is dismounted while files are open go with the last of these files, and not with
    /// the dismount (minifilter-rules §2.7: unknown).
    pub fn instances_outlive_dismount(mut self, outlive: bool) -> Self {
        self.settings.instances_outlive_dismount = outlive;
        self
    }

    /// Whether NTFS takes the desired access from the IO_SECURITY_CONTEXT rather than from the ACCESS_STATE
    /// (minifilter-rules §1.8: unknown).
    pub fn access_from_security_context(mut self, from_context: bool) -> Self {
        self.access_from_security_context = from_context;
        self
    }

    /// Has reads and writes of asynchronous file objects take up to [`SLOWEST`](crate::io::SLOWEST) milliseconds each, as this
    /// number and what they ask for decide: alike in every lab that is given the same number.
    pub fn slow_transfers(mut self, number: u64) -> Self {
        self.pace = Some(number);
        self
    }

    /// Starts the lab: system process, mounted volume, KTM; no driver yet.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(self) -> Result<Rc<Lab>, BuildError> {
        let executive = Executive::new(self.config);
        let base = self.base.unwrap_or_else(|| Base::formatted(CLUSTERS, "Lab"));
        let mut disk = Disk::new(base);
        disk.faults = self.faults;
        let mut volume = Volume::mount_disk(disk).map_err(BuildError::Mount)?;
        volume.switches = self.switches;
        volume.set_free_space(self.free_space);
        for fault in self.planned {
            executive.calls.plan(fault);
        }
        let seed = executive.config.seed;
        executive.io().mount(&executive, volume);
        executive.io().access_from_security_context.set(self.access_from_security_context);
        executive.io().pace.set(self.pace);
        executive.ktm().start(&executive, seed);
        ktm::with_ktm(&executive, |ktm| ktm.switches = self.ktm_switches);
        *executive.flt().settings.borrow_mut() = self.settings;
        Ok(Rc::new(Lab { executive }))
    }
}

/// A machine: one volume, any number of programs and drivers.
pub struct Lab {
    executive: Box<Executive>,
}

impl Lab {
    /// Settings for a new lab.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The executive.
    pub fn executive(&self) -> &Executive {
        &self.executive
    }

    /// Starts a process of an ordinary user, with this image name in `C:\Programs`.
    ///
    /// # Panics
    /// If a broken rule has stopped the lab.
    pub fn process(self: &Rc<Self>, image: &str) -> Process {
        self.process_of(image, USER.to_vec())
    }

    /// Starts a process of the user with this SID. `image` is a name, or a whole NT path.
    ///
    /// # Panics
    /// If a broken rule has stopped the lab.
    pub fn process_of(self: &Rc<Self>, image: &str, user: Vec<u8>) -> Process {
        let path = crate::process::image_path(image);
        let made = self.executive.run(move |lab| lab.create_process(&path, user, None));
        match made {
            Ok(inner) => Process { lab: self.clone(), inner },
            Err(violation) => panic!("{violation}"),
        }
    }

    /// Works on the volume model directly, below everything: for setting scenes and looking at results.
    ///
    /// # Panics
    /// After [`power_off`](Self::power_off).
    pub fn with_volume<R>(&self, f: impl FnOnce(&mut Volume) -> R) -> R {
        self.executive.io().with_volume(&self.executive, f)
    }

    /// Disk effects so far.
    pub fn effects(&self) -> u64 {
        self.with_volume(|volume| volume.disk.effect_count())
    }

    /// The hash of everything that happened: same seed and inputs, same hash.
    pub fn trace_hash(&self) -> u64 {
        self.executive.trace.hash()
    }

    /// The violation that stopped the lab, if one did.
    pub fn violation(&self) -> Option<Rc<Violation>> {
        self.executive.violation()
    }

    /// Takes the disk out, as it is after an orderly dismount or a power cut at this moment. The lab cannot go on.
    ///
    /// # Panics
    /// If it was taken out before.
    pub fn power_off(&self, state: PowerState) -> Base {
        let Some(volume) = self.executive.io().take_volume() else { panic!("the disk was taken out before") };
        match state {
            PowerState::Orderly => volume.dismount(),
            PowerState::Cut { seed } => volume.disk.crash_after(volume.disk.effect_count(), seed),
        }
    }

    /// Unloads every driver, highest altitude first, and lists what is left: of drivers, and of the file objects and
    /// transactions of the whole machine. Processes that still run keep their handles out of the list.
    pub fn unload(&self) -> Report {
        let mut report = Report { violation: self.violation(), left: Vec::new() };
        if report.violation.is_some() {
            return report;
        }
        crate::loading::unload_all(&self.executive, &mut report);
        if report.violation.is_none() {
            report.left.extend(self.left_over());
        }
        report
    }

    /// Every transaction object that is still there, oldest first.
    pub fn transactions(&self) -> Vec<TransactionState> {
        let lab = &self.executive;
        let all = lab.objects.all("TmTx");
        let found = all.iter().filter_map(|body| lab.objects.payload::<ktm::Transaction>(*body));
        found
            .map(|transaction| TransactionState {
                id: transaction.id,
                phase: ktm::with_ktm(lab, |ktm| ktm.phase(transaction.id)).ok(),
                security: transaction.security.clone(),
            })
            .collect()
    }

    fn left_over(&self) -> Vec<String> {
        let lab = &self.executive;
        let running: Vec<_> =
            lab.processes.all().iter().flat_map(|process| process.handles.entries()).collect();
        let held = |body: *const u8| running.iter().any(|(_, entry)| entry.body.cast_const() == body);
        let files = lab.io().files();
        let mut left: Vec<_> =
            files.iter().filter(|file| !held(file.body.cast())).map(|file| file.label()).collect();
        let volume = lab.flt().volume_references.get();
        if volume > 0 {
            left.push(format!(
                "{volume} reference(s) to the volume (FltGetVolumeFromInstance, FltObjectReference)"
            ));
        }
        let transactions = lab.ktm().unfinished();
        left.extend(
            transactions.iter().map(|id| format!("transaction {}, neither committed nor rolled back", id.0)),
        );
        left
    }
}
