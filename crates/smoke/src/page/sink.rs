//! Builds the tree: what html5ever's tree builder writes into.

use std::borrow::Cow;
use std::cell::Cell;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use html5ever::Attribute;
use html5ever::ExpandedName;
use html5ever::LocalName;
use html5ever::ParseOpts;
use html5ever::QualName;
use html5ever::interface::ElementFlags;
use html5ever::interface::NodeOrText;
use html5ever::interface::QuirksMode;
use html5ever::interface::TreeSink;
use html5ever::ns;
use html5ever::parse_document;
use html5ever::tendril::StrTendril;
use html5ever::tendril::TendrilSink;
use html5ever::tree_builder::TreeBuilderOpts;

use crate::page::tree::Element;
use crate::page::tree::NONE;
use crate::page::tree::Node;
use crate::page::tree::NodeId;
use crate::page::tree::ROOT;
use crate::page::tree::Space;
use crate::page::tree::Tree;

/// The page is fed in pieces of so many bytes.
const PIECE: usize = 4096;
/// This many names are shared by all elements that bear them. Pages use fewer; the others get a copy each.
const MOST_SHARED_NAMES: usize = 64;

/// The attributes that the walk asks for, sorted; all others are forgotten.
const WANTED: [&str; 41] = [
    "action",
    "as",
    "autoplay",
    "background",
    "class",
    "clip-path",
    "content",
    "crossorigin",
    "cursor",
    "data",
    "default",
    "disabled",
    "event",
    "fill",
    "filter",
    "for",
    "form",
    "formaction",
    "hidden",
    "href",
    "http-equiv",
    "id",
    "imagesrcset",
    "integrity",
    "language",
    "marker-end",
    "marker-mid",
    "marker-start",
    "mask",
    "media",
    "nomodule",
    "poster",
    "preload",
    "rel",
    "sandbox",
    "src",
    "srcdoc",
    "srcset",
    "stroke",
    "style",
    "type",
];

fn wanted(attribute: &Attribute) -> Option<&'static str> {
    if attribute.name.ns == ns!(xlink) {
        return (&*attribute.name.local == "href").then_some("xlink:href");
    }
    wanted_name(&attribute.name.local)
}

/// The name of an attribute that the walk asks for.
pub(super) fn wanted_name(attribute: &str) -> Option<&'static str> {
    WANTED.binary_search(&attribute).ok().map(|at| WANTED[at])
}

/// Builds the tree of `html`, or of as much of it as can be read until then. Without scripting what stands in `noscript` counts.
///
/// A tree builder looks up and down the open elements again and again, so a page that only nests takes time by its
/// square: it is fed in pieces and given up when the time is over.
pub(super) fn build(html: &str, is_scripting: bool, until: Instant) -> Tree {
    let tree_builder = TreeBuilderOpts { scripting_enabled: is_scripting, ..TreeBuilderOpts::default() };
    let mut parser = parse_document(Sink::new(), ParseOpts { tree_builder, ..ParseOpts::default() });
    let mut rest = html;
    let mut incomplete = false;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE));
        parser.process(StrTendril::from_slice(piece));
        rest = after;
        if Instant::now() > until {
            incomplete = !rest.is_empty();
            break;
        }
    }
    Tree { incomplete, ..parser.finish() }
}

/// A node and its name, which the tree builder asks for all the time.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    id: NodeId,
    name: Rc<QualName>,
}

/// What the tree builder builds with.
pub(super) struct Sink {
    nodes: RefCell<Vec<Node>>,
    names: RefCell<Vec<Rc<QualName>>>,
    nameless: Rc<QualName>,
    line: Cell<u32>,
    is_quirky: Cell<bool>,
}

impl Sink {
    /// A document without anything in it.
    pub(super) fn new() -> Self {
        let nameless = Rc::new(QualName::new(None, ns!(), LocalName::from("")));
        let sink = Self { nodes: RefCell::default(), names: RefCell::default(), nameless, line: Cell::new(1), is_quirky: Cell::new(false) };
        sink.add(None);
        sink
    }

    /// Adds a node that stands nowhere yet.
    pub(super) fn add(&self, element: Option<Element>) -> NodeId {
        let mut nodes = self.nodes.borrow_mut();
        let id = nodes.len() as NodeId;
        nodes.push(Node { parent: NONE, previous: NONE, next: NONE, first: NONE, last: NONE, element });
        id
    }

    /// Puts the node behind the children of `parent`; those of a `template` are its content.
    pub(super) fn append_node(&self, parent: NodeId, id: NodeId) {
        let mut nodes = self.nodes.borrow_mut();
        let content = nodes[parent as usize].element.as_ref().map_or(NONE, |element| element.content);
        Self::attach_last(&mut nodes, if content == NONE { parent } else { content }, id);
    }

    /// The tree as it stands.
    pub(super) fn into_tree(self) -> Tree {
        Tree { nodes: self.nodes.into_inner(), incomplete: false, is_quirky: self.is_quirky.get(), malformed: None }
    }

    fn nameless(&self, id: NodeId) -> Handle {
        Handle { id, name: Rc::clone(&self.nameless) }
    }

    fn shared(&self, name: QualName) -> Rc<QualName> {
        let mut names = self.names.borrow_mut();
        // Most differ in their local part, which is compared first.
        if let Some(known) = names.iter().find(|known| known.local == name.local && ***known == name) {
            return Rc::clone(known);
        }
        let name = Rc::new(name);
        if names.len() < MOST_SHARED_NAMES {
            names.push(Rc::clone(&name));
        }
        name
    }

    /// Text is kept for style and script elements alone.
    pub(super) fn add_text(&self, parent: NodeId, text: &str) {
        let mut nodes = self.nodes.borrow_mut();
        if let Some(element) = nodes[parent as usize].element.as_mut()
            && matches!(&*element.name, "style" | "script")
        {
            element.text.push_str(text);
        }
    }

    fn detach(nodes: &mut [Node], id: NodeId) {
        let (parent, previous, next) = {
            let node = &mut nodes[id as usize];
            let links = (node.parent, node.previous, node.next);
            node.parent = NONE;
            node.previous = NONE;
            node.next = NONE;
            links
        };
        if previous != NONE {
            nodes[previous as usize].next = next;
        } else if parent != NONE {
            nodes[parent as usize].first = next;
        }
        if next != NONE {
            nodes[next as usize].previous = previous;
        } else if parent != NONE {
            nodes[parent as usize].last = previous;
        }
    }

    fn attach_last(nodes: &mut [Node], parent: NodeId, id: NodeId) {
        Self::detach(nodes, id);
        let last = nodes[parent as usize].last;
        let node = &mut nodes[id as usize];
        node.parent = parent;
        node.previous = last;
        if last == NONE {
            nodes[parent as usize].first = id;
        } else {
            nodes[last as usize].next = id;
        }
        nodes[parent as usize].last = id;
    }

    fn attach_before(nodes: &mut [Node], sibling: NodeId, id: NodeId) {
        Self::detach(nodes, id);
        let parent = nodes[sibling as usize].parent;
        let previous = nodes[sibling as usize].previous;
        let node = &mut nodes[id as usize];
        node.parent = parent;
        node.previous = previous;
        node.next = sibling;
        nodes[sibling as usize].previous = id;
        if previous != NONE {
            nodes[previous as usize].next = id;
        } else if parent != NONE {
            nodes[parent as usize].first = id;
        }
    }
}

/// Which elements may have a declarative shadow root.
fn may_host_shadow(element: &Element) -> bool {
    const HOSTS: [&str; 18] = [
        "article",
        "aside",
        "blockquote",
        "body",
        "div",
        "footer",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "main",
        "nav",
        "p",
        "section",
        "span",
    ];
    element.space == Space::Html && element.shadow.is_none() && (HOSTS.contains(&&*element.name) || element.name.contains('-'))
}

impl TreeSink for Sink {
    type Handle = Handle;
    type Output = Tree;
    type ElemName<'a> = ExpandedName<'a>;

    fn finish(self) -> Tree {
        self.into_tree()
    }

    fn parse_error(&self, _message: Cow<'static, str>) {}

    fn get_document(&self) -> Handle {
        self.nameless(ROOT)
    }

    fn elem_name<'a>(&'a self, target: &'a Handle) -> ExpandedName<'a> {
        target.name.expanded()
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, flags: ElementFlags) -> Handle {
        let space = match name.ns {
            ns!(html) => Space::Html,
            ns!(svg) => Space::Svg,
            _ => Space::Other,
        };
        let content = if flags.template { self.add(None) } else { NONE };
        let mut others = Vec::new();
        let attributes = attributes.into_iter().filter_map(|a| {
            let name = wanted(&a);
            if name.is_none() {
                others.push((a.name.local, a.value));
                return None;
            }
            name.map(|name| (name, a.value))
        });
        let attributes = attributes.collect();
        let element = Element {
            space,
            name: name.local.clone(),
            line: self.line.get(),
            attributes,
            others,
            text: String::new(),
            content,
            shadow: None,
        };
        Handle { id: self.add(Some(element)), name: self.shared(name) }
    }

    fn create_comment(&self, _text: StrTendril) -> Handle {
        self.nameless(self.add(None))
    }

    fn create_pi(&self, _target: StrTendril, _data: StrTendril) -> Handle {
        self.nameless(self.add(None))
    }

    fn append(&self, parent: &Handle, child: NodeOrText<Handle>) {
        match child {
            NodeOrText::AppendNode(node) => Self::attach_last(&mut self.nodes.borrow_mut(), parent.id, node.id),
            NodeOrText::AppendText(text) => self.add_text(parent.id, &text),
        }
    }

    fn append_based_on_parent_node(&self, element: &Handle, previous: &Handle, child: NodeOrText<Handle>) {
        let has_parent = self.nodes.borrow()[element.id as usize].parent != NONE;
        if has_parent {
            self.append_before_sibling(element, child);
        } else {
            self.append(previous, child);
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&self, target: &Handle) -> Handle {
        let content = self.nodes.borrow()[target.id as usize].element.as_ref().map_or(NONE, |element| element.content);
        self.nameless(if content == NONE { self.add(None) } else { content })
    }

    fn same_node(&self, x: &Handle, y: &Handle) -> bool {
        x.id == y.id
    }

    fn set_quirks_mode(&self, mode: QuirksMode) {
        self.is_quirky.set(mode == QuirksMode::Quirks);
    }

    fn append_before_sibling(&self, sibling: &Handle, new_node: NodeOrText<Handle>) {
        if let NodeOrText::AppendNode(node) = new_node {
            Self::attach_before(&mut self.nodes.borrow_mut(), sibling.id, node.id);
        }
    }

    fn add_attrs_if_missing(&self, target: &Handle, attributes: Vec<Attribute>) {
        let mut nodes = self.nodes.borrow_mut();
        let Some(element) = nodes[target.id as usize].element.as_mut() else { return };
        for attribute in attributes {
            if let Some(name) = wanted(&attribute)
                && element.attribute(name).is_none()
            {
                element.attributes.push((name, attribute.value));
            }
        }
    }

    fn remove_from_parent(&self, target: &Handle) {
        Self::detach(&mut self.nodes.borrow_mut(), target.id);
    }

    fn reparent_children(&self, node: &Handle, new_parent: &Handle) {
        let mut nodes = self.nodes.borrow_mut();
        let mut child = nodes[node.id as usize].first;
        while child != NONE {
            let next = nodes[child as usize].next;
            Self::attach_last(&mut nodes, new_parent.id, child);
            child = next;
        }
    }

    fn set_current_line(&self, line: u64) {
        self.line.set(u32::try_from(line).unwrap_or(u32::MAX));
    }

    fn attach_declarative_shadow(&self, host: &Handle, template: &Handle, _attributes: &[Attribute]) -> bool {
        let mut nodes = self.nodes.borrow_mut();
        let content = nodes[template.id as usize].element.as_ref().map_or(NONE, |element| element.content);
        match nodes[host.id as usize].element.as_mut() {
            Some(element) if content != NONE && may_host_shadow(element) => {
                element.shadow = Some(content);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::WANTED;
    use super::build;

    #[test]
    fn the_attributes_are_sorted_so_that_each_is_found() {
        assert!(WANTED.is_sorted());
    }

    #[test]
    fn a_page_that_takes_too_long_is_given_up_and_says_so() {
        assert!(build(&"<p>".repeat(4000), true, Instant::now()).incomplete);
        assert!(!build("<p>", true, Instant::now()).incomplete);
    }
}
