//! Tables: as many columns as fit, the least important left out first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{HighlightSpacing, Row, StatefulWidget as _, Table, TableState};
use unicode_width::UnicodeWidthStr as _;

use super::theme::{Theme, Tone};
use super::words::{cut, cut_path};

/// A column of rows.
pub struct Column<'a, R> {
    title: String,
    /// How wide it is; of a path, the least.
    width: u16,
    kind: ColumnKind,
    /// How early it is left out: the highest first. Rank zero never.
    rank: u8,
    cell: Box<dyn Fn(&R) -> String + 'a>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum ColumnKind {
    Words,
    /// To the right.
    Number,
    /// It takes what it wants of what is left, and is cut in the middle. One column at
    /// most.
    Path,
}

impl<'a, R> Column<'a, R> {
    pub fn new(
        kind: ColumnKind,
        title: &str,
        (width, rank): (u16, u8),
        cell: impl Fn(&R) -> String + 'a,
    ) -> Self {
        Self {
            title: title.to_owned(),
            width,
            kind,
            rank,
            cell: Box::new(cell),
        }
    }

    fn show(&self, text: &str, look: Theme) -> Line<'static> {
        let width = self.width.into();
        match self.kind {
            ColumnKind::Words => Line::from(cut(text, width, look)),
            ColumnKind::Number => Line::from(cut(text, width, look)).right_aligned(),
            ColumnKind::Path => Line::from(cut_path(text, width, look)),
        }
    }
}

/// Those that fit. The first column of the screen is for the mark of the selected row.
fn fitting<'a, R>(
    columns: Vec<Column<'a, R>>,
    rows: &[R],
    width: u16,
    look: Theme,
) -> Vec<Column<'a, R>> {
    let mut columns: Vec<_> = columns.into_iter().enumerate().collect();
    columns.sort_by_key(|(_, column)| column.rank);
    let mut room = width;
    columns.retain_mut(|(_, column)| {
        if column.rank == 0 {
            column.width = column.width.min(room.saturating_sub(1));
        }
        let fits = column.width < room;
        if fits {
            room -= column.width + 1;
        }
        fits
    });
    columns.sort_by_key(|(at, _)| *at);
    let mut columns: Vec<_> = columns.into_iter().map(|(_, column)| column).collect();
    for column in columns
        .iter_mut()
        .filter(|one| one.kind == ColumnKind::Path)
    {
        let most = column.width + room;
        let cells = rows.iter().map(|row| (column.cell)(row));
        let longest = cells
            .map(|cell| cut(&cell, most.into(), look).width())
            .max();
        let wants = longest.and_then(|longest| longest.try_into().ok());
        column.width = wants.unwrap_or(0).clamp(column.width, most);
    }
    columns
}

/// Draws the titles, and as many rows as there are lines.
pub fn draw<R>(
    columns: Vec<Column<'_, R>>,
    rows: &[R],
    tone: impl Fn(&R) -> Tone,
    selected: Option<usize>,
    look: Theme,
    (area, buffer): (Rect, &mut Buffer),
) {
    let seen = rows.len().min(area.height.saturating_sub(1).into());
    let rows = rows.get(..seen).unwrap_or_default();
    let columns = fitting(columns, rows, area.width, look);
    let shown = rows.iter().map(|row| {
        let cells = columns.iter().map(|one| one.show(&(one.cell)(row), look));
        Row::new(cells.collect::<Vec<_>>()).style(look.style(tone(row)))
    });
    let titles = columns.iter().map(|one| one.show(&one.title, look));
    let titles = Row::new(titles.collect::<Vec<_>>());
    let table = Table::new(shown, columns.iter().map(|one| one.width))
        .header(titles.style(look.style(Tone::Heading)))
        .highlight_symbol(">")
        .highlight_spacing(HighlightSpacing::Always)
        .row_highlight_style(look.style(Tone::Selected));
    let selected = selected.filter(|at| *at < rows.len());
    let mut state = TableState::new().with_selected(selected);
    table.render(area, buffer, &mut state);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::plain::dump;

    const LOOK: Theme = Theme {
        colour: false,
        unicode: true,
    };

    fn rows(width: u16) -> Vec<String> {
        let cell = |at: usize| move |row: &[&str; 3]| row[at].to_owned();
        let columns = vec![
            Column::new(ColumnKind::Words, "NAME", (6, 0), cell(0)),
            Column::new(ColumnKind::Number, "AGE", (5, 1), cell(1)),
            Column::new(ColumnKind::Path, "WHERE", (4, 2), cell(2)),
        ];
        let row = ["nfsd", "1.5 s", "/mnt/a (0:29)"];
        let area = Rect::new(0, 0, width, 2);
        let mut buffer = Buffer::empty(area);
        let to = (area, &mut buffer);
        draw(columns, &[row], |_| Tone::Plain, Some(0), LOOK, to);
        dump(&buffer, false).lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_path_takes_what_is_left_and_its_end_stays() {
        assert_eq!(
            rows(27),
            [" NAME     AGE WHERE", ">nfsd   1.5 s /mnt/a (0:29)"]
        );
        assert_eq!(rows(24)[1], ">nfsd   1.5 s /mn…(0:29)");
    }

    #[test]
    fn what_matters_least_is_left_out_first_and_the_first_column_never() {
        assert_eq!(rows(14), [" NAME     AGE", ">nfsd   1.5 s"]);
        assert_eq!(rows(8), [" NAME", ">nfsd"]);
        assert_eq!(rows(4), [" NA…", ">nf…"]);
        for width in 1..3 {
            assert!(rows(width).iter().all(|row| row.chars().count() <= 2));
        }
    }
}
