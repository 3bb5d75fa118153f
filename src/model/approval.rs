//! Approvals: the one-time codes that approvers are sent, and what is recorded of an approval.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::Caller;
use crate::model::DeploymentId;
use crate::model::ImageRef;
use crate::model::KeyId;
use crate::model::image::are_same_contents;
use crate::model::mark::is_same_mark;
use crate::model::mark::mark;

/// Crockford's digits: none of them is taken for another one.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// How many digits a code has, of five bits each.
const LENGTH: usize = 12;
/// How many digits stand together.
const GROUP: usize = 4;
/// How many digits of a mark stand in the address of a form: 128 bits.
const ADDRESS: usize = 32;

/// How many wrong codes end an order.
pub const MOST_WRONG_CODES: i64 = 5;

/// A code that approves one order once, of 60 random bits.
#[derive(Clone)]
pub struct Code(String);

/// What a code is good for: this order of these images, by this approver.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    /// The order.
    pub order: &'a DeploymentId,
    /// What it lands.
    pub images: &'a [ImageRef],
    /// Who was sent the code.
    pub approver: &'a KeyId,
}

impl Code {
    /// The code made of these random bytes.
    #[must_use]
    pub fn of(random: [u8; LENGTH]) -> Self {
        Self(random.iter().map(|byte| char::from(DIGITS[usize::from(byte & 31)])).collect())
    }

    /// Takes what a person typed as a code: upper or lower case, with or without its hyphens, and with the letters that are taken for
    /// digits.
    ///
    /// # Errors
    /// When it is none; what was typed is not repeated.
    pub fn parse(given: &str) -> Result<Self, &'static str> {
        let is_gap = |c: &char| c.is_whitespace() || matches!(c, '-' | '–' | '\u{2011}');
        let digit = |c: char| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let code: String = given.chars().filter(|c| !is_gap(c)).take(LENGTH + 1).map(digit).collect();
        let is_code = code.len() == LENGTH && code.bytes().all(|digit| DIGITS.contains(&digit));
        is_code.then_some(Self(code)).ok_or("A code has 12 letters and digits, as in 7K3M-9QXT-2BWD.")
    }

    /// The code as it is sent, in groups that are easy to type.
    #[must_use]
    pub fn grouped(&self) -> String {
        let groups: Vec<&str> = (0..LENGTH / GROUP).map(|at| &self.0[at * GROUP..(at + 1) * GROUP]).collect();
        groups.join("-")
    }

    /// What the code is known by where it is good for `bound`.
    #[must_use]
    pub fn mark(&self, key: &[u8], bound: Bound<'_>) -> String {
        mark(key, &self.with(bound))
    }

    /// Whether `shown` is [`Code::mark`] of it; timing reveals nothing of how far it is right.
    #[must_use]
    pub fn has_mark(&self, key: &[u8], bound: Bound<'_>, shown: &str) -> bool {
        is_same_mark(&self.mark(key, bound), shown)
    }

    fn with(&self, bound: Bound<'_>) -> Vec<u8> {
        let images: Vec<String> = bound.images.iter().map(ImageRef::by_digest).collect();
        let fields = ["approval code", bound.order.as_str(), bound.approver.as_str(), &self.0];
        joined(fields.into_iter().chain(images.iter().map(String::as_str)))
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(…)")
    }
}

/// The last part of the address of a form, by which `approver` shows the order and enters a code: whoever only knows the order's id
/// cannot open it.
#[must_use]
pub fn form_part(key: &[u8], order: &DeploymentId, approver: &KeyId) -> String {
    let mut part = mark(key, &joined(["approval form", order.as_str(), approver.as_str()].into_iter()));
    part.truncate(ADDRESS);
    part
}

/// Whether `shown` is [`form_part`]; timing reveals nothing of how far it is right.
#[must_use]
pub fn is_form_part(key: &[u8], order: &DeploymentId, approver: &KeyId, shown: &str) -> bool {
    is_same_mark(&form_part(key, order, approver), shown)
}

/// Fields, each with its length before it, so that no two different lists read the same.
fn joined<'f>(fields: impl Iterator<Item = &'f str>) -> Vec<u8> {
    let mut all = Vec::new();
    for field in fields {
        all.extend((field.len() as u64).to_be_bytes());
        all.extend(field.as_bytes());
    }
    all
}

/// By which way a code came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// The form whose address stands in the message to this person.
    Form(KeyId),
    /// A call of the interface by somebody who proved who they are.
    Call(Caller),
}

impl std::fmt::Display for Via {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Form(_) => f.write_str("form"),
            Self::Call(caller) => caller.fmt(f),
        }
    }
}

/// One person's approval of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovedBy {
    /// The person.
    #[schema(value_type = String)]
    pub who: KeyId,
    /// How the code came: `form`, or the caller.
    pub via: String,
    /// When, ms since 1970 (UTC).
    pub at_ms: i64,
}

/// What was approved of an order, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Approved {
    /// The exact images that the codes were made for.
    pub images: Vec<String>,
    /// Who approved them, in this order; nobody: people of the control plane that sent the order.
    pub by: Vec<ApprovedBy>,
}

impl Approved {
    /// When the last approval that was needed came, ms since 1970 (UTC).
    #[must_use]
    pub fn at_ms(&self) -> i64 {
        self.by.iter().map(|one| one.at_ms).max().unwrap_or_default()
    }

    /// Who approved it, as one text.
    #[must_use]
    pub fn names(&self) -> String {
        if self.by.is_empty() {
            return "the control plane".to_owned();
        }
        self.by.iter().map(|one| one.who.as_str()).collect::<Vec<_>>().join(" and ")
    }

    /// Whether `images` are what was approved, whatever their tags.
    #[must_use]
    pub fn is_for(&self, images: &[ImageRef]) -> bool {
        let approved: Vec<ImageRef> = self.images.iter().filter_map(|text| ImageRef::parse(text).ok()).collect();
        approved.len() == self.images.len() && are_same_contents(&approved, images)
    }
}

#[cfg(test)]
mod tests {
    use super::Approved;
    use super::Bound;
    use super::Code;
    use super::form_part;
    use super::is_form_part;
    use crate::model::DeploymentId;
    use crate::model::ImageRef;
    use crate::model::KeyId;

    fn image(digit: char) -> ImageRef {
        ImageRef::parse(&format!("acme/web:v1@sha256:{}", digit.to_string().repeat(64))).expect("an image")
    }

    fn person(name: &str) -> KeyId {
        KeyId::parse(name).expect("a name")
    }

    #[test]
    fn a_code_is_typed_in_many_ways_and_shown_in_one() {
        let code = Code::of([7, 19, 3, 20, 9, 23, 29, 26, 2, 11, 28, 13]);
        assert_eq!((code.grouped().as_str(), format!("{code:?}").as_str()), ("7K3M-9QXT-2BWD", "Code(…)"));
        for typed in ["7K3M-9QXT-2BWD", "7k3m9qxt2bwd", " 7K3M 9qxt–2bwd\n"] {
            assert_eq!(Code::parse(typed).expect("a code").0, code.0, "{typed}");
        }
        assert_eq!(Code::parse("oIl0-0000-0000").expect("a code").0, "011000000000");
        for wrong in ["", "7K3M", "7K3M-9QXT-2BWDX", "7K3M-9QXT-2BWU", "7K3M-9QXT-2BW€"] {
            assert!(Code::parse(wrong).is_err(), "{wrong}");
        }
        // All of the random bits count.
        assert_ne!(Code::of([31; 12]).0, Code::of([30; 12]).0);
    }

    #[test]
    fn a_code_is_good_for_one_order_of_one_content_by_one_approver() {
        let code = Code::of([5; 12]);
        let orders = [DeploymentId::from_parts(1, 1), DeploymentId::from_parts(1, 2)];
        let people = [person("ada"), person("bob")];
        let images = [vec![image('a')], vec![image('b')], vec![image('a'), image('b')], Vec::new()];
        let bound =
            |order: usize, content: usize, who: usize| Bound { order: &orders[order], images: &images[content], approver: &people[who] };
        let right = code.mark(b"key", bound(0, 0, 0));
        assert!(code.has_mark(b"key", bound(0, 0, 0), &right));
        assert!(!code.has_mark(b"another", bound(0, 0, 0), &right) && !Code::of([6; 12]).has_mark(b"key", bound(0, 0, 0), &right));
        for (order, content, who) in [(1, 0, 0), (0, 1, 0), (0, 2, 0), (0, 3, 0), (0, 0, 1)] {
            assert!(!code.has_mark(b"key", bound(order, content, who), &right), "{order} {content} {who}");
        }
        assert!(!code.has_mark(b"key", bound(0, 0, 0), ""));
    }

    #[test]
    fn a_form_is_one_approvers_of_one_order() {
        let orders = [DeploymentId::from_parts(1, 1), DeploymentId::from_parts(1, 2)];
        let people = [person("ada"), person("bob")];
        let part = form_part(b"key", &orders[0], &people[0]);
        assert!(is_form_part(b"key", &orders[0], &people[0], &part));
        assert!(!is_form_part(b"key", &orders[1], &people[0], &part) && !is_form_part(b"key", &orders[0], &people[1], &part));
        assert!(!is_form_part(b"key", &orders[0], &people[0], "") && !is_form_part(b"key", &orders[0], &people[0], &part[1..]));
    }

    #[test]
    fn what_was_approved_is_known_by_its_content() {
        let approved = Approved { images: vec![image('a').to_string(), image('b').to_string()], by: Vec::new() };
        let another_tag = ImageRef { tag: "v2".parse().ok(), ..image('a') };
        assert!(approved.is_for(&[image('b'), another_tag]));
        for other in [vec![], vec![image('a')], vec![image('a'), image('c')], vec![image('a'), image('b'), image('c')]] {
            assert!(!approved.is_for(&other), "{other:?}");
        }
        assert!(!Approved { images: vec!["latest".into()], by: Vec::new() }.is_for(&[image('a')]));
    }
}
