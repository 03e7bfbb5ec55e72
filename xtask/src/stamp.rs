//! Whether a result is still made from the inputs that it was made from.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A digest of the inputs, and the file that remembers it. The file is removed while the result is being
/// made (see [`Stamp::is_current`]), so that an interrupted run is repeated.
pub(crate) struct Stamp {
    path: PathBuf,
    hasher: DefaultHasher,
}

impl Stamp {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), hasher: DefaultHasher::new() }
    }

    /// An input that is text.
    pub(crate) fn text(mut self, text: &str) -> Self {
        text.hash(&mut self.hasher);
        self
    }

    /// An input that is a file, by its content.
    pub(crate) fn file(mut self, path: &Path) -> Result<Self> {
        fs::read(path).with_context(|| format!("reading {}", path.display()))?.hash(&mut self.hasher);
        Ok(self)
    }

    /// Whether the result was made from these inputs. If not, an older stamp is removed.
    pub(crate) fn is_current(&self) -> bool {
        let current = fs::read_to_string(&self.path).is_ok_and(|old| old == self.digest());
        if !current {
            let _ = fs::remove_file(&self.path);
        }
        current
    }

    /// Says that the result is made.
    pub(crate) fn write(&self) -> Result<()> {
        fs::write(&self.path, self.digest()).with_context(|| format!("writing {}", self.path.display()))
    }

    fn digest(&self) -> String {
        format!("{:016x}\n", self.hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_input_is_noticed_and_forgets_the_old_stamp() {
        let path = std::env::temp_dir().join(format!("intact-stamp-{}", std::process::id()));
        let one = Stamp::new(&path).text("one");
        one.write().unwrap();
        assert!(one.is_current());
        assert!(!Stamp::new(&path).text("two").is_current());
        assert!(!one.is_current(), "a stamp that did not match must not match later");
    }
}
