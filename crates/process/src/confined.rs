//! What a program may touch of the file system, kept by the kernel (Landlock): it holds for everything that the program starts,
//! and for what a path leads to in the end. So a link, or a folder that somebody swaps for one, leads it nowhere else.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;

use landlock::ABI;
use landlock::Access as _;
use landlock::AccessFs;
use landlock::PathBeneath;
use landlock::Ruleset;
use landlock::RulesetAttr as _;
use landlock::RulesetCreated;
use landlock::RulesetCreatedAttr as _;
use landlock::RulesetStatus;
use rustix::fs::Mode;
use rustix::fs::OFlags;

/// What is asked for; of an older kernel, as much of it as it has. From the first on, what matters here is kept: reading,
/// writing, making and removing.
const ASKED: ABI = ABI::V5;
/// Where programs and what they need are installed, for anybody to read. Nothing else of `/etc` is.
const INSTALLED: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/sys/devices/system/cpu",
];
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];

/// The folders that a program may read and write in; what is installed on this host it may read and run. All else of the file
/// system is closed to it. The folders are held open: it is these very ones, whatever becomes of their names.
#[derive(Debug, Clone, Default)]
pub struct Confinement(Vec<Arc<OwnedFd>>);

impl Confinement {
    /// With this folder too.
    #[must_use]
    pub fn with(mut self, folder: OwnedFd) -> Self {
        self.0.push(Arc::new(folder));
        self
    }

    /// With the folders of `other` too.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().cloned());
        self
    }

    /// Starts `command`, which is `program`, so confined.
    pub(super) fn spawn(&self, program: &Path, mut command: tokio::process::Command) -> std::io::Result<tokio::process::Child> {
        let rules = self.rules(program).map_err(std::io::Error::other)?;
        let runtime = tokio::runtime::Handle::current();
        // What is given up is given up by a thread, for ever, and by what it starts: so by one that ends here.
        let start = move || {
            let _inside = runtime.enter();
            match rules.restrict_self().map_err(std::io::Error::other)?.ruleset {
                RulesetStatus::NotEnforced => {
                    Err(std::io::Error::other("the kernel does not support Landlock, so the program cannot be confined"))
                }
                RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => command.spawn(),
            }
        };
        let ended = std::thread::Builder::new().name("confined".to_owned()).spawn(start)?.join();
        ended.unwrap_or_else(|_| Err(std::io::Error::other("the thread that starts the program panicked")))
    }

    fn rules(&self, program: &Path) -> Result<RulesetCreated, landlock::RulesetError> {
        let all = AccessFs::from_all(ASKED);
        let read = AccessFs::from_read(ASKED);
        let mut rules = Ruleset::default().handle_access(all)?.create()?;
        for folder in &self.0 {
            rules = rules.add_rule(PathBeneath::new(folder.as_ref(), all))?;
        }
        let files = |access| access & AccessFs::from_file(ASKED);
        for (path, access) in
            DEVICES.iter().map(|path| (PathBuf::from(path), files(all))).chain(own_files(program).map(|path| (path, read)))
        {
            // One that is not there is not needed either.
            if let Ok(opened) = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                rules = rules.add_rule(PathBeneath::new(opened, if path.is_dir() { access } else { files(access) }))?;
            }
        }
        Ok(rules)
    }
}

/// What is installed, and what belongs to `program` where it stands elsewhere: `PREFIX/bin/git` has `PREFIX/libexec/git-core`.
fn own_files(program: &Path) -> impl Iterator<Item = PathBuf> {
    let program = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    let prefix = program.parent().filter(|folder| folder.ends_with("bin")).and_then(Path::parent);
    let beside = prefix.map(|prefix| ["libexec/git-core", "lib"].map(|folder| prefix.join(folder)));
    INSTALLED.iter().map(PathBuf::from).chain([program.clone()]).chain(beside.into_iter().flatten())
}

/// Whether the kernel can keep a [`Confinement`]: Linux 5.13 or newer with Landlock, where no container takes it away.
#[must_use]
pub fn can_confine() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| Confinement::default().rules(Path::new("/")).is_ok_and(|rules| Option::<OwnedFd>::from(rules).is_some()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use super::Confinement;
    use super::can_confine;
    use crate::Cancel;
    use crate::Command;
    use crate::Ended;
    use crate::capture_bytes;

    async fn sh(script: &str, within: Option<&Confinement>) -> (Ended, String) {
        let command = Command {
            program: "sh".into(),
            args: vec!["-c".into(), script.into()],
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            dir: None,
            deadline: Duration::from_secs(30),
            mask: Arc::default(),
            lock: None,
        };
        let (ended, out, _) = capture_bytes(&command, within, 1 << 20, &Cancel::default()).await;
        (ended, String::from_utf8_lossy(&out).into_owned())
    }

    fn open(path: &Path) -> std::os::fd::OwnedFd {
        std::fs::File::open(path).expect("a folder").into()
    }

    /// Each script is let through as it is, and stopped where it is confined to the folder inside.
    #[tokio::test]
    async fn nothing_outside_is_read_or_written_by_whatever_way() {
        assert!(can_confine(), "this kernel has no Landlock, or the container takes it away");
        let place = tempfile::tempdir().expect("a folder");
        let (inside, outside) = (place.path().join("in"), place.path().join("out"));
        for folder in [&inside, &outside] {
            std::fs::create_dir(folder).expect("a folder");
        }
        std::fs::write(outside.join("secret"), "s").expect("a file");
        symlink(&outside, inside.join("link")).expect("a link");
        let within = Confinement::default().with(open(&inside));
        let at = inside.display();
        for script in [
            "cat link/secret",
            "ls link/",
            "echo x >link/new",
            "echo x >>link/secret",
            "rm link/secret",
            "ln link/secret here",
            "mv link/secret here",
        ] {
            let script = format!("cd {at} && {script}");
            let before = std::fs::read_dir(&outside).expect("a folder").count();
            assert_ne!(sh(&script, Some(&within)).await.0, Ended::Exit(0), "{script}");
            // What it starts is confined as well.
            assert_ne!(sh(&format!("sh -c '{script}'"), Some(&within)).await.0, Ended::Exit(0), "{script}");
            assert_eq!(std::fs::read_dir(&outside).expect("a folder").count(), before, "{script}");
            assert_eq!(std::fs::read_to_string(outside.join("secret")).expect("a file"), "s", "{script}");
        }
        assert_eq!(sh(&format!("cd {at} && cat link/secret"), None).await, (Ended::Exit(0), "s".to_owned()));
        let script = format!("cd {at} && mkdir -p a/b && echo y >a/b/c && mv a/b/c a/d && cat a/d && rm -r a");
        assert_eq!(sh(&script, Some(&within)).await, (Ended::Exit(0), "y\n".to_owned()));
    }

    /// A folder of that name that was put in its place is another one.
    #[tokio::test]
    async fn a_folder_that_takes_the_name_is_not_the_one_that_was_meant() {
        let place = tempfile::tempdir().expect("a folder");
        let (folder, other) = (place.path().join("folder"), place.path().join("other"));
        for folder in [&folder, &other] {
            std::fs::create_dir(folder).expect("a folder");
            std::fs::write(folder.join("f"), folder.display().to_string()).expect("a file");
        }
        let within = Confinement::default().with(open(&folder));
        std::fs::rename(&folder, place.path().join("moved")).expect("moved");
        std::fs::rename(&other, &folder).expect("moved");
        assert_ne!(sh(&format!("cat {}/f", folder.display()), Some(&within)).await.0, Ended::Exit(0));
        assert_eq!(sh(&format!("cat {}/moved/f", place.path().display()), Some(&within)).await.0, Ended::Exit(0));
    }
}
