//! A second opinion on the image: Wine's NT loader maps it, binds its imports and enters its DriverEntry.
//!
//! Wine has no Filter Manager to speak of, so this says nothing about what the driver does; it says that a
//! loader that we did not write accepts the file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::driver::{self, Builder};
use crate::report::{Log, Outcome};
use crate::run;
use crate::tools::{For, Tools};
use crate::workspace;

/// How long Wine may take for one step.
const PATIENCE: Duration = Duration::from_secs(120);

/// Loads `intact.sys` as a service.
pub(crate) fn run(log: &mut Log) -> Result<Outcome> {
    let tools = Tools::ensure(&[For::Wine])?;
    let builder = Builder::prepare()?;
    log.say("building intact.sys");
    let folder = driver::build_intact(&builder)?;
    let session = Session::open(tools.wine()?, log)?;
    let trace = session.start_driver("intact", &folder.join("intact.sys"), log)?;
    let loaded = Loaded::read(&trace, "intact");
    log.say(&format!("{loaded:?}"));
    if !loaded.mapped {
        bail!("Wine did not map intact.sys");
    }
    let Some(entry) = loaded.entered else {
        bail!("Wine mapped intact.sys and did not enter its DriverEntry")
    };
    let missing = if loaded.missing.is_empty() {
        "Wine has all its imports".to_owned()
    } else {
        let names: Vec<&str> = loaded.missing.iter().map(String::as_str).collect();
        log.note(&format!("Wine itself lacks: {}", names.join(" ")));
        format!("Wine itself lacks {} of its imports", names.len())
    };
    let returned = loaded
        .returned
        .map_or("stopped at one that Wine lacks".to_owned(), |status| format!("returned {status}"));
    Ok(Outcome::Passed(format!("DriverEntry entered at {entry}, {returned}; {missing}")))
}

/// What Wine's trace says of a driver.
#[derive(Debug, Default, PartialEq, Eq)]
struct Loaded {
    mapped: bool,
    /// The address at which DriverEntry was called.
    entered: Option<String>,
    /// What it returned, if it did.
    returned: Option<String>,
    /// Imports that Wine does not have.
    missing: BTreeSet<String>,
}

impl Loaded {
    fn read(trace: &str, name: &str) -> Self {
        let mut loaded = Self::default();
        let service = format!(r#"\\Services\\{name}")"#);
        let file = format!(r#"\\{name}.sys""#);
        for line in trace.lines() {
            if line.contains("mapping PE file") && line.contains(&file) {
                loaded.mapped = true;
            }
            if let Some((_, call)) = line.split_once("Call driver init ")
                && line.contains(&service)
            {
                loaded.entered = call.split_whitespace().next().map(str::to_owned);
            }
            if line.contains("Ret  driver init ") && line.contains(&service) {
                loaded.returned = line.split_once("retval=").map(|(_, status)| status.trim().to_owned());
            }
            if let Some((_, rest)) = line.split_once("No implementation for ")
                && rest.contains(&file)
                && let Some(name) = rest.split_whitespace().next()
            {
                loaded.missing.insert(name.to_owned());
            }
        }
        loaded
    }
}

/// A Windows of Wine's of our own, ended when dropped.
pub(crate) struct Session {
    wine: PathBuf,
    prefix: PathBuf,
}

impl Session {
    /// The session of the prefix `target/wine`, which is made if it is not there.
    pub(crate) fn open(wine: PathBuf, log: &mut Log) -> Result<Self> {
        let session = Self { wine, prefix: workspace::root().join("target/wine") };
        if !session.prefix.join("system.reg").is_file() {
            log.say("creating a Wine prefix");
            fs::create_dir_all(&session.prefix)?;
            session.finish(session.wine("-all").args(["wineboot", "--init"]))?;
            session.stop()?;
        }
        Ok(session)
    }

    fn wine(&self, channels: &str) -> Command {
        let mut command = Command::new(&self.wine);
        command
            .env("WINEPREFIX", &self.prefix)
            .env("WINEDEBUG", channels)
            // No question about Mono or Gecko, no display.
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
            .env_remove("DISPLAY");
        command
    }

    /// Registers the driver and starts it. Returns Wine's trace.
    fn start_driver(&self, name: &str, image: &Path, log: &mut Log) -> Result<String> {
        let drivers = self.prefix.join("drive_c/windows/system32/drivers");
        fs::create_dir_all(&drivers)?;
        fs::copy(image, drivers.join(format!("{name}.sys")))
            .with_context(|| format!("copying {}", image.display()))?;
        let registration = self.prefix.join("register.reg");
        // Type 2: file system driver; start 3: on demand. Wine traces only what the debug key includes.
        fs::write(
            &registration,
            format!(
                "REGEDIT4\r\n\r\n\
                 [HKEY_LOCAL_MACHINE\\System\\CurrentControlSet\\Services\\{name}]\r\n\
                 \"Type\"=dword:00000002\r\n\"Start\"=dword:00000003\r\n\"ErrorControl\"=dword:00000001\r\n\
                 \"ImagePath\"=\"C:\\\\windows\\\\system32\\\\drivers\\\\{name}.sys\"\r\n\r\n\
                 [HKEY_CURRENT_USER\\Software\\Wine\\Debug]\r\n\
                 \"RelayInclude\"=\"fltmgr.sys.*\"\r\n"
            ),
        )?;
        self.finish(self.wine("-all").args(["regedit", "/S"]).arg(&registration))?;
        // The trace channels are those that the first process of a session was started with.
        self.stop()?;
        let path = self.prefix.join("trace.log");
        let trace = fs::File::create(&path)?;
        let mut command = self.wine("+relay,+ntoskrnl,+module");
        command.args(["net", "start", name]).stdout(trace.try_clone()?).stderr(trace);
        log.say(&format!("$ {}", run::display(&command)));
        // The status of `net start` is the driver's; whether it got that far is in the trace.
        self.wait(&mut command)?;
        self.stop()?;
        Ok(String::from_utf8_lossy(&fs::read(&path)?).into_owned())
    }

    /// Runs a program in a folder. Returns its exit status, and what it wrote to standard output, then to standard error.
    ///
    /// What Wine itself has to say there is left out: whatever else runs in this Windows inherited the same streams.
    pub(crate) fn program(
        &self,
        program: &Path,
        arguments: &[&str],
        folder: &Path,
    ) -> Result<(Option<i32>, String)> {
        let [output, errors] =
            ["output", "errors"].map(|name| self.prefix.join(format!("program-{name}.log")));
        let mut command = self.wine("-all");
        command.arg(program).args(arguments).current_dir(folder);
        command.stdout(fs::File::create(&output)?).stderr(fs::File::create(&errors)?);
        let status = self.status(&mut command)?;
        let mut told = String::from_utf8_lossy(&fs::read(&output)?).into_owned();
        let errors = String::from_utf8_lossy(&fs::read(&errors)?).into_owned();
        told.extend(errors.split_inclusive('\n').filter(|line| !line.starts_with("wine: ")));
        Ok((status.code(), told))
    }

    fn finish(&self, command: &mut Command) -> Result<()> {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if !self.wait(command)? {
            bail!("{} failed", run::display(command));
        }
        Ok(())
    }

    fn wait(&self, command: &mut Command) -> Result<bool> {
        Ok(self.status(command)?.success())
    }

    fn status(&self, command: &mut Command) -> Result<ExitStatus> {
        let mut child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", run::display(command)))?;
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if begun.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                bail!("{} took more than {} s", run::display(command), PATIENCE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The folder that is its Windows.
    pub(crate) fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The program that ends a session.
    pub(crate) fn server(&self) -> Result<PathBuf> {
        let beside = self.wine.with_file_name("wineserver");
        [beside, PathBuf::from("/usr/lib/wine/wineserver")]
            .into_iter()
            .find(|path| path.is_file())
            .or_else(|| crate::tools::on_path("wineserver"))
            .context("there is a wine, but no wineserver")
    }

    /// Ends every process of this prefix, and waits until they are gone.
    fn stop(&self) -> Result<()> {
        let server = self.server()?;
        for flag in ["-k", "-w"] {
            let mut command = Command::new(&server);
            command.env("WINEPREFIX", &self.prefix).arg(flag).stdout(Stdio::null()).stderr(Stdio::null());
            self.wait(&mut command)?;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = r#"
0118:trace:module:map_image_into_view mapping PE file L"\\??\\C:\\windows\\system32\\drivers\\intact.sys" at 0x1-0x2
0118:err:module:import_dll No implementation for FLTMGR.SYS.FltNew imported from L"C:\\windows\\system32\\drivers\\intact.sys", setting to 0
0118:err:module:import_dll No implementation for ntoskrnl.exe.Other imported from L"C:\\windows\\system32\\drivers\\other.sys", setting to 0
0118:Call driver init 0000000180001000 (obj=1,str=L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\intact")
0118:Ret  driver init 0000000180001000 (obj=1,str=L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\intact") retval=c00000bb
"#;

    #[test]
    fn the_trace_tells_mapping_entry_status_and_what_wine_lacks() {
        assert_eq!(
            Loaded::read(TRACE, "intact"),
            Loaded {
                mapped: true,
                entered: Some("0000000180001000".into()),
                returned: Some("c00000bb".into()),
                missing: BTreeSet::from(["FLTMGR.SYS.FltNew".to_owned()]),
            }
        );
    }

    #[test]
    fn another_driver_of_the_trace_proves_nothing() {
        assert_eq!(Loaded::read(TRACE, "elsewhere"), Loaded::default());
    }
}
