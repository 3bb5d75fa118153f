//! Passwords of people: which are taken, and their hashes (argon2id). A hash is work and memory on purpose, so few are made at a time, and
//! few may wait for that.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use argon2::Argon2;
use argon2::PasswordHasher as _;
use argon2::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use text::Secret;
use tokio::sync::Semaphore;

use crate::clock;
use crate::model::UserName;

/// How many characters a password has at least.
pub const SHORTEST: usize = 12;
/// How many bytes it has at most.
pub const LONGEST_BYTES: usize = 512;
/// How many different characters it has at least.
const FEWEST_DIFFERENT: usize = 5;
/// How many hashes are made at a time: each takes 19 MiB.
const AT_ONCE: usize = 2;
/// How many may wait for theirs.
const MOST_WAITING: usize = 16;

/// What a login of somebody who is not there is compared with, so that it takes as long as any other.
static NOBODYS: LazyLock<String> = LazyLock::new(|| new_hash(&Secret::new(clock::new_id().to_string())).unwrap_or_default());

/// Whether `password` is one that `user` may have.
///
/// # Errors
/// One sentence that says what to change, without a word of the password.
pub fn check(password: &Secret, user: &UserName) -> Result<(), String> {
    let text = password.reveal();
    let mut different: Vec<char> = text.chars().collect();
    different.sort_unstable();
    different.dedup();
    if text.chars().count() < SHORTEST {
        return Err(format!("The password has fewer than {SHORTEST} characters; take a longer one, of several words say."));
    }
    if text.len() > LONGEST_BYTES {
        return Err(format!("The password has more than {LONGEST_BYTES} bytes; take a shorter one."));
    }
    if different.len() < FEWEST_DIFFERENT || text.to_lowercase().contains(user.as_str()) && text.chars().count() < 2 * SHORTEST {
        return Err("The password is easy to guess: it repeats a few characters, or contains the name; take another one.".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("The password contains line ends or other characters that cannot be typed; take another one.".to_owned());
    }
    Ok(())
}

/// The hash of `password`, with a salt of its own, as a PHC string.
///
/// # Errors
/// When there is no memory for it.
pub fn new_hash(password: &Secret) -> Result<String, String> {
    let made = Argon2::default().hash_password_with_salt(password.reveal().as_bytes(), &clock::random_bytes::<16>());
    made.map(|hash| hash.to_string()).map_err(|error| format!("The password could not be hashed: {error}."))
}

/// Whether `text` is the hash of a password as [`new_hash`] makes it, of no less work and no more memory.
#[must_use]
pub fn is_hash(text: &str) -> bool {
    let Ok(hash) = PasswordHash::new(text) else { return false };
    let params = argon2::Params::try_from(&hash);
    let is_ours = params.is_ok_and(|params| {
        (argon2::Params::DEFAULT_M_COST..=argon2::Params::DEFAULT_M_COST * 4).contains(&params.m_cost())
            && (argon2::Params::DEFAULT_T_COST..=16).contains(&params.t_cost())
            && params.p_cost() == 1
    });
    is_ours && hash.algorithm.as_str() == "argon2id" && hash.salt.is_some() && hash.hash.is_some()
}

/// Compares passwords with hashes, few at a time.
#[derive(Debug)]
pub struct Hashing {
    rooms: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Default for Hashing {
    fn default() -> Self {
        Self { rooms: Arc::new(Semaphore::new(AT_ONCE)), waiting: AtomicUsize::new(0) }
    }
}

/// So many logins are being compared that this one was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Hashing {
    /// Whether `given` is the password behind `hash`; without a hash it is not, which takes as long.
    ///
    /// # Errors
    /// [`Full`], when too many wait.
    pub(super) async fn is_right(&self, given: Secret, hash: Option<String>) -> Result<bool, Full> {
        let waiting = Waiting::one_more(&self.waiting).ok_or(Full)?;
        let room = Arc::clone(&self.rooms).acquire_owned().await.map_err(|_| Full)?;
        drop(waiting);
        let compare = move || {
            // It is let go only when the work is done, whether or not anybody still waits for the result.
            let _room = room;
            let is_there = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODYS.clone());
            let is_it = Argon2::default().verify_password(given.reveal().as_bytes(), hash.as_str()).is_ok();
            is_it & is_there
        };
        tokio::task::spawn_blocking(compare).await.map_err(|_| Full)
    }
}

/// One who waits for a room.
struct Waiting<'w>(&'w AtomicUsize);

impl<'w> Waiting<'w> {
    fn one_more(waiting: &'w AtomicUsize) -> Option<Self> {
        let one = Self(waiting);
        (waiting.fetch_add(1, Ordering::AcqRel) < MOST_WAITING).then_some(one)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use text::Secret;

    use super::Full;
    use super::Hashing;
    use super::MOST_WAITING;
    use super::check;
    use super::is_hash;
    use super::new_hash;
    use crate::model::UserName;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_password_is_long_and_no_riddle() {
        let ada = UserName::parse("ada").expect("a name");
        for good in ["correct horse battery", "Tr0ub4dor&3xy", "ein längeres Wort", "ada and the analytical engine"] {
            assert_eq!(check(&secret(good), &ada), Ok(()), "{good}");
        }
        for (bad, part) in [
            ("short", "fewer than 12"),
            ("ababababababab", "easy to guess"),
            ("password-ada1", "easy to guess"),
            ("line\nend and more", "line ends"),
            (&"abcdefg".repeat(80), "more than 512"),
        ] {
            let why = check(&secret(bad), &ada).expect_err("it is refused");
            assert!(why.contains(part) && !why.contains(bad), "{why}");
        }
    }

    #[test]
    fn a_hash_is_argon2id_with_its_own_salt() {
        let (one, two) =
            (new_hash(&secret("correct horse battery")).expect("a hash"), new_hash(&secret("correct horse battery")).expect("a hash"));
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && one != two && is_hash(&one), "{one}");
        let weak = one.replace("m=19456", "m=8");
        let heavy = one.replace("m=19456", "m=4194304");
        for bad in ["", "x", "$argon2id$v=19$m=19456,t=2,p=1", &one.replace("argon2id", "argon2d"), &weak, &heavy] {
            assert!(!is_hash(bad), "{bad}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_flood_of_logins_costs_two_hashes_at_a_time_and_a_right_one_gets_through_after_it() {
        let hashing = Arc::new(Hashing::default());
        let hash = new_hash(&secret("correct horse battery")).expect("a hash");
        let flood: Vec<_> = (0..200)
            .map(|n| {
                let hashing = Arc::clone(&hashing);
                let hash = hash.clone();
                tokio::spawn(async move { hashing.is_right(secret(&format!("guess {n}")), Some(hash)).await })
            })
            .collect();
        let mut full = 0;
        for one in flood {
            match one.await.expect("it ends") {
                Ok(is_right) => assert!(!is_right),
                Err(Full) => full += 1,
            }
        }
        assert!(full > 0 && full <= 200 - MOST_WAITING, "{full}");
        assert_eq!(hashing.is_right(secret("correct horse battery"), Some(hash)).await, Ok(true));
        assert_eq!(hashing.is_right(secret("correct horse battery"), None).await, Ok(false));
    }
}
