use super::*;

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path =
            std::env::temp_dir().join(format!("aitbc-files-{}", hex::encode(random_bytes::<8>())));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn home(&self) -> Home {
        Home::below(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn url() -> CoordinatorUrl {
    CoordinatorUrl::parse("127.0.0.1:50051").unwrap()
}

#[test]
fn folders_follow_aitbc_home_then_xdg_then_home() {
    let variables = |pairs: &'static [(&str, &str)]| {
        move |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        }
    };
    let all = Home::from_variables(variables(&[
        ("AITBC_HOME", "/a"),
        ("HOME", "/h"),
        ("XDG_DATA_HOME", "/d"),
    ]))
    .unwrap();
    assert_eq!(all, Home::below(Path::new("/a")));
    assert_eq!(all.identity_file(), Path::new("/a/identity.key"));
    let xdg = Home::from_variables(variables(&[
        ("HOME", "/h"),
        ("XDG_DATA_HOME", "/d"),
        ("XDG_STATE_HOME", "relative"),
    ]))
    .unwrap();
    assert_eq!(xdg.identity_file(), Path::new("/d/aitbc/identity.key"));
    assert_eq!(xdg.config_file(), Path::new("/h/.config/aitbc/config.toml"));
    assert_eq!(xdg.jobs_dir(), Path::new("/h/.local/state/aitbc/jobs"));
    let error = Home::from_variables(variables(&[("AITBC_HOME", "")])).unwrap_err();
    assert_eq!(error.reason, "NO_HOME");
    assert!(error.hint.unwrap().contains("AITBC_HOME"));
}

#[test]
fn an_identity_is_made_once_for_its_owner_alone() {
    let folder = Folder::new();
    let home = folder.home();
    let first = home.identity().unwrap().public();
    assert_eq!(home.identity().unwrap().public(), first);
    let mode = fs::metadata(home.identity_file())
        .unwrap()
        .permissions()
        .mode()
        & 0o777;
    assert_eq!(mode, 0o600);
    assert_ne!(home.miner_identity("rig-1").unwrap().public(), first);
    assert_eq!(
        fs::read_dir(home.data_dir()).unwrap().count(),
        2,
        "no temporary file stays"
    );
}

#[test]
fn processes_that_race_get_the_same_identity() {
    let folder = Folder::new();
    let home = folder.home();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let home = home.clone();
            std::thread::spawn(move || home.identity().unwrap().public())
        })
        .collect();
    let mut keys: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    keys.dedup();
    assert_eq!(keys.len(), 1);
}

#[test]
fn an_identity_that_others_may_read_or_that_is_damaged_is_refused() {
    let folder = Folder::new();
    let home = folder.home();
    home.identity().unwrap();
    fs::set_permissions(home.identity_file(), fs::Permissions::from_mode(0o644)).unwrap();
    let error = home.identity().unwrap_err();
    assert_eq!(
        (error.exit, error.reason.as_str()),
        (ExitCode::Authentication, "IDENTITY_UNUSABLE")
    );
    assert!(error.hint.unwrap().contains("chmod 600"));
    fs::set_permissions(home.identity_file(), fs::Permissions::from_mode(0o600)).unwrap();
    for damaged in [
        b"".as_slice(),
        b"abc\n",
        &[0xff; 64],
        &[b'z'; 64],
        &[b'0'; 1000],
    ] {
        fs::write(home.identity_file(), damaged).unwrap();
        assert_eq!(home.identity().unwrap_err().exit, ExitCode::Authentication);
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named_with_a_hint() {
    let folder = Folder::new();
    let file = folder.0.join("file");
    fs::write(&file, b"x").unwrap();
    let error = Home::below(&file).identity().unwrap_err();
    assert!(matches!(
        error.exit,
        ExitCode::Failed | ExitCode::Authentication
    ));
    assert!(error.hint.is_some(), "{error:?}");
    let error = writing_failed(&file, &io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
    assert!(error.message.contains("read-only") && error.hint.unwrap().contains("AITBC_HOME"));
}

#[test]
fn networks_are_pinned_by_address() {
    let folder = Folder::new();
    let home = folder.home();
    let key = PublicKey([7; 32]);
    assert_eq!(home.pin(&url(), &[1; 32], &key).unwrap(), Pin::New);
    assert_eq!(home.pin(&url(), &[1; 32], &key).unwrap(), Pin::Same);
    let changed = Pin::Changed {
        chain_id: [1; 32],
        service_key: key,
    };
    assert_eq!(home.pin(&url(), &[2; 32], &key).unwrap(), changed);
    assert_eq!(
        home.pin(&url(), &[1; 32], &PublicKey([8; 32])).unwrap(),
        changed
    );
    let other = CoordinatorUrl::parse("127.0.0.1:50052").unwrap();
    assert_eq!(home.pin(&other, &[2; 32], &key).unwrap(), Pin::New);
    home.repin(&url(), &[2; 32], &key).unwrap();
    assert_eq!(home.pin(&url(), &[2; 32], &key).unwrap(), Pin::Same);
}

#[test]
fn damaged_pins_are_no_first_contact() {
    let folder = Folder::new();
    let home = folder.home();
    for damaged in [
        "",
        "{",
        r#"{"http://127.0.0.1:50051":{"chain_id":"zz","service_key":""}}"#,
    ] {
        fs::write(home.pins_file(), damaged).unwrap();
        let error = home.pin(&url(), &[1; 32], &PublicKey([7; 32])).unwrap_err();
        assert_eq!(error.exit, ExitCode::ProofFailed);
    }
}

#[test]
fn miner_names_cannot_leave_their_folder() {
    let folder = Folder::new();
    for bad in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "-x",
        "a b",
        "ü",
        &"x".repeat(65),
    ] {
        assert_eq!(
            folder.home().miner_identity(bad).unwrap_err().exit,
            ExitCode::Usage,
            "{bad}"
        );
    }
    check_miner_name("rig-1").unwrap();
}

#[test]
fn atomic_writes_replace_and_set_the_mode() {
    let folder = Folder::new();
    let path = folder.0.join("deep/er/file");
    write_atomic(&path, b"one", SECRET_MODE).unwrap();
    write_atomic(&path, b"two", SECRET_MODE).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_new_file_never_replaces_another() {
    let folder = Folder::new();
    let file = folder.0.join("sub/new");
    assert!(write_new(&file, b"one", SECRET_MODE).unwrap());
    assert!(!write_new(&file, b"two", SECRET_MODE).unwrap());
    assert_eq!(fs::read(&file).unwrap(), b"one");
    let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, SECRET_MODE);
    let entries = fs::read_dir(file.parent().unwrap()).unwrap().count();
    assert_eq!(entries, 1, "no temporary file stays");
}
