//! What looks have seen, as a line of `tagalong status`.

use std::fmt::Write as _;

use crate::api;
use crate::cli::output::duration;
use crate::clock;

/// How many of the last looks are drawn.
const DRAWN: usize = 24;
/// The heights of a look whose page answered.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last looks in a line; none: there was no look. Where it is not `drawn`, numbers say it alone.
pub(crate) fn line(looks: &api::Looks, drawn: bool) -> Option<String> {
    let last = looks.looks.last()?;
    let of_a_day: Vec<&api::Look> = looks.looks.iter().filter(|look| look.at_ms > last.at_ms - 24 * 3_600_000).collect();
    let latencies = || of_a_day.iter().filter_map(|look| look.latency_ms);
    let bad = of_a_day.iter().filter(|look| look.bad > 0).count();
    let blind = of_a_day.iter().filter(|look| look.blind > 0).count();
    let mut text = if drawn { format!("{} ", sparkline(&looks.looks)) } else { String::new() };
    if let (Some(least), Some(most), Some(now)) = (latencies().min(), latencies().max(), latencies().next_back()) {
        let _ = write!(text, "answered in {now} ms ({least} to {most} ms in 24 h), ");
    }
    let ago = duration(clock::now_ms() - last.at_ms);
    let _ = write!(text, "{bad} of {} looks bad", of_a_day.len());
    if blind > 0 {
        let _ = write!(text, ", {blind} saw nothing");
    }
    Some(format!("{text}; the last one {ago} ago"))
}

/// A bar for each look by how long the page took, × where it was bad, and · where nothing was seen or asked.
fn sparkline(looks: &[api::Look]) -> String {
    let looks = &looks[looks.len().saturating_sub(DRAWN)..];
    let most = looks.iter().filter_map(|look| look.latency_ms).max().unwrap_or(0).max(1);
    let bar = |look: &api::Look| match look.latency_ms {
        _ if look.bad > 0 => '×',
        Some(latency_ms) => BARS[usize::try_from(latency_ms * 7 / most).unwrap_or(0).min(7)],
        None => '·',
    };
    looks.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::api::Look;
    use crate::api::Looks;

    fn look(at_ms: i64, latency_ms: Option<i64>, bad: i64) -> Look {
        Look {
            at_ms,
            looks: 1,
            bad,
            blind: i64::from(latency_ms.is_none()),
            latency_ms,
            slowest_ms: latency_ms,
            status: None,
            rules: Vec::new(),
        }
    }

    #[test]
    fn the_last_looks_are_one_line_and_numbers_alone_where_nothing_can_be_drawn() {
        let looks = vec![look(1, Some(10), 0), look(2, Some(80), 0), look(3, None, 0), look(4, Some(40), 1)];
        let looks = Looks { looks, hours: Vec::new() };
        let drawn = line(&looks, true).unwrap();
        assert!(
            drawn.starts_with("▁█·× answered in 40 ms (10 to 80 ms in 24 h), 1 of 4 looks bad, 1 saw nothing; the last one "),
            "{drawn}"
        );
        assert!(line(&looks, false).unwrap().starts_with("answered in 40 ms"));
        assert_eq!(line(&Looks { looks: Vec::new(), hours: Vec::new() }, true), None);
    }
}
