//! The page's elements, as far as selectors look at them.

use std::cell::Cell;
use std::collections::HashMap;

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

/// The elements in document order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shape {
    symbols: HashMap<Box<str>, u32>,
    pub(super) nodes: Vec<Node>,
    classes: Vec<u32>,
    attributes: Vec<(u32, Box<str>)>,
    by_name: HashMap<u32, Vec<u32>>,
    by_class: HashMap<u32, Vec<u32>>,
    by_id: HashMap<u32, Vec<u32>>,
    /// Whether names of classes and ids are compared without case, as on pages of old.
    is_quirky: bool,
    /// Whether only those attributes are known that ask for something.
    pub(super) is_partial: bool,
    /// How many comparisons are left: by their number the time of a page is bounded.
    left: Cell<u32>,
}

/// Longer values are not kept; nobody selects by them.
const LONGEST_VALUE: usize = 200;

impl Shape {
    /// Nothing yet.
    pub(super) fn new(is_quirky: bool, is_partial: bool) -> Self {
        Self { is_quirky, is_partial, ..Self::default() }
    }

    /// Adds an element below `parent`, behind `previous`, and gives its number.
    pub(super) fn add(&mut self, element: &Element, parent: u32, previous: u32) -> u32 {
        let number = self.nodes.len() as u32;
        let name = self.symbol(&element.name.to_ascii_lowercase());
        self.by_name.entry(name).or_default().push(number);
        let first_class = self.classes.len() as u32;
        for class in element.attribute("class").unwrap_or_default().split_ascii_whitespace() {
            let class = self.symbol_in_case(class);
            self.classes.push(class);
            self.by_class.entry(class).or_default().push(number);
        }
        let id = element.attribute("id").map_or(NOBODY, |id| self.symbol_in_case(id));
        if id != NOBODY {
            self.by_id.entry(id).or_default().push(number);
        }
        let first_attribute = self.attributes.len() as u32;
        let known = element.attributes.iter().map(|(name, value)| (*name, &**value));
        for (name, value) in known.chain(element.others.iter().map(|(name, value)| (&**name, &**value))) {
            let name = self.symbol(name);
            self.attributes.push((name, if value.len() > LONGEST_VALUE { Box::default() } else { value.into() }));
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
        let (numbers, classes, attributes) = (self.nodes.len() as u32, self.classes.len() as u32, self.attributes.len() as u32);
        let mut own = |symbol: u32| words.get(&symbol).map_or(NOBODY, |word| self.symbol(word));
        let translated: HashMap<u32, u32> = words.keys().map(|symbol| (*symbol, own(*symbol))).collect();
        let own = |symbol: u32| translated.get(&symbol).copied().unwrap_or(NOBODY);
        self.classes.extend(other.classes.iter().map(|class| own(*class)));
        self.attributes.extend(other.attributes.iter().map(|(name, value)| (own(*name), value.clone())));
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
        for (mine, theirs) in [(&mut self.by_name, &other.by_name), (&mut self.by_class, &other.by_class), (&mut self.by_id, &other.by_id)]
        {
            for (symbol, list) in theirs {
                mine.entry(own(*symbol)).or_default().extend(list.iter().map(|number| moved(*number)));
            }
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
        self.find(name).and_then(|name| self.by_name.get(&name)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn of_class(&self, class: &str) -> &[u32] {
        self.find_in_case(class).and_then(|class| self.by_class.get(&class)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn of_id(&self, id: &str) -> &[u32] {
        self.find_in_case(id).and_then(|id| self.by_id.get(&id)).map_or(&[], Vec::as_slice)
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
        self.attributes[first as usize..end as usize].iter().find(|(other, _)| *other == name).map(|(_, value)| &**value)
    }

    fn symbol(&mut self, text: &str) -> u32 {
        if let Some(known) = self.symbols.get(text) {
            return *known;
        }
        let next = self.symbols.len() as u32;
        self.symbols.insert(text.into(), next);
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
