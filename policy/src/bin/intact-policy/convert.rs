//! The same policy in another form.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use intact_policy::tools::{Document, adml, admx, slots, to_json, to_oma_uri};

use crate::policy_file::PolicyFile;

/// Writes the policy to `output`, or to standard output.
pub(crate) fn convert(file: &PolicyFile, to: &str, output: Option<&Path>) -> Result<ExitCode, String> {
    file.notes.iter().for_each(|note| eprintln!("note: {note}"));
    let bytes = match to {
        "reg" => file.reg.to_bytes(),
        "json" | "oma-uri" => {
            let (document, left_out) = Document::from_reg(&file.reg);
            if !left_out.is_empty() {
                let lines: Vec<String> = left_out.iter().map(|what| format!("  {what}")).collect();
                eprintln!("intact-policy: {to} cannot hold all of this policy:\n{}", lines.join("\n"));
                return Ok(ExitCode::FAILURE);
            }
            let text = if to == "json" { Ok(to_json(&document)) } else { to_oma_uri(&document) };
            text?.into_bytes()
        }
        _ => return Err(format!("there is no form '{to}': there are reg, json and oma-uri")),
    };
    let written = match output {
        Some(path) => std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display())),
        None => std::io::stdout().write_all(&bytes).map_err(|error| error.to_string()),
    };
    written.map(|()| ExitCode::SUCCESS)
}

/// A file of the template.
pub(crate) fn template(which: &str) -> Result<String, String> {
    match which {
        "admx" => Ok(admx(&slots())),
        "adml" => Ok(adml(&slots())),
        _ => Err(format!("there is no template '{which}': there are admx and adml")),
    }
}
