//! The table of reconciles, row by row.

use std::os::unix::fs::MetadataExt as _;

use rustix::fs::inotify;
use tagalong::model::CommitName;
use tagalong::model::Reconcile;

use crate::world::World;
use crate::world::on_both_gits;
use crate::world::until;

/// How often a file was opened, by whomever.
struct Looks {
    events: std::os::fd::OwnedFd,
    count: usize,
}

impl Looks {
    fn at(file: &std::path::Path) -> Self {
        let events = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&events, file, inotify::WatchFlags::OPEN).unwrap();
        Self { events, count: 0 }
    }

    fn count(&mut self) -> usize {
        let mut room = [std::mem::MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(&self.events, &mut room);
        while reader.next().is_ok() {
            self.count += 1;
        }
        self.count
    }
}

on_both_gits! {
    async fn the_same_touches_no_file(world: World) {
        world.ready().await;
        let times = || {
            let mut times = Vec::new();
            for name in ["a", "b", ".git/index", ".git/HEAD", ".git/refs/heads/main", "."] {
                let meta = std::fs::metadata(world.dir().join(name)).unwrap();
                times.push((name, meta.ino(), meta.mtime_nsec(), meta.ctime_nsec()));
            }
            times
        };
        let before = times();
        for _ in 0..2 {
            let done = world.expect(Reconcile::InSync).await;
            assert_eq!((done.from.clone(), done.pushed, done.parked, done.why), (done.to, 0, None, None));
        }
        assert_eq!(times(), before);
    }

    async fn behind_follows_with_deletes_renames_modes_links_and_odd_names(world: World) {
        world.ready().await;
        let other = world.other();
        std::fs::remove_file(other.join("a")).unwrap();
        world.run(&other, &["mv", "b", "odd \"name\"\twith é and \u{1f600}"]);
        std::fs::create_dir_all(other.join("c.d/e")).unwrap();
        std::fs::write(other.join("c.d/e/-rf"), "x").unwrap();
        std::os::unix::fs::symlink("c", other.join("link")).unwrap();
        crate::world::executable(&other.join("c"));
        world.elsewhere("new\nline", "n");
        let done = world.expect(Reconcile::FastForwarded).await;
        assert_ne!(done.from, done.to);
        world.assert_same();
        assert!(!world.dir().join("a").exists());
        assert_eq!(world.read("odd \"name\"\twith é and \u{1f600}"), "1 b\n2 b\n3 b\n");
        assert_eq!(std::fs::read_link(world.dir().join("link")).unwrap().to_str(), Some("c"));
        assert_eq!(std::fs::metadata(world.dir().join("c")).unwrap().mode() & 0o111, 0o111);
        assert_eq!((world.read("new\nline"), world.read("c.d/e/-rf")), ("n".to_owned(), "x".to_owned()));
    }

    async fn a_file_becomes_a_folder_and_back(world: World) {
        world.ready().await;
        std::fs::remove_file(world.other().join("a")).unwrap();
        world.elsewhere("a/inside", "x");
        world.expect(Reconcile::FastForwarded).await;
        assert_eq!(world.read("a/inside"), "x");
        std::fs::remove_dir_all(world.other().join("a")).unwrap();
        world.elsewhere("a", "file again");
        world.expect(Reconcile::FastForwarded).await;
        assert_eq!(world.read("a"), "file again");
        world.assert_same();
    }

    async fn ahead_is_pushed_unchanged_and_only_the_branch(world: World) {
        world.ready().await;
        world.run(&world.dir(), &["branch", "mine"]);
        world.run(&world.dir(), &["tag", "-a", "-m", "t", "tagged"]);
        let commits = [world.here("x", "1"), world.here("y", "2")];
        let done = world.expect(Reconcile::Pushed).await;
        assert_eq!((done.pushed, done.from.clone()), (2, done.to));
        assert_eq!(world.remote_tip(), commits[1]);
        assert_eq!(world.run(&world.remote(), &["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
        world.expect(Reconcile::InSync).await;
    }

    async fn diverged_and_clean_is_rebased_with_every_byte_of_author_and_message(world: World) {
        world.ready().await;
        std::fs::write(world.dir().join("b"), "1 b\n2 b\n3 b\nown\n").unwrap();
        std::fs::write(world.path("message"), b"subject \xe9\r\n\n  body \n\n\n# kept\n").unwrap();
        world.run(&world.dir(), &["add", "-A"]);
        let message = world.path("message").display().to_string();
        let args = ["-c", "i18n.commitEncoding=latin-1", "commit", "-q", "--cleanup=verbatim", "-F", &message];
        let made = world.command(&world.dir(), &args).env("GIT_AUTHOR_NAME", "J\u{f6}rg").env("GIT_AUTHOR_DATE", "1234567890 +0530").status();
        assert!(made.unwrap().success());
        let raw = |name: &str| world.output(&world.dir(), &["cat-file", "commit", name]).stdout;
        let keep = |raw: &[u8]| {
            let text: Vec<&[u8]> = raw.split_inclusive(|b| *b == b'\n').collect();
            text.iter().filter(|line| !line.starts_with(b"tree") && !line.starts_with(b"parent") && !line.starts_with(b"committer")).copied().collect::<Vec<_>>().concat()
        };
        let before = raw("main");
        world.elsewhere("a", "1 a\n2 a\n3 a\nremote\n");
        let done = world.expect(Reconcile::Rebased).await;
        assert_eq!((done.pushed, done.parked), (1, None));
        let after = raw("main");
        assert_eq!(keep(&before), keep(&after));
        assert!(String::from_utf8_lossy(&after).contains("committer data bot <bot@data.invalid> "));
        assert_eq!((world.read("a"), world.read("b")), ("1 a\n2 a\n3 a\nremote\n".to_owned(), "1 b\n2 b\n3 b\nown\n".to_owned()));
        world.assert_same();
    }

    async fn a_patch_that_is_there_already_leaves_no_empty_commit_and_an_empty_one_stays(world: World) {
        world.ready().await;
        world.here("a", "same\n");
        world.run(&world.dir(), &["commit", "-q", "--allow-empty", "-m", "empty on purpose"]);
        world.here("b", "own\n");
        world.elsewhere("a", "same\n");
        world.elsewhere("a", "same and then more\n");
        let done = world.expect(Reconcile::Rebased).await;
        assert_eq!(done.pushed, 2);
        let subjects = world.run(&world.dir(), &["log", "--format=%s", "-3"]);
        assert_eq!(subjects, "here: b\nempty on purpose\nelsewhere: a");
        assert_eq!(world.read("a"), "same and then more\n");
        world.assert_same();
    }

    async fn many_commits_are_carried_over_as_a_rebase_would(world: World) {
        world.ready().await;
        for n in 0..30 {
            world.here(&format!("own/{}", n % 7), &format!("{n}\n"));
        }
        world.run(&world.dir(), &["commit", "-q", "--allow-empty", "-m", "empty on purpose"]);
        world.here("last", "l");
        // In other files: all of it at once. In the same file, one after the other; the result is the same.
        for (round, file) in ["far/away", "own/3"].into_iter().enumerate() {
            if round == 1 {
                std::fs::write(world.dir().join("shared"), "1\n2\n3\n4\n5\n6\n7\n").unwrap();
                world.commit(&world.dir(), "shared");
                world.expect(Reconcile::Pushed).await;
                world.follow();
                for n in 0..5 {
                    world.here("shared", &format!("1\n2\n3\n4\n5\n6\nours {n}\n"));
                }
                std::fs::write(world.other().join("shared"), "theirs\n2\n3\n4\n5\n6\n7\n").unwrap();
            }
            let theirs = world.elsewhere(file, "theirs\n");
            let by_git = world.path(&format!("by-git-{round}"));
            world.run(world.root.path(), &["clone", "-q", &world.dir().display().to_string(), &by_git.display().to_string()]);
            world.run(&by_git, &["fetch", "-q", &world.remote().display().to_string(), "main"]);
            world.run(&by_git, &["rebase", "-q", &theirs]);
            world.expect(Reconcile::Rebased).await;
            let story = |dir: &std::path::Path| world.run(dir, &["log", "--reverse", "--format=%T %an %ae %at %s", "main"]);
            assert_eq!(story(&world.dir()), story(&by_git));
            world.assert_same();
        }
    }

    async fn what_the_remote_did_too_and_was_undone_here_stays_undone(world: World) {
        world.ready().await;
        world.here("a", "1 a\n2 a\nboth\n");
        world.here("x", "x");
        world.here("a", "1 a\n2 a\n3 a\n");
        world.elsewhere("a", "1 a\n2 a\nboth\n");
        world.expect(Reconcile::Rebased).await;
        assert_eq!(world.read("a"), "1 a\n2 a\n3 a\n");
        world.assert_same();
    }

    async fn merges_in_local_work_survive(world: World) {
        world.ready().await;
        let dir = world.dir();
        world.run(&dir, &["checkout", "-q", "-b", "side"]);
        world.here("side", "s");
        world.run(&dir, &["checkout", "-q", "main"]);
        world.here("own", "o");
        world.run(&dir, &["merge", "-q", "--no-ff", "-m", "the merge", "side"]);
        world.elsewhere("a", "remote\n");
        world.expect(Reconcile::Rebased).await;
        assert_eq!(world.run(&dir, &["log", "-1", "--format=%s", "main"]), "the merge");
        assert_eq!(world.run(&dir, &["rev-list", "--merges", "--count", "main"]), "1");
        assert_eq!((world.read("side"), world.read("own"), world.read("a")), ("s".to_owned(), "o".to_owned(), "remote\n".to_owned()));
        world.assert_same();
    }

    async fn a_pull_made_by_hand_is_carried_over(world: World) {
        world.ready().await;
        world.here("own", "o");
        world.elsewhere("a", "one\n");
        world.run(&world.dir(), &["pull", "-q", "--no-rebase", "origin", "main"]);
        world.elsewhere("a", "two\n");
        world.expect(Reconcile::Rebased).await;
        assert_eq!((world.read("own"), world.read("a")), ("o".to_owned(), "two\n".to_owned()));
        world.assert_same();
    }

    async fn a_conflict_is_parked_on_the_remote_and_only_then_the_checkout_moves(world: World) {
        world.ready().await;
        world.here("b", "fits\n");
        world.here("a", "own\n");
        let tip = world.here("c", "fits too\n");
        world.elsewhere("a", "theirs\n");
        let done = world.expect(Reconcile::ConflictParked).await;
        let conflicts = world.conflicts();
        assert_eq!(done.parked.as_ref(), conflicts.first());
        let format = regex::Regex::new(r"^conflicts/\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ$").unwrap();
        assert!(format.is_match(&conflicts[0]), "{conflicts:?}");
        assert_eq!(world.run(&world.remote(), &["rev-parse", &conflicts[0]]), tip, "the old tip, unchanged");
        assert_eq!((world.read("a"), world.read("b")), ("theirs\n".to_owned(), "1 b\n2 b\n3 b\n".to_owned()));
        world.assert_same();
        let status = world.data().status(&world.cancel).await.unwrap();
        assert_eq!((status.pending, status.parked.len(), status.parked[0].published), (0, 1, true));
        world.expect(Reconcile::InSync).await;
        assert_eq!(world.conflicts().len(), 1);
        // Settled by a person, it is shown no more.
        world.run(&world.remote(), &["branch", "-D", &conflicts[0]]);
        let again = world.again();
        again.reconcile(&world.cancel).await.unwrap();
        assert_eq!(again.status(&world.cancel).await.unwrap().parked, []);
        assert!(world.is_kept(&world.dir(), &tip));
    }

    async fn modify_against_delete_is_a_conflict(world: World) {
        world.ready().await;
        let tip = world.here("a", "own\n");
        std::fs::remove_file(world.other().join("a")).unwrap();
        world.elsewhere("z", "z");
        let done = world.expect(Reconcile::ConflictParked).await;
        assert_eq!(world.run(&world.remote(), &["rev-parse", &done.parked.unwrap()]), tip);
        assert!(!world.dir().join("a").exists());
        world.assert_same();
    }

    async fn two_pods_park_in_the_same_second(world: World) {
        world.ready().await;
        let mut second = tagalong::config::Dataset::clone(world.settings());
        second.dir = world.path("second");
        let second = tagalong::dataset::Dataset::new(second);
        second.ready(&world.cancel).await.unwrap();
        let ours = world.here("a", "pod one\n");
        let theirs = world.write(&world.path("second"), "a", "pod two\n", "pod two");
        world.elsewhere("a", "remote\n");
        let (one, two) = tokio::join!(world.data().reconcile(&world.cancel), second.reconcile(&world.cancel));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!((one.outcome, two.outcome), (Reconcile::ConflictParked, Reconcile::ConflictParked));
        assert_ne!(one.parked, two.parked);
        for (branch, commit) in [(one.parked.unwrap(), ours), (two.parked.unwrap(), theirs)] {
            assert_eq!(world.run(&world.remote(), &["rev-parse", &branch]), commit);
        }
    }

    async fn a_refused_parking_stays_here_and_goes_out_later_also_after_a_restart(world: World) {
        world.ready().await;
        let tip = world.here("a", "own\n");
        world.elsewhere("a", "theirs\n");
        world.refuse("refs/heads/conflicts/*");
        let done = world.expect(Reconcile::ConflictParked).await;
        assert!(done.why.unwrap().contains("not here, please"));
        assert_eq!(world.conflicts(), Vec::<String>::new());
        assert!(world.is_kept(&world.dir(), &tip));
        world.assert_same();
        let status = world.data().status(&world.cancel).await.unwrap();
        assert_eq!((status.parked.len(), status.parked[0].published), (1, false));
        assert!(world.expect(Reconcile::InSync).await.why.unwrap().contains("not here, please"));
        world.take_all();
        world.let_the_refusal_end();
        let again = world.again();
        assert_eq!(again.reconcile(&world.cancel).await.unwrap().outcome, Reconcile::InSync);
        assert_eq!(world.conflicts().len(), 1);
        assert_eq!(world.run(&world.remote(), &["rev-parse", &world.conflicts()[0]]), tip);
    }

    async fn a_rewrite_is_followed_and_what_was_purged_does_not_come_back(world: World) {
        world.ready().await;
        let secret = world.elsewhere("secret", "hush");
        world.elsewhere("d", "after");
        world.expect(Reconcile::FastForwarded).await;
        let other = world.other();
        world.run(&other, &["rebase", "-q", "--onto", "HEAD~2", "HEAD~1"]);
        world.run(&other, &["push", "-q", "-f", "origin", "main"]);
        let done = world.expect(Reconcile::FollowedRewrite).await;
        assert_eq!((done.parked, done.pushed), (None, 0));
        world.assert_same();
        assert!(!world.dir().join("secret").exists());
        assert_eq!(world.conflicts(), Vec::<String>::new());
        assert!(!world.is_kept(&world.dir(), &secret), "{}", world.run(&world.dir(), &["for-each-ref"]));
        // Also when the remote is only set back.
        world.run(&other, &["reset", "-q", "--hard", "HEAD~1"]);
        world.run(&other, &["push", "-q", "-f", "origin", "main"]);
        world.expect(Reconcile::FollowedRewrite).await;
        world.assert_same();
    }

    async fn after_a_rewrite_only_our_own_commits_are_carried_over(world: World) {
        world.ready().await;
        let secret = world.elsewhere("secret", "hush");
        world.expect(Reconcile::FastForwarded).await;
        world.here("own", "o");
        let other = world.other();
        world.run(&other, &["reset", "-q", "--hard", "HEAD~1"]);
        world.write(&other, "d", "instead", "instead");
        world.run(&other, &["push", "-q", "-f", "origin", "main"]);
        let done = world.expect(Reconcile::Rebased).await;
        assert_eq!(done.pushed, 1);
        world.assert_same();
        assert_eq!((world.read("own"), world.read("d")), ("o".to_owned(), "instead".to_owned()));
        assert!(!world.dir().join("secret").exists());
        for place in [world.dir(), world.remote()] {
            assert!(!world.is_kept(&place, &secret));
        }
    }

    async fn after_a_rewrite_own_commits_that_do_not_fit_are_parked_without_the_old_history(world: World) {
        world.ready().await;
        let secret = world.elsewhere("secret", "hush");
        world.expect(Reconcile::FastForwarded).await;
        world.here("a", "own\n");
        let other = world.other();
        world.run(&other, &["reset", "-q", "--hard", "HEAD~1"]);
        world.write(&other, "a", "theirs\n", "instead");
        world.run(&other, &["push", "-q", "-f", "origin", "main"]);
        let done = world.expect(Reconcile::ConflictParked).await;
        let branch = done.parked.unwrap();
        assert_eq!(world.run(&world.remote(), &["show", &format!("{branch}:a")]), "own");
        assert_eq!(world.run(&world.remote(), &["log", "-1", "--format=%s %an", &branch]), "here: a Ann Other");
        assert!(!world.try_run(&world.remote(), &["cat-file", "-e", &format!("{branch}:secret")]));
        for place in [world.dir(), world.remote()] {
            assert!(!world.is_kept(&place, &secret));
        }
        world.assert_same();
    }

    async fn unrelated_histories_are_parked_and_then_stable(world: World) {
        world.ready().await;
        let dir = world.dir();
        world.run(&dir, &["checkout", "-q", "--orphan", "new"]);
        let tip = world.here("mine", "all mine");
        world.run(&dir, &["branch", "-f", "main", "new"]);
        world.run(&dir, &["checkout", "-q", "main"]);
        let done = world.expect(Reconcile::ConflictParked).await;
        assert_eq!(world.run(&world.remote(), &["rev-parse", &done.parked.unwrap()]), tip);
        world.assert_same();
        world.expect(Reconcile::InSync).await;
        assert_eq!(world.conflicts().len(), 1);
    }

    async fn a_branch_that_was_deleted_is_not_made_again(world: World) {
        world.ready().await;
        let tip = world.here("own", "o");
        world.run(&world.remote(), &["update-ref", "-d", "refs/heads/main"]);
        for _ in 0..2 {
            let done = world.expect(Reconcile::RemoteBranchMissing).await;
            assert!(done.why.unwrap().contains("no branch main"));
        }
        assert_eq!(world.run(&world.remote(), &["for-each-ref"]), "");
        assert_eq!((world.head(), world.read("own")), (tip, "o".to_owned()));
    }

    async fn a_push_that_loses_the_race_is_tried_again(world: World) {
        world.ready().await;
        world.here("own", "o");
        // The remote moves while the first push is on its way.
        let hook = world.remote().join("hooks/pre-receive");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        let raced = world.write(&world.other(), "raced", "r", "raced");
        world.run(&world.other(), &["push", "-q", "origin", "HEAD:refs/heads/waiting"]);
        std::fs::write(&hook, format!("#!/bin/sh\nrm -f hooks/pre-receive\nunset GIT_QUARANTINE_PATH\n{} update-ref refs/heads/main {raced}\n", world.git)).unwrap();
        crate::world::executable(&hook);
        let done = world.expect(Reconcile::Rebased).await;
        assert_eq!(done.pushed, 1);
        assert!(!hook.exists());
        world.assert_same();
        assert_eq!((world.read("own"), world.read("raced")), ("o".to_owned(), "r".to_owned()));
    }

    async fn a_push_that_fails_is_no_failed_fetch(world: World) {
        world.ready().await;
        let own = world.here("own", "o");
        // The remote can be read, and has no room.
        let hook = world.remote().join("hooks/pre-receive");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, "#!/bin/sh\nkill -KILL $PPID\n").unwrap();
        crate::world::executable(&hook);
        let done = world.expect(Reconcile::PushFailed).await;
        assert!(!done.is_behind && done.why.as_ref().unwrap().contains("could not be pushed"), "{done:?}");
        assert_eq!(world.data().status(&world.cancel).await.unwrap().pending, 1);
        // Work that does not fit must be there first: then what is served is old, and it is said.
        std::fs::remove_file(&hook).unwrap();
        world.elsewhere("own", "theirs");
        std::fs::write(&hook, "#!/bin/sh\nkill -KILL $PPID\n").unwrap();
        crate::world::executable(&hook);
        let done = world.expect(Reconcile::PushFailed).await;
        assert!(done.is_behind, "{done:?}");
        assert_eq!(world.head(), own);
        std::fs::remove_file(&hook).unwrap();
        world.expect(Reconcile::ConflictParked).await;
        assert!(world.is_kept(&world.remote(), &own));
    }

    async fn a_refused_push_is_told_apart_and_tried_again_later(world: World) {
        world.ready().await;
        let tip = world.here("own", "o");
        world.refuse("refs/heads/main");
        let done = world.expect(Reconcile::PushRefused).await;
        assert!(done.why.unwrap().contains("not here, please"));
        assert_eq!((world.head(), world.data().status(&world.cancel).await.unwrap().pending), (tip, 1));
        world.take_all();
        world.let_the_refusal_end();
        world.expect(Reconcile::Pushed).await;
        world.assert_same();
    }

    async fn edits_out_of_the_way_stay_and_edits_in_the_way_are_parked(world: World) {
        world.set(|settings| settings.push_untracked = true);
        world.ready().await;
        std::fs::write(world.dir().join("b"), "being edited").unwrap();
        std::fs::write(world.dir().join("draft"), "draft").unwrap();
        world.elsewhere("a", "remote\n");
        let done = world.expect(Reconcile::FastForwarded).await;
        assert_eq!((world.read("a"), world.read("b"), world.read("draft"), done.parked), ("remote\n".into(), "being edited".into(), "draft".into(), None));
        world.elsewhere("b", "remote\n");
        world.elsewhere("draft", "remote\n");
        let done = world.expect(Reconcile::FastForwarded).await;
        let branch = done.parked.expect("the edits");
        let show = |file: &str| world.run(&world.remote(), &["show", &format!("{branch}:{file}")]);
        assert_eq!((show("b"), show("draft")), ("being edited".to_owned(), "draft".to_owned()));
        assert_eq!((world.read("b"), world.read("draft")), ("remote\n".to_owned(), "remote\n".to_owned()));
        world.assert_same();
    }

    async fn an_index_lock_of_the_app_is_waited_for(world: World) {
        world.ready().await;
        world.elsewhere("a", "remote\n");
        let lock = world.dir().join(".git/index.lock");
        // By its age alone it would be nobody's.
        std::fs::File::create(&lock).unwrap().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
        let mut looks = Looks::at(&lock);
        // A git that lives and works here, as its folder shows.
        let mut app = world.command(&world.dir(), &["cat-file", "--batch"]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
        // For a moment after its start a program has no words yet, by which it is known.
        until("the app's git", || std::fs::read_to_string(format!("/proc/{}/cmdline", app.id())).unwrap().contains("cat-file")).await;
        let pass = world.data().reconcile(&world.cancel);
        let release = async {
            until("the lock to be looked at again and again", || looks.count() >= 5).await;
            assert_eq!(world.read("a"), "1 a\n2 a\n3 a\n", "nothing moved under the lock");
            std::fs::remove_file(&lock).unwrap();
            app.kill().unwrap();
            app.wait().unwrap();
        };
        let (done, ()) = tokio::join!(pass, release);
        assert_eq!(done.unwrap().outcome, Reconcile::FastForwarded);
        world.assert_same();
    }

    async fn names_of_commits_are_never_refs(world: World) {
        world.ready().await;
        let (data, cancel) = (world.data(), &world.cancel);
        assert_eq!(data.loaded().await.unwrap(), None);
        let first = world.commit_of(&world.dir(), "main");
        world.elsewhere("a", "2\n");
        world.expect(Reconcile::FastForwarded).await;
        let second = world.commit_of(&world.dir(), "main");
        let name = |text: &str| CommitName::parse(text).unwrap();
        // By git, and then by what is known by heart.
        for by_heart in [false, true] {
            if by_heart {
                data.set_loaded(&second).await.unwrap();
                data.tend(cancel).await.unwrap();
            }
        for (wanted, loaded, contained) in [
            (first.as_str(), &first, true),
            (first.as_str(), &second, true),
            (&first.as_str()[..9], &second, true),
            (&second.as_str()[..5], &second, true),
            (second.as_str(), &first, false),
            (&second.as_str()[..12], &first, false),
            (&"0".repeat(40), &second, false),
            ("ffff", &second, false),
        ] {
                assert_eq!(data.contains(&name(wanted), loaded, cancel).await.unwrap(), contained, "{wanted}");
        }
        }
        // A branch that is called like an object.
        world.run(&world.dir(), &["branch", "deadbeef", "main"]);
        assert!(!data.contains(&name("deadbeef"), &second, cancel).await.unwrap());
        assert_eq!(world.again().loaded().await.unwrap(), Some(second));
        // What comes on top of it is known as well.
        world.elsewhere("a", "3\n");
        world.expect(Reconcile::FastForwarded).await;
        let third = world.commit_of(&world.dir(), "main");
        data.set_loaded(&third).await.unwrap();
        assert!(data.contains(&name(first.as_str()), &third, cancel).await.unwrap());
        assert!(data.contains(&name(third.as_str()), &third, cancel).await.unwrap());
        assert!(!data.contains(&name(&"0".repeat(40)), &third, cancel).await.unwrap());
    }

    async fn many_passes_at_once_hold_one_lock(world: World) {
        world.ready().await;
        world.here("own", "o");
        let passes: Vec<_> = (0..8).map(|_| {
            let (data, cancel) = (world.again(), world.cancel.clone());
            tokio::spawn(async move { data.reconcile(&cancel).await.map(|done| done.pushed) })
        }).collect();
        let mut pushed = 0;
        for pass in passes {
            pushed += pass.await.unwrap().unwrap();
        }
        assert_eq!(pushed, 1);
        world.assert_same();
    }
}
