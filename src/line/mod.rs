//! The line between a control plane and an agent: frames over any byte stream or message channel.
//!
//! A frame may come twice, and a line may end between any two of them: ids and numbers decide what is new. Keep-alive and the proof of
//! either side belong to the transport, and no frame of theirs is seen here.

mod ask;
mod bounds;
mod frame;
mod keys;
mod machine;
mod meeting;
mod presence;
mod proof;
mod record;
mod remembered;
mod socket;
mod stream;
mod wire;

use tokio::sync::mpsc;

pub use ask::{Answer, AnswerBody, Asked, AskedFor};
pub use bounds::{OutOfBounds, is_of_now};
pub use frame::{
    Accepted, Ack, CancelOrder, Ended, FromAgent, FromControl, Hello, HostFacts, Known, Lines, NewestOf, Refused, SentLine, SentOrder,
    ServiceSeen, Unreadable, VERSION, Version, Welcome,
};
pub use keys::{Identity, KEY_FILES, KeyError, KeyPair, control_keys};
pub use machine::machine_id;
pub use meeting::{Proven, Unmet, challenge, let_in, present};
pub use presence::{Cut, Here, NotEntered, OpenLine, Presence};
pub use proof::{Binding, EXPORTER_LABEL, EnrolmentCode, OPENING_HEADER, Opening, SUBPROTOCOL, Showing, nonce};
pub use record::let_in_by;
pub use remembered::{Memory, Remembered};
pub use socket::{PING, Parted, SILENCE, Socket};
pub use stream::over_stream;
pub use wire::{Frame, FrameError, MOST_FRAME_BYTES, decode, encode};

/// How many frames wait in either direction before their sender waits.
pub const ROOM: usize = 64;

/// A connection to the other side, whatever it runs over. It is bounded both ways, and has ended when either half is dropped.
#[derive(Debug)]
pub struct Line<S, R> {
    /// What is sent to the other side.
    pub to: mpsc::Sender<S>,
    /// What the other side has sent; ends with the line.
    pub from: mpsc::Receiver<R>,
}

/// The control plane's end of a line.
pub type ControlLine = Line<FromControl, FromAgent>;
/// The agent's end of a line.
pub type AgentLine = Line<FromAgent, FromControl>;

/// Both ends of a line: a transport keeps the second and carries its frames.
#[must_use]
pub fn ends<S, R>() -> (Line<S, R>, Line<R, S>) {
    let (near_to, far_from) = mpsc::channel(ROOM);
    let (far_to, near_from) = mpsc::channel(ROOM);
    (Line { to: near_to, from: near_from }, Line { to: far_to, from: far_from })
}
