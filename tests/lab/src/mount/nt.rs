//! The few numbers and byte layouts of the native API that the mount's requests need.

use std::time::{Duration, SystemTime};

/// Access mask bits.
pub(crate) mod access {
    pub(crate) const READ_DATA: u32 = 0x1;
    pub(crate) const WRITE_DATA: u32 = 0x2;
    pub(crate) const READ_ATTRIBUTES: u32 = 0x80;
    pub(crate) const WRITE_ATTRIBUTES: u32 = 0x100;
    pub(crate) const DELETE: u32 = 0x1_0000;
    /// `FILE_GENERIC_READ`.
    pub(crate) const GENERIC_READ: u32 = 0x12_0089;
    /// `FILE_GENERIC_WRITE`.
    pub(crate) const GENERIC_WRITE: u32 = 0x12_0116;
}

/// Create dispositions.
pub(crate) mod disposition {
    pub(crate) const OPEN: u32 = 1;
    pub(crate) const CREATE: u32 = 2;
    pub(crate) const OPEN_IF: u32 = 3;
    pub(crate) const OVERWRITE: u32 = 4;
    pub(crate) const OVERWRITE_IF: u32 = 5;
}

/// Create options.
pub(crate) mod option {
    pub(crate) const OPEN_REPARSE_POINT: u32 = 0x20_0000;
}

/// File attributes.
pub(crate) mod attribute {
    pub(crate) const READONLY: u32 = 0x1;
    pub(crate) const DIRECTORY: u32 = 0x10;
    pub(crate) const NORMAL: u32 = 0x80;
    pub(crate) const REPARSE_POINT: u32 = 0x400;
}

/// Information classes whose buffers only the mount makes.
pub(crate) mod class {
    pub(crate) const DISPOSITION_EX: u32 = 64;
    pub(crate) const RENAME_EX: u32 = 65;
}

pub(crate) const SHARE_ALL: u32 = 7;
/// 100-nanosecond intervals between 1601 and 1970.
const EPOCH: i64 = 116_444_736_000_000_000;

/// A Windows time as the kernel wants it.
pub(crate) fn to_system_time(time: i64) -> SystemTime {
    let offset = time.saturating_sub(EPOCH);
    let distance =
        Duration::new(offset.unsigned_abs() / 10_000_000, (offset.unsigned_abs() % 10_000_000) as u32 * 100);
    let time = if offset >= 0 {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The nearest Windows time; what cannot be said in it becomes the epoch of either side.
pub(crate) fn from_system_time(time: SystemTime) -> i64 {
    let ticks = |distance: Duration| i64::try_from(distance.as_nanos() / 100).unwrap_or(0);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => EPOCH.saturating_add(ticks(after)),
        Err(before) => EPOCH.saturating_sub(ticks(before.duration())).max(1),
    }
}

/// `FILE_RENAME_INFORMATION_EX` with a full path.
pub(crate) fn new_name(path: &str, flags: u32) -> Vec<u8> {
    let path: Vec<u16> = path.encode_utf16().collect();
    let mut bytes = Vec::with_capacity(20 + path.len() * 2);
    bytes.extend_from_slice(&u64::from(flags).to_le_bytes());
    bytes.extend_from_slice(&0u64.to_le_bytes());
    bytes.extend_from_slice(&(path.len() as u32 * 2).to_le_bytes());
    bytes.extend(path.iter().flat_map(|unit| unit.to_le_bytes()));
    // The structure ends in a character and is padded to eight bytes.
    bytes.resize(bytes.len().max(24), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_to_the_hundred_nanoseconds() {
        for time in [EPOCH, EPOCH + 1, EPOCH - 12_345_678_901, 133_500_000_000_000_001] {
            assert_eq!(from_system_time(to_system_time(time)), time);
        }
    }
}
