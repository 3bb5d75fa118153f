//! The page's tree, as small as the walk needs it: names, some attributes, the text of style elements, the order.

use html5ever::LocalName;
use html5ever::tendril::StrTendril;

use crate::page::Malformed;

/// A node's place in the tree.
pub(super) type NodeId = u32;
/// No node.
pub(super) const NONE: NodeId = NodeId::MAX;
/// The document itself.
pub(super) const ROOT: NodeId = 0;

/// Which language an element belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// HTML.
    Html,
    /// SVG.
    Svg,
    /// `MathML` and whatever else.
    Other,
}

/// A node and its neighbours, each possibly [`NONE`].
#[derive(Debug)]
pub(super) struct Node {
    /// The node above.
    pub(super) parent: NodeId,
    /// The sibling before.
    pub(super) previous: NodeId,
    /// The sibling after.
    pub(super) next: NodeId,
    /// The first child.
    pub(super) first: NodeId,
    /// The last child.
    pub(super) last: NodeId,
    /// What it is, when it is an element.
    pub(super) element: Option<Element>,
}

/// An element.
#[derive(Debug)]
pub(super) struct Element {
    /// Its language.
    pub(super) space: Space,
    /// Its name.
    pub(super) name: LocalName,
    /// The line where its start tag ends, from 1.
    pub(super) line: u32,
    /// Those attributes that the walk asks for.
    pub(super) attributes: Vec<(&'static str, StrTendril)>,
    /// The others, at which selectors may look.
    pub(super) others: Vec<(LocalName, StrTendril)>,
    /// The text of a style or script element.
    pub(super) text: String,
    /// The content of a `template`, which is no child.
    pub(super) content: NodeId,
    /// The content of its declarative shadow root.
    pub(super) shadow: Option<NodeId>,
}

impl Element {
    /// The attribute's value.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| *n == name).map(|(_, value)| &**value)
    }

    /// Whether this is the HTML element `name`.
    pub(super) fn is_html(&self, name: &str) -> bool {
        self.space == Space::Html && &*self.name == name
    }
}

/// A finished tree.
#[derive(Debug)]
pub(super) struct Tree {
    /// Its nodes by their id.
    pub(super) nodes: Vec<Node>,
    /// Whether the page was given up before its end.
    pub(super) incomplete: bool,
    /// Whether browsers lay the page out as of old, because its doctype is missing or of another time.
    pub(super) is_quirky: bool,
    /// Where and why XML ends early.
    pub(super) malformed: Option<Malformed>,
}

impl Tree {
    /// Calls `visit` for each live element, in document order: shadow roots are live, other templates are not. It is told
    /// whether the element stands in a shadow root.
    pub(super) fn each_live<'t>(&'t self, mut visit: impl FnMut(NodeId, &'t Element, bool)) {
        let mut open = vec![(ROOT, false)];
        while let Some((id, in_shadow)) = open.pop() {
            if let Some(next) = self.next_sibling(id) {
                open.push((next, in_shadow));
            }
            if let Some(child) = self.first_child(id) {
                open.push((child, in_shadow));
            }
            if let Some(element) = self.element(id) {
                visit(id, element, in_shadow);
                if let Some(child) = element.shadow.and_then(|content| self.first_child(content)) {
                    open.push((child, true));
                }
            }
        }
    }

    /// The element at `id`, if one is there.
    pub(super) fn element(&self, id: NodeId) -> Option<&Element> {
        self.nodes.get(id as usize).and_then(|node| node.element.as_ref())
    }

    /// The node's parent.
    pub(super) fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.link(id, |node| node.parent)
    }

    /// The node's first child.
    pub(super) fn first_child(&self, id: NodeId) -> Option<NodeId> {
        self.link(id, |node| node.first)
    }

    /// The node's next sibling.
    pub(super) fn next_sibling(&self, id: NodeId) -> Option<NodeId> {
        self.link(id, |node| node.next)
    }

    /// The parent, where it is an element.
    pub(super) fn parent_element(&self, id: NodeId) -> Option<&Element> {
        self.element(self.parent(id)?)
    }

    fn link(&self, id: NodeId, which: impl Fn(&Node) -> NodeId) -> Option<NodeId> {
        self.nodes.get(id as usize).map(which).filter(|id| *id != NONE)
    }
}
