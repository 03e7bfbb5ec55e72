//! Whether what is found after a fault is what was promised.

use lab_volume::{Node, Tree};

use crate::machine::Version;

/// What may be left behind although it is neither the old nor the new version. Each is a limit that the documentation
/// names; the run reports how often it met each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// A new file or stream, empty: its program's own create made it, and a power cut came before the outcome.
    EmptyPlaceholder,
}

impl Limit {
    /// As the documentation puts it.
    pub fn text(self) -> &'static str {
        match self {
            Limit::EmptyPlaceholder => "a power cut in a save that makes a file may leave the file, empty",
        }
    }
}

/// How exactly versions are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// Everything: names, ids, attributes, times, security, extended attributes, links, allocation, every stream.
    Whole,
    /// As far as a bare volume can be held to: not times, and not allocation.
    Contents,
    /// As `Contents`, and not ids: between two volumes.
    Told,
}

fn same_node(one: &Node, two: &Node, how: Sameness) -> bool {
    one.directory == two.directory
        && one.attributes == two.attributes
        && one.security == two.security
        && one.eas == two.eas
        && one.data == two.data
        && one.streams == two.streams
        && one.links == two.links
        && (how == Sameness::Told || one.id == two.id)
        // A directory's own times tell of placeholders that came and went.
        && (how != Sameness::Whole
            || one.directory
            || (one.times == two.times && one.allocated == two.allocated))
}

/// Whether two volumes are the same.
pub fn same(one: &Tree, two: &Tree, how: Sameness) -> bool {
    one.len() == two.len()
        && one
            .iter()
            .zip(two)
            .all(|((name, node), (other, twin))| name == other && same_node(node, twin, how))
}

/// The first difference, for people.
pub fn difference(found: &Tree, expected: &Tree, how: Sameness) -> String {
    let mut names: Vec<&String> = found.keys().chain(expected.keys()).collect();
    names.sort();
    for name in names {
        match (found.get(name), expected.get(name)) {
            (Some(_), None) => return format!("{name} is there and should not be"),
            (None, Some(_)) => return format!("{name} is missing"),
            (Some(found), Some(expected)) if !same_node(found, expected, how) => {
                return format!("{name}: {}", difference_of(found, expected));
            }
            _ => {}
        }
    }
    "nothing".into()
}

fn difference_of(found: &Node, expected: &Node) -> String {
    let first = |one: &[u8], two: &[u8]| {
        let at = one.iter().zip(two).position(|(one, two)| one != two).unwrap_or(one.len().min(two.len()));
        format!("differs from byte {at} on ({} bytes, not {})", one.len(), two.len())
    };
    if found.data != expected.data {
        return first(&found.data, &expected.data);
    }
    for (stream, data) in &expected.streams {
        match found.streams.get(stream) {
            None => return format!("stream {stream} is missing"),
            Some(found) if found != data => return format!("stream {stream} {}", first(found, data)),
            Some(_) => {}
        }
    }
    if let Some(more) = found.streams.keys().find(|stream| !expected.streams.contains_key(*stream)) {
        return format!("stream {more} is there and should not be");
    }
    let fields = [
        ("id", found.id == expected.id),
        ("attributes", found.attributes == expected.attributes),
        ("security", found.security == expected.security),
        ("extended attributes", found.eas == expected.eas),
        ("number of names", found.links == expected.links),
        ("times", found.times == expected.times),
        ("allocation", found.allocated == expected.allocated),
    ];
    let wrong: Vec<&str> = fields.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect();
    format!("another {}", wrong.join(" and another "))
}

/// What a crash left, against what it may have left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The version with this number.
    Version(usize),
    /// The version with this number, and what a limit names.
    Limited(usize, Limit),
    /// Neither.
    Damaged(String),
}

/// Judges what was found after a crash that came after `after` effects.
pub fn judge(found: &Tree, versions: &[Version], after: u64, how: Sameness) -> Verdict {
    // A promise binds only where a driver made it; versions that the crash could not know are none.
    let oldest =
        versions.iter().rposition(|version| version.promised.is_some_and(|at| at <= after)).unwrap_or(0);
    let possible = versions.iter().enumerate().skip(oldest).filter(|(_, version)| version.from <= after);
    for (index, version) in possible.clone() {
        if same(found, &version.tree, how) {
            return Verdict::Version(index);
        }
    }
    for (index, version) in possible {
        if same(&without_placeholders(found, &version.tree), &version.tree, how) {
            return Verdict::Limited(index, Limit::EmptyPlaceholder);
        }
    }
    Verdict::Damaged(difference(found, &versions[oldest].tree, how))
}

/// What was found, less the empty files and streams that a version does not have.
fn without_placeholders(found: &Tree, version: &Tree) -> Tree {
    let mut rest = found.clone();
    rest.retain(|name, node| {
        let empty = !node.directory && node.data.is_empty() && node.streams.values().all(Vec::is_empty);
        !empty || version.contains_key(name)
    });
    for (name, node) in &mut rest {
        let known = version.get(name);
        node.streams.retain(|stream, data| {
            !data.is_empty() || known.is_some_and(|known| known.streams.contains_key(stream))
        });
        // Making a stream changes the file's change time and its archive attribute, which is no part of a save.
        if let (Some(known), Some(found)) = (known, found.get(name))
            && found.streams.len() > node.streams.len()
        {
            node.times = known.times;
            node.attributes = known.attributes;
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lab_volume::{Base, Volume};

    use super::*;

    fn tree(files: &[(&str, &[u8])]) -> Tree {
        let mut volume = Volume::mount(Base::formatted(64, "C")).unwrap();
        for (name, data) in files {
            volume.put_file(name, data).unwrap();
        }
        volume.tree()
    }

    fn version(files: &[(&str, &[u8])], from: u64, promised: Option<u64>) -> Version {
        Version { tree: Arc::new(tree(files)), from, promised }
    }

    #[test]
    fn old_before_new_after_and_either_between() {
        let versions = [version(&[("a", b"old")], 0, Some(0)), version(&[("a", b"new")], 5, Some(9))];
        let judge = |data: &[u8], after| judge(&tree(&[("a", data)]), &versions, after, Sameness::Whole);
        assert_eq!(judge(b"old", 4), Verdict::Version(0));
        assert!(matches!(judge(b"new", 4), Verdict::Damaged(_)), "before the save ended");
        assert_eq!(judge(b"old", 7), Verdict::Version(0));
        assert_eq!(judge(b"new", 7), Verdict::Version(1));
        assert!(matches!(judge(b"old", 9), Verdict::Damaged(_)), "after the program was told");
        assert!(matches!(judge(b"nld", 7), Verdict::Damaged(_)));
    }

    #[test]
    fn an_empty_new_file_is_the_documented_limit_and_a_full_one_is_not() {
        let versions = [version(&[("a", b"old")], 0, Some(0))];
        let found = |data: &[u8]| judge(&tree(&[("a", b"old"), ("b", data)]), &versions, 9, Sameness::Whole);
        assert_eq!(found(b""), Verdict::Limited(0, Limit::EmptyPlaceholder));
        assert_eq!(found(b"x"), Verdict::Damaged("b is there and should not be".into()));
    }

    #[test]
    fn an_emptied_old_file_is_no_placeholder() {
        let versions = [version(&[("a", b"old")], 0, Some(0))];
        assert!(matches!(judge(&tree(&[("a", b"")]), &versions, 9, Sameness::Whole), Verdict::Damaged(_)));
        assert!(matches!(judge(&tree(&[]), &versions, 9, Sameness::Whole), Verdict::Damaged(_)));
    }

    #[test]
    fn everything_about_a_file_is_compared() {
        let one = tree(&[("a", b"old"), ("a:s", b"stream")]);
        let changes: [fn(&mut Node); 7] = [
            |node| node.id.0 += 1,
            |node| node.attributes ^= 2,
            |node| node.security = Arc::from([1]),
            |node| node.links += 1,
            |node| node.times.write += 1,
            |node| node.allocated += 4096,
            |node| node.streams.clear(),
        ];
        for change in changes {
            let mut two = one.clone();
            two.values_mut().for_each(change);
            assert!(!same(&one, &two, Sameness::Whole), "{}", difference(&one, &two, Sameness::Whole));
        }
        assert!(same(&one, &one.clone(), Sameness::Whole));
    }
}
