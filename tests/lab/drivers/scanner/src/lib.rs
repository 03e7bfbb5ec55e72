//! A minifilter that reads files as virus scanners do: after each create by name, and before each cleanup both on the
//! file object that is being closed and by name. It changes nothing, and tells `\\.\Scanner` what it read ([`format`]).
//!
//! By name it opens below itself, without access checks and outside the file's share modes. It leaves alone what kernel
//! code opens, and directories. For tests: everybody may ask for its findings, and it keeps all of them.
#![cfg_attr(windows, no_std)]
#![deny(unsafe_code)]

pub mod format;

#[cfg(windows)]
mod driver {
    use kernel::callback::{Before, Callback, Operation, OperationEntry};
    use kernel::context::ContextEntry;
    use kernel::device::{Buffer, Control, ControlDevice, Opener};
    use kernel::file::{FileObject, Open};
    use kernel::filter::{Filter, Load, Slot};
    use kernel::fltkernel::{FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP, IRP_MJ_CLEANUP, IRP_MJ_CREATE};
    use kernel::name::{FileName, NameForm};
    use kernel::pool::{PoolVec, Tag};
    use kernel::sync::PushLock;
    use kernel::{Result, Status};
    use widestring::u16str;

    use crate::format::{CONTENTS, READ, Reading, SIZE};

    const TAG: Tag = Tag::new(b"Scan");

    struct Scanner {
        findings: PushLock<PoolVec<[u8; SIZE]>>,
        device: ControlDevice,
    }

    kernel::driver!(Scanner, SCANNER);

    impl Filter for Scanner {
        const OPERATIONS: &'static [OperationEntry] =
            &[OperationEntry::of::<Create>(), OperationEntry::of::<Cleanup>(), OperationEntry::END];
        const CONTEXTS: &'static [ContextEntry] = &[ContextEntry::END];
        const FLAGS: u32 = FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP;

        fn slot() -> &'static Slot<Self> {
            &SCANNER
        }

        fn load(load: &Load<'_>) -> Result<Self> {
            let (name, link) = (u16str!(r"\Device\Scanner"), u16str!(r"\DosDevices\Scanner"));
            Ok(Scanner {
                findings: PushLock::new(PoolVec::new(TAG)),
                device: ControlDevice::create::<Questions>(load, name, link)?,
            })
        }

        fn may_unload(&self, _mandatory: bool) -> Result<()> {
            if self.device.retire() { Ok(()) } else { Err(Status::FLT_DO_NOT_DETACH) }
        }
    }

    struct Questions;

    impl Control for Questions {
        fn open(_: &Opener<'_>) -> Result<()> {
            Ok(())
        }

        fn control(code: u32, buffer: &mut Buffer<'_>) -> Result<usize> {
            if code != READ {
                return Err(Status::INVALID_DEVICE_REQUEST);
            }
            let scanner = SCANNER.get().ok_or(Status::NOT_FOUND)?;
            let mut findings = scanner.findings.write();
            let mut used = 0_usize;
            for (place, finding) in buffer.output().chunks_exact_mut(SIZE).zip(findings.iter()) {
                for (to, from) in place.iter_mut().zip(finding) {
                    *to = *from;
                }
                used = used.saturating_add(SIZE);
            }
            while findings.pop().is_some() {}
            Ok(used)
        }
    }

    /// Reads the beginning of a file and notes what came of it.
    fn scan(data: &Callback<'_>, reading: Reading, file: Result<FileObject<'_>>) {
        let mut contents = [0; CONTENTS];
        let read = file.and_then(|file| file.read(data.instance(), 0, &mut contents));
        let (status, length) = match read {
            Ok(length) => (Status::SUCCESS, length),
            Err(Status::END_OF_FILE) => (Status::SUCCESS, 0),
            Err(status) => (status, 0),
        };
        let mut finding = [0; SIZE];
        let head = [reading as u32, status.0 as u32, length as u32, data.process().id()];
        let bytes = head.iter().flat_map(|word| word.to_le_bytes()).chain(contents);
        for (place, byte) in finding.iter_mut().zip(bytes) {
            *place = byte;
        }
        if let Some(scanner) = SCANNER.get() {
            // Without memory for it the test will miss it.
            let _ = scanner.findings.write().push(finding);
        }
    }

    /// Opens what an operation is about once more, by name, and reads it. Nothing if it is a directory or has no name.
    fn scan_by_name(data: &Callback<'_>, reading: Reading) {
        const READ_DATA: u32 = 0x1;
        const SYNCHRONIZE: u32 = 0x10_0000;
        const SHARE_ALL: u32 = 7;
        const OPEN: u32 = 1;
        const SYNCHRONOUS: u32 = 0x20;
        const NON_DIRECTORY: u32 = 0x40;
        let Some(filter) = SCANNER.handle() else { return };
        let Ok(name) = FileName::of(data, NameForm::Normalized) else { return };
        let open = Open {
            access: READ_DATA | SYNCHRONIZE,
            share: SHARE_ALL,
            disposition: OPEN,
            options: SYNCHRONOUS | NON_DIRECTORY,
            ignore_share: true,
            ..Open::look(name.full(), false)
        };
        match open.open(filter, data.instance()) {
            Ok(opened) => scan(data, reading, Ok(opened.file.object())),
            Err(Status::FILE_IS_A_DIRECTORY) => {}
            Err(status) => scan(data, reading, Err(status)),
        }
    }

    struct Create;

    impl Operation for Create {
        const MAJOR: u8 = IRP_MJ_CREATE;
        type Carry = ();

        fn before(data: &mut Callback<'_>) -> Before<()> {
            if data.is_from_kernel() { Before::Pass } else { Before::Watch(()) }
        }

        fn after(data: &mut Callback<'_>, (): ()) {
            if data.status() == Status::SUCCESS {
                scan_by_name(data, Reading::Create);
            }
        }
    }

    struct Cleanup;

    impl Operation for Cleanup {
        const MAJOR: u8 = IRP_MJ_CLEANUP;
        const WATCHES: bool = false;
        type Carry = ();

        fn before(data: &mut Callback<'_>) -> Before<()> {
            if let Some(file) = data.file()
                && !file.is_directory(data.instance()).unwrap_or(true)
            {
                scan(data, Reading::CleanupByHandle, Ok(file));
                scan_by_name(data, Reading::CleanupByName);
            }
            Before::Pass
        }
    }
}
