//! The operation table as a page: `docs/operations.md`.

use std::fmt::Write as _;
use std::path::Path;

use kernel::Status;

use super::Row;
use crate::operations::{Modifies, TABLE, Treatment};
use crate::save::wounds::Change;

/// Set to write the page instead of comparing it.
const BLESS: &str = "INTACT_BLESS";

fn status(status: Status) -> &'static str {
    match status {
        Status::NOT_SUPPORTED => "`STATUS_NOT_SUPPORTED`",
        Status::INVALID_DEVICE_REQUEST => "`STATUS_INVALID_DEVICE_REQUEST`",
        Status::INVALID_PARAMETER => "`STATUS_INVALID_PARAMETER`",
        Status::OPLOCK_NOT_GRANTED => "`STATUS_OPLOCK_NOT_GRANTED`",
        Status::INVALID_OPLOCK_PROTOCOL => "`STATUS_INVALID_OPLOCK_PROTOCOL`",
        Status::OFFLOAD_READ_FILE_NOT_SUPPORTED => "`STATUS_OFFLOAD_READ_FILE_NOT_SUPPORTED`",
        Status::OFFLOAD_WRITE_FILE_NOT_SUPPORTED => "`STATUS_OFFLOAD_WRITE_FILE_NOT_SUPPORTED`",
        other => panic!("{other:?} has no name here"),
    }
}

fn treatment(treatment: Treatment) -> String {
    match treatment {
        Treatment::Swap(Modifies::Nothing) => "to the twin".into(),
        Treatment::Swap(Modifies::Bytes) => "to the twin; a failure wounds its bytes".into(),
        Treatment::Swap(Modifies::Size) => "to the twin; a failure wounds the size".into(),
        Treatment::Swap(Modifies::Zeros) => "to the twin; a failure wounds its range".into(),
        Treatment::Swap(Modifies::Other(change)) => {
            let what = match change {
                Change::Size => "the size",
                Change::Allocation => "the allocation",
                Change::Basic => "times and attributes",
                Change::ExtendedAttributes => "the extended attributes",
                Change::Security => "the security descriptor",
                Change::Control => "what the control changes",
                Change::Name => "the names",
                Change::Deletion => "the deletion",
            };
            format!("to the twin; a failure wounds {what}")
        }
        Treatment::Pass => "to the own file object".into(),
        Treatment::Own => "owned".into(),
        Treatment::Refuse(refusal) => format!("refused: {}", status(refusal)),
        Treatment::NoShortcut => "comes again as a request".into(),
    }
}

fn rows(page: &mut String, heading: &str, number: impl Fn(u32) -> String, rows: &[Row]) {
    let _ = writeln!(page, "\n## {heading}\n\n| | name | treatment | why |\n|---|---|---|---|");
    for row in rows {
        let number = number(row.detail);
        let _ =
            writeln!(page, "| {number} | `{}` | {} | {} |", row.name, treatment(row.treatment), row.reason);
    }
}

fn page() -> String {
    let mut page = String::from(
        "# What becomes of each operation on a redirected handle\n\n\
         Made from `minifilter/src/operations.rs` and `minifilter/src/operations/table/`; a test compares.\n\n\
         A *redirected* handle is one through which a program saves. Its *own file object* is a genuine one of NTFS, opened \
         for attributes only; its *twin* is the same file, opened below the driver inside the save's transaction. *Owned*: a \
         module of the driver decides. A *wound* is something that was asked for and failed; a save with an open wound is \
         rolled back. On a handle that only reads in a save, what is refused here goes to its own file object, which is \
         whole.\n\n| operation | treatment | why |\n|---|---|---|\n",
    );
    for operation in TABLE {
        let text = treatment(operation.treatment);
        let others = if operation.details.is_empty() { "" } else { "; others by the list below" };
        let _ = writeln!(page, "| `{}` | {text}{others} | {} |", operation.name, operation.reason);
    }
    rows(&mut page, "Queries of file information", |class| class.to_string(), super::QUERIES);
    rows(&mut page, "Settings of file information", |class| class.to_string(), super::SETTINGS);
    rows(&mut page, "File system controls", |code| format!("`0x{code:08X}`"), super::CONTROLS);
    page
}

#[test]
fn the_page_in_the_documentation_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    if std::env::var_os(BLESS).is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page(),
        "docs/operations.md does not show the operation table: run `{BLESS}=1 cargo test -p intact the_page`"
    );
}
