//! The lab's volume: disk, NTFS with TxF, KTM
