//! Limits the size of a request's head. actix parses a head again from its beginning whenever more of it arrives, up to 128 KiB: a long
//! head that arrives byte by byte would cost a second of processor time for each request.

/// The largest head that is accepted. Half of it is more than any proxy sends with its default settings.
const MOST_BYTES: usize = 16 << 10;

/// The part of a head that has arrived.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    bytes: usize,
    stand: Stand,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stand {
    /// Only line ends have arrived; they are skipped.
    #[default]
    Before,
    /// Within a line.
    Line,
    /// At the beginning of a line.
    LineEnd,
    /// After a carriage return at the beginning of a line.
    Return,
    /// The head is complete; what follows is the body.
    Over,
}

impl Head {
    /// Counts the bytes that have arrived. Returns false if the head is larger than is accepted.
    pub(super) fn take(&mut self, come: &[u8]) -> bool {
        for byte in come {
            if self.stand == Stand::Over {
                break;
            }
            self.bytes += 1;
            // A line may end without a carriage return: actix accepts that too.
            self.stand = match (self.stand, byte) {
                (Stand::Before, b'\r' | b'\n') => Stand::Before,
                (Stand::LineEnd | Stand::Return, b'\n') => Stand::Over,
                (Stand::LineEnd, b'\r') => Stand::Return,
                (_, b'\n') => Stand::LineEnd,
                _ => Stand::Line,
            };
        }
        self.bytes <= MOST_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::Head;
    use super::MOST_BYTES;

    fn in_parts(text: &str, size: usize) -> bool {
        let mut head = Head::default();
        text.as_bytes().chunks(size).all(|part| head.take(part))
    }

    #[test]
    fn a_head_is_bounded_however_it_comes_and_a_body_is_not_counted() {
        let long = "x".repeat(MOST_BYTES);
        for size in [1, 2, 3, 1000, MOST_BYTES * 4] {
            for end in ["\r\n\r\n", "\n\n", "\r\n\n", "\n\r\n"] {
                let good = format!("\r\n\r\nPOST / HTTP/1.1\r\nhost: x\r\nx: {}{end}{long}{long}", &long[100..]);
                assert!(in_parts(&good, size), "{size} {end:?}");
            }
            for bad in [
                format!("GET / HTTP/1.1\r\nx: {long}\r\n"),
                format!("GET /{long}"),
                format!("GET / HTTP/1.1\r\n{}", "x: y\r\n".repeat(MOST_BYTES / 6)),
                "\r\n".repeat(MOST_BYTES),
                format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n"),
                // This is no empty line, but a carriage return within a line.
                format!("GET / HTTP/1.1\r\nx: \ry\r\r\n{long}"),
                // Line ends before the head do not end it.
                format!("\r\n\r\nGET / HTTP/1.1\r\nx: {long}"),
            ] {
                assert!(!in_parts(&bad, size), "{size} {:.40}", bad.escape_default());
            }
        }
    }
}
