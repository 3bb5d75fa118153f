//! Statements for many rows at once. The number of rows is rounded to a power of two, so that only a few different statements are prepared
//! and cached.

use std::fmt::Write as _;

use sqlx::AssertSqlSafe;

use crate::store::gate::Statement;

/// The most rows of one statement.
const MOST: usize = 32;

/// Splits `all` into parts whose lengths are powers of two.
pub(super) fn parts<T>(all: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = all;
    std::iter::from_fn(move || {
        let length = rest.len().min(MOST);
        let length = if length == 0 { return None } else { 1 << length.ilog2() };
        let (part, more) = rest.split_at(length);
        rest = more;
        Some(part)
    })
}

/// `INSERT INTO table (columns) VALUES ($1, …), …` followed by `after`, for `rows` rows of `columns` values; the values are bound row by
/// row.
pub(super) fn insert(table: &'static str, columns: usize, rows: usize, after: &'static str) -> Statement<'static> {
    sqlx::query(AssertSqlSafe(format!("INSERT INTO {table} VALUES {}{after}", tuples(1, columns, rows))))
}

/// `select`, which must end with `IN`, followed by a list of `rows` tuples of `columns` values each.
pub(super) fn among(select: &'static str, columns: usize, rows: usize) -> Statement<'static> {
    sqlx::query(AssertSqlSafe(format!("{select} (VALUES {})", tuples(1, columns, rows))))
}

/// `select`, which must end with `FROM`, followed by the table `asked` with `rows` rows and the only column `column1`. Their values have
/// the numbers from `first` on, after those of `select` itself.
pub(super) fn each(select: &'static str, first: usize, rows: usize) -> Statement<'static> {
    sqlx::query(AssertSqlSafe(format!("{select} (VALUES {}) AS asked", tuples(first, 1, rows))))
}

/// `values`, with the last one repeated until their number is a power of two: for [`among`] and [`each`], where a repeated value changes
/// nothing.
pub(super) fn padded<T: Copy>(values: &[T]) -> Vec<T> {
    let mut padded = values.to_vec();
    if let Some(last) = values.last() {
        padded.resize(values.len().next_power_of_two(), *last);
    }
    padded
}

fn tuples(first: usize, columns: usize, rows: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 5);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let _ = write!(text, "{}${}", if column == 0 { "" } else { ", " }, first + row * columns + column);
        }
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn parts_are_powers_of_two_and_keep_the_order() {
        let all: Vec<usize> = (0..77).collect();
        let lengths: Vec<usize> = super::parts(&all).map(<[usize]>::len).collect();
        assert_eq!(lengths, [32, 32, 8, 4, 1]);
        assert_eq!(super::parts(&all).flatten().copied().collect::<Vec<_>>(), all);
        assert_eq!(super::parts::<u8>(&[]).count(), 0);
        assert_eq!(super::tuples(1, 2, 2), "($1, $2), ($3, $4)");
        assert_eq!(super::tuples(2, 1, 2), "($2), ($3)");
        assert_eq!(super::padded(&[1, 2, 3]), [1, 2, 3, 3]);
    }
}
