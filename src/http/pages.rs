//! The lines of one deployment as they are sent: encoded once and shared by all followers. The memory for all deployments is limited; lines
//! that are no longer in memory are read from the store again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use actix_web::web::Bytes;

use crate::clock;
use crate::model::Line;
use crate::model::LineKind;

/// How many positions a page has.
const PAGE: i64 = 64;
/// How much of a page is sent at once. The buffer of each follower's connection has this size.
const PIECE_BYTES: usize = 12 << 10;
/// How much is kept in memory for all deployments together, besides one page of each.
const KEPT_BYTES: usize = 8 << 20;
/// About how much memory a line needs besides its text.
const LINE_BYTES: usize = 24;

/// How lines are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One line of text each.
    Text,
    /// Server-sent events.
    Events,
    /// One JSON object a line, as a `WebSocket` carries them.
    Objects,
}

impl Form {
    /// The end, after the last line: the outcome as a JSON object. None if there is nothing to say, or no place for it.
    pub(super) fn end(self, outcome: &str) -> Option<Bytes> {
        match self {
            Self::Text => None,
            _ if outcome.is_empty() => None,
            Self::Events => Some(Bytes::from(format!("event: outcome\ndata: {outcome}\n\n"))),
            Self::Objects => Some(Bytes::from(format!("{outcome}\n"))),
        }
    }

    /// What shows that a stream lives when no line has been sent for a while. Readers skip it.
    pub(super) fn alive(self) -> Option<Bytes> {
        match self {
            Self::Text => None,
            Self::Events => Some(Bytes::from_static(b": still here\n\n")),
            Self::Objects => Some(Bytes::from_static(b"\n")),
        }
    }
}

/// Some lines as they are sent, and the position up to which the reader then has everything.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    pub(super) through: i64,
}

/// Pages of one deployment.
#[derive(Debug)]
pub(super) struct Pages {
    by_number: BTreeMap<i64, Page>,
    /// Counts accesses, to find the page that nobody has used for longest.
    looks: u64,
    /// The bytes of these pages.
    mine: usize,
    /// The bytes of all deployments' pages.
    of_all: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Page {
    /// No line up to this position is missing.
    through: i64,
    positions: Vec<i64>,
    text: Sheet,
    events: Sheet,
    objects: Sheet,
    looked_at: u64,
}

/// The lines of a page in one form, and where each ends.
#[derive(Debug)]
struct Sheet {
    bytes: Bytes,
    ends: Vec<usize>,
}

/// The number of the page with the line after `position`.
pub(super) fn number_behind(position: i64) -> i64 {
    position / PAGE
}

/// The position before the first of page `number`.
pub(super) fn before(number: i64) -> i64 {
    number * PAGE
}

impl Pages {
    pub(super) fn new(of_all: Arc<AtomicUsize>) -> Self {
        Self { by_number: BTreeMap::new(), looks: 0, mine: 0, of_all }
    }

    /// The lines after `after`, if they are in memory.
    pub(super) fn piece(&mut self, after: i64, form: Form) -> Option<Piece> {
        self.looks += 1;
        let page = self.by_number.get_mut(&number_behind(after)).filter(|page| page.through > after)?;
        page.looked_at = self.looks;
        Some(page.piece(after, form))
    }

    /// Stores `lines`, which begin with page `number` and have no gap.
    pub(super) fn keep(&mut self, number: i64, lines: &[Line]) {
        let Some(last) = lines.last().map(|line| line.position) else { return };
        let mut rest = lines;
        for number in number..=number_behind(last - 1) {
            let end = before(number + 1);
            let (here, behind) = rest.split_at(rest.partition_point(|line| line.position <= end));
            rest = behind;
            self.put(number, Page::of(here, last.min(end), self.looks));
        }
        self.make_room();
    }

    fn put(&mut self, number: i64, page: Page) {
        // Lines that were read earlier may arrive here later.
        if self.by_number.get(&number).is_some_and(|there| there.through >= page.through) {
            return;
        }
        self.count(page.bytes(), 0);
        if let Some(old) = self.by_number.insert(number, page) {
            self.count(0, old.bytes());
        }
    }

    fn make_room(&mut self) {
        while self.by_number.len() > 1 && self.of_all.load(Ordering::Relaxed) > KEPT_BYTES {
            let oldest = self.by_number.iter().min_by_key(|(_, page)| page.looked_at).map(|(number, _)| *number);
            let Some(old) = oldest.and_then(|number| self.by_number.remove(&number)) else { return };
            self.count(0, old.bytes());
        }
    }

    fn count(&mut self, more: usize, less: usize) {
        self.mine = self.mine + more - less;
        self.of_all.fetch_add(more, Ordering::Relaxed);
        self.of_all.fetch_sub(less, Ordering::Relaxed);
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.mine, Ordering::Relaxed);
    }
}

impl Page {
    fn of(lines: &[Line], through: i64, looked_at: u64) -> Self {
        let positions = lines.iter().map(|line| line.position).collect();
        let objects: Vec<String> = lines.iter().map(|line| serde_json::to_string(line).unwrap_or_default()).collect();
        Self {
            through,
            positions,
            text: Sheet::of(lines.iter().map(text)),
            events: Sheet::of(lines.iter().zip(&objects).map(|(line, object)| event(line.position, object))),
            objects: Sheet::of(objects.iter().map(|object| format!("{object}\n"))),
            looked_at,
        }
    }

    fn bytes(&self) -> usize {
        let sheets = self.text.bytes.len() + self.events.bytes.len() + self.objects.bytes.len();
        sheets + LINE_BYTES * (self.positions.len() + 8)
    }

    fn piece(&self, after: i64, form: Form) -> Piece {
        let sheet = match form {
            Form::Text => &self.text,
            Form::Events => &self.events,
            Form::Objects => &self.objects,
        };
        let first = self.positions.partition_point(|position| *position <= after);
        let from = first.checked_sub(1).map_or(0, |before| sheet.ends[before]);
        let many = sheet.ends[first..].partition_point(|end| *end <= from + PIECE_BYTES).max(1);
        // The last piece of a page extends to the end of the page, even if there is no line at that position.
        match self.positions.get(first + many) {
            Some(_) => Piece { bytes: sheet.bytes.slice(from..sheet.ends[first + many - 1]), through: self.positions[first + many - 1] },
            None => Piece { bytes: sheet.bytes.slice(from..), through: self.through },
        }
    }
}

impl Sheet {
    fn of(lines: impl Iterator<Item = String>) -> Self {
        let mut all = String::new();
        let add = |line: String| {
            all += &line;
            all.len()
        };
        let ends = lines.map(add).collect();
        Self { bytes: Bytes::from(all.into_boxed_str().into_boxed_bytes()), ends }
    }
}

fn event(position: i64, object: &str) -> String {
    format!("id: {position}\nevent: line\ndata: {object}\n\n")
}

fn text(line: &Line) -> String {
    let mark = match line.kind {
        LineKind::Step => "==>",
        LineKind::Error => "!!!",
        LineKind::Warning => " ! ",
        LineKind::Note => "   ",
        LineKind::Output => "  |",
        LineKind::Outcome => "***",
    };
    format!("{} {:<11} {mark} {}\n", clock::utc(line.at_ms), line.step, line.text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    use super::Form;
    use super::KEPT_BYTES;
    use super::PIECE_BYTES;
    use super::Pages;
    use super::before;
    use super::number_behind;
    use crate::model::Line;
    use crate::model::LineKind;
    use crate::model::Step;

    fn lines(positions: impl IntoIterator<Item = i64>, length: usize) -> Vec<Line> {
        let line = |position| Line {
            position,
            run: 1,
            seq: position,
            at_ms: 1,
            step: Step::Pull.into(),
            kind: LineKind::Output,
            text: format!("{position:0length$}"),
        };
        positions.into_iter().map(line).collect()
    }

    /// Every line behind `after`, by its number.
    fn all(pages: &mut Pages, mut after: i64, form: Form) -> Vec<i64> {
        let mut text = String::new();
        while let Some(piece) = pages.piece(after, form) {
            assert!(piece.through > after, "it does not end");
            after = piece.through;
            text += std::str::from_utf8(&piece.bytes).unwrap();
        }
        match form {
            Form::Text => text.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect(),
            Form::Events => text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect(),
            Form::Objects => text.lines().map(|line| serde_json::from_str::<Line>(line).unwrap().position).collect(),
        }
    }

    #[test]
    fn every_line_is_given_once_from_wherever_one_goes_on() {
        let mut pages = Pages::new(Arc::default());
        // Some positions have no line, a whole page among them, and what comes later is read from the page's beginning again.
        let positions: Vec<i64> = (1..=300).filter(|position| position % 7 != 0 && !(128..200).contains(position)).collect();
        for upto in [10, 64, 65, 300] {
            let first = pages.by_number.last_key_value().map_or(0, |(number, page)| number_behind(page.through).max(*number));
            pages.keep(first, &lines(positions.iter().copied().filter(|p| *p > before(first) && *p <= upto), 3));
        }
        for after in [0, 1, 6, 7, 63, 64, 127, 150, 299, 300] {
            let wanted: Vec<i64> = positions.iter().copied().filter(|position| *position > after).collect();
            for form in [Form::Text, Form::Events, Form::Objects] {
                assert_eq!(all(&mut pages, after, form), wanted, "{form:?} after {after}");
            }
        }
        // What was read before, and comes after, takes nothing away.
        pages.keep(4, &lines(257..=258, 3));
        assert_eq!(all(&mut pages, 290, Form::Text), [291, 292, 293, 295, 296, 297, 298, 299, 300]);
    }

    #[test]
    fn long_lines_go_in_pieces_and_what_is_kept_is_bounded() {
        let of_all = Arc::new(AtomicUsize::new(0));
        let mut pages = Pages::new(Arc::clone(&of_all));
        for number in 0..40 {
            pages.keep(number, &lines(before(number) + 1..=before(number + 1), 4000));
            assert!(of_all.load(Ordering::Relaxed) <= KEPT_BYTES + (1 << 20));
        }
        assert!(pages.piece(0, Form::Text).is_none(), "the first are gone");
        let last = pages.piece(before(39), Form::Events).unwrap();
        assert!(last.bytes.len() <= PIECE_BYTES && last.through == before(39) + 2, "{}", last.through);
        assert_eq!(all(&mut pages, before(39), Form::Text).len(), 64);
        // Anybody who comes while all is taken has one page of its own.
        let mut other = Pages::new(Arc::clone(&of_all));
        other.keep(0, &lines(1..=128, 4000));
        assert_eq!(other.by_number.len(), 1);
        drop((pages, other));
        assert_eq!(of_all.load(Ordering::Relaxed), 0);
    }
}
