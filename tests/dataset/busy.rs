//! A checkout that an app commits into while it is looked at, and a renewal beside one.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tagalong::model::Reconcile;

use crate::folder::damage;
use crate::world::World;
use crate::world::on_both_gits;

/// This long an app commits in a tight loop, or until that has come to something.
const BUSY: Duration = Duration::from_secs(8);

/// A git that, once, right after it was called with words like `after`, adds `late` in the checkout and runs each of
/// `then` there.
fn commits_late(world: &World, after: &str, then: &[&str]) -> String {
    let (program, real, data) = (world.path("git"), &world.git, world.dir());
    let git = format!("env -i PATH=\"$PATH\" HOME={} {real} -c user.name=a -c user.email=a@b.invalid", world.root.path().display());
    let then = then.iter().fold(String::new(), |all, words| all + " && " + &git + " " + words + " </dev/null");
    let script = format!(
        "#!/bin/sh\n{real} \"$@\"; code=$?\n\
         case \"$*\" in *'{after}'*)\n\
         if [ ! -e {marker} ]; then : >{marker}; cd {data} && echo l >late && {git} add late{then}; fi;;\n\
         esac\nexit $code\n",
        marker = world.path("committed").display(),
        data = data.display(),
    );
    std::fs::write(&program, script).unwrap();
    crate::world::executable(&program);
    program.display().to_string()
}

on_both_gits! {
    async fn a_busy_checkout_is_never_taken_for_damaged(world: World) {
        world.ready().await;
        let stop = AtomicBool::new(false);
        let made = AtomicUsize::new(0);
        let (boots, commits) = std::thread::scope(|scope| {
            let app = scope.spawn(|| {
                let mut commits = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    // A lock that somebody else holds is waited for, as an app does.
                    if world.try_run(&world.dir(), &["commit", "-q", "--allow-empty", "-m", "busy"]) {
                        commits.push(world.head());
                        made.store(commits.len(), Ordering::Relaxed);
                    }
                }
                commits
            });
            let began = Instant::now();
            let (mut boots, mut wrong) = (0, None);
            let is_enough = |boots: i32| began.elapsed() >= BUSY && boots > 3 && made.load(Ordering::Relaxed) > 10;
            while !is_enough(boots) && began.elapsed() < BUSY * 10 && wrong.is_none() {
                let ready = tokio::task::block_in_place(|| {
                    tokio::runtime::Handle::current().block_on(world.again().ready_beside(&world.cancel))
                });
                boots += 1;
                wrong = match ready {
                    Ok(ready) => (!ready.aside.is_empty()).then(|| format!("{ready:?}")),
                    Err(error) => Some(error.to_string()),
                };
            }
            stop.store(true, Ordering::Relaxed);
            let commits = app.join().unwrap();
            assert_eq!(wrong, None, "after {boots} boots beside {} commits", commits.len());
            (boots, commits)
        });
        assert!(boots > 3 && commits.len() > 10, "{boots} boots, {} commits", commits.len());
        world.expect(Reconcile::Pushed).await;
        world.assert_same();
        let all = world.run(&world.remote(), &["rev-list", "refs/heads/main"]);
        let all: std::collections::HashSet<&str> = all.lines().collect();
        assert!(commits.iter().all(|commit| all.contains(commit.as_str())));
    }

    async fn a_commit_made_while_the_clone_is_renewed_comes_along(world: World) {
        world.ready().await;
        world.elsewhere("later", "l");
        world.expect(Reconcile::FastForwarded).await;
        world.here("own", "o");
        damage(&world, "main~2^{tree}");
        // The branch's work was just carried into the new clone.
        let program = commits_late(&world, "-d refs/tagalong/rescued", &["commit -q -m late"]);
        // It works in the checkout as an app does, and notes that it did.
        world.set(|settings| {
            settings.git.program = program;
            settings.git.confine = tagalong::config::Confine::Never;
        });
        let ready = world.ready().await;
        assert_eq!(ready.aside.len(), 1, "{ready:?}");
        let late = world.run(&ready.aside[0], &["rev-parse", "refs/heads/main"]);
        assert_eq!(world.run(&ready.aside[0], &["log", "-1", "--format=%s", "main"]), "late");
        assert_eq!((world.head(), world.read("own"), world.read("late")), (late.clone(), "o".to_owned(), "l\n".to_owned()));
        world.expect(Reconcile::Pushed).await;
        assert_eq!(world.remote_tip(), late);
        world.assert_same();
    }

    async fn late_work_that_does_not_follow_is_parked_or_kept(world: World) {
        world.ready().await;
        world.elsewhere("later", "l");
        world.expect(Reconcile::FastForwarded).await;
        let own = world.here("own", "o");
        world.run(&world.dir(), &["tag", "mark"]);
        damage(&world, "main~2^{tree}");
        // Once both are carried over, the branch is rewritten and the tag is moved.
        let program = commits_late(&world, "+refs/tags/mark:", &["commit -q --amend -m late", "tag -f mark"]);
        world.set(|settings| {
            settings.git.program = program;
            settings.git.confine = tagalong::config::Confine::Never;
        });
        let ready = world.ready().await;
        assert_eq!(ready.aside.len(), 1, "{ready:?}");
        let late = world.run(&ready.aside[0], &["rev-parse", "refs/heads/main"]);
        assert_ne!(late, own);
        assert!(ready.healed.iter().any(|text| text.contains("refs/heads/main") && text.contains("refs/tags/mark")), "{ready:?}");
        // The branch and the tag stay as they were carried over first, for somebody may build on them by now.
        assert_eq!((world.head(), world.run(&world.dir(), &["rev-parse", "mark"])), (own.clone(), own.clone()));
        let refs = |below: &str| world.run(&world.dir(), &["for-each-ref", "--format=%(objectname)", below]);
        assert_eq!((refs("refs/tagalong/parked/"), refs("refs/tagalong/kept/")), (late.clone(), late.clone()));
        assert_eq!(refs("refs/tagalong/rescued"), "");
        world.expect(Reconcile::Pushed).await;
        assert_eq!((world.remote_tip(), world.conflicts().len()), (own, 1));
        assert_eq!(world.run(&world.remote(), &["rev-parse", &world.conflicts()[0]]), late);
        // Once more there is nothing to do.
        assert_eq!(world.ready().await.aside, Vec::<std::path::PathBuf>::new());
        world.assert_same();
    }

    async fn what_is_kept_here_outlives_a_renewal(world: World) {
        world.ready().await;
        std::fs::write(world.dir().join("draft"), "mine").unwrap();
        world.ready().await;
        let before = world.data().status(&world.cancel).await.unwrap().kept;
        assert_eq!(before.len(), 1);
        damage(&world, "main:a");
        assert_eq!(world.ready().await.aside.len(), 1);
        let after = world.data().status(&world.cancel).await.unwrap().kept;
        assert_eq!(after.iter().map(|kept| (&kept.name, &kept.commit)).collect::<Vec<_>>(), [(&before[0].name, &before[0].commit)]);
        assert_eq!(world.run(&world.dir(), &["show", &format!("{}:draft", after[0].name)]), "mine");
    }
}
