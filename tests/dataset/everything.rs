//! One of everything that can lie in a checkout × what the remote does there, while it runs and at a boot: afterwards the
//! checkout is what the remote has, and every byte is in the work tree, in a folder that was moved aside, or on a ref.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use tagalong::model::Reconcile;

use crate::world::World;
use crate::world::on_both_gits;

/// What the branch has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Has {
    Nothing,
    File,
    Folder,
    Link,
    Submodule,
    /// Nothing, and a rule that ignores it.
    Rule,
}

const TARGETS: [Has; 6] = [Has::Nothing, Has::File, Has::Folder, Has::Link, Has::Submodule, Has::Rule];

type Make = fn(&World, &Path);

/// What is made where the branch has nothing.
const NEW: &[(&str, Make)] = &[
    ("file", |_, at| put(at, "plain")),
    ("folder", |_, at| put(&at.join("sub/file"), "plain in a folder")),
    ("repo", |world, at| repo(world, at)),
    ("repo-edited", |world, at| {
        repo(world, at);
        put(&at.join("one"), "edited");
        put(&at.join("two"), "untracked");
    }),
    ("repo-unborn", |world, at| {
        put(&at.join("draft"), "before any commit");
        world.run(at, &["init", "-q"]);
    }),
    ("repo-bare", |world, at| {
        std::fs::create_dir(at).unwrap();
        world.run(at, &["init", "-q", "--bare"]);
    }),
    ("repo-deep", |world, at| {
        put(&at.join("note"), "beside it");
        repo(world, &at.join("a/b"));
    }),
    ("file.ign", |_, at| put(at, "ignored")),
    ("folder.ign", |_, at| put(&at.join("cache/x"), "ignored below")),
    ("half", |_, at| {
        put(&at.join("note"), "not ignored");
        put(&at.join("key.ign"), "ignored");
    }),
    ("fifo", |_, at| fifo(at)),
    ("socket", |_, at| drop(std::os::unix::net::UnixListener::bind(at).unwrap())),
    ("folder-fifo", |_, at| {
        put(&at.join("note"), "beside a fifo");
        fifo(&at.join("fifo"));
    }),
    ("link", |_, at| std::os::unix::fs::symlink("/nonexistent/dangling", at).unwrap()),
    ("link-folder", |_, at| std::os::unix::fs::symlink("../home", at).unwrap()),
    ("locked", |_, at| {
        put(&at.join("file"), "nobody may read it");
        mode(&at.join("file"), 0o000);
        mode(at, 0o000);
    }),
];

/// What is made of a tracked file.
const OF_FILE: &[(&str, Make)] = &[
    ("edited", |_, at| put(at, "edited")),
    ("removed", |_, at| std::fs::remove_file(at).unwrap()),
    ("link", |_, at| {
        std::fs::remove_file(at).unwrap();
        std::os::unix::fs::symlink("elsewhere", at).unwrap();
    }),
    ("fifo", |_, at| {
        std::fs::remove_file(at).unwrap();
        fifo(at);
    }),
    ("folder", |_, at| {
        std::fs::remove_file(at).unwrap();
        put(&at.join("draft"), "a file no more");
    }),
    ("folder-half", |_, at| {
        std::fs::remove_file(at).unwrap();
        put(&at.join("draft"), "a file no more");
        put(&at.join("key.ign"), "ignored");
    }),
    ("repo", |world, at| {
        std::fs::remove_file(at).unwrap();
        repo(world, at);
    }),
    ("bare", |world, at| {
        std::fs::remove_file(at).unwrap();
        std::fs::create_dir(at).unwrap();
        world.run(at, &["init", "-q", "--bare"]);
    }),
    ("locked", |_, at| {
        put(at, "nobody may read it");
        mode(at, 0o000);
    }),
];

/// What is made in a tracked folder, or of it.
const OF_FOLDER: &[(&str, Make)] = &[
    ("new", |_, at| put(&at.join("new"), "new in it")),
    ("ignored", |_, at| put(&at.join("key.ign"), "ignored in it")),
    ("repo-in-it", |world, at| repo(world, &at.join("nested"))),
    ("repo-around-it", |world, at| {
        world.run(at, &["init", "-q"]);
        world.commit(at, "ours and theirs");
    }),
    ("fifo-in-it", |_, at| fifo(&at.join("fifo"))),
    ("file-becomes-folder", |world, at| {
        std::fs::remove_file(at.join("one")).unwrap();
        repo(world, &at.join("one/deep"));
        put(&at.join("one/note"), "beside it");
    }),
    ("becomes-file", |_, at| {
        std::fs::remove_dir_all(at).unwrap();
        put(at, "a folder no more");
    }),
    ("becomes-fifo", |_, at| {
        std::fs::remove_dir_all(at).unwrap();
        fifo(at);
    }),
    ("becomes-link", |_, at| {
        std::fs::remove_dir_all(at).unwrap();
        std::os::unix::fs::symlink("../home", at).unwrap();
    }),
    ("becomes-file.ign", |_, at| {
        std::fs::remove_dir_all(at).unwrap();
        put(at, "ignored, and a folder no more");
    }),
];

/// What is made of a submodule, which a checkout leaves empty.
const OF_SUBMODULE: &[(&str, Make)] = &[
    ("empty", |_, _| {}),
    ("gone", |_, at| std::fs::remove_dir(at).unwrap()),
    ("filled", |world, at| fill(world, at)),
    ("edited", |world, at| {
        fill(world, at);
        put(&at.join("one"), "edited in it");
        put(&at.join("new"), "new in it");
    }),
    ("ahead", |world, at| {
        fill(world, at);
        put(&at.join("one"), "committed in it");
        world.commit(at, "own work in a submodule");
    }),
    ("ignored", |world, at| {
        fill(world, at);
        put(&at.join(".git/info/exclude"), "secret\n");
        put(&at.join("secret"), "ignored in it");
    }),
    ("absorbed", |world, at| {
        fill(world, at);
        let name = at.file_name().unwrap().to_str().unwrap();
        let into = world.dir().join(".git/modules").join(name);
        std::fs::create_dir_all(into.parent().unwrap()).unwrap();
        std::fs::rename(at.join(".git"), &into).unwrap();
        put(&at.join(".git"), &format!("gitdir: ../.git/modules/{name}\n"));
        put(&at.join("new"), "new in it");
    }),
    ("files-without-a-repository", |_, at| put(&at.join("draft"), "in an empty submodule")),
    ("becomes-file", |_, at| {
        std::fs::remove_dir(at).unwrap();
        put(at, "a submodule no more");
    }),
    ("becomes-fifo", |_, at| {
        std::fs::remove_dir(at).unwrap();
        fifo(at);
    }),
];

fn put(at: &Path, text: &str) {
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::fs::write(at, format!("{text} at {}\n", at.display())).unwrap();
}

fn mode(at: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(at, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn fifo(at: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, at, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
}

fn repo(world: &World, at: &Path) {
    put(&at.join("one"), "in a repository of its own");
    world.run(at, &["init", "-q", "-b", "main"]);
    world.commit(at, "one");
}

/// Fills a submodule with the commit that the branch names.
fn fill(world: &World, at: &Path) {
    let sub = world.path("sub").display().to_string();
    world.run(world.root.path(), &["clone", "-q", "--no-hardlinks", &sub, &at.display().to_string()]);
}

/// The remote's checkout has that at `name`.
fn have(world: &World, name: &str, has: Has) {
    let at = world.other().join(name);
    world.run(&world.other(), &["rm", "-r", "-q", "-f", "--cached", "--ignore-unmatch", "--", name]);
    let _ = (std::fs::remove_dir_all(&at), std::fs::remove_file(&at));
    match has {
        Has::Nothing => {}
        Has::File => std::fs::write(&at, format!("the remote's {name}\n")).unwrap(),
        Has::Folder => {
            std::fs::create_dir(&at).unwrap();
            for file in ["one", "two"] {
                std::fs::write(at.join(file), format!("the remote's {name}/{file}\n")).unwrap();
            }
        }
        Has::Link => std::os::unix::fs::symlink("the-remotes-target", &at).unwrap(),
        Has::Submodule => {
            std::fs::create_dir(&at).unwrap();
            let commit = world.run(&world.path("sub"), &["rev-parse", "HEAD"]);
            world.run(&world.other(), &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{name}")]);
        }
        Has::Rule => {
            let rules = std::fs::read_to_string(world.other().join(".gitignore")).unwrap();
            std::fs::write(world.other().join(".gitignore"), format!("{rules}/{name}\n")).unwrap();
        }
    }
    if !matches!(has, Has::Nothing | Has::Submodule) {
        world.run(&world.other(), &["add", "-f", "--", if has == Has::Rule { ".gitignore" } else { name }]);
    }
}

fn push(world: &World, message: &str) {
    world.run(&world.other(), &["commit", "-q", "--allow-empty", "-m", message]);
    world.run(&world.other(), &["push", "-q", "origin", "HEAD:refs/heads/main"]);
}

/// One thing on disk, to the byte.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing {
    File(Vec<u8>),
    Link(PathBuf),
    Special(String),
}

/// Everything below `at` by its path from `root`. The top repository is none of it.
fn inventory(root: &Path, at: &Path, all: &mut BTreeMap<PathBuf, Thing>) {
    let Ok(meta) = at.symlink_metadata() else { return };
    let path = at.strip_prefix(root).unwrap().to_owned();
    if meta.is_dir() {
        for entry in std::fs::read_dir(at).unwrap().flatten().filter(|entry| entry.path() != root.join(".git")) {
            inventory(root, &entry.path(), all);
        }
    } else if meta.is_symlink() {
        all.insert(path, Thing::Link(std::fs::read_link(at).unwrap()));
    } else if meta.is_file() {
        all.insert(path, Thing::File(std::fs::read(at).unwrap()));
    } else {
        all.insert(path, Thing::Special(format!("{:?}", meta.file_type())));
    }
}

fn inventory_of(root: &Path) -> BTreeMap<PathBuf, Thing> {
    let mut all = BTreeMap::new();
    inventory(root, root, &mut all);
    all
}

/// Whether `thing` is on a ref of ours, at its path.
fn is_on_a_ref(world: &World, path: &Path, thing: &Thing) -> bool {
    let refs = world.run(&world.dir(), &["for-each-ref", "--format=%(refname)", "refs/tagalong/", "refs/heads/"]);
    let wanted = match thing {
        Thing::File(bytes) => bytes.clone(),
        Thing::Link(to) => to.display().to_string().into_bytes(),
        Thing::Special(_) => return false,
    };
    refs.lines().any(|name| {
        let found = world.output(&world.dir(), &["cat-file", "blob", &format!("{name}:{}", path.display())]);
        found.status.success() && found.stdout == wanted
    })
}

/// Every byte of `before` is in the work tree, aside, or on a ref.
async fn assert_all_there(world: &World, before: &BTreeMap<PathBuf, Thing>, case: &str) {
    let mut places = vec![inventory_of(&world.dir())];
    let status = world.data().status(&world.cancel).await.unwrap();
    places.extend(status.aside.iter().map(|folder| inventory_of(folder)));
    for (path, thing) in before {
        let is_there = places.iter().any(|place| place.get(path) == Some(thing)) || is_on_a_ref(world, path, thing);
        assert!(is_there, "{case}: {} is lost ({thing:?})", path.display());
    }
    // What the remote got of it is nothing that is ignored.
    for branch in world.conflicts() {
        let files = world.run(&world.remote(), &["ls-tree", "-r", "--name-only", &branch]);
        assert!(!files.contains(".ign"), "{case}: {branch} holds {files}");
    }
}

/// The checkout has what the remote has.
fn assert_follows(world: &World, name: &str, has: Has, case: &str) {
    let at = world.dir().join(name);
    let kind = at.symlink_metadata().ok();
    match has {
        Has::File => assert_eq!(std::fs::read_to_string(&at).ok(), Some(format!("the remote's {name}\n")), "{case}"),
        Has::Folder => assert_eq!(std::fs::read_to_string(at.join("two")).ok(), Some(format!("the remote's {name}/two\n")), "{case}"),
        Has::Link => assert_eq!(std::fs::read_link(&at).ok(), Some("the-remotes-target".into()), "{case}"),
        // An empty folder that somebody removed is made again at the next boot.
        Has::Submodule => assert!(kind.map_or(name == "x-gone", |kind| kind.is_dir()), "{case}"),
        Has::Nothing | Has::Rule => {}
    }
}

/// How many refs, folders aside and branches there are.
async fn kept(world: &World) -> (usize, usize, usize) {
    let status = world.data().status(&world.cancel).await.unwrap();
    (status.parked.len() + status.kept.len(), status.aside.len(), world.conflicts().len())
}

/// All of `things` in one checkout where the branch has `base`, then the remote has `target`.
async fn everything(git: &str, base: Has, things: &[(&str, Make)], target: Has, is_boot: bool) {
    let world = World::new(git);
    let case = format!("{base:?} to {target:?}, {}", if is_boot { "at a boot" } else { "while it runs" });
    std::fs::create_dir(world.path("sub")).unwrap();
    world.run(&world.path("sub"), &["init", "-q", "-b", "main"]);
    world.write(&world.path("sub"), "one", "in the submodule\n", "sub");
    std::fs::write(world.other().join(".gitignore"), "*.ign\n").unwrap();
    world.run(&world.other(), &["add", "-A"]);
    let names: Vec<String> = things.iter().map(|(name, _)| format!("x-{name}")).collect();
    for name in &names {
        have(&world, name, base);
    }
    push(&world, "base");
    world.ready().await;
    for ((_, make), name) in things.iter().zip(&names) {
        make(&world, &world.dir().join(name));
    }
    let mut before = inventory_of(&world.dir());
    // The remote's own, which it changes.
    before.remove(Path::new(".gitignore"));
    for name in &names {
        have(&world, name, target);
    }
    push(&world, "target");
    if is_boot {
        world.ready().await;
        assert_all_there(&world, &before, &format!("{case}, before the pass")).await;
    }
    world.expect(Reconcile::FastForwarded).await;
    assert_eq!(world.head(), world.remote_tip(), "{case}");
    if base != target || is_boot {
        // Else nothing was in the way.
        for name in &names {
            assert_follows(&world, name, target, &format!("{case}: {name}"));
        }
    }
    assert_all_there(&world, &before, &case).await;
    // Boots after it change nothing more.
    world.ready().await;
    let settled = {
        world.expect(Reconcile::InSync).await;
        kept(&world).await
    };
    for _ in 0..2 {
        let ready = world.again().ready(&world.cancel).await.unwrap();
        assert_eq!((ready.parked, ready.healed), (vec![], vec![]), "{case}: a boot");
        world.expect(Reconcile::InSync).await;
        assert_eq!(kept(&world).await, settled, "{case}: it is stable");
    }
    assert_all_there(&world, &before, &case).await;
    for name in &names {
        assert_follows(&world, name, target, &format!("{case}: {name}, booted"));
    }
    names.iter().map(|name| world.dir().join(name)).filter(|at| at.is_dir()).for_each(|at| mode(&at, 0o700));
}

async fn all(git: &str, base: Has, things: &[(&str, Make)]) {
    for target in TARGETS {
        for is_boot in [false, true] {
            everything(git, base, things, target, is_boot).await;
        }
    }
}

on_both_gits! {
    async fn where_the_branch_has_nothing(world: World) {
        all(&world.git, Has::Nothing, NEW).await;
    }

    async fn where_it_has_a_file(world: World) {
        all(&world.git, Has::File, OF_FILE).await;
    }

    async fn where_it_has_a_folder(world: World) {
        all(&world.git, Has::Folder, OF_FOLDER).await;
    }

    async fn where_it_has_a_submodule(world: World) {
        all(&world.git, Has::Submodule, OF_SUBMODULE).await;
    }
}

/// A file or folder that cannot be changed or moved, until dropped.
struct Fixed(PathBuf);

impl Fixed {
    fn new(at: PathBuf) -> Self {
        let set = std::process::Command::new("chattr").arg("+i").arg(&at).status().unwrap();
        assert!(set.success(), "this test needs root and a file system with immutable files");
        Self(at)
    }
}

impl Drop for Fixed {
    fn drop(&mut self) {
        let _ = std::process::Command::new("chattr").arg("-i").arg(&self.0).status();
    }
}

/// A file system of its own inside the checkout, until dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: PathBuf) -> Self {
        std::fs::create_dir(&at).unwrap();
        let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&at).status().unwrap();
        assert!(mounted.success(), "this test needs root");
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The pass is refused and names what is in the way; nothing of the checkout is another than before.
async fn refused(world: &World, name: &str) {
    let (head, before) = (world.head(), inventory_of(&world.dir()));
    let error = world.data().reconcile(&world.cancel).await.unwrap_err().to_string();
    assert!(error.contains(name), "{error}");
    assert_eq!((world.head(), inventory_of(&world.dir())), (head, before), "{error}");
    assert!(world.data().status(&world.cancel).await.unwrap().aside.is_empty(), "{error}");
}

on_both_gits! {
    async fn what_cannot_be_moved_refuses_the_reload_and_nothing_is_changed(world: World) {
        std::fs::write(world.other().join(".gitignore"), "*.ign\n").unwrap();
        world.elsewhere("tracked", "1\n");
        world.ready().await;
        // Moved before the other is found to stay: it goes back.
        put(&world.dir().join("a.ign"), "can be moved");
        put(&world.dir().join("b.ign"), "cannot");
        let fixed = Fixed::new(world.dir().join("b.ign"));
        for name in ["a.ign", "b.ign"] {
            std::fs::write(world.other().join(name), "the remote's\n").unwrap();
            world.run(&world.other(), &["add", "-f", name]);
        }
        world.elsewhere("c", "2\n");
        for _ in 0..2 {
            refused(&world, "b.ign").await;
        }
        world.ready().await;
        drop(fixed);
        world.expect(Reconcile::FastForwarded).await;
        assert_eq!((world.read("a.ign"), world.read("c")), ("the remote's\n".to_owned(), "2\n".to_owned()));
        // A tracked file that the remote changes.
        let fixed = Fixed::new(world.dir().join("tracked"));
        world.elsewhere("tracked", "2\n");
        let error = world.data().reconcile(&world.cancel).await.unwrap_err().to_string();
        assert!(error.contains("tracked") && error.contains("not permitted"), "{error}");
        assert_eq!(world.run(&world.dir(), &["status", "--porcelain"]), "");
        drop(fixed);
        world.expect(Reconcile::FastForwarded).await;
        world.assert_same();
    }

    async fn a_mount_in_the_way_refuses_the_reload(world: World) {
        world.ready().await;
        let mounted = Mounted::new(world.dir().join("m"));
        repo(&world, &world.dir().join("m/deep"));
        world.elsewhere("m", "a file\n");
        refused(&world, "/m ").await;
        world.ready().await;
        drop(mounted);
        world.expect(Reconcile::FastForwarded).await;
        world.assert_same();
    }

    async fn an_edit_that_cannot_be_undone_is_parked_once_and_does_not_stop_a_boot(world: World) {
        world.ready().await;
        put(&world.dir().join("a"), "edited");
        let edited = world.read("a");
        let fixed = Fixed::new(world.dir().join("a"));
        std::fs::write(world.dir().join("b"), "edited too").unwrap();
        for boot in 0..3 {
            let ready = world.again().ready(&world.cancel).await.unwrap();
            assert!(ready.healed.join(" ").contains("were left as they are"), "{ready:?}");
            assert_eq!((world.read("a"), world.read("b")), (edited.clone(), "1 b\n2 b\n3 b\n".to_owned()));
            world.expect(Reconcile::InSync).await;
            // The first park holds both edits; from the second boot on there is one of the file that stays.
            assert_eq!(world.conflicts().len(), 1 + usize::from(boot > 0), "boot {boot}");
        }
        drop(fixed);
        world.ready().await;
        world.assert_same();
        assert_eq!(world.conflicts().len(), 2);
    }
}
