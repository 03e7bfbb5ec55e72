//! Random transacted workloads against a simple model, and crashes at every point of them.

use std::collections::BTreeMap;

use crate::support::*;
use lab_volume::*;
use proptest::prelude::*;

/// Files that only transactions change; their bytes are odd.
const NAMES: [&str; 5] = ["a", "b", "c", r"d\x", r"d\y"];
/// Files that are only changed outside transactions; their bytes are even.
const PLAIN: [&str; 2] = ["p", r"d\q"];
type Files = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Write { tx: usize, name: usize, at: u16, length: u16, byte: u8 },
    Resize { tx: usize, name: usize, size: u16 },
    Overwrite { tx: usize, name: usize },
    Create { tx: usize, name: usize },
    Delete { tx: usize, name: usize },
    Rename { tx: usize, name: usize, to: usize },
    Flush { tx: usize, name: usize },
    Commit { tx: usize },
    Rollback { tx: usize },
    PlainWrite { name: usize, at: u16, length: u16, byte: u8 },
    PlainResize { name: usize, size: u16 },
    PlainDelete { name: usize },
    PlainFlush { name: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let (tx, name, plain) = (0..2usize, 0..NAMES.len(), 0..PLAIN.len());
    prop_oneof![
        6 => (tx.clone(), name.clone(), 0..12_000u16, 1..9_000u16, any::<u8>())
            .prop_map(|(tx, name, at, length, byte)| Step::Write { tx, name, at, length, byte }),
        2 => (tx.clone(), name.clone(), 0..16_000u16).prop_map(|(tx, name, size)| Step::Resize { tx, name, size }),
        1 => (tx.clone(), name.clone()).prop_map(|(tx, name)| Step::Overwrite { tx, name }),
        1 => (tx.clone(), name.clone()).prop_map(|(tx, name)| Step::Create { tx, name }),
        1 => (tx.clone(), name.clone()).prop_map(|(tx, name)| Step::Delete { tx, name }),
        1 => (tx.clone(), name.clone(), name.clone()).prop_map(|(tx, name, to)| Step::Rename { tx, name, to }),
        1 => (tx.clone(), name).prop_map(|(tx, name)| Step::Flush { tx, name }),
        2 => tx.clone().prop_map(|tx| Step::Commit { tx }),
        1 => tx.prop_map(|tx| Step::Rollback { tx }),
        3 => (plain.clone(), 0..12_000u16, 1..9_000u16, any::<u8>())
            .prop_map(|(name, at, length, byte)| Step::PlainWrite { name, at, length, byte }),
        1 => (plain.clone(), 0..16_000u16).prop_map(|(name, size)| Step::PlainResize { name, size }),
        1 => plain.clone().prop_map(|name| Step::PlainDelete { name }),
        1 => plain.prop_map(|name| Step::PlainFlush { name }),
    ]
}

/// The volume, the model of it, and the history of committed states with the effect number of each.
struct Run {
    lab: Lab,
    committed: Files,
    plain: Files,
    /// What each transaction changed: contents, or gone.
    changed: [BTreeMap<String, Option<Vec<u8>>>; 2],
    live: [TxId; 2],
    history: Vec<(u64, Files)>,
}

impl Run {
    fn new(write_out: usize) -> Run {
        let mut volume = Volume::mount(Base::formatted(200, "C")).unwrap();
        volume.put_directory("d").unwrap();
        let mut committed = Files::new();
        for (number, name) in NAMES.iter().enumerate().take(3) {
            let data = version(number as u8 + 50, 9_000);
            volume.put_file(name, &data).unwrap();
            committed.insert((*name).to_owned(), data);
        }
        let mut lab = Lab::of(Volume::mount(volume.dismount()).unwrap());
        lab.volume.switches.write_out_sectors = write_out;
        let live = [lab.begin(), lab.begin()];
        Run {
            lab,
            history: vec![(0, committed.clone())],
            committed,
            plain: Files::new(),
            changed: Default::default(),
            live,
        }
    }

    /// The model's idea of a file inside a transaction.
    fn inside(&self, tx: usize, name: &str) -> Option<Vec<u8>> {
        match self.changed[tx].get(name) {
            Some(change) => change.clone(),
            None => self.committed.get(name).cloned(),
        }
    }

    fn set(&mut self, tx: usize, name: &str, data: Option<Vec<u8>>) {
        self.changed[tx].insert(name.to_owned(), data);
    }

    fn open(&mut self, tx: usize, name: &str, access: u32) -> Option<OpenId> {
        match self.lab.open_in(self.live[tx], name, access) {
            Ok(open) => Some(open),
            Err(Status::SHARING_VIOLATION) => None,
            Err(Status::OBJECT_NAME_NOT_FOUND) => {
                assert_eq!(self.inside(tx, name), None, "{name} is not found");
                None
            }
            Err(status) => panic!("open {name}: {status}"),
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Write { tx, name, at, length, byte } => {
                let Some(open) = self.open(tx, NAMES[name], WRITE) else { return };
                let mut data = self.inside(tx, NAMES[name]).unwrap();
                assert!(self.lab.volume.read(open, 0, 1 << 20, Io::default()).unwrap_or_default() == data);
                let new = version(byte, usize::from(length));
                let (at, end) = (usize::from(at), usize::from(at) + new.len());
                self.lab.write(open, at as u64, &new).unwrap();
                data.resize(data.len().max(end), 0);
                data[at..end].copy_from_slice(&new);
                self.set(tx, NAMES[name], Some(data));
                self.lab.close(open);
            }
            Step::Resize { tx, name, size } => {
                let Some(open) = self.open(tx, NAMES[name], WRITE) else { return };
                let mut data = self.inside(tx, NAMES[name]).unwrap();
                self.lab.volume.set_end_of_file(open, u64::from(size)).unwrap();
                data.resize(usize::from(size), 0);
                self.set(tx, NAMES[name], Some(data));
                self.lab.close(open);
            }
            Step::Overwrite { tx, name } => {
                let request = CreateRequest::path(NAMES[name])
                    .access(WRITE)
                    .disposition(Disposition::Overwrite)
                    .inside(self.live[tx]);
                if let Ok(created) = self.lab.create(request) {
                    self.set(tx, NAMES[name], Some(Vec::new()));
                    self.lab.close(created.open);
                }
            }
            Step::Create { tx, name } => match self.lab.make_in(self.live[tx], NAMES[name]) {
                Ok(open) => {
                    assert_eq!(self.inside(tx, NAMES[name]), None);
                    self.set(tx, NAMES[name], Some(Vec::new()));
                    self.lab.close(open);
                }
                Err(Status::OBJECT_NAME_COLLISION | Status::TRANSACTIONAL_CONFLICT) => {}
                Err(status) => panic!("create {}: {status}", NAMES[name]),
            },
            Step::Delete { tx, name } => {
                let Some(open) = self.open(tx, NAMES[name], DELETE) else { return };
                self.lab.delete(open).unwrap();
                self.lab.close(open);
                self.set(tx, NAMES[name], None);
            }
            Step::Rename { tx, name, to } if name != to => {
                let Some(open) = self.open(tx, NAMES[name], DELETE) else { return };
                let target = NameTarget::named(&format!("\\{}", NAMES[to]));
                match self.lab.volume.rename(open, &target, NameFlags::REPLACE) {
                    Ok(()) => {
                        let data = self.inside(tx, NAMES[name]);
                        self.set(tx, NAMES[to], data);
                        self.set(tx, NAMES[name], None);
                    }
                    Err(Status::TRANSACTIONAL_CONFLICT | Status::SHARING_VIOLATION) => {}
                    Err(status) => panic!("rename {} to {}: {status}", NAMES[name], NAMES[to]),
                }
                self.lab.close(open);
            }
            Step::Rename { .. } => {}
            Step::Flush { tx, name } => {
                let Some(open) = self.open(tx, NAMES[name], WRITE) else { return };
                self.lab.volume.flush(open).unwrap();
                self.lab.close(open);
            }
            Step::Commit { tx } => {
                self.lab.commit(self.live[tx]).unwrap();
                for (name, data) in std::mem::take(&mut self.changed[tx]) {
                    match data {
                        Some(data) => drop(self.committed.insert(name, data)),
                        None => drop(self.committed.remove(&name)),
                    }
                }
                self.live[tx] = self.lab.begin();
                self.history.push((self.lab.volume.disk.effect_count(), self.committed.clone()));
            }
            Step::Rollback { tx } => {
                self.lab.rollback(self.live[tx]).unwrap();
                self.changed[tx].clear();
                self.live[tx] = self.lab.begin();
            }
            Step::PlainWrite { name, at, length, byte } => {
                let open = self.open_plain(name, WRITE, Disposition::OpenIf).unwrap();
                let new: Vec<u8> = version(byte, usize::from(length)).iter().map(|byte| byte & !1).collect();
                let (at, end) = (usize::from(at), usize::from(at) + new.len());
                self.lab.write(open, at as u64, &new).unwrap();
                let data = self.plain.entry(PLAIN[name].to_owned()).or_default();
                data.resize(data.len().max(end), 0);
                data[at..end].copy_from_slice(&new);
                self.lab.close(open);
            }
            Step::PlainResize { name, size } => {
                let Some(open) = self.open_plain(name, WRITE, Disposition::Open) else { return };
                self.lab.volume.set_end_of_file(open, u64::from(size)).unwrap();
                self.plain.get_mut(PLAIN[name]).unwrap().resize(usize::from(size), 0);
                self.lab.close(open);
            }
            Step::PlainDelete { name } => {
                let Some(open) = self.open_plain(name, DELETE, Disposition::Open) else { return };
                self.lab.delete(open).unwrap();
                self.lab.close(open);
                self.plain.remove(PLAIN[name]);
            }
            Step::PlainFlush { name } => {
                let Some(open) = self.open_plain(name, WRITE, Disposition::Open) else { return };
                self.lab.volume.flush(open).unwrap();
                self.lab.close(open);
            }
        }
        let (transacted, plain) = files_of(&self.lab.volume);
        assert!(transacted == self.committed, "outsiders see the committed state");
        assert!(plain == self.plain, "and what they wrote themselves");
        self.lab.volume.check().unwrap();
    }

    fn open_plain(&mut self, name: usize, access: u32, disposition: Disposition) -> Option<OpenId> {
        let request = CreateRequest::path(PLAIN[name]).access(access).disposition(disposition);
        self.lab.create(request).ok().map(|created| created.open)
    }

    /// States that a crash after effect `number` may leave: the last one committed by then, or the one
    /// whose commit was under way.
    fn allowed(&self, number: u64) -> &[(u64, Files)] {
        let last = self.history.iter().rposition(|(at, _)| *at <= number).unwrap();
        let next = (last + 1).min(self.history.len() - 1);
        &self.history[last..=next]
    }
}

/// The files that transactions change, and the others.
fn files_of(volume: &Volume) -> (Files, Files) {
    let files = volume.tree().into_iter().filter(|(_, node)| !node.directory);
    files.map(|(path, node)| (path, node.data)).partition(|(path, _)| NAMES.contains(&path.as_str()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn transactions_are_isolated_and_all_or_nothing_at_every_crash_point(
        steps in prop::collection::vec(step(), 1..36),
        write_out in prop_oneof![Just(1usize), Just(8), Just(4000)],
        seed in any::<u64>(),
    ) {
        let mut run = Run::new(write_out);
        for step in &steps {
            run.take(step);
        }
        let end = run.lab.volume.disk.effect_count();
        let stride = 1 + end / 40;
        for number in (0..=end).step_by(stride as usize) {
            let volume = Volume::mount(run.lab.volume.disk.crash_after(number, seed ^ number)).unwrap();
            volume.check().unwrap();
            let (found, plain) = files_of(&volume);
            prop_assert!(
                run.allowed(number).iter().any(|(_, files)| *files == found),
                "crash after effect {} of {}", number, end
            );
            // A plain file may have lost or mixed its own data, but shows nobody else's.
            prop_assert!(plain.values().flatten().all(|byte| byte & 1 == 0), "crash after effect {}", number);
        }
        for live in run.live {
            run.lab.rollback(live).unwrap();
        }
        run.lab.volume.check().unwrap();
        let again = Volume::mount(run.lab.volume.dismount()).unwrap();
        prop_assert!(files_of(&again) == (run.committed, run.plain));
    }
}
