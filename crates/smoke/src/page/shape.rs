//! The page's elements, as far as selectors look at them.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;

use html5ever::LocalName;

use crate::page::selector::Names;
use crate::page::tree::Element;
use crate::page::tree::Space;

/// No element.
pub(super) const NOBODY: u32 = u32::MAX;

/// An element and its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// The element above.
    pub(super) parent: u32,
    /// The sibling before.
    pub(super) previous: u32,
    /// Its place among its siblings, from 1.
    pub(super) index: u32,
    /// Whether no sibling follows.
    pub(super) is_last: bool,
    /// Whether it has no box, as far as is known: nothing of its styles is asked for then.
    pub(super) is_hidden: bool,
    name: u32,
    attributes: (u32, u32),
    classes: (u32, u32),
    id: u32,
}

/// Whose name, class or id a word is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Bearers {
    names: Vec<u32>,
    classes: Vec<u32>,
    ids: Vec<u32>,
}

/// The elements in document order.
///
/// A large page has some hundred thousand elements, of few kinds and with few attributes: what most of them need is found without
/// hashing a text and without an allocation of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shape {
    symbols: HashMap<Box<str>, u32>,
    /// By symbol.
    bearers: Vec<Bearers>,
    /// The symbols of the first kinds of elements, and of the first names of attributes.
    kinds: Vec<(LocalName, u32)>,
    known_names: Vec<(&'static str, u32)>,
    other_names: Vec<(LocalName, u32)>,
    pub(super) nodes: Vec<Node>,
    classes: Vec<u32>,
    /// The symbol of each attribute's name, and where in `values` its value stands.
    attributes: Vec<(u32, Range<u32>)>,
    values: String,
    /// Whether names of classes and ids are compared without case, as on pages of old.
    is_quirky: bool,
    /// Whether only those attributes are known that ask for something.
    pub(super) is_partial: bool,
    /// How many comparisons are left: by their number the time of a page is bounded.
    left: Cell<u32>,
}

/// Longer values are not kept; nobody selects by them.
const LONGEST_VALUE: usize = 200;
/// This many kinds are told apart one by one, which is quicker than looking them up.
const MOST_KINDS: usize = 64;

impl Shape {
    /// Nothing yet.
    pub(super) fn new(is_quirky: bool, is_partial: bool) -> Self {
        Self { is_quirky, is_partial, ..Self::default() }
    }

    /// Adds an element below `parent`, behind `previous`, and gives its number.
    pub(super) fn add(&mut self, element: &Element, parent: u32, previous: u32) -> u32 {
        let number = self.nodes.len() as u32;
        let name = self.kind(&element.name);
        self.bearers[name as usize].names.push(number);
        let first_class = self.classes.len() as u32;
        for class in element.attribute("class").unwrap_or_default().split_ascii_whitespace() {
            let class = self.symbol_in_case(class);
            self.classes.push(class);
            self.bearers[class as usize].classes.push(number);
        }
        let id = element.attribute("id").map_or(NOBODY, |id| self.symbol_in_case(id));
        if id != NOBODY {
            self.bearers[id as usize].ids.push(number);
        }
        let first_attribute = self.attributes.len() as u32;
        for (name, value) in &element.attributes {
            let name = self.known_name(name);
            self.keep(name, value);
        }
        for (name, value) in &element.others {
            let name = self.other_name(name);
            self.keep(name, value);
        }
        let above = self.nodes.get(parent as usize).is_some_and(|parent| parent.is_hidden);
        let index = self.nodes.get_mut(previous as usize).map_or(1, |previous| {
            previous.is_last = false;
            previous.index + 1
        });
        self.nodes.push(Node {
            parent,
            previous,
            index,
            is_last: true,
            is_hidden: above || is_hidden(element),
            name,
            attributes: (first_attribute, self.attributes.len() as u32),
            classes: (first_class, self.classes.len() as u32),
            id,
        });
        // Every element may be looked at so often on average.
        self.left.set(self.left.get().saturating_add(200).max(100_000));
        number
    }

    /// Hides those that `is_hidden` says, and everything in them.
    pub(super) fn hide(&mut self, is_hidden: &[u32]) {
        for number in is_hidden {
            self.nodes[*number as usize].is_hidden = true;
        }
        for number in 0..self.nodes.len() {
            let parent = self.nodes[number].parent;
            if self.nodes.get(parent as usize).is_some_and(|parent| parent.is_hidden) {
                self.nodes[number].is_hidden = true;
            }
        }
    }

    /// Takes in the elements of a document inside the page, which stand by themselves.
    pub(super) fn merge(&mut self, other: &Self) {
        let words: HashMap<u32, &str> = other.symbols.iter().map(|(word, symbol)| (*symbol, &**word)).collect();
        let numbers = self.nodes.len() as u32;
        let classes = self.classes.len() as u32;
        let attributes = self.attributes.len() as u32;
        let values = self.values.len() as u32;
        let mut own = |symbol: u32| words.get(&symbol).map_or(NOBODY, |word| self.symbol(word));
        let translated: HashMap<u32, u32> = words.keys().map(|symbol| (*symbol, own(*symbol))).collect();
        let own = |symbol: u32| translated.get(&symbol).copied().unwrap_or(NOBODY);
        self.classes.extend(other.classes.iter().map(|class| own(*class)));
        self.attributes.extend(other.attributes.iter().map(|(name, at)| (own(*name), at.start + values..at.end + values)));
        self.values.push_str(&other.values);
        let moved = |number: u32| if number == NOBODY { NOBODY } else { number + numbers };
        self.nodes.extend(other.nodes.iter().map(|node| Node {
            parent: moved(node.parent),
            previous: moved(node.previous),
            name: own(node.name),
            id: own(node.id),
            classes: (node.classes.0 + classes, node.classes.1 + classes),
            attributes: (node.attributes.0 + attributes, node.attributes.1 + attributes),
            ..node.clone()
        }));
        for (symbol, theirs) in other.bearers.iter().enumerate() {
            let Some(mine) = self.bearers.get_mut(own(symbol as u32) as usize) else { continue };
            mine.names.extend(theirs.names.iter().map(|number| moved(*number)));
            mine.classes.extend(theirs.classes.iter().map(|number| moved(*number)));
            mine.ids.extend(theirs.ids.iter().map(|number| moved(*number)));
        }
        self.left.set(self.left.get().saturating_add(other.left.get()));
    }

    /// Whether one more comparison may be made.
    pub(super) fn may_look(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    /// The elements of this name, class or id.
    pub(super) fn named(&self, name: &str) -> &[u32] {
        self.find(name).map_or(&[], |name| &self.bearers[name as usize].names)
    }

    pub(super) fn of_class(&self, class: &str) -> &[u32] {
        self.find_in_case(class).map_or(&[], |class| &self.bearers[class as usize].classes)
    }

    pub(super) fn of_id(&self, id: &str) -> &[u32] {
        self.find_in_case(id).map_or(&[], |id| &self.bearers[id as usize].ids)
    }

    pub(super) fn has_name(&self, number: u32, name: &str) -> bool {
        self.find(name) == Some(self.nodes[number as usize].name)
    }

    pub(super) fn same_name(&self, a: u32, b: u32) -> bool {
        self.nodes[a as usize].name == self.nodes[b as usize].name
    }

    pub(super) fn has_class(&self, number: u32, class: &str) -> bool {
        let (first, end) = self.nodes[number as usize].classes;
        self.find_in_case(class).is_some_and(|class| self.classes[first as usize..end as usize].contains(&class))
    }

    pub(super) fn has_id(&self, number: u32, id: &str) -> bool {
        self.find_in_case(id).is_some_and(|id| self.nodes[number as usize].id == id)
    }

    pub(super) fn attribute(&self, number: u32, name: &str) -> Option<&str> {
        let name = self.find(&name.to_ascii_lowercase())?;
        let (first, end) = self.nodes[number as usize].attributes;
        let (_, at) = self.attributes[first as usize..end as usize].iter().find(|(other, _)| *other == name)?;
        Some(&self.values[at.start as usize..at.end as usize])
    }

    /// The names that the elements, their classes and their ids have.
    pub(super) fn names(&self) -> Names {
        let mut names = Names::default();
        for (word, symbol) in &self.symbols {
            let bearers = &self.bearers[*symbol as usize];
            if !bearers.names.is_empty() {
                names.add_element(word);
            }
            names.add_attributes(Some(&**word).filter(|_| !bearers.classes.is_empty()), Some(&**word).filter(|_| !bearers.ids.is_empty()));
        }
        names
    }

    fn keep(&mut self, name: u32, value: &str) {
        let start = self.values.len() as u32;
        if value.len() <= LONGEST_VALUE {
            self.values.push_str(value);
        }
        self.attributes.push((name, start..self.values.len() as u32));
    }

    /// The symbol of an element's name, which is compared without case.
    fn kind(&mut self, name: &LocalName) -> u32 {
        if let Some((_, symbol)) = self.kinds.iter().find(|(kind, _)| kind == name) {
            return *symbol;
        }
        let symbol = self.symbol(&name.to_ascii_lowercase());
        if self.kinds.len() < MOST_KINDS {
            self.kinds.push((name.clone(), symbol));
        }
        symbol
    }

    fn known_name(&mut self, name: &'static str) -> u32 {
        if let Some((_, symbol)) = self.known_names.iter().find(|(known, _)| std::ptr::eq(*known, name)) {
            return *symbol;
        }
        let symbol = self.symbol(name);
        if self.known_names.len() < MOST_KINDS {
            self.known_names.push((name, symbol));
        }
        symbol
    }

    fn other_name(&mut self, name: &LocalName) -> u32 {
        if let Some((_, symbol)) = self.other_names.iter().find(|(other, _)| other == name) {
            return *symbol;
        }
        let symbol = self.symbol(name);
        if self.other_names.len() < MOST_KINDS {
            self.other_names.push((name.clone(), symbol));
        }
        symbol
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if let Some(known) = self.symbols.get(text) {
            return *known;
        }
        let next = self.symbols.len() as u32;
        self.symbols.insert(text.into(), next);
        self.bearers.push(Bearers::default());
        next
    }

    fn symbol_in_case(&mut self, text: &str) -> u32 {
        if self.is_quirky { self.symbol(&text.to_lowercase()) } else { self.symbol(text) }
    }

    fn find(&self, text: &str) -> Option<u32> {
        self.symbols.get(text).copied()
    }

    fn find_in_case(&self, text: &str) -> Option<u32> {
        if self.is_quirky { self.find(&text.to_lowercase()) } else { self.find(text) }
    }
}

/// Whether an element says of itself that it has no box.
fn is_hidden(element: &Element) -> bool {
    let says = |style: &str| {
        let style: String = style.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
        style.split(';').any(|declaration| matches!(declaration, "display:none" | "display:none!important"))
    };
    let is_html = element.space == Space::Html;
    (is_html && element.attribute("hidden").is_some())
        || (element.is_html("dialog") && !element.others.iter().any(|(name, _)| &**name == "open"))
        || element.attribute("style").is_some_and(|style| style.contains("none") && says(style))
}
