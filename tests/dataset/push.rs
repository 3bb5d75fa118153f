//! The push daemon, sentence by sentence.

use std::sync::Arc;

use process::Cancel;
use tagalong::dataset::Push;
use tagalong::model::Reconcile;
use tokio::sync::Notify;
use tokio::sync::watch;

use crate::world::PATIENCE;
use crate::world::World;
use crate::world::on_both_gits;
use crate::world::until;

struct Daemon {
    wake: Arc<Notify>,
    cancel: Cancel,
    now: watch::Receiver<Push>,
    task: tokio::task::JoinHandle<()>,
}

impl Daemon {
    fn start(world: &World) -> Self {
        let (tell, now) = watch::channel(Push::Working);
        let (wake, cancel) = (Arc::new(Notify::new()), Cancel::default());
        let (data, woken, stopped) = (world.again(), Arc::clone(&wake), cancel.clone());
        let task = tokio::spawn(async move { data.push_forever(&woken, &tell, &stopped).await });
        Self { wake, cancel, now, task }
    }

    async fn until(&mut self, what: &str, holds: impl FnMut(&Push) -> bool) -> Push {
        let seen = tokio::time::timeout(PATIENCE, self.now.wait_for(holds)).await;
        seen.unwrap_or_else(|_| panic!("waited in vain: {what}")).expect("the daemon runs").clone()
    }

    async fn stop(self) -> Push {
        self.cancel.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").expect("it did not panic");
        self.now.borrow().clone()
    }
}

/// How many pushes changed the remote's branch.
fn pushes(world: &World) -> usize {
    std::fs::read_to_string(world.remote().join("logs/refs/heads/main")).unwrap_or_default().lines().count()
}

fn count_pushes(world: &World) {
    world.run(&world.remote(), &["config", "core.logAllRefUpdates", "true"]);
}

on_both_gits! {
    async fn a_backlog_is_pushed_at_the_start_and_a_commit_by_itself(world: World) {
        world.ready().await;
        let backlog = world.here("x", "1");
        let daemon = Daemon::start(&world);
        until("the backlog is there", || world.remote_tip() == backlog).await;
        let next = world.here("y", "2");
        until("the commit is there", || world.remote_tip() == next).await;
        assert_eq!(daemon.stop().await, Push::Done);
        assert_eq!(world.data().status(&world.cancel).await.unwrap().pending, 0);
    }

    async fn a_burst_is_few_pushes_and_its_last_commit_is_not_forgotten(world: World) {
        world.ready().await;
        count_pushes(&world);
        let mut daemon = Daemon::start(&world);
        daemon.until("it rests", |now| *now == Push::Done).await;
        let mut tip = world.head();
        let tree = world.run(&world.dir(), &["rev-parse", "main^{tree}"]);
        let began = std::time::Instant::now();
        for n in 0..200 {
            tip = world.run(&world.dir(), &["commit-tree", "-p", &tip, "-m", &format!("burst {n}"), &tree]);
            world.run(&world.dir(), &["update-ref", "refs/heads/main", &tip]);
        }
        let took = began.elapsed();
        until("the last one is there", || world.remote_tip() == tip).await;
        // Two, or on a machine where the burst itself takes long, one more for each of its stretches.
        let most = 2 + took.as_secs() as usize / 3;
        assert!(pushes(&world) <= most, "{} pushes of a burst that took {took:?}", pushes(&world));
        daemon.stop().await;
    }

    async fn a_commit_made_while_a_push_runs_is_not_forgotten(world: World) {
        world.ready().await;
        let hook = world.remote().join("hooks/pre-receive");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, "#!/bin/sh\ntouch pushing\nwhile [ ! -e go ]; do sleep 0.02; done\n").unwrap();
        crate::world::executable(&hook);
        let daemon = Daemon::start(&world);
        world.here("x", "1");
        until("a push runs", || world.remote().join("pushing").exists()).await;
        let second = world.here("y", "2");
        std::fs::write(world.remote().join("go"), "").unwrap();
        until("both are there", || world.remote_tip() == second).await;
        daemon.stop().await;
    }

    async fn a_transient_failure_is_tried_again_and_a_new_commit_cuts_the_wait_short(world: World) {
        world.ready().await;
        let away = world.path("away.git");
        std::fs::rename(world.remote(), &away).unwrap();
        let mut daemon = Daemon::start(&world);
        world.here("x", "1");
        let now = daemon.until("it waits", |now| matches!(now, Push::Waiting { next_ms, .. } if *next_ms >= 3000)).await;
        assert!(matches!(now, Push::Waiting { why, .. } if why.contains("remote.git")));
        std::fs::rename(&away, world.remote()).unwrap();
        let tip = world.here("y", "2");
        until("all is there", || world.remote_tip() == tip).await;
        daemon.until("it rests", |now| *now == Push::Done).await;
        daemon.stop().await;
    }

    async fn a_locked_ref_on_the_remote_is_transient(world: World) {
        world.ready().await;
        let lock = world.remote().join("refs/heads/main.lock");
        std::fs::write(&lock, "").unwrap();
        let mut daemon = Daemon::start(&world);
        let tip = world.here("x", "1");
        daemon.until("it waits", |now| matches!(now, Push::Waiting { .. })).await;
        std::fs::remove_file(&lock).unwrap();
        until("it is there", || world.remote_tip() == tip).await;
        daemon.stop().await;
    }

    async fn a_refusal_is_shown_and_not_tried_hot(world: World) {
        world.ready().await;
        world.refuse("refs/heads/main");
        let tried = world.remote().join("tried");
        let hook = world.remote().join("hooks/pre-receive");
        std::fs::write(&hook, format!("#!/bin/sh\necho x >> {}\n", tried.display())).unwrap();
        crate::world::executable(&hook);
        let mut daemon = Daemon::start(&world);
        let tip = world.here("x", "1");
        daemon.until("it is refused", |now| matches!(now, Push::Refused { why } if why.contains("not here, please"))).await;
        // However often it is woken, the remote is left alone.
        for _ in 0..5 {
            daemon.now.mark_unchanged();
            daemon.wake.notify_one();
            daemon.now.changed().await.unwrap();
        }
        assert!(std::fs::read_to_string(&tried).unwrap().lines().count() <= 2);
        world.take_all();
        world.let_the_refusal_end();
        daemon.wake.notify_one();
        until("it is tried again", || world.remote_tip() == tip).await;
        daemon.stop().await;
    }

    async fn what_moved_on_goes_to_reconcile_and_the_daemon_is_well_again(world: World) {
        world.ready().await;
        let mut daemon = Daemon::start(&world);
        daemon.until("it rests", |now| *now == Push::Done).await;
        world.elsewhere("a", "2\n");
        world.here("x", "1");
        daemon.until("it is behind", |now| *now == Push::Behind).await;
        world.expect(Reconcile::Rebased).await;
        daemon.wake.notify_one();
        daemon.until("it rests", |now| *now == Push::Done).await;
        let tip = world.here("y", "2");
        until("it pushes again", || world.remote_tip() == tip).await;
        daemon.stop().await;
    }

    async fn stopping_ends_the_wait_and_makes_one_last_try(world: World) {
        world.ready().await;
        let away = world.path("away.git");
        std::fs::rename(world.remote(), &away).unwrap();
        let mut daemon = Daemon::start(&world);
        let tip = world.here("x", "1");
        daemon.until("it waits long", |now| matches!(now, Push::Waiting { next_ms, .. } if *next_ms >= 3000)).await;
        std::fs::rename(&away, world.remote()).unwrap();
        assert_eq!(daemon.stop().await, Push::Done);
        assert_eq!(world.remote_tip(), tip);
    }

    async fn stopping_lets_a_push_in_flight_end(world: World) {
        world.ready().await;
        let hook = world.remote().join("hooks/pre-receive");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, "#!/bin/sh\nwhile [ ! -e go ]; do echo x >>pushing; sleep 0.02; done\n").unwrap();
        crate::world::executable(&hook);
        let daemon = Daemon::start(&world);
        let tip = world.here("x", "1");
        let rounds = || std::fs::read(world.remote().join("pushing")).unwrap_or_default().len();
        until("a push runs", || rounds() > 0).await;
        daemon.cancel.cancel();
        let before = rounds();
        until("the push to go on", || rounds() > before + 20).await;
        std::fs::write(world.remote().join("go"), "").unwrap();
        assert_eq!(daemon.stop().await, Push::Done);
        assert_eq!(world.remote_tip(), tip);
    }

    async fn a_checkout_that_was_set_back_is_no_error(world: World) {
        world.elsewhere("a", "2\n");
        world.ready().await;
        let tip = world.remote_tip();
        world.run(&world.dir(), &["reset", "-q", "--hard", "HEAD~1"]);
        let mut daemon = Daemon::start(&world);
        daemon.until("it rests", |now| *now == Push::Done).await;
        daemon.stop().await;
        assert_eq!(world.remote_tip(), tip);
        world.expect(Reconcile::FastForwarded).await;
        world.assert_same();
    }

    async fn another_address_of_the_remote_is_taken_over(world: World) {
        world.ready().await;
        let moved = world.path("moved.git");
        std::fs::rename(world.remote(), &moved).unwrap();
        let tip = world.here("x", "1");
        world.set(|settings| settings.remote = format!("file://{}", moved.display()));
        world.expect(Reconcile::Pushed).await;
        assert_eq!(world.run(&moved, &["rev-parse", "main"]), tip);
        // One that is older has lost nothing of ours: what the other had counts as our own there.
        let older = world.path("older.git");
        world.run(world.root.path(), &["clone", "-q", "--bare", &moved.display().to_string(), "older.git"]);
        world.run(&older, &["update-ref", "refs/heads/main", "main~1"]);
        world.set(|settings| settings.remote = format!("file://{}", older.display()));
        world.expect(Reconcile::Pushed).await;
        assert_eq!(world.run(&older, &["rev-parse", "main"]), tip);
    }

    async fn pending_is_counted_from_the_repository(world: World) {
        world.ready().await;
        for n in 1..4_u64 {
            world.here("x", &n.to_string());
            assert_eq!(world.again().status(&world.cancel).await.unwrap().pending, n);
        }
        world.run(&world.dir(), &["reset", "-q", "--hard", "HEAD~2"]);
        assert_eq!(world.data().status(&world.cancel).await.unwrap().pending, 1);
        world.expect(Reconcile::Pushed).await;
        assert_eq!(world.data().status(&world.cancel).await.unwrap().pending, 0);
    }

    async fn parked_work_that_was_refused_is_published_by_the_daemon(world: World) {
        world.ready().await;
        world.here("a", "own\n");
        world.elsewhere("a", "theirs\n");
        world.refuse("refs/heads/conflicts/*");
        world.expect(Reconcile::ConflictParked).await;
        let mut daemon = Daemon::start(&world);
        daemon.until("it is refused", |now| matches!(now, Push::Refused { .. })).await;
        world.take_all();
        world.let_the_refusal_end();
        daemon.wake.notify_one();
        daemon.until("it rests", |now| *now == Push::Done).await;
        assert_eq!(world.conflicts().len(), 1);
        daemon.stop().await;
    }

    /// One refusal is one push, no matter who asks afterwards and however often: passes, another process, the daemon with a call and
    /// a new commit, its last try, a boot, a rebase over what others pushed, parked work.
    async fn a_refused_push_is_not_tried_again_on_any_path(world: World) {
        world.ready().await;
        world.refuse_and_count();
        world.here("own", "1");
        let done = world.expect(Reconcile::PushRefused).await;
        assert!(done.why.unwrap().contains("not today"));
        assert_eq!(world.refused("refs/heads/main"), 1);
        for _ in 0..3 {
            let why = world.expect(Reconcile::PushRefused).await.why.unwrap();
            assert!(why.contains("not today") && why.contains("the next try is after 20"), "{why}");
        }
        let mut daemon = Daemon::start(&world);
        daemon.until("it is refused", |now| matches!(now, Push::Refused { .. })).await;
        for n in 0..3 {
            daemon.now.mark_unchanged();
            world.here("own", &format!("daemon {n}"));
            daemon.wake.notify_one();
            daemon.now.changed().await.unwrap();
        }
        assert!(matches!(daemon.stop().await, Push::Refused { .. }));
        world.again().ready(&world.cancel).await.unwrap();
        assert_eq!(world.again().reconcile(&world.cancel).await.unwrap().outcome, Reconcile::PushRefused);
        // Somebody who may push does.
        std::fs::rename(world.remote().join("hooks/pre-receive"), world.path("hook")).unwrap();
        world.elsewhere("far", "1");
        std::fs::rename(world.path("hook"), world.remote().join("hooks/pre-receive")).unwrap();
        world.expect(Reconcile::PushRefused).await;
        assert_eq!(world.read("far"), "1");
        assert_eq!(world.refused("refs/heads/main"), 1);
        // Another branch is another question, asked once as well.
        std::fs::rename(world.remote().join("hooks/pre-receive"), world.path("hook")).unwrap();
        world.follow();
        world.elsewhere("own", "theirs");
        std::fs::rename(world.path("hook"), world.remote().join("hooks/pre-receive")).unwrap();
        world.expect(Reconcile::ConflictParked).await;
        world.expect(Reconcile::InSync).await;
        world.again().ready(&world.cancel).await.unwrap();
        let daemon = Daemon::start(&world);
        daemon.stop().await;
        assert_eq!((world.refused("refs/heads/main"), world.refused("refs/heads/conflicts/")), (1, 1));
        // When its time has come, and with another credential, it is asked again.
        world.let_the_refusal_end();
        world.expect(Reconcile::InSync).await;
        assert_eq!(world.refused("refs/heads/conflicts/"), 2);
        let key = world.path("key");
        world.set(|settings| settings.ssh_key_file = Some(key));
        world.expect(Reconcile::InSync).await;
        world.expect(Reconcile::InSync).await;
        assert_eq!(world.refused("refs/heads/conflicts/"), 3);
    }
}
