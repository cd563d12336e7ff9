//! Plain aligned columns. Names in them come from tenants, so nothing in a cell may steer the terminal.

use domain::text::plain;

/// Lays rows out under their headings.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let width = |column: usize, heading: &str| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).chain([heading.len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = headings.iter().enumerate().map(|(column, heading)| width(column, heading)).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(headings.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_hostile_cells_stay_in_theirs() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["\u{1b}[2J\n".to_owned(), "22".to_owned()]];
        let text = table(&["name", "n"], &rows);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
