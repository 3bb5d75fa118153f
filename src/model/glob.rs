//! Patterns of branches, tags and paths.

/// A pattern in which `*` stands for any characters but `/`, `**` for any at all, and `?` for one that is no `/`. Everything else
/// stands for itself, and the whole text must match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// Takes `given` as a pattern.
    ///
    /// # Errors
    /// When it is empty, or uses what other patterns have and this one has not.
    pub fn parse(given: &str) -> Result<Self, String> {
        let quoted = given.escape_default();
        match given {
            "" => Err("an empty pattern matches nothing; write ** for everything.".to_owned()),
            _ if given.starts_with('!') => Err(format!("\"{quoted}\" begins with !, but a pattern cannot be turned round here.")),
            _ if given.contains(['[', ']', '{', '}', '\\']) => {
                Err(format!("\"{quoted}\" is not a pattern: it may have *, ** and ?, but no brackets, braces or backslashes."))
            }
            _ => Ok(Self(given.to_owned())),
        }
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` as a whole is meant.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        // The places of the pattern that the text read so far can stand at: no way back, so no pattern is slow.
        let pattern: Vec<char> = self.0.chars().collect();
        let mut at = vec![false; pattern.len() + 1];
        at[0] = true;
        pass_stars(&pattern, &mut at);
        for c in text.chars() {
            let mut next = vec![false; pattern.len() + 1];
            for (place, wanted) in pattern.iter().enumerate().filter(|(place, _)| at[*place]) {
                match wanted {
                    '*' if c != '/' || is_double(&pattern, place) => next[place] = true,
                    '?' if c != '/' => next[place + 1] = true,
                    wanted if *wanted == c && !matches!(c, '*' | '?') => next[place + 1] = true,
                    _ => {}
                }
            }
            pass_stars(&pattern, &mut next);
            at = next;
        }
        at[pattern.len()]
    }
}

/// A star may stand for nothing; `**/` may as well.
fn pass_stars(pattern: &[char], at: &mut [bool]) {
    for place in 0..pattern.len() {
        if at[place] && pattern[place] == '*' {
            at[place + 1] = true;
            let is_first = place == 0 || pattern[place - 1] == '/';
            if is_first && pattern[place..].starts_with(&['*', '*', '/']) {
                at[place + 3] = true;
            }
        }
    }
}

fn is_double(pattern: &[char], place: usize) -> bool {
    pattern.get(place + 1) == Some(&'*') || (place > 0 && pattern[place - 1] == '*')
}

impl std::fmt::Display for Glob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn a_star_stays_in_its_part_and_two_do_not() {
        for (pattern, yes, no) in [
            ("main", vec!["main"], vec!["", "main2", "amain", "Main", "main/x"]),
            ("release/*", vec!["release/1", "release/"], vec!["release", "release/1/2", "xrelease/1"]),
            ("release/**", vec!["release/1", "release/1/2"], vec!["release"]),
            ("**", vec!["", "a", "a/b/c"], vec![]),
            ("*", vec!["", "a"], vec!["a/b"]),
            ("v?.*", vec!["v1.", "v1.2"], vec!["v.2", "v12", "v/.2"]),
            ("docs/**/*.md", vec!["docs/a.md", "docs/a/b/c.md"], vec!["docs/a.txt", "a.md", "docsa.md"]),
            ("**/*.md", vec!["a.md", "a/b.md"], vec!["a.mdx"]),
            ("src/**", vec!["src/", "src/a/b"], vec!["src", "lib/src/a"]),
            ("ä*é", vec!["äé", "äxé"], vec!["ä"]),
        ] {
            let glob = Glob::parse(pattern).expect("a pattern");
            assert!(yes.iter().all(|text| glob.matches(text)), "{pattern} {yes:?}");
            assert!(!no.iter().any(|text| glob.matches(text)), "{pattern} {no:?}");
        }
        for bad in ["", "!main", "v[0-9]", "{a,b}", "a\\*"] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_pattern_is_slow() {
        let glob = Glob::parse(&"*a".repeat(50)).expect("a pattern");
        assert!(!glob.matches(&"a".repeat(10_000).replace('b', "c").replace("aaaaaaaaaa", "aaaaaaaab")));
    }
}
