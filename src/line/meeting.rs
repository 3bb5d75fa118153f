//! How the two sides of a line prove themselves, once they are connected.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::time::timeout;

use crate::line::keys::Identity;
use crate::line::keys::KeyPair;
use crate::line::proof::Binding;
use crate::line::proof::Meeting;
use crate::line::proof::Opening;
use crate::line::proof::nonce;
use crate::line::socket::Parted;
use crate::line::socket::Socket;
use crate::model::PublicKey;

/// How long all of it may take, on a slow line too.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why the two did not come together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    /// It took too long.
    #[error("the other side did not prove itself within {} s", PATIENCE.as_secs())]
    Late,
    /// The line ended before.
    #[error(transparent)]
    Parted(#[from] Parted),
    /// What came is no part of this.
    #[error("the other side sent something else than a proof; is it a tagalong of another version?")]
    Unexpected,
    /// The agent did not prove its key.
    #[error("the agent did not prove its key: its answer was recorded earlier, or made by somebody else")]
    NotTheAgent,
    /// The control plane did not prove the key that the agent knows.
    #[error(
        "the server did not prove the key of the control plane that this agent is enrolled with: it is another server, or somebody is \
         between the two"
    )]
    NotTheControlPlane,
    /// The control plane refuses, and said why.
    #[error("{why}")]
    Refused {
        /// One sentence.
        why: String,
    },
}

/// What the control plane says first.
#[derive(Serialize, Deserialize)]
struct Challenge {
    /// The control plane's key.
    control: PublicKey,
    nonce: String,
    /// The word of a [`Binding`].
    binding: String,
    proof: String,
}

/// What the agent answers.
#[derive(Serialize, Deserialize)]
struct Response {
    proof: String,
    /// The key that is to take the place of the one that it opened the line with, and its proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<(PublicKey, String)>,
}

/// What the control plane says last.
#[derive(Serialize, Deserialize)]
struct Verdict {
    /// Why the line is not opened; none: it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// An agent that has proven itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The key that is to take the place of the one that it opened the line with.
    pub next: Option<PublicKey>,
}

fn text<T: Serialize>(said: &T) -> String {
    serde_json::to_string(said).unwrap_or_default()
}

fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, Unmet> {
    serde_json::from_str(text).map_err(|_| Unmet::Unexpected)
}

/// The control plane's part: proves itself to the agent that opened a line, and has it prove itself. The agent waits for [`let_in`] then.
///
/// # Errors
/// [`Unmet`]; the agent is to be let go then.
pub async fn challenge<S>(socket: &mut Socket<S>, opening: &Opening, keys: &KeyPair, binding: &Binding) -> Result<Proven, Unmet>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let meet = async {
        let nonce = nonce();
        let meeting = Meeting { opening, control: keys.public(), nonce: &nonce, binding };
        let proof = meeting.prove_control(keys);
        let challenge = Challenge { control: keys.public().clone(), nonce: nonce.clone(), binding: binding.word().to_owned(), proof };
        socket.say(text(&challenge)).await?;
        let Response { proof, next } = read(&socket.hear().await?)?;
        if !meeting.is_agent(&proof) {
            return Err(Unmet::NotTheAgent);
        }
        match next {
            Some((key, proof)) if !meeting.is_next(&key, &proof) => Err(Unmet::NotTheAgent),
            next => Ok(Proven { next: next.map(|(key, _)| key) }),
        }
    };
    timeout(PATIENCE, meet).await.map_err(|_| Unmet::Late)?
}

/// Tells an agent that has proven itself that its line is open, or why it is not.
///
/// # Errors
/// When it cannot be told.
pub async fn let_in<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut Socket<S>, refused: Option<String>) -> Result<(), Unmet> {
    Ok(timeout(PATIENCE, socket.say(text(&Verdict { refused }))).await.map_err(|_| Unmet::Late)??)
}

/// The agent's part: has the control plane prove itself, and proves itself to it. The line is open when this returns well.
///
/// # Errors
/// [`Unmet`], as one sentence.
pub async fn present<S>(socket: &mut Socket<S>, opening: &Opening, mine: &Identity, binding: &Binding) -> Result<(), Unmet>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let meet = async {
        let Challenge { control, nonce, binding: word, proof } = read(&socket.hear().await?)?;
        // The control plane signs which it is, so nobody between the two can talk the agent out of it.
        let binding = if word == Binding::Nothing.word() { &Binding::Nothing } else { binding };
        let meeting = Meeting { opening, control: &control, nonce: &nonce, binding };
        if mine.control.as_ref() != Some(&control) || !meeting.is_control(&proof) {
            return Err(Unmet::NotTheControlPlane);
        }
        let next = mine.next.as_ref().filter(|_| *mine.keys.public() == opening.key);
        let next = next.map(|next| (next.public().clone(), meeting.prove_next(next)));
        socket.say(text(&Response { proof: meeting.prove_agent(&mine.keys), next })).await?;
        let Verdict { refused } = read(&socket.hear().await?)?;
        refused.map_or(Ok(()), |why| Err(Unmet::Refused { why }))
    };
    timeout(PATIENCE, meet).await.map_err(|_| Unmet::Late)?
}
