//! Ends what a killed test leaves behind.
//!
//! A test that is killed (by the runner's deadline, say) runs no destructors. So each test process has one helper, a
//! shell in a process group of its own, that reads process groups and folders from a pipe; when the pipe closes, it
//! kills and removes what was not crossed out before.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

const SCRIPT: &str = r#"
groups=' '
folders=' '
while read -r verb what; do
    case $verb in
        group) groups="$groups$what " ;;
        gone) groups="${groups%% $what *} ${groups#* $what }" ;;
        folder) folders="$folders$what " ;;
        removed) folders="${folders%% $what *} ${folders#* $what }" ;;
    esac
done
for group in $groups; do kill -9 "-$group" 2>/dev/null; done
for folder in $folders; do rm -rf "$folder"; done
"#;

static GUARDIAN: LazyLock<Mutex<Child>> = LazyLock::new(|| {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT]).env_clear();
    command.env("PATH", "/usr/bin:/bin").current_dir("/");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    Mutex::new(command.spawn().expect("a shell starts"))
});

fn tell(verb: &str, what: &str) {
    let mut guardian = GUARDIAN.lock().unwrap_or_else(PoisonError::into_inner);
    let pipe = guardian.stdin.as_mut().expect("its stdin is a pipe");
    writeln!(pipe, "{verb} {what}").expect("the guardian reads to the end");
}

/// Ends this process group with the test.
pub(super) fn watch_group(group: i32) {
    tell("group", &group.to_string());
}

/// The process group has ended.
pub(super) fn forget_group(group: i32) {
    tell("gone", &group.to_string());
}

/// Removes this folder with the test.
pub(super) fn watch_folder(folder: &Path) {
    tell("folder", &folder.to_string_lossy());
}

/// The folder is gone.
pub(super) fn forget_folder(folder: &Path) {
    tell("removed", &folder.to_string_lossy());
}
