//! The other programs: found beside this one, or on the PATH.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use aitbc_common::runtime::errors::{CommandError, ExitCode};
use nix::unistd::{AccessFlags, access};

use crate::secrets::PASSWORD_VARIABLE;

/// The miner.
pub const MINER: &str = "aitbc-miner";
/// The coordinator.
pub const COORDINATOR: &str = "aitbc-coordinator";

/// Verbs of `aitbc miner` that the miner itself carries out, because hardware and models are known there.
const MINER_VERBS: [&str; 4] = ["register", "mine", "mine-ollama", "test"];

/// The arguments for the miner, where the command line is one of its verbs: the verb, options that stood before it,
/// and all that follows, untouched.
pub fn delegated_to_miner(raw: &[OsString]) -> Option<Vec<OsString>> {
    let mut before = Vec::new();
    let mut rest = raw.get(1..)?;
    rest = skip_global_options(rest, &mut before);
    let (noun, after) = rest.split_first()?;
    if noun != "miner" {
        return None;
    }
    let rest = skip_global_options(after, &mut before);
    let (verb, after) = rest.split_first()?;
    if !MINER_VERBS.iter().any(|known| verb == *known) {
        return None;
    }
    Some(
        std::iter::once(verb.clone())
            .chain(before)
            .chain(after.iter().cloned())
            .collect(),
    )
}

fn skip_global_options<'a>(mut rest: &'a [OsString], before: &mut Vec<OsString>) -> &'a [OsString] {
    while let Some(option) = rest.first().and_then(|a| a.to_str()) {
        let verbose =
            option.len() > 1 && option.starts_with('-') && option.chars().skip(1).all(|c| c == 'v');
        let count = match option {
            "--coordinator" | "--ca-certificate" => 2,
            "--json" | "--verbose" => 1,
            _ if verbose
                || option.starts_with("--coordinator=")
                || option.starts_with("--ca-certificate=") =>
            {
                1
            }
            _ => break,
        };
        let count = count.min(rest.len());
        before.extend_from_slice(&rest[..count]);
        rest = &rest[count..];
    }
    rest
}

/// Replaces this process with the miner; returns only if that fails.
pub fn become_miner(arguments: &[OsString]) -> CommandError {
    let path = match find(MINER) {
        Ok(path) => path,
        Err(error) => return error,
    };
    let error = Command::new(&path)
        // Its usage and its hints name the program as it was typed.
        .arg0("aitbc miner")
        .args(arguments)
        .env_remove(PASSWORD_VARIABLE)
        .exec();
    CommandError::file(format_args!("start {}", path.display()), &error)
        .with_hint("reinstall it: make install")
}

/// Where one of the other programs is.
pub fn find(program: &str) -> Result<PathBuf, CommandError> {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent).map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = beside.into_iter().chain(std::env::split_paths(&path));
    find_in(program, folders).ok_or_else(|| {
        CommandError::new(ExitCode::Failed, "PROGRAM_MISSING", format!("{program} is not installed: it is neither beside aitbc nor on the PATH"))
            .with_hint(format!("install it with \"make install\" in the project's folder, or put {program} beside aitbc"))
    })
}

fn find_in(program: &str, folders: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    folders
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|path| path.is_file() && access(path, AccessFlags::X_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delegated(words: &str) -> Option<String> {
        let raw: Vec<OsString> = std::iter::once("aitbc")
            .chain(words.split_whitespace())
            .map(OsString::from)
            .collect();
        let arguments = delegated_to_miner(&raw)?;
        Some(
            arguments
                .iter()
                .map(|a| a.to_string_lossy())
                .collect::<Vec<_>>()
                .join(" "),
        )
    }

    #[test]
    fn the_miners_verbs_pass_everything_through() {
        for (given, passed) in [
            (
                "miner mine-ollama --model llama3 --continuous",
                "mine-ollama --model llama3 --continuous",
            ),
            ("--json miner register --gpus x", "register --json --gpus x"),
            (
                "--coordinator a:1 miner --json -vv mine --help --nonsense",
                "mine --coordinator a:1 --json -vv --help --nonsense",
            ),
            (
                "--ca-certificate ca.pem --ca-certificate=b miner mine",
                "mine --ca-certificate ca.pem --ca-certificate=b",
            ),
            (
                "--coordinator=a:1 miner test -- --x",
                "test --coordinator=a:1 -- --x",
            ),
        ] {
            assert_eq!(delegated(given).as_deref(), Some(passed), "{given}");
        }
    }

    #[test]
    fn other_commands_stay_here() {
        for given in [
            "",
            "miner",
            "miner poll",
            "models mine",
            "miner --help",
            "--coordinator",
            "--coordinator miner mine",
            "client miner mine",
            "- miner mine",
        ] {
            assert_eq!(delegated(given), None, "{given}");
        }
    }

    #[test]
    fn only_programs_are_found() {
        let folders = || {
            ["/nonexistent", "/etc", "/bin", "relative"]
                .iter()
                .map(PathBuf::from)
        };
        assert_eq!(find_in("passwd", ["/etc"].iter().map(PathBuf::from)), None);
        assert_eq!(find_in("sh", folders()), Some(PathBuf::from("/bin/sh")));
        let error = find("aitbc-no-such-program").unwrap_err();
        assert!(error.hint.unwrap().contains("make install"));
    }
}
