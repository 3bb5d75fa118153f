//! What readers see: whole worktrees behind one symlink.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tagalong::config::Publish;
use tagalong::dataset::DatasetError;
use tagalong::model::Reconcile;

use crate::world::World;
use crate::world::on_both_gits;

fn publish(world: &mut World, keep: Duration) -> PathBuf {
    let link = world.path("served/current");
    let published = Publish::Worktree { link: link.clone(), dir: world.path("served/trees"), keep };
    world.set(|settings| settings.publish = published);
    link
}

/// Makes the branch's commit the one that is served.
async fn serve(world: &World) {
    let head = world.data().head().await.unwrap().unwrap();
    let snapshot = world.data().stage(&head, &world.cancel).await.unwrap();
    world.data().flip(&snapshot).await.unwrap();
    assert_eq!(world.data().current().await.unwrap().commit, head);
}

fn folders(world: &World) -> usize {
    std::fs::read_dir(world.path("served/trees")).unwrap().count()
}

on_both_gits! {
    async fn readers_never_see_half_of_a_change(world: World) {
        let link = publish(&mut world, Duration::from_hours(1));
        world.ready().await;
        serve(&world).await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut reader = None;
        for n in 0..8 {
            // Both files are the same from the first change on.
            std::fs::write(world.other().join("a"), n.to_string()).unwrap();
            world.elsewhere("b", &n.to_string());
            world.expect(Reconcile::FastForwarded).await;
            serve(&world).await;
            let (link, stop) = (link.clone(), Arc::clone(&stop));
            reader.get_or_insert_with(|| std::thread::spawn(move || {
                let mut seen = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let snapshot = link.canonicalize().expect("there is always one");
                    let read = |file: &str| std::fs::read_to_string(snapshot.join(file)).expect("a whole tree");
                    assert_eq!(read("a"), read("b"));
                    seen += 1;
                }
                seen
            }));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reader.unwrap().join().expect("no half change was seen") > 0);
        assert_eq!(std::fs::read_to_string(link.join("a")).unwrap(), "7");
    }

    async fn a_worktree_is_whole_and_knows_its_commit(world: World) {
        let link = publish(&mut world, Duration::ZERO);
        world.ready().await;
        std::os::unix::fs::symlink("a", world.other().join("l")).unwrap();
        world.elsewhere("deep/er/file", "x");
        world.expect(Reconcile::FastForwarded).await;
        serve(&world).await;
        std::fs::remove_file(world.other().join("a")).unwrap();
        world.elsewhere("deep/er/file", "y");
        world.expect(Reconcile::FastForwarded).await;
        let before = link.canonicalize().unwrap();
        serve(&world).await;
        assert_eq!(std::fs::read_to_string(before.join("deep/er/file")).unwrap(), "x", "the old one is untouched");
        assert_eq!(world.run(&link, &["status", "--porcelain"]), "");
        assert_eq!(world.run(&link, &["rev-parse", "HEAD"]), world.head());
        assert_eq!(std::fs::read_to_string(link.join("deep/er/file")).unwrap(), "y");
        assert!(!std::fs::read_link(&link).unwrap().is_absolute(), "it holds where the volume is mounted elsewhere");
    }

    async fn old_ones_go_after_the_grace_but_not_what_is_needed_or_edited(world: World) {
        publish(&mut world, Duration::ZERO);
        world.ready().await;
        let first = world.data().head().await.unwrap().unwrap();
        serve(&world).await;
        for n in 0..3 {
            world.elsewhere("a", &n.to_string());
            world.expect(Reconcile::FastForwarded).await;
            serve(&world).await;
        }
        assert_eq!(folders(&world), 4);
        std::fs::write(world.path("served/.current.tagalong-left"), "").unwrap();
        let second = world.run(&world.dir(), &["rev-parse", "main~2"]);
        std::fs::write(world.path("served/trees").join(&second).join("a"), "an edit by mistake").unwrap();
        assert_eq!(world.data().tidy(std::slice::from_ref(&first), &world.cancel).await.unwrap(), 2);
        assert_eq!(folders(&world), 2);
        assert!(!world.path("served/.current.tagalong-left").exists());
        let aside = world.data().status(&world.cancel).await.unwrap().aside;
        assert_eq!(std::fs::read_to_string(aside[0].join("a")).unwrap(), "an edit by mistake");
        assert_eq!(world.data().tidy(&[], &world.cancel).await.unwrap(), 1);
        let list = world.run(&world.dir(), &["worktree", "list", "--porcelain"]);
        assert_eq!(list.matches("worktree ").count(), 2, "{list}");
        // Within the grace nothing goes.
        publish(&mut world, Duration::from_hours(1));
        world.elsewhere("a", "x");
        world.expect(Reconcile::FastForwarded).await;
        serve(&world).await;
        assert_eq!(world.data().tidy(&[], &world.cancel).await.unwrap(), 0);
    }

    async fn a_half_made_worktree_is_made_anew_and_swapping_back_works(world: World) {
        let link = publish(&mut world, Duration::from_hours(1));
        world.ready().await;
        serve(&world).await;
        let first = world.data().current().await.unwrap();
        world.elsewhere("a", "2\n");
        world.expect(Reconcile::FastForwarded).await;
        let half = world.path("served/trees").join(world.head());
        std::fs::create_dir_all(&half).unwrap();
        std::fs::write(half.join("a"), "ha").unwrap();
        // As kills leave them: a temporary symlink, and a worktree that git knows and that is not there.
        std::os::unix::fs::symlink("nowhere", world.path("served/.current.tagalong-old")).unwrap();
        serve(&world).await;
        assert_eq!(std::fs::read_to_string(link.join("a")).unwrap(), "2\n");
        world.data().flip(&first).await.unwrap();
        assert_eq!(std::fs::read_to_string(link.join("a")).unwrap(), "1 a\n2 a\n3 a\n");
    }

    async fn what_stands_at_the_symlinks_place_is_not_touched(world: World) {
        let link = publish(&mut world, Duration::ZERO);
        world.ready().await;
        std::fs::create_dir_all(&link).unwrap();
        std::fs::write(link.join("precious"), "p").unwrap();
        let head = world.data().head().await.unwrap().unwrap();
        let snapshot = world.data().stage(&head, &world.cancel).await.unwrap();
        let error = world.data().flip(&snapshot).await.unwrap_err();
        assert!(matches!(error, DatasetError::NotALink(_)), "{error}");
        assert!(link.join("precious").exists());
    }

    async fn in_place_the_checkout_is_what_is_served(world: World) {
        world.ready().await;
        serve(&world).await;
        assert_eq!(world.data().current().await.unwrap().path, world.dir());
        assert_eq!(world.data().tidy(&[], &world.cancel).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_lead_outside_are_known() {
    let mut world = World::new("/usr/bin/git");
    publish(&mut world, Duration::from_hours(1));
    world.ready().await;
    serve(&world).await;
    let outward = async || world.data().status(&world.cancel).await.unwrap().outward;
    assert_eq!(outward().await, Vec::<String>::new());
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, world.other().join(name)).unwrap();
    link("/etc/hostname", "host");
    link("a", "inside");
    std::fs::create_dir_all(world.other().join("deep/er")).unwrap();
    link("../../../up", "deep/er/up");
    link("deep/er", "turn");
    world.elsewhere("x", "1");
    world.expect(Reconcile::FastForwarded).await;
    serve(&world).await;
    assert_eq!(outward().await, ["deep/er/up", "host"]);
    // One is new and looks harmless, one is gone, and one stays.
    link("turn/../../../x", "late");
    std::fs::remove_file(world.other().join("host")).unwrap();
    world.elsewhere("x", "2");
    world.expect(Reconcile::FastForwarded).await;
    serve(&world).await;
    assert_eq!(outward().await, ["deep/er/up", "late"]);
    // Where nothing is known of the one before, all are looked at.
    let now = world.data().current().await.unwrap();
    std::fs::remove_file(world.path(".data.tagalong/published").join(now.commit.as_str()).join("links")).unwrap();
    serve(&world).await;
    assert_eq!(outward().await, ["deep/er/up", "late"]);
}
