//! One volume and one transaction manager, and the calls that tests repeat.

use lab_volume::*;

pub(crate) const READ: u32 = access::FILE_READ;
pub(crate) const WRITE: u32 = access::FILE_READ | access::FILE_WRITE;
pub(crate) const DELETE: u32 = access::DELETE;

#[derive(Clone)]
pub(crate) struct Lab {
    pub(crate) ktm: Ktm,
    pub(crate) volume: Volume,
}

/// A lab with `\f` = "old", `\d\g` = "inner".
pub(crate) fn lab() -> Lab {
    let mut volume = Volume::mount(Base::formatted(1024, "C")).unwrap();
    volume.put_file("f", b"old").unwrap();
    volume.put_file(r"d\g", b"inner").unwrap();
    Lab::of(volume)
}

impl Lab {
    pub(crate) fn of(volume: Volume) -> Lab {
        Lab { ktm: Ktm::new(1, volume.time()), volume }
    }

    pub(crate) fn begin(&mut self) -> TxId {
        self.ktm.create(CreateTransaction::default()).unwrap()
    }

    pub(crate) fn create(&mut self, request: CreateRequest) -> Result<Created, Status> {
        self.volume.create(&mut self.ktm, request)?.opened()
    }

    pub(crate) fn open(&mut self, path: &str, access: u32) -> Result<OpenId, Status> {
        self.create(CreateRequest::path(path).access(access)).map(|created| created.open)
    }

    pub(crate) fn open_in(&mut self, tx: TxId, path: &str, access: u32) -> Result<OpenId, Status> {
        self.create(CreateRequest::path(path).access(access).inside(tx)).map(|created| created.open)
    }

    pub(crate) fn make_in(&mut self, tx: TxId, path: &str) -> Result<OpenId, Status> {
        let request = CreateRequest::path(path).access(WRITE | DELETE).disposition(Disposition::Create);
        self.create(request.inside(tx)).map(|created| created.open)
    }

    pub(crate) fn make(&mut self, path: &str) -> Result<OpenId, Status> {
        let request = CreateRequest::path(path).access(WRITE | DELETE).disposition(Disposition::Create);
        self.create(request).map(|created| created.open)
    }

    pub(crate) fn write(&mut self, open: OpenId, offset: u64, data: &[u8]) -> Result<(), Status> {
        self.volume.write(open, WriteAt::Offset(offset), data, Io::default()).map(drop)
    }

    pub(crate) fn read(&mut self, open: OpenId) -> Result<Vec<u8>, Status> {
        self.volume.read(open, 0, 1 << 20, Io::default())
    }

    pub(crate) fn close(&mut self, open: OpenId) {
        self.volume.cleanup(open, 0).unwrap();
        self.volume.close(open).unwrap();
    }

    pub(crate) fn commit(&mut self, tx: TxId) -> Result<(), Status> {
        commit(&mut self.ktm, &mut self.volume, tx)
    }

    pub(crate) fn rollback(&mut self, tx: TxId) -> Result<(), Status> {
        rollback(&mut self.ktm, &mut self.volume, tx)
    }

    pub(crate) fn settle(&mut self) {
        settle(&mut self.ktm, &mut self.volume);
    }

    pub(crate) fn contents(&self, path: &str) -> Option<String> {
        self.volume.contents(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(crate) fn delete(&mut self, open: OpenId) -> Result<(), Status> {
        self.volume.set_disposition(open, DispositionFlags::DELETE)
    }

    /// The names in the root directory, as an open of it inside or outside a transaction sees them.
    pub(crate) fn names(&mut self, tx: Option<TxId>) -> Vec<String> {
        let request = CreateRequest { transaction: tx, ..CreateRequest::path(r"\").access(READ) };
        let root = self.create(request).unwrap().open;
        let names =
            self.volume.directory(root, None).unwrap().iter().map(|entry| entry.name.to_text()).collect();
        self.close(root);
        names
    }
}

/// Distinct bytes for every version, so that a mixture shows.
pub(crate) fn version(number: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| number.wrapping_mul(31).wrapping_add((at / 512) as u8) | 1).collect()
}
