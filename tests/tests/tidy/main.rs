//! Style that matters is a test: what a compiler and Clippy do not see about the sources. `rules` has the rules, each with
//! a test that it finds what it should.

mod invariants;
mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rules::{Source, test_modules};

/// Folders that are not part of the sources.
const SKIPPED: [&str; 4] = [".git", "target", "node_modules", "__pycache__"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in the workspace")
        .to_owned()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the checkout is readable") {
        let path = entry.expect("the checkout is readable").path();
        let name = path
            .file_name()
            .expect("an entry has a name")
            .to_string_lossy();
        if path.is_dir() && !path.is_symlink() {
            if !SKIPPED.contains(&name.as_ref()) {
                collect(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

/// Every file of the checkout, with `/` between the parts of its path.
fn sources() -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let mut sources: Vec<Source> = paths
        .iter()
        .filter_map(|path| {
            let name = path.strip_prefix(&root).expect("below the root");
            let text = String::from_utf8(fs::read(path).expect("readable")).ok()?;
            Some(Source::new(&name.to_string_lossy(), &text))
        })
        .collect();
    let tests: BTreeSet<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        source.is_test |= tests.iter().any(|module| {
            source.path == format!("{module}.rs") || source.path.starts_with(&format!("{module}/"))
        });
    }
    sources
}

#[test]
fn the_sources_are_tidy() {
    let sources = sources();
    assert!(
        sources.len() > 100,
        "only {} files were found",
        sources.len()
    );
    let problems: Vec<String> = sources.iter().flat_map(rules::problems).collect();
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn the_pure_parts_are_where_the_rules_look() {
    let sources = sources();
    for part in [
        "coordinator/src/jobs/",
        "coordinator/src/engine/core.rs",
        "coordinator/src/sessions/core.rs",
        "coordinator/src/sessions/output_buffer.rs",
        "miner/src/agent/core.rs",
        "miner/src/agent/core/",
        "miner/src/session/core.rs",
        "common/src/layouts/",
    ] {
        assert!(
            sources
                .iter()
                .any(|s| s.path.starts_with(part) && rules::is_pure(&s.path)),
            "{part} moved: the rules must follow it"
        );
    }
}
