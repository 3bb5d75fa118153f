//! Builds the tree of a page that is served as XHTML: by the rules of XML, of which the first one broken ends the page.

use std::collections::HashMap;
use std::collections::HashSet;
use std::time::Instant;

use html5ever::LocalName;
use html5ever::tendril::StrTendril;
use quick_xml::NsReader;
use quick_xml::XmlVersion;
use quick_xml::events::BytesPI;
use quick_xml::events::BytesStart;
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;

use crate::page::Malformed;
use crate::page::sink;
use crate::page::sink::Sink;
use crate::page::tree::Element;
use crate::page::tree::NONE;
use crate::page::tree::NodeId;
use crate::page::tree::ROOT;
use crate::page::tree::Space;
use crate::page::tree::Tree;

/// Elements deeper than this do not occur, and browsers give up before.
const DEEPEST: usize = 2048;
/// The name under which a style sheet of the prologue stands in the tree.
pub(super) const SHEET: &str = "?xml-stylesheet";
const HTML: &str = "http://www.w3.org/1999/xhtml";
const SVG: &str = "http://www.w3.org/2000/svg";
const XLINK: &str = "http://www.w3.org/1999/xlink";

/// Builds the tree of `text` up to its end, to the first fault, or until the time is over.
pub(super) fn build(text: &str, until: Instant) -> Tree {
    let mut reader = NsReader::from_str(text);
    let config = reader.config_mut();
    config.check_comments = true;
    config.allow_dangling_amp = false;
    let mut builder = Builder {
        sink: Sink::new(),
        open: Vec::new(),
        has_begun: false,
        has_root: false,
        line: 1,
        entities: Entities::default(),
        undeclared: None,
    };
    let mut at = 0;
    let mut why = None;
    let mut incomplete = false;
    loop {
        let event = reader.read_event();
        let end = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX).min(text.len());
        builder.line += text.get(at..end).unwrap_or_default().matches('\n').count() as u32;
        at = end.max(at);
        let taken = match event {
            Ok(Event::Eof) => builder.end(),
            Ok(event) => builder.take(&reader, event).map(|()| false),
            Err(error) => Err(error.to_string()),
        };
        match taken {
            Ok(true) => break,
            Ok(false) => {}
            Err(fault) => {
                why = Some(fault);
                break;
            }
        }
        if Instant::now() > until || builder.open.len() > DEEPEST {
            incomplete = true;
            break;
        }
    }
    let fault = why.map(|why| Malformed { line: builder.line, why: why.trim_end_matches('.').to_owned() });
    let malformed = builder.undeclared.take().or(fault);
    Tree { incomplete, is_quirky: false, malformed, ..builder.sink.into_tree() }
}

/// The entities that the page itself declares.
#[derive(Default)]
struct Entities {
    own: HashMap<String, String>,
    /// Whether the doctype is one of those for which browsers know the names of HTML, or has declarations of a kind that is not
    /// looked at.
    any: bool,
}

impl Entities {
    fn of(doctype: &str) -> Self {
        let mut own = HashMap::new();
        for declaration in doctype.split("<!ENTITY").skip(1) {
            let mut words = declaration.trim_start().splitn(2, |c: char| c.is_ascii_whitespace());
            let name = words.next().unwrap_or_default();
            let rest = words.next().unwrap_or_default().trim_start();
            let value = rest.chars().next().filter(|c| matches!(c, '"' | '\'')).and_then(|quote| rest.get(1..)?.split(quote).next());
            own.insert(name.to_owned(), value.filter(|value| !value.contains(['&', '%', '<'])).unwrap_or_default().to_owned());
        }
        let any = ["-//W3C//DTD XHTML", "-//WAPFORUM//DTD XHTML", "%"].iter().any(|known| doctype.contains(known));
        Self { own, any }
    }

    fn value(&self, name: &str) -> Option<&str> {
        let known = match name {
            "amp" => "&",
            "lt" => "<",
            "gt" => ">",
            "quot" => "\"",
            "apos" => "'",
            name => return self.own.get(name).map(String::as_str).or(self.any.then_some("\u{fffd}")),
        };
        Some(known)
    }
}

struct Builder {
    sink: Sink,
    open: Vec<NodeId>,
    has_begun: bool,
    has_root: bool,
    line: u32,
    entities: Entities,
    /// An element's prefix without a namespace: browsers say so on the page, and read on. An attribute's ends the page.
    undeclared: Option<Malformed>,
}

impl Builder {
    fn take(&mut self, reader: &NsReader<&[u8]>, event: Event<'_>) -> Result<(), String> {
        let has_begun = std::mem::replace(&mut self.has_begun, true);
        match event {
            Event::Start(start) => {
                let id = self.element(reader, &start)?;
                self.open.push(id);
            }
            Event::Empty(start) => {
                self.element(reader, &start)?;
            }
            Event::End(_) => {
                self.open.pop();
            }
            Event::Text(text) => {
                let text = text.xml10_content();
                if text.contains("]]>") {
                    return Err("]]> is not allowed in text".to_owned());
                }
                self.text(&text)?;
            }
            Event::CData(text) if self.open.is_empty() => self.text(&format!("{}<", text.xml10_content()))?,
            Event::CData(text) => self.text(&text.xml10_content())?,
            Event::GeneralRef(name) => {
                let character = name.resolve_char_ref().map_err(|error| error.to_string())?;
                let text = match character {
                    Some(character) => character.to_string(),
                    None => self.entities.value(&name.xml10_content()).ok_or_else(|| unknown(&name.xml10_content()))?.to_owned(),
                };
                self.text(if self.open.is_empty() { "&" } else { &text })?;
            }
            Event::PI(instruction) => self.instruction(&instruction)?,
            Event::Decl(_) if has_begun => return Err("<?xml …?> is not at the beginning".to_owned()),
            Event::DocType(text) => self.entities = Entities::of(&text.into_inner()),
            Event::Decl(_) | Event::Comment(_) | Event::Eof => {}
        }
        Ok(())
    }

    /// Whether everything is closed.
    fn end(&self) -> Result<bool, String> {
        match (self.open.is_empty(), self.has_root) {
            (true, true) => Ok(true),
            (false, _) => Err("an element is not closed".to_owned()),
            (true, false) => Err("there is no root element".to_owned()),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        if let Some(odd) = text.chars().find(|c| is_forbidden(*c)) {
            return Err(format!("the character U+{:04X} is not allowed", u32::from(odd)));
        }
        match self.open.last() {
            Some(parent) => self.sink.add_text(*parent, text),
            None if text.trim_matches(['\u{feff}', ' ', '\t', '\n', '\r']).is_empty() => {}
            None => return Err("there is text outside the root element".to_owned()),
        }
        Ok(())
    }

    fn element(&mut self, reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Result<NodeId, String> {
        if self.open.is_empty() && std::mem::replace(&mut self.has_root, true) {
            return Err("there is a second root element".to_owned());
        }
        let (space, name) = reader.resolver().resolve_element(start.name());
        let space = match space {
            ResolveResult::Bound(space) if space.into_inner() == HTML => Space::Html,
            ResolveResult::Bound(space) if space.into_inner() == SVG => Space::Svg,
            ResolveResult::Unknown(prefix) => {
                self.prefix(&prefix);
                Space::Other
            }
            _ => Space::Other,
        };
        let attributes = self.attributes(reader, start)?;
        let content = if space == Space::Html && name.into_inner() == "template" { self.sink.add(None) } else { NONE };
        Ok(self.insert(space, name.into_inner(), attributes, content))
    }

    fn insert(&mut self, space: Space, name: &str, attributes: Vec<(&'static str, StrTendril)>, content: NodeId) -> NodeId {
        let name = LocalName::from(name);
        let element = Element { space, name, line: self.line, attributes, others: Vec::new(), text: String::new(), content, shadow: None };
        let id = self.sink.add(Some(element));
        self.sink.append_node(self.open.last().copied().unwrap_or(ROOT), id);
        id
    }

    fn attributes(&self, reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Result<Vec<(&'static str, StrTendril)>, String> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        // The library's own look for doubles takes time by the square.
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let key = attribute.key.into_inner();
            if !seen.insert(key.to_owned()) {
                return Err(format!("the attribute {key} is given twice"));
            }
            if attribute.value.contains('<') {
                return Err(format!("the attribute {key} contains a <"));
            }
            let value = attribute.normalized_value_with(XmlVersion::Implicit1_0, 8, |name| self.entities.value(name));
            let value = value.map_err(|error| error.to_string())?;
            let (space, local) = reader.resolver().resolve_attribute(attribute.key);
            let name = match space {
                ResolveResult::Unknown(prefix) => return Err(format!("the prefix {prefix} is not declared")),
                ResolveResult::Unbound => sink::wanted_name(local.into_inner()),
                ResolveResult::Bound(space) if space.into_inner() == XLINK && local.into_inner() == "href" => Some("xlink:href"),
                ResolveResult::Bound(_) => None,
            };
            found.extend(name.map(|name| (name, StrTendril::from_slice(&value))));
        }
        Ok(found)
    }

    fn prefix(&mut self, prefix: &str) {
        let why = format!("the prefix {prefix} is not declared");
        self.undeclared.get_or_insert(Malformed { line: self.line, why });
    }

    /// A style sheet named before the root element counts as one.
    fn instruction(&mut self, instruction: &BytesPI<'_>) -> Result<(), String> {
        if self.has_root || instruction.target() != "xml-stylesheet" {
            return Ok(());
        }
        let mut attributes = Vec::new();
        for attribute in instruction.attributes().with_checks(false).flatten() {
            let value = attribute.normalized_value_with(XmlVersion::Implicit1_0, 8, |name| self.entities.value(name));
            let value = value.map_err(|error| error.to_string())?;
            attributes.extend(sink::wanted_name(attribute.key.into_inner()).map(|name| (name, StrTendril::from_slice(&value))));
        }
        let is_css = attributes.iter().filter(|(name, _)| *name == "type").all(|(_, kind)| kind.is_empty() || &**kind == "text/css");
        if is_css {
            self.insert(Space::Other, SHEET, attributes, NONE);
        }
        Ok(())
    }
}

fn unknown(name: &str) -> String {
    format!("the entity &{name}; is not declared")
}

fn is_forbidden(c: char) -> bool {
    (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
}
