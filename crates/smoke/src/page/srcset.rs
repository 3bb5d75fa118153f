//! `srcset`, by the algorithm of the HTML Standard
//! ([parsing a srcset attribute](https://html.spec.whatwg.org/multipage/images.html#parsing-a-srcset-attribute)).

/// One candidate.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    /// Its address.
    pub(super) url: String,
    /// Whether it stands for the density 1, or gives a width: then `src` is not a candidate.
    pub(super) replaces_src: bool,
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

/// The candidates with valid descriptors.
pub(super) fn parse(input: &str) -> Vec<Candidate> {
    let mut found = Vec::new();
    let mut rest = input;
    loop {
        rest = rest.trim_start_matches(|c| is_space(c) || c == ',');
        if rest.is_empty() {
            return found;
        }
        let end = rest.find(is_space).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let url = word.trim_end_matches(',');
        let (descriptors, after) = if url.len() < word.len() { (Vec::new(), after) } else { descriptors(after) };
        rest = after;
        if let Some(replaces_src) = judge(&descriptors) {
            found.push(Candidate { url: url.to_owned(), replaces_src });
        }
    }
}

/// The descriptors up to the next comma outside parentheses, and what follows it.
fn descriptors(text: &str) -> (Vec<&str>, &str) {
    let mut found = Vec::new();
    let mut start = None;
    let mut inside = false;
    for (at, c) in text.char_indices() {
        match c {
            '(' => inside = true,
            ')' if inside => inside = false,
            ',' if !inside => {
                found.extend(start.map(|start: usize| &text[start..at]));
                return (found, &text[at + 1..]);
            }
            c if is_space(c) && !inside => {
                found.extend(start.take().map(|start: usize| &text[start..at]));
                continue;
            }
            _ => {}
        }
        start = start.or(Some(at));
    }
    found.extend(start.map(|start| &text[start..]));
    (found, "")
}

/// Whether the candidate is valid (none: it is not) and stands for what `src` would.
fn judge(descriptors: &[&str]) -> Option<bool> {
    let mut width = false;
    let mut density = None;
    let mut height = false;
    for descriptor in descriptors {
        let mut chars = descriptor.chars();
        let unit = chars.next_back()?;
        let number = chars.as_str();
        match unit {
            'w' if !width && density.is_none() => width = positive_integer(number)?,
            'x' if !width && density.is_none() && !height => density = Some(valid_float(number).filter(|n| *n >= 0.0)?),
            'h' if !height && density.is_none() => height = positive_integer(number)?,
            _ => return None,
        }
    }
    if height && !width {
        return None;
    }
    Some(width || density.is_none_or(|density| (density - 1.0).abs() < f64::EPSILON))
}

fn positive_integer(text: &str) -> Option<bool> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (digits && text.bytes().any(|b| b != b'0')).then_some(true)
}

/// A [valid floating-point number](https://html.spec.whatwg.org/multipage/common-microsyntaxes.html#floating-point-numbers).
fn valid_float(text: &str) -> Option<f64> {
    let allowed = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    if !allowed || text.starts_with('+') || text.ends_with('.') || text.contains(".e") || text.contains(".E") {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn candidates_are_those_of_the_standard() {
        let table: [(&str, &[&str]); 24] = [
            ("", &[]),
            (",", &[]),
            ("a", &["a"]),
            ("a,", &["a"]),
            (",,,a", &["a"]),
            ("a, b", &["a", "b"]),
            ("a,b", &["a,b"]),
            ("a,,b c", &[]),
            ("a 1x, b 2x", &["a", "b"]),
            ("a 1x,b 2x", &["a", "b"]),
            ("a,, b", &["a", "b"]),
            ("data:,a 1w", &["data:,a"]),
            ("data:,a ( , data:,b 1x, ), data:,c", &["data:,c"]),
            ("a 1w 1w", &[]),
            ("a 1x 1w", &[]),
            ("a 1w 1h", &["a"]),
            ("a 1h", &[]),
            ("a 0w", &[]),
            ("a -1x", &[]),
            ("a +1x", &[]),
            ("a .5x", &["a"]),
            ("a 1.x", &[]),
            ("a 1e0x", &["a"]),
            ("a 1q, b", &["b"]),
        ];
        for (input, wanted) in table {
            let seen: Vec<_> = parse(input).into_iter().map(|candidate| candidate.url).collect();
            assert_eq!(seen, wanted, "{input}");
        }
    }

    #[test]
    fn a_width_or_the_density_one_replaces_src() {
        for (input, replaces) in [("a", true), ("a 1x", true), ("a 1.0x", true), ("a 2x", false), ("a 300w", true)] {
            assert_eq!(parse(input)[0].replaces_src, replaces, "{input}");
        }
    }
}
