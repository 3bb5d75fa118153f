//! Key pairs (ed25519), and where each side keeps its own: in its data folder, never in the database.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::ED25519;
use ring::signature::Ed25519KeyPair;
use ring::signature::KeyPair as _;
use ring::signature::UnparsedPublicKey;
use serde::Deserialize;
use serde::Serialize;
use text::Secret;

use crate::clock;
use crate::model::AgentName;
use crate::model::PublicKey;

/// The file of a control plane's key pair.
const CONTROL_FILE: &str = "agents-key";
/// The file of what an agent keeps of its enrolment.
const AGENT_FILE: &str = "agent-identity";

/// The file of what a control plane remembers of its agents.
pub(super) const KNOWN_FILE: &str = "agents-known";

/// The files of keys in the data folder, without which agents have to be enrolled anew.
pub const KEY_FILES: [&str; 3] = [CONTROL_FILE, AGENT_FILE, KNOWN_FILE];

/// Why keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("The file {0} with the keys of the line cannot be used: {1}.")]
    File(PathBuf, #[source] std::io::Error),
    /// The file says something else.
    #[error("The file {0} does not contain what tagalong wrote there: {1}. Restore it from a backup, or enrol again.")]
    Content(PathBuf, String),
}

/// A key pair.
pub struct KeyPair {
    pair: Ed25519KeyPair,
    public: PublicKey,
    seed: Secret,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({})", self.public)
    }
}

impl KeyPair {
    /// A new key pair; none: the system's randomness made no key, which does not happen.
    #[must_use]
    pub fn new() -> Option<Self> {
        Self::of_seed(clock::random_bytes())
    }

    /// The key pair of a seed.
    #[must_use]
    pub fn of_seed(seed: [u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        let public = PublicKey::of(pair.public_key().as_ref().try_into().ok()?);
        Some(Self { pair, public, seed: Secret::new(URL_SAFE_NO_PAD.encode(seed)) })
    }

    fn of_text(seed: &str) -> Option<Self> {
        Self::of_seed(URL_SAFE_NO_PAD.decode(seed.trim()).ok()?.try_into().ok()?)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature of `message`, as text.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.sign(message))
    }
}

/// Whether `signature` is that of `message` by the private half of `key`.
#[must_use]
pub(super) fn is_signed(key: &PublicKey, message: &[u8], signature: &str) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    UnparsedPublicKey::new(&ED25519, key.bytes()).verify(message, &bytes).is_ok()
}

/// The key pair of the control plane whose data folder is `dir`, made if there is none. Servers of one database need the same file.
///
/// # Errors
/// When it can be neither read nor written.
pub fn control_keys(dir: &Path) -> Result<KeyPair, KeyError> {
    let file = dir.join(CONTROL_FILE);
    let fault = |error| KeyError::File(file.clone(), error);
    match std::fs::read_to_string(&file) {
        Ok(text) => KeyPair::of_text(&text).ok_or_else(|| KeyError::Content(file.clone(), "it is no key".to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let keys = KeyPair::new().ok_or_else(|| fault(std::io::ErrorKind::Other.into()))?;
            replace(&file, keys.seed.reveal()).map_err(fault)?;
            Ok(keys)
        }
        Err(error) => Err(fault(error)),
    }
}

/// What an agent keeps of its enrolment.
#[derive(Debug)]
pub struct Identity {
    /// Its name at the control plane; none: it has keys, and is not enrolled yet.
    pub name: Option<AgentName>,
    /// Its key pair.
    pub keys: KeyPair,
    /// The key pair that takes its place as soon as the control plane knows it.
    pub next: Option<KeyPair>,
    /// The control plane's key.
    pub control: Option<PublicKey>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(default)]
    name: Option<AgentName>,
    seed: String,
    #[serde(default)]
    next_seed: Option<String>,
    #[serde(default)]
    control: Option<PublicKey>,
}

impl Identity {
    /// What the agent with the data folder `dir` has kept; none: it was never enrolled.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>, KeyError> {
        let file = dir.join(AGENT_FILE);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(KeyError::File(file, error)),
        };
        let wrong = |why: &str| KeyError::Content(file.clone(), why.to_owned());
        // What the parser says could show a part of it.
        let written: Written = serde_json::from_str(&text).map_err(|_| wrong("it is not JSON with a seed"))?;
        let pair = |seed: &String| KeyPair::of_text(seed).ok_or_else(|| wrong("a seed is not 32 bytes"));
        let next = written.next_seed.as_ref().map(pair).transpose()?;
        Ok(Some(Self { name: written.name, keys: pair(&written.seed)?, next, control: written.control }))
    }

    /// Keeps it in `dir`, for its owner alone; the folder is made if it is missing.
    ///
    /// # Errors
    /// When it cannot be written; then what was there is there still.
    pub fn write(&self, dir: &Path) -> Result<(), KeyError> {
        let written = Written {
            name: self.name.clone(),
            seed: self.keys.seed.reveal().to_owned(),
            next_seed: self.next.as_ref().map(|next| next.seed.reveal().to_owned()),
            control: self.control.clone(),
        };
        let file = dir.join(AGENT_FILE);
        let text = serde_json::to_string(&written).unwrap_or_default();
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.and_then(|()| replace(&file, &text)).map_err(|error| KeyError::File(file, error))
    }

    /// When the file was written last; none: it is not there.
    #[must_use]
    pub fn written_at(dir: &Path) -> Option<std::time::SystemTime> {
        std::fs::metadata(dir.join(AGENT_FILE)).ok()?.modified().ok()
    }
}

/// `text` takes the place of what the file says, whole and on disk. What root writes belongs to whoever the folder belongs to.
pub(super) fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let beside = file.with_extension("new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut made = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
    if rustix::process::geteuid().is_root() {
        let owner = std::fs::metadata(folder)?;
        std::os::unix::fs::fchown(&made, Some(owner.uid()), Some(owner.gid()))?;
    }
    made.write_all(text.as_bytes())?;
    made.sync_all()?;
    std::fs::rename(&beside, file)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::Identity;
    use super::KeyPair;
    use super::control_keys;
    use super::is_signed;

    #[test]
    fn keys_stay_the_same_and_are_nobody_elses_to_read() {
        let dir = tempfile::tempdir().unwrap();
        let first = control_keys(dir.path()).unwrap();
        assert_eq!(control_keys(dir.path()).unwrap().public(), first.public());
        let mode = std::fs::metadata(dir.path().join("agents-key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let below = dir.path().join("below");
        assert!(Identity::read(&below).unwrap().is_none());
        let mine = Identity { name: None, keys: KeyPair::new().unwrap(), next: KeyPair::new(), control: None };
        mine.write(&below).unwrap();
        let read = Identity::read(&below).unwrap().unwrap();
        assert_eq!(read.keys.public(), mine.keys.public());
        assert_eq!(read.next.unwrap().public(), mine.next.as_ref().unwrap().public());
        assert!(!format!("{mine:?}").contains(mine.keys.seed.reveal()));
        std::fs::write(below.join("agent-identity"), "{\"seed\": \"AAAA\"}").unwrap();
        assert!(Identity::read(&below).unwrap_err().to_string().contains("enrol again"));
    }

    #[test]
    fn only_the_key_itself_signs_and_only_what_was_signed() {
        let keys = KeyPair::new().unwrap();
        let signature = keys.sign(b"message");
        assert!(is_signed(keys.public(), b"message", &signature));
        assert!(!is_signed(keys.public(), b"messagf", &signature));
        assert!(!is_signed(KeyPair::new().unwrap().public(), b"message", &signature));
        for other in ["", "AAAA", &signature[1..], &format!("{signature}A")] {
            assert!(!is_signed(keys.public(), b"message", other), "{other}");
        }
    }
}
