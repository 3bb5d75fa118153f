//! Whether a selector (Selectors level 4) matches an element of the page, surely, perhaps, or not at all.

use std::sync::Arc;

use cssparser::Parser;
use cssparser::Token;

use crate::smoke::page::When;
use crate::smoke::page::selector;
use crate::smoke::page::shape::NOBODY;
use crate::smoke::page::shape::Shape;

/// Selectors in selectors, and rules in rules, are looked into so deep.
const DEEPEST: u8 = 12;

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

/// A list of selectors.
#[derive(Debug, Default)]
pub(super) struct List(Vec<Complex>);

/// Compounds from right to left, each with what binds it to the one on its left.
#[derive(Debug)]
struct Complex(Vec<(Compound, char)>);

#[derive(Debug, Default)]
struct Compound {
    name: Option<String>,
    id: Option<String>,
    classes: Vec<String>,
    attributes: Vec<Attribute>,
    pseudos: Vec<Pseudo>,
    part: Part,
    is_empty: bool,
}

#[derive(Debug)]
struct Attribute {
    name: String,
    /// Operator and value; none: it is enough that it is there.
    value: Option<(char, String, bool)>,
}

#[derive(Debug)]
enum Pseudo {
    Any(List),
    Not(List),
    /// `&`
    Parent(Option<Arc<List>>),
    Nth {
        a: i32,
        b: i32,
        is_of_type: bool,
        is_last: bool,
    },
    Root,
    State,
    True,
    Unsure,
}

/// The part of an element that a rule is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Whole,
    /// It is there only with `content`.
    Made,
    /// It shows no picture.
    Bare,
    Unsure,
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
        let (actual, value) = (fold(actual), fold(value));
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

/// Reads a list of selectors. `parent` is what `&` stands for, which is put in front of those that do not name it.
pub(super) fn read(text: &str, parent: Option<&Arc<List>>) -> List {
    list(&mut Parser::new(text), parent, parent.is_some(), 0)
}

fn list(parser: &mut Parser<'_>, parent: Option<&Arc<List>>, is_nested: bool, depth: u8) -> List {
    let mut found = List::default();
    loop {
        let mut reading =
            Reading { parent, done: Vec::new(), compound: Compound { is_empty: true, ..Compound::default() }, names_parent: false };
        let is_over = reading.read(parser, depth);
        found.0.extend(reading.finish(is_nested));
        if is_over {
            return found;
        }
    }
}

/// One selector, as far as it has been read.
struct Reading<'p> {
    parent: Option<&'p Arc<List>>,
    /// From left to right, each with what binds it to the one on its right.
    done: Vec<(Compound, char)>,
    compound: Compound,
    names_parent: bool,
}

impl Reading<'_> {
    /// Reads up to a comma or the end; whether it was the end.
    fn read(&mut self, parser: &mut Parser<'_>, depth: u8) -> bool {
        let mut binding = None;
        while let Ok(token) = parser.next_including_whitespace().cloned() {
            match token {
                Token::Comma => return false,
                Token::WhiteSpace(_) => {
                    if !self.compound.is_empty {
                        binding = binding.or(Some(' '));
                    }
                    continue;
                }
                Token::Delim(c @ ('>' | '+' | '~')) => {
                    binding = Some(c);
                    continue;
                }
                _ => {}
            }
            if let Some(binding) = binding.take() {
                self.bind(binding);
            }
            self.compound.is_empty = false;
            self.simple(parser, &token, depth);
        }
        true
    }

    fn bind(&mut self, binding: char) {
        let next = Compound { is_empty: true, ..Compound::default() };
        let compound = std::mem::replace(&mut self.compound, next);
        self.done.push((compound, binding));
    }

    fn simple(&mut self, parser: &mut Parser<'_>, token: &Token<'_>, depth: u8) {
        let compound = &mut self.compound;
        match token {
            Token::Delim('*') => {}
            Token::Delim('&') => {
                self.names_parent = true;
                compound.pseudos.push(Pseudo::Parent(self.parent.cloned()));
            }
            Token::Ident(name) => compound.name = Some(name.to_ascii_lowercase()),
            Token::IDHash(id) | Token::Hash(id) => compound.id = Some(id.to_string()),
            Token::Delim('.') => match parser.next_including_whitespace().cloned() {
                Ok(Token::Ident(class)) => compound.classes.push(class.to_string()),
                _ => compound.pseudos.push(Pseudo::Unsure),
            },
            Token::SquareBracketBlock => {
                let read = parser.parse_nested_block(|parser| Ok::<_, cssparser::ParseError<()>>(attribute(parser)));
                match read {
                    Ok(Some(attribute)) => compound.attributes.push(attribute),
                    _ => compound.pseudos.push(Pseudo::Unsure),
                }
            }
            Token::Colon => self.pseudo(parser, depth),
            _ => compound.pseudos.push(Pseudo::Unsure),
        }
    }

    fn pseudo(&mut self, parser: &mut Parser<'_>, depth: u8) {
        let mut is_part = false;
        let mut next = parser.next_including_whitespace().cloned();
        if let Ok(Token::Colon) = next {
            is_part = true;
            next = parser.next_including_whitespace().cloned();
        }
        match next {
            Ok(Token::Ident(name)) => {
                let name = name.to_ascii_lowercase();
                if is_part || matches!(name.as_str(), "before" | "after" | "first-line" | "first-letter") {
                    self.compound.part = part_of(&name);
                } else {
                    self.compound.pseudos.push(pseudo_of(&name));
                }
            }
            Ok(Token::Function(name)) => {
                let (name, parent) = (name.to_ascii_lowercase(), self.parent);
                let mut read = Pseudo::Unsure;
                let _: Result<(), cssparser::ParseError<()>> = parser.parse_nested_block(|parser| {
                    if !is_part && depth < DEEPEST {
                        read = function(&name, parser, parent, depth);
                    }
                    while parser.next().is_ok() {}
                    Ok(())
                });
                if is_part {
                    self.compound.part = if name == "highlight" { Part::Bare } else { Part::Unsure };
                } else {
                    self.compound.pseudos.push(read);
                }
            }
            _ => self.compound.pseudos.push(Pseudo::Unsure),
        }
    }

    fn finish(mut self, is_nested: bool) -> Option<Complex> {
        if is_nested && !self.names_parent {
            let above = Compound { pseudos: vec![Pseudo::Parent(self.parent.cloned())], ..Compound::default() };
            // `> b` begins with what binds it.
            match self.done.first_mut() {
                Some((first, _)) if first.is_empty => *first = above,
                _ => self.done.insert(0, (above, ' ')),
            }
        }
        if self.compound.is_empty {
            return None;
        }
        let mut compounds = vec![(self.compound, ' ')];
        // What binds a compound stands with the one on its right from here on.
        for (compound, binding) in self.done.into_iter().rev() {
            if let Some((_, last)) = compounds.last_mut() {
                *last = binding;
            }
            compounds.push((compound, ' '));
        }
        Some(Complex(compounds))
    }
}

fn function(name: &str, parser: &mut Parser<'_>, parent: Option<&Arc<List>>, depth: u8) -> Pseudo {
    match name {
        "is" | "where" | "matches" | "-webkit-any" => Pseudo::Any(list(parser, parent, false, depth + 1)),
        "not" => Pseudo::Not(list(parser, parent, false, depth + 1)),
        "nth-child" | "nth-of-type" | "nth-last-child" | "nth-last-of-type" => match cssparser::parse_nth(parser) {
            Ok((a, b)) if parser.is_exhausted() => {
                Pseudo::Nth { a, b, is_of_type: name.ends_with("of-type"), is_last: name.starts_with("nth-last") }
            }
            _ => Pseudo::Unsure,
        },
        _ => Pseudo::Unsure,
    }
}

fn pseudo_of(name: &str) -> Pseudo {
    let nth = |is_of_type, is_last| Pseudo::Nth { a: 0, b: 1, is_of_type, is_last };
    match name {
        "root" => Pseudo::Root,
        "first-child" => nth(false, false),
        "last-child" => nth(false, true),
        "first-of-type" => nth(true, false),
        "only-child" => Pseudo::Any(List(
            [Compound { pseudos: vec![nth(false, false), nth(false, true)], ..Compound::default() }]
                .map(|compound| Complex(vec![(compound, ' ')]))
                .into(),
        )),
        "defined" | "link" | "any-link" | "enabled" | "scope" => Pseudo::True,
        name if selector::is_state(name) => Pseudo::State,
        _ => Pseudo::Unsure,
    }
}

fn part_of(name: &str) -> Part {
    match name {
        "before" | "after" => Part::Made,
        "first-line" | "first-letter" => Part::Whole,
        "selection" | "target-text" | "spelling-error" | "grammar-error" => Part::Bare,
        _ => Part::Unsure,
    }
}

fn attribute(parser: &mut Parser<'_>) -> Option<Attribute> {
    let name = parser.expect_ident().ok()?.to_ascii_lowercase();
    let operator = match parser.next().cloned() {
        Err(_) => return Some(Attribute { name, value: None }),
        Ok(Token::Delim('=')) => '=',
        Ok(Token::IncludeMatch) => '~',
        Ok(Token::DashMatch) => '|',
        Ok(Token::PrefixMatch) => '^',
        Ok(Token::SuffixMatch) => '$',
        Ok(Token::SubstringMatch) => '*',
        Ok(_) => return None,
    };
    let value = parser.expect_ident_or_string().ok()?.to_string();
    let is_caseless = parser.try_parse(|parser| parser.expect_ident_matching("i")).is_ok();
    parser.is_exhausted().then_some(Attribute { name, value: Some((operator, value, is_caseless)) })
}
