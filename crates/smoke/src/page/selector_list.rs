//! Lists of selectors (Selectors level 4) as they are written.

use std::cell::OnceCell;
use std::sync::Arc;

use cssparser::Parser;
use cssparser::Token;

use crate::page::selector;
use crate::page::tokens::drain;

/// Selectors in selectors, and rules in rules, are looked into so deep.
pub(super) const DEEPEST: u8 = 12;

/// A list of selectors.
#[derive(Debug, Default)]
pub(super) struct List(pub(super) Vec<Complex>);

/// Compounds from right to left, each with what binds it to the one on its left.
#[derive(Debug)]
pub(super) struct Complex(pub(super) Vec<(Compound, char)>);

#[derive(Debug, Default)]
pub(super) struct Compound {
    pub(super) name: Option<String>,
    pub(super) id: Option<String>,
    pub(super) classes: Vec<String>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) pseudos: Vec<Pseudo>,
    pub(super) part: Part,
    pub(super) is_empty: bool,
}

#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) name: String,
    /// Operator and value; none: it is enough that it is there.
    pub(super) value: Option<(char, String, bool)>,
}

#[derive(Debug)]
pub(super) enum Pseudo {
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
pub(super) enum Part {
    #[default]
    Whole,
    /// It is there only with `content`.
    Made,
    /// It shows no picture.
    Bare,
    Unsure,
}

/// The selectors of a rule and of those around it.
pub(super) struct Context<'c> {
    pub(super) text: &'c str,
    pub(super) parent: Option<&'c Context<'c>>,
    pub(super) depth: u8,
    pub(super) list: OnceCell<Arc<List>>,
}

impl Context<'_> {
    /// They are read when something in the rule is asked for: most rules ask for nothing.
    pub(super) fn list(&self) -> Arc<List> {
        let read = || {
            let parent = self.parent.map(Context::list);
            Arc::new(read(self.text, parent.as_ref()))
        };
        Arc::clone(self.list.get_or_init(read))
    }
}

/// Reads a list of selectors. `parent` is what `&` stands for, which is put in front of those that do not name it.
fn read(text: &str, parent: Option<&Arc<List>>) -> List {
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
                let name = name.to_ascii_lowercase();
                let parent = self.parent;
                let mut read = Pseudo::Unsure;
                let _: Result<(), cssparser::ParseError<()>> = parser.parse_nested_block(|parser| {
                    if !is_part && depth < DEEPEST {
                        read = function(&name, parser, parent, depth);
                    }
                    drain(parser);
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
