//! Anybody who may write a checkout names no program, no file elsewhere and no host: not in its configuration, its attributes, its
//! history, nor by what the things in its git folder are.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::SystemTime;

use tagalong::config::DatasetLogin;
use tagalong::config::Publish;
use tagalong::model::Reconcile;

use crate::remote::serve;
use crate::world::World;
use crate::world::executable;
use crate::world::newest_git;
use crate::world::on_both_gits;

/// Every key of git with what its value can name.
const KEYS: &str = include_str!("keys.txt");
/// This many keys are set at once: one that git stumbles over must not hide the others.
const AT_ONCE: usize = 12;

fn table() -> BTreeMap<&'static str, &'static str> {
    let parse = |line: &'static str| line.split_once(' ').map(|(word, key)| (key, word));
    KEYS.lines().filter(|line| !line.starts_with('#')).filter_map(parse).collect()
}

#[test]
fn every_key_that_git_lists_is_in_the_table() {
    let table = table();
    let words: BTreeSet<&str> = table.values().copied().collect();
    assert_eq!(words, BTreeSet::from(["host", "none", "path", "program"]));
    for git in ["/usr/bin/git".to_owned(), newest_git()] {
        let listed = std::process::Command::new(&git).args(["help", "--config"]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let keys: Vec<&str> = listed.lines().filter(|line| line.contains('.') && !line.contains(' ') || line.contains(".<")).collect();
        assert!(keys.len() > 500, "{git} lists {}", keys.len());
        let unknown: Vec<&&str> = keys.iter().filter(|key| !table.contains_key(**key)).collect();
        assert!(unknown.is_empty(), "{git} knows keys that keys.txt does not classify: {unknown:?}");
    }
}

/// A program that notes that it ran, a file and a host that nobody has a reason to touch.
struct Trap {
    program: PathBuf,
    ran: PathBuf,
    outside: PathBuf,
    called: Arc<AtomicUsize>,
    host: String,
}

impl Trap {
    fn new(world: &World) -> Self {
        let (program, ran, outside) = (world.path("canary"), world.path("ran"), world.path("outside"));
        std::fs::write(&program, format!("#!/bin/sh\necho \"$0 $*\" >> {}\ncat 2>/dev/null\nexit 0\n", ran.display())).unwrap();
        executable(&program);
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "nobody's\n").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
        let called = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&called);
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let trap = Self { program, ran, outside, called, host };
        trap.set();
        trap
    }

    fn secret(&self) -> PathBuf {
        self.outside.join("secret")
    }

    /// Forgets what was. A file that was last read before it was written gets a new time when it is read (`relatime`).
    fn set(&self) {
        let _ = std::fs::remove_file(&self.ran);
        self.called.store(0, Ordering::SeqCst);
        let file = std::fs::File::options().write(true).open(self.secret()).unwrap();
        file.set_times(std::fs::FileTimes::new().set_accessed(long_ago()).set_modified(long_ago() + Duration::from_mins(1))).unwrap();
    }

    /// What was touched since.
    fn touched(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Ok(ran) = std::fs::read_to_string(&self.ran) {
            found.push(format!("ran: {ran}"));
        }
        let calls = self.called.load(Ordering::SeqCst);
        if calls > 0 {
            found.push(format!("{calls} calls of the other host"));
        }
        let meta = std::fs::metadata(self.secret()).unwrap();
        if meta.accessed().unwrap() != long_ago() {
            found.push("the file outside was read".to_owned());
        }
        if meta.modified().unwrap() != long_ago() + Duration::from_mins(1) || std::fs::read_dir(&self.outside).unwrap().count() != 1 {
            found.push("the folder outside was written to".to_owned());
        }
        found
    }
}

fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// A key as a line of configuration, below its section.
fn line(key: &str, word: &str, trap: &Trap, remote: &str) -> String {
    let (section, rest) = key.split_once('.').unwrap();
    let (sub, name) = rest.rsplit_once('.').map_or((None, rest), |(sub, name)| (Some(sub), name));
    let sub = sub.map(|sub| match (section, sub) {
        (_, "<url>") => remote.to_owned(),
        ("url", _) => trap.host.clone(),
        ("remote" | "branch", _) => if section == "remote" { "origin" } else { "main" }.to_owned(),
        ("includeIf", _) => "gitdir:/".to_owned(),
        ("protocol", _) => "ext".to_owned(),
        ("pager", _) => "fetch".to_owned(),
        ("submodule", _) => "sub".to_owned(),
        (_, sub) if sub.starts_with('<') => "canary".to_owned(),
        (_, sub) => sub.to_owned(),
    });
    let program = trap.program.display();
    let (name, value) = match (section, name, word) {
        ("alias", ..) => ("rev-list", format!("!{program}")),
        ("pager", ..) => ("fetch", program.to_string()),
        ("credential", "*", _) => ("helper", format!("!{program}")),
        ("credential", ..) | ("submodule", "update", _) => (name, format!("!{program}")),
        ("http", "*", _) => ("proxy", trap.host.clone()),
        ("http", "extraHeader", _) => (name, "X-Canary: 1".to_owned()),
        ("http", "curloptResolve", _) => (name, format!("127.0.0.1:80:{}", trap.host)),
        ("url", ..) => (name, remote.to_owned()),
        ("protocol", ..) => (name, "always".to_owned()),
        ("core", "hooksPath", _) => (name, trap.program.parent().unwrap().join("hooks").display().to_string()),
        ("extensions", "worktreeConfig", _) | (_, "required" | "promisor" | "followRedirects", _) => (name, "true".to_owned()),
        ("extensions", "partialClone", _) => (name, "origin".to_owned()),
        ("core", "worktree", _) | ("init", "templateDir", _) | ("safe", ..) => (name, trap.outside.display().to_string()),
        (_, name, "program") => (name, program.to_string()),
        (_, name, "path") => (name, trap.secret().display().to_string()),
        (_, name, _) => (name, trap.host.clone()),
    };
    let name = if name == "*" || name.starts_with('<') { "canary" } else { name };
    match sub {
        Some(sub) => format!("[{section} \"{sub}\"]\n\t{name} = \"{value}\"\n"),
        None => format!("[{section}]\n\t{name} = \"{value}\"\n"),
    }
}

/// What the app has in its checkout, quiet or with traps.
struct Checkout<'a> {
    world: &'a World,
    quiet: String,
    evil: String,
}

const ATTRIBUTES: &str = "* filter=canary diff=canary merge=canary\n*.op filter=operator\n";

impl Checkout<'_> {
    fn arm(&self) {
        let git = self.world.dir().join(".git");
        std::fs::write(git.join("config"), format!("{}{}", self.quiet, self.evil)).unwrap();
        std::fs::write(git.join("config.worktree"), &self.evil).unwrap();
        std::fs::create_dir_all(git.join("info")).unwrap();
        std::fs::write(git.join("info/attributes"), ATTRIBUTES).unwrap();
        let inner = self.world.dir().join("sub/.git");
        std::fs::write(inner.join("config"), format!("[core]\n\trepositoryformatversion = 0\n{}", self.evil)).unwrap();
        std::fs::write(inner.join("info/attributes"), ATTRIBUTES).unwrap();
        for hook in ["post-checkout", "reference-transaction", "pre-push", "post-index-change", "pre-auto-gc", "fsmonitor-watchman"] {
            std::fs::create_dir_all(git.join("hooks")).unwrap();
            std::fs::copy(self.world.path("canary"), git.join("hooks").join(hook)).unwrap();
        }
    }

    fn calm(&self) {
        let git = self.world.dir().join(".git");
        std::fs::write(git.join("config"), &self.quiet).unwrap();
        for file in ["config.worktree", "info/attributes"] {
            let _ = std::fs::remove_file(git.join(file));
        }
        let _ = std::fs::remove_dir_all(git.join("hooks"));
        std::fs::write(self.world.dir().join("sub/.git/config"), "[core]\n\trepositoryformatversion = 0\n").unwrap();
        std::fs::remove_file(self.world.dir().join("sub/.git/info/attributes")).unwrap();
    }
}

/// A history whose own files name the trap, a folder in it that is a repository with the same configuration, a remote over http
/// with a password, and worktrees for readers.
fn prepare(world: &mut World) -> (Trap, String) {
    let trap = Trap::new(world);
    world.run(world.root.path(), &["init", "-q", "-b", "main", "sub"]);
    let inner = world.write(&world.path("sub"), "x", "x\n", "inner");
    let modules = format!("[submodule \"sub\"]\n\tpath = sub\n\turl = {}\n\tignore = none\n", trap.host);
    for (file, text) in [(".gitattributes", ATTRIBUTES), (".gitmodules", modules.as_str()), ("f.op", "1\n")] {
        std::fs::write(world.other().join(file), text).unwrap();
    }
    std::fs::write(world.other().join(".lfsconfig"), format!("[lfs]\n\turl = {}\n", trap.host)).unwrap();
    std::fs::create_dir(world.other().join("sub")).unwrap();
    world.run(&world.other(), &["update-index", "--add", "--cacheinfo", &format!("160000,{inner},sub")]);
    world.elsewhere("first", "f\n");
    // A program of the operator's own configuration is not to be chosen by the history either.
    let home = format!("[filter \"operator\"]\n\tclean = {0}\n\tsmudge = {0}\n", trap.program.display());
    std::fs::write(world.path("home/.gitconfig"), home).unwrap();
    let secret = world.path("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let port = serve(world.git.clone(), world.root.path().to_owned(), Arc::new(Mutex::new(Some("s3cret".to_owned()))));
    world.run(&world.remote(), &["config", "http.receivepack", "true"]);
    let remote = format!("http://127.0.0.1:{port}/remote.git");
    let published = Publish::Worktree { link: world.path("served/current"), dir: world.path("served/trees"), keep: Duration::ZERO };
    world.set(|settings| {
        settings.remote.clone_from(&remote);
        settings.login = Some(DatasetLogin { user: "u".to_owned(), secret_file: secret });
        settings.publish = published;
    });
    (trap, remote)
}

async fn serve_head(world: &World) {
    let head = world.data().head().await.unwrap().unwrap();
    let snapshot = world.data().stage(&head, &world.cancel).await.unwrap();
    world.data().flip(&snapshot).await.unwrap();
    world.data().tidy(&[], &world.cancel).await.unwrap();
}

/// Everything that tagalong does with a checkout, while these keys are set in it.
async fn everything(world: &mut World, keys: &[(&str, &str)]) {
    let (trap, remote) = prepare(world);
    world.ready().await;
    assert_eq!(trap.touched(), [""; 0], "a new clone");
    let evil: String = keys.iter().map(|(key, word)| line(key, word, &trap, &remote)).collect();
    let evil = format!("{evil}[core]\n\trepositoryformatversion = 1\n");
    // The app has filled the submodule, and edits in it.
    let sub = world.dir().join("sub");
    std::fs::create_dir_all(&sub).unwrap();
    world.run(world.root.path(), &["clone", "-q", "sub", "filled"]);
    std::fs::rename(world.path("filled/.git"), sub.join(".git")).unwrap();
    std::fs::write(sub.join("x"), "edited\n").unwrap();
    let quiet = std::fs::read_to_string(world.dir().join(".git/config")).unwrap();
    let checkout = Checkout { world, quiet, evil };
    checkout.arm();
    let app = |file: &str, text: &str| {
        std::fs::write(world.dir().join(file), text).unwrap();
        world.run(&world.dir(), &["add", "--", file]);
        world.run(&world.dir(), &["commit", "-q", "-m", file]);
    };
    trap.set();
    for round in ["behind", "ahead", "diverged", "conflict"] {
        checkout.calm();
        if round != "ahead" {
            world.follow();
            std::fs::write(world.other().join("f.op"), round).unwrap();
            world.elsewhere("b", &format!("{round}\n"));
        }
        match round {
            "ahead" | "diverged" => app("own", round),
            "conflict" => app("b", "ours\n"),
            _ => {}
        }
        trap.set();
        checkout.arm();
        let done = world.reconcile().await;
        let wanted = match round {
            "behind" => Reconcile::FastForwarded,
            "ahead" => Reconcile::Pushed,
            "diverged" => Reconcile::Rebased,
            _ => Reconcile::ConflictParked,
        };
        assert_eq!(done.outcome, wanted, "{keys:?}: {done:?}");
        serve_head(world).await;
    }
    std::fs::write(world.dir().join("a"), "an edit\n").unwrap();
    std::fs::write(world.dir().join("new"), "not tracked\n").unwrap();
    let ready = world.again().ready(&world.cancel).await.unwrap();
    assert_eq!(ready.parked.len(), 1, "{ready:?}");
    assert!(ready.aside.is_empty(), "{ready:?}");
    world.reconcile().await;
    world.data().status(&world.cancel).await.unwrap();
    world.data().may_push(&world.cancel).await.unwrap();
    let head = world.data().head().await.unwrap().unwrap();
    world.data().set_loaded(&head).await.unwrap();
    world.data().tend(&world.cancel).await.unwrap();
    assert_eq!(trap.touched(), [""; 0], "{keys:?}");
    assert_eq!(std::fs::read_to_string(world.path("served/current/f.op")).unwrap(), "conflict");
}

/// The keys that can name something, by dozens.
fn dozens() -> Vec<Vec<(&'static str, &'static str)>> {
    let keys: Vec<_> = table().into_iter().filter(|(_, word)| *word != "none").collect();
    keys.chunks(AT_ONCE).map(<[_]>::to_vec).collect()
}

async fn all_keys(git: &str) {
    let dozens = dozens();
    assert!(dozens.iter().map(Vec::len).sum::<usize>() > 120);
    for keys in dozens {
        everything(&mut World::new(git), &keys).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_of_a_checkout_counts_old_git() {
    all_keys("/usr/bin/git").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_of_a_checkout_counts_new_git() {
    all_keys(&newest_git()).await;
}

/// What is put into a git folder.
type Plant = (&'static str, fn(&World, &Path));

fn pipe(_: &World, at: &Path) {
    let _ = std::fs::remove_file(at);
    assert!(std::process::Command::new("mkfifo").arg(at).status().unwrap().success());
}

fn link(world: &World, at: &Path) {
    let _ = std::fs::remove_file(at);
    let _ = std::fs::remove_dir_all(at);
    std::os::unix::fs::symlink(world.path("outside/secret"), at).unwrap();
}

fn link_to_folder(world: &World, at: &Path) {
    let _ = std::fs::remove_file(at);
    let _ = std::fs::remove_dir_all(at);
    std::os::unix::fs::symlink(world.path("outside"), at).unwrap();
}

fn twin(world: &World, at: &Path) {
    let _ = std::fs::remove_file(at);
    std::fs::hard_link(world.path("outside/secret"), at).unwrap();
}

fn device(_: &World, at: &Path) {
    let _ = std::fs::remove_file(at);
    // Reading it never ends.
    assert!(std::process::Command::new("mknod").arg(at).args(["c", "1", "5"]).status().unwrap().success());
}

fn elsewhere(world: &World, at: &Path) {
    let folder = at.parent().unwrap();
    let moved = world.path("moved");
    std::fs::rename(at, &moved).unwrap();
    std::fs::write(folder.join(".git"), format!("gitdir: {}\n", moved.display())).unwrap();
}

fn leads_to(world: &World, at: &Path) {
    std::fs::write(at, format!("{}\n", world.path("outside").display())).unwrap();
}

fn an_option(world: &World, at: &Path) {
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::fs::write(at, format!("--output={} {}\n", world.path("outside/new").display(), world.head())).unwrap();
}

const PLANTS: &[Plant] = &[
    ("HEAD", pipe),
    ("HEAD", link),
    ("HEAD", twin),
    ("HEAD", device),
    ("index", pipe),
    ("index", link),
    ("index.lock", pipe),
    ("index.lock", link),
    ("config", pipe),
    ("config", device),
    ("packed-refs", pipe),
    ("packed-refs", link),
    ("shallow", pipe),
    ("shallow", link),
    ("refs", link_to_folder),
    ("refs/heads", link_to_folder),
    ("refs/heads/main", pipe),
    ("refs/heads/main", link),
    ("refs/tagalong", link_to_folder),
    ("logs", link_to_folder),
    ("logs/HEAD", link),
    ("logs/HEAD", twin),
    ("logs/refs/heads/main", twin),
    ("logs/refs/heads/main", pipe),
    ("objects", link_to_folder),
    ("objects/pack", link_to_folder),
    ("objects/17", link_to_folder),
    ("objects/17/aa", pipe),
    ("objects/info", link_to_folder),
    ("info", link_to_folder),
    ("info/exclude", pipe),
    ("info/exclude", twin),
    ("info/sparse-checkout", link),
    ("tagalong", link_to_folder),
    ("tagalong/moving", pipe),
    ("tagalong/moving", an_option),
    ("tagalong/remote", twin),
    ("worktrees", link_to_folder),
    ("MERGE_HEAD", pipe),
    ("MERGE_HEAD", link),
    ("commondir", leads_to),
    ("gitdir", leads_to),
    ("", elsewhere),
    ("", link_to_folder),
];

on_both_gits! {
    async fn the_trap_holds_where_git_is_shown_the_checkout(world: World) {
        // Else the tests here could not fail.
        let (trap, remote) = prepare(&mut world);
        world.ready().await;
        let git = world.dir().join(".git");
        let quiet = std::fs::read_to_string(git.join("config")).unwrap();
        for (key, word, args) in [
            ("core.fsmonitor", "program", &["status"][..]),
            ("filter.<driver>.clean", "program", &["add", "-A"][..]),
            ("diff.external", "program", &["diff"][..]),
            ("include.path", "path", &["status"][..]),
            ("core.attributesFile", "path", &["add", "-A"][..]),
            ("url.<base>.insteadOf", "host", &["ls-remote", remote.as_str()][..]),
        ] {
            trap.set();
            std::fs::write(world.dir().join("a"), key).unwrap();
            std::fs::write(git.join("config"), format!("{quiet}{}", line(key, word, &trap, &remote))).unwrap();
            world.try_run(&world.dir(), args);
            assert!(!trap.touched().is_empty(), "{key}");
        }
    }

    async fn a_nested_repository_in_the_way_of_a_merge_is_not_asked(world: World) {
        let trap = Trap::new(&world);
        // One that ends by itself, or git would talk to it for ever.
        std::fs::write(&trap.program, format!("#!/bin/sh\necho ran >>{}\nexit 1\n", trap.ran.display())).unwrap();
        let link = |digit: &str| format!("160000,{},sub", digit.repeat(40));
        let give = |dir: &Path, digit: &str| {
            world.run(dir, &["update-index", "--add", "--cacheinfo", &link(digit)]);
            world.run(dir, &["commit", "-q", "-m", digit]);
        };
        let remote_gives = |digit: &str| {
            world.follow();
            give(&world.other(), digit);
            world.run(&world.other(), &["push", "-q", "origin", "HEAD:refs/heads/main"]);
        };
        remote_gives("1");
        world.ready().await;
        remote_gives("2");
        // All three sides differ, and the commits are missing in what stands there: git would fetch them, as its configuration says.
        let sub = world.dir().join("sub");
        let _ = std::fs::remove_dir_all(&sub);
        std::fs::create_dir(&sub).unwrap();
        world.run(&sub, &["init", "-q"]);
        let config = format!(
            "[core]\nrepositoryformatversion = 1\n[extensions]\npartialClone = origin\n[remote \"origin\"]\npromisor = true\n\
             partialclonefilter = blob:none\nfetch = +refs/heads/*:refs/remotes/origin/*\nurl = {}\nuploadpack = {}\n",
            world.remote().display(),
            trap.program.display()
        );
        std::fs::write(sub.join(".git/config"), config).unwrap();
        give(&world.dir(), "3");
        // Else this could not fail.
        world.try_run(&world.dir(), &["fetch", "-q", "--no-recurse-submodules", "origin", "main"]);
        trap.set();
        world.try_run(&world.dir(), &["merge-tree", "--write-tree", "HEAD", "FETCH_HEAD"]);
        assert!(!trap.touched().is_empty());
        trap.set();
        let _ = world.data().reconcile(&world.cancel).await;
        assert_eq!(trap.touched(), Vec::<String>::new());
    }

    async fn what_is_no_plain_file_leads_nowhere_and_holds_nobody_up(world: World) {
        for (name, plant) in PLANTS {
            let world = World::new(&world.git);
            let trap = Trap::new(&world);
            world.ready().await;
            world.here("own", "o");
            let own = world.head();
            world.elsewhere("b", "theirs\n");
            let git = world.dir().join(".git");
            let at = if name.is_empty() { git.clone() } else { git.join(name) };
            if name.is_empty() {
                // The plant puts the folder itself away.
                let copied = std::process::Command::new("cp").arg("-a").arg(&git).arg(world.path("copy")).status().unwrap();
                assert!(copied.success());
            }
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            plant(&world, &at);
            let is_twin = at.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.nlink() > 1);
            trap.set();
            let all = async {
                let _ = world.data().status(&world.cancel).await;
                let _ = world.data().reconcile(&world.cancel).await;
                let _ = world.again().ready(&world.cancel).await;
                let _ = world.data().reconcile(&world.cancel).await;
                let _ = world.data().status(&world.cancel).await;
            };
            let ended = tokio::time::timeout(Duration::from_mins(2), all).await;
            assert!(ended.is_ok(), "{name} held it up");
            let mut touched = trap.touched();
            // A file with a second name here is one of ours to read, for anybody who gave it that name could; it is not written.
            touched.retain(|what| !is_twin || !what.ends_with("read"));
            assert_eq!(touched, [""; 0], "{name}");
            let all = [world.dir(), world.remote(), world.path("moved"), world.path("copy")];
            let asides = world.data().status(&world.cancel).await.map(|status| status.aside).unwrap_or_default();
            let objects = all.into_iter().chain(asides).any(|dir| is_there(&world, &dir, &own));
            // A folder that the plant itself has thrown away is no loss of ours.
            assert!(objects || name.starts_with("objects"), "{name}: the app's own commit is gone");
        }
    }

    async fn files_of_the_history_do_not_keep_what_follows_away(world: World) {
        world.ready().await;
        // git refuses to fetch beside such a file.
        let text = "[submodule \"s\"]\n\tpath = s\n\turl = u\n\tupdate = !touch /tmp/x\n";
        let evil = world.elsewhere(".gitmodules", text);
        world.expect(Reconcile::FastForwarded).await;
        assert_eq!(world.head(), evil);
        let tip = world.run(&world.other(), &["commit-tree", "-p", &evil, "-m", "next", "HEAD~^{tree}"]);
        world.run(&world.remote(), &["fetch", "-q", &world.other().display().to_string(), &format!("+{tip}:refs/heads/main")]);
        world.expect(Reconcile::FastForwarded).await;
        world.expect(Reconcile::InSync).await;
        assert_eq!(world.head(), tip);
    }

    async fn objects_elsewhere_are_not_reached(world: World) {
        world.ready().await;
        let secret = world.write(&world.path("other"), "secret", "a secret of another repository\n", "not pushed");
        let blob = world.run(&world.other(), &["rev-parse", &format!("{secret}:secret")]);
        world.run(&world.other(), &["reset", "-q", "--hard", "HEAD~"]);
        let objects = world.other().join(".git/objects");
        let info = world.dir().join(".git/objects/info");
        std::fs::create_dir_all(&info).unwrap();
        std::fs::write(info.join("alternates"), format!("{}\n", objects.display())).unwrap();
        world.run(&world.dir(), &["update-index", "--add", "--cacheinfo", &format!("100644,{blob},stolen")]);
        world.run(&world.dir(), &["commit", "-q", "-m", "stolen"]);
        for _ in 0..2 {
            let _ = world.again().ready(&world.cancel).await;
            let _ = world.data().reconcile(&world.cancel).await;
        }
        assert!(!world.try_run(&world.remote(), &["cat-file", "-e", &blob]), "the remote got what only stood elsewhere");
    }

    async fn a_published_worktree_is_removed_by_its_name_alone(world: World) {
        let published = Publish::Worktree { link: world.path("served/current"), dir: world.path("served/trees"), keep: Duration::ZERO };
        world.set(|settings| settings.publish = published);
        world.ready().await;
        serve_head(&world).await;
        let old = world.path("served/current").canonicalize().unwrap();
        let precious = world.path("precious");
        std::fs::create_dir(&precious).unwrap();
        std::fs::write(precious.join("p"), "p").unwrap();
        world.elsewhere("b", "2\n");
        world.reconcile().await;
        // The reader's own word about its git folder.
        let lie = format!("gitdir: {}/worktrees/../../../precious\n", world.dir().join(".git").display());
        std::fs::write(old.join(".git"), lie).unwrap();
        serve_head(&world).await;
        assert!(!old.exists(), "it was left, and nothing in it was edited");
        // And a name in the folder of all worktrees that leads elsewhere.
        let link = world.path("served/trees").join("a".repeat(40));
        std::os::unix::fs::symlink(&precious, &link).unwrap();
        world.data().tidy(&[], &world.cancel).await.unwrap();
        assert_eq!(std::fs::read_to_string(precious.join("p")).unwrap(), "p");
        // A symlink of the readers that was turned elsewhere is not ours.
        let theirs = precious.join("b".repeat(40));
        std::fs::create_dir(&theirs).unwrap();
        std::fs::write(theirs.join("secret"), "s").unwrap();
        std::fs::remove_file(world.path("served/current")).unwrap();
        std::os::unix::fs::symlink(&theirs, world.path("served/current")).unwrap();
        assert_eq!(world.data().current().await, None);
        world.elsewhere("b", "3\n");
        world.reconcile().await;
        serve_head(&world).await;
        assert!(!world.path("served/current/secret").exists());
        assert_eq!(std::fs::read_to_string(theirs.join("secret")).unwrap(), "s");
    }
}

fn is_there(world: &World, dir: &Path, commit: &str) -> bool {
    let git = if dir.join(".git").is_dir() { dir.join(".git") } else { dir.to_owned() };
    // Read by a git folder of its own: this one may be anything by now.
    let bare = world.path(&format!("look-{}", std::fs::read_dir(world.root.path()).unwrap().count()));
    world.run(world.root.path(), &["init", "-q", "--bare", &bare.display().to_string()]);
    let mut command = world.command(&bare, &["cat-file", "-e", commit]);
    command.env("GIT_OBJECT_DIRECTORY", git.join("objects"));
    command.output().is_ok_and(|done| done.status.success())
}
