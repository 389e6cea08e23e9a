//! Tables whose columns are as wide as their widest cell, in docker's spacing.

/// Between columns.
const PADDING: usize = 3;
/// A column's least width, padding included.
const LEAST: usize = 10;

/// Rows of tab-separated cells, a header among them → aligned lines. The last column is not padded.
pub(in crate::cli) fn align(rows: &[String]) -> String {
    let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.split('\t').collect()).collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        for (column, cell) in row[..row.len() - 1].iter().enumerate() {
            let width = (cell.chars().count() + PADDING).max(LEAST);
            match widths.get_mut(column) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < row.len() {
                text.extend(std::iter::repeat_n(' ', widths[column] - cell.chars().count()));
            }
        }
        text.push('\n');
    }
    text
}

/// At most `width` characters, the last of them an ellipsis if something was cut off.
pub(in crate::cli) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let rows = ["ID\tNAMES".to_owned(), "0123456789ab\tweb".to_owned(), "x\ta longer name".to_owned()];
        assert_eq!(align(&rows), "ID             NAMES\n0123456789ab   web\nx              a longer name\n");
        assert_eq!(align(&["A\tB".to_owned()]), "A         B\n");
        assert_eq!(align(&[]), "");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(ellipsis("sleep", 5), "sleep");
        assert_eq!(ellipsis("sleeping", 5), "slee…");
        assert_eq!(ellipsis("äöüäöü", 5), "äöüä…");
    }
}
