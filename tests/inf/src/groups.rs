//! Load order groups of minifilters, their altitudes and classes (minifilter-rules §3.7).

/// One load order group.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// `LoadOrderGroup`.
    pub name: &'static str,
    /// First and last integer part of its altitudes.
    pub altitudes: (u32, u32),
    /// `Class` and `ClassGuid`.
    pub class: (&'static str, &'static str),
}

const fn group(name: &'static str, altitudes: (u32, u32), class: &'static str, guid: &'static str) -> Group {
    Group { name, altitudes, class: (class, guid) }
}

/// The groups whose name, range and class are all documented.
#[rustfmt::skip]
pub const GROUPS: &[Group] = &[
    group("FSFilter Activity Monitor", (360_000, 389_999), "ActivityMonitor", "{b86dff51-a31e-4bac-b3cf-e8cfe75c9fc2}"),
    group("FSFilter Undelete", (340_000, 349_999), "Undelete", "{fe8f1572-c67a-48c0-bbac-0b5c6d66cafb}"),
    group("FSFilter Anti-Virus", (320_000, 329_999), "AntiVirus", "{b1d1a169-c54f-4379-81db-bee7d88d7454}"),
    group("FSFilter Replication", (300_000, 309_999), "Replication", "{48d3ebc4-4cf8-48ff-b869-9c68ad42eb9f}"),
    group("FSFilter Continuous Backup", (280_000, 289_999), "ContinuousBackup", "{71aa14f8-6fad-4622-ad77-92bb9d7e6947}"),
    group("FSFilter Content Screener", (260_000, 269_999), "ContentScreener", "{3e3f0674-c83c-4558-bb26-9820e1eba5c5}"),
    group("FSFilter Quota Management", (240_000, 249_999), "QuotaManagement", "{8503c911-a6c7-4919-8f79-5028f5866b0c}"),
    group("FSFilter System Recovery", (220_000, 229_999), "SystemRecovery", "{2db15374-706e-4131-a0c7-d7c78eb0289a}"),
    group("FSFilter Cluster File System", (200_000, 209_999), "CFSMetaDataServer", "{cdcf0939-b75b-4630-bf76-80f7ba655884}"),
    group("FSFilter HSM", (180_000, 189_999), "HSM", "{d546500a-2aeb-45f6-9482-f4b1799c3177}"),
    group("FSFilter Compression", (160_000, 169_999), "Compression", "{f3586baf-b5aa-49b5-8d6c-0569284c639f}"),
    group("FSFilter Encryption", (140_000, 149_999), "Encryption", "{a0a701c0-a511-42ff-aa6c-06dc0395576f}"),
    group("FSFilter Virtualization", (130_000, 139_999), "Virtualization", "{f75a86c0-10d8-4c3a-b233-ed60e4cdfaac}"),
    group("FSFilter Physical Quota Management", (120_000, 129_999), "PhysicalQuotaManagement", "{6a0a8e78-bba6-4fc4-a709-1e33cd09d67e}"),
    group("FSFilter Open File", (100_000, 109_999), "OpenFileBackup", "{f8ecafa6-66d1-41a5-899b-66585d7216b7}"),
    group("FSFilter Security Enhancer", (80_000, 89_999), "SecurityEnhancer", "{d02bc3da-0c8e-4945-9bd5-f1883c226c8c}"),
    group("FSFilter Copy Protection", (60_000, 69_999), "CopyProtection", "{89786ff1-9c12-402f-9c9e-17753c7f4375}"),
    group("FSFilter Infrastructure", (0, 19_999), "Infrastructure", "{e55fa6f9-128c-4d04-abab-630c74b1453a}"),
];

/// The group with this name.
pub(crate) fn find(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name.eq_ignore_ascii_case(name))
}
