//! The README's tour works as it is written: every ```console block is executed, in order, as one user on a fresh machine
//! that has an Ollama with `llama3`.
//!
//! In a block, `$ ` begins a command (it may go on after a `\` at the end of a line) and the lines beneath it are what it
//! prints. A line `...` stands for any lines, `...` or `…` for anything within a line; ids, hashes, times, measured numbers
//! and the width of gaps within a line need not be the same. `? 7` at the end says that the exit code is 7. A coordinator, and a command
//! that ends in `&`, keep running until the tour ends. `MODEL.gguf` is the tests' model, on
//! one thread.

use std::path::Path;
use std::time::Duration;

use aitbc_tests::harness::{Network, Ollama, Process, Stream, User, model_file, redact};

#[derive(Debug, PartialEq, Eq)]
struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
    code: i32,
}

fn steps(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (index, line) in readme.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console";
            continue;
        }
        if !inside {
            continue;
        }
        let continued = steps.last_mut().filter(|step| step.command.ends_with('\\'));
        if let Some(step) = continued {
            step.command.pop();
            step.command.push_str(line.trim_start());
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                line: index + 1,
                command: command.to_owned(),
                expected: Vec::new(),
                code: 0,
            });
        } else if let Some(step) = steps.last_mut() {
            match line.strip_prefix("? ") {
                Some(code) => step.code = code.parse().expect("an exit code"),
                None => step.expected.push(line.to_owned()),
            }
        }
    }
    steps
}

/// Whether a text fits a pattern in which `…` stands for anything.
fn line_fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in between {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether the lines of two streams, mixed in any way, fit; a pattern `…` stands for any number of lines.
fn fits(expected: &[String], out: &[String], err: &[String]) -> bool {
    let Some((first, rest)) = expected.split_first() else {
        return out.is_empty() && err.is_empty();
    };
    if first == "…" {
        return (0..=out.len()).any(|skipped| {
            (0..=err.len()).any(|others| fits(rest, &out[skipped..], &err[others..]))
        });
    }
    let begins = |lines: &[String]| lines.first().is_some_and(|line| line_fits(first, line));
    (begins(out) && fits(rest, &out[1..], err)) || (begins(err) && fits(rest, out, &err[1..]))
}

/// Lines without what differs in each run; blank ones are left out.
fn redacted(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    let plain = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let indent = &line[..line.len() - line.trim_start().len()];
        redact(&format!("{indent}{}", words.join(" ")).replace("...", "…"))
    };
    lines
        .into_iter()
        .map(|line| plain(line.as_ref()))
        .filter(|line| !line.trim().is_empty())
        .collect()
}

/// The command in this test's place: its own port and model.
fn on_this_network(command: &str, network: &Network) -> String {
    // One thread, because other tests share the processor, and an end to what the model has to say.
    let model = format!("{} --threads 1 --context 1024", model_file().display());
    let command = command.replace("MODEL.gguf", &model);
    if is_coordinator(&command) && !command.contains("--listen") {
        return command.replacen("--dev", &format!("--dev --listen {}", network.address()), 1);
    }
    command
}

fn is_coordinator(command: &str) -> bool {
    command.starts_with("aitbc-coordinator ") || command.starts_with("aitbc dev")
}

fn start(step: &Step, command: &str, user: &User) -> Process {
    let process = user.starts(&format!("{command} 2>&1"));
    // What follows needs it to be ready: it has said what the tour shows.
    process.wait_for(
        Stream::Stdout,
        &format!("output as in line {} of the README", step.line),
        |text| {
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let lines = redacted(whole.lines());
            (0..=lines.len())
                .any(|count| fits(&redacted(&step.expected), &lines[..count], &[]))
                .then_some(())
        },
    );
    process
}

#[test]
fn the_tour_works_as_written() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let steps = steps(&std::fs::read_to_string(readme).expect("the README"));
    assert!(!steps.is_empty(), "the README has no ```console block");
    let network = Network::without_coordinator();
    let ollama = Ollama::start();
    let user = network.user("me").with("OLLAMA_HOST", ollama.address());
    let mut running: Vec<Process> = Vec::new();
    for step in &steps {
        let command = on_this_network(&step.command, &network);
        if command.ends_with('&') || is_coordinator(&command) {
            running.push(start(step, command.trim_end_matches('&').trim_end(), &user));
            continue;
        }
        // A small model may talk for long, on a busy machine slowly.
        let output = user
            .starts(&command)
            .wait_at_most(Duration::from_secs(200))
            .exits(step.code);
        let (out, err) = (
            redacted(output.text().lines()),
            redacted(output.stderr.lines()),
        );
        let expected = redacted(&step.expected);
        assert!(
            fits(&expected, &out, &err),
            "line {} of the README, $ {command}\nshown:\n{}\nprinted:\n{}\n{}",
            step.line,
            expected.join("\n"),
            out.join("\n"),
            err.join("\n"),
        );
    }
}

#[test]
fn blocks_are_read_as_described() {
    let readme = "text\n```sh\n$ not this\n```\n```console\n$ one \\\n    two\nout\n...\n? 7\n$ three &\n```\n";
    let found = steps(readme);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].command.as_str(), found[0].code), ("one two", 7));
    assert_eq!(found[0].expected, ["out", "..."]);
    assert_eq!(found[1].command, "three &");
}

#[test]
fn patterns_fit_what_they_should() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let fit =
        |expected: &str, out: &str, err: &str| fits(&lines(expected), &lines(out), &lines(err));
    assert!(fit("a\n…\nd", "a\nb\nc\nd", ""));
    assert!(fit("a … c…", "a b c d", ""));
    assert!(fit("…", "", ""));
    assert!(fit("warning\na\nb\nnext", "a\nb", "warning\nnext"));
    assert!(!fit("a\nc", "a\nb\nc", ""));
    assert!(!fit("a", "a", "b"));
    assert!(!fit("a…c", "a b", ""));
    assert!(!fit("a", "ab", ""));
}
