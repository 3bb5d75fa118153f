//! The commits that the loaded commit contains, in memory, so that the pre-check need not walk a long history.

use crate::model::Commit;
use crate::model::CommitName;

/// For longer histories git is asked each time.
const MOST: usize = 400_000;

/// A commit and everything that it contains, which never changes.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) of: Commit,
    /// Object names as bytes, padded with zeros, in order.
    names: Vec<[u8; 32]>,
}

impl Known {
    /// What `of` contains, from the lines of `rev-list`; with `before`, the lines are the commits added since.
    pub(super) fn new(of: &Commit, lines: &str, before: Option<Self>) -> Option<Self> {
        let mut names = before.map(|before| before.names).unwrap_or_default();
        names.extend(lines.lines().map(|line| packed(line, '0')));
        names.sort_unstable();
        names.dedup();
        names.shrink_to_fit();
        (names.len() <= MOST).then(|| Self { of: of.clone(), names })
    }

    /// Whether a commit of that name, or whose name begins like this, is contained.
    pub(super) fn contains(&self, wanted: &CommitName) -> bool {
        let from = packed(wanted.as_str(), '0');
        let to = packed(wanted.as_str(), 'f');
        let whole = self.of.as_str().len() == wanted.as_str().len();
        let at = self.names.partition_point(|name| *name < from);
        self.names.get(at).is_some_and(|name| if whole { *name == from } else { *name <= to })
    }
}

/// Hex digits as bytes, padded with `fill`.
fn packed(hex: &str, fill: char) -> [u8; 32] {
    let mut bytes = [0; 32];
    let digits = hex.chars().chain(std::iter::repeat(fill)).map(|digit| digit.to_digit(16).unwrap_or(0) as u8);
    for (at, digit) in digits.take(64).enumerate() {
        bytes[at / 2] |= if at % 2 == 0 { digit << 4 } else { digit };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::Known;
    use crate::model::Commit;
    use crate::model::CommitName;

    #[test]
    fn whole_names_and_beginnings_are_found() {
        let names = ["0a", "7f", "ff"].map(|two| two.repeat(20));
        let of = Commit::parse(&names[2]).expect("a commit");
        let known = Known::new(&of, &names[1..].join("\n"), None);
        let known = Known::new(&of, &names[0], known).expect("not too many");
        let has = |text: &str| known.contains(&CommitName::parse(text).expect("a name"));
        for name in &names {
            assert!(has(name) && has(&name[..4]) && has(&name[..5]) && has(&name[..39]), "{name}");
        }
        for other in ["0b0a", "0a0b", "7e7e", "fffe", &"0".repeat(40), &"0a".repeat(21), &"7f".repeat(32)] {
            assert!(!has(other), "{other}");
        }
    }
}
