//! Inode numbers for the kernel: which file of the volume a FUSE node is, and by which names it is reached.
//!
//! Requests reach the volume by name, as a Windows program's would, so a node remembers its names; the file
//! id only tells that two names are one file. Numbers count up from 1, the root, and are the same in every
//! run with the same requests.

use std::collections::HashMap;

/// The number of the root folder, fixed by the FUSE protocol.
pub(crate) const ROOT: u64 = 1;

/// All nodes that the kernel may know.
#[derive(Debug)]
pub(crate) struct Nodes {
    nodes: HashMap<u64, Node>,
    by_file: HashMap<u64, u64>,
    next: u64,
}

#[derive(Debug)]
struct Node {
    file: u64,
    /// Parent node and component, the latest last. Empty for the root and for a file without a name left.
    names: Vec<(u64, String)>,
}

impl Default for Nodes {
    fn default() -> Nodes {
        let root = Node { file: 0, names: Vec::new() };
        Nodes { nodes: HashMap::from([(ROOT, root)]), by_file: HashMap::new(), next: ROOT + 1 }
    }
}

impl Nodes {
    /// The path of a node below the volume's root, each component after a `\`; empty for the root.
    /// `None` if the kernel asks for a node that it was never given, or that has lost its last name.
    pub(crate) fn path(&self, node: u64) -> Option<String> {
        let mut components = Vec::new();
        let mut at = node;
        while at != ROOT {
            let (parent, name) = self.nodes.get(&at)?.names.last()?;
            components.push(name);
            at = *parent;
            if components.len() > 512 {
                return None;
            }
        }
        Some(components.into_iter().rev().flat_map(|name| ["\\", name]).collect())
    }

    /// The path of a name in a folder.
    pub(crate) fn child_path(&self, parent: u64, name: &str) -> Option<String> {
        let mut path = self.path(parent)?;
        path.push('\\');
        path.push_str(name);
        Some(path)
    }

    /// The node of the file with this id, which has just been found under this name.
    pub(crate) fn found(&mut self, parent: u64, name: &str, file: u64) -> u64 {
        let number = *self.by_file.entry(file).or_insert_with(|| {
            self.next += 1;
            self.next - 1
        });
        // Another file had the name before, and lost it behind our back (a rollback does that).
        for (other, node) in &mut self.nodes {
            if *other != number {
                node.names.retain(|known| !same(known, parent, name));
            }
        }
        let node = self.nodes.entry(number).or_insert(Node { file, names: Vec::new() });
        node.names.retain(|known| !same(known, parent, name));
        node.names.push((parent, name.to_owned()));
        number
    }

    /// The name is gone.
    pub(crate) fn removed(&mut self, parent: u64, name: &str) {
        for node in self.nodes.values_mut() {
            node.names.retain(|known| !same(known, parent, name));
        }
    }

    /// A file has moved; what had the new name before has lost it.
    pub(crate) fn renamed(&mut self, from: (u64, &str), to: (u64, &str)) {
        let moved =
            self.nodes.iter().find(|(_, node)| node.names.iter().any(|known| same(known, from.0, from.1)));
        let moved = moved.map(|(number, node)| (*number, node.file));
        self.removed(from.0, from.1);
        if let Some((_, file)) = moved {
            self.found(to.0, to.1, file);
        }
    }
}

fn same(known: &(u64, String), parent: u64, name: &str) -> bool {
    known.0 == parent && known.1 == name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_follows_its_folder_when_the_folder_is_renamed() {
        let mut nodes = Nodes::default();
        let folder = nodes.found(ROOT, "drafts", 100);
        let file = nodes.found(folder, "a.txt", 101);
        nodes.renamed((ROOT, "drafts"), (ROOT, "final"));
        assert_eq!(nodes.path(file), Some("\\final\\a.txt".into()));
    }

    #[test]
    fn two_names_of_one_file_are_one_node_and_either_may_go() {
        let mut nodes = Nodes::default();
        let first = nodes.found(ROOT, "a", 7);
        assert_eq!(nodes.found(ROOT, "b", 7), first);
        nodes.removed(ROOT, "b");
        assert_eq!(nodes.path(first), Some("\\a".into()));
    }

    #[test]
    fn a_file_that_took_over_a_name_is_another_node() {
        let mut nodes = Nodes::default();
        let old = nodes.found(ROOT, "a", 7);
        let new = nodes.found(ROOT, "a", 8);
        assert_ne!(old, new);
        assert_eq!((nodes.path(old), nodes.path(new)), (None, Some("\\a".into())));
    }

    #[test]
    fn a_number_the_kernel_invented_has_no_path() {
        assert_eq!(Nodes::default().path(99), None);
    }
}
