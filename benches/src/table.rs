//! Tables of plain text, for people and for `README.md`.

use std::fmt;

use crate::statistics::Figure;

/// A table whose first column is text and whose others are figures. Prints as Markdown.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).to_vec()] }
    }

    /// A table of [`Figure`]s, to be filled with [`Table::figure`].
    #[must_use]
    pub fn of_figures(what: &str) -> Self {
        Self::new([what, "p50", "p99", "mean", "repetitions", "per second"])
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// Adds a [`Figure`].
    pub fn figure(&mut self, what: &str, figure: &Figure) {
        self.row([
            what.to_owned(),
            time(figure.p50 as f64),
            time(figure.p99 as f64),
            time(figure.mean),
            format!("{} .. {}", time(figure.least), time(figure.most)),
            rate(figure.per_second()),
        ]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                if column == 0 { write!(f, "| {cell:width$} ")? } else { write!(f, "| {cell:>width$} ")? }
            }
            writeln!(f, "|")?;
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let (dashes, right) = ("-".repeat(width + 1), if column == 0 { '-' } else { ':' });
                    write!(f, "|{dashes}{right}")?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// A time in the unit that leaves it readable, three digits or more.
#[must_use]
pub fn time(nanos: f64) -> String {
    match nanos {
        nanos if nanos < 99.95 => format!("{nanos:.1} ns"),
        nanos if nanos < 9_999.5 => format!("{nanos:.0} ns"),
        nanos if nanos < 9_999_500.0 => format!("{:.1} µs", nanos / 1e3),
        nanos if nanos < 9_999_500_000.0 => format!("{:.1} ms", nanos / 1e6),
        nanos => format!("{:.1} s", nanos / 1e9),
    }
}

/// A rate per second.
#[must_use]
pub fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate < 9_999.5 => format!("{rate:.0}"),
        rate if rate < 9_999_500.0 => format!("{:.1} k", rate / 1e3),
        rate => format!("{:.1} M", rate / 1e6),
    }
}

/// `ours / theirs`, to two digits that count.
#[must_use]
pub fn ratio(ours: f64, theirs: f64) -> String {
    match ours / theirs {
        ratio if ratio < 0.01 => format!("{ratio:.5}"),
        ratio if ratio < 1.0 => format!("{ratio:.3}"),
        ratio => format!("{ratio:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_a_readable_unit() {
        for (nanos, expected) in [
            (8.44, "8.4 ns"),
            (123.4, "123 ns"),
            (9_999.0, "9999 ns"),
            (12_345.0, "12.3 µs"),
            (12_345_678.0, "12.3 ms"),
            (12e9, "12.0 s"),
        ] {
            assert_eq!(time(nanos), expected);
        }
        assert_eq!(
            (rate(950.0), rate(123_456.0), rate(12.34e6)),
            ("950".into(), "123.5 k".into(), "12.3 M".into())
        );
        assert_eq!(
            (ratio(1.0, 3.0), ratio(1.0, 3000.0), ratio(5.0, 2.0)),
            ("0.333".into(), "0.00033".into(), "2.50".into())
        );
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["what", "µs"]);
        table.row(["a longer name".to_owned(), "1".to_owned()]);
        let expected = "| what          | µs |\n|---------------|---:|\n| a longer name |  1 |\n";
        assert_eq!(table.to_string(), expected);
    }
}
