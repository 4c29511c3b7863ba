//! Tables for people: a header in capitals, columns two blanks apart, no lines.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

/// Renders rows below a header; columns whose header begins with `>` are aligned to the right.
pub fn render(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(
        header
            .iter()
            .map(|name| Cell::new(name.trim_start_matches('>'))),
    );
    table.add_rows(rows);
    for (index, name) in header.iter().enumerate() {
        let Some(column) = table.column_mut(index) else {
            continue;
        };
        column.set_padding((0, 2));
        if name.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The full text, or the shorter one where the terminal is too narrow for it. Pipes get the full text.
pub fn first_that_fits(full: String, shorter: impl FnOnce() -> String) -> String {
    let widest = full
        .lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    match Table::new().width() {
        Some(columns) if widest > usize::from(columns) => shorter(),
        _ => full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_lines() {
        let rows = vec![
            vec!["a".into(), "1".into(), "x".into()],
            vec!["bbbb".into(), "100".into(), "y".into()],
        ];
        assert_eq!(
            render(&["NAME", ">N", "Z"], rows),
            "NAME    N  Z\na       1  x\nbbbb  100  y"
        );
    }
}
