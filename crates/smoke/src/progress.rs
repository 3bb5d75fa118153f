//! What is said while the check goes on: a fault once, and then how many further attempts saw the same.

/// Counts the attempts that saw what the attempt before them saw.
#[derive(Debug, Default)]
pub(super) struct Progress {
    repeated: u32,
}

impl Progress {
    /// Says what an attempt saw and that another follows, or counts the attempt when it `is_the_same` as the one before.
    pub(super) fn again(&mut self, attempt: u32, why: &str, is_the_same: bool, say: &mut (dyn FnMut(String) + Send)) {
        if is_the_same {
            self.repeated += 1;
            return;
        }
        self.end(say);
        say(format!("Attempt {attempt}: {why}"));
    }

    /// Says how many attempts were counted since the last sentence.
    pub(super) fn end(&mut self, say: &mut (dyn FnMut(String) + Send)) {
        match std::mem::take(&mut self.repeated) {
            0 => {}
            1 => say("The next attempt saw the same.".to_owned()),
            count => say(format!("The next {count} attempts saw the same.")),
        }
    }
}
