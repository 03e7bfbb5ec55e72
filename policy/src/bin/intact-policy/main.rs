//! `intact-policy`: what is wrong with a policy, what it says, which rule a save falls under, and its other forms.

mod convert;
mod explain;
mod machine;
mod policy_file;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use machine::Machine;
use policy_file::PolicyFile;

const HELP: &str = r"intact-policy: checks, shows, explains and converts the policy of Intact

FILE is a .reg file, a registry hive (SOFTWARE, SYSTEM, or what reg save wrote), JSON, or SyncML with OMA-URI settings.

  intact-policy check FILE [--volume X:=DEVICE]...
      Reports every error and every warning. Exit status 1 if there are errors.

  intact-policy show FILE [--volume X:=DEVICE]...
      Prints the policy that is in force: its rules in the order in which they are asked, and where each value is from.

  intact-policy explain --policy FILE PATH [--process IMAGE] [--volume X:=DEVICE]...
      Says which rule a file falls under when a program saves it, and why each other rule does not apply.
      PATH and IMAGE are written with a drive letter (C:\Data\a.txt) or as NT names (\Device\HarddiskVolume3\...).
      Without --process, a program is meant that no rule names.

  intact-policy convert FILE --to reg|json|oma-uri [--output FILE]
      Writes the same policy in another form. Nothing is left out: what the form cannot hold is an error.

  intact-policy template admx|adml
      Prints the Group Policy template or its English texts.

  --volume X:=DEVICE   the device behind a drive letter: --volume C:=\Device\HarddiskVolume3. If none is given, each
                       drive letter and volume GUID stands for a device of its own; if any is given, all others are
                       taken as not there.
";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(code) => code,
        Err(text) => {
            eprintln!("intact-policy: {text}\n\nintact-policy --help tells how it is used");
            ExitCode::from(2)
        }
    }
}

/// The arguments after the command.
#[derive(Default)]
struct Arguments {
    positional: Vec<String>,
    policy: Option<PathBuf>,
    process: Option<String>,
    to: Option<String>,
    output: Option<PathBuf>,
    machine: Machine,
}

fn run(mut args: impl Iterator<Item = String>) -> Result<ExitCode, String> {
    let command = args.next().unwrap_or_else(|| "--help".to_owned());
    let arguments = parse(args)?;
    match (command.as_str(), arguments.positional.as_slice()) {
        ("--help" | "-h" | "help", _) => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        ("check", [file]) => check(PolicyFile::read(file.as_ref())?, arguments.machine),
        ("explain", [path]) => {
            let file = arguments.policy.as_deref().ok_or("explain needs --policy FILE")?;
            let process = arguments.process.as_deref();
            print!("{}", explain::explain(&PolicyFile::read(file)?, arguments.machine, path, process)?);
            Ok(ExitCode::SUCCESS)
        }
        ("show", [file]) => {
            print!("{}", show::show(&PolicyFile::read(file.as_ref())?, arguments.machine)?);
            Ok(ExitCode::SUCCESS)
        }
        ("convert", [file]) => {
            let to = arguments.to.as_deref().ok_or("convert needs --to reg, json or oma-uri")?;
            convert::convert(&PolicyFile::read(file.as_ref())?, to, arguments.output.as_deref())
        }
        ("template", [which]) => {
            print!("{}", convert::template(which)?);
            Ok(ExitCode::SUCCESS)
        }
        ("check" | "show" | "convert", _) => Err(format!("{command} needs one file")),
        ("template", _) => Err("template needs admx or adml".to_owned()),
        ("explain", _) => Err("explain needs one path".to_owned()),
        (other, _) => Err(format!("there is no command '{other}'")),
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(argument) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--policy" => arguments.policy = Some(value()?.into()),
            "--process" => arguments.process = Some(value()?),
            "--to" => arguments.to = Some(value()?),
            "--output" => arguments.output = Some(value()?.into()),
            "--volume" => arguments.machine.add(&value()?)?,
            option if option.starts_with("--") => return Err(format!("there is no option '{option}'")),
            _ => arguments.positional.push(argument),
        }
    }
    Ok(arguments)
}

fn check(file: PolicyFile, mut machine: Machine) -> Result<ExitCode, String> {
    let checked = file.check(&mut machine);
    file.notes.iter().for_each(|note| println!("note: {note}"));
    for problem in &checked.problems {
        println!("{problem}");
    }
    let (errors, warnings) = (checked.errors, checked.problems.len() - checked.errors);
    match file.compile(&mut machine) {
        Ok(policy) => {
            let size = policy.size() * 2;
            println!("{} rules, {warnings} warnings; compiled, the policy takes {size} bytes", policy.len());
            Ok(ExitCode::SUCCESS)
        }
        Err(_) => {
            println!("{errors} errors, {warnings} warnings: Intact would keep the policy that it has");
            Ok(ExitCode::FAILURE)
        }
    }
}
