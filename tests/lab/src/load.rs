//! `lab load`: loads a driver, prints what it registered, unloads it and says what it left behind.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result};
use lab_executive::irql;
use serde::Serialize;

use crate::flt::altitude::Altitude;
use crate::flt::registration::{Registration, context_name, major_name};
use crate::loading::{Driver, Service, StartError};
use crate::{Lab, Report};

/// Loads an x64 minifilter, whoever built it, prints what it registers, and unloads it.
///
/// A driver that cannot be run is refused with every import that is missing, or the instruction that cannot be
/// served. Exit status: 0 if it loaded and left nothing behind, 1 otherwise.
#[derive(clap::Args)]
pub struct Arguments {
    /// The driver's image.
    driver: PathBuf,
    /// Altitude of its instance.
    #[arg(long, default_value = "385100")]
    altitude: String,
    /// Name of its service; the file's name without extension if not given.
    #[arg(long)]
    service: Option<String>,
    /// A `.reg` file that is imported before the load; its Instances of the service count instead of `--altitude`.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Loaded {
    service: String,
    version: String,
    flags: Vec<&'static str>,
    callbacks: Vec<&'static str>,
    operations: Vec<OperationLine>,
    contexts: Vec<ContextLine>,
    instances: Vec<String>,
    imports: Vec<ImportLine>,
    notes: Vec<String>,
    events: Vec<String>,
    unload: String,
    left: Vec<String>,
    clean: bool,
}

#[derive(Serialize)]
struct OperationLine {
    major: &'static str,
    pre: bool,
    post: bool,
    skips: Vec<&'static str>,
}

#[derive(Serialize)]
struct ContextLine {
    kind: &'static str,
    size: Option<usize>,
    tag: String,
    cleanup: bool,
}

#[derive(Serialize)]
struct ImportLine {
    module: &'static str,
    name: &'static str,
    ceiling: String,
    fidelity: String,
    calls: u64,
}

/// Loads and prints.
///
/// # Errors
/// If a file cannot be read, the altitude or the policy is malformed, or the driver cannot be run.
pub fn command(arguments: &Arguments) -> Result<u8> {
    anyhow::ensure!(
        Altitude::parse(&arguments.altitude).is_some(),
        "{:?} is no altitude: a decimal number such as 225000 or 225000.5",
        arguments.altitude
    );
    let stem = arguments.driver.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = arguments.service.clone().or(stem).unwrap_or_default();
    let lab = Lab::builder().build()?;
    let mut service = Service::new(&name, &arguments.altitude);
    if let Some(path) = &arguments.policy {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        let applied = lab.executive().change_registry(|registry| registry.apply(&bytes));
        applied.with_context(|| path.display().to_string())?;
        if lab.has_instances(&name) {
            service.instances.clear();
        }
    }
    let driver = match lab.load(&arguments.driver, &service) {
        Ok(driver) => driver,
        Err(error @ StartError::File(..)) => anyhow::bail!("{error}"),
        Err(error) => anyhow::bail!("{}: {error}", arguments.driver.display()),
    };
    let shown = describe(&lab, &driver);
    let clean = shown.clean;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&shown)?);
    } else {
        print!("{}", text(&shown));
    }
    Ok(u8::from(!clean))
}

fn describe(lab: &Rc<Lab>, driver: &Rc<Driver>) -> Loaded {
    let filter = driver.filter();
    let instances = filter.iter().flat_map(|filter| {
        filter.instances.borrow().iter().map(|instance| instance.label()).collect::<Vec<_>>()
    });
    let instances = instances.collect();
    let executive = lab.executive();
    let image = driver.image.map(|image| executive.images.get(image));
    let registration = filter.as_ref().map(|filter| filter.registration.clone());
    let (unload, report) = match lab.unload_driver(driver) {
        Ok(report) => ("unloaded".to_owned(), report),
        Err(status) => (format!("refused: {status}"), Report::default()),
    };
    let mut left = report.left.clone();
    left.extend(report.violation.iter().map(|violation| violation.to_string()));
    let imports = image.iter().flat_map(|image| image.imports.iter()).map(|import| ImportLine {
        module: import.module,
        name: import.name,
        ceiling: irql::name(import.ceiling),
        fidelity: import.fidelity.to_string(),
        calls: executive.calls.count(import.name),
    });
    let events = executive.etw.take_events();
    let events = events.iter().map(|event| {
        let fields: Vec<_> = event.fields.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        format!("{}/{} {}", event.provider_name, event.name, fields.join(" "))
    });
    Loaded {
        service: driver.name.clone(),
        version: registration
            .as_ref()
            .map_or_else(|| "no filter registered".into(), |r| format!("{:#06x}", r.version)),
        flags: registration.as_ref().map_or_else(Vec::new, flags),
        callbacks: registration.as_ref().map_or_else(Vec::new, callbacks),
        operations: registration.iter().flat_map(operations).collect(),
        contexts: registration.iter().flat_map(contexts).collect(),
        instances,
        imports: imports.collect(),
        notes: image.map_or_else(Vec::new, |image| image.notes.clone()),
        events: events.collect(),
        unload,
        clean: report.is_clean(),
        left,
    }
}

fn chosen(bits: u32, names: &[(u32, &'static str)]) -> Vec<&'static str> {
    names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect()
}

fn flags(registration: &Registration) -> Vec<&'static str> {
    chosen(
        registration.flags,
        &[
            (1, "DO_NOT_SUPPORT_SERVICE_STOP"),
            (2, "SUPPORT_NPFS_MSFS"),
            (4, "SUPPORT_DAX_VOLUME"),
            (8, "SUPPORT_WCOS"),
        ],
    )
}

fn callbacks(registration: &Registration) -> Vec<&'static str> {
    let all = [
        (registration.unload.is_some(), "FilterUnload"),
        (registration.instance_setup.is_some(), "InstanceSetup"),
        (registration.query_teardown.is_some(), "InstanceQueryTeardown"),
        (registration.teardown_start.is_some(), "InstanceTeardownStart"),
        (registration.teardown_complete.is_some(), "InstanceTeardownComplete"),
        (registration.transaction.is_some(), "TransactionNotification"),
    ];
    all.into_iter().filter(|(present, _)| *present).map(|(_, name)| name).collect()
}

fn operations(registration: &Registration) -> Vec<OperationLine> {
    let skips = [(1, "paging"), (2, "cached"), (4, "non-DASD"), (8, "non-cached non-paging")];
    let line = |operation: &crate::flt::registration::Operation| OperationLine {
        major: major_name(operation.major),
        pre: operation.pre.is_some(),
        post: operation.post.is_some(),
        skips: chosen(operation.flags, &skips),
    };
    registration.operations.iter().map(line).collect()
}

fn contexts(registration: &Registration) -> Vec<ContextLine> {
    let line = |context: &crate::flt::registration::ContextKind| ContextLine {
        kind: context_name(context.kind),
        size: (context.size != fltkernel::FLT_VARIABLE_SIZED_CONTEXTS).then_some(context.size),
        tag: lab_executive::pool::tag_text(context.tag),
        cleanup: context.cleanup.is_some(),
    };
    registration.contexts.iter().map(line).collect()
}

fn text(shown: &Loaded) -> String {
    let mut out = String::new();
    let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let _ = writeln!(out, "service {}, registration version {}", shown.service, shown.version);
    let _ = writeln!(out, "flags: {}", list(&shown.flags));
    let _ = writeln!(out, "callbacks: {}", list(&shown.callbacks));
    let _ = writeln!(out, "operations:");
    for operation in &shown.operations {
        let sides = match (operation.pre, operation.post) {
            (true, true) => "pre, post",
            (true, false) => "pre",
            _ => "post",
        };
        let skips = if operation.skips.is_empty() {
            String::new()
        } else {
            format!(", skips {}", list(&operation.skips))
        };
        let _ = writeln!(out, "  {:<44} {sides}{skips}", operation.major);
    }
    let _ = writeln!(out, "contexts:{}", if shown.contexts.is_empty() { " none" } else { "" });
    for context in &shown.contexts {
        let size = context.size.map_or_else(|| "variable size".into(), |size| format!("{size} bytes"));
        let cleanup = if context.cleanup { ", cleanup callback" } else { "" };
        let _ = writeln!(out, "  {}: {size}, tag '{}'{cleanup}", context.kind, context.tag);
    }
    let _ = writeln!(
        out,
        "instances: {}",
        if shown.instances.is_empty() { "none attached".into() } else { shown.instances.join(", ") }
    );
    let _ = writeln!(out, "imports:");
    for import in &shown.imports {
        let _ = writeln!(
            out,
            "  {:<14} {:<40} {:>4} calls  {}",
            import.module, import.name, import.calls, import.fidelity
        );
    }
    for note in &shown.notes {
        let _ = writeln!(out, "note: {note}");
    }
    for event in &shown.events {
        let _ = writeln!(out, "event: {event}");
    }
    let _ = writeln!(out, "unload: {}", shown.unload);
    for left in &shown.left {
        let _ = writeln!(out, "left: {left}");
    }
    if shown.clean {
        let _ = writeln!(out, "nothing left behind");
    }
    out
}
