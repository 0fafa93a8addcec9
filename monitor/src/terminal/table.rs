//! Tables: as many columns as fit, the least important left out first.

use ratatui::text::{Line, Span};

use super::look::{Look, Tone};
use super::words::cell;

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// What stands over it.
    pub title: String,
    /// How wide it is; of the one that grows, the least.
    pub width: usize,
    /// Numbers stand to the right.
    pub right: bool,
    /// How early it is left out: the highest first. Rank zero never.
    pub rank: u8,
    /// It takes what is left. One at most.
    pub grows: bool,
}

impl Column {
    /// Words.
    pub fn words(title: &str, width: usize, rank: u8) -> Self {
        Self {
            title: title.to_owned(),
            width,
            right: false,
            rank,
            grows: false,
        }
    }

    /// Numbers.
    pub fn number(title: &str, width: usize, rank: u8) -> Self {
        Self {
            right: true,
            ..Self::words(title, width, rank)
        }
    }

    /// Words that take what is left.
    pub fn rest(title: &str, least: usize, rank: u8) -> Self {
        Self {
            grows: true,
            ..Self::words(title, least, rank)
        }
    }
}

/// A table of a width.
#[derive(Debug)]
pub struct Table {
    look: Look,
    /// Of each column: how wide; zero: left out.
    widths: Vec<usize>,
    columns: Vec<Column>,
}

impl Table {
    /// Chooses the columns. The first column of the screen is for the mark of the
    /// selected row.
    pub fn new(columns: Vec<Column>, width: usize, look: Look) -> Self {
        let mut order: Vec<usize> = (0..columns.len()).collect();
        order.sort_by_key(|&at| columns.get(at).map(|column| column.rank));
        let mut widths = vec![0; columns.len()];
        let mut room = width;
        for at in order {
            let (Some(column), Some(to)) = (columns.get(at), widths.get_mut(at)) else {
                continue;
            };
            let wants = if column.rank == 0 {
                column.width.min(room.saturating_sub(1))
            } else {
                column.width
            };
            if wants > 0 && wants < room {
                *to = wants;
                room -= wants + 1;
            }
        }
        let growing = columns.iter().zip(&mut widths);
        for (_, to) in growing.filter(|(column, to)| column.grows && **to > 0) {
            *to += room;
        }
        Self {
            look,
            widths,
            columns,
        }
    }

    /// The titles.
    pub fn heading(&self) -> Line<'static> {
        let titles = self.columns.iter().map(|column| column.title.clone());
        let text = self.text(&titles.collect::<Vec<_>>());
        Line::from(self.look.say(Tone::Heading, format!(" {text}")))
    }

    /// A row of as many cells as there are columns.
    pub fn row(&self, cells: &[String], tone: Tone, selected: bool) -> Line<'static> {
        let mark = if selected { ">" } else { " " };
        let text = self.text(cells);
        let tone = if selected { Tone::Selected } else { tone };
        Line::from(vec![Span::raw(mark), self.look.say(tone, text)])
    }

    fn text(&self, cells: &[String]) -> String {
        let shown = self.columns.iter().zip(&self.widths).zip(cells);
        let shown = shown.filter(|((_, width), _)| **width > 0);
        let cells: Vec<String> = shown
            .map(|((column, width), text)| cell(text, *width, column.right, self.look))
            .collect();
        cells.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::{Column, Look, Table, Tone};

    const LOOK: Look = Look {
        colour: false,
        unicode: true,
    };

    fn table(width: usize) -> Table {
        let columns = vec![
            Column::words("NAME", 6, 0),
            Column::number("AGE", 5, 1),
            Column::rest("WHERE", 4, 2),
        ];
        Table::new(columns, width, LOOK)
    }

    fn rows(width: usize) -> [String; 2] {
        let cells = ["nfsd", "1.5 s", "a container"].map(str::to_owned);
        let row = table(width).row(&cells, Tone::Plain, true);
        [table(width).heading(), row].map(|line| line.to_string())
    }

    #[test]
    fn the_last_column_takes_what_is_left() {
        assert_eq!(
            rows(26),
            [" NAME     AGE WHERE       ", ">nfsd   1.5 s a container "]
        );
    }

    #[test]
    fn what_matters_least_is_left_out_first_and_the_first_column_never() {
        assert_eq!(rows(14), [" NAME     AGE", ">nfsd   1.5 s"]);
        assert_eq!(rows(8), [" NAME  ", ">nfsd  "]);
        assert_eq!(rows(4), [" NA…", ">nf…"]);
        for width in 0..3 {
            assert!(rows(width).iter().all(|row| row.chars().count() <= 2));
        }
    }
}
