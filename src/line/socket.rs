//! A line over a WebSocket: text frames, pings, and when the other side counts as gone. Both sides use the same.
//!
//! Whether the other side lives is told by the bytes that come, not by whole frames: on a slow line one frame may take minutes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use futures_util::Sink;
use futures_util::SinkExt as _;
use futures_util::Stream;
use futures_util::StreamExt as _;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::line::Frame;
use crate::line::Line;
use crate::line::MOST_FRAME_BYTES;
use crate::line::decode;
use crate::line::encode;

/// How often a ping is sent.
pub const PING: Duration = Duration::from_secs(10);
/// After how long without a byte the other side counts as away, and after how long one that takes nothing does.
pub const SILENCE: Duration = Duration::from_secs(30);
/// When signs of life are given, and missed.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    ping: Duration,
    silence: Duration,
}

const RHYTHM: Rhythm = Rhythm { ping: PING, silence: SILENCE };

/// How long whoever uses the line may take for one frame.
const BUSY: Duration = Duration::from_mins(1);
/// How long saying good-bye may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// How much is read at a time; most lines have little to say.
const READ_BYTES: usize = 4 << 10;

/// Why a line has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Parted {
    /// The other side closed it, and said why.
    #[error("the other side closed the line: {0}")]
    Closed(String),
    /// The connection ended without a word.
    #[error("the connection ended")]
    Ended,
    /// Nothing was heard.
    #[error("nothing was heard for {} s", SILENCE.as_secs())]
    Silent,
    /// The other side takes nothing.
    #[error("the other side took nothing for {} s", SILENCE.as_secs())]
    Stalled,
    /// This side did not take a frame in time.
    #[error("a frame was not taken on this side for {} s", BUSY.as_secs())]
    Busy,
    /// A frame is longer than is allowed.
    #[error("the other side sent a frame of more than {MOST_FRAME_BYTES} bytes")]
    TooLong,
    /// What came is no frame.
    #[error("the other side sent what is no frame: {0}")]
    NoFrame(String),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broke(String),
    /// This side cut it.
    #[error("{0}")]
    Cut(&'static str),
    /// Whoever used the line on this side has let go of it.
    #[error("this side let go of the line")]
    Over,
}

impl From<WsError> for Parted {
    fn from(error: WsError) -> Self {
        match error {
            WsError::ConnectionClosed | WsError::AlreadyClosed => Self::Ended,
            WsError::Capacity(_) | WsError::WriteBufferFull(_) => Self::TooLong,
            WsError::Protocol(error) if error.to_string().contains("without closing handshake") => Self::Ended,
            WsError::Protocol(error) => Self::NoFrame(error.to_string()),
            WsError::Utf8(why) => Self::NoFrame(why),
            WsError::Io(error) => Self::Broke(error.to_string()),
            other => Self::Broke(other.to_string()),
        }
    }
}

/// When something was heard last, and since when nothing is taken.
#[derive(Debug)]
struct Pulse(Mutex<Beats>);

#[derive(Debug, Clone, Copy)]
struct Beats {
    heard: Instant,
    /// Since when what is to be written waits; none: nothing waits.
    waits: Option<Instant>,
    /// Whether this side has yet to take a frame, so that nothing is read.
    is_busy: bool,
}

impl Pulse {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Beats { heard: Instant::now(), waits: None, is_busy: false })))
    }

    fn change(&self, change: impl FnOnce(&mut Beats)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn now(&self) -> Beats {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the other side counts as gone.
    async fn stops(&self, Rhythm { ping, silence }: Rhythm) -> Parted {
        loop {
            let Beats { heard, waits, is_busy } = self.now();
            let now = Instant::now();
            if waits.is_some_and(|since| now >= since + silence) {
                return Parted::Stalled;
            }
            if !is_busy && now >= heard + silence {
                return Parted::Silent;
            }
            let due = if is_busy { now + silence } else { heard + silence };
            // Waiting may begin meanwhile, which nothing here is told of.
            let due = waits.map_or(due.min(now + ping), |since| due.min(since + silence));
            tokio::time::sleep_until(due).await;
        }
    }
}

/// A stream that keeps a pulse.
#[derive(Debug)]
struct Watched<S> {
    stream: S,
    pulse: Arc<Pulse>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pulse.change(|beats| beats.heard = Instant::now());
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    fn wrote<T>(&self, polled: &Poll<T>) {
        let is_waiting = polled.is_pending();
        self.pulse.change(|beats| beats.waits = is_waiting.then(|| beats.waits.unwrap_or_else(Instant::now)));
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(&polled);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.wrote(&polled);
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A WebSocket over any stream.
#[derive(Debug)]
pub struct Socket<S> {
    stream: WebSocketStream<Watched<S>>,
    pulse: Arc<Pulse>,
    rhythm: Rhythm,
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(MOST_FRAME_BYTES * 2)
        .max_message_size(Some(MOST_FRAME_BYTES))
        .max_frame_size(Some(MOST_FRAME_BYTES))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// The server's end of a connection that was upgraded.
    pub async fn upgraded(stream: S) -> Self {
        let pulse = Pulse::new();
        let watched = Watched { stream, pulse: Arc::clone(&pulse) };
        Self { stream: WebSocketStream::from_raw_socket(watched, Role::Server, Some(limits())).await, pulse, rhythm: RHYTHM }
    }

    /// The client's end: `request` is sent, and the server has agreed to it when this returns well.
    ///
    /// # Errors
    /// What the server answered instead, or why there was no answer.
    pub async fn open(request: Request, stream: S) -> Result<Self, WsError> {
        let pulse = Pulse::new();
        let watched = Watched { stream, pulse: Arc::clone(&pulse) };
        let (socket, _) = client_async_with_config(request, watched, Some(limits())).await?;
        Ok(Self { stream: socket, pulse, rhythm: RHYTHM })
    }

    /// Sends one text.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub async fn say(&mut self, text: String) -> Result<(), Parted> {
        Ok(self.stream.send(Message::text(text)).await?)
    }

    /// The next text.
    ///
    /// # Errors
    /// When none comes any more.
    pub async fn hear(&mut self) -> Result<String, Parted> {
        loop {
            if let Some(text) = text_of(self.stream.next().await)? {
                return Ok(text);
            }
        }
    }

    /// Says good-bye and why; the connection ends in any case.
    pub async fn leave(mut self, why: &str) {
        let _ = timeout(FAREWELL, self.stream.close(Some(farewell(why)))).await;
    }

    /// Carries what `end` gives to the other side, and what that says to `end`, until the line ends or `until` says why it
    /// does; returns why it did.
    pub async fn carry<Out, In>(self, end: Line<In, Out>, until: impl Future<Output = &'static str>) -> Parted
    where
        Out: Frame,
        In: Frame,
    {
        let (mut sink, stream) = self.stream.split();
        let Line { to, from } = end;
        let parted = tokio::select! {
            // Who cuts a line says why, and lets go of its other end then.
            biased;
            why = until => Parted::Cut(why),
            parted = read(stream, &to, &self.pulse) => parted,
            parted = write(&mut sink, from, self.rhythm.ping) => parted,
            () = to.closed() => Parted::Over,
            parted = self.pulse.stops(self.rhythm) => parted,
        };
        let last = if parted == Parted::Over { String::new() } else { parted.to_string() };
        let _ = timeout(FAREWELL, sink.send(Message::Close(Some(farewell(&last))))).await;
        parted
    }
}

/// What is said last. Its text may have 123 bytes (RFC 6455, section 5.5).
fn farewell(why: &str) -> CloseFrame {
    CloseFrame { code: CloseCode::Normal, reason: why[..why.floor_char_boundary(123)].into() }
}

/// The text of a message; none: it is a sign of life.
fn text_of(message: Option<Result<Message, WsError>>) -> Result<Option<String>, Parted> {
    match message {
        None => Err(Parted::Ended),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(Message::Text(text))) => Ok(Some(text.as_str().to_owned())),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
        Some(Ok(Message::Close(said))) => {
            let why = said.map(|said| said.reason.as_str().to_owned()).filter(|why| !why.is_empty());
            Err(why.map_or(Parted::Ended, Parted::Closed))
        }
        Some(Ok(_)) => Err(Parted::NoFrame("it is not text".to_owned())),
    }
}

async fn read<In: Frame>(mut stream: impl Stream<Item = Result<Message, WsError>> + Unpin, to: &mpsc::Sender<In>, pulse: &Pulse) -> Parted {
    loop {
        let text = match text_of(stream.next().await) {
            Ok(Some(text)) => text,
            Ok(None) => continue,
            Err(parted) => return parted,
        };
        let frame = match decode(text.as_bytes()) {
            Ok(frame) => frame,
            Err(error) => return Parted::NoFrame(error.to_string()),
        };
        pulse.change(|beats| beats.is_busy = true);
        let taken = timeout(BUSY, to.send(frame)).await;
        pulse.change(|beats| {
            beats.is_busy = false;
            beats.heard = Instant::now();
        });
        match taken {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Parted::Over,
            Err(_) => return Parted::Busy,
        }
    }
}

async fn write<Out: Frame>(
    sink: &mut (impl Sink<Message, Error = WsError> + Unpin),
    mut from: mpsc::Receiver<Out>,
    ping: Duration,
) -> Parted {
    let mut pings = tokio::time::interval_at(Instant::now() + ping, ping);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            frame = from.recv() => match frame.map(|frame| encode(&frame)) {
                None => return Parted::Over,
                Some(Ok(text)) => Message::text(text),
                Some(Err(error)) => {
                    tracing::error!(%error, "a frame is not sent");
                    continue;
                }
            },
            _ = pings.tick() => Message::Ping(Vec::new().into()),
        };
        if let Err(error) = sink.send(message).await {
            return error.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;
    use tokio::io::DuplexStream;
    use tokio::time::Instant;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::Parted;
    use super::Pulse;
    use super::Rhythm;
    use super::Socket;
    use super::Watched;
    use super::limits;
    use crate::line::Frame;
    use crate::line::Line;
    use crate::line::Unreadable;
    use crate::line::ends;

    type Words = Line<String, String>;

    impl Frame for String {
        fn unreadable(what: Unreadable) -> Self {
            format!("unreadable: {}", what.kind)
        }
    }

    /// As in earnest, and ten times as fast.
    const QUICK: Rhythm = Rhythm { ping: Duration::from_secs(1), silence: Duration::from_secs(3) };

    async fn client(stream: DuplexStream) -> Socket<DuplexStream> {
        let pulse = Pulse::new();
        let watched = Watched { stream, pulse: Arc::clone(&pulse) };
        Socket { stream: WebSocketStream::from_raw_socket(watched, Role::Client, Some(limits())).await, pulse, rhythm: QUICK }
    }

    /// A line whose other side the test is itself, byte by byte.
    async fn half(room: usize) -> (Words, DuplexStream, tokio::task::JoinHandle<Parted>) {
        let (here, there) = tokio::io::duplex(room);
        let socket = Socket { rhythm: QUICK, ..Socket::upgraded(here).await };
        let (near, far) = ends();
        let carried = tokio::spawn(socket.carry::<String, String>(far, std::future::pending()));
        (near, there, carried)
    }

    #[tokio::test]
    async fn both_sides_hear_each_other_with_nothing_to_say() {
        let (here, there) = tokio::io::duplex(1024);
        let server = Socket { rhythm: QUICK, ..Socket::upgraded(here).await };
        let client = client(there).await;
        let (mut near, far_of_near) = ends::<String, String>();
        let (mut other, far_of_other) = ends::<String, String>();
        let served = tokio::spawn(server.carry::<String, String>(far_of_near, std::future::pending()));
        let carried = tokio::spawn(client.carry::<String, String>(far_of_other, std::future::pending()));
        tokio::time::sleep(QUICK.silence * 4).await;
        assert!(!served.is_finished() && !carried.is_finished());
        near.to.send("down".to_owned()).await.unwrap();
        other.to.send("up".to_owned()).await.unwrap();
        assert_eq!((other.from.recv().await.as_deref(), near.from.recv().await.as_deref()), (Some("down"), Some("up")));
        drop(near);
        assert_eq!(served.await.unwrap(), Parted::Over);
        assert_eq!(carried.await.unwrap(), Parted::Ended);
        assert_eq!(other.from.recv().await, None);
    }

    #[tokio::test]
    async fn a_side_that_says_nothing_is_gone() {
        let began = Instant::now();
        let (_near, mut there, carried) = half(64 << 10).await;
        // It takes everything, and says nothing.
        let reading = tokio::spawn(async move {
            let mut sink = Vec::new();
            let _ = there.read_to_end(&mut sink).await;
        });
        assert_eq!(carried.await.unwrap(), Parted::Silent);
        assert!(began.elapsed() >= QUICK.silence);
        reading.await.unwrap();
    }

    #[tokio::test]
    async fn a_side_that_takes_nothing_is_gone_whatever_it_says() {
        let (near, mut there, carried) = half(256).await;
        near.to.send("x".repeat(10_000)).await.unwrap();
        // Pings, each masked with nothing, and nothing is read.
        let talking = tokio::spawn(async move {
            while there.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.is_ok() {
                tokio::time::sleep(QUICK.silence / 5).await;
            }
        });
        assert_eq!(carried.await.unwrap(), Parted::Stalled);
        talking.await.unwrap();
    }

    /// One frame takes much longer to come than silence may last, and is no reason to think that nobody is there.
    #[tokio::test]
    async fn a_slow_side_is_there_as_long_as_bytes_come() {
        let (mut near, mut there, carried) = half(64 << 10).await;
        let text = format!("\"{}\"", "x".repeat(18));
        let frame = [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat();
        let (mut answers, mut slow) = tokio::io::split(&mut there);
        let reading = async {
            let mut sink = Vec::new();
            let _ = answers.read_to_end(&mut sink).await;
        };
        let talking = async {
            for byte in &frame {
                slow.write_all(&[*byte]).await.unwrap();
                tokio::time::sleep(QUICK.silence / 5).await;
            }
        };
        tokio::select! {
            () = reading => panic!("the line ended"),
            () = talking => {}
        }
        assert_eq!(near.from.recv().await.map(|text| text.len()), Some(18));
        assert!(!carried.is_finished());
    }

    type Ends = fn(&Parted) -> bool;

    #[tokio::test]
    async fn what_is_no_frame_ends_the_line_at_once() {
        let header = |length: u64| [&[0x81, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
        let frames: [(&str, Vec<u8>, Ends); 6] = [
            ("100 MiB", header(100 << 20), |parted| *parted == Parted::TooLong),
            ("more than there is", header(u64::MAX), |parted| matches!(parted, Parted::TooLong | Parted::NoFrame(_))),
            ("not JSON", [&[0x81, 0x81, 0, 0, 0, 0][..], b"{"].concat(), |parted| matches!(parted, Parted::NoFrame(_))),
            ("not text", [&[0x82, 0x81, 0, 0, 0, 0][..], b"1"].concat(), |parted| matches!(parted, Parted::NoFrame(_))),
            ("not masked", vec![0x81, 0x01, b'1'], |parted| matches!(parted, Parted::NoFrame(_))),
            ("garbage", vec![0xff; 64], |parted| matches!(parted, Parted::NoFrame(_))),
        ];
        for (what, bytes, is_right) in frames {
            let began = Instant::now();
            let (_near, mut there, carried) = half(64 << 10).await;
            there.write_all(&bytes).await.unwrap();
            let parted = carried.await.unwrap();
            assert!(is_right(&parted), "{what}: {parted:?}");
            assert!(began.elapsed() < Duration::from_secs(5), "{what}");
        }
        // Half a frame, and then nothing more.
        let (_near, mut there, carried) = half(64 << 10).await;
        there.write_all(&header(100)[..9]).await.unwrap();
        drop(there);
        assert!(matches!(carried.await.unwrap(), Parted::Ended | Parted::Broke(_)));
    }
}
