//! What a style sheet or a style attribute fetches. The tokenizer is cssparser's: escapes, bad urls and unclosed blocks
//! come out as in browsers.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::Arc;

use cssparser::Delimiter;
use cssparser::ParseError;
use cssparser::Parser;
use cssparser::Token;

use crate::page::AssetKind;
use crate::page::When;
use crate::page::font::Face;
use crate::page::font::FontFace;
use crate::page::matching;
use crate::page::media;
use crate::page::property;
use crate::page::selector;
use crate::page::selector::Names;
use crate::page::selector_list::Context;
use crate::page::selector_list::List;
use crate::page::shape::Shape;
use crate::page::supports;
use crate::page::tokens::drain;
use crate::page::tokens::prelude;

/// One address in a sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// As written, escapes resolved.
    pub(super) url: String,
    /// Sheet, image or font.
    pub(super) kind: AssetKind,
    /// Line in the sheet, from 0.
    pub(super) line: u32,
    /// When it is asked for.
    pub(super) when: When,
    /// The custom property that holds it: it is asked for only where `var()` names that.
    pub(super) custom: Option<String>,
    /// Fonts of one `@font-face` share a number: each is asked for when the ones before it failed.
    pub(super) face: Option<(u32, Face)>,
}

/// What the sheets of a page fetch.
#[derive(Debug)]
pub(super) struct Sheets<'n> {
    names: &'n Names,
    shape: &'n Shape,
    faces: u32,
    /// Who is hidden is looked for, and nothing else.
    is_hiding: bool,
    /// The selectors of rules that give no box.
    hides: Vec<Arc<List>>,
    /// The addresses, in order.
    pub(super) found: Vec<Found>,
    /// The custom properties that some `var()` names.
    pub(super) used: HashSet<String>,
    /// The values that may name a font, in lower case, each behind a line's end.
    pub(super) fonts: String,
}

/// A declaration's value, as far as it fetches.
#[derive(Default)]
struct Value {
    urls: Vec<(String, u32)>,
    broken: bool,
    /// It has a function that only other browsers know, so it may not override anything.
    foreign: bool,
}

struct Declaration {
    name: String,
    value: Value,
    /// `none` or `normal`.
    is_nothing: bool,
}

/// Rules in rules are looked at so deep; nobody writes so many.
const DEEPEST_RULE: u8 = 10;

/// Longer values name no font.
const LONGEST_FONT: usize = 500;

type Nothing = Result<(), ParseError<()>>;

impl<'n> Sheets<'n> {
    /// Nothing read yet; `names` and `shape` are those of the page.
    pub(super) fn new(names: &'n Names, shape: &'n Shape) -> Self {
        let found = Vec::new();
        let used = HashSet::new();
        let fonts = String::new();
        Self { names, shape, faces: 0, is_hiding: false, hides: Vec::new(), found, used, fonts }
    }

    /// The elements of `shape` to which the sheet `text` gives no box.
    pub(super) fn hidden(text: &str, names: &Names, shape: &Shape) -> Vec<u32> {
        if !text.contains("none") {
            return Vec::new();
        }
        let mut sheets = Sheets { is_hiding: true, ..Sheets::new(names, shape) };
        sheets.sheet(text, "");
        sheets.hides.iter().flat_map(|list| matching::matched(list, shape)).collect()
    }

    /// Reads a whole sheet under this `media` attribute.
    pub(super) fn sheet(&mut self, text: &str, media: &str) {
        self.rules(&mut Parser::new(text), media::media(media).when(), None, true);
    }

    /// Reads the declarations of a style attribute, of an element that has a box or not.
    pub(super) fn style_attribute(&mut self, text: &str, is_hidden: bool) {
        self.block(&mut Parser::new(text), Some(if is_hidden { When::Later } else { When::Load }), None);
    }

    /// Reads the value of a presentation attribute.
    pub(super) fn attribute_value(&mut self, text: &str) {
        let mut value = Value::default();
        self.value(&mut Parser::new(text), &mut value, false);
        self.keep(value, Some(When::Load), None);
    }

    fn rules(&mut self, parser: &mut Parser<'_>, when: Option<When>, context: Option<&Context<'_>>, top: bool) {
        let mut imports = top;
        loop {
            let before = parser.state();
            match parser.next().cloned() {
                Err(_) => return,
                Ok(Token::CDO | Token::CDC) if top => {}
                Ok(Token::AtKeyword(name)) => imports = self.at_rule(parser, (&name, context), when, false, imports) && imports,
                Ok(_) => {
                    imports = false;
                    parser.reset(&before);
                    self.qualified_rule(parser, when, context, false);
                }
            }
        }
    }

    /// Returns whether `@import` may still follow.
    fn at_rule(
        &mut self,
        parser: &mut Parser<'_>,
        (name, context): (&str, Option<&Context<'_>>),
        when: Option<When>,
        nested: bool,
        imports: bool,
    ) -> bool {
        let name = name.to_ascii_lowercase();
        if name == "import" {
            self.import(parser, imports);
            return true;
        }
        let (prelude, has_block) = prelude(parser);
        let inside = match name.as_str() {
            "media" => selector::both(when, media::media(prelude).when()),
            "supports" => selector::both(when, supports::when(prelude)),
            "layer" | "container" | "scope" | "starting-style" => when,
            "keyframes" | "-webkit-keyframes" => selector::both(when, Some(When::Later)),
            "font-face" if has_block => {
                let _: Nothing = parser.parse_nested_block(|parser| {
                    self.font_face(parser, when);
                    Ok(())
                });
                return false;
            }
            _ => None,
        };
        if has_block && inside.is_some() {
            let _: Nothing = parser.parse_nested_block(|parser| {
                match name.as_str() {
                    "keyframes" | "-webkit-keyframes" => self.keyframes(parser, inside),
                    _ if nested => self.block(parser, inside, context),
                    _ => self.rules(parser, inside, context, false),
                }
                Ok(())
            });
        }
        matches!(name.as_str(), "charset" | "layer") && !has_block
    }

    /// `@import` takes effect only before all other rules; media queries do not keep browsers from asking.
    fn import(&mut self, parser: &mut Parser<'_>, allowed: bool) {
        let line = parser.current_source_location().line;
        let mut url = None;
        let mut rest = String::new();
        let _: Nothing = parser.parse_until_before(Delimiter::Semicolon | Delimiter::CurlyBracketBlock, |parser| {
            url = parser.expect_url_or_string().ok().map(|url| url.to_string());
            let start = parser.position();
            drain(parser);
            parser.slice_from(start).trim().clone_into(&mut rest);
            Ok(())
        });
        let has_block = matches!(parser.next(), Ok(Token::CurlyBracketBlock));
        if let Some(url) = url
            && allowed
            && !has_block
            && let Some(when) = supports::import_when(&rest)
        {
            self.found.push(Found { url, kind: AssetKind::Style, line, when, custom: None, face: None });
        }
    }

    fn qualified_rule(&mut self, parser: &mut Parser<'_>, when: Option<When>, parent: Option<&Context<'_>>, nested: bool) {
        let ends = if nested { Delimiter::CurlyBracketBlock | Delimiter::Semicolon } else { Delimiter::CurlyBracketBlock };
        let mut matches = When::Load;
        let start = parser.position();
        let _: Nothing = parser.parse_until_before(ends, |parser| {
            matches = selector::when(parser, self.names);
            Ok(())
        });
        let text = parser.slice_from(start);
        let depth = parent.map_or(0, |parent| parent.depth + 1);
        let context = Context { text, parent, depth: depth.min(DEEPEST_RULE), list: OnceCell::new() };
        if let Ok(Token::CurlyBracketBlock) = parser.next() {
            let _: Nothing = parser.parse_nested_block(|parser| {
                // Deeper than that only the names count.
                let context = if depth < DEEPEST_RULE { Some(&context) } else { None };
                self.block(parser, selector::both(when, Some(matches)), context);
                Ok(())
            });
        }
    }

    fn keyframes(&mut self, parser: &mut Parser<'_>, when: Option<When>) {
        while let Ok(token) = parser.next() {
            if matches!(token, Token::CurlyBracketBlock) {
                let _: Nothing = parser.parse_nested_block(|parser| {
                    self.block(parser, when, None);
                    Ok(())
                });
            }
        }
    }

    /// The inside of a style rule: declarations and nested rules.
    fn block(&mut self, parser: &mut Parser<'_>, when: Option<When>, context: Option<&Context<'_>>) {
        let mut declarations: Vec<Declaration> = Vec::new();
        loop {
            let before = parser.state();
            match parser.next().cloned() {
                Err(_) => break,
                Ok(Token::Semicolon) => {}
                Ok(Token::AtKeyword(name)) => {
                    self.at_rule(parser, (&name, context), when, true, false);
                }
                Ok(Token::Ident(name)) if parser.try_parse(Parser::expect_colon).is_ok() => {
                    if let Some(declaration) = self.declaration(parser, &name, when) {
                        declarations.push(declaration);
                    } else {
                        parser.reset(&before);
                        self.qualified_rule(parser, when, context, true);
                    }
                }
                Ok(_) => {
                    parser.reset(&before);
                    self.qualified_rule(parser, when, context, true);
                }
            }
        }
        self.keep_last(declarations, when, context);
    }

    /// What follows the colon; none when it is a nested rule (`a:hover {`) after all.
    fn declaration(&mut self, parser: &mut Parser<'_>, name: &str, when: Option<When>) -> Option<Declaration> {
        let mut value = Value::default();
        let custom = name.starts_with("--");
        let ends = if custom { Delimiter::Semicolon } else { Delimiter::Semicolon | Delimiter::CurlyBracketBlock };
        let start = parser.position();
        let _: Nothing = parser.parse_until_before(ends, |parser| {
            self.value(parser, &mut value, false);
            Ok(())
        });
        let text = parser.slice_from(start);
        if matches!(parser.next(), Ok(Token::CurlyBracketBlock)) {
            return None;
        }
        if when == Some(When::Load) && (custom || property::names_fonts(name)) && text.len() < LONGEST_FONT {
            self.fonts.push('\n');
            self.fonts.extend(text.chars().map(|c| c.to_ascii_lowercase()));
        }
        let word = text.trim().split('!').next().unwrap_or_default().trim_end();
        let is_nothing = word.eq_ignore_ascii_case("none") || word.eq_ignore_ascii_case("normal");
        Some(Declaration { name: if custom { name.to_owned() } else { name.to_ascii_lowercase() }, value, is_nothing })
    }

    /// Of several declarations of one property in one block the last counts.
    fn keep_last(&mut self, declarations: Vec<Declaration>, when: Option<When>, context: Option<&Context<'_>>) {
        let when = self.refined(&declarations, when, context);
        let mut decided: HashSet<String> = HashSet::new();
        let mut kept = Vec::new();
        for Declaration { name, value, .. } in declarations.into_iter().rev() {
            if value.broken || decided.contains(&name) {
                continue;
            }
            if !value.foreign {
                decided.insert(name.clone());
            }
            kept.push((name, value));
        }
        for (name, value) in kept.into_iter().rev() {
            if name.starts_with("--") {
                self.keep(value, when, Some(&name));
            } else if property::fetches(&name) {
                self.keep(value, when, None);
            }
        }
    }

    /// `when`, as the selectors of the rule and the box that it gives say, where something in it is asked for.
    fn refined(&mut self, declarations: &[Declaration], when: Option<When>, context: Option<&Context<'_>>) -> Option<When> {
        let last = |name: &str| declarations.iter().rev().find(|declaration| declaration.name == name);
        let is_boxless = last("display").is_some_and(|display| display.is_nothing);
        if self.is_hiding {
            self.hides.extend(context.filter(|_| is_boxless && when == Some(When::Load)).map(Context::list));
            return None;
        }
        if declarations.iter().all(|declaration| declaration.value.urls.is_empty()) {
            return when;
        }
        let has_content = last("content").is_some_and(|content| !content.is_nothing);
        let matched = match context {
            Some(context) if when != Some(When::Scripted) => matching::when(&context.list(), self.shape, has_content),
            _ => Some(When::Load),
        };
        let when = selector::both(when, matched);
        if is_boxless { selector::both(when, Some(When::Later)) } else { when }
    }

    fn keep(&mut self, value: Value, when: Option<When>, custom: Option<&str>) {
        let Some(when) = when.filter(|_| !value.broken) else { return };
        for (url, line) in value.urls {
            self.found.push(Found { url, kind: AssetKind::Image, line, when, custom: custom.map(str::to_owned), face: None });
        }
    }

    fn value(&mut self, parser: &mut Parser<'_>, value: &mut Value, in_set: bool) {
        loop {
            parser.skip_whitespace();
            let line = parser.current_source_location().line;
            let Ok(token) = parser.next().cloned() else { return };
            match token {
                Token::UnquotedUrl(url) => value.urls.push((url.to_string(), line)),
                Token::QuotedString(url) if in_set => value.urls.push((url.to_string(), line)),
                Token::Function(name) => self.function(parser, value, &name.to_ascii_lowercase(), (line, in_set)),
                Token::ParenthesisBlock | Token::SquareBracketBlock | Token::CurlyBracketBlock => {
                    let _: Nothing = parser.parse_nested_block(|parser| {
                        self.value(parser, value, false);
                        Ok(())
                    });
                }
                token => value.broken |= token.is_parse_error(),
            }
        }
    }

    fn function(&mut self, parser: &mut Parser<'_>, value: &mut Value, name: &str, (line, in_set): (u32, bool)) {
        value.foreign |= name.starts_with('-') && !name.starts_with("-webkit-");
        let _: Nothing = parser.parse_nested_block(|parser| {
            match name {
                "url" | "src" => {
                    if let Ok(url) = parser.expect_string() {
                        value.urls.push((url.to_string(), line));
                    }
                    drain(parser);
                }
                "var" => {
                    if let Ok(name) = parser.expect_ident() {
                        self.used.insert(name.to_string());
                    }
                    self.value(parser, value, in_set);
                }
                "type" | "format" | "local" | "attr" => drain(parser),
                "image-set" | "-webkit-image-set" => self.value(parser, value, true),
                _ => self.value(parser, value, false),
            }
            Ok(())
        });
    }

    fn font_face(&mut self, parser: &mut Parser<'_>, when: Option<When>) {
        let read = FontFace::read(parser);
        self.faces += 1;
        let (Some(when), face) = (when, read.face()) else { return };
        let numbered = Some((self.faces, face));
        let found = read.sources.into_iter().map(|(url, line)| Found {
            url,
            kind: AssetKind::Font,
            line,
            when,
            custom: None,
            face: numbered.clone(),
        });
        self.found.extend(found);
    }
}
