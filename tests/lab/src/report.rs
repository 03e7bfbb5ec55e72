//! What is left when everything should be gone.

use std::fmt;
use std::rc::Rc;

use lab_executive::Violation;

/// The verifier's report at the end of a lab.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What stopped the run, if something did.
    pub violation: Option<Rc<Violation>>,
    /// Pool, contexts, handles, file objects, names, work items, transactions that were left, by owner.
    pub left: Vec<String>,
}

impl Report {
    /// Whether nothing broke and nothing is left.
    pub fn is_clean(&self) -> bool {
        self.violation.is_none() && self.left.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(violation) = &self.violation {
            write!(f, "{violation}")?;
        }
        for left in &self.left {
            writeln!(f, "left: {left}")?;
        }
        if self.is_clean() {
            writeln!(f, "nothing left")?;
        }
        Ok(())
    }
}
