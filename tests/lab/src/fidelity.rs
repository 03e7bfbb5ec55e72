//! `lab fidelity`: the table of imports, made from their declarations.

use std::fmt::Write as _;

use anyhow::Result;
use lab_executive::import::{Failure, Target};
use lab_executive::{Fidelity, Import, irql};
use serde::Serialize;

/// Which imports drivers may have, and how true each is to Windows.
#[derive(clap::Args)]
pub struct Arguments {
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// What is checked of a driver, by class of Driver Verifier, instead of the imports.
    #[arg(long, group = "instead", conflicts_with = "json")]
    verifier: bool,
    /// The facts about Windows that are modelled, with the code and the tests of each, instead of the imports.
    #[arg(long, group = "instead", conflicts_with = "json")]
    rules: bool,
    /// What is not known of Windows and decided by a switch, instead of the imports.
    #[arg(long, group = "instead", conflicts_with = "json")]
    switches: bool,
    /// All of it as one page of Markdown.
    #[arg(long, group = "instead", conflicts_with = "json")]
    page: bool,
}

/// One line of the table.
#[derive(Debug, Serialize)]
pub struct Line {
    /// `ntoskrnl.exe` or `FLTMGR.SYS`.
    pub module: &'static str,
    /// Name.
    pub name: &'static str,
    /// `function` or `variable`.
    pub kind: &'static str,
    /// `modelled`, `approximated` or `switch`.
    pub fidelity: &'static str,
    /// How it differs, or which switch decides.
    pub how: &'static str,
    /// Highest level at which it may be called.
    pub ceiling: String,
    /// Whether a fault plan can make it fail.
    pub can_fail: bool,
    /// Where its contract is written.
    pub source: &'static str,
}

/// The whole table, by module and name.
pub fn lines() -> Vec<Line> {
    let mut lines: Vec<Line> =
        crate::loading::tables().into_iter().flatten().map(|import| line(import)).collect();
    lines.sort_by_key(|line| (line.module, line.name));
    lines
}

fn line(import: &'static Import) -> Line {
    let (fidelity, how) = match import.fidelity {
        Fidelity::Modelled => ("modelled", ""),
        Fidelity::Approximated(how) => ("approximated", how),
        Fidelity::Switch(which) => ("switch", which),
    };
    Line {
        module: import.module,
        name: import.name,
        kind: if matches!(import.target, Target::Data(_)) { "variable" } else { "function" },
        fidelity,
        how,
        ceiling: irql::name(import.ceiling),
        can_fail: import.failure != Failure::Never,
        source: import.source,
    }
}

/// Prints the table.
///
/// # Errors
/// If JSON cannot be made.
pub fn command(arguments: &Arguments) -> Result<u8> {
    let instead = match arguments {
        Arguments { verifier: true, .. } => Some(crate::verifier::table()),
        Arguments { switches: true, .. } => Some(crate::switches::table()),
        Arguments { rules: true, .. } => Some(crate::rules::table().map_err(anyhow::Error::msg)?),
        Arguments { page: true, .. } => Some(page().map_err(anyhow::Error::msg)?),
        _ => None,
    };
    if let Some(text) = instead {
        print!("{text}");
        return Ok(0);
    }
    let lines = lines();
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&lines)?);
    } else {
        print!("{}", table(&lines));
    }
    Ok(0)
}

fn table(lines: &[Line]) -> String {
    let mut text = String::new();
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
    let mut module = "";
    for line in lines {
        if line.module != module {
            module = line.module;
            let _ = writeln!(text, "{module}");
        }
        let how = if line.how.is_empty() { String::new() } else { format!(": {}", line.how) };
        let _ = writeln!(
            text,
            "  {:width$}  {:<14}  {}{how}  [{}]",
            line.name, line.ceiling, line.fidelity, line.source
        );
    }
    let count = |fidelity: &str| lines.iter().filter(|line| line.fidelity == fidelity).count();
    let _ = writeln!(
        text,
        "{} imports: {} modelled, {} approximated, {} by switch; any other is refused by name when a driver is loaded",
        lines.len(),
        count("modelled"),
        count("approximated"),
        count("switch")
    );
    text
}

/// Everything that the lab says of its own truth, as Markdown.
///
/// # Errors
/// If the source tree is not where it was: rules and operations are read from it.
pub fn page() -> Result<String, String> {
    let [sent, never] = crate::rules::operations()?;
    let lines = lines();
    let approximated = lines.iter().filter(|line| line.fidelity != "modelled");
    let approximated: String =
        approximated.map(|line| format!("- `{}`: {} ({})\n", line.name, line.how, line.source)).collect();
    let sections = [
        ("Imports", fenced(&table(&lines))),
        ("Approximations", approximated),
        ("Operations", format!("Sent to filters: {}.\n\nNever: {}.\n", sent.join(", "), never.join(", "))),
        ("Rules", fenced(&crate::rules::table()?)),
        ("Switches", fenced(&crate::switches::table())),
        ("The verifier", fenced(&crate::verifier::table())),
    ];
    let mut page =
        "# How true the lab is to Windows\n\nMade from its code by `cargo xtask lab -- fidelity --page`. \
         Nothing here has been compared with a running Windows; the sources are documents.\n"
            .to_owned();
    for (title, text) in sections {
        let _ = write!(page, "\n## {title}\n\n{text}");
    }
    Ok(page)
}

fn fenced(text: &str) -> String {
    format!("```text\n{text}```\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_import_names_its_source_and_stands_once() {
        let lines = lines();
        for pair in lines.windows(2) {
            assert_ne!(pair[0].name, pair[1].name, "bound twice");
        }
        for line in &lines {
            assert!(!line.source.is_empty(), "{} has no source", line.name);
            assert!(line.fidelity == "modelled" || !line.how.is_empty(), "{} does not say how", line.name);
        }
    }

    #[test]
    fn the_page_has_all_parts() {
        let page = page().unwrap();
        for part in [
            "## Imports",
            "`IoCreateDevice`: no access check",
            "Sent to filters: IRP_MJ_CREATE,",
            "IRP_MJ_QUERY_QUOTA",
            "minifilter-rules §2.5: Post-op",
            "supersede_changes_id",
            "Special pool (0x1)",
        ] {
            assert!(page.contains(part), "{part} is missing in\n{page}");
        }
    }

    #[test]
    fn the_table_ends_with_a_sum() {
        let lines = lines();
        let text = table(&lines);
        assert!(text.contains("FltCreateFileEx2") && text.contains("ZwCommitTransaction"));
        assert!(text.trim_end().lines().last().unwrap().starts_with(&format!("{} imports:", lines.len())));
    }
}
