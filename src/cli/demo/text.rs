//! How the demo writes numbers, and its table.

use std::time::Duration;

/// A count with separators: `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A span at the precision that its size deserves: `0.8 ms`, `512 ms`, `5 s`, `4.02 s`, `3 min 20 s`, `2 h 5 min`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 if span < Duration::from_millis(10) => format!("{:.1} ms", span.as_secs_f64() * 1_000.0),
        0 => format!("{} ms", span.as_millis()),
        1..60 if span.subsec_nanos() == 0 => format!("{seconds} s"),
        1..60 => format!("{:.2} s", span.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// A share in per cent, or a dash where there is nothing to share.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    // Rounded down, so that only a full house reads as 100.
    let tenths = u128::from(part.min(whole)) * 1_000 / u128::from(whole);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// Aligns rows of a label and its values: labels to the left, values to the right.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column).unwrap_or_default();
            let padded = if column == 0 { format!("  {cell:<width$}") } else { format!("   {cell:>width$}") };
            line.push_str(&padded);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_get_a_separator_every_three_digits() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn spans_read_well_at_every_size() {
        for (millis, text) in [
            (0, "0.0 ms"),
            (9, "9.0 ms"),
            (512, "512 ms"),
            (4_020, "4.02 s"),
            (5_000, "5 s"),
            (200_000, "3 min 20 s"),
            (7_500_000, "2 h 5 min"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_share_is_never_rounded_up_to_all_of_it() {
        assert_eq!(percent(0, 0), "-");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(99_999, 100_000), "99.9 %");
        assert_eq!(percent(5, 5), "100.0 %");
    }

    #[test]
    fn a_table_aligns_labels_to_the_left_and_values_to_the_right() {
        let rows = [vec!["slowest answer".into(), "4.02 s".into(), "512 ms".into()], vec!["cold".into()]];
        let expected = "                   direct   Millpond
  slowest answer   4.02 s     512 ms
  cold
";
        assert_eq!(table(&["", "direct", "Millpond"], &rows), expected);
    }
}
