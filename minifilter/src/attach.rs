//! Which volumes the driver attaches to: those where a transaction can be had.

/// What is known about a volume at instance set-up; `None`: the question failed.
#[derive(Clone, Copy, Debug)]
pub struct Volume {
    /// `FLTFL_INSTANCE_SETUP_DETACHED_VOLUME`.
    pub detached: bool,
    /// `FILE_DEVICE_*`.
    pub device_type: u32,
    /// NTFS.
    pub ntfs: bool,
    /// `FILE_*` flags of the file system.
    pub file_system: Option<u32>,
    /// It can be written to.
    pub writable: Option<bool>,
    /// It is a shadow copy.
    pub snapshot: Option<bool>,
}

/// Why the driver does not attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is about to go.
    Detached,
    /// It is no disk.
    NoDisk,
    /// It is not NTFS.
    NotNtfs,
    /// A question about it failed.
    Unknown,
    /// It has no transactions.
    NoTransactions,
    /// Its mapped files bypass paging I/O.
    DirectAccess,
    /// It is read-only.
    ReadOnly,
    /// It is a shadow copy.
    Snapshot,
    /// Out of memory.
    Resources,
}

impl Refusal {
    /// For events and people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Detached => "the volume is about to go",
            Self::NoDisk => "it is no disk volume",
            Self::NotNtfs => "it is not NTFS",
            Self::Unknown => "the volume did not answer",
            Self::NoTransactions => "it does not support transactions",
            Self::DirectAccess => "it is a direct-access volume",
            Self::ReadOnly => "it is read-only",
            Self::Snapshot => "it is a shadow copy",
            Self::Resources => "out of resources",
        }
    }
}

const FILE_DEVICE_DISK_FILE_SYSTEM: u32 = 0x08;
const FILE_READ_ONLY_VOLUME: u32 = 0x0008_0000;
const FILE_SUPPORTS_TRANSACTIONS: u32 = 0x0020_0000;
const FILE_DAX_VOLUME: u32 = 0x2000_0000;

/// Decides (minifilter-rules §3.2).
pub fn decide(volume: &Volume) -> Result<(), Refusal> {
    let refuse = |condition, refusal| if condition { Err(refusal) } else { Ok(()) };
    refuse(volume.detached, Refusal::Detached)?;
    refuse(volume.device_type != FILE_DEVICE_DISK_FILE_SYSTEM, Refusal::NoDisk)?;
    refuse(!volume.ntfs, Refusal::NotNtfs)?;
    let file_system = volume.file_system.ok_or(Refusal::Unknown)?;
    refuse(file_system & FILE_SUPPORTS_TRANSACTIONS == 0, Refusal::NoTransactions)?;
    refuse(file_system & FILE_DAX_VOLUME != 0, Refusal::DirectAccess)?;
    refuse(file_system & FILE_READ_ONLY_VOLUME != 0, Refusal::ReadOnly)?;
    refuse(!volume.writable.ok_or(Refusal::Unknown)?, Refusal::ReadOnly)?;
    // Asked last; where the question is not served there are no shadow copies.
    refuse(volume.snapshot == Some(true), Refusal::Snapshot)
}

/// Asks a volume. PASSIVE_LEVEL.
#[cfg(windows)]
pub fn facts(setup: &kernel::instance::Setup<'_>) -> Volume {
    use kernel::fltkernel::{FLT_FSTYPE_NTFS, FLTFL_INSTANCE_SETUP_DETACHED_VOLUME};

    let detached = setup.flags & FLTFL_INSTANCE_SETUP_DETACHED_VOLUME != 0;
    let ntfs = setup.file_system == FLT_FSTYPE_NTFS;
    let ask = ntfs && !detached && setup.device_type == FILE_DEVICE_DISK_FILE_SYSTEM;
    Volume {
        detached,
        device_type: setup.device_type,
        ntfs,
        file_system: if ask { setup.instance.file_system_attributes().ok() } else { None },
        writable: if ask { setup.volume.is_writable().ok() } else { None },
        snapshot: if ask { setup.is_snapshot().ok() } else { None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Volume = Volume {
        detached: false,
        device_type: FILE_DEVICE_DISK_FILE_SYSTEM,
        ntfs: true,
        file_system: Some(FILE_SUPPORTS_TRANSACTIONS | 0x00C7_00FF),
        writable: Some(true),
        snapshot: Some(false),
    };

    #[test]
    fn a_writable_ntfs_disk_with_transactions_is_attached_to() {
        assert_eq!(decide(&Volume { file_system: Some(FILE_SUPPORTS_TRANSACTIONS), ..GOOD }), Ok(()));
    }

    #[test]
    fn each_condition_alone_refuses_and_says_why() {
        let transactions = FILE_SUPPORTS_TRANSACTIONS;
        let cases = [
            (Volume { detached: true, ..GOOD }, Refusal::Detached),
            (Volume { device_type: 0x14, ..GOOD }, Refusal::NoDisk),
            (Volume { ntfs: false, ..GOOD }, Refusal::NotNtfs),
            (Volume { file_system: None, ..GOOD }, Refusal::Unknown),
            (Volume { file_system: Some(0), ..GOOD }, Refusal::NoTransactions),
            (Volume { file_system: Some(transactions | FILE_DAX_VOLUME), ..GOOD }, Refusal::DirectAccess),
            (Volume { file_system: Some(transactions | FILE_READ_ONLY_VOLUME), ..GOOD }, Refusal::ReadOnly),
            (Volume { file_system: Some(transactions), writable: Some(false), ..GOOD }, Refusal::ReadOnly),
            (Volume { file_system: Some(transactions), snapshot: Some(true), ..GOOD }, Refusal::Snapshot),
        ];
        for (volume, refusal) in cases {
            assert_eq!(decide(&volume), Err(refusal), "{volume:?}");
        }
    }

    #[test]
    fn a_volume_that_does_not_know_shadow_copies_is_none() {
        let volume = Volume { file_system: Some(FILE_SUPPORTS_TRANSACTIONS), snapshot: None, ..GOOD };
        assert_eq!(decide(&volume), Ok(()));
    }
}
