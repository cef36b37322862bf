//! Tables for a terminal.

/// Columns as wide as their widest cell, two spaces between them, none at the end of a line.
pub(crate) fn lined_up(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut all = vec![header.iter().map(|cell| (*cell).to_owned()).collect::<Vec<String>>()];
    all.extend(rows);
    let widest = |column: usize| all.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(widest).collect();
    let mut text = String::new();
    for row in &all {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
