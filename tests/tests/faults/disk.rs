//! A disk that is full, for the coordinator alone: a small file system that only its process sees.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use aitbc_tests::harness::{Network, Process, User, program, wait_for};

/// Room that new jobs leave free, of the disk's 256 MiB.
const FLOOR_MIB: u64 = 48;

/// How this machine lets a process have a mount of its own; `None` where it does not.
fn unshare(user: &User) -> Option<&'static str> {
    let allowed = ["--mount", "--mount --map-root-user"]
        .into_iter()
        .find(|options| {
            let mount = format!("unshare {options} mount -t tmpfs tmpfs /mnt");
            user.types(&mount).code == 0
        });
    if allowed.is_none() {
        eprintln!("skipped: this machine lets no process mount a file system (unshare --mount)");
    }
    allowed
}

/// The coordinator, with its data folder on a disk of its own.
fn on_a_small_disk(network: &Network, user: &User, options: &str) -> Process {
    let data = network.data_dir();
    fs::create_dir_all(&data).expect("a temporary folder is writable");
    let settings = network.write("settings.toml", format!("free_space_mib = {FLOOR_MIB}"));
    let line = format!(
        "unshare {options} sh -c 'mount -t tmpfs -o size=256m tmpfs {data} && \
         exec {program} --dev --listen {listen} --data-dir {data} --config {settings}'",
        data = data.display(),
        program = program("aitbc-coordinator").display(),
        listen = network.address(),
        settings = settings.display(),
    );
    let coordinator = user.starts(&line);
    coordinator.prints("listening on");
    coordinator
}

/// A path as that process sees it.
fn seen_by(process: &Process, path: &Path) -> PathBuf {
    let path = path.strip_prefix("/").expect("it is absolute");
    Path::new(&format!("/proc/{}/root", process.pid())).join(path)
}

/// Fills the disk of a file to the last byte.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).expect("the disk is there");
    let part = vec![1; 1 << 16];
    let mut bytes = part.len();
    while bytes > 0 {
        match file.write(&part[..bytes]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => bytes /= 2,
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}

#[test]
fn a_full_disk_refuses_new_jobs_and_recovers_by_itself() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    let Some(options) = unshare(&user) else {
        return;
    };
    let coordinator = on_a_small_disk(&network, &user, options);
    let submit = "aitbc client submit --model llama3 --prompt Hi";
    let _first = user.types(submit).succeeds();
    let filler = seen_by(&coordinator, &network.data_dir().join("filler"));
    fill(&filler);
    // The disk is looked at each second; what is written until then fails, and the store is opened again.
    wait_for("the refusal for want of room", || {
        let refused = user.types(&format!("{submit} --json"));
        refused.stderr.contains("STORAGE_FULL").then_some(())
    });
    user.types(submit).refuses(1, "disk");
    let error = user
        .types(&format!("{submit} --json"))
        .exits(1)
        .json_error();
    assert_eq!(
        (&error["reason"], &error["retryable"]),
        (&"STORAGE_FULL".into(), &true.into())
    );
    // Whether anything else can still be written or not: reading goes on.
    let _either = user.types("aitbc miner register");
    wait_for("a read", || {
        let status = user.types("aitbc client status last --json");
        (status.code == 0 && status.json()["status"] == "queued").then_some(())
    });
    let _models = user.types("aitbc models").succeeds();
    fs::remove_file(&filler).expect("it is there");
    wait_for("a job that is taken again", || {
        (user.types(submit).code == 0).then_some(())
    });
    let jobs = user.types("aitbc client list --json").succeeds().json();
    assert!(
        jobs["jobs"].as_array().is_some_and(|jobs| jobs.len() >= 2),
        "{jobs}"
    );
    assert!(!coordinator.stderr().contains("panicked"));
    coordinator.terminate();
}
