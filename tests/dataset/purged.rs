//! History that the remote has removed does not come back, whatever the checkout was before it was followed for the first time.

use std::path::Path;

use process::Cancel;
use tagalong::dataset::Push;
use tagalong::model::Reconcile;
use tokio::sync::Notify;
use tokio::sync::watch;

use crate::world::World;
use crate::world::on_both_gits;

/// The remote has a commit with a secret, and one after it.
fn leak(world: &World) -> String {
    let secret = world.elsewhere("secret", "hush");
    world.elsewhere("d", "after");
    secret
}

/// Somebody removes it there, and goes on.
fn purge(world: &World) {
    let other = world.other();
    world.run(&other, &["rebase", "-q", "--onto", "HEAD~2", "HEAD~1"]);
    world.run(&other, &["push", "-q", "-f", "origin", "HEAD:refs/heads/main"]);
    world.elsewhere("e", "and on");
}

/// A plain clone, as an operator makes it.
fn clone(world: &World, args: &[&str]) {
    let remote = world.remote().display().to_string();
    let args: Vec<&str> = ["clone", "-q"].iter().chain(args).copied().chain([remote.as_str(), "data"]).collect();
    world.run(world.root.path(), &args);
}

/// Neither the remote nor the checkout has the secret on any ref, and both are the same.
fn assert_gone(world: &World, secret: &str) {
    world.assert_same();
    assert!(!world.dir().join("secret").exists());
    for place in [world.remote(), world.dir()] {
        let refs = world.run(&place, &["for-each-ref"]);
        assert!(!world.is_kept(&place, secret), "{}: {refs}", place.display());
    }
    assert!(!anywhere(world, &world.remote()), "the secret came back in another commit");
}

/// Whether a commit that a ref of `place` leads to has the secret's file.
fn anywhere(world: &World, place: &Path) -> bool {
    !world.run(place, &["log", "--all", "--format=%H", "--", "secret"]).is_empty()
}

/// First contact, by a pass alone and by a boot before it; nothing of our own.
async fn first_contact(world: &World, secret: &str) {
    let done = world.expect(Reconcile::FollowedRewrite).await;
    assert_eq!((done.pushed, done.parked), (0, None));
    assert_gone(world, secret);
    world.ready().await;
    world.expect(Reconcile::InSync).await;
    assert_gone(world, secret);
}

on_both_gits! {
    async fn a_plain_clone_does_not_bring_it_back(world: World) {
        let secret = leak(&world);
        clone(&world, &[]);
        purge(&world);
        assert_eq!(world.data().status(&world.cancel).await.unwrap().pending, 0, "nothing of ours");
        first_contact(&world, &secret).await;
    }

    async fn nor_one_that_is_booted_first(world: World) {
        let secret = leak(&world);
        clone(&world, &[]);
        purge(&world);
        std::fs::write(world.dir().join("a"), "edited").unwrap();
        let ready = world.ready().await;
        assert_eq!(ready.parked.len(), 1);
        world.expect(Reconcile::FollowedRewrite).await;
        assert_eq!(world.run(&world.remote(), &["show", &format!("{}:a", world.conflicts()[0])]), "edited");
        assert_gone(&world, &secret);
    }

    async fn own_commits_on_top_go_without_it(world: World) {
        let secret = leak(&world);
        clone(&world, &[]);
        purge(&world);
        world.here("own", "o");
        assert_eq!(world.data().status(&world.cancel).await.unwrap().pending, 1);
        let done = world.expect(Reconcile::Rebased).await;
        assert_eq!((done.pushed, world.read("own")), (1, "o".to_owned()));
        assert_gone(&world, &secret);
    }

    async fn own_commits_that_do_not_fit_are_parked_without_it(world: World) {
        let secret = leak(&world);
        clone(&world, &[]);
        purge(&world);
        world.here("e", "ours");
        let done = world.expect(Reconcile::ConflictParked).await;
        assert_eq!(world.run(&world.remote(), &["show", &format!("{}:e", done.parked.unwrap())]), "ours");
        assert_gone(&world, &secret);
    }

    async fn an_amended_commit_and_a_branch_that_was_set_back_stay_so(world: World) {
        let secret = world.elsewhere("secret", "hush");
        clone(&world, &[]);
        std::fs::remove_file(world.other().join("secret")).unwrap();
        world.run(&world.other(), &["commit", "-q", "-a", "--amend", "--allow-empty", "-m", "clean"]);
        world.run(&world.other(), &["push", "-q", "-f", "origin", "HEAD:refs/heads/main"]);
        first_contact(&world, &secret).await;
        std::fs::remove_dir_all(world.dir()).unwrap();
        std::fs::remove_dir_all(world.path(".data.tagalong")).unwrap();
        let secret = world.elsewhere("secret", "again");
        clone(&world, &[]);
        world.run(&world.other(), &["reset", "-q", "--hard", "HEAD~1"]);
        world.run(&world.other(), &["push", "-q", "-f", "origin", "HEAD:refs/heads/main"]);
        first_contact(&world, &secret).await;
    }

    async fn a_shallow_clone_does_not_bring_it_back(world: World) {
        let secret = leak(&world);
        let remote = world.settings().remote.clone();
        world.run(world.root.path(), &["clone", "-q", "--depth", "1", &remote, "data"]);
        purge(&world);
        world.run(&world.remote(), &["reflog", "expire", "--expire=now", "--all"]);
        world.run(&world.remote(), &["gc", "-q", "--prune=now"]);
        world.here("own", "o");
        let done = world.expect(Reconcile::Rebased).await;
        assert_eq!((done.pushed, world.read("own")), (1, "o".to_owned()));
        assert_gone(&world, &secret);
    }

    async fn a_fetch_by_hand_does_not_hide_it(world: World) {
        let secret = leak(&world);
        clone(&world, &[]);
        purge(&world);
        world.run(&world.dir(), &["fetch", "-q"]);
        first_contact(&world, &secret).await;
    }

    async fn without_reflogs_packed_refs_still_tell(world: World) {
        let secret = leak(&world);
        clone(&world, &["-c", "core.logAllRefUpdates=false"]);
        std::fs::remove_dir_all(world.dir().join(".git/logs")).unwrap_or_default();
        purge(&world);
        world.run(&world.dir(), &["fetch", "-q"]);
        std::fs::remove_file(world.dir().join(".git/FETCH_HEAD")).unwrap();
        assert!(!world.dir().join(".git/logs").exists());
        first_contact(&world, &secret).await;
    }

    async fn a_pruned_tracking_ref_leaves_what_the_branch_was_cloned_from(world: World) {
        let secret = leak(&world);
        clone(&world, &[]);
        purge(&world);
        world.run(&world.dir(), &["update-ref", "-d", "refs/remotes/origin/main"]);
        world.run(&world.dir(), &["pack-refs", "--all"]);
        std::fs::remove_dir_all(world.dir().join(".git/logs/refs/remotes")).unwrap();
        first_contact(&world, &secret).await;
    }

    async fn a_pull_by_hand_after_which_only_fetch_head_tells(world: World) {
        world.run(world.root.path(), &["init", "-q", "-b", "main", "data"]);
        world.run(&world.dir(), &["config", "core.logAllRefUpdates", "false"]);
        let secret = leak(&world);
        let remote = world.remote().display().to_string();
        world.run(&world.dir(), &["pull", "-q", &remote, "main"]);
        purge(&world);
        first_contact(&world, &secret).await;
    }

    async fn a_remote_of_another_name_and_a_second_one(world: World) {
        let secret = leak(&world);
        clone(&world, &["--origin", "hub"]);
        world.run(world.root.path(), &["clone", "-q", "--bare", "remote.git", "backup.git"]);
        world.run(&world.dir(), &["remote", "add", "backup", &world.path("backup.git").display().to_string()]);
        purge(&world);
        let own = world.here("own", "o");
        // It is on the second one already, which says nothing about the first.
        world.run(&world.dir(), &["push", "-q", "backup", "main"]);
        let done = world.expect(Reconcile::Rebased).await;
        assert_eq!((done.pushed, world.read("own")), (1, "o".to_owned()));
        world.assert_same();
        assert!(!world.is_kept(&world.remote(), &secret) && !anywhere(&world, &world.remote()));
        assert!(!world.run(&world.dir(), &["for-each-ref", "--contains", &secret]).contains("refs/remotes/hub"));
        assert!(world.is_kept(&world.dir(), &own), "the second remote's ref is not ours to move");
    }

    async fn a_detached_head_on_it_does_not_bring_it_back(world: World) {
        let secret = leak(&world);
        clone(&world, &[]);
        world.run(&world.dir(), &["checkout", "-q", "--detach"]);
        let lone = world.here("lone", "l");
        purge(&world);
        let ready = world.ready().await;
        assert_eq!(ready.parked.len(), 1, "{ready:?}");
        world.expect(Reconcile::FollowedRewrite).await;
        assert_eq!(world.run(&world.remote(), &["show", &format!("{}:lone", world.conflicts()[0])]), "l");
        assert_gone(&world, &secret);
        assert!(!world.is_kept(&world.dir(), &lone), "what stays of it stands on the remote's history");
    }

    async fn edits_parked_while_the_remote_was_away_go_out_without_it(world: World) {
        let secret = leak(&world);
        world.ready().await;
        let away = world.path("away.git");
        std::fs::rename(world.remote(), &away).unwrap();
        std::fs::write(world.dir().join("a"), "edited").unwrap();
        assert_eq!(world.ready().await.parked.len(), 1);
        std::fs::rename(&away, world.remote()).unwrap();
        purge(&world);
        world.expect(Reconcile::FollowedRewrite).await;
        assert_eq!(world.run(&world.remote(), &["show", &format!("{}:a", world.conflicts()[0])]), "edited");
        assert_gone(&world, &secret);
    }

    async fn what_was_pulled_by_hand_beside_us_does_not_come_back(world: World) {
        world.ready().await;
        let secret = leak(&world);
        world.run(&world.dir(), &["pull", "-q", "--ff-only"]);
        // Set back to exactly what was followed last: the lease of a push holds.
        world.run(&world.other(), &["reset", "-q", "--hard", "HEAD~2"]);
        world.run(&world.other(), &["push", "-q", "-f", "origin", "HEAD:refs/heads/main"]);
        let (tell, now) = watch::channel(Push::Working);
        let cancel = Cancel::default();
        cancel.cancel();
        world.again().push_forever(&Notify::new(), &tell, &cancel).await;
        assert_eq!(*now.borrow(), Push::Behind, "the last push on stop leaves it");
        assert_eq!(world.data().status(&world.cancel).await.unwrap().pending, 0);
        first_contact(&world, &secret).await;
    }

    async fn the_last_push_before_any_contact_pushes_nothing(world: World) {
        let secret = leak(&world);
        clone(&world, &[]);
        purge(&world);
        let (tell, _now) = watch::channel(Push::Working);
        let cancel = Cancel::default();
        cancel.cancel();
        world.again().push_forever(&Notify::new(), &tell, &cancel).await;
        assert!(!world.is_kept(&world.remote(), &secret));
        first_contact(&world, &secret).await;
    }

    async fn a_branch_of_the_remote_that_was_merged_here_is_pushed_as_it_is(world: World) {
        world.run(&world.other(), &["checkout", "-q", "-b", "feature"]);
        world.write(&world.other(), "f", "f", "feature");
        world.run(&world.other(), &["push", "-q", "origin", "feature"]);
        clone(&world, &[]);
        world.run(&world.dir(), &["merge", "-q", "--no-ff", "-m", "take it", "origin/feature"]);
        let tip = world.head();
        world.expect(Reconcile::Pushed).await;
        assert_eq!(world.remote_tip(), tip);
    }

    async fn without_any_trace_commits_are_own(world: World) {
        world.run(world.root.path(), &["clone", "-q", "--bare", "remote.git", "data"]);
        let tree = world.run(&world.dir(), &["rev-parse", "main^{tree}"]);
        let own = world.run(&world.dir(), &["commit-tree", "-p", "main", "-m", "own", &tree]);
        world.run(&world.dir(), &["update-ref", "refs/heads/main", &own]);
        world.expect(Reconcile::Pushed).await;
        assert_eq!(world.remote_tip(), own);
    }

    async fn traces_of_another_address_alone_keep_the_work_here(world: World) {
        let old = world.path("old.git");
        world.run(world.root.path(), &["clone", "-q", "--bare", "remote.git", "old.git"]);
        world.run(world.root.path(), &["clone", "-q", &old.display().to_string(), "data"]);
        let own = world.here("own", "o");
        world.run(&world.dir(), &["push", "-q"]);
        let done = world.expect(Reconcile::FollowedRewrite).await;
        assert!(done.why.unwrap().contains("a different address"));
        world.assert_same();
        let kept = world.run(&world.dir(), &["for-each-ref", "--format=%(objectname)", "refs/tagalong/kept/"]);
        assert_eq!(kept, own);
        assert!(!world.is_kept(&world.remote(), &own));
    }
}

/// Only the newest git has tables of refs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_with_tables_of_refs_does_not_bring_it_back() {
    let world = World::new(&crate::world::newest_git());
    if !world.try_run(world.root.path(), &["init", "-q", "--ref-format=reftable", "probe"]) {
        println!("the newest git here has no tables of refs");
        return;
    }
    for by_hand in [false, true] {
        let secret = leak(&world);
        clone(&world, &["--ref-format=reftable"]);
        purge(&world);
        if by_hand {
            world.run(&world.dir(), &["fetch", "-q"]);
            std::fs::remove_file(world.dir().join(".git/FETCH_HEAD")).unwrap();
        }
        first_contact(&world, &secret).await;
        std::fs::remove_dir_all(world.dir()).unwrap();
        std::fs::remove_dir_all(world.path(".data.tagalong")).unwrap();
    }
}
