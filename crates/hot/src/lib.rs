//! For apps in Rust that serve a dataset from memory: the new state is built first and put in place in one step, and the old one
//! stays when the build fails. Readers never wait and never see half of anything.
//!
//! ```
//! use tagalong_hot::Hot;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let commit = "1f0c2ab9d3e4f5061728394a5b6c7d8e9fa0b1c2";
//! # std::fs::create_dir(folder.path().join(commit))?;
//! # let link = folder.path().join("current");
//! # std::os::unix::fs::symlink(commit, &link)?;
//! // `link` is the symlink of publish = "worktree", or the checkout itself.
//! let hot = Hot::open(&link, |dir| std::fs::read_dir(dir).map(Iterator::count))?;
//! assert_eq!(hot.current().state, 0);
//! assert_eq!(hot.current().commit, commit);
//! // On POST /reload, on SIGHUP, or whenever tagalong says that there is new data:
//! hot.reload()?;
//! # Ok(())
//! # }
//! ```

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;

/// How often a build is started again because the checkout moved while it ran.
const TRIES: usize = 5;

/// A state in memory and the commit that it was built from.
#[derive(Debug)]
pub struct Loaded<T> {
    /// What the app serves.
    pub state: T,
    /// The commit, as a full object name.
    pub commit: String,
}

/// What a reload came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The commit that was served before.
    pub from: String,
    /// The commit that is served now.
    pub to: String,
    /// Whether anything was built: not when both are the same.
    pub rebuilt: bool,
}

/// Why the old state stays.
#[derive(Debug, thiserror::Error)]
pub enum HotError<E: std::error::Error + 'static> {
    /// The data is not where it should be, or no commit can be told from it.
    #[error("The data in {0} cannot be read: {1}.")]
    Data(PathBuf, #[source] std::io::Error),
    /// The build failed.
    #[error("The data of commit {commit} could not be loaded: {source}")]
    Build {
        /// The commit.
        commit: String,
        /// Why not.
        source: E,
    },
    /// The checkout moved during every try.
    #[error(
        "The data in {0} changed {TRIES} times while it was being read; set publish = \"worktree\", so that readers see folders that \
        never change."
    )]
    Moving(PathBuf),
}

/// A state that is swapped whole.
pub struct Hot<T, E> {
    at: PathBuf,
    build: Build<T, E>,
    current: RwLock<Arc<Loaded<T>>>,
    /// One build at a time, so that an older one never takes the place of a newer one.
    building: Mutex<()>,
}

type Build<T, E> = Box<dyn Fn(&Path) -> Result<T, E> + Send + Sync>;

impl<T: std::fmt::Debug, E> std::fmt::Debug for Hot<T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hot").field("at", &self.at).field("current", &self.current).finish_non_exhaustive()
    }
}

impl<T, E: std::error::Error + 'static> Hot<T, E> {
    /// Builds the first state from the data at `at`: the symlink of published worktrees, or the checkout itself. `build` gets
    /// the folder that `at` leads to.
    ///
    /// # Errors
    /// [`HotError`].
    pub fn open(at: &Path, build: impl Fn(&Path) -> Result<T, E> + Send + Sync + 'static) -> Result<Self, HotError<E>> {
        let first = load(at, &build)?;
        Ok(Self { at: at.to_owned(), build: Box::new(build), current: RwLock::new(Arc::new(first)), building: Mutex::default() })
    }

    /// What is served now. Anybody who holds it keeps it whole, whatever is put in its place meanwhile.
    #[must_use]
    pub fn current(&self) -> Arc<Loaded<T>> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Builds the state of what is published now and puts it in place; then the commit it says is served. It blocks as long as
    /// the build does: call it from a thread that may. Readers go on meanwhile.
    ///
    /// # Errors
    /// [`HotError`]; then the old state stays in place.
    pub fn reload(&self) -> Result<Reloaded, HotError<E>> {
        let _one = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let from = self.current().commit.clone();
        let published = published(&self.at).map_err(|error| HotError::Data(self.at.clone(), error))?;
        if published.commit == from {
            return Ok(Reloaded { to: from.clone(), from, rebuilt: false });
        }
        let next = load(&self.at, &self.build)?;
        let to = next.commit.clone();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(Reloaded { from, to, rebuilt: true })
    }
}

/// A checkout that is read in place may move under the reader: what was read then is of no commit, so it is read again.
fn load<T, E: std::error::Error + 'static>(at: &Path, build: impl Fn(&Path) -> Result<T, E>) -> Result<Loaded<T>, HotError<E>> {
    let data = |error| HotError::Data(at.to_owned(), error);
    let mut before = published(at).map_err(data)?;
    for _ in 0..TRIES {
        let state = build(&before.dir);
        let after = published(at).map_err(data)?;
        if after.commit == before.commit || after.dir != before.dir {
            return state
                .map(|state| Loaded { state, commit: before.commit.clone() })
                .map_err(|source| HotError::Build { commit: before.commit, source });
        }
        before = after;
    }
    Err(HotError::Moving(at.to_owned()))
}

/// Published data: where it stands and which commit it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The folder, with every symlink followed.
    pub dir: PathBuf,
    /// The commit, as a full object name.
    pub commit: String,
}

/// What is published at `at`, the symlink of worktrees or a checkout. No program is run for it.
///
/// # Errors
/// When nothing is there, or no commit can be told from it.
pub fn published(at: &Path) -> std::io::Result<Published> {
    let dir = at.canonicalize()?;
    let commit = if dir.join(".git").exists() { head(&dir)? } else { named(&dir).ok_or_else(|| not_told("it is not a git checkout"))? };
    Ok(Published { dir, commit })
}

fn not_told(why: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, format!("the commit cannot be determined: {why}"))
}

/// A worktree without a repository is called after its commit.
fn named(dir: &Path) -> Option<String> {
    let name = dir.file_name()?.to_str()?;
    let head = name.split(['.', '-', '_']).next()?;
    is_commit(head).then(|| head.to_owned())
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `HEAD` of a checkout or a linked worktree, as
/// [gitrepository-layout](https://git-scm.com/docs/gitrepository-layout) describes them.
fn head(dir: &Path) -> std::io::Result<String> {
    let dot_git = dir.join(".git");
    let git_dir = if dot_git.is_dir() {
        dot_git
    } else {
        let text = std::fs::read_to_string(&dot_git)?;
        dir.join(text.trim().strip_prefix("gitdir: ").ok_or_else(|| not_told(".git does not name a folder"))?)
    };
    let head = std::fs::read_to_string(git_dir.join("HEAD"))?;
    let Some(name) = head.trim().strip_prefix("ref: ") else {
        return is_commit(head.trim()).then(|| head.trim().to_owned()).ok_or_else(|| not_told("HEAD names neither a commit nor a branch"));
    };
    let common = std::fs::read_to_string(git_dir.join("commondir")).map_or(git_dir.clone(), |text| git_dir.join(text.trim()));
    let loose = std::fs::read_to_string(common.join(name)).unwrap_or_default();
    if is_commit(loose.trim()) {
        return Ok(loose.trim().to_owned());
    }
    let packed = std::fs::read_to_string(common.join("packed-refs")).unwrap_or_default();
    let line = packed.lines().filter_map(|line| line.split_once(' ')).find(|(_, packed)| *packed == name);
    line.map(|(commit, _)| commit.to_owned()).filter(|commit| is_commit(commit)).ok_or_else(|| not_told("its branch has no commit yet"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Hot;
    use super::HotError;
    use super::published;

    const A: &str = "1f0c2ab9d3e4f5061728394a5b6c7d8e9fa0b1c2";
    const B: &str = "2f0c2ab9d3e4f5061728394a5b6c7d8e9fa0b1c2";

    /// Published worktrees: the folder of `commit` holds `text`, and the link leads there.
    fn publish(root: &Path, commit: &str, text: &str) {
        let dir = root.join(commit);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("data"), text).unwrap();
        let fresh = root.join("fresh");
        std::os::unix::fs::symlink(commit, &fresh).unwrap();
        std::fs::rename(fresh, root.join("current")).unwrap();
    }

    fn number(dir: &Path) -> Result<u32, std::num::ParseIntError> {
        std::fs::read_to_string(dir.join("data")).unwrap().parse()
    }

    #[test]
    fn the_new_state_is_built_first_and_the_old_one_stays_when_it_does_not_hold() {
        let root = tempfile::tempdir().unwrap();
        publish(root.path(), A, "1");
        let hot = Hot::open(&root.path().join("current"), number).unwrap();
        let held = hot.current();
        assert!(!hot.reload().unwrap().rebuilt);
        publish(root.path(), B, "none");
        assert!(matches!(hot.reload(), Err(HotError::Build { commit, .. }) if commit == B));
        assert_eq!((hot.current().state, hot.current().commit.as_str()), (1, A));
        publish(root.path(), B, "2");
        let reloaded = hot.reload().unwrap();
        assert_eq!((reloaded.from.as_str(), reloaded.to.as_str(), reloaded.rebuilt), (A, B, true));
        assert_eq!((hot.current().state, held.state), (2, 1));
    }

    #[test]
    fn a_build_that_panics_leaves_the_old_state_and_the_next_one_is_tried() {
        let root = tempfile::tempdir().unwrap();
        publish(root.path(), A, "1");
        let hot = Hot::open(&root.path().join("current"), |dir| {
            let text = std::fs::read_to_string(dir.join("data")).unwrap();
            assert_ne!(text, "bad");
            text.parse::<u32>()
        })
        .unwrap();
        publish(root.path(), B, "bad");
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hot.reload())).is_err());
        assert_eq!(hot.current().state, 1);
        publish(root.path(), B, "2");
        assert!(hot.reload().unwrap().rebuilt);
    }

    #[test]
    fn what_is_read_in_place_while_it_moves_is_read_again() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(".git")).unwrap();
        let head = root.path().join(".git/HEAD");
        std::fs::write(&head, A).unwrap();
        let (moved, tries) = (head.clone(), std::sync::atomic::AtomicU32::new(0));
        let hot = Hot::open(root.path(), move |_| {
            std::fs::write(&moved, B).unwrap();
            Ok::<_, std::fmt::Error>(tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
        })
        .unwrap();
        assert_eq!((hot.current().state, hot.current().commit.as_str()), (1, B));
    }

    #[test]
    fn a_commit_is_told_from_every_kind_of_checkout() {
        let root = tempfile::tempdir().unwrap();
        let git = root.path().join(".git");
        std::fs::create_dir_all(git.join("refs/heads")).unwrap();
        std::fs::create_dir_all(git.join("worktrees/w")).unwrap();
        let commit = |dir: &Path| published(dir).map(|published| published.commit).map_err(|error| error.to_string());
        std::fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        assert!(commit(root.path()).unwrap_err().contains("no commit yet"));
        std::fs::write(git.join("packed-refs"), format!("# pack-refs with: peeled\n{B} refs/heads/other\n{A} refs/heads/main\n")).unwrap();
        assert_eq!(commit(root.path()).as_deref(), Ok(A));
        std::fs::write(git.join("refs/heads/main"), format!("{B}\n")).unwrap();
        assert_eq!(commit(root.path()).as_deref(), Ok(B));
        let worktree = root.path().join("w");
        std::fs::create_dir(&worktree).unwrap();
        std::fs::write(worktree.join(".git"), format!("gitdir: {}\n", git.join("worktrees/w").display())).unwrap();
        std::fs::write(git.join("worktrees/w/HEAD"), format!("{A}\n")).unwrap();
        std::fs::write(git.join("worktrees/w/commondir"), "../..\n").unwrap();
        assert_eq!(commit(&worktree).as_deref(), Ok(A));
        std::fs::write(git.join("worktrees/w/HEAD"), "ref: refs/heads/main\n").unwrap();
        assert_eq!(commit(&worktree).as_deref(), Ok(B));
        assert!(commit(&root.path().join("none")).is_err());
        assert!(commit(&root.path().join(".git/refs")).is_err());
    }
}
