//! Services and drivers: their registry, their start, their unload.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use fltkernel::{FLTFL_FILTER_UNLOAD_MANDATORY, FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP};
use lab_executive::image::LoadError;
use lab_executive::registry::Value;
use lab_executive::{Import, Violation};
use lab_nt::DRIVER_OBJECT;

use crate::flt::instance::{Filter, Instance};
use crate::flt::life;
use crate::io::file::counted;
use crate::report::Report;
use crate::{Executive, Lab, flt, io, ktm, memory};

/// Where services stand in the registry.
pub const SERVICES: &str = r"\Registry\Machine\System\CurrentControlSet\Services";

/// An instance as the registry defines it (minifilter-rules §3.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceDefinition {
    /// Its name.
    pub name: String,
    /// Its altitude.
    pub altitude: String,
    /// 1: no automatic attachment.
    pub flags: u32,
}

/// How a driver is installed before it is loaded.
#[derive(Debug, Clone)]
pub struct Service {
    /// Name of the service.
    pub name: String,
    /// Its instances; none leaves what the registry has already.
    pub instances: Vec<InstanceDefinition>,
    /// Where they are written: `Parameters\Instances` (24H2 and later) or `Instances`.
    pub parameters_generation: bool,
}

impl Service {
    /// A service with one instance at an altitude, in today's registry generation.
    pub fn new(name: &str, altitude: &str) -> Self {
        let instance =
            InstanceDefinition { name: format!("{name} Instance"), altitude: altitude.into(), flags: 0 };
        Self { name: name.into(), instances: vec![instance], parameters_generation: true }
    }
}

/// A driver in a lab.
pub struct Driver {
    /// Name of its service.
    pub name: String,
    /// Its image; `None` for one made of Rust functions.
    pub image: Option<usize>,
    pub(crate) object: *mut DRIVER_OBJECT,
    pub(crate) filter: RefCell<Option<Rc<Filter>>>,
    gone: Cell<bool>,
}

/// The drivers of a lab.
#[derive(Default)]
pub(crate) struct Drivers {
    by_object: RefCell<BTreeMap<usize, Rc<Driver>>>,
}

/// Why a driver is not running.
#[derive(Debug)]
pub enum StartError {
    /// The image cannot be loaded.
    Image(LoadError),
    /// The file cannot be read.
    File(String, std::io::Error),
    /// DriverEntry returned an error.
    Entry(i32),
    /// A broken rule stopped the lab.
    Violation(Rc<Violation>),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(error) => write!(f, "{error}"),
            Self::File(path, error) => write!(f, "{path}: {error}"),
            Self::Entry(status) => {
                write!(f, "DriverEntry returned {}", lab_volume::Status(status.cast_unsigned()))
            }
            Self::Violation(violation) => write!(f, "{violation}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Everything that a driver can import: the tables of this crate and of the executive.
pub fn tables() -> Vec<&'static [&'static Import]> {
    let mut tables = lab_executive::imports::tables();
    tables.extend([
        flt::imports::FILTERS,
        flt::imports::CONTEXTS,
        flt::imports::EXTRA_PARAMETERS,
        flt::imports::NAMES,
        flt::imports::OPERATIONS,
        flt::imports::REQUESTS,
        io::device::imports::DEVICES,
        io::imports::IO,
        io::section::imports::MM,
        ktm::imports::KTM,
        VARIABLES,
    ]);
    tables
}

static VARIABLES: &[&Import] = &[&io::imports::FILE_TYPE, &ktm::imports::TRANSACTION_TYPE];

/// The driver whose DRIVER_OBJECT this is.
pub(crate) fn driver_of(lab: &Executive, object: usize) -> Option<Rc<Driver>> {
    lab.room::<Drivers>().by_object.borrow().get(&object).cloned()
}

fn all(lab: &Executive) -> Vec<Rc<Driver>> {
    lab.room::<Drivers>().by_object.borrow().values().cloned().collect()
}

impl Driver {
    /// The instances that the registry defines for it, by either generation, in order of name.
    pub(crate) fn instances(&self, lab: &Executive) -> Vec<InstanceDefinition> {
        let service = format!(r"{SERVICES}\{}", self.name);
        let found = [r"Parameters\Instances", "Instances"]
            .iter()
            .find_map(|place| lab.registry.find(&format!(r"{service}\{place}")));
        let Some(key) = found else { return Vec::new() };
        let text = |value: Option<Value>| {
            let bytes = value.map(|value| value.data).unwrap_or_default();
            let units: Vec<u16> =
                bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            memory::text(units.split(|unit| *unit == 0).next().unwrap_or_default())
        };
        let number = |value: Option<Value>| {
            value.and_then(|value| value.data.get(..4)?.try_into().ok()).map_or(0, u32::from_le_bytes)
        };
        let keys = key.keys();
        keys.iter()
            .map(|instance| InstanceDefinition {
                name: instance.name.clone(),
                altitude: text(instance.value("Altitude")),
                flags: number(instance.value("Flags")),
            })
            .collect()
    }

    /// Whether its unload was run.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// Its filter, while it is registered.
    pub fn filter(&self) -> Option<Rc<Filter>> {
        self.filter.borrow().clone().filter(|_| !self.gone.get())
    }
}

impl Lab {
    /// Installs a service: writes its key, with its instances.
    pub fn install(&self, service: &Service) {
        self.executive().change_registry(|registry| {
            let root = format!(r"{SERVICES}\{}", service.name);
            let key = registry.create(&root);
            registry.set(&key, Value::dword("Type", 2));
            registry.set(&key, Value::dword("Start", 3));
            let place = if service.parameters_generation { r"Parameters\Instances" } else { "Instances" };
            for instance in &service.instances {
                let instances = registry.create(&format!(r"{root}\{place}"));
                registry.set(&instances, Value::string("DefaultInstance", &service.instances[0].name));
                let key = registry.create(&format!(r"{root}\{place}\{}", instance.name));
                registry.set(&key, Value::string("Altitude", &instance.altitude));
                registry.set(&key, Value::dword("Flags", instance.flags));
            }
        });
    }

    /// Whether the registry defines instances for a service, by either generation.
    pub fn has_instances(&self, service: &str) -> bool {
        let registry = &self.executive().registry;
        [r"Parameters\Instances", "Instances"]
            .iter()
            .any(|place| registry.find(&format!(r"{SERVICES}\{service}\{place}")).is_some())
    }

    /// Installs a service and loads its driver from a file: maps it, binds it, calls DriverEntry in a system thread.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn load(&self, path: &std::path::Path, service: &Service) -> Result<Rc<Driver>, StartError> {
        let shown = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| StartError::File(shown, error))?;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        self.load_bytes(&name, &bytes, service)
    }

    /// As [`load`](Self::load), from memory.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn load_bytes(&self, file: &str, bytes: &[u8], service: &Service) -> Result<Rc<Driver>, StartError> {
        self.install(service);
        let lab = self.executive();
        let image = lab.load_image(file, bytes, &tables()).map_err(StartError::Image)?;
        let (driver, path) = new_driver(lab, &service.name, Some(image));
        let object = driver.object;
        self.start(&driver, move |lab| lab.call_entry(image, object.cast(), path))?;
        Ok(driver)
    }

    /// Starts a driver that is made of Rust functions: `entry` gets the DRIVER_OBJECT and returns what DriverEntry
    /// would. For tests of the lab itself.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn load_functions(
        &self,
        service: &Service,
        entry: impl FnOnce(*mut core::ffi::c_void) -> i32 + 'static,
    ) -> Result<Rc<Driver>, StartError> {
        self.install(service);
        let lab = self.executive();
        let (driver, _) = new_driver(lab, &service.name, None);
        let object = driver.object;
        self.start(&driver, move |lab| lab.call_driver("DriverEntry", || entry(object.cast())))?;
        Ok(driver)
    }

    fn start(
        &self,
        driver: &Rc<Driver>,
        entry: impl FnOnce(&Executive) -> i32 + 'static,
    ) -> Result<(), StartError> {
        let lab = self.executive();
        match lab.run(entry).map_err(StartError::Violation)? {
            status if status < 0 => {
                self.check_failed_entry(driver)?;
                lab.room::<Drivers>().by_object.borrow_mut().remove(&driver.object.addr());
                Err(StartError::Entry(status))
            }
            _ => {
                io::device::entry_ended(lab, driver);
                Ok(())
            }
        }
    }

    /// A driver whose DriverEntry failed gets no unload callback: it must have cleaned up by itself.
    fn check_failed_entry(&self, driver: &Rc<Driver>) -> Result<(), StartError> {
        let lab = self.executive();
        let registered = driver.filter().is_some_and(|filter| !filter.unregistering.get());
        if registered && lab.checks("entry-failed-registered") {
            lab.record_violation(
                "entry-failed-registered",
                "minifilter-rules §3.3: a failing DriverEntry unregisters its filter itself",
                format!("{} failed its DriverEntry with its filter registered", driver.name),
            );
        } else if let Some(image) = driver.image {
            let left = lab.unload_image(image);
            if !left.is_empty() && lab.checks("entry-failed-leak") {
                lab.record_violation(
                    "entry-failed-leak",
                    "Driver Verifier: a failing DriverEntry leaves nothing behind",
                    format!("{} left {}", driver.name, left.join(", ")),
                );
            }
        }
        lab.violation().map_or(Ok(()), |violation| Err(StartError::Violation(violation)))
    }

    /// Asks a filter to unload, as `fltmc unload` does, and takes its image away. What it left is in the report.
    ///
    /// # Errors
    /// The status of a filter that refuses.
    pub fn unload_driver(&self, driver: &Rc<Driver>) -> Result<Report, lab_volume::Status> {
        self.stop_driver(driver, false)
    }

    /// Stops the service, as `sc stop` does: the filter cannot refuse, unless it registered so.
    ///
    /// # Errors
    /// The status of a filter that cannot be stopped.
    pub fn stop_service(&self, driver: &Rc<Driver>) -> Result<Report, lab_volume::Status> {
        self.stop_driver(driver, true)
    }

    fn stop_driver(&self, driver: &Rc<Driver>, mandatory: bool) -> Result<Report, lab_volume::Status> {
        let mut report = Report::default();
        let own = driver.clone();
        let answered = self.executive().run(move |lab| stop(lab, &own, mandatory));
        match answered {
            Ok(Ok(left)) => report.left = left,
            Ok(Err(status)) => return Err(lab_volume::Status(status.cast_unsigned())),
            Err(violation) => report.violation = Some(violation),
        }
        Ok(report)
    }

    /// Attaches another instance by hand, as `fltmc attach` does.
    ///
    /// # Errors
    /// What InstanceSetup answers, altitude and name collisions.
    pub fn attach(
        &self,
        driver: &Rc<Driver>,
        definition: InstanceDefinition,
    ) -> Result<Rc<Instance>, lab_volume::Status> {
        let Some(filter) = driver.filter() else { return Err(lab_volume::Status::NOT_FOUND) };
        let manual = fltkernel::FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT;
        let attached = self.executive().run(move |lab| life::attach(lab, &filter, &definition, manual));
        match attached {
            Ok(result) => result.map_err(|status| lab_volume::Status(status.cast_unsigned())),
            Err(violation) => panic!("{violation}"),
        }
    }

    /// Detaches an instance by hand, as `fltmc detach` does.
    ///
    /// # Errors
    /// STATUS_FLT_DO_NOT_DETACH if the filter refuses.
    pub fn detach(&self, instance: &Rc<Instance>) -> Result<(), lab_volume::Status> {
        let own = instance.clone();
        match self.executive().run(move |lab| life::detach(lab, &own)) {
            Ok(result) => result.map_err(|status| lab_volume::Status(status.cast_unsigned())),
            Err(violation) => panic!("{violation}"),
        }
    }

    /// The instances of a filter, in order of attaching.
    pub fn instances(&self, filter: &Filter) -> Vec<Rc<Instance>> {
        filter.instances.borrow().clone()
    }

    /// The drivers that are loaded.
    pub fn drivers(&self) -> Vec<Rc<Driver>> {
        all(self.executive())
    }
}

fn new_driver(lab: &Executive, name: &str, image: Option<usize>) -> (Rc<Driver>, *mut u8) {
    let object: *mut DRIVER_OBJECT = lab.allocate_own(size_of::<DRIVER_OBJECT>(), b"Driv").cast();
    let service = memory::wide(&format!(r"{SERVICES}\{name}"));
    let mut value = memory::read(object);
    value.Type = 4;
    value.Size = size_of::<DRIVER_OBJECT>() as i16;
    value.DriverName = counted(lab, &memory::wide(&format!(r"\FileSystem\{name}")), b"IoDn");
    memory::write(object, value);
    let path = lab.allocate_own(size_of::<lab_nt::UNICODE_STRING>(), b"IoRp");
    memory::write(path.cast(), counted(lab, &service, b"IoRs"));
    let driver = Rc::new(Driver {
        name: name.into(),
        image,
        object,
        filter: RefCell::new(None),
        gone: Cell::new(false),
    });
    lab.room::<Drivers>().by_object.borrow_mut().insert(object.addr(), driver.clone());
    (driver, path)
}

/// Unloads a driver; what it left behind, or the status with which it refused.
fn stop(lab: &Executive, driver: &Rc<Driver>, mandatory: bool) -> Result<Vec<String>, i32> {
    const NOT_SUPPORTED: i32 = 0xC000_00BB_u32.cast_signed();
    if let Some(filter) = driver.filter() {
        let registration = &filter.registration;
        if mandatory && registration.flags & FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP != 0 {
            return Err(NOT_SUPPORTED);
        }
        let Some(unload) = registration.unload else { return Err(fltkernel::STATUS_FLT_DO_NOT_DETACH) };
        let flags = if mandatory { FLTFL_FILTER_UNLOAD_MANDATORY } else { 0 };
        let answer = flt::call(lab, "FilterUnload", || {
            // SAFETY: the registered callback, called as its type says.
            unsafe { unload(flags) }
        });
        if answer < 0 && !mandatory {
            return Err(answer);
        }
        if !filter.unregistering.get() {
            lab.report(
                "unload-without-unregister",
                "minifilter-rules §3.3: FilterUnload must call FltUnregisterFilter",
                format!("filter {} is still registered after its unload callback", filter.name),
            );
        }
    }
    driver.gone.set(true);
    let flt = crate::rooms::Rooms::flt(lab);
    let mut left: Vec<String> = flt.left.borrow_mut().drain(..).collect();
    left.extend(io::device::open_devices(lab, driver));
    if let Some(image) = driver.image {
        left.extend(lab.unload_image(image).into_iter().map(|what| format!("{}: {what}", driver.name)));
    }
    lab.room::<Drivers>().by_object.borrow_mut().remove(&driver.object.addr());
    Ok(left)
}

/// Unloads every driver, highest altitude first.
pub(crate) fn unload_all(lab: &Executive, report: &mut Report) {
    let mut drivers = all(lab);
    let top = |driver: &Rc<Driver>| {
        let filter = driver.filter();
        filter.and_then(|filter| {
            filter.instances.borrow().iter().map(|instance| instance.altitude.clone()).max()
        })
    };
    drivers.sort_by_cached_key(|driver| std::cmp::Reverse((top(driver), driver.name.clone())));
    for driver in drivers {
        let own = driver.clone();
        match lab.run(move |lab| stop(lab, &own, false)) {
            Ok(Ok(left)) => report.left.extend(left),
            Ok(Err(status)) => {
                let status = lab_volume::Status(status.cast_unsigned());
                report.left.push(format!("driver {} refused to unload: {status}", driver.name));
            }
            Err(violation) => {
                report.violation = Some(violation);
                return;
            }
        }
    }
}
