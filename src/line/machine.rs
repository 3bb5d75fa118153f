//! Which machine this is.

use sha2::Digest as _;
use sha2::Sha256;

use crate::model::MachineId;

/// What names this machine: made from its own id (machine-id(5)), which it does not reveal. A machine without one has a name that all such
/// machines share; there a copy of an agent is noticed only by its coming and going.
#[must_use]
pub fn machine_id() -> MachineId {
    let own = ["/etc/machine-id", "/var/lib/dbus/machine-id"].into_iter().find_map(|file| {
        let text = std::fs::read_to_string(file).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    });
    named(&own.unwrap_or_default())
}

fn named(own: &str) -> MachineId {
    let digest = Sha256::new().chain_update("tagalong agent ").chain_update(own).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    MachineId::of(bytes)
}

#[cfg(test)]
mod tests {
    use super::machine_id;
    use super::named;

    #[test]
    fn a_machine_keeps_its_name_and_another_has_another() {
        assert_eq!(machine_id(), machine_id());
        assert_ne!(named("a"), named("b"));
    }
}
