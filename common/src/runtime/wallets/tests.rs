use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const QUICK: ScryptCost = ScryptCost {
    log_n: 2,
    r: 8,
    p: 1,
};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("aitbc-wallets-{}", hex::encode(random_bytes::<8>()));
        Self(std::env::temp_dir().join(name))
    }

    fn wallets(&self) -> Wallets {
        Wallets::in_folder(self.0.join("wallets"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn key(byte: u8) -> WalletKey {
    WalletKey::from_bytes(&[byte; 32]).unwrap()
}

/// As [`Wallets::add`] with password "p", but quick.
fn add(wallets: &Wallets, name: &str, byte: u8) -> Result<StoredWallet, CommandError> {
    let fresh = Fresh {
        salt: random_bytes(),
        iv: random_bytes(),
        id: random_bytes(),
    };
    let keystore = Keystore::encrypt(&key(byte), "p", QUICK, &fresh);
    wallets.store(name, key(byte).address(), keystore)
}

#[test]
fn the_first_wallet_is_active_and_others_are_chosen() {
    let folder = Folder::new();
    let wallets = folder.wallets();
    assert_eq!(wallets.names().unwrap(), Vec::<String>::new());
    assert_eq!(
        wallets.select(None, None).unwrap_err().exit,
        ExitCode::NotFound
    );
    add(&wallets, "one", 1).unwrap();
    add(&wallets, "two", 2).unwrap();
    assert_eq!(wallets.names().unwrap(), ["one", "two"]);
    let chosen = |given, variable| wallets.select(given, variable).unwrap().name;
    assert_eq!(chosen(None, None), "one");
    assert_eq!(chosen(None, Some("")), "one");
    assert_eq!(chosen(None, Some("two")), "two");
    assert_eq!(chosen(Some("one"), Some("two")), "one");
    wallets.activate("two").unwrap();
    assert_eq!(chosen(None, None), "two");
}

#[test]
fn a_wallet_is_read_without_and_opened_with_its_password() {
    let folder = Folder::new();
    let wallets = folder.wallets();
    let added = add(&wallets, "one", 1).unwrap();
    let stored = wallets.get("one").unwrap();
    assert_eq!(stored, added);
    assert_eq!(stored.address, key(1).address());
    assert_eq!(stored.unlock("p").unwrap().address(), key(1).address());
    let error = stored.unlock("q").unwrap_err();
    assert_eq!(
        (error.exit, error.reason.as_str()),
        (ExitCode::Authentication, "PASSWORD_WRONG")
    );
    let mode = fs::metadata(&stored.file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
}

#[test]
fn nothing_is_overwritten() {
    let folder = Folder::new();
    let wallets = folder.wallets();
    let first = add(&wallets, "one", 1).unwrap();
    let error = add(&wallets, "one", 2).unwrap_err();
    assert_eq!(error.reason, "WALLET_EXISTS");
    assert!(error.hint.is_some());
    assert_eq!(wallets.get("one").unwrap(), first);
}

#[test]
fn a_wrong_address_in_the_file_is_found_on_opening() {
    let folder = Folder::new();
    let wallets = folder.wallets();
    let file = add(&wallets, "one", 1).unwrap().file;
    let (own, other) = (key(1).address(), key(2).address());
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace(&hex::encode(own.0), &hex::encode(other.0)),
    )
    .unwrap();
    let stored = wallets.get("one").unwrap();
    assert_eq!(stored.address, other);
    assert_eq!(stored.unlock("p").unwrap_err().reason, "WALLET_UNUSABLE");
}

#[test]
fn unknown_and_damaged_wallets_are_told_apart() {
    let folder = Folder::new();
    let wallets = folder.wallets();
    add(&wallets, "savings", 1).unwrap();
    let error = wallets.get("saving").unwrap_err();
    assert_eq!(error.exit, ExitCode::NotFound);
    assert!(error.hint.unwrap().contains("savings"));
    let file = wallets.file("savings").unwrap();
    let nameless = fs::read_to_string(&file)
        .unwrap()
        .replace("\"address\"", "\"x\"");
    for damaged in ["", "{}", "\u{0}", &nameless, &"[".repeat(100_000)] {
        fs::write(&file, damaged).unwrap();
        let error = wallets.get("savings").unwrap_err();
        assert_eq!(
            (error.exit, error.reason.as_str()),
            (ExitCode::Authentication, "WALLET_UNUSABLE")
        );
        assert!(error.hint.is_some());
    }
    fs::write(folder.wallets().active_file(), "../x").unwrap();
    assert!(
        wallets
            .active()
            .unwrap_err()
            .hint
            .unwrap()
            .contains("aitbc wallet use")
    );
}

#[test]
fn names_stay_in_their_folder() {
    for name in ["test_wallet", "a", "0-9", &"x".repeat(64)] {
        check_wallet_name(name).unwrap();
    }
    for name in [
        "",
        "-a",
        "A",
        "a.b",
        "../a",
        "a/b",
        "é",
        "a b",
        &"x".repeat(65),
    ] {
        let error = check_wallet_name(name).unwrap_err();
        assert_eq!(error.exit, ExitCode::Usage, "{name:?}");
        assert!(error.hint.is_some());
    }
}

#[test]
fn a_lock_is_held_by_one_at_a_time() {
    let folder = Folder::new();
    let wallets = folder.wallets();
    let inside = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let _lock = wallets.lock("one").unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                }
            });
        }
    });
    assert_eq!(
        wallets.names().unwrap(),
        Vec::<String>::new(),
        "locks are no wallets"
    );
}
