//! A line over a byte stream: one frame of JSON a line. An empty line is a sign of life, which nobody above sees.

use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::line::Frame;
use crate::line::FrameError;
use crate::line::Line;
use crate::line::MOST_FRAME_BYTES;
use crate::line::decode;
use crate::line::encode;
use crate::line::ends;

/// How often a sign of life is given.
const ALIVE: Duration = Duration::from_secs(10);
/// How long the other side may be silent, or may not take what is sent.
const SILENCE: Duration = Duration::from_secs(30);
/// How much is read at a time.
const CHUNK_BYTES: usize = 16 << 10;

/// A line over `read` and `write`. It ends when the stream does, when the other side is silent for 30 s or sends what is no frame, and
/// when either half of the line is dropped.
pub fn over_stream<S, R>(read: impl AsyncRead + Send + Unpin + 'static, write: impl AsyncWrite + Send + Unpin + 'static) -> Line<S, R>
where
    S: Frame,
    R: Frame,
{
    let (near, far) = ends::<S, R>();
    let Line { to: heard, from: said } = far;
    tokio::spawn(async move {
        let reading = async {
            if let Err(error) = hear(read, &heard).await {
                tracing::warn!(%error, "a line ends");
            }
        };
        tokio::select! {
            () = reading => {}
            () = say(write, said) => {}
            () = heard.closed() => {}
        }
    });
    near
}

/// Sends what is given, and signs of life. Ends when nothing will be given any more, or the stream takes nothing.
async fn say<S: Frame>(mut write: impl AsyncWrite + Unpin, mut said: mpsc::Receiver<S>) {
    loop {
        let text = match timeout(ALIVE, said.recv()).await {
            Ok(Some(frame)) => match encode(&frame) {
                Ok(text) => text,
                Err(error) => {
                    tracing::error!(%error, "a frame is not sent");
                    continue;
                }
            },
            Ok(None) => return,
            Err(_) => String::new(),
        };
        let sent = async {
            write.write_all(text.as_bytes()).await?;
            write.write_all(b"\n").await?;
            write.flush().await
        };
        if !matches!(timeout(SILENCE, sent).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// Why a stream is not read any more.
#[derive(Debug, thiserror::Error)]
enum HearError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the line could not be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("nothing was heard for {} s", SILENCE.as_secs())]
    Silent,
}

/// Gives on what is heard, until the stream ends.
async fn hear<R: Frame>(mut read: impl AsyncRead + Unpin, heard: &mpsc::Sender<R>) -> Result<(), HearError> {
    let mut kept: Vec<u8> = Vec::new();
    let mut chunk = vec![0_u8; CHUNK_BYTES];
    loop {
        let count = timeout(SILENCE, read.read(&mut chunk)).await.map_err(|_| HearError::Silent)??;
        if count == 0 {
            return Ok(());
        }
        let mut rest = &chunk[..count];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            kept.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            if !kept.is_empty() && heard.send(decode(&kept)?).await.is_err() {
                return Ok(());
            }
            kept.clear();
        }
        kept.extend_from_slice(rest);
        if kept.len() > MOST_FRAME_BYTES {
            return Err(FrameError::TooLong(kept.len()).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::over_stream;
    use crate::line::Accepted;
    use crate::line::FromAgent;
    use crate::line::FromControl;
    use crate::line::Line;
    use crate::line::MOST_FRAME_BYTES;

    fn accepted(number: u32) -> FromAgent {
        FromAgent::Accepted(Accepted { deployment: format!("010000000000000000000000{number:02}").parse().unwrap() })
    }

    #[tokio::test]
    async fn frames_arrive_in_order_and_the_line_ends_with_either_end() {
        let (near, far) = tokio::io::duplex(100);
        let (read, write) = tokio::io::split(near);
        let agent: Line<FromAgent, FromControl> = over_stream(read, write);
        let (read, write) = tokio::io::split(far);
        let mut control: Line<FromControl, FromAgent> = over_stream(read, write);
        for number in 0..50 {
            agent.to.send(accepted(number)).await.unwrap();
        }
        for number in 0..50 {
            let Some(FromAgent::Accepted(heard)) = control.from.recv().await else { panic!("frame {number}") };
            assert_eq!(FromAgent::Accepted(heard).deployment(), accepted(number).deployment());
        }
        drop(agent);
        assert!(control.from.recv().await.is_none());
        control.to.closed().await;
    }

    #[tokio::test]
    async fn what_is_no_frame_ends_the_line() {
        let endless = vec![b'x'; MOST_FRAME_BYTES + 2];
        for bad in [&b"garbage\n"[..], b"{\"kind\":1}\n", &endless] {
            let (near, mut far) = tokio::io::duplex(1 << 20);
            let (read, write) = tokio::io::split(near);
            let mut line: Line<FromControl, FromAgent> = over_stream(read, write);
            // The line may end before it has read everything.
            let _ = far.write_all(bad).await;
            assert!(line.from.recv().await.is_none());
        }
    }

    #[tokio::test]
    async fn a_frame_that_cannot_be_read_is_told_as_that_and_the_line_goes_on() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (read, write) = tokio::io::split(near);
        let mut line: Line<FromControl, FromAgent> = over_stream(read, write);
        let newer = br#"{"kind":"ended","order":{"deployment":"01000000000000000000000007","order":"teleport"},"mood":3}"#;
        for text in [&newer[..], b"\n{\"kind\":\"accepted\"}\n", b"{\"kind\":\"accepted\",\"deployment\":\"01000000000000000000000008\"}\n"]
        {
            far.write_all(text).await.unwrap();
        }
        let Some(FromAgent::Unreadable(what)) = line.from.recv().await else { panic!("it is told") };
        assert_eq!((what.kind.as_str(), what.deployment.unwrap().as_str()), ("ended", "01000000000000000000000007"));
        assert!(matches!(line.from.recv().await, Some(FromAgent::Unreadable(what)) if what.deployment.is_none()));
        assert!(matches!(line.from.recv().await, Some(FromAgent::Accepted(_))));
    }

    #[tokio::test]
    async fn half_a_frame_is_none() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let (read, write) = tokio::io::split(near);
        let mut line: Line<FromControl, FromAgent> = over_stream(read, write);
        far.write_all(br#"{"kind":"accepted","deployment":"0100000000"#).await.unwrap();
        drop(far);
        assert!(line.from.recv().await.is_none());
    }
}
