//! Frames as text.

use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::line::frame::FromAgent;
use crate::line::frame::FromControl;
use crate::line::frame::Unreadable;
use crate::model::DeploymentId;

/// How long a frame may be, in bytes of its JSON.
pub const MOST_FRAME_BYTES: usize = 4 << 20;

/// What one side of a line says.
pub trait Frame: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What whoever serves the line is given in place of a frame that cannot be read.
    fn unreadable(what: Unreadable) -> Self;
}

impl Frame for FromAgent {
    fn unreadable(what: Unreadable) -> Self {
        Self::Unreadable(what)
    }
}

impl Frame for FromControl {
    fn unreadable(what: Unreadable) -> Self {
        Self::Unreadable(what)
    }
}

/// Why a frame could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It is longer than a frame may be.
    #[error("a frame of {0} bytes is longer than the {MOST_FRAME_BYTES} that are allowed")]
    TooLong(usize),
    /// It is no frame.
    #[error("the other side sent what is no frame: {0}")]
    NoFrame(#[from] serde_json::Error),
}

/// A frame as text: JSON without a line break.
///
/// # Errors
/// When it is longer than [`MOST_FRAME_BYTES`].
pub fn encode<S: Serialize>(frame: &S) -> Result<String, FrameError> {
    let text = serde_json::to_string(frame)?;
    if text.len() > MOST_FRAME_BYTES { Err(FrameError::TooLong(text.len())) } else { Ok(text) }
}

/// What every frame has, and most say.
#[derive(Deserialize)]
struct Head {
    kind: String,
    #[serde(default)]
    deployment: Option<serde_json::Value>,
    #[serde(default)]
    order: Option<serde_json::Value>,
}

impl Head {
    /// The deployment that a frame is about; the end of one names it in its order.
    fn deployment(&self) -> Option<DeploymentId> {
        let own = self.deployment.as_ref().and_then(serde_json::Value::as_str);
        let named = || self.order.as_ref()?.get("deployment")?.as_str();
        DeploymentId::parse(own.or_else(named)?).ok()
    }
}

/// The frame in `text`. A kind of a newer minor version becomes `Unknown`, and a known one that says something new is unreadable: one such
/// frame does not end a line, on which it would come again and again.
///
/// # Errors
/// When it is too long, or no frame.
pub fn decode<R: Frame>(text: &[u8]) -> Result<R, FrameError> {
    if text.len() > MOST_FRAME_BYTES {
        return Err(FrameError::TooLong(text.len()));
    }
    serde_json::from_slice(text).or_else(|error: serde_json::Error| match serde_json::from_slice::<Head>(text) {
        Ok(head) => {
            tracing::error!(kind = head.kind, %error, "the other side sent a frame that this version cannot read; upgrade the older of the two");
            let deployment = head.deployment();
            Ok(R::unreadable(Unreadable { kind: head.kind, deployment, why: error.to_string() }))
        }
        Err(_) => Err(error.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::MOST_FRAME_BYTES;
    use super::decode;
    use super::encode;
    use crate::line::FromAgent;
    use crate::line::FromControl;

    #[test]
    fn kinds_and_fields_of_a_newer_version_are_skipped() {
        let newer: FromAgent = decode(br#"{"kind":"balloon","size":3}"#).unwrap();
        assert!(matches!(newer, FromAgent::Unknown));
        let text = br#"{"kind":"ack","deployment":"01000000000000000000000001","position":4,"colour":"red"}"#;
        let FromControl::Ack(ack) = decode(text).unwrap() else { panic!("an ack") };
        assert_eq!((ack.position, ack.ended), (4, false));
        let again: FromControl = decode(encode(&FromControl::Ack(ack)).unwrap().as_bytes()).unwrap();
        assert!(matches!(again, FromControl::Ack(_)));
        for bad in [&b""[..], b"[]", b"{\"kind\"", b"{\"kind\":1}", b"\xff"] {
            assert!(decode::<FromAgent>(bad).is_err(), "{bad:?}");
        }
        assert!(decode::<FromAgent>(&vec![b' '; MOST_FRAME_BYTES + 1]).is_err());
        for newer in [&b"{\"kind\":\"accepted\"}"[..], b"{\"kind\":\"accepted\",\"deployment\":\"../x\"}"] {
            assert!(matches!(decode::<FromAgent>(newer), Ok(FromAgent::Unreadable(what)) if what.deployment.is_none()));
        }
    }
}
