//! Labs for a run: the pristine volume, a machine with its drivers, what is left at its end.

use std::cell::RefCell;
use std::convert::Infallible;
use std::path::PathBuf;
use std::rc::Rc;
use std::str::FromStr;

use anyhow::{Context, Result};
use lab_volume::{Base, Disk, Volume};

use super::Tree;
use super::host::HostFiles;
use super::report::Event;
use crate::loading::Service;
use crate::mount::{WriteHook, names, windows_time};
use crate::{Executive, Lab};

/// What a machine is made of besides its disk.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Drivers, the highest first.
    pub(crate) drivers: Vec<DriverFile>,
    /// Registry values.
    pub(crate) policy: Option<Vec<u8>>,
    pub(crate) seed: u64,
}

/// A driver and where it attaches: `FILE.sys` or `FILE.sys@ALTITUDE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverFile {
    /// The image.
    pub path: PathBuf,
    /// Altitude of its instance, if it was given.
    pub altitude: Option<String>,
}

impl FromStr for DriverFile {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<DriverFile, Infallible> {
        let digits = |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.');
        let (path, altitude) = match text.rsplit_once('@') {
            Some((path, altitude)) if digits(&altitude) => (path, Some(altitude.to_owned())),
            _ => (text, None),
        };
        Ok(DriverFile { path: path.into(), altitude })
    }
}

impl DriverFile {
    /// Its file name.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    /// The service of the driver at this place in the list, from the top.
    pub(crate) fn service(&self, place: usize, lab: &Lab) -> Service {
        let name = self.path.file_stem().unwrap_or(self.path.as_os_str()).to_string_lossy();
        // The System Recovery group, each below the one before.
        let altitude = self.altitude.clone().unwrap_or_else(|| (225_000 - 100 * place).to_string());
        let mut service = Service::new(&name, &altitude);
        if lab.has_instances(&service.name) {
            service.instances.clear();
        }
        service
    }
}

/// The volume that every run starts from.
pub(crate) struct Pristine(Base);

/// 4 KiB clusters: 256 MiB, and as much again as the files take.
const CLUSTERS: u64 = 65_536;

impl Pristine {
    /// Puts the host's files on a fresh volume, with their times.
    pub(crate) fn new(files: &HostFiles) -> Result<Pristine> {
        let bytes: u64 = files.values().map(|file| file.contents.len() as u64).sum();
        let base = Base::formatted(CLUSTERS + 2 * bytes.div_ceil(4096), "Lab");
        let mut volume = Volume::mount(base).context("the fresh volume does not mount")?;
        for (name, file) in files {
            volume.set_time(windows_time(file.modified));
            let put = volume.put_file(&volume_path(name)?, &file.contents);
            put.map_err(|status| anyhow::anyhow!("{name} cannot be put on the volume: {status}"))?;
        }
        Ok(Pristine(volume.dismount()))
    }

    pub(crate) fn base(&self) -> Base {
        self.0.clone()
    }
}

/// `a/b` as the volume's own functions want it.
fn volume_path(name: &str) -> Result<String> {
    let component = |component: &str| {
        names::to_volume(component.as_bytes()).map_err(|_| anyhow::anyhow!("{name}: no name for this volume"))
    };
    Ok(name.split('/').map(component).collect::<Result<Vec<_>>>()?.join("\\"))
}

/// A running machine.
pub(crate) struct Machine {
    lab: Rc<Lab>,
    /// After each request of the mount: disk effects and events so far.
    progress: Rc<RefCell<Vec<(u64, usize)>>>,
}

/// What a machine leaves.
pub(crate) struct End {
    pub(crate) disk: Disk,
    pub(crate) base: Base,
    pub(crate) tree: Tree,
    pub(crate) events: Vec<Event>,
    pub(crate) progress: Vec<(u64, usize)>,
    pub(crate) trouble: Vec<String>,
}

impl Machine {
    pub(crate) fn start(base: Base, setup: &Setup) -> Result<Machine> {
        let lab = Lab::builder().seed(setup.seed).base(base).build()?;
        if let Some(policy) = &setup.policy {
            let applied = lab.executive().change_registry(|registry| registry.apply(policy));
            applied.map_err(|error| anyhow::anyhow!("the registry file: {error}"))?;
        }
        for (place, driver) in setup.drivers.iter().enumerate() {
            let loaded = lab.load(&driver.path, &driver.service(place, &lab));
            loaded.map_err(|error| anyhow::anyhow!("{error}"))?;
        }
        Ok(Machine { lab, progress: Rc::default() })
    }

    pub(crate) fn executive(&self) -> &Executive {
        self.lab.executive()
    }

    /// After each request, notes how far the disk and the drivers are.
    pub(crate) fn note_progress(&self) -> WriteHook {
        let (lab, progress) = (self.lab.clone(), self.progress.clone());
        Box::new(move |executive, _| {
            progress.borrow_mut().push((lab.effects(), executive.etw.events().len()));
        })
    }

    /// Before each write request, leaves as much free space as remains of `limit` bytes.
    pub(crate) fn free_space_before_write(&self, limit: u64) -> WriteHook {
        let lab = self.lab.clone();
        Box::new(move |_, account| {
            let rest = limit.saturating_sub(account.bytes);
            lab.with_volume(|volume| volume.set_free_space(Some(rest)));
        })
    }

    /// Unloads the drivers and takes the volume out.
    pub(crate) fn end(self, mut trouble: Vec<String>) -> End {
        let lab = self.lab;
        if trouble.is_empty() {
            let report = lab.unload();
            if !report.is_clean() {
                trouble.push(format!("unload: {report}"));
            }
        }
        let events = lab.executive().etw.events().iter().map(event).collect();
        let volume = lab.with_volume(|volume| volume.clone());
        let disk = volume.disk.clone();
        let tree = tree(&volume);
        let progress = self.progress.take();
        End { disk, base: volume.dismount(), tree, events, progress, trouble }
    }
}

fn event(event: &lab_executive::etw::Event) -> Event {
    let name = if event.name.is_empty() { event.to_string() } else { event.name.clone() };
    Event {
        name,
        fields: event.fields.iter().map(|(name, field)| (name.clone(), field.to_string())).collect(),
    }
}

fn tree(volume: &Volume) -> Tree {
    let files = volume.tree().into_iter().filter(|(_, node)| !node.directory);
    files.map(|(path, node)| (names::to_linux(&path.replace('\\', "/")), node.data)).collect()
}

/// Starts a machine from what a power cut left, with the drivers, and takes it down again: recovery.
///
/// # Errors
/// The drivers do not load. A volume that does not mount any more is trouble, not an error.
pub(crate) fn recover(base: &Base, setup: &Setup) -> Result<(Tree, Vec<String>)> {
    if let Err(error) = Volume::mount(base.clone()) {
        return Ok((Tree::new(), vec![format!("after the power cut the volume does not mount: {error}")]));
    }
    let end = Machine::start(base.clone(), setup)?.end(Vec::new());
    Ok((end.tree, end.trouble))
}
