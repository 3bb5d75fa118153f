//! A full disk at every place that is written to: nothing is lost, and with room again it goes on by itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use tagalong::config::Publish;
use tagalong::dataset::DatasetError;
use tagalong::model::Reconcile;

use crate::world::World;
use crate::world::on_both_gits;

/// A small file system in memory, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf) -> Self {
        std::fs::create_dir(&at).unwrap();
        let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(&at).status().unwrap();
        assert!(mounted.success(), "this test needs root");
        Self(at)
    }

    /// Leaves room for `pages` of 4 KiB.
    fn fill(&self, pages: u64) {
        let filler = self.0.join("filler");
        let _ = std::fs::remove_file(&filler);
        let free = rustix::fs::statvfs(&self.0).unwrap();
        let bytes = (free.f_bavail.saturating_sub(pages)) * free.f_frsize;
        // Written, for a hole would take no room.
        std::fs::write(&filler, vec![1; bytes as usize]).unwrap();
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Which place an error speaks of.
fn site(error: &DatasetError, root: &Path) -> String {
    match error {
        DatasetError::Git { what, .. } => format!("git {what}"),
        DatasetError::File(path, _) => format!(
            "file {}",
            path.strip_prefix(root)
                .unwrap_or(path)
                .components()
                .map(|c| c.as_os_str().to_string_lossy())
                .filter(|part| part.len() < 20)
                .collect::<Vec<_>>()
                .join("/")
        ),
        other => format!("{other:.40}"),
    }
}

fn text(n: u64, who: &str) -> String {
    format!("{who} {n}\n").repeat(600)
}

on_both_gits! {
    async fn nothing_is_lost_and_it_goes_on_with_room_again(world: World) {
        let small = Small::mount(world.path("small"));
        let published = Publish::Worktree { link: small.0.join("current"), dir: small.0.join("trees"), keep: std::time::Duration::ZERO };
        world.set(|settings| { settings.dir = small.0.join("data"); settings.publish = published; });
        world.ready().await;
        let dir = small.0.join("data");
        let mut sites = BTreeMap::<String, u32>::new();
        let mut made = Vec::new();
        for (n, pages) in (0..13).chain((13..60).step_by(4)).enumerate() {
            let n = n as u64;
            // In turn: own work that fits, own work that does not, and an edit that is in the way.
            world.follow();
            made.push(world.write(&dir, &format!("own{n}"), &text(n, "own"), &format!("own {n}")));
            if n % 3 == 1 {
                made.push(world.write(&dir, "a", &text(n, "ours"), &format!("clash {n}")));
            }
            if n % 3 == 2 {
                std::fs::write(dir.join("b"), format!("edit {n}\n")).unwrap();
            }
            std::fs::write(world.other().join("b"), text(n, "b")).unwrap();
            world.elsewhere("a", &text(n, "theirs"));
            small.fill(pages);
            match world.data().reconcile(&world.cancel).await {
                Err(error) => *sites.entry(site(&error, world.root.path())).or_default() += 1,
                Ok(done) if done.outcome == Reconcile::FetchFailed => *sites.entry("fetch or push".to_owned()).or_default() += 1,
                Ok(done) => {
                    // There was room for the pass: now for the worktree.
                    match world.data().stage(&done.to.unwrap(), &world.cancel).await {
                        Err(error) => *sites.entry(format!("stage: {}", site(&error, world.root.path()))).or_default() += 1,
                        Ok(snapshot) => {
                            if let Err(error) = world.data().flip(&snapshot).await {
                                *sites.entry(format!("flip: {}", site(&error, world.root.path()))).or_default() += 1;
                            }
                        }
                    }
                }
            }
            small.empty();
            let done = world.reconcile().await;
            assert!(!matches!(done.outcome, Reconcile::FetchFailed | Reconcile::PushRefused), "{done:?}");
            assert_eq!(world.run(&dir, &["rev-parse", "main"]), world.remote_tip());
            assert_eq!(world.run(&dir, &["status", "--porcelain"]), "", "after {pages} pages");
            let snapshot = world.data().stage(&world.commit_of(&dir, "main"), &world.cancel).await.unwrap();
            world.data().flip(&snapshot).await.unwrap();
            assert_eq!(world.run(&snapshot.path, &["status", "--porcelain"]), "");
            world.data().tidy(&[], &world.cancel).await.unwrap();
            if n % 3 == 2 {
                let branches = world.conflicts();
                let found = branches.iter().any(|branch| world.run(&world.remote(), &["show", &format!("{branch}:b")]) == format!("edit {n}"));
                assert!(found, "the edit {n} with {pages} pages: {branches:?}");
            }
        }
        let subjects = world.run(&world.remote(), &["log", "--all", "--format=%s"]);
        for n in 0..made.len() as u64 {
            let subject = format!("own {n}");
            assert!(n >= 25 || subjects.lines().any(|line| line == subject), "{subject} is lost");
        }
        println!("full disk: {sites:?}");
        assert!(sites.len() >= 3, "only {sites:?}");
    }

    async fn a_first_clone_without_room_leaves_nothing_behind_and_works_later(world: World) {
        let small = Small::mount(world.path("small"));
        world.set(|settings| settings.dir = small.0.join("data"));
        for pages in [2, 8, 16, 24] {
            small.fill(pages);
            let result = world.data().ready(&world.cancel).await;
            assert!(result.is_err() || pages > 16, "{pages} pages");
            small.empty();
            if result.is_ok() {
                std::fs::rename(small.0.join("data"), world.path(&format!("done{pages}"))).unwrap_or_default();
            }
        }
        world.ready().await;
        let left: Vec<_> = std::fs::read_dir(small.0.join(".data.tagalong")).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["lock"]);
    }

    async fn a_read_only_folder_is_said_by_name(world: World) {
        let small = Small::mount(world.path("small"));
        world.set(|settings| settings.dir = small.0.join("data"));
        world.ready().await;
        world.elsewhere("a", "2\n");
        let remount = |how: &str| std::process::Command::new("mount").args(["-o", how]).arg(&small.0).status().unwrap();
        assert!(remount("remount,ro").success());
        let error = world.data().reconcile(&world.cancel).await.unwrap_err();
        assert!(error.to_string().contains("Read-only file system"), "{error}");
        assert_eq!(std::fs::read_to_string(small.0.join("data/a")).unwrap(), "1 a\n2 a\n3 a\n");
        assert!(remount("remount,rw").success());
        assert_eq!(world.reconcile().await.outcome, Reconcile::FastForwarded);
    }

    async fn a_volume_of_its_own_is_healed_inside(world: World) {
        let small = Small::mount(world.path("volume"));
        world.set(|settings| settings.dir.clone_from(&small.0));
        std::fs::create_dir(small.0.join("lost+found")).unwrap();
        std::fs::write(small.0.join("precious"), "p").unwrap();
        let ready = world.ready().await;
        assert_eq!(std::fs::read_to_string(ready.aside[0].join("precious")).unwrap(), "p");
        assert_eq!(world.run(&small.0, &["status", "--porcelain"]), "");
        world.elsewhere("a", "2\n");
        world.expect(Reconcile::FastForwarded).await;
        assert_eq!(world.ready().await.parked, Vec::<String>::new());
        assert_eq!(world.run(&small.0, &["status", "--porcelain"]), "");
    }
}
