//! What each side signs to prove itself: that it has its private key, now, on this very connection.
//!
//! A line is opened in three steps. The agent's call carries an [`Opening`], signed, so that strangers are refused before the upgrade; it is
//! no proof of freshness. The control plane answers with a nonce of its own and signs both; the agent checks that and signs both as well.
//! Whoever recorded a line, or passes one on, has neither.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::Digest as _;
use sha2::Sha256;
use text::Secret;

use crate::clock;
use crate::line::keys::KeyPair;
use crate::line::keys::is_signed;
use crate::model::AgentName;
use crate::model::MachineId;
use crate::model::PublicKey;

/// What the WebSocket speaks; its number is the major version.
pub const SUBPROTOCOL: &str = "tagalong.v1";
/// The header of the call that opens a line.
pub const OPENING_HEADER: &str = "tagalong-agent";
/// How every code begins.
const CODE_PREFIX: &str = "te_";
/// How much of the control plane's key a code names.
const MARK_BYTES: usize = 16;

/// What TLS made of the connection: both ends of it have the same, and no other connection has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// The exporter value of TLS (RFC 5705), where the control plane has TLS of its own.
    Exporter([u8; 32]),
    /// There is none: a proxy has the TLS, or nothing leaves the host.
    Nothing,
}

/// The label under which TLS is asked for it.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-tagalong-line";

impl Binding {
    /// The word for it in the challenge.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Exporter(_) => "tls-exporter",
            Self::Nothing => "none",
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Exporter(bytes) => bytes,
            Self::Nothing => b"",
        }
    }
}

/// What is signed: each part is preceded by its length, so that no two different ones are the same, and the purpose is the first of them.
fn message(purpose: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::with_capacity(256);
    for part in [b"tagalong line 1".as_slice(), purpose.as_bytes()].iter().chain(parts) {
        message.extend_from_slice(&(part.len() as u64).to_be_bytes());
        message.extend_from_slice(part);
    }
    message
}

/// A number that is used once, as text.
#[must_use]
pub fn nonce() -> String {
    URL_SAFE_NO_PAD.encode(clock::random_bytes::<32>())
}

/// Whether `given` may be a nonce: long enough that nobody guesses it.
fn is_nonce(given: &str) -> bool {
    URL_SAFE_NO_PAD.decode(given).is_ok_and(|bytes| bytes.len() == 32)
}

/// What an agent sends along with the call that opens a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The agent.
    pub name: AgentName,
    /// The machine that it runs on.
    pub machine: MachineId,
    /// Which of its processes it is: a number that it made when it started.
    pub life: String,
    /// The agent's nonce.
    pub nonce: String,
    /// The key that it proves.
    pub key: PublicKey,
}

impl Opening {
    fn message(&self) -> Vec<u8> {
        let Self { name, machine, life, nonce, key } = self;
        let texts = [name.as_str(), machine.as_str(), life, nonce, key.as_str()];
        message("opening", &texts.map(str::as_bytes))
    }

    /// The header, signed with `keys`, whose public half it names.
    #[must_use]
    pub fn header(&self, keys: &KeyPair) -> String {
        let Self { name, machine, life, nonce, key } = self;
        format!("{name} {machine} {life} {nonce} {key} {}", keys.sign(&self.message()))
    }

    /// What a header says, if the key that it names has signed it. Whose key that is, the caller has to look up.
    #[must_use]
    pub fn of_header(header: &str) -> Option<Self> {
        let parts: Vec<&str> = header.split(' ').collect();
        let [name, machine, life, nonce, key, signature] = parts.try_into().ok()?;
        let is_life = life.len() == 32 && life.bytes().all(|b| b.is_ascii_hexdigit());
        let opening = Self {
            name: AgentName::parse(name).ok()?,
            machine: MachineId::parse(machine).ok()?,
            life: life.to_owned(),
            nonce: nonce.to_owned(),
            key: PublicKey::parse(key).ok()?,
        };
        (is_life && is_nonce(nonce) && is_signed(&opening.key, &opening.message(), signature)).then_some(opening)
    }
}

/// Everything that both sides of a line know when they prove themselves.
#[derive(Debug)]
pub(super) struct Meeting<'m> {
    /// What the agent opened the line with.
    pub(super) opening: &'m Opening,
    /// The control plane's key.
    pub(super) control: &'m PublicKey,
    /// The control plane's nonce.
    pub(super) nonce: &'m str,
    /// What TLS made of the connection.
    pub(super) binding: &'m Binding,
}

impl Meeting<'_> {
    /// What `side` signs.
    fn message(&self, side: &str) -> Vec<u8> {
        let Self { opening, control, nonce, binding } = self;
        let texts = [opening.name.as_str(), opening.machine.as_str(), &opening.life, &opening.nonce, opening.key.as_str()];
        let mut parts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
        parts.extend([control.as_str().as_bytes(), nonce.as_bytes(), binding.word().as_bytes(), binding.bytes()]);
        message(side, &parts)
    }

    /// The control plane's proof.
    #[must_use]
    pub(super) fn prove_control(&self, keys: &KeyPair) -> String {
        keys.sign(&self.message("control"))
    }

    /// Whether `proof` is the control plane's.
    #[must_use]
    pub(super) fn is_control(&self, proof: &str) -> bool {
        is_nonce(self.nonce) && is_signed(self.control, &self.message("control"), proof)
    }

    /// The agent's proof.
    #[must_use]
    pub(super) fn prove_agent(&self, keys: &KeyPair) -> String {
        keys.sign(&self.message("agent"))
    }

    /// Whether `proof` is the agent's.
    #[must_use]
    pub(super) fn is_agent(&self, proof: &str) -> bool {
        is_signed(&self.opening.key, &self.message("agent"), proof)
    }

    /// The proof that the agent has the key that is to take the place of the one it opened the line with.
    #[must_use]
    pub(super) fn prove_next(&self, keys: &KeyPair) -> String {
        keys.sign(&self.message("next key"))
    }

    /// Whether `proof` is that of the private half of `key`.
    #[must_use]
    pub(super) fn is_next(&self, key: &PublicKey, proof: &str) -> bool {
        is_signed(key, &self.message("next key"), proof)
    }
}

/// A code that enrols one agent. It is the seed of a key pair, and names the control plane that it is for: so neither who overhears the
/// enrolment nor who has the control plane's database can do anything with what they see, and the agent knows whom it talks to.
#[derive(Debug)]
pub struct EnrolmentCode {
    keys: KeyPair,
    control: [u8; MARK_BYTES],
}

impl EnrolmentCode {
    /// A new code of the control plane with this key, and its text.
    #[must_use]
    pub fn new(control: &PublicKey) -> Option<(Self, Secret)> {
        let secret = clock::random_bytes::<16>();
        let text = format!("{CODE_PREFIX}{}", URL_SAFE_NO_PAD.encode([secret, mark(control)].concat()));
        Some((Self { keys: pair(secret)?, control: mark(control) }, Secret::new(text)))
    }

    /// Takes `given` as a code; white space around it does not count.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(given: &str) -> Result<Self, String> {
        let wrong = "This is no enrolment code; `tagalong agent token NAME` on the control plane prints one, which begins with te_.";
        let bytes = given.trim().strip_prefix(CODE_PREFIX).and_then(|code| URL_SAFE_NO_PAD.decode(code).ok());
        let bytes: [u8; 32] = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(wrong)?;
        let mut secret = [0; 16];
        secret.copy_from_slice(&bytes[..16]);
        let mut control = [0; MARK_BYTES];
        control.copy_from_slice(&bytes[16..]);
        Ok(Self { keys: pair(secret).ok_or(wrong)?, control })
    }

    /// What it is known by.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        self.keys.public()
    }

    /// Whether it is for the control plane with this key.
    #[must_use]
    pub fn is_for(&self, control: &PublicKey) -> bool {
        mark(control) == self.control
    }
}

fn pair(secret: [u8; 16]) -> Option<KeyPair> {
    KeyPair::of_seed(Sha256::new().chain_update("tagalong enrolment code ").chain_update(secret).finalize().into())
}

fn mark(control: &PublicKey) -> [u8; MARK_BYTES] {
    let digest = Sha256::digest(control.bytes());
    let mut mark = [0; MARK_BYTES];
    mark.copy_from_slice(&digest[..MARK_BYTES]);
    mark
}

/// What a host shows to be enrolled, besides its proofs.
#[derive(Debug)]
pub struct Showing<'s> {
    /// The public half of the code.
    pub code: &'s PublicKey,
    /// The host's new key.
    pub key: &'s PublicKey,
    /// The machine.
    pub machine: &'s MachineId,
    /// The host's nonce.
    pub nonce: &'s str,
}

impl Showing<'_> {
    fn message(&self, purpose: &str, more: &[&str]) -> Vec<u8> {
        let mut parts = vec![self.code.as_str(), self.key.as_str(), self.machine.as_str(), self.nonce];
        parts.extend(more);
        let parts: Vec<&[u8]> = parts.into_iter().map(str::as_bytes).collect();
        message(purpose, &parts)
    }

    /// That the host has the code.
    #[must_use]
    pub fn prove_code(&self, code: &EnrolmentCode) -> String {
        code.keys.sign(&self.message("enrol by code", &[]))
    }

    /// That the host has the private half of its new key.
    #[must_use]
    pub fn prove_key(&self, keys: &KeyPair) -> String {
        keys.sign(&self.message("enrol key", &[]))
    }

    /// Whether both proofs hold.
    #[must_use]
    pub fn holds(&self, by_code: &str, by_key: &str) -> bool {
        let by_code = is_signed(self.code, &self.message("enrol by code", &[]), by_code);
        by_code && is_signed(self.key, &self.message("enrol key", &[]), by_key) && is_nonce(self.nonce)
    }

    /// The control plane's answer: that it has enrolled this very key as `name`.
    #[must_use]
    pub fn answer(&self, name: &AgentName, control: &KeyPair) -> String {
        control.sign(&self.message("enrolled", &[name.as_str()]))
    }

    /// Whether the control plane with the key `control` answered so.
    #[must_use]
    pub fn is_answer(&self, name: &AgentName, control: &PublicKey, proof: &str) -> bool {
        is_signed(control, &self.message("enrolled", &[name.as_str()]), proof)
    }
}

#[cfg(test)]
mod tests {
    use super::Binding;
    use super::EnrolmentCode;
    use super::Meeting;
    use super::Opening;
    use super::Showing;
    use super::nonce;
    use crate::line::keys::KeyPair;
    use crate::model::AgentName;
    use crate::model::MachineId;

    fn opening(keys: &KeyPair) -> Opening {
        Opening {
            name: AgentName::parse("micro").unwrap(),
            machine: MachineId::of([1; 16]),
            life: "0f".repeat(16),
            nonce: nonce(),
            key: keys.public().clone(),
        }
    }

    #[test]
    fn an_opening_reads_back_and_a_changed_one_is_none() {
        let keys = KeyPair::new().unwrap();
        let opening = opening(&keys);
        let header = opening.header(&keys);
        assert_eq!(Opening::of_header(&header), Some(opening));
        let other = KeyPair::new().unwrap();
        let stolen_name = header.replace("micro", "other");
        let other_key = header.replace(keys.public().as_str(), other.public().as_str());
        let elsewhere = header.replace(&"01".repeat(16), &"02".repeat(16));
        for bad in [&stolen_name, &other_key, &elsewhere, "", " ", "micro", &format!("{header} more"), &header.replace(' ', "  ")] {
            assert_eq!(Opening::of_header(bad), None, "{bad}");
        }
    }

    /// Every part of what both sides know is part of both proofs, and the proof of one side is none of the other.
    #[test]
    fn a_proof_holds_for_one_meeting_only() {
        let agent = KeyPair::new().unwrap();
        let control = KeyPair::new().unwrap();
        let opening_here = opening(&agent);
        let number = nonce();
        let exporter = Binding::Exporter([1; 32]);
        let here = Meeting { opening: &opening_here, control: control.public(), nonce: &number, binding: &exporter };
        let by_control = here.prove_control(&control);
        let by_agent = here.prove_agent(&agent);
        assert!(here.is_control(&by_control) && here.is_agent(&by_agent));
        assert!(!here.is_control(&by_agent) && !here.is_agent(&by_control) && !here.is_next(agent.public(), &by_agent));
        let replayed = nonce();
        let later = opening(&agent);
        let moved = Opening { machine: MachineId::of([2; 16]), ..opening_here.clone() };
        let other_control = KeyPair::new().unwrap();
        let beside = Binding::Exporter([2; 32]);
        let others = [
            ("a later nonce of the control plane", Meeting { nonce: &replayed, ..here }),
            ("a later nonce of the agent", Meeting { opening: &later, nonce: &number, binding: &exporter, control: control.public() }),
            ("another machine", Meeting { opening: &moved, nonce: &number, binding: &exporter, control: control.public() }),
            ("another TLS connection", Meeting { opening: &opening_here, nonce: &number, binding: &beside, control: control.public() }),
            (
                "a connection that seems to have no TLS",
                Meeting { opening: &opening_here, nonce: &number, binding: &Binding::Nothing, control: control.public() },
            ),
            (
                "another control plane",
                Meeting { opening: &opening_here, nonce: &number, binding: &exporter, control: other_control.public() },
            ),
        ];
        for (what, other) in others {
            assert!(!other.is_control(&by_control), "{what}");
            assert!(!other.is_agent(&by_agent), "{what}");
        }
    }

    #[test]
    fn a_code_reads_back_names_its_control_plane_and_shows_nothing_of_itself() {
        let control = KeyPair::new().unwrap();
        let (code, text) = EnrolmentCode::new(control.public()).unwrap();
        let read = EnrolmentCode::parse(&format!(" {}\n", text.reveal())).unwrap();
        assert_eq!(read.public(), code.public());
        assert!(read.is_for(control.public()) && !read.is_for(KeyPair::new().unwrap().public()));
        assert!(!text.reveal().contains(code.public().as_str()));
        for bad in ["", "te_", "te_AAAA", &text.reveal()[1..], &format!("{}A", text.reveal())] {
            assert!(EnrolmentCode::parse(bad).is_err(), "{bad}");
        }
    }

    /// Who passes an enrolment on cannot put a key of their own in it, and cannot answer for the control plane.
    #[test]
    fn an_enrolment_is_for_one_key_and_answered_by_one_control_plane() {
        let control = KeyPair::new().unwrap();
        let (code, _) = EnrolmentCode::new(control.public()).unwrap();
        let mine = KeyPair::new().unwrap();
        let theirs = KeyPair::new().unwrap();
        let machine = MachineId::of([1; 16]);
        let number = nonce();
        let showing = Showing { code: code.public(), key: mine.public(), machine: &machine, nonce: &number };
        let by_code = showing.prove_code(&code);
        let by_key = showing.prove_key(&mine);
        assert!(showing.holds(&by_code, &by_key));
        let changed = Showing { key: theirs.public(), ..showing };
        assert!(!changed.holds(&by_code, &changed.prove_key(&theirs)));
        let showing = Showing { code: code.public(), key: mine.public(), machine: &machine, nonce: &number };
        assert!(!showing.holds(&by_code, &showing.prove_key(&theirs)));
        assert!(!showing.holds(&by_key, &by_code));
        let name = AgentName::parse("micro").unwrap();
        let answer = showing.answer(&name, &control);
        assert!(showing.is_answer(&name, control.public(), &answer));
        assert!(!showing.is_answer(&AgentName::parse("other").unwrap(), control.public(), &answer));
        assert!(!showing.is_answer(&name, theirs.public(), &answer));
    }
}
