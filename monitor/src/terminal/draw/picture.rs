//! The cycle at a glance, with the numbers of this tick.
//!
//! ```text
//!        Writers: 4 waiting, for 15.5 s, 44.0 MB to write
//!  ^  -> /mnt (0:26): 44.0 MB held, 41 WRITEs open, 0 B/s acknowledged
//!  '= -> nfsd: 8 of 8 stuck, 1 throttled, 7 blocked, for 15.2 s, 100 % waiting
//!     -> /export (254:0): 1.2 MB held, ext4 /dev/vda
//!  '= Closed: nfsd waits for pages of /mnt (0:26); only nfsd can clean them
//! ```

use monitor_model::evidence::Station;
use ratatui::text::Line;

use crate::publish::node::LoopNow;
use crate::terminal::theme::{Theme, Tone};
use crate::terminal::words::{cut, within};

/// What stands before who waits for another, before that one, and elsewhere.
const WAITS: &str = " '= ";
const AWAITED: &str = " ^  ";
const NEITHER: &str = "    ";
/// Where data flows, or should.
const FLOWS: &str = "-> ";
/// Lines of the last sentence.
const MOST: usize = 2;

/// Who waits for whom.
pub fn picture(one: &LoopNow, width: usize, look: Theme) -> Vec<Line<'static>> {
    let (picture, tone) = (&one.picture, tone(one));
    let room = width.saturating_sub(NEITHER.len());
    let mut arrows = picture.arrows.iter();
    let waits = arrows.find(|arrow| arrow.waits && arrow.holds != Some(false));
    let row = |(at, station): (usize, &Station)| {
        let mark = match waits {
            Some(arrow) if arrow.from == at => WAITS,
            Some(arrow) if arrow.to == at => AWAITED,
            _ => NEITHER,
        };
        let device = station.bdi.iter().map(|bdi| format!(" ({bdi})"));
        let device: String = device.collect();
        let flows = picture
            .arrows
            .iter()
            .find(|one| one.from == at && !one.waits);
        let flows = flows.map(|one| format!("{} {}", one.value, one.unit));
        let words: Vec<String> = station.lines.iter().cloned().chain(flows).collect();
        let flow = if at == 0 { "   " } else { FLOWS };
        let text = format!("{flow}{}{device}: {}", station.name, words.join(", "));
        Line::from(vec![look.say(tone, mark), cut(&text, room, look).into()])
    };
    let mut all: Vec<Line<'_>> = picture
        .stations
        .iter()
        .enumerate()
        .take(4)
        .map(row)
        .collect();
    let closing = within(&picture.closing, room, MOST, look);
    let mut mark = WAITS;
    for line in closing {
        all.push(Line::from(look.say(tone, format!("{mark}{line}"))));
        mark = NEITHER;
    }
    all
}

fn tone(one: &LoopNow) -> Tone {
    let closed = one.verdict.conditions.closing_edge.holds == Some(true);
    match (one.is_stuck(), closed) {
        (true, true) => Tone::Bad,
        (true, false) => Tone::Warn,
        (false, _) => Tone::Dim,
    }
}
