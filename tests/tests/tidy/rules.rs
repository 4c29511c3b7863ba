//! The rules: each takes one file and says what is wrong with it.

/// Most lines of a file that people read.
const MAX_LINES: usize = 500;

/// What a pure part must not touch: a clock, randomness, async code, threads, files, sockets, the environment.
const IMPURE: [&str; 27] = [
    "SystemTime",
    "Instant::now",
    "std::time::Instant",
    "Timestamp::now",
    "Zoned::now",
    "now_v7",
    "new_v4",
    "rand::",
    "getrandom",
    "thread_rng",
    "tokio",
    "futures",
    "tonic",
    "reqwest",
    "rocksdb",
    "async fn",
    "async move",
    "async {",
    ".await",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::thread",
    "std::process",
    "std::env",
    "println!",
    "tracing::",
];

/// Channels without a bound.
const UNBOUNDED: [&str; 4] = [
    "unbounded_channel",
    "mpsc::channel()",
    "mpsc::unbounded",
    "std::sync::mpsc::channel",
];

/// Words that point outside the product.
const OUTSIDE: [&str; 5] = [
    "../shared",
    "/work/",
    "/tmp/brief",
    "design page",
    "scenarios.md",
];

/// Crates that must not know each other.
const SIBLINGS: [(&str, &str); 3] = [
    ("coordinator/", "aitbc_coordinator"),
    ("miner/", "aitbc_miner"),
    ("cli/", "aitbc_cli"),
];

/// File names of plans and logs, which belong elsewhere.
const WORK_FILES: [&str; 8] = [
    "plan.md",
    "todo.md",
    "todo",
    "notes.md",
    "log.md",
    "worklog.md",
    "progress.md",
    "status.md",
];

/// One file of the checkout.
#[derive(Debug)]
pub struct Source {
    /// Its path from the root.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Whether all of it is test code.
    pub is_test: bool,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let is_test = path.starts_with("tests/tests/")
            || path.contains("/tests/")
            || path.ends_with("/tests.rs");
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            is_test,
        }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// This file, which names what it forbids, and what is generated.
    fn is_exempt(&self) -> bool {
        self.path == "tests/tests/tidy/rules.rs" || self.path.ends_with("Cargo.lock")
    }

    /// The lines of code, numbered from 1, without comments and without the test module at the end.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.inline_tests();
        self.text
            .lines()
            .take(end)
            .enumerate()
            .map(|(index, line)| (index + 1, without_comment(line)))
    }

    /// Lines before an inline test module.
    fn inline_tests(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        lines
            .windows(2)
            .position(|pair| {
                pair[0].trim() == "#[cfg(test)]"
                    && pair[1].contains("mod ")
                    && pair[1].contains('{')
            })
            .unwrap_or(lines.len())
    }
}

/// Only whole-line comments and those after two blanks or a semicolon: `//` also stands in addresses.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.split_once("; //").map_or(line, |(code, _)| code)
}

/// Modules that exist for tests alone (`#[cfg(test)] mod name;`), as paths without `.rs`.
pub fn test_modules(source: &Source) -> Vec<String> {
    let folder = match source.path.rsplit_once('/') {
        Some((folder, "lib.rs" | "main.rs" | "mod.rs")) => folder.to_owned(),
        _ => source.path.trim_end_matches(".rs").to_owned(),
    };
    let beside = source
        .path
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder);
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    let mut modules = Vec::new();
    for (index, _) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| **line == "#[cfg(test)]")
    {
        let next = lines.get(index + 1).copied().unwrap_or_default();
        let named = next
            .strip_prefix("#[path = \"")
            .and_then(|rest| rest.strip_suffix(".rs\"]"));
        if let Some(file) = named {
            modules.push(format!("{beside}/{file}"));
        } else if let Some((_, name)) = next
            .strip_suffix(';')
            .and_then(|item| item.rsplit_once("mod "))
        {
            modules.push(format!("{folder}/{name}"));
        }
    }
    modules
}

/// Whether a file must do without clock, randomness, async and I/O.
pub fn is_pure(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let in_common = path.starts_with("common/src/") && !path.starts_with("common/src/runtime/");
    let in_cores = path.contains("/src/")
        && (matches!(name, "core.rs" | "output_buffer.rs") || path.contains("/core/"));
    let in_audits = path.starts_with("coordinator/src/audits/")
        && !path.ends_with("/driver.rs")
        && !path.ends_with("/tests.rs");
    let in_jobs = path.starts_with("coordinator/src/jobs/") || in_audits;
    path.ends_with(".rs") && (in_jobs || in_common || in_cores)
}

/// Everything that is wrong with a file.
pub fn problems(source: &Source) -> Vec<String> {
    if source.is_exempt() {
        return Vec::new();
    }
    [
        length, outside, work_file, channels, purity, unwraps, siblings,
    ]
    .iter()
    .flat_map(|rule| rule(source))
    .collect()
}

fn find(source: &Source, words: &[&str], what: &str) -> Vec<String> {
    source
        .code()
        .flat_map(|(number, line)| {
            words
                .iter()
                .filter(|word| line.contains(**word))
                .map(move |word| format!("{}:{number}: {what}: {word}", source.path))
        })
        .collect()
}

fn length(source: &Source) -> Vec<String> {
    let read_by_people = [".rs", ".proto", ".py", ".mjs", ".md", ".toml", ".sh"]
        .iter()
        .any(|end| source.path.ends_with(end))
        || source.path.starts_with("scripts/");
    let lines = source.text.lines().count();
    if read_by_people && lines > MAX_LINES {
        return vec![format!(
            "{}: {lines} lines, at most {MAX_LINES}",
            source.path
        )];
    }
    Vec::new()
}

fn outside(source: &Source) -> Vec<String> {
    source
        .text
        .lines()
        .enumerate()
        .flat_map(|(index, line)| {
            OUTSIDE
                .iter()
                .filter(|word| line.contains(**word))
                .map(move |word| {
                    format!(
                        "{}:{}: points outside the product: {word}",
                        source.path,
                        index + 1
                    )
                })
        })
        .collect()
}

fn work_file(source: &Source) -> Vec<String> {
    let name = source
        .path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_lowercase();
    if WORK_FILES.contains(&name.as_str()) {
        return vec![format!(
            "{}: plans and logs do not belong here",
            source.path
        )];
    }
    Vec::new()
}

fn channels(source: &Source) -> Vec<String> {
    if !source.is_rust() {
        return Vec::new();
    }
    find(source, &UNBOUNDED, "a channel without a bound")
}

fn purity(source: &Source) -> Vec<String> {
    if !is_pure(&source.path) || source.is_test {
        return Vec::new();
    }
    find(source, &IMPURE, "not pure")
}

fn unwraps(source: &Source) -> Vec<String> {
    if !source.is_rust() || source.is_test {
        return Vec::new();
    }
    find(source, &[".unwrap()"], "unwrap outside tests")
}

fn siblings(source: &Source) -> Vec<String> {
    let Some((own, _)) = SIBLINGS
        .iter()
        .find(|(folder, _)| source.path.starts_with(folder))
    else {
        return Vec::new();
    };
    let manifest = source.path.ends_with("Cargo.toml");
    if !manifest && !source.is_rust() {
        return Vec::new();
    }
    let mut words: Vec<String> = Vec::new();
    for (_, name) in SIBLINGS.iter().filter(|(folder, _)| folder != own) {
        words.push(if manifest {
            format!("{} ", name.replace('_', "-"))
        } else {
            format!("{name}::")
        });
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    find(source, &words, "a sibling's crate")
        .into_iter()
        .filter(|problem| !problem.contains("name = "))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        problems(&Source::new(path, text))
    }

    fn finds(path: &str, text: &str, what: &str) {
        let found = found(path, text);
        assert!(
            found.iter().any(|problem| problem.contains(what)),
            "{path}: {text:?} gave {found:?}"
        );
    }

    #[test]
    fn clean_code_passes() {
        let text = "//! About SystemTime.\nfn f() -> u8 {\n    1\n}\n\n#[cfg(test)]\nmod tests {\n    use rand::random;\n    fn g() { Some(1).unwrap(); }\n}\n";
        for path in [
            "coordinator/src/jobs/queue.rs",
            "common/src/ids.rs",
            "miner/src/session/core.rs",
        ] {
            assert_eq!(found(path, text), Vec::<String>::new());
        }
    }

    #[test]
    fn pure_parts_stay_pure() {
        for line in IMPURE {
            for path in [
                "coordinator/src/jobs/queue.rs",
                "coordinator/src/jobs/matching/mod.rs",
                "common/src/money.rs",
                "miner/src/session/core.rs",
                "coordinator/src/sessions/output_buffer.rs",
                "coordinator/src/engine/core/batch.rs",
            ] {
                finds(path, &format!("fn f() {{ {line} }}"), "not pure");
            }
            let elsewhere = found("coordinator/src/engine/driver.rs", line);
            assert!(elsewhere.is_empty(), "{elsewhere:?}");
            assert!(found("common/src/runtime/backoff.rs", line).is_empty());
        }
    }

    #[test]
    fn long_files_are_found() {
        finds("cli/src/main.rs", &"\n".repeat(501), "501 lines");
        finds("docs/formats.md", &"\n".repeat(501), "501 lines");
        assert!(found("cli/src/main.rs", &"\n".repeat(500)).is_empty());
    }

    #[test]
    fn channels_have_bounds() {
        for line in UNBOUNDED {
            finds(
                "cli/src/main.rs",
                &format!("let (a, b) = {line};"),
                "without a bound",
            );
            finds(
                "tests/tests/x.rs",
                &format!("let (a, b) = {line};"),
                "without a bound",
            );
        }
    }

    #[test]
    fn unwraps_are_for_tests() {
        finds("cli/src/main.rs", "x.unwrap();", "unwrap outside tests");
        for path in [
            "tests/tests/x.rs",
            "miner/src/engine/tests/models.rs",
            "common/src/job_input/tests.rs",
        ] {
            assert!(found(path, "x.unwrap();").is_empty());
        }
        assert!(found("cli/src/main.rs", "x.unwrap_or_default();").is_empty());
    }

    #[test]
    fn siblings_do_not_know_each_other() {
        finds(
            "cli/src/main.rs",
            "use aitbc_miner::session;",
            "a sibling's crate",
        );
        finds(
            "miner/src/main.rs",
            "aitbc_coordinator::run();",
            "a sibling's crate",
        );
        finds(
            "coordinator/src/main.rs",
            "use aitbc_miner::x;",
            "a sibling's crate",
        );
        finds(
            "cli/Cargo.toml",
            "aitbc-miner = { path = \"../miner\" }",
            "a sibling's crate",
        );
        assert!(found("miner/src/main.rs", "use aitbc_miner::session;").is_empty());
        assert!(found("tests/src/lib.rs", "use aitbc_miner::session;").is_empty());
    }

    #[test]
    fn nothing_points_outside() {
        for word in OUTSIDE {
            finds("README.md", &format!("see {word}"), "outside the product");
            finds(
                "cli/src/main.rs",
                &format!("// see {word}"),
                "outside the product",
            );
        }
        for name in ["PLAN.md", "docs/notes.md", "TODO"] {
            finds(name, "x", "plans and logs");
        }
    }

    #[test]
    fn test_modules_are_resolved() {
        let text = "#[cfg(test)]\nmod faults;\n#[cfg(test)]\npub(crate) mod fixtures;\nmod real;\n";
        assert_eq!(
            test_modules(&Source::new("miner/src/runner.rs", text)),
            ["miner/src/runner/faults", "miner/src/runner/fixtures"]
        );
        assert_eq!(
            test_modules(&Source::new("coordinator/src/store/mod.rs", text))[0],
            "coordinator/src/store/faults"
        );
        let text = "#[cfg(test)]\n#[path = \"queue_tests.rs\"]\nmod tests;\n";
        assert_eq!(
            test_modules(&Source::new("coordinator/src/jobs/queue.rs", text)),
            ["coordinator/src/jobs/queue_tests"]
        );
    }
}
