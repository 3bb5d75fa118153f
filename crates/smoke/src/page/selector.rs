//! Whether a rule can match anything on the page as it stands.

use std::collections::HashSet;

use cssparser::Parser;
use cssparser::Token;

use crate::page::When;

/// The names on a page, in lower case (classes are compared without case in quirks mode).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Elements.
    pub(super) elements: HashSet<String>,
    /// Classes.
    pub(super) classes: HashSet<String>,
    /// Ids.
    pub(super) ids: HashSet<String>,
}

impl Names {
    /// Adds an element.
    pub(super) fn add_element(&mut self, element: &str) {
        insert(&mut self.elements, element);
    }

    /// Adds the class attribute and the id of an element.
    pub(super) fn add_attributes(&mut self, classes: Option<&str>, id: Option<&str>) {
        for class in classes.unwrap_or_default().split_ascii_whitespace() {
            insert(&mut self.classes, class);
        }
        if let Some(id) = id {
            insert(&mut self.ids, id);
        }
    }
}

/// Most elements repeat names that are there already: it is asked before a string is made.
fn insert(set: &mut HashSet<String>, name: &str) {
    if !set.contains(name) {
        set.insert(name.to_lowercase());
    }
}

/// Pseudo-classes that hold only when a visitor does something.
const STATES: [&str; 18] = [
    "active",
    "autofill",
    "checked",
    "focus",
    "focus-visible",
    "focus-within",
    "fullscreen",
    "hover",
    "indeterminate",
    "invalid",
    "modal",
    "open",
    "popover-open",
    "target",
    "user-invalid",
    "user-valid",
    "visited",
    "-webkit-autofill",
];

/// One of the selectors of a list, as far as it has been read.
struct Reading {
    present: bool,
    state: bool,
}

impl Reading {
    const NEW: Self = Self { present: true, state: false };

    fn when(&self) -> When {
        match (self.present, self.state) {
            (false, _) => When::Scripted,
            (true, true) => When::Later,
            (true, false) => When::Load,
        }
    }
}

/// When the first of these selectors matches. What is inside `:not()`, `:is()` and brackets is taken as true.
pub(super) fn when(parser: &mut Parser<'_>, names: &Names) -> When {
    let mut best = When::Scripted;
    let mut reading = Reading::NEW;
    let mut previous = Token::Comma;
    while let Ok(token) = parser.next_including_whitespace() {
        let token = token.clone();
        match (&previous, &token) {
            (_, Token::Comma) => {
                best = sooner(best, reading.when());
                reading = Reading::NEW;
            }
            (Token::Delim('.'), Token::Ident(class)) => reading.present &= has(&names.classes, class),
            (Token::Colon, Token::Ident(pseudo)) => reading.state |= is_state(pseudo),
            (Token::Delim('|'), Token::Ident(_)) => {}
            (_, Token::Ident(element)) => reading.present &= has(&names.elements, element),
            (_, Token::IDHash(id) | Token::Hash(id)) => reading.present &= has(&names.ids, id),
            _ => {}
        }
        previous = token;
    }
    sooner(best, reading.when())
}

fn has(set: &HashSet<String>, name: &str) -> bool {
    set.contains(&name.to_lowercase())
}

/// Whether a pseudo-class holds only when a visitor does something.
pub(super) fn is_state(pseudo: &str) -> bool {
    STATES.iter().any(|state| state.eq_ignore_ascii_case(pseudo))
}

fn rank(when: When) -> u8 {
    match when {
        When::Load => 0,
        When::Later => 1,
        When::Scripted => 2,
    }
}

/// The earlier of two.
pub(super) fn sooner(a: When, b: When) -> When {
    if rank(a) <= rank(b) { a } else { b }
}

/// What holds when both must: the later of them; none is never.
pub(super) fn both(a: Option<When>, b: Option<When>) -> Option<When> {
    let a = a?;
    let b = b?;
    Some(if rank(a) >= rank(b) { a } else { b })
}
