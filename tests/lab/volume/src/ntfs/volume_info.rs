//! Volume information.

use super::record::{Change, LogRecord};
use super::{OpenId, Volume};
use crate::Status;
use crate::disk::CLUSTER;
use crate::names::Wide;

/// What the volume information classes are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInformation {
    /// Label.
    pub label: Wide,
    /// Serial number.
    pub serial: u32,
    /// Clusters.
    pub total_clusters: u64,
    /// Free clusters.
    pub free_clusters: u64,
    /// Bytes per cluster.
    pub cluster_bytes: u32,
    /// FILE_* file-system attributes.
    pub attributes: u32,
    /// `NTFS`.
    pub file_system: Wide,
    /// Longest component.
    pub max_component: u32,
}

/// FILE_SUPPORTS_TRANSACTIONS.
pub const SUPPORTS_TRANSACTIONS: u32 = 0x0020_0000;
/// Case-sensitive search, case-preserved and Unicode names, ACLs, sparse files, reparse points, streams,
/// hard links, EAs, open by file id.
const FEATURES: u32 = 0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x4_0000 | 0x40_0000 | 0x80_0000 | 0x100_0000;

/// What FSCTL_TXFS_QUERY_RM_INFORMATION reports, as far as it is modelled (`txf-ktm §4.13`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RmInformation {
    /// Whether the resource manager runs.
    pub active: bool,
    /// Live transactions.
    pub transactions: u32,
    /// Undo bytes that the log may hold.
    pub log_capacity: u64,
}

impl Volume {
    /// The volume, as any of its information classes shows it.
    pub fn information(&self) -> VolumeInformation {
        let transactions = if self.switches.transactions { SUPPORTS_TRANSACTIONS } else { 0 };
        VolumeInformation {
            label: self.metadata.label.clone(),
            serial: self.serial,
            total_clusters: self.space.total(),
            free_clusters: self.space.available(),
            cluster_bytes: CLUSTER as u32,
            attributes: FEATURES | transactions,
            file_system: "NTFS".into(),
            max_component: 255,
        }
    }

    /// Sets the label.
    ///
    /// # Errors
    /// INVALID_PARAMETER if it is longer than 32 units; log errors.
    pub fn set_label(&mut self, id: OpenId, label: Wide) -> Result<(), Status> {
        self.live(id)?;
        if label.0.len() > 32 {
            return Err(Status::INVALID_PARAMETER);
        }
        self.log(LogRecord::Changes(vec![Change::Label(label)]))
    }

    /// The resource manager.
    pub fn resource_manager(&self) -> RmInformation {
        RmInformation {
            active: self.switches.transactions && self.switches.resource_manager_active,
            transactions: self.transactions.len() as u32,
            log_capacity: self.switches.log_capacity,
        }
    }
}
