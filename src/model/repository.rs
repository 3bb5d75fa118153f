//! The repository of a forge.

use crate::model::word::WordError;
use crate::model::word::text_form;

/// A repository of a forge, as `OWNER/NAME`: every part is safe in the path of an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ForgeRepository(String);

impl ForgeRepository {
    /// Takes `given` as a repository.
    ///
    /// # Errors
    /// When it is not `OWNER/NAME`.
    pub fn parse(given: &str) -> Result<Self, WordError> {
        let letter_ok = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let part_ok = |part: &str| (1..=100).contains(&part.len()) && !matches!(part, "." | "..") && part.bytes().all(letter_ok);
        match given.split_once('/') {
            Some((owner, name)) if part_ok(owner) && part_ok(name) => Ok(Self(given.to_owned())),
            _ => Err(WordError::new("The repository", given, "it is OWNER/NAME, as in the address of the repository")),
        }
    }

    /// As `OWNER/NAME`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Who owns it.
    #[must_use]
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// What its owner calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    /// Whether `other` is the same repository: forges pay no regard to case.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other)
    }
}
text_form!(ForgeRepository);

#[cfg(test)]
mod tests {
    use super::ForgeRepository;

    #[test]
    fn a_repository_is_an_owner_and_a_name() {
        let repository = ForgeRepository::parse("Acme/web.site_2").expect("a repository");
        assert_eq!((repository.owner(), repository.name(), repository.is("acme/WEB.site_2")), ("Acme", "web.site_2", true));
        let long = format!("acme/{}", "x".repeat(101));
        for bad in ["", "acme", "acme/", "/web", "acme/web/x", "acme/..", "./web", "acme/w eb", "acme/w?b", "acme/w%62", "acme/wéb", &long]
        {
            assert!(ForgeRepository::parse(bad).is_err(), "{bad}");
        }
    }
}
