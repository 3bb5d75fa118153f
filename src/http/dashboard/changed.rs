//! What changed from one resolved configuration to another, line by line. Secrets are not in what is stored.

use std::collections::HashMap;

/// How many lines of a configuration are compared at most; what is longer is not shown line by line.
const MOST_LINES: usize = 4000;
/// How many lines around a change are shown.
const AROUND: usize = 2;

/// A line of the comparison: whether it came, went or stayed, by the name of its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// The lines that differ, each with a few around it; none: nothing differs, or there is too much to compare.
pub(super) fn lines(before: &str, after: &str) -> Vec<Line> {
    let old: Vec<&str> = before.lines().take(MOST_LINES + 1).collect();
    let new: Vec<&str> = after.lines().take(MOST_LINES + 1).collect();
    if old == new || old.len() > MOST_LINES || new.len() > MOST_LINES {
        return Vec::new();
    }
    let mut all = Vec::new();
    compare(&old, &new, &mut all);
    near_a_change(&all)
}

/// Compares by the lines that stand exactly once in both, in their longest common order, and what is between them again; so that it takes
/// no more than the lines there are, however different the two.
fn compare(old: &[&str], new: &[&str], all: &mut Vec<Line>) {
    let head = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(one, other)| one == other).count();
    let line = |class: &'static str| move |text: &&str| Line { class, text: (*text).to_owned() };
    all.extend(old[..head].iter().map(line("same")));
    let inner_old = &old[head..old.len() - tail];
    let inner_new = &new[head..new.len() - tail];
    if let Some((at_old, at_new)) = anchor(inner_old, inner_new) {
        compare(&inner_old[..at_old], &inner_new[..at_new], all);
        compare(&inner_old[at_old..], &inner_new[at_new..], all);
    } else {
        all.extend(inner_old.iter().map(line("del")));
        all.extend(inner_new.iter().map(line("add")));
    }
    all.extend(old[old.len() - tail..].iter().map(line("same")));
}

/// A line that stands exactly once in both, the one nearest to the middle of the old.
fn anchor(old: &[&str], new: &[&str]) -> Option<(usize, usize)> {
    let once = |lines: &[&str]| {
        let mut places: HashMap<String, Option<usize>> = HashMap::new();
        for (at, line) in lines.iter().enumerate() {
            places.entry((*line).to_owned()).and_modify(|place| *place = None).or_insert(Some(at));
        }
        places
    };
    let in_new = once(new);
    let middle = old.len() / 2;
    let candidates = once(old).into_iter().filter_map(|(line, at)| Some((at?, (*in_new.get(&line)?)?)));
    candidates.min_by_key(|(at, _)| (at.abs_diff(middle), *at))
}

fn near_a_change(all: &[Line]) -> Vec<Line> {
    let mut keep = vec![false; all.len()];
    for (at, _) in all.iter().enumerate().filter(|(_, line)| line.class != "same") {
        let end = (at + AROUND + 1).min(all.len());
        keep[at.saturating_sub(AROUND)..end].fill(true);
    }
    let mut shown = Vec::new();
    let mut is_in_gap = false;
    for (line, keep) in all.iter().zip(keep) {
        if keep {
            shown.push(line.clone());
        } else if !is_in_gap {
            shown.push(Line { class: "gap", text: "…".to_owned() });
        }
        is_in_gap = !keep;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::lines;

    fn told(before: &str, after: &str) -> Vec<String> {
        lines(before, after).into_iter().map(|line| format!("{} {}", line.class, line.text)).collect()
    }

    #[test]
    fn what_differs_is_shown_with_what_is_around_it() {
        let before = "name: web\nservices:\n  web:\n    image: a:1\n    ports:\n      - 80\n  db:\n    image: pg:15\n  x:\n    y: 1";
        let after = before.replace("a:1", "a:2").replace("    y: 1", "    y: 1\n    z: 2");
        let want = [
            "gap …",
            "same services:",
            "same   web:",
            "del     image: a:1",
            "add     image: a:2",
            "same     ports:",
            "same       - 80",
            "gap …",
            "same   x:",
            "same     y: 1",
            "add     z: 2",
        ];
        assert_eq!(told(before, &after), want);
        assert!(told(before, before).is_empty());
    }

    #[test]
    fn applying_what_is_shown_gives_the_other() {
        let words = ["a", "b", "c", "d"];
        for seed in 0..400_usize {
            let make = |seed: usize, length: usize| -> Vec<&str> { (0..length).map(|at| words[(seed >> at) % 7 % 4]).collect() };
            let before = make(seed, seed % 6).join("\n");
            let after = make(seed / 3, (seed / 5) % 6).join("\n");
            let mut all = Vec::new();
            let old: Vec<&str> = before.lines().collect();
            let new: Vec<&str> = after.lines().collect();
            super::compare(&old, &new, &mut all);
            let without = |class: &str| all.iter().filter(|line| line.class != class).map(|line| line.text.clone()).collect::<Vec<_>>();
            assert_eq!(
                (without("add"), without("del")),
                (old.iter().map(ToString::to_string).collect(), new.iter().map(ToString::to_string).collect())
            );
        }
    }

    #[test]
    fn very_much_is_not_compared() {
        let long = "x\n".repeat(5000);
        assert!(lines(&long, "y").is_empty());
    }
}
