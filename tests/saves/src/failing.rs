//! Calls of the driver that fail where a test wants it.

use lab_executive::import::{Failure, FaultKind, PlannedFault, Site};

/// STATUS_INSUFFICIENT_RESOURCES.
const NO_RESOURCES: i32 = 0xC000_009A_u32.cast_signed();

/// Calls whose failure is not one of the file's: what closes, what finds a context that is there, and events.
const LEFT_OUT: [&str; 5] =
    ["FltClose", "ZwClose", "FltGetStreamHandleContext", "FltGetInstanceContext", "EtwWriteTransfer"];

/// For each call stack of `sites` that `before` has not: its first call fails for want of memory.
///
/// # Panics
/// If there are hardly any.
pub fn failing_calls(before: &[Site], sites: Vec<Site>) -> Vec<(Site, PlannedFault)> {
    let is_new = |site: &Site| !before.iter().any(|known| known.id == site.id);
    let new: Vec<Site> = sites.into_iter().filter(is_new).collect();
    assert!(new.len() > 5, "{}", new.len());
    let planned = |site: Site| {
        let kind = match site.failure {
            Failure::Never | Failure::Timeout => return None,
            Failure::Status => FaultKind::Status(NO_RESOURCES),
            Failure::Null => FaultKind::Null,
        };
        let fault = PlannedFault { site: site.id, call: 1, kind };
        (!LEFT_OUT.contains(&site.import)).then_some((site, fault))
    };
    new.into_iter().filter_map(planned).collect()
}
