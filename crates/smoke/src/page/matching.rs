//! Whether a selector (Selectors level 4) matches an element of the page, surely, perhaps, or not at all.

use crate::page::When;
use crate::page::selector;
use crate::page::selector_list::Attribute;
use crate::page::selector_list::Complex;
use crate::page::selector_list::Compound;
use crate::page::selector_list::DEEPEST;
use crate::page::selector_list::List;
use crate::page::selector_list::Part;
use crate::page::selector_list::Pseudo;
use crate::page::shape::NOBODY;
use crate::page::shape::Shape;

/// How well something matches, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Yes,
    /// When a visitor does something.
    State,
    /// That is not known here.
    Unsure,
    No,
}

impl Fit {
    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::Unsure => Self::Unsure,
            Self::State | Self::No => Self::Yes,
        }
    }

    fn of(is_so: bool) -> Self {
        if is_so { Self::Yes } else { Self::No }
    }
}

/// When the rule of these selectors comes to ask for what stands in it; none: never. `has_content` says whether it has the
/// declaration without which a made part is not there.
pub(super) fn when(list: &List, shape: &Shape, has_content: bool) -> Option<When> {
    let mut best = None;
    for complex in &list.0 {
        let part = complex.0.first().map_or(Part::Whole, |(subject, _)| subject.part);
        if part == Part::Bare {
            continue;
        }
        let is_unsure = part == Part::Unsure || (part == Part::Made && !has_content);
        let fit = complex.candidates(shape).map(|number| {
            let fit = complex.fit(shape, number, 0);
            if shape.nodes[number as usize].is_hidden { fit.max(Fit::Unsure) } else { fit }
        });
        let fit = best_of(fit);
        let found = match if is_unsure { fit.max(Fit::Unsure) } else { fit } {
            Fit::Yes => return Some(When::Load),
            Fit::State | Fit::Unsure => When::Later,
            Fit::No => When::Scripted,
        };
        best = Some(best.map_or(found, |best| selector::sooner(best, found)));
    }
    best
}

/// The elements that these selectors surely match.
pub(super) fn matched(list: &List, shape: &Shape) -> Vec<u32> {
    let whole = list.0.iter().filter(|complex| complex.0.first().is_some_and(|(subject, _)| subject.part == Part::Whole));
    whole.flat_map(|complex| complex.candidates(shape).filter(|number| complex.fit(shape, *number, 0) == Fit::Yes)).collect()
}

fn best_of(fits: impl Iterator<Item = Fit>) -> Fit {
    let mut best = Fit::No;
    for fit in fits {
        best = best.min(fit);
        if best == Fit::Yes {
            break;
        }
    }
    best
}

impl List {
    fn fit(&self, shape: &Shape, number: u32, depth: u8) -> Fit {
        best_of(self.0.iter().map(|complex| complex.fit(shape, number, depth)))
    }
}

impl Complex {
    /// The elements among which its subject is.
    fn candidates<'s>(&self, shape: &'s Shape) -> Box<dyn Iterator<Item = u32> + 's> {
        let Some((subject, _)) = self.0.first() else { return Box::new(std::iter::empty()) };
        if let Some(id) = &subject.id {
            return Box::new(shape.of_id(id).iter().copied());
        }
        if let Some(class) = subject.classes.first() {
            return Box::new(shape.of_class(class).iter().copied());
        }
        match &subject.name {
            Some(name) => Box::new(shape.named(name).iter().copied()),
            None => Box::new(0..shape.nodes.len() as u32),
        }
    }

    fn fit(&self, shape: &Shape, number: u32, depth: u8) -> Fit {
        self.fit_from(0, shape, number, depth)
    }

    fn fit_from(&self, at: usize, shape: &Shape, number: u32, depth: u8) -> Fit {
        if depth > DEEPEST || !shape.may_look() {
            return Fit::Unsure;
        }
        let Some((compound, binding)) = self.0.get(at) else { return Fit::Yes };
        let own = compound.fit(shape, number, depth);
        if own == Fit::No || at + 1 == self.0.len() {
            return own;
        }
        let node = |number: u32| &shape.nodes[number as usize];
        let is_there = |number: &u32| *number != NOBODY;
        let rest = |number: u32| self.fit_from(at + 1, shape, number, depth);
        let left = match binding {
            '>' => Some(node(number).parent).filter(is_there).map_or(Fit::No, rest),
            '+' => Some(node(number).previous).filter(is_there).map_or(Fit::No, rest),
            '~' => best_of(chain(node(number).previous, |number| node(number).previous).map(rest)),
            ' ' => best_of(chain(node(number).parent, |number| node(number).parent).map(rest)),
            _ => Fit::Unsure,
        };
        own.max(left)
    }
}

fn chain(first: u32, next: impl Fn(u32) -> u32) -> impl Iterator<Item = u32> {
    let is_there = |number: &u32| *number != NOBODY;
    std::iter::successors(Some(first).filter(is_there), move |number| Some(next(*number)).filter(is_there))
}

impl Compound {
    fn fit(&self, shape: &Shape, number: u32, depth: u8) -> Fit {
        let is_named = self.name.as_ref().is_none_or(|name| shape.has_name(number, name))
            && self.id.as_ref().is_none_or(|id| shape.has_id(number, id))
            && self.classes.iter().all(|class| shape.has_class(number, class));
        if !is_named {
            return Fit::No;
        }
        let attributes = self.attributes.iter().map(|attribute| attribute.fit(shape, number));
        attributes.chain(self.pseudos.iter().map(|pseudo| pseudo.fit(shape, number, depth))).max().unwrap_or(Fit::Yes)
    }
}

impl Attribute {
    fn fit(&self, shape: &Shape, number: u32) -> Fit {
        match shape.attribute(number, &self.name) {
            Some(actual) => Fit::of(self.is_met_by(actual)),
            None if shape.is_partial => Fit::Unsure,
            None => Fit::No,
        }
    }

    fn is_met_by(&self, actual: &str) -> bool {
        let Some((operator, value, is_caseless)) = &self.value else { return true };
        // Values of most attributes of HTML that are compared here, `type` among them, have no case.
        let fold = |text: &str| if *is_caseless || self.name == "type" { text.to_ascii_lowercase() } else { text.to_owned() };
        let actual = fold(actual);
        let value = fold(value);
        match operator {
            '=' => actual == value,
            '~' => !value.is_empty() && actual.split_ascii_whitespace().any(|word| word == value),
            '|' => actual == value || actual.strip_prefix(value.as_str()).is_some_and(|rest| rest.starts_with('-')),
            '^' => !value.is_empty() && actual.starts_with(&value),
            '$' => !value.is_empty() && actual.ends_with(&value),
            _ => !value.is_empty() && actual.contains(&value),
        }
    }
}

impl Pseudo {
    fn fit(&self, shape: &Shape, number: u32, depth: u8) -> Fit {
        let node = &shape.nodes[number as usize];
        match self {
            Self::Any(list) => list.fit(shape, number, depth + 1),
            Self::Not(list) => list.fit(shape, number, depth + 1).not(),
            Self::Parent(Some(list)) => list.fit(shape, number, depth + 1),
            Self::Root => Fit::of(node.parent == NOBODY && shape.has_name(number, "html") || shape.has_name(number, "svg") && number == 0),
            Self::Nth { a, b, is_of_type, is_last } => nth(shape, number, (*a, *b), *is_of_type, *is_last),
            Self::State => Fit::State,
            Self::True => Fit::Yes,
            Self::Parent(None) | Self::Unsure => Fit::Unsure,
        }
    }
}

fn nth(shape: &Shape, number: u32, (a, b): (i32, i32), is_of_type: bool, is_last: bool) -> Fit {
    let node = &shape.nodes[number as usize];
    let place = match (is_of_type, is_last) {
        (false, false) => node.index,
        (false, true) if (a, b) == (0, 1) => return Fit::of(node.is_last),
        (true, false) => {
            let mut place = 1;
            for other in chain(node.previous, |number| shape.nodes[number as usize].previous) {
                if !shape.may_look() {
                    return Fit::Unsure;
                }
                place += u32::from(shape.same_name(number, other));
            }
            place
        }
        _ => return Fit::Unsure,
    };
    let steps = place as i32 - b;
    Fit::of(if a == 0 { steps == 0 } else { steps % a == 0 && steps / a >= 0 })
}
