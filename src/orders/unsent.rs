//! Codes that were made and are not known to have been sent. A notifier that answers too late may have passed one on, so the same code is sent
//! until it is recorded that it was: whatever arrives, and however often, is good.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::clock;
use crate::model::Code;
use crate::model::DeploymentId;
use crate::model::KeyId;

/// By the order and the approver: the code, and until when the order waits for it (ms since 1970, UTC).
type Codes = HashMap<(DeploymentId, KeyId), (Code, i64)>;

/// The codes of this process that are still to be sent. They are nowhere but in memory.
#[derive(Debug, Default)]
pub(super) struct UnsentCodes(Mutex<Codes>);

impl UnsentCodes {
    /// The code that `approver` is to be sent for the order `id`, which waits until `ends_ms`: the one of the last try, or a new one.
    pub(super) fn code(&self, id: &DeploymentId, approver: &KeyId, ends_ms: i64, now_ms: i64) -> Code {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, (_, until_ms)| *until_ms > now_ms);
        let made = codes.entry((id.clone(), approver.clone())).or_insert_with(|| (Code::of(clock::random_bytes()), ends_ms));
        made.0.clone()
    }

    /// It is recorded that `approver` was sent the code for `id`.
    pub(super) fn forget(&self, id: &DeploymentId, approver: &KeyId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(id.clone(), approver.clone()));
    }

    /// Approvers may be reached by other ways from now on, so they are sent other codes.
    pub(super) fn forget_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::UnsentCodes;
    use crate::model::KeyId;
    use crate::orders::sample::landed;

    #[test]
    fn a_code_is_sent_again_until_it_is_known_to_be_sent() {
        let unsent = UnsentCodes::default();
        let (one, two) = (landed(1).id, landed(2).id);
        let people = ["ada", "bob"].map(|name| KeyId::parse(name).expect("an id"));
        let [ada, bob] = &people;
        let code = |id, approver, now_ms| unsent.code(id, approver, 100, now_ms).grouped();
        let first = code(&one, ada, 0);
        assert_eq!(code(&one, ada, 99), first);
        assert_ne!(code(&one, bob, 0), first);
        assert_ne!(code(&two, ada, 0), first);
        unsent.forget(&one, ada);
        let second = code(&one, ada, 0);
        assert_ne!(second, first);
        unsent.forget_all();
        let third = code(&one, ada, 0);
        assert_ne!(third, second);
        // What nobody waits for any more is kept no longer.
        assert_ne!(code(&one, ada, 100), third);
    }
}
