//! Ordinary NTFS: opens, names, attributes, deletion.

use crate::support::*;
use lab_volume::*;

#[test]
fn dispositions_do_what_they_say() {
    use Disposition::*;
    for (disposition, path, expected, left) in [
        (Open, "f", Ok(Action::Opened), Some("old")),
        (Open, "n", Err(Status::OBJECT_NAME_NOT_FOUND), None),
        (Create, "f", Err(Status::OBJECT_NAME_COLLISION), Some("old")),
        (Create, "n", Ok(Action::Created), Some("")),
        (OpenIf, "f", Ok(Action::Opened), Some("old")),
        (OpenIf, "n", Ok(Action::Created), Some("")),
        (Overwrite, "f", Ok(Action::Overwritten), Some("")),
        (Overwrite, "n", Err(Status::OBJECT_NAME_NOT_FOUND), None),
        (OverwriteIf, "f", Ok(Action::Overwritten), Some("")),
        (OverwriteIf, "n", Ok(Action::Created), Some("")),
        (Supersede, "f", Ok(Action::Superseded), Some("")),
        (Supersede, "n", Ok(Action::Created), Some("")),
        (Create, r"no\n", Err(Status::OBJECT_PATH_NOT_FOUND), None),
        (Create, r"f\n", Err(Status::OBJECT_PATH_NOT_FOUND), None),
        (Create, "a*b", Err(Status::OBJECT_NAME_INVALID), None),
        (OverwriteIf, "d", Err(Status::OBJECT_NAME_COLLISION), None),
    ] {
        let mut lab = lab();
        let request = CreateRequest::path(path).access(WRITE).disposition(disposition);
        let result = lab.create(request).map(|created| created.action);
        assert_eq!(result, expected, "{disposition:?} {path}");
        assert_eq!(lab.contents(path).as_deref(), left, "{disposition:?} {path}");
        lab.volume.check().unwrap();
    }
}

#[test]
fn directory_and_file_options_are_checked() {
    let mut lab = lab();
    let mut open = |path: &str, options| {
        lab.create(CreateRequest::path(path).access(READ).options(options)).map(|created| created.directory)
    };
    assert_eq!(open("d", Options::DIRECTORY_FILE), Ok(true));
    assert_eq!(open("d", Options::empty()), Ok(true));
    assert_eq!(open("d", Options::NON_DIRECTORY_FILE), Err(Status::FILE_IS_A_DIRECTORY));
    assert_eq!(open("d::$DATA", Options::empty()), Err(Status::FILE_IS_A_DIRECTORY));
    assert_eq!(open("f", Options::DIRECTORY_FILE), Err(Status::NOT_A_DIRECTORY));
    assert_eq!(open(r"f\", Options::empty()), Err(Status::NOT_A_DIRECTORY));
    let both = Options::DIRECTORY_FILE | Options::NON_DIRECTORY_FILE;
    assert_eq!(open("f", both), Err(Status::INVALID_PARAMETER));
}

#[test]
fn names_keep_their_case_and_compare_without_it() {
    let mut lab = lab();
    let open = lab.make("MiXed").unwrap();
    assert_eq!(lab.make("mIXED"), Err(Status::OBJECT_NAME_COLLISION));
    let again = lab.open(r"\mixed", READ).unwrap();
    assert_eq!(lab.volume.name(again).unwrap().to_text(), r"\MiXed");
    lab.volume.rename(open, &NameTarget::named("mixed"), NameFlags::empty()).unwrap();
    assert_eq!(lab.names(None), ["d", "f", "mixed"]);
}

#[test]
fn files_open_by_id_and_relative_to_opens() {
    let mut lab = lab();
    lab.volume.put_file(r"d\g:s", b"stream").unwrap();
    let directory = lab.open("d", READ).unwrap();
    let relative = |base, path: &str| CreateRequest::new(Target::Relative(base, path.into())).access(READ);
    let file = lab.create(relative(directory, "g")).unwrap();
    assert_eq!(lab.read(file.open).unwrap(), b"inner");
    assert_eq!(lab.volume.name(file.open).unwrap().to_text(), r"\d\g");
    let stream = lab.create(relative(file.open, ":s")).unwrap();
    assert_eq!(lab.read(stream.open).unwrap(), b"stream");
    assert_eq!(lab.volume.name(stream.open).unwrap().to_text(), r"\d\g:s");
    let again = lab.create(relative(file.open, "")).unwrap();
    assert_eq!(again.id, file.id);
    // winbase/ReOpenFile: the object that the handle stands for.
    let again = lab.create(relative(stream.open, "")).unwrap();
    assert_eq!(lab.read(again.open).unwrap(), b"stream");
    let by_id = lab.create(CreateRequest::new(Target::Id(file.id)).access(READ)).unwrap();
    assert_eq!(lab.read(by_id.open).unwrap(), b"inner");
    let wrong = CreateRequest::new(Target::Id(FileId(file.id.0 + (1 << 48)))).access(READ);
    assert_eq!(lab.create(wrong).unwrap_err(), Status::INVALID_PARAMETER);
    assert_eq!(lab.create(relative(directory, r"\g")).unwrap_err(), Status::OBJECT_NAME_INVALID);
}

#[test]
fn a_target_directory_open_says_whether_the_name_exists() {
    let mut lab = lab();
    for (path, action, last) in
        [(r"d\g", Action::Exists, "g"), (r"d\NEW", Action::DoesNotExist, "NEW"), ("f", Action::Exists, "f")]
    {
        let request = CreateRequest { open_target_directory: true, ..CreateRequest::path(path).access(READ) };
        let created = lab.create(request).unwrap();
        assert!(created.directory);
        assert_eq!((created.action, created.last_component.unwrap().to_text().as_str()), (action, last));
    }
    let missing = CreateRequest { open_target_directory: true, ..CreateRequest::path(r"no\x") };
    assert_eq!(lab.create(missing).unwrap_err(), Status::OBJECT_PATH_NOT_FOUND);
}

#[test]
fn a_reparse_point_stops_the_walk_and_says_where() {
    let mut lab = lab();
    lab.volume.put_directory("junction").unwrap();
    let request = CreateRequest::path("junction").access(WRITE).options(Options::OPEN_REPARSE_POINT);
    let open = lab.create(request).unwrap().open;
    let reparse = Reparse { tag: 0xA000_0003, data: vec![7].into() };
    lab.volume.set_reparse(open, reparse.clone()).unwrap();
    let mut stop = |path: &str| match lab.volume.create(&mut lab.ktm, CreateRequest::path(path)).unwrap() {
        Create::Reparse(stop) => stop,
        Create::Opened(created) => panic!("opened {created:?}"),
    };
    assert_eq!(stop(r"\junction"), ReparseStop { reparse: reparse.clone(), unparsed: 0 });
    assert_eq!(stop(r"\junction\a\bc").unparsed, r"\a\bc".len() as u16);
    assert_eq!(stop(r"junction\a").unparsed, r"\a".len() as u16);
    lab.volume.delete_reparse(open, 0xA000_0003).unwrap();
    lab.open("junction", READ).unwrap();
}

#[test]
fn a_read_only_directory_takes_new_files() {
    let mut lab = lab();
    let open = lab.open("d", access::WRITE_ATTRIBUTES).unwrap();
    let readonly = BasicUpdate { attributes: Some(attributes::READONLY), ..BasicUpdate::default() };
    lab.volume.set_basic(open, readonly).unwrap();
    lab.close(open);
    // FILE_ADD_FILE and FILE_ADD_SUBDIRECTORY.
    lab.open("d", access::WRITE_DATA | access::APPEND_DATA).unwrap();
    lab.make(r"d\new").unwrap();
}

#[test]
fn a_read_only_file_refuses_writers_and_deleters() {
    let mut lab = lab();
    let open = lab.open("f", WRITE).unwrap();
    let readonly = BasicUpdate { attributes: Some(attributes::READONLY), ..BasicUpdate::default() };
    lab.volume.set_basic(open, readonly).unwrap();
    lab.write(open, 0, b"who has it open may write").unwrap();
    lab.close(open);
    assert_eq!(lab.open("f", access::WRITE_DATA), Err(Status::ACCESS_DENIED));
    assert_eq!(lab.open("f", access::APPEND_DATA), Err(Status::ACCESS_DENIED));
    let overwrite = CreateRequest::path("f").access(READ).disposition(Disposition::Overwrite);
    assert_eq!(lab.create(overwrite).unwrap_err(), Status::ACCESS_DENIED);
    let on_close = CreateRequest::path("f").access(DELETE).options(Options::DELETE_ON_CLOSE);
    assert_eq!(lab.create(on_close).unwrap_err(), Status::CANNOT_DELETE);
    let maximum = CreateRequest::path("f").access(access::MAXIMUM_ALLOWED);
    let granted = lab.create(maximum).unwrap().granted;
    assert_eq!(granted, access::ALL & !(access::WRITE_DATA | access::APPEND_DATA));
    let open = lab.open("f", DELETE).unwrap();
    assert_eq!(lab.delete(open), Err(Status::CANNOT_DELETE));
    let ignoring = DispositionFlags::DELETE | DispositionFlags::IGNORE_READONLY;
    lab.volume.set_disposition(open, ignoring).unwrap();
}

#[test]
fn a_new_read_only_file_can_be_written_by_its_creator() {
    let mut lab = lab();
    let request = CreateRequest {
        attributes: attributes::READONLY,
        ..CreateRequest::path("n").access(WRITE).disposition(Disposition::Create)
    };
    let open = lab.create(request).unwrap().open;
    lab.write(open, 0, b"x").unwrap();
    assert_eq!(lab.open("n", WRITE), Err(Status::ACCESS_DENIED));
}

#[test]
fn overwriting_takes_named_streams_eas_and_asks_for_hidden_and_system() {
    let mut lab = lab();
    lab.volume.put_file("f:s", b"stream").unwrap();
    let open = lab.open("f", WRITE).unwrap();
    lab.volume.set_ea(open, &[Ea { flags: 0, name: b"k".to_vec(), value: b"v".to_vec() }]).unwrap();
    let hidden = BasicUpdate { attributes: Some(attributes::HIDDEN), ..BasicUpdate::default() };
    lab.volume.set_basic(open, hidden).unwrap();
    lab.close(open);
    let overwrite = CreateRequest::path("f").access(WRITE).disposition(Disposition::OverwriteIf);
    assert_eq!(lab.create(overwrite.clone()).unwrap_err(), Status::ACCESS_DENIED);
    let asking = CreateRequest { attributes: attributes::HIDDEN, ..overwrite };
    let open = lab.create(asking).unwrap().open;
    assert_eq!(lab.volume.streams(open).unwrap().len(), 1);
    assert_eq!(lab.volume.query(open).unwrap().ea_size, 0);
    lab.volume.check().unwrap();
}

#[test]
fn the_descriptor_decides_for_a_subject_and_the_caller_may_be_the_kernel() {
    let user = vec![1, 1, 0, 0, 0, 0, 0, 5, 77, 0, 0, 0];
    let mut lab = lab();
    let open = lab.open("f", access::WRITE_DAC).unwrap();
    let read_only = descriptor(LOCAL_SYSTEM, &[Ace { allow: true, sid: &user, mask: access::FILE_READ }]);
    lab.volume.set_security(open, &read_only).unwrap();
    assert_eq!(lab.volume.set_security(open, &[1, 2, 3]), Err(Status::INVALID_SECURITY_DESCR));
    lab.close(open);
    let subject = Some(Subject { sids: vec![user], privileged: false });
    let request =
        |access| CreateRequest { subject: subject.clone(), ..CreateRequest::path("f").access(access) };
    lab.create(request(READ)).unwrap();
    assert_eq!(lab.create(request(WRITE)).unwrap_err(), Status::ACCESS_DENIED);
    assert_eq!(lab.create(request(access::ACCESS_SYSTEM_SECURITY)).unwrap_err(), Status::PRIVILEGE_NOT_HELD);
    let maximum = lab.create(request(access::MAXIMUM_ALLOWED)).unwrap().granted;
    assert_eq!(maximum, access::FILE_READ | access::DELETE, "DELETE from the directory's DELETE_CHILD");
    lab.open("f", WRITE).unwrap();
}

/// MS-FSA 2.1.5.1.2: what the folder allows counts for its files, too.
#[test]
fn whoever_may_list_the_folder_may_read_attributes_and_whoever_may_delete_in_it_may_delete() {
    let user = vec![1, 1, 0, 0, 0, 0, 0, 5, 77, 0, 0, 0];
    for (above, granted) in
        [(access::READ_DATA, access::READ_ATTRIBUTES), (access::DELETE_CHILD, access::DELETE)]
    {
        let mut lab = lab();
        for (name, mask) in [(r"d\n", 0), ("d", above)] {
            let made = if name == "d" { lab.open(name, access::WRITE_DAC) } else { lab.make(name) };
            let open = made.unwrap();
            let allowed = descriptor(LOCAL_SYSTEM, &[Ace { allow: true, sid: &user, mask }]);
            lab.volume.set_security(open, &allowed).unwrap();
            lab.close(open);
        }
        let subject = Some(Subject { sids: vec![user.clone()], privileged: false });
        for right in [access::READ_ATTRIBUTES, access::DELETE] {
            let request =
                CreateRequest { subject: subject.clone(), ..CreateRequest::path(r"d\n").access(right) };
            let expected = if right == granted { Ok(right) } else { Err(Status::ACCESS_DENIED) };
            assert_eq!(lab.create(request).map(|opened| opened.granted), expected, "{above:#x}");
        }
    }
}

#[test]
fn a_deleted_file_goes_with_its_last_handle() {
    let mut lab = lab();
    let (one, two) = (lab.open("f", DELETE).unwrap(), lab.open("f", READ).unwrap());
    lab.delete(one).unwrap();
    assert!(lab.volume.standard(one).unwrap().delete_pending);
    lab.close(one);
    assert_eq!(lab.open("f", READ), Err(Status::DELETE_PENDING));
    assert_eq!(lab.read(two).unwrap(), b"old");
    lab.close(two);
    assert_eq!(lab.open("f", READ), Err(Status::OBJECT_NAME_NOT_FOUND));
    lab.volume.check().unwrap();
}

/// MS-FSA 2.1.5.15.3: the deletion is of the link.
#[test]
fn a_deletion_follows_its_file_to_another_name() {
    let mut lab = lab();
    let open = lab.open("f", DELETE).unwrap();
    lab.delete(open).unwrap();
    lab.volume.rename(open, &NameTarget::named("moved"), NameFlags::empty()).unwrap();
    let other = lab.make("f").unwrap();
    lab.close(open);
    lab.close(other);
    assert_eq!(lab.names(None), ["d", "f"]);
    assert_eq!(lab.contents("f").unwrap(), "", "the one that has the name now");
    lab.volume.check().unwrap();
}

#[test]
fn a_pending_deletion_can_be_taken_back() {
    let mut lab = lab();
    let open = lab.open("f", DELETE).unwrap();
    lab.delete(open).unwrap();
    lab.volume.set_disposition(open, DispositionFlags::empty()).unwrap();
    lab.close(open);
    assert_eq!(lab.contents("f").unwrap(), "old");
}

#[test]
fn a_posix_deletion_takes_the_name_at_once_and_the_file_with_its_last_handle() {
    let mut lab = lab();
    let (one, two) = (lab.open("f", DELETE).unwrap(), lab.open("f", READ).unwrap());
    lab.volume.set_disposition(one, DispositionFlags::DELETE | DispositionFlags::POSIX).unwrap();
    lab.close(one);
    assert_eq!(lab.open("f", READ), Err(Status::OBJECT_NAME_NOT_FOUND));
    let new = lab.make("f").unwrap();
    assert_eq!(lab.read(two).unwrap(), b"old");
    lab.close(new);
    lab.close(two);
    lab.volume.check().unwrap();
    assert_eq!(lab.contents("f").unwrap(), "");
}

#[test]
fn a_directory_is_deleted_only_when_empty() {
    let mut lab = lab();
    let directory = lab.open("d", DELETE).unwrap();
    assert_eq!(lab.delete(directory), Err(Status::DIRECTORY_NOT_EMPTY));
    let inner = lab.open(r"d\g", DELETE).unwrap();
    lab.delete(inner).unwrap();
    lab.close(inner);
    lab.delete(directory).unwrap();
    assert_eq!(lab.make(r"d\late"), Err(Status::DELETE_PENDING));
    lab.close(directory);
    assert_eq!(lab.names(None), ["f"]);
}

#[test]
fn a_deleted_stream_leaves_the_file() {
    let mut lab = lab();
    lab.volume.put_file("f:s", b"stream").unwrap();
    let open = lab.open("f:s", DELETE).unwrap();
    lab.delete(open).unwrap();
    lab.close(open);
    assert_eq!(lab.contents("f").unwrap(), "old");
    assert_eq!(lab.open("f:s", READ), Err(Status::OBJECT_NAME_NOT_FOUND));
    lab.volume.check().unwrap();
}

#[test]
fn a_rename_replaces_only_what_it_may() {
    let mut lab = lab();
    lab.volume.put_file("t", b"target").unwrap();
    let open = lab.open("f", DELETE).unwrap();
    let to = NameTarget::named("T");
    let v = &mut lab.volume;
    assert_eq!(v.rename(open, &to, NameFlags::empty()), Err(Status::OBJECT_NAME_COLLISION));
    assert_eq!(v.rename(open, &NameTarget::named("d"), NameFlags::REPLACE), Err(Status::ACCESS_DENIED));
    assert_eq!(
        v.rename(open, &NameTarget::named(r"\no\x"), NameFlags::empty()),
        Err(Status::OBJECT_PATH_NOT_FOUND)
    );
    let held = lab.open("t", READ).unwrap();
    assert_eq!(lab.volume.rename(open, &to, NameFlags::REPLACE), Err(Status::ACCESS_DENIED));
    lab.volume.rename(open, &to, NameFlags::REPLACE | NameFlags::POSIX).unwrap();
    assert_eq!(lab.read(held).unwrap(), b"target");
    assert_eq!(lab.names(None), ["d", "T"]);
    assert_eq!(lab.volume.name(open).unwrap().to_text(), r"\T");
    lab.close(held);
    lab.volume.check().unwrap();
}

#[test]
fn a_directory_moves_with_what_is_in_it_unless_that_is_open() {
    let mut lab = lab();
    lab.volume.put_directory("into").unwrap();
    let directory = lab.open("d", DELETE).unwrap();
    let inner = lab.open(r"d\g", READ).unwrap();
    let to = NameTarget::named(r"\into\moved");
    assert_eq!(lab.volume.rename(directory, &to, NameFlags::empty()), Err(Status::ACCESS_DENIED));
    lab.close(inner);
    let below = NameTarget::named(r"\d\self");
    assert_eq!(lab.volume.rename(directory, &below, NameFlags::empty()), Err(Status::INVALID_PARAMETER));
    lab.volume.rename(directory, &to, NameFlags::empty()).unwrap();
    assert_eq!(lab.contents(r"into\moved\g").unwrap(), "inner");
    lab.volume.check().unwrap();
}

#[test]
fn a_rename_through_a_target_directory_handle_moves_the_file() {
    let mut lab = lab();
    let request = CreateRequest {
        open_target_directory: true,
        ..CreateRequest::path(r"d\moved").access(access::WRITE_DATA)
    };
    let directory = lab.create(request).unwrap();
    let open = lab.open("f", DELETE).unwrap();
    let target = NameTarget { directory: Some(directory.open), name: directory.last_component.unwrap() };
    lab.volume.rename(open, &target, NameFlags::empty()).unwrap();
    assert_eq!(lab.contents(r"d\moved").unwrap(), "old");
}

#[test]
fn hard_links_share_everything_and_the_last_one_takes_the_file() {
    let mut lab = lab();
    let open = lab.open("f", WRITE).unwrap();
    lab.volume.link(open, &NameTarget::named(r"\d\l"), NameFlags::empty()).unwrap();
    lab.close(open);
    let by_link = lab.open(r"d\l", WRITE | DELETE).unwrap();
    assert_eq!(lab.volume.standard(by_link).unwrap().links, 2);
    assert_eq!(lab.volume.links(by_link).unwrap().len(), 2);
    lab.write(by_link, 0, b"OLD").unwrap();
    lab.delete(by_link).unwrap();
    lab.close(by_link);
    assert_eq!(lab.contents("f").unwrap(), "OLD");
    assert_eq!(lab.contents(r"d\l"), None);
    lab.volume.check().unwrap();
}

#[test]
fn a_link_by_its_own_name_in_another_case_changes_nothing() {
    let mut lab = lab();
    let open = lab.open("f", WRITE | DELETE).unwrap();
    lab.delete(open).unwrap();
    lab.volume.link(open, &NameTarget::named("F"), NameFlags::empty()).unwrap();
    assert_eq!(lab.volume.standard(open).unwrap().links, 1);
    lab.close(open);
    assert_eq!(lab.contents("f"), None);
    lab.volume.check().unwrap();
}

#[test]
fn eas_merge_and_an_empty_value_deletes() {
    let mut lab = lab();
    let open = lab.open("f", WRITE).unwrap();
    let ea = |name: &[u8], value: &[u8]| Ea { flags: 0, name: name.to_vec(), value: value.to_vec() };
    lab.volume.set_ea(open, &[ea(b"one", b"1"), ea(b"two", b"2")]).unwrap();
    lab.volume.set_ea(open, &[ea(b"ONE", b""), ea(b"three", b"3")]).unwrap();
    let names: Vec<Vec<u8>> = lab.volume.eas(open).unwrap().into_iter().map(|ea| ea.name).collect();
    assert_eq!(names, [b"TWO".to_vec(), b"THREE".to_vec()]);
    assert_eq!(lab.volume.set_ea(open, &[ea(b"", b"x")]), Err(Status::INVALID_EA_NAME));
}

#[test]
fn a_write_moves_the_times_and_sets_archive() {
    let mut lab = lab();
    let open = lab.open("f", WRITE).unwrap();
    let none = BasicUpdate { attributes: Some(0), ..BasicUpdate::default() };
    lab.volume.set_basic(open, none).unwrap();
    assert_eq!(lab.volume.basic(open).unwrap().attributes, attributes::NORMAL);
    let later = lab.volume.time() + 10;
    lab.volume.set_time(later);
    lab.write(open, 0, b"x").unwrap();
    let basic = lab.volume.basic(open).unwrap();
    assert_eq!((basic.times.write, basic.times.change), (later, later));
    assert_eq!(basic.attributes, attributes::ARCHIVE);
    lab.close(open);
    let again = lab.open("f", READ).unwrap();
    assert_eq!(lab.volume.basic(again).unwrap(), basic);
}

#[test]
fn a_directory_lists_by_pattern_with_dots_first() {
    let mut lab = lab();
    for name in ["b.txt", "a.txt", "c.doc"] {
        lab.volume.put_file(&format!(r"d\{name}"), b"").unwrap();
    }
    let open = lab.open("d", READ).unwrap();
    let mut list = |pattern: Option<&str>| -> Vec<String> {
        let pattern = pattern.map(Wide::from);
        let entries = lab.volume.directory(open, pattern.as_ref().map(|wide| &wide.0[..])).unwrap();
        entries.iter().map(|entry| entry.name.to_text()).collect()
    };
    assert_eq!(list(None), [".", "..", "a.txt", "b.txt", "c.doc", "g"]);
    assert_eq!(list(Some("*.TXT")), ["a.txt", "b.txt"]);
    assert_eq!(list(Some("zzz")), [] as [&str; 0]);
}

#[test]
fn the_volume_describes_itself() {
    let mut lab = lab();
    let open = lab.open("", READ).unwrap();
    lab.volume.set_label(open, "Data".into()).unwrap();
    let information = lab.volume.information();
    assert_eq!((information.label.to_text().as_str(), information.total_clusters), ("Data", 1024));
    assert_eq!(information.free_clusters, 1022);
    assert_eq!(lab.volume.query(open), Err(Status::INVALID_DEVICE_REQUEST));
    lab.close(open);
}
