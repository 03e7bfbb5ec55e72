//! What TxF does not do (`txf-ktm §4.8`, `§4.9`).

use crate::support::*;
use lab_volume::*;

fn twin(access: u32) -> (Lab, OpenId) {
    let mut lab = lab();
    let tx = lab.begin();
    let open = lab.open_in(tx, "f", access).unwrap();
    (lab, open)
}

/// txf-ktm §4.8, §9 rule 7.
/// txf-ktm §4.9.
#[test]
fn no_oplock_while_a_transaction_has_the_file() {
    for access in [READ, WRITE] {
        let (mut lab, twin) = twin(access);
        assert_eq!(lab.volume.may_grant_oplock(twin), Err(Status::OPLOCK_NOT_GRANTED));
        let plain = lab.open("f", READ).unwrap();
        assert_eq!(lab.volume.may_grant_oplock(plain), Err(Status::OPLOCK_NOT_GRANTED));
        let other = lab.open(r"d\g", READ).unwrap();
        assert_eq!(lab.volume.may_grant_oplock(other), Ok(()));
    }
}

/// txf-ktm §4.9.
#[test]
fn an_encrypted_file_cannot_be_opened_for_writing_inside() {
    let mut lab = lab();
    let plain = lab.open("f", WRITE).unwrap();
    lab.volume.force_attributes(plain, attributes::ENCRYPTED).unwrap();
    lab.close(plain);
    let tx = lab.begin();
    assert_eq!(lab.open_in(tx, "f", WRITE), Err(Status::EFS_NOT_ALLOWED_IN_TRANSACTION));
    lab.open_in(tx, "f", READ).unwrap();
    lab.open("f", READ).unwrap();
}

/// txf-ktm §4.9.
#[test]
fn compression_sparse_and_valid_data_length_are_refused_inside() {
    let (mut lab, twin) = twin(WRITE);
    assert_eq!(lab.volume.set_compression(twin), Err(Status::COMPRESSION_NOT_ALLOWED_IN_TRANSACTION));
    assert_eq!(lab.volume.set_sparse(twin, true), Err(Status::SPARSE_NOT_ALLOWED_IN_TRANSACTION));
    let refused = lab.volume.set_valid_data_length(twin, 3);
    assert_eq!(refused, Err(Status::OPERATION_NOT_SUPPORTED_IN_TRANSACTION));
}

/// MS-FSA 2.1.5.10.38.
#[test]
fn a_handle_that_may_write_neither_data_nor_attributes_makes_nothing_sparse() {
    let mut lab = lab();
    let open = lab.open("f", READ).unwrap();
    assert_eq!(lab.volume.set_sparse(open, true), Err(Status::ACCESS_DENIED));
}

/// txf-ktm §4.9: probable, therefore a switch.
#[test]
fn zeroing_data_inside_goes_by_switch() {
    let (mut lab, twin) = twin(WRITE);
    assert_eq!(lab.volume.zero_data(twin, 0, 2), Err(Status::SPARSE_NOT_ALLOWED_IN_TRANSACTION));
    lab.volume.switches.zero_data_in_transaction = Status::SUCCESS;
    lab.volume.zero_data(twin, 0, 2).unwrap();
    assert_eq!(lab.read(twin).unwrap(), b"\0\0d");
    assert_eq!(lab.contents("f").unwrap(), "old");
}

/// txf-ktm §4.9, open question (h).
#[test]
fn setting_a_reparse_point_inside_goes_by_switch() {
    let (mut lab, twin) = twin(WRITE);
    let point = Reparse { tag: 0x8000_0077, data: vec![1, 2].into() };
    assert_eq!(lab.volume.set_reparse(twin, point.clone()), Err(Status::EAS_NOT_SUPPORTED));
    lab.volume.switches.reparse_in_transaction = Status::SUCCESS;
    lab.volume.set_reparse(twin, point.clone()).unwrap();
    assert_eq!(lab.volume.reparse(twin).unwrap(), point);
    lab.open("f", READ).unwrap();
    let tx = lab.volume.transaction_of(twin).unwrap().unwrap();
    lab.commit(tx).unwrap();
    assert_eq!(lab.open("f", READ), Err(Status::REPARSE));
}

/// txf-ktm §4.9: objects that may not be opened transacted.
#[test]
fn the_volume_and_its_metadata_files_may_not_be_opened_inside() {
    let mut lab = lab();
    let tx = lab.begin();
    assert_eq!(lab.open_in(tx, "", READ), Err(Status::TRANSACTIONAL_OPEN_NOT_ALLOWED));
    assert_eq!(lab.open_in(tx, r"\$Extend\$RmMetadata", READ), Err(Status::TRANSACTIONAL_OPEN_NOT_ALLOWED));
    assert_eq!(lab.open(r"\$MFT", READ), Err(Status::ACCESS_DENIED));
    lab.open("", READ).unwrap();
}
