//! The map of the ledger's invariants in CONTRIBUTING.md: whatever it names is there.

use super::rules::Source;
use super::sources;

/// What a cell names: `between backticks`, and "between quotes".
fn named<'a>(cell: &'a str, mark: char) -> impl Iterator<Item = &'a str> + use<'a> {
    cell.split(mark).skip(1).step_by(2)
}

/// Where each column's names must be.
struct Places<'a>(&'a [Source]);

impl Places<'_> {
    fn has(&self, folders: &[&str], text: &str) -> bool {
        let mut below = self
            .0
            .iter()
            .filter(|source| folders.iter().any(|f| source.path.starts_with(f)));
        below.any(|source| source.text.contains(text))
    }

    /// What a row names that is nowhere.
    fn missing(&self, cells: &[&str]) -> Vec<String> {
        let [_, _, tests, audit, simulator, metric] = cells else {
            return vec![format!("the row has {} cells", cells.len())];
        };
        let mut missing = Vec::new();
        let mut require = |is_there: bool, name: &str| {
            if !is_there {
                missing.push(name.to_owned());
            }
        };
        require(named(tests, '`').next().is_some(), "a property test");
        for name in named(tests, '`') {
            let test = format!("fn {name}(");
            require(
                self.has(&["common/src", "coordinator/src", "tests/tests"], &test),
                name,
            );
        }
        let rules = [
            "common/src/ledger/violation.rs",
            "common/src/ledger/audit.rs",
        ];
        for name in named(audit, '`') {
            // A command is named where the audit alone cannot tell.
            if let Some((_, variant)) = name.split_once("::") {
                require(self.has(&rules, &format!("\n    {variant}")), name);
            }
        }
        for text in named(audit, '"') {
            require(self.has(&["common/src/ledger/audit.rs"], text), text);
        }
        for rule in named(simulator, '`') {
            let name = format!("\"{rule}\"");
            require(self.has(&["tests/src/sim/context.rs"], &name), rule);
        }
        for text in named(simulator, '"') {
            require(self.has(&["tests/src/sim/"], text), text);
        }
        for label in named(metric, '`') {
            let name = format!("\"{label}\"");
            let shown = ["common/src/ledger/totals.rs", "coordinator/src/"];
            require(self.has(&shown, &name), label);
            let told = format!("`{label}`");
            require(self.has(&["docs/operations.md"], &told), label);
        }
        missing
    }
}

fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .filter(|line| line.starts_with("| I"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

#[test]
fn the_map_of_the_invariants_names_what_is_there() {
    let sources = sources();
    let page = sources
        .iter()
        .find(|source| source.path == "CONTRIBUTING.md")
        .expect("it is there");
    let rows = rows(&page.text);
    let numbers: Vec<String> = rows.iter().map(|cells| cells[0].to_owned()).collect();
    let expected: Vec<String> = (1..=20).map(|number| format!("I{number}")).collect();
    assert_eq!(numbers, expected);
    for cells in &rows {
        let missing = Places(&sources).missing(cells);
        assert!(missing.is_empty(), "{}: {missing:?} is nowhere", cells[0]);
    }
}

#[test]
fn a_name_that_is_nowhere_is_found() {
    let sources = sources();
    let row = "| I1 | x | `no_such_test` | `Violation::NoSuchRule`, \"no such words\" | rule `no-such-rule`, \"no such check\" | `no_such_label` |";
    let missing = Places(&sources).missing(&rows(row)[0]);
    let expected = [
        "no_such_test",
        "Violation::NoSuchRule",
        "no such words",
        "no-such-rule",
        "no such check",
        "no_such_label",
        "no_such_label",
    ];
    assert_eq!(missing, expected);
    let empty = Places(&sources).missing(&rows("| I1 | x | – | – | – | – |")[0]);
    assert_eq!(empty, ["a property test"]);
}
