//! A disk as a bar of characters, to scale.

use super::sharing::{Claim, share};
use crate::units::u64_from;
use std::iter::repeat_n;

/// One stretch of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    /// What it may be called, longest first; what has room is shown. The last one always is.
    pub(super) names: Vec<String>,
    /// Its size.
    pub(super) bytes: u64,
    /// True where no partition lies.
    pub(super) free: bool,
}

impl Cell {
    /// Leaves the marks behind the number out of the shortest name.
    pub(super) fn shorten(&mut self) {
        if let Some(name) = self.names.last_mut() {
            let number = name.chars().take_while(char::is_ascii_digit).count();
            name.truncate(if number > 0 { number } else { name.len() });
        }
    }
}

/// Draws cells next to each other in at most `columns` characters; `None` where they are too many.
///
/// Every cell is as wide as its shortest name at least, so that a partition of 16 MiB is seen on a disk of
/// 16 TiB; beyond that widths are in proportion to sizes.
pub(super) fn bar(cells: &[Cell], columns: u64) -> Option<[String; 3]> {
    let shortest = |cell: &Cell| cell.names.last().map_or(1, |name| u64_from(name.chars().count()).max(1));
    let claims: Vec<Claim> = (0..)
        .zip(cells)
        .map(|(key, cell)| Claim { key, weight: cell.bytes, minimum: shortest(cell) })
        .collect();
    let borders = u64_from(cells.len()).saturating_add(1);
    let least: u64 = claims.iter().fold(0, |sum, claim| sum.saturating_add(claim.minimum));
    let widths = share(columns.checked_sub(borders)?.max(least), &claims)?;
    if widths.iter().fold(borders, |sum, width| sum.saturating_add(*width)) > columns {
        return None;
    }
    let mut edge = String::from("+");
    let mut middle = String::from("|");
    for (cell, width) in cells.iter().zip(widths) {
        let width = usize::try_from(width).ok()?;
        let name = cell.names.iter().find(|name| name.chars().count() <= width).cloned().unwrap_or_default();
        let fill = if cell.free { '.' } else { ' ' };
        middle.push_str(&name);
        middle.extend(repeat_n(fill, width.saturating_sub(name.chars().count())));
        middle.push('|');
        edge.extend(repeat_n('-', width));
        edge.push('+');
    }
    Some([edge.clone(), middle, edge])
}

/// Draws more cells than one bar has room for in as many bars as it takes, each as full as can be.
pub(super) fn bars(cells: &[Cell], columns: u64) -> Vec<[String; 3]> {
    let mut bars = Vec::new();
    let mut rest = cells;
    while !rest.is_empty() {
        let fits = |count: &usize| rest.get(..*count).and_then(|cells| bar(cells, columns));
        let Some((count, drawn)) = (1..=rest.len()).map_while(|count| Some((count, fits(&count)?))).last()
        else {
            break;
        };
        bars.push(drawn);
        rest = rest.get(count..).unwrap_or_default();
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(names: &[&str], bytes: u64, free: bool) -> Cell {
        Cell { names: names.iter().map(|name| (*name).to_owned()).collect(), bytes, free }
    }

    #[test]
    fn widths_follow_sizes_and_nothing_is_too_small_to_see() {
        let cells =
            [cell(&["1 ESP", "1"], 1, false), cell(&["2 ext4", "2"], 60, false), cell(&["."], 40, true)];
        let expected = [
            "+-+---------------+----------+",
            "|1|2 ext4         |..........|",
            "+-+---------------+----------+",
        ];
        assert_eq!(bar(&cells, 30).unwrap(), expected);
    }

    #[test]
    fn too_many_cells_are_not_drawn() {
        let cells = vec![cell(&["1"], 1, false); 40];
        assert_eq!(bar(&cells, 80), None);
        assert_eq!(bar(&[], 80), None);
    }

    #[test]
    fn what_one_bar_has_no_room_for_goes_into_several() {
        let cells: Vec<Cell> = (1..=20).map(|n: u64| cell(&[&n.to_string()], n, false)).collect();
        let lines: Vec<String> = bars(&cells, 30).into_iter().map(|[_, middle, _]| middle).collect();
        let names =
            lines.iter().flat_map(|line| line.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()));
        assert_eq!(names.collect::<Vec<_>>(), (1..=20).map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(lines.len() == 2 && lines.iter().all(|line| line.chars().count() <= 30), "{lines:?}");
    }
}
