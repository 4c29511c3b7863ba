//! What `sql` answers, and what it refuses.

use super::*;
use crate::agent::tools::files::tests::Folder;
use crate::agent::tools::{MAX_OUTPUT_BYTES, Tool};
use std::time::Instant;

struct Loaded {
    database: Database,
    tables: Vec<String>,
}

fn load(files: &[AttachedFile]) -> Loaded {
    let stop = Stop::after(LOAD_TIMEOUT, CancellationToken::new());
    let (database, tables) = Database::load(files, &stop).unwrap();
    Loaded {
        database: database.unwrap(),
        tables,
    }
}

fn one(name: &str, bytes: impl AsRef<[u8]>) -> Loaded {
    let folder = Folder::new();
    load(&[folder.file(name, bytes)])
}

impl Loaded {
    fn run(&mut self, query: &str) -> Result<String, String> {
        self.within(query, Duration::from_secs(10))
    }

    fn within(&mut self, query: &str, timeout: Duration) -> Result<String, String> {
        let stop = Stop::after(timeout, CancellationToken::new());
        self.database.query(query, &stop).map_err(|e| e.to_string())
    }

    fn says(&mut self, query: &str, expected: &str) {
        assert_eq!(self.run(query).as_deref(), Ok(expected), "{query}");
    }

    fn fails(&mut self, query: &str, expected: &str) {
        let error = self.run(query).unwrap_err();
        assert!(error.contains(expected), "{query}: {error}");
    }
}

const Q3: &str =
    "month,revenue,units\nJuly,120400.10,12\nAugust,118250.20,7\nSeptember,131900.30,\n";

#[test]
fn a_csv_file_is_a_table() {
    let mut q3 = one("q3.csv", Q3);
    assert_eq!(
        q3.tables,
        ["q3 (month text, revenue real, units integer), 3 rows"]
    );
    q3.says("SELECT SUM(revenue), AVG(revenue), SUM(units), COUNT(*) FROM q3", "SUM(revenue) | AVG(revenue) | SUM(units) | COUNT(*)\n370550.6 | 123516.866666667 | 19 | 3\n(1 row)");
    q3.says(
        "select month m from q3 where units is null;",
        "m\nSeptember\n(1 row)",
    );
    q3.says(
        "SELECT * FROM q3 WHERE revenue < 0",
        "month | revenue | units\n(0 rows)",
    );
}

#[test]
fn the_description_names_the_tables() {
    let folder = Folder::new();
    let tool = tool(&[folder.file("q3.csv", Q3), folder.file("notes.txt", "x")]);
    assert!(
        tool.description()
            .ends_with("Tables: q3 (month text, revenue real, units integer), 3 rows")
    );
    let wide: Vec<String> = (0..400)
        .map(|n| format!("a_long_name_of_a_column_{n}"))
        .collect();
    let tool = super::tool(&[folder.file("wide.csv", wide.join(","))]);
    assert!(tool.description().len() < 2 * MAX_TABLES_BYTES);
}

#[test]
fn decimals_add_up_as_on_paper() {
    let rows: Vec<String> = (0..1000)
        .map(|n| format!("{},0.1,12345678901234567890.12", n % 2))
        .collect();
    let mut sums = one("sums.csv", format!("g,x,long\n{}\n", rows.join("\n")));
    sums.says(
        "SELECT SUM(x), SUM(x) = 100, TOTAL(x), AVG(x) FROM sums",
        "SUM(x) | SUM(x) = 100 | TOTAL(x) | AVG(x)\n100 | 1 | 100 | 0.1\n(1 row)",
    );
    sums.says(
        "SELECT g, SUM(x) FROM sums GROUP BY g HAVING SUM(x) > 49",
        "g | SUM(x)\n0 | 50\n1 | 50\n(2 rows)",
    );
    sums.says(
        "SELECT SUM(x) OVER (ORDER BY rowid ROWS 2 PRECEDING) s FROM sums LIMIT 4",
        "s\n0.1\n0.2\n0.3\n0.3\n(4 rows)",
    );
    sums.says(
        "SELECT SUM(DISTINCT x), long FROM sums LIMIT 1",
        "SUM(DISTINCT x) | long\n0.1 | 12345678901234567890.12\n(1 row)",
    );
    sums.says("SELECT 0.1 + 0.2, 1.1 * 3, 1e300, 12345678901234.56", "0.1 + 0.2 | 1.1 * 3 | 1e300 | 12345678901234.56\n0.3 | 3.3 | 1e300 | 12345678901234.56\n(1 row)");
    sums.says(
        "SELECT SUM(x), TOTAL(x) FROM sums WHERE x > 1",
        "SUM(x) | TOTAL(x)\nNULL | 0\n(1 row)",
    );
    let mut mixed = one("m.csv", "x,big\n1.50,9223372036854775807\nn/a,1\n2.25,1\n");
    mixed.fails(
        "SELECT SUM(x) FROM m",
        "\"n/a\" is no number; leave it out with WHERE",
    );
    mixed.says(
        "SELECT SUM(x) s FROM m WHERE x <> 'n/a'",
        "s\n3.75\n(1 row)",
    );
    mixed.fails("SELECT SUM(big) FROM m", "too large; try TOTAL");
}

#[test]
fn many_writings_of_csv_are_read() {
    let mut quoted = one(
        "q.csv",
        "\u{feff}\"Unit Price\",select,a\r\n\"1,5\",\"say \"\"hi\"\"\nthere\",007\r\n",
    );
    assert_eq!(
        quoted.tables,
        ["q (\"Unit Price\" text, \"select\" text, a text), 1 rows"]
    );
    quoted.says(
        "SELECT \"Unit Price\", \"select\", a FROM q",
        "Unit Price | select | a\n1,5 | say \"hi\"\\nthere | 007\n(1 row)",
    );
    let mut semicolon = one("s.csv", "a;b\n1;2,5\n");
    semicolon.says("SELECT * FROM s", "a | b\n1 | 2,5\n(1 row)");
    let mut tab = one("t.tsv", "a\tb\n1\t2\n");
    tab.says("SELECT a + b c FROM t", "c\n3\n(1 row)");
    let mut ragged = one("r.csv", "a,b\n1\n1,2,3,4\n1,2,\n");
    assert!(
        ragged.tables[0]
            .ends_with("3 rows; 1 rows have more fields than the header, which were left out")
    );
    ragged.says("SELECT * FROM r", "a | b\n1 | NULL\n1 | 2\n1 | 2\n(3 rows)");
    let twice = one("order.csv", "a,A,,a\n1,2,3,4\n");
    assert_eq!(
        twice.tables,
        ["order_table (a integer, A_2 integer, column_3 integer, a_3 integer), 1 rows"]
    );
}

#[test]
fn files_that_are_no_tables_are_told() {
    let folder = Folder::new();
    let wide = vec!["x"; 501].join(",");
    let long = format!("a\n{}\n", "x".repeat(600_000));
    let mut loaded = load(&[
        folder.file("empty.csv", ""),
        folder.file("latin.csv", b"a,b\n1,caf\xe9\n"),
        folder.file("wide.csv", wide),
        folder.file("long.csv", long),
        folder.file("open.csv", "a,b\n1,\"never closed\n2,3"),
        folder.file("object.json", "[1, 2]"),
        folder.file("broken.json", "[{\"a\": 1},"),
        folder.file("none.json", "[]"),
        folder.file("good.csv", "a\n1\n"),
    ]);
    let said = loaded.tables.join("\n");
    for expected in [
        "(none of empty.csv: it is empty; the first row names the columns)",
        "(none of latin.csv: it is not UTF-8 text (line 2); save it as UTF-8)",
        "(none of wide.csv: it has more than 500 columns)",
        "(none of long.csv: row 1: string or blob too big)",
        "(none of object.json: it is no array of objects nor one object a line: invalid type",
        "(none of broken.json: it is no array of objects nor one object a line: EOF",
        "(none of none.json: it has no rows, which are objects)",
        "good (a integer), 1 rows",
    ] {
        assert!(said.contains(expected), "{expected} in\n{said}");
    }
    loaded.says("SELECT * FROM good", "a\n1\n(1 row)");
    loaded.says("SELECT b FROM open", "b\nnever closed\\n2,3\n(1 row)");
}

#[test]
fn json_rows_are_tables() {
    let mut array = one(
        "a.json",
        r#"[{"id": 1, "x": 1.5, "tags": ["a"]}, {"id": 2, "name": "B", "ok": true, "x": null}]"#,
    );
    assert_eq!(
        array.tables,
        ["a (id integer, x real, tags text, name text, ok integer), 2 rows"]
    );
    array.says(
        "SELECT id, x, tags ->> 0 t, name, ok FROM a",
        "id | x | t | name | ok\n1 | 1.5 | a | NULL | NULL\n2 | NULL | NULL | B | 1\n(2 rows)",
    );
    let mut lines = one(
        "l.ndjson",
        "{\"n\": 12345678901234567890}\n{\"n\": \"007\"}\n\n",
    );
    lines.says("SELECT n FROM l", "n\n12345678901234567890\n007\n(2 rows)");
}

#[test]
fn nothing_but_reading_is_possible() {
    let mut q3 = one("q3.csv", Q3);
    let file = std::env::temp_dir().join(format!("aitbc-sql-{}", std::process::id()));
    let file = file.display();
    for query in [
        format!("ATTACH '{file}' AS other"),
        format!("VACUUM INTO '{file}'"),
        "PRAGMA query_only = OFF".to_owned(),
        "PRAGMA writable_schema = ON".to_owned(),
        "PRAGMA table_info(q3)".to_owned(),
        "SELECT * FROM pragma_database_list".to_owned(),
        "SELECT * FROM dbstat".to_owned(),
        "SELECT load_extension('x.so')".to_owned(),
        "SELECT fts3_tokenizer('simple')".to_owned(),
        "INSERT INTO q3 VALUES (1, 2, 3)".to_owned(),
        "UPDATE q3 SET revenue = 0".to_owned(),
        "DELETE FROM q3".to_owned(),
        "DROP TABLE q3".to_owned(),
        "CREATE TABLE x (a)".to_owned(),
        "CREATE TEMP TABLE x AS SELECT * FROM q3".to_owned(),
        "CREATE VIRTUAL TABLE x USING fts5(a)".to_owned(),
        "UPDATE sqlite_master SET sql = ''".to_owned(),
        "BEGIN".to_owned(),
        "REINDEX".to_owned(),
        "ANALYZE".to_owned(),
        "DETACH main".to_owned(),
        "SELECT 1; DROP TABLE q3".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        "WITH x AS (SELECT 1) DELETE FROM q3".to_owned(),
    ] {
        let error = q3.run(&query).unwrap_err();
        assert!(error.starts_with("only one SELECT"), "{query}: {error}");
    }
    assert!(!std::path::Path::new(&file.to_string()).exists());
    for query in [
        "SELECT readfile('/etc/passwd')",
        "SELECT writefile('x', 'y')",
        "SELECT edit('x')",
        "SELECT zipfile('x')",
    ] {
        q3.fails(query, "no such function");
    }
    q3.fails("", "");
    q3.fails("-- nothing", "");
    q3.says("SELECT COUNT(*) c FROM q3", "c\n3\n(1 row)");
}

#[test]
fn mistakes_name_the_tables() {
    let mut q3 = one("q3.csv", Q3);
    q3.fails(
        "SELECT revenu FROM q3",
        "no such column: revenu; tables: q3 (month text, revenue real",
    );
    q3.fails("SELECT \"revenu\" FROM q3", "no such column: \"revenu\"");
    q3.fails("SELECT * FROM q4", "no such table: q4; tables: q3");
    q3.fails("SELEC 1", "near \"SELEC\": syntax error");
}

#[test]
fn no_query_runs_for_ever() {
    let mut q3 = one("q3.csv", Q3);
    let timeout = Duration::from_millis(300);
    for query in [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT SUM(i + 0.5) FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT COUNT(*) FROM n a, n b, n c",
    ] {
        let started = Instant::now();
        let error = q3.within(query, timeout).unwrap_err();
        assert!(
            error.starts_with("the call took longer"),
            "{query}: {error}"
        );
        assert!(started.elapsed() < Duration::from_secs(10), "{query}");
    }
    let cancel = CancellationToken::new();
    cancel.cancel();
    let stop = Stop::after(Duration::from_secs(60), cancel);
    let query =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n";
    assert_eq!(q3.database.query(query, &stop), Err(ToolError::Cancelled));
    q3.says("SELECT 1 a", "a\n1\n(1 row)");
}

#[test]
fn no_query_takes_much() {
    let mut q3 = one("q3.csv", Q3);
    q3.fails("SELECT length(zeroblob(1000000000))", "too big");
    q3.fails("SELECT length(printf('%.*c', 1000000000, 'x'))", "too big");
    q3.fails("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) SELECT group_concat(i) FROM n", "too big");
    q3.fails(&format!("SELECT {}1", "(".repeat(5000)), "");
    q3.fails(&format!("SELECT {}1", "1+".repeat(1000)), "");
    let rows = q3
        .run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
        .unwrap();
    assert!(rows.ends_with("\n200\n[more rows are not shown after the first 200: aggregate, or use LIMIT and OFFSET]"), "{rows}");
    let wide = vec!["printf('%.*c', 5000, 'x')"; 300].join(", ");
    let rows = q3
        .run(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {wide} FROM n"
        ))
        .unwrap();
    assert!(
        rows.len() <= MAX_OUTPUT_BYTES
            && rows.contains("[more columns are not shown")
            && rows.contains("[more rows are not shown"),
        "{}",
        rows.len()
    );
}

#[test]
fn a_large_file_is_loaded() {
    let mut text = String::from("id,amount\n");
    for n in 0..300_000 {
        text.push_str(&format!("{n},{}.{:02}\n", n % 1000, n % 100));
    }
    let mut large = one("large.csv", text);
    large.says(
        "SELECT COUNT(*) c, SUM(amount) s FROM large",
        "c | s\n300000 | 149998500\n(1 row)",
    );
}
