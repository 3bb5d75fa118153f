//! `[agent]`: the control plane that this host takes orders from.

use std::path::PathBuf;

use url::Url;

use crate::config::reader::Section;
use crate::model::AgentName;
use crate::model::is_in_the_clear;

/// The control plane that this host takes orders from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The name of this host there.
    pub name: AgentName,
    /// Its address.
    pub url: Url,
    /// Certificates that are trusted besides the host's own (PEM).
    pub ca_file: Option<PathBuf>,
}

impl Agent {
    pub(super) fn read(mut from: Section) -> Option<Self> {
        let unnamed = "name this host as the control plane knows it: the NAME of `tagalong agent token NAME`.";
        let name = from.needed("name", unnamed, AgentName::parse);
        let nowhere = "set the address of the control plane: url = \"https://tagalong.example.com\".";
        let url = from.needed("url", nowhere, address);
        let ca_file = from.path("ca_file");
        from.finish();
        Some(Self { name: name?, url: url?, ca_file })
    }
}

/// The address of a control plane, where nobody on the way can read or change what is said.
///
/// # Errors
/// One sentence.
fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    let url =
        url.ok_or_else(|| format!("\"{}\" is not the address of a server; write https://tagalong.example.com.", text.escape_default()))?;
    if is_in_the_clear(&url) {
        return Err(format!("{url} uses plain http, so anybody on the way could read and change what is said; use an https:// address."));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("write only the address, without a user, a query or a fragment; the agent proves itself with its own key.".to_owned());
    }
    Ok(url)
}
