//! A neighbour who may write the checkout swaps a folder of it for a link at the very moment in which git writes or reads its
//! files, or does so all the time: no file outside is written or read, and when he has stopped everything is well again.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::RenameFlags;
use rustix::fs::renameat_with;
use tagalong::config::Confine;
use tagalong::config::Publish;

use crate::world::PATIENCE;
use crate::world::World;
use crate::world::on_both_gits;

/// What stands in the files outside, and nowhere else.
const SECRET: &str = "nobody else's business";
/// This many files are in the folder that is swapped: git is at work on it long enough to be caught there.
const FILES: usize = 1500;
/// This long a folder that every piece of work looks at first stays one in a storm.
const REST: Duration = Duration::from_millis(2);
/// This long a neighbour swaps as fast as he can.
const STORM: Duration = Duration::from_secs(6);

/// A folder with files of the same names outside the checkout.
fn outside(world: &World, files: usize) -> PathBuf {
    let outside = world.path("outside");
    std::fs::create_dir_all(&outside).unwrap();
    for n in 0..files {
        std::fs::write(outside.join(format!("f{n:04}")), format!("{SECRET} {n}")).unwrap();
    }
    outside
}

/// Every name below `folder`, with what stands there.
fn everything(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let meta = path.symlink_metadata().unwrap();
            found.insert(path.clone(), if meta.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() });
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

/// How many files outside were written, made or removed since `before`.
fn written(outside: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) -> usize {
    let now = everything(outside);
    let changed = now.iter().filter(|(path, bytes)| before.get(*path) != Some(*bytes)).count();
    changed + before.keys().filter(|path| !now.contains_key(*path)).count()
}

/// How many objects, here and on the remote, say what only files outside say.
fn read(world: &World) -> usize {
    let mut found = 0;
    for repository in [world.dir(), world.remote()] {
        let all = world.output(&repository, &["cat-file", "--batch", "--batch-all-objects", "--buffer"]);
        assert!(all.status.success(), "{}", String::from_utf8_lossy(&all.stderr));
        found += all.stdout.windows(SECRET.len()).filter(|bytes| *bytes == SECRET.as_bytes()).count();
    }
    found
}

/// Somebody else writes every file of the folder again.
fn rewrite(world: &World, files: usize, text: &str) {
    world.follow();
    std::fs::create_dir_all(world.other().join("d")).unwrap();
    for n in 0..files {
        std::fs::write(world.other().join(format!("d/f{n:04}")), format!("{text} {n}")).unwrap();
    }
    world.commit(&world.other(), text);
    world.run(&world.other(), &["push", "-q", "origin", "HEAD:refs/heads/main"]);
}

/// Waits on a thread of its own until `is_time`, then swaps the folder `d` for a link to `to`. Gives whether it was in time: whether
/// `is_amid` then.
fn swap_when(dir: &Path, to: &Path, is_time: impl Fn() -> bool, is_amid: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !is_time() {
        if began.elapsed() > PATIENCE {
            return false;
        }
        std::hint::spin_loop();
    }
    symlink(to, dir.join("link")).unwrap();
    renameat_with(CWD, dir.join("d"), CWD, dir.join("link"), RenameFlags::EXCHANGE).unwrap();
    is_amid()
}

/// The folder is a folder again.
fn put_back(dir: &Path) {
    if dir.join("d").is_symlink() {
        renameat_with(CWD, dir.join("d"), CWD, dir.join("link"), RenameFlags::EXCHANGE).unwrap();
    }
    let _ = std::fs::remove_file(dir.join("link"));
}

/// Files of `folder` that say `text`.
fn saying(folder: &Path, text: &str) -> usize {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter(|file| std::fs::read_to_string(file.path()).is_ok_and(|found| found.starts_with(text))).count()
}

/// A pass during which the folder is swapped while git writes the files in it, `TRIES` times at most until it was in time. Gives
/// how many files outside were written.
async fn swapped_while_written(world: &World) -> usize {
    rewrite(world, FILES, "first");
    world.ready().await;
    let (outside, dir) = (outside(world, FILES), world.dir());
    let before = everything(&outside);
    for round in 0..20 {
        let text = format!("round {round}");
        rewrite(world, FILES, &text);
        // The first file is written: git has seen that the folder is one, and believes it for the rest.
        let first = dir.join("d/f0000");
        let is_time = || std::fs::read_to_string(&first).is_ok_and(|found| found.starts_with(&text));
        let in_time = std::thread::scope(|scope| {
            let swapping = scope.spawn(|| swap_when(&dir, &outside, is_time, || saying(&dir.join("link"), &text) < FILES / 2));
            let pass = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(world.data().reconcile(&world.cancel)));
            println!("the pass ended: {:?}", pass.map(|done| done.outcome));
            swapping.join().unwrap()
        });
        put_back(&dir);
        let found = written(&outside, &before);
        if in_time || found > 0 {
            return found;
        }
        world.again().ready(&world.cancel).await.unwrap();
    }
    panic!("the folder was never swapped in time");
}

/// A boot with edits of every file, during which the folder is swapped while git reads them. Gives how many objects hold what
/// only stands outside.
async fn swapped_while_read(world: &World) -> usize {
    rewrite(world, FILES, "first");
    world.ready().await;
    let (outside, dir) = (outside(world, FILES), world.dir());
    for round in 0..20 {
        for n in 0..FILES {
            std::fs::write(dir.join(format!("d/f{n:04}")), format!("edit {round} of {n}")).unwrap();
        }
        // The first object of an edit is written: the others are read next.
        let name = world.run(&dir, &["hash-object", "d/f0000"]);
        let first = dir.join(format!(".git/objects/{}/{}", &name[..2], &name[2..]));
        let last = world.run(&dir, &["hash-object", &format!("d/f{:04}", FILES - 1)]);
        let last = dir.join(format!(".git/objects/{}/{}", &last[..2], &last[2..]));
        let in_time = std::thread::scope(|scope| {
            let swapping = scope.spawn(|| swap_when(&dir, &outside, || first.exists(), || !last.exists()));
            let boot = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(world.again().ready(&world.cancel)));
            println!("the boot ended: {:?}", boot.map(|ready| ready.parked));
            swapping.join().unwrap()
        });
        put_back(&dir);
        let found = read(world);
        if in_time || found > 0 {
            return found;
        }
        world.again().ready(&world.cancel).await.unwrap();
    }
    panic!("the folder was never swapped in time");
}

/// Everything is well once the neighbour has stopped.
async fn is_well_again(world: &World) {
    put_back(&world.dir());
    world.again().ready(&world.cancel).await.unwrap();
    world.follow();
    world.elsewhere("a", "at last");
    world.reconcile().await;
    assert_eq!(world.read("a"), "at last");
    world.again().ready(&world.cancel).await.unwrap();
    world.reconcile().await;
    world.assert_same();
}

on_both_gits! {
    async fn a_folder_swapped_while_git_writes_in_it_leads_nowhere(world: World) {
        assert_eq!(swapped_while_written(&world).await, 0);
        is_well_again(&world).await;
        // The same without: or the swap was no swap.
        world = World::new(&world.git);
        world.set(|settings| settings.git.confine = Confine::Never);
        assert_ne!(swapped_while_written(&world).await, 0, "the neighbour of this test is too slow to be one");
    }

    async fn a_folder_swapped_while_git_reads_in_it_shows_nothing(world: World) {
        assert_eq!(swapped_while_read(&world).await, 0);
        is_well_again(&world).await;
        world = World::new(&world.git);
        world.set(|settings| settings.git.confine = Confine::Never);
        assert_ne!(swapped_while_read(&world).await, 0, "the neighbour of this test is too slow to be one");
    }

    async fn a_storm_of_swaps_leads_nowhere(world: World) {
        let published = Publish::Worktree { link: world.path("served/current"), dir: world.path("served/trees"), keep: Duration::ZERO };
        world.set(|settings| settings.publish = published);
        rewrite(&world, 60, "first");
        world.ready().await;
        let outside = outside(&world, 60);
        let before = everything(&outside);
        // Of the files, of the refs and of the objects one each.
        let dir = world.dir();
        for (folder, rest) in [("d", Duration::ZERO), (".git/refs/tagalong", REST), (".git/objects/pack", REST)] {
            let stop = AtomicBool::new(false);
            let (at, link) = (dir.join(folder), world.path("swapped"));
            let ((rounds, well), swaps) = std::thread::scope(|scope| {
                let storm = scope.spawn(|| swap_until(&stop, &at, &link, &outside, rest));
                let told = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(passes(&world, folder)));
                stop.store(true, Ordering::Relaxed);
                (told, storm.join().unwrap())
            });
            println!("{folder}: {swaps} swaps beside {rounds} rounds, of which {well} ended well");
            assert!(swaps > 500 && rounds > 3);
            assert_eq!((written(&outside, &before), read(&world)), (0, 0), "{folder}");
            is_well_again(&world).await;
            assert_eq!((written(&outside, &before), read(&world)), (0, 0), "{folder}");
        }
    }
}

/// Swaps the folder `at` for a link to `to` and back, as fast as possible, with a rest as a folder each time. Gives how often. In
/// the end it is a folder, with all that was in it.
fn swap_until(stop: &AtomicBool, at: &Path, link: &Path, to: &Path, rest: Duration) -> usize {
    let (exchange, mut swaps) = (|| renameat_with(CWD, at, CWD, link, RenameFlags::EXCHANGE).is_ok(), 0);
    while !stop.load(Ordering::Relaxed) {
        if !at.is_symlink() && !link.is_symlink() {
            // git has made a folder in the link's place.
            gather(link, at);
            symlink(to, link).unwrap();
        }
        swaps += usize::from(exchange());
        if !at.is_symlink() {
            std::thread::sleep(rest);
        }
    }
    if at.is_symlink() && !exchange() {
        std::fs::remove_file(at).unwrap();
    }
    gather(link, at);
    swaps
}

/// Moves what is in the folder `from` into `to`, where that has no such thing. Afterwards there is nothing at `from`.
fn gather(from: &Path, to: &Path) {
    if from.is_symlink() {
        return std::fs::remove_file(from).unwrap();
    }
    for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
        let there = to.join(entry.file_name());
        if there.is_dir() {
            gather(&entry.path(), &there);
        } else if !there.exists() {
            let _ = std::fs::rename(entry.path(), there);
        }
    }
    let _ = std::fs::remove_dir_all(from);
}

/// An edit in the folder, where it is one just then.
fn edit(dir: &Path, text: &str) {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if let Ok(folder) = rustix::fs::open(dir.join("d"), flags, Mode::empty()) {
        let _ = std::fs::write(format!("/proc/self/fd/{}/f0001", folder.as_raw_fd()), text);
    }
}

/// Boots, edits, news, merges, publishing and looks, for a while. Gives how many rounds there were, and how many ended well.
async fn passes(world: &World, folder: &str) -> (usize, usize) {
    let (began, mut rounds, mut well) = (Instant::now(), 0, 0);
    while began.elapsed() < STORM || rounds < 4 {
        rounds += 1;
        rewrite(world, 60, &format!("{folder}, round {rounds}"));
        edit(&world.dir(), &format!("edited in round {rounds}"));
        let _ = std::fs::write(world.dir().join(format!("new-{rounds}")), "new");
        let data = world.again();
        let done = data.reconcile(&world.cancel).await;
        let booted = data.ready(&world.cancel).await;
        if let Ok(Some(head)) = data.head().await
            && let Ok(snapshot) = data.stage(&head, &world.cancel).await
        {
            let _ = data.flip(&snapshot).await;
        }
        let (tidied, looked) = (data.tidy(&[], &world.cancel).await, data.status(&world.cancel).await);
        well += usize::from(done.is_ok() && booted.is_ok() && tidied.is_ok() && looked.is_ok());
    }
    (rounds, well)
}
