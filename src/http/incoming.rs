//! The frames of a WebSocket (RFC 6455): what a client sends, in bounded memory, and the beginnings of what is sent to it. The library
//! would gather a frame of whatever length it announces before it refuses it.

use actix_http::ws::OpCode;
use actix_http::ws::Parser;
use actix_web::dev::Payload;
use actix_web::web::Bytes;
use actix_web::web::BytesMut;
use futures_util::StreamExt as _;

/// The largest frame that is taken: room for the token of a job, which is the largest that anybody has to send.
const MOST_BYTES: usize = 16 << 10;
/// The most that stands before the content of a client's frame.
const HEAD_BYTES: usize = 14;
/// The most that a frame for control may contain; two bytes of it are the code of a close.
const CONTROL_BYTES: usize = 125;

/// A ping.
pub(super) const PING: Bytes = Bytes::from_static(&[0x89, 0]);

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A whole text.
    Text(String),
    /// A ping, which is answered with the same content.
    Ping(Bytes),
    /// It ends the connection.
    Close,
    /// Something that nobody asked for, such as the answer to a ping.
    Other,
}

/// Why nothing more is taken from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unheard {
    /// The connection is gone.
    Gone,
    /// A frame is larger than is taken.
    TooLarge,
    /// These are no frames of a client.
    NoFrames,
}

impl Unheard {
    /// The code and the words that the connection is closed with.
    pub(super) fn close(self) -> (u16, &'static str) {
        match self {
            Self::Gone => (1000, ""),
            Self::TooLarge => (1009, "A message must be shorter than 16 KiB."),
            Self::NoFrames => (1002, "This is not the WebSocket protocol."),
        }
    }
}

/// What arrives from a client.
pub(super) struct Incoming {
    payload: Payload,
    buffer: BytesMut,
}

impl Incoming {
    pub(super) fn new(payload: Payload) -> Self {
        Self { payload, buffer: BytesMut::new() }
    }

    /// What comes next. Nothing is lost if this is dropped before it returns.
    ///
    /// # Errors
    /// When there is nothing more to read, or nothing that can be read.
    pub(super) async fn next(&mut self) -> Result<Said, Unheard> {
        loop {
            let frame = Parser::parse(&mut self.buffer, true, MOST_BYTES).map_err(|_| Unheard::NoFrames)?;
            if let Some((is_whole, kind, content)) = frame {
                return read_message(is_whole, kind, content.unwrap_or_default());
            }
            if self.buffer.len() > MOST_BYTES + HEAD_BYTES {
                return Err(Unheard::TooLarge);
            }
            let Some(Ok(part)) = self.payload.next().await else { return Err(Unheard::Gone) };
            self.buffer.extend_from_slice(&part);
        }
    }
}

fn read_message(is_whole: bool, kind: OpCode, content: BytesMut) -> Result<Said, Unheard> {
    match kind {
        OpCode::Text if is_whole => {
            let text = String::from_utf8(content.to_vec()).map_err(|_| Unheard::NoFrames)?;
            Ok(Said::Text(text))
        }
        OpCode::Ping => Ok(Said::Ping(content.freeze())),
        OpCode::Close => Ok(Said::Close),
        OpCode::Bad => Err(Unheard::NoFrames),
        OpCode::Text | OpCode::Binary | OpCode::Continue | OpCode::Pong => Ok(Said::Other),
    }
}

/// What stands before a text of `length` bytes.
pub(super) fn text_head(length: usize) -> Bytes {
    const TEXT: u8 = 0x81;
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => Bytes::copy_from_slice(&[TEXT, short]),
        (_, Ok(middle)) => Bytes::copy_from_slice(&[&[TEXT, 126][..], &middle.to_be_bytes()].concat()),
        _ => Bytes::copy_from_slice(&[&[TEXT, 127][..], &(length as u64).to_be_bytes()].concat()),
    }
}

/// The answer to a ping.
pub(super) fn pong(content: &[u8]) -> Bytes {
    control(0x8a, content)
}

/// The end of a connection, with a code and words for it; words that are too long are cut.
pub(super) fn close(code: u16, words: &str) -> Bytes {
    let end = words.floor_char_boundary(CONTROL_BYTES - 2);
    control(0x88, &[&code.to_be_bytes()[..], &words.as_bytes()[..end]].concat())
}

fn control(kind: u8, content: &[u8]) -> Bytes {
    let content = &content[..content.len().min(CONTROL_BYTES)];
    Bytes::from([&[kind, content.len() as u8][..], content].concat())
}

#[cfg(test)]
mod tests {
    use actix_http::ws::OpCode;
    use actix_http::ws::Parser;
    use actix_web::dev::Payload;
    use actix_web::error::PayloadError;
    use actix_web::web::Bytes;
    use actix_web::web::BytesMut;
    use futures_util::FutureExt as _;
    use futures_util::stream;

    use super::Incoming;
    use super::MOST_BYTES;
    use super::Said;
    use super::Unheard;
    use super::close;
    use super::pong;
    use super::text_head;

    /// What a client sends in parts of `size`, and then nothing more, while the connection stays.
    fn incoming(sent: &[u8], size: usize) -> Incoming {
        let parts: Vec<Result<Bytes, PayloadError>> = sent.chunks(size).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
        let parts = futures_util::StreamExt::chain(stream::iter(parts), stream::pending());
        Incoming::new(Payload::Stream { payload: Box::pin(parts) })
    }

    fn of_client(kind: OpCode, content: &[u8]) -> BytesMut {
        let mut sent = BytesMut::new();
        Parser::write_message(&mut sent, content, kind, true, true);
        sent
    }

    #[test]
    fn what_a_client_says_is_read_whatever_comes_at_a_time() {
        let long = "ä".repeat(3000);
        let mut sent = of_client(OpCode::Text, b"{}");
        sent.extend(of_client(OpCode::Ping, b"abc"));
        sent.extend(of_client(OpCode::Text, long.as_bytes()));
        sent.extend(of_client(OpCode::Pong, b""));
        sent.extend(of_client(OpCode::Close, b""));
        for size in [1, 2, 7, 100_000] {
            let mut incoming = incoming(&sent, size);
            let mut next = || incoming.next().now_or_never().expect("something");
            assert_eq!(next(), Ok(Said::Text("{}".to_owned())), "{size}");
            assert_eq!(next(), Ok(Said::Ping(Bytes::from_static(b"abc"))));
            assert_eq!(next(), Ok(Said::Text(long.clone())));
            assert_eq!(next(), Ok(Said::Other));
            assert_eq!(next(), Ok(Said::Close));
        }
    }

    #[test]
    fn what_is_no_message_is_refused_before_it_takes_memory() {
        let mut endless = vec![0x81, 0xff];
        endless.extend((100_u64 << 20).to_be_bytes());
        endless.extend(vec![0; 60_000]);
        let mut reader = incoming(&endless, 1000);
        assert_eq!(reader.next().now_or_never(), Some(Err(Unheard::TooLarge)));
        assert!(reader.buffer.capacity() < 4 * MOST_BYTES, "{}", reader.buffer.capacity());
        let garbage = [&b"GET / HTTP/1.1\r\n"[..], &[0x81, 3, b'a', b'b', b'c'], &[0xf1, 0x80, 0, 0, 0, 0]];
        for bad in garbage {
            assert_eq!(incoming(bad, 100).next().now_or_never(), Some(Err(Unheard::NoFrames)), "{bad:?}");
        }
        let no_text = of_client(OpCode::Text, &[0xff, 0xfe]);
        assert_eq!(incoming(&no_text, 100).next().now_or_never(), Some(Err(Unheard::NoFrames)));
        assert_eq!(incoming(b"\x81", 1).next().now_or_never(), None, "half a frame is waited for");
    }

    #[test]
    fn what_is_sent_are_frames() {
        let read = |frame: &[u8]| Parser::parse(&mut BytesMut::from(frame), false, 1 << 20).expect("a frame").expect("a whole one");
        for length in [0, 1, 125, 126, 65_535, 65_536, 70_000] {
            let text = "x".repeat(length);
            let frame = [&text_head(length)[..], text.as_bytes()].concat();
            let (is_whole, kind, content) = read(&frame);
            assert_eq!((is_whole, kind, content.unwrap_or_default().len()), (true, OpCode::Text, length));
        }
        assert_eq!(read(&pong(b"abc")).2.as_deref(), Some(&b"abc"[..]));
        let (_, kind, content) = read(&close(4403, &"ä".repeat(100)));
        let content = content.expect("a code");
        assert_eq!((kind, u16::from_be_bytes([content[0], content[1]]), content.len()), (OpCode::Close, 4403, 124));
        assert!(std::str::from_utf8(&content[2..]).is_ok());
    }
}
