//! Why `ssh` did not reach a host, as one sentence that names what to change.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::Hop;
use crate::config::Host;

/// Why the host `name` was not reached, from the lines that `ssh` wrote to standard error; none: they say nothing that is known.
#[must_use]
pub fn why_not(name: &str, host: &Host, said: &[String]) -> Option<String> {
    let text = said.join("\n");
    let hops = [("target", format!("host.{name}"), Some(&host.to)), ("jump", format!("host.{name}.jump"), host.jump.as_ref())];
    let hops = || hops.iter().filter_map(|(alias, table, hop)| Some((*alias, table.as_str(), (*hop)?)));
    let is_another_key = |alias: &str| {
        text.contains(&format!("Host key for {alias} has changed")) || text.contains(&format!("host key is known for {alias} and"))
    };
    if let Some((_, table, hop)) = hops().find(|(alias, ..)| is_another_key(alias)) {
        return Some(format!(
            "{} shows another host key than {table}.host_key says, so nothing was sent there: if it was installed anew, compare its key and change \
             host_key; if not, somebody is in between",
            address(hop)
        ));
    }
    let (_, _, hop) = hops().find(|(.., hop)| text.contains(&format!("{}: Permission denied", address(hop))))?;
    Some(match &hop.identity {
        Some(file) if is_encrypted(file) => format!(
            "{} was not asked, because the key {} has a passphrase and there is nobody to ask for it: load it into ssh-agent first (`ssh-add`), or use \
             a key without one",
            address(hop),
            file.display()
        ),
        Some(file) => format!(
            "{} does not accept the key {}: add its public half to ~/.ssh/authorized_keys there, or name another identity_file",
            address(hop),
            file.display()
        ),
        None => format!("{} does not accept any key that ssh finds by itself: name one with identity_file", address(hop)),
    })
}

fn address(hop: &Hop) -> String {
    format!("{}@{}", hop.user, hop.host)
}

/// Whether a private key has a passphrase: OpenSSH's own format names the cipher first, older ones say so in a header.
fn is_encrypted(file: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(file) else { return false };
    if text.contains("ENCRYPTED") {
        return true;
    }
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let bytes = STANDARD.decode(body.trim()).unwrap_or_default();
    let none = [b"openssh-key-v1\0".as_slice(), &4_u32.to_be_bytes(), b"none"].concat();
    bytes.starts_with(b"openssh-key-v1\0") && !bytes.starts_with(&none)
}

#[cfg(test)]
mod tests {
    use super::why_not;
    use crate::config::Hop;
    use crate::config::Host;

    fn host() -> Host {
        let hop = |user: &str, host: &str| Hop { user: user.into(), host: host.into(), port: 22, host_key: None, identity: None };
        let jump = Some(hop("ops", "10.0.0.1"));
        Host { to: hop("deploy", "edge"), jump, program: "tagalong".into(), config: None, is_dialled: true }
    }

    #[test]
    fn which_hop_is_meant_is_said() {
        let said = |line: &str| why_not("edge", &host(), &["x".to_owned(), line.to_owned()]);
        let changed = said("Host key for jump has changed and you have requested strict checking.").unwrap();
        assert!(changed.starts_with("ops@10.0.0.1 shows another host key than host.edge.jump.host_key"), "{changed}");
        let other_kind = said("No RSA host key is known for target and you have requested strict checking.").unwrap();
        assert!(other_kind.starts_with("deploy@edge shows another host key than host.edge.host_key"), "{other_kind}");
        let denied = said("deploy@edge: Permission denied (publickey).").unwrap();
        assert!(denied.contains("any key that ssh finds by itself"), "{denied}");
        assert_eq!(said("connect to host edge port 22: No route to host"), None);
    }
}
