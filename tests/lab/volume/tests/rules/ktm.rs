//! The transaction manager alone (`txf-ktm §1`, `§9` rules 3 and 4).

use crate::support::*;
use lab_volume::*;

fn ktm() -> Ktm {
    Ktm::new(7, 1_000)
}

fn begin(ktm: &mut Ktm) -> TxId {
    ktm.create(CreateTransaction::default()).unwrap()
}

fn deliver_all(ktm: &mut Ktm) -> Vec<(Participant, Mask)> {
    let mut told = Vec::new();
    ktm.pump(|delivery| {
        told.push((delivery.participant, delivery.notification));
        Answer::Complete
    });
    told
}

/// txf-ktm §1.2: what create refuses.
/// txf-ktm §1.1, §1.3.
#[test]
fn create_refuses_bad_options_isolation_and_long_descriptions() {
    let mut ktm = ktm();
    for bad in [
        CreateTransaction { options: 2, ..Default::default() },
        CreateTransaction { isolation_level: 1, ..Default::default() },
        CreateTransaction { isolation_flags: 1, ..Default::default() },
        CreateTransaction { description: Wide(vec![65; 65]), ..Default::default() },
    ] {
        assert_eq!(ktm.create(bad), Err(Status::INVALID_PARAMETER));
    }
    ktm.create(CreateTransaction { options: 1, ..Default::default() }).unwrap();
    let longest = CreateTransaction { description: Wide(vec![65; 64]), ..Default::default() };
    ktm.create(longest.clone()).unwrap();
    ktm.switches.description_nul_counts = true;
    assert_eq!(ktm.create(longest), Err(Status::INVALID_PARAMETER));
}

/// txf-ktm §1.2: open by unit of work.
/// txf-ktm §1.1.
#[test]
fn a_transaction_is_opened_by_its_unit_of_work() {
    let mut ktm = ktm();
    let tx = begin(&mut ktm);
    let uow = ktm.uow(tx).unwrap();
    assert_eq!(ktm.open(uow), Ok(tx));
    assert_eq!(ktm.open(Guid::default()), Err(Status::INVALID_PARAMETER));
    assert_eq!(ktm.open(Guid([9; 16])), Err(Status::TRANSACTION_NOT_FOUND));
    let chosen = CreateTransaction { uow: Some(Guid([9; 16])), ..Default::default() };
    let other = ktm.create(chosen.clone()).unwrap();
    assert_eq!(ktm.open(Guid([9; 16])), Ok(other));
    assert_eq!(ktm.create(chosen), Err(Status::OBJECT_NAME_COLLISION));
}

#[test]
fn the_same_seed_makes_the_same_guids() {
    let guids = |seed| {
        let mut ktm = Ktm::new(seed, 0);
        [0; 3].map(|_| {
            let tx = begin(&mut ktm);
            ktm.uow(tx).unwrap()
        })
    };
    assert_eq!(guids(1), guids(1));
    assert_ne!(guids(1), guids(2));
    assert_ne!(guids(1)[0], guids(1)[1]);
}

/// txf-ktm §9 rule 3: statuses of commit and rollback, state by state.
/// txf-ktm §1.1, §1.2, §1.5.
#[test]
fn commit_and_rollback_answer_by_state() {
    let mut ktm = ktm();
    let waits = Participant::Other(1);

    let tx = begin(&mut ktm);
    ktm.enlist(tx, waits, Mask::RESOURCE_MANAGER).unwrap();
    ktm.commit(tx).unwrap();
    let delivery = ktm.next_delivery().unwrap();
    ktm.answer(delivery, Answer::Pending);
    assert_eq!(ktm.commit(tx), Err(Status::TRANSACTION_REQUEST_NOT_VALID));
    assert_eq!(ktm.rollback(tx), Err(Status::TRANSACTION_REQUEST_NOT_VALID));
    assert!(!ktm.is_active(tx));
    ktm.answer(delivery, Answer::Complete);
    deliver_all(&mut ktm);
    assert_eq!(ktm.phase(tx), Ok(Phase::Committed));
    assert_eq!(ktm.basic(tx), Ok((State::Normal, Outcome::Committed)));
    assert_eq!(ktm.commit(tx), Err(Status::TRANSACTION_ALREADY_COMMITTED));
    assert_eq!(ktm.rollback(tx), Err(Status::TRANSACTION_ALREADY_COMMITTED));

    let tx = begin(&mut ktm);
    ktm.rollback(tx).unwrap();
    assert_eq!(ktm.basic(tx), Ok((State::Normal, Outcome::Aborted)));
    assert_eq!(ktm.commit(tx), Err(Status::TRANSACTION_ALREADY_ABORTED));
    assert_eq!(ktm.rollback(tx), Err(Status::TRANSACTION_ALREADY_ABORTED));
    ktm.switches.rollback_after_abort = Status::SUCCESS;
    assert_eq!(ktm.rollback(tx), Ok(()));
}

/// txf-ktm §1.6, §3: phases in order; COMMIT_FINALIZE when everybody has committed.
/// txf-ktm §1.7.
#[test]
fn notifications_arrive_phase_by_phase() {
    let mut ktm = ktm();
    let (filter, volume) = (Participant::Other(1), Participant::Volume(0));
    let tx = begin(&mut ktm);
    ktm.enlist(tx, filter, Mask::COMMIT | Mask::COMMIT_FINALIZE | Mask::ROLLBACK).unwrap();
    ktm.enlist(tx, volume, Mask::RESOURCE_MANAGER).unwrap();
    ktm.commit(tx).unwrap();
    let expected = [
        (volume, Mask::PREPREPARE),
        (volume, Mask::PREPARE),
        (volume, Mask::COMMIT),
        (filter, Mask::COMMIT),
        (filter, Mask::COMMIT_FINALIZE),
    ];
    assert_eq!(deliver_all(&mut ktm), expected);

    let tx = begin(&mut ktm);
    ktm.enlist(tx, filter, Mask::COMMIT_FINALIZE | Mask::ROLLBACK).unwrap();
    ktm.rollback(tx).unwrap();
    assert_eq!(deliver_all(&mut ktm), [(filter, Mask::ROLLBACK)]);
}

/// txf-ktm §1.6.
#[test]
fn a_participant_that_cannot_prepare_rolls_everybody_back() {
    let mut ktm = ktm();
    let tx = begin(&mut ktm);
    for number in 0..2 {
        ktm.enlist(tx, Participant::Other(number), Mask::RESOURCE_MANAGER).unwrap();
    }
    ktm.commit(tx).unwrap();
    let mut undone = 0;
    ktm.pump(|delivery| match delivery.notification {
        Mask::PREPARE if delivery.participant == Participant::Other(1) => Answer::Failed(Status::DISK_FULL),
        Mask::ROLLBACK => {
            undone += 1;
            Answer::Complete
        }
        _ => Answer::Complete,
    });
    assert_eq!(undone, 2);
    assert_eq!(ktm.phase(tx), Ok(Phase::Aborted));
}

/// txf-ktm §1.6: enlisting late.
#[test]
fn nobody_enlists_once_the_end_has_begun() {
    let mut ktm = ktm();
    let tx = begin(&mut ktm);
    let first = ktm.enlist(tx, Participant::Other(1), Mask::RESOURCE_MANAGER).unwrap();
    assert_eq!(ktm.enlist(tx, Participant::Other(1), Mask::RESOURCE_MANAGER), Ok(first), "known already");
    assert_eq!(ktm.enlist(tx, Participant::Other(2), Mask::empty()), Err(Status::INVALID_PARAMETER));
    ktm.commit(tx).unwrap();
    let delivery = ktm.next_delivery().unwrap();
    let late = ktm.enlist(tx, Participant::Other(2), Mask::RESOURCE_MANAGER);
    assert_eq!(late, Err(Status::TRANSACTION_NOT_ACTIVE), "in phase 0");
    ktm.answer(delivery, Answer::Complete);
    let late = ktm.enlist(tx, Participant::Other(2), Mask::RESOURCE_MANAGER);
    assert_eq!(late, Err(Status::TRANSACTION_MUST_WRITETHROUGH), "after pre-prepare");
}

/// txf-ktm §1.5, §9 rule 4: the last handle.
#[test]
fn closing_the_last_handle_aborts_what_is_not_committed() {
    let mut ktm = ktm();
    let tx = begin(&mut ktm);
    ktm.last_handle_closed(tx);
    assert_eq!(ktm.phase(tx), Ok(Phase::Aborted));
    let tx = begin(&mut ktm);
    ktm.commit(tx).unwrap();
    ktm.last_handle_closed(tx);
    assert_eq!(ktm.phase(tx), Ok(Phase::Committed));
}

/// txf-ktm §1.5: closing the last handle of an enlistment, or rolling it back.
#[test]
fn rolling_back_an_enlistment_rolls_back_the_transaction() {
    let mut ktm = ktm();
    let tx = begin(&mut ktm);
    let enlistment = ktm.enlist(tx, Participant::Other(1), Mask::RESOURCE_MANAGER).unwrap();
    ktm.rollback_enlistment(enlistment).unwrap();
    assert_eq!(deliver_all(&mut ktm), [(Participant::Other(1), Mask::ROLLBACK)]);
    assert_eq!(ktm.rollback_enlistment(enlistment), Err(Status::TRANSACTION_REQUEST_NOT_VALID));
}

/// txf-ktm §1.4: timeouts, relative and absolute, and none.
#[test]
fn a_transaction_that_times_out_is_aborted() {
    let mut ktm = ktm();
    let timed =
        |ktm: &mut Ktm, timeout| ktm.create(CreateTransaction { timeout, ..Default::default() }).unwrap();
    let (relative, absolute, never) = (timed(&mut ktm, -500), timed(&mut ktm, 1_700), timed(&mut ktm, 0));
    assert_eq!(ktm.next_deadline(), Some(1_500));
    ktm.advance_to(1_499);
    assert!(ktm.is_active(relative));
    ktm.advance_to(1_500);
    assert_eq!(ktm.phase(relative), Ok(Phase::Aborted));
    assert!(ktm.is_active(absolute));
    ktm.advance_to(i64::MAX);
    assert_eq!(ktm.phase(absolute), Ok(Phase::Aborted));
    assert!(ktm.is_active(never));
}

/// txf-ktm §1.4: a timer between prepare and commit must not abort.
#[test]
fn a_timeout_after_everybody_prepared_does_not_abort() {
    let mut ktm = ktm();
    let tx = ktm.create(CreateTransaction { timeout: -10, ..Default::default() }).unwrap();
    ktm.enlist(tx, Participant::Volume(0), Mask::RESOURCE_MANAGER).unwrap();
    ktm.commit(tx).unwrap();
    for _ in 0..2 {
        let delivery = ktm.next_delivery().unwrap();
        ktm.answer(delivery, Answer::Complete);
    }
    assert_eq!(ktm.phase(tx), Ok(Phase::Deciding));
    ktm.advance_to(i64::MAX);
    deliver_all(&mut ktm);
    assert_eq!(ktm.phase(tx), Ok(Phase::Committed));
}

/// txf-ktm §1.1: timeout and description can be set later.
/// txf-ktm §1.4.
#[test]
fn properties_can_be_set() {
    let mut ktm = ktm();
    let tx = begin(&mut ktm);
    ktm.set_properties(tx, -10, "why".into()).unwrap();
    assert_eq!(ktm.properties(tx).unwrap().description, "why".into());
    ktm.advance_to(2_000);
    assert_eq!(ktm.properties(tx).unwrap().outcome, Outcome::Aborted);
}

/// txf-ktm §4.10: KTM frozen for a snapshot: commits wait, transacted opens are refused.
#[test]
fn a_freeze_delays_commits_and_refuses_transacted_opens() {
    let mut lab = lab();
    let tx = lab.begin();
    let twin = lab.open_in(tx, "f", WRITE).unwrap();
    lab.write(twin, 0, b"new").unwrap();
    lab.ktm.freeze();
    assert_eq!(lab.open_in(tx, r"d\g", READ), Err(Status::TRANSACTION_FREEZE_IN_PROGRESS));
    assert_eq!(lab.commit(tx), Err(Status::PENDING));
    assert_eq!(lab.ktm.commit(tx), Err(Status::TRANSACTION_REQUEST_NOT_VALID));
    assert_eq!(lab.contents("f").unwrap(), "old");
    lab.ktm.thaw();
    lab.settle();
    assert_eq!(lab.contents("f").unwrap(), "new");
}

/// txf-ktm §1.5.
#[test]
fn an_ended_transaction_can_be_forgotten_a_live_one_not() {
    let mut ktm = ktm();
    let tx = begin(&mut ktm);
    ktm.forget(tx);
    assert!(ktm.is_active(tx));
    ktm.rollback(tx).unwrap();
    ktm.forget(tx);
    assert_eq!(ktm.phase(tx), Err(Status::TRANSACTION_NOT_FOUND));
    assert_eq!(ktm.list().count(), 0);
}

#[test]
fn an_abort_overtakes_notifications_that_are_not_delivered() {
    let mut ktm = ktm();
    let tx = begin(&mut ktm);
    for number in 0..2 {
        ktm.enlist(tx, Participant::Other(number), Mask::RESOURCE_MANAGER).unwrap();
    }
    ktm.commit(tx).unwrap();
    assert!(ktm.abort(tx));
    let told: Vec<Mask> = deliver_all(&mut ktm).into_iter().map(|(_, notification)| notification).collect();
    assert_eq!(told, [Mask::ROLLBACK, Mask::ROLLBACK]);
    assert_eq!(ktm.phase(tx), Ok(Phase::Aborted));
}

const FACTS: &str = include_str!("../../../facts/txf-ktm.md");

/// txf-ktm §1.7: the masks that the model has, read from the document.
#[test]
fn the_notification_masks_are_those_of_the_facts() {
    let section = FACTS.split("### 1.7").nth(1).unwrap().split("## 2.").next().unwrap();
    let cells: Vec<_> = section.split('|').map(|cell| cell.trim().trim_start_matches("**")).collect();
    let value = |name: &str| {
        let at = cells.iter().position(|cell| cell.split(['*', ' ']).next() == Some(name)).expect(name);
        u32::from_str_radix(cells[at + 1].trim_start_matches("0x"), 16).unwrap()
    };
    let names: Vec<_> = Mask::all().iter_names().collect();
    assert_eq!(names.len(), 5);
    for (name, mask) in names {
        assert_eq!(value(name), mask.bits(), "{name}");
    }
    let valid = value("TRANSACTION_NOTIFY_MASK");
    assert_eq!(valid & Mask::COMMIT_FINALIZE.bits(), 0);
}

/// txf-ktm §5: every status that the model has a name for, and the document a value.
#[test]
fn the_statuses_of_transactions_are_those_of_the_facts() {
    let section = FACTS.split("## 5. Status codes").nth(1).unwrap().split("## 6.").next().unwrap();
    let mut compared = 0;
    for row in section.lines().filter(|line| line.starts_with("| 0x")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let value = u32::from_str_radix(&cells[1][2..], 16).unwrap();
        if let Some(name) = Status(value).name() {
            assert_eq!(name, cells[2]);
            compared += 1;
        }
    }
    assert!(compared >= 20, "{compared} statuses were compared");
    let unlisted = (0xC019_0001..=0xC019_0061).map(Status).filter_map(Status::name).count();
    assert_eq!(unlisted, compared, "all of the facility are in the document");
}
