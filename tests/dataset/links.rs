//! Links, and paths that lead elsewhere, which a neighbour has put into a checkout, its index or our own folder: nothing outside
//! is moved, made or written, and the passes go on.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use tagalong::config::Publish;

use crate::world::World;
use crate::world::on_both_gits;

/// Everything below `folder`: which file it is, when it was written, and what it holds.
fn inventory(folder: &Path) -> BTreeMap<PathBuf, (u64, i64, Vec<u8>)> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let bytes = if meta.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            found.insert(path.clone(), (meta.ino(), meta.mtime_nsec(), bytes));
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

/// A folder beside the checkout that is nobody's business here.
fn outside(world: &World) -> PathBuf {
    let outside = world.path("outside");
    for folder in ["repo/.git", "precious"] {
        std::fs::create_dir_all(outside.join(folder)).unwrap();
    }
    for (file, text) in [("repo/file", "theirs"), ("precious/file", "theirs"), ("file", "theirs"), (".gitignore", "*\n")] {
        std::fs::write(outside.join(file), text).unwrap();
    }
    drop(std::os::unix::net::UnixListener::bind(outside.join("app.sock")).unwrap());
    outside
}

/// Boots and passes with news from the remote between them. Afterwards what is here is what the remote has.
async fn goes_on(world: &World) {
    for round in ["one", "two"] {
        world.reconcile().await;
        world.again().ready(&world.cancel).await.unwrap();
        world.follow();
        world.elsewhere("a", round);
        world.reconcile().await;
        assert_eq!(world.read("a"), round);
    }
    world.again().ready(&world.cancel).await.unwrap();
    world.reconcile().await;
    world.assert_same();
}

/// Adds an entry to the checkout's index by hand: `git` itself refuses a path that leads out. `path` begins with `../`.
fn plant(world: &World, mode: &str, object: &str, path: &str) {
    let stand_in = path.replacen("..", "!!", 1);
    world.run(&world.dir(), &["update-index", "--index-version", "2"]);
    world.run(&world.dir(), &["update-index", "--add", "--cacheinfo", &format!("{mode},{object},{stand_in}")]);
    let index = world.dir().join(".git/index");
    let mut bytes = std::fs::read(&index).unwrap();
    let at = bytes.windows(stand_in.len()).position(|found| found == stand_in.as_bytes()).unwrap();
    bytes[at..at + path.len()].copy_from_slice(path.as_bytes());
    bytes.truncate(bytes.len() - 20);
    let body = world.path("index-body");
    std::fs::write(&body, &bytes).unwrap();
    let sum = std::process::Command::new("sha1sum").arg(&body).output().unwrap().stdout;
    let sum = String::from_utf8(sum).unwrap();
    bytes.extend((0..20).map(|n| u8::from_str_radix(&sum[2 * n..2 * n + 2], 16).unwrap()));
    std::fs::write(&index, bytes).unwrap();
    assert!(world.run(&world.dir(), &["ls-files"]).contains(path));
}

fn begin_a_merge(world: &World) {
    std::fs::write(world.dir().join(".git/MERGE_HEAD"), format!("{}\n", world.head())).unwrap();
}

on_both_gits! {
    async fn a_tracked_folder_that_became_a_link_leads_nowhere(world: World) {
        for text in ["x", "by the remote"] {
            let world = World::new(&world.git);
            world.ready().await;
            let outside = outside(&world);
            if text == "x" {
                world.here("ln/repo", text);
            } else {
                world.elsewhere("ln/repo", "x");
                world.reconcile().await;
                world.elsewhere("ln/repo", text);
            }
            std::fs::remove_dir_all(world.dir().join("ln")).unwrap();
            symlink("../outside", world.dir().join("ln")).unwrap();
            let before = inventory(&outside);
            goes_on(&world).await;
            assert_eq!(inventory(&outside), before);
            assert_eq!(world.read("ln/repo"), text);
        }
    }

    async fn submodules_of_an_index_behind_a_link_are_not_moved_or_made(world: World) {
        world.ready().await;
        let outside = outside(&world);
        symlink("../outside", world.dir().join("ln")).unwrap();
        for name in ["ln/precious", "ln/newdir"] {
            world.run(&world.dir(), &["update-index", "--add", "--cacheinfo", &format!("160000,{},{name}", world.head())]);
        }
        begin_a_merge(&world);
        let before = inventory(&outside);
        goes_on(&world).await;
        assert_eq!(inventory(&outside), before);
    }

    async fn paths_of_an_index_that_lead_out_are_passed_over(world: World) {
        for (mode, path) in [
            ("100644", "../outside/app.sock"),
            ("100644", "../outside/file"),
            ("100644", "../outside/.gitignore"),
            ("160000", "../outside/precious"),
            ("160000", "../outside/newdir"),
        ] {
            for merging in [true, false] {
                let world = World::new(&world.git);
                world.ready().await;
                let outside = outside(&world);
                let object = if mode == "160000" { world.head() } else { world.run(&world.dir(), &["rev-parse", "HEAD:b"]) };
                plant(&world, mode, &object, path);
                if merging {
                    begin_a_merge(&world);
                }
                let before = inventory(&outside);
                goes_on(&world).await;
                assert_eq!(inventory(&outside), before, "{mode} {path}");
            }
        }
    }

    async fn links_in_the_records_of_what_is_published_lead_nowhere(world: World) {
        let published = Publish::Worktree { link: world.path("served/current"), dir: world.path("served/trees"), keep: Duration::ZERO };
        world.set(|settings| settings.publish = published);
        world.ready().await;
        let outside = outside(&world);
        let before = inventory(&outside);
        let side = world.path(".data.tagalong");
        for (round, name) in ["whole", "index", "copy"].into_iter().enumerate() {
            let head = world.data().head().await.unwrap().unwrap();
            let snapshot = world.data().stage(&head, &world.cancel).await.unwrap();
            world.data().flip(&snapshot).await.unwrap();
            let record = side.join("published").join(head.as_str());
            let _ = std::fs::remove_file(record.join(name));
            symlink(outside.join("file"), record.join(name)).unwrap();
            // The link is left, the next worktree begins as the one before, and the one before is tidied away.
            world.elsewhere("a", &round.to_string());
            world.reconcile().await;
            let next = world.data().head().await.unwrap().unwrap();
            let planted = side.join("published").join(next.as_str());
            std::fs::create_dir(&planted).unwrap();
            for name in ["whole", "index", "copy"] {
                symlink(outside.join("file"), planted.join(name)).unwrap();
            }
            let snapshot = world.data().stage(&next, &world.cancel).await.unwrap();
            world.data().flip(&snapshot).await.unwrap();
            assert_eq!(std::fs::read_to_string(world.path("served/current/a")).unwrap(), round.to_string());
            world.data().tidy(&[], &world.cancel).await.unwrap();
            assert_eq!(inventory(&outside), before, "{name}");
        }
        // What is edited goes aside, and not to where a link leads.
        let served = world.data().current().await.unwrap().path;
        std::fs::write(served.join("b"), "edited").unwrap();
        world.elsewhere("a", "last");
        world.reconcile().await;
        let head = world.data().head().await.unwrap().unwrap();
        let snapshot = world.data().stage(&head, &world.cancel).await.unwrap();
        world.data().flip(&snapshot).await.unwrap();
        symlink(&outside, side.join("aside")).unwrap();
        let error = world.data().tidy(&[], &world.cancel).await.unwrap_err();
        assert!(error.to_string().contains("aside"), "{error}");
        assert_eq!(inventory(&outside), before);
        assert_eq!(std::fs::read_to_string(served.join("b")).unwrap(), "edited");
    }
}
