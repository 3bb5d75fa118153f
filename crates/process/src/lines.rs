//! What a program prints, line by line.

use text::Mask;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use crate::Stream;

/// A longer line is cut here.
const LONGEST_LINE: usize = 4096;
/// More lines than this are counted, not kept.
const MOST_LINES: usize = 20_000;

/// Who reads the output: people get masked lines in bearable number, programs get every byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// A person.
    People,
    /// A program.
    Programs,
}

/// Whole lines (ended by LF or CR, as progress bars write them) are masked and sent; a secret that came in two chunks is
/// whole again by then. Bytes that are no UTF-8 become replacement characters.
pub(super) async fn split_lines(
    reader: Reader,
    stream: Stream,
    mut pipe: Box<dyn AsyncRead + Send + Unpin>,
    mask: &Mask,
    to: &mpsc::Sender<(Stream, String)>,
) {
    let mut pending = Vec::<u8>::new();
    let mut chunk = vec![0_u8; 16 << 10];
    let mut sent = 0_usize;
    let (longest, most) = match reader {
        Reader::People => (LONGEST_LINE * 4, MOST_LINES),
        Reader::Programs => (8 << 20, usize::MAX),
    };
    loop {
        let count = pipe.read(&mut chunk).await.unwrap_or(0);
        pending.extend_from_slice(&chunk[..count]);
        let ended = count == 0;
        while let Some(end) = line_end(&pending, ended, longest) {
            let rest = pending.split_off(end);
            let line = std::mem::replace(&mut pending, rest);
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']);
            let text = if reader == Reader::People { mask.hide(text) } else { text.to_owned() };
            sent += 1;
            if sent <= most && to.send((stream, text)).await.is_err() {
                return;
            }
        }
        if ended {
            break;
        }
    }
    if sent > most {
        let _ = to.send((stream, format!("… {} more lines were dropped", sent - most))).await;
    }
}

fn line_end(pending: &[u8], ended: bool, longest: usize) -> Option<usize> {
    match pending.iter().position(|b| *b == b'\n' || *b == b'\r') {
        // CR LF is one end: wait for the byte behind a CR that stands last.
        Some(at) if pending[at] == b'\r' && at + 1 == pending.len() && !ended => None,
        Some(at) if pending[at] == b'\r' && pending.get(at + 1) == Some(&b'\n') => Some(at + 2),
        Some(at) => Some(at + 1),
        None if pending.len() > longest => Some(longest),
        None => (ended && !pending.is_empty()).then_some(pending.len()),
    }
}
