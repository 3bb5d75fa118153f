//! Why something failed, out of an error that wraps others.

use std::error::Error;

use crate::without_controls;

/// What lies at the bottom of `error`, to go into a sentence: on one line and without a full stop at its end. Libraries that wrap errors
/// say only that something failed; the innermost one says why.
#[must_use]
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    // Some libraries put a link to their own documentation behind what they say.
    let said = without_controls(&cause.to_string());
    said.split(": https://").next().unwrap_or(&said).trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fmt;

    use super::root_cause;

    #[derive(Debug)]
    struct Wrapped(Option<Box<Wrapped>>, &'static str);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.1)
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.0.as_deref().map(|inner| inner as &(dyn Error + 'static))
        }
    }

    #[test]
    fn the_innermost_error_says_why() {
        let inner = Wrapped(None, "no route to host\n.");
        let outer = Wrapped(Some(Box::new(Wrapped(Some(Box::new(inner)), "connecting failed"))), "sending failed");
        assert!(root_cause(&outer).starts_with("no route to host") && !root_cause(&outer).contains('\n'));
        assert_eq!(root_cause(&Wrapped(None, "invalid certificate: https://docs.example.com/why")), "invalid certificate");
        assert_eq!(root_cause(&Wrapped(None, "It is closed.")), "It is closed");
    }
}
