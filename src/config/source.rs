//! Which repository of which forge a service is built from, and what the forge is told.

use crate::config::Admission;
use crate::config::reader::Section;
use crate::model::ForgeRepository;
use crate::model::KeyId;
use crate::model::ServiceName;

/// The repository that a service is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The forge, by our name for it.
    pub forge: KeyId,
    /// The repository.
    pub repository: ForgeRepository,
    /// Whether the forge is told what becomes of an order.
    pub report: bool,
    /// What the place where it runs is called there.
    pub environment: String,
    /// Which orders are admitted.
    pub admission: Admission,
}

impl Source {
    pub(super) fn read(mut from: Section, service: &ServiceName) -> Option<Self> {
        let missing = "a source needs the id of a [[forge]]; write forge = \"github\".";
        let forge = from.needed("forge", missing, KeyId::parse);
        let missing = "a source needs the repository that the service is built from; write repository = \"acme/web\".";
        let repository = from.needed("repository", missing, ForgeRepository::parse);
        let report = from.flag("report", true);
        let environment = from.parsed("environment", environment).unwrap_or_else(|| format!("tagalong/{service}"));
        let admission = Admission::read(&mut from);
        from.finish();
        Some(Self { forge: forge?, repository: repository?, report, environment, admission })
    }
}

fn environment(text: &str) -> Result<String, &'static str> {
    let is_ok = !text.is_empty() && text.len() <= 255 && text.trim() == text && !text.chars().any(char::is_control);
    if is_ok { Ok(text.to_owned()) } else { Err("it must be the name of an environment, of 1 to 255 bytes in one line.") }
}
