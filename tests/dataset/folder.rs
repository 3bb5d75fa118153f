//! The folder as it is found, sentence by sentence.

use process::Cancel;
use tagalong::dataset::DatasetError;
use tagalong::dataset::Ready;
use tagalong::model::Reconcile;

use crate::world::World;
use crate::world::on_both_gits;

/// Every file below the folders that were moved aside, by name.
fn aside(ready: &Ready) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = ready.aside.clone();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    found
}

fn parked_file(world: &World, branch: &str, file: &str) -> String {
    world.run(&world.remote(), &["show", &format!("{branch}:{file}")])
}

/// tagalong's own git folder for the checkout.
fn own_git(world: &World) -> std::path::PathBuf {
    let folders = std::fs::read_dir(&world.settings().state).unwrap().flatten();
    folders.map(|folder| folder.path().join("git")).find(|git| git.is_dir()).expect("a git folder")
}

fn names(folder: &std::path::Path) -> std::collections::BTreeSet<String> {
    std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

on_both_gits! {
    async fn absent_is_cloned_and_ready_again_changes_nothing(world: World) {
        let ready = world.ready().await;
        assert_eq!(ready.head.map(|head| head.to_string()), Some(world.remote_tip()));
        assert_eq!((ready.aside.len(), ready.healed.len()), (0, 1));
        world.assert_same();
        let again = world.ready().await;
        assert_eq!((again.healed, again.aside, again.parked), (vec![], vec![], vec![]));
    }

    async fn a_git_folder_that_is_being_made_is_left_alone_by_readers_and_completed_by_the_next_writer(world: World) {
        world.ready().await;
        let own = own_git(&world);
        for missing in ["whole", "HEAD", "refs", "config"] {
            std::fs::remove_file(own.join(missing)).unwrap();
            let before = names(&own);
            let seen = world.data().status(&world.cancel).await.unwrap();
            assert_eq!(seen.head.map(|head| head.to_string()), Some(world.remote_tip()), "{missing}");
            assert_eq!(names(&own), before, "{missing}");
            world.elsewhere("file", missing);
            world.reconcile().await;
            assert!(own.join(missing).symlink_metadata().is_ok(), "{missing}");
            world.assert_same();
        }
    }

    /// As it is while somebody pushes: git writes under a name that is gone by the time when files are copied one by one.
    async fn a_remote_in_a_folder_of_this_host_is_cloned_while_it_is_written(world: World) {
        let mut world = world;
        let remote = world.remote();
        std::os::unix::fs::symlink("/no/such/file", remote.join("objects/tmp_obj_x")).unwrap();
        world.set(|settings| settings.remote = remote.display().to_string());
        world.ready().await;
        world.assert_same();
    }

    async fn an_empty_folder_is_cloned_into(world: World) {
        std::fs::create_dir(world.dir()).unwrap();
        assert_eq!(world.ready().await.aside.len(), 0);
        world.assert_same();
    }

    async fn foreign_files_are_moved_aside_and_never_deleted(world: World) {
        std::fs::create_dir_all(world.dir().join("lost+found")).unwrap();
        std::fs::write(world.dir().join("precious"), "p").unwrap();
        let ready = world.ready().await;
        assert_eq!(aside(&ready), ["precious"]);
        world.assert_same();
        assert!(!world.dir().join("precious").exists());
        assert_eq!(world.data().status(&world.cancel).await.unwrap().aside, ready.aside);
    }

    async fn a_clone_that_was_cut_off_is_replaced(world: World) {
        world.run(world.root.path(), &["init", "-q", "-b", "main", "data"]);
        std::fs::create_dir_all(world.dir().join(".git/objects/pack")).unwrap();
        std::fs::write(world.dir().join(".git/objects/pack/tmp_pack_x"), "half").unwrap();
        std::fs::write(world.dir().join("a"), "half").unwrap();
        let ready = world.ready().await;
        assert_eq!(ready.aside.len(), 1);
        world.assert_same();
    }

    async fn nothing_is_set_aside_while_the_remote_cannot_be_read(world: World) {
        std::fs::create_dir(world.dir()).unwrap();
        std::fs::write(world.dir().join("precious"), "p").unwrap();
        world.set(|settings| settings.remote = settings.remote.replace("remote.git", "nowhere.git"));
        let error = world.data().ready(&world.cancel).await.unwrap_err();
        assert!(matches!(error, DatasetError::NothingYet(..)), "{error}");
        assert_eq!(world.read("precious"), "p");
        world.set(|settings| { settings.remote = settings.remote.replace("nowhere.git", "remote.git"); settings.branch = String::from("other"); });
        let error = world.data().ready(&world.cancel).await.unwrap_err();
        assert!(matches!(error, DatasetError::NoBranchYet(..)), "{error}");
        assert_eq!(world.read("precious"), "p");
    }

    async fn a_file_and_a_missing_git_are_said_by_name(world: World) {
        std::fs::write(world.dir(), "a file").unwrap();
        let error = world.data().ready(&world.cancel).await.unwrap_err();
        assert!(matches!(error, DatasetError::NotAFolder(_)), "{error}");
        world.set(|settings| settings.git.program = String::from("no-such-git"));
        let error = world.data().ready(&world.cancel).await.unwrap_err();
        assert!(matches!(error, DatasetError::GitMissing(_)), "{error}");
        let old = world.path("old-git");
        std::fs::write(&old, "#!/bin/sh\necho git version 2.30.2\n").unwrap();
        crate::world::executable(&old);
        world.set(|settings| settings.git.program = old.display().to_string());
        let error = world.data().ready(&world.cancel).await.unwrap_err();
        assert!(matches!(&error, DatasetError::GitTooOld(version) if version == "2.30.2"), "{error}");
    }

    async fn a_shallow_one_is_made_whole_also_when_the_base_lies_beyond(world: World) {
        for n in 0..5 {
            world.elsewhere("d", &format!("{n}"));
        }
        let remote = world.settings().remote.clone();
        world.run(world.root.path(), &["clone", "-q", "--depth", "1", &remote, "data"]);
        world.here("own", "o");
        // The remote goes on from far below the boundary.
        world.run(&world.other(), &["reset", "-q", "--hard", "HEAD~4"]);
        world.write(&world.other(), "e", "e", "from below");
        world.run(&world.other(), &["push", "-q", "-f", "origin", "main"]);
        let done = world.expect(Reconcile::Rebased).await;
        assert!(done.why.unwrap().contains("shallow"));
        assert!(!world.dir().join(".git/shallow").exists());
        world.ready().await;
        world.assert_same();
        assert_eq!(world.read("own"), "o");
    }

    async fn one_of_another_user_works_and_no_configuration_grows(world: World) {
        world.ready().await;
        let chown = |user: &str| std::process::Command::new("chown").args(["-R", user]).arg(world.dir()).status().unwrap();
        assert!(chown("nobody").success());
        assert!(!world.try_run(&world.dir(), &["status"]), "a plain git refuses it");
        world.elsewhere("a", "2\n");
        world.ready().await;
        world.expect(Reconcile::FastForwarded).await;
        assert!(std::fs::read_dir(world.path("home")).unwrap().next().is_none(), "nothing was written there");
        assert!(chown("root").success());
        world.assert_same();
    }

    async fn locks_of_a_killed_git_are_removed(world: World) {
        world.ready().await;
        let past = std::time::SystemTime::now() - std::time::Duration::from_mins(1);
        let locks = ["index.lock", "HEAD.lock", "packed-refs.lock", "config.lock", "refs/heads/main.lock", "shallow.lock"];
        for lock in locks {
            let file = std::fs::File::create(world.dir().join(".git").join(lock)).unwrap();
            file.set_modified(past).unwrap();
        }
        std::fs::write(world.dir().join(".git/objects/pack/tmp_pack_Zx"), "half").unwrap();
        world.elsewhere("a", "2\n");
        world.expect(Reconcile::FastForwarded).await;
        world.assert_same();
        for lock in locks.into_iter().chain(["objects/pack/tmp_pack_Zx"]) {
            assert!(!world.dir().join(".git").join(lock).exists(), "{lock}");
        }
    }

    async fn a_lock_that_is_dated_in_the_future_is_stale_like_any_other(world: World) {
        world.ready().await;
        let lock = world.dir().join(".git/index.lock");
        let file = std::fs::File::create(&lock).unwrap();
        file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_hours(48)).unwrap();
        world.elsewhere("a", "2\n");
        world.expect(Reconcile::FastForwarded).await;
        world.assert_same();
    }

    async fn an_interrupted_rebase_is_ended_and_all_is_kept(world: World) {
        world.ready().await;
        let (one, two) = (world.here("x", "1"), world.here("a", "own\n"));
        world.elsewhere("a", "theirs\n");
        world.run(&world.dir(), &["fetch", "-q", "origin"]);
        assert!(!world.try_run(&world.dir(), &["rebase", "origin/main"]), "it stops at the conflict");
        std::fs::write(world.dir().join("a"), "half resolved\n").unwrap();
        let ready = world.ready().await;
        world.assert_clean();
        assert!(!world.dir().join(".git/rebase-merge").exists());
        let done = world.expect(Reconcile::ConflictParked).await;
        assert_eq!(world.run(&world.remote(), &["rev-parse", &done.parked.unwrap()]), two);
        let branches = world.conflicts();
        assert!(branches.iter().any(|branch| parked_file(&world, branch, "a") == "half resolved"), "{ready:?} {branches:?}");
        assert!(world.is_kept(&world.remote(), &one));
        world.assert_same();
    }

    async fn an_interrupted_merge_is_ended_and_all_is_kept(world: World) {
        world.ready().await;
        world.run(&world.dir(), &["checkout", "-q", "-b", "side"]);
        world.here("a", "side\n");
        world.run(&world.dir(), &["checkout", "-q", "main"]);
        let own = world.here("a", "own\n");
        assert!(!world.try_run(&world.dir(), &["merge", "side"]));
        let ready = world.ready().await;
        assert_eq!(ready.parked.len(), 1);
        world.assert_clean();
        assert_eq!((world.head(), world.read("a")), (own, "own\n".to_owned()));
        world.expect(Reconcile::Pushed).await;
        assert!(parked_file(&world, &world.conflicts()[0], "a").contains("<<<<<<<"));
    }

    async fn commits_on_a_detached_head_are_kept(world: World) {
        world.ready().await;
        world.run(&world.dir(), &["checkout", "-q", "--detach"]);
        let lone = world.here("lone", "l");
        std::fs::write(world.dir().join("b"), "edited").unwrap();
        let ready = world.ready().await;
        assert_eq!(ready.parked.len(), 2, "{ready:?}");
        world.assert_clean();
        world.expect(Reconcile::InSync).await;
        assert!(world.is_kept(&world.remote(), &lone));
        assert!(world.conflicts().iter().any(|branch| parked_file(&world, branch, "b") == "edited"));
        assert!(!world.dir().join("lone").exists());
        world.assert_same();
    }

    async fn another_branch_is_left_with_its_edits_kept(world: World) {
        world.ready().await;
        world.run(&world.dir(), &["checkout", "-q", "-b", "feature"]);
        let feature = world.here("f", "f");
        std::fs::write(world.dir().join("a"), "edited").unwrap();
        world.ready().await;
        world.assert_same();
        assert_eq!(world.run(&world.dir(), &["rev-parse", "feature"]), feature);
        world.expect(Reconcile::InSync).await;
        assert_eq!(parked_file(&world, &world.conflicts()[0], "a"), "edited");
    }

    async fn a_tag_of_the_branchs_name_confuses_nothing(world: World) {
        world.ready().await;
        world.run(&world.dir(), &["tag", "main", "main"]);
        world.run(&world.other(), &["push", "-q", "origin", "HEAD:refs/tags/main"]);
        world.elsewhere("a", "2\n");
        world.expect(Reconcile::FastForwarded).await;
        let own = world.here("own", "o");
        world.expect(Reconcile::Pushed).await;
        assert_eq!(world.remote_tip(), own);
        world.ready().await;
        world.assert_same();
    }

    async fn edits_staged_unstaged_and_new_are_parked_at_the_start(world: World) {
        world.set(|settings| settings.push_untracked = true);
        world.ready().await;
        std::fs::write(world.dir().join("a"), "staged").unwrap();
        std::fs::write(world.dir().join("s"), "staged new").unwrap();
        world.run(&world.dir(), &["add", "a", "s"]);
        std::fs::write(world.dir().join("a"), "and edited again").unwrap();
        std::fs::remove_file(world.dir().join("b")).unwrap();
        std::fs::create_dir(world.dir().join("sub")).unwrap();
        std::fs::write(world.dir().join("sub/new"), "untracked").unwrap();
        let ready = world.ready().await;
        assert_eq!(ready.parked.len(), 1);
        world.assert_same();
        assert_eq!(world.read("b"), "1 b\n2 b\n3 b\n");
        assert!(!world.dir().join("sub").exists());
        world.expect(Reconcile::InSync).await;
        let branch = &world.conflicts()[0];
        assert_eq!(parked_file(&world, branch, "a"), "and edited again");
        assert_eq!(parked_file(&world, branch, "sub/new"), "untracked");
        assert_eq!(parked_file(&world, &format!("{branch}~1"), "a"), "staged");
        assert!(!world.try_run(&world.remote(), &["cat-file", "-e", &format!("{branch}:b")]));
        assert_eq!(world.ready().await.parked, Vec::<String>::new());
    }

    async fn a_damaged_index_is_made_anew_and_edits_are_kept(world: World) {
        world.ready().await;
        std::fs::write(world.dir().join("a"), "edited").unwrap();
        std::fs::write(world.dir().join(".git/index"), "garbage").unwrap();
        world.ready().await;
        world.assert_same();
        world.expect(Reconcile::InSync).await;
        assert_eq!(parked_file(&world, &world.conflicts()[0], "a"), "edited");
    }

    async fn a_damaged_index_beside_an_app_leaves_its_edits(world: World) {
        world.ready().await;
        std::fs::write(world.dir().join("a"), "being edited").unwrap();
        std::fs::write(world.dir().join("draft"), "new").unwrap();
        std::fs::write(world.dir().join(".git/index"), "garbage").unwrap();
        world.elsewhere("b", "2\n");
        world.expect(Reconcile::FastForwarded).await;
        assert_eq!((world.read("a"), world.read("b"), world.read("draft")), ("being edited".into(), "2\n".into(), "new".into()));
        assert_eq!(world.run(&world.dir(), &["status", "--porcelain"]), " M a\n?? draft");
    }

    async fn line_ends_and_large_files_written_otherwise_are_no_edits(world: World) {
        // Lines that were committed before the rule that converts them, and a pointer of Git LFS whose file is there.
        let file = "large\n".repeat(9);
        std::fs::write(world.path("large"), &file).unwrap();
        let hash = std::process::Command::new("sha256sum").arg(world.path("large")).output().unwrap().stdout;
        let hash = String::from_utf8(hash).unwrap()[..64].to_owned();
        std::fs::write(world.other().join("lfs"), format!("version https://git-lfs.github.com/spec/v1\noid sha256:{hash}\nsize {}\n", file.len())).unwrap();
        std::fs::write(world.other().join("crlf.txt"), "one\r\ntwo\r\n").unwrap();
        world.elsewhere("plain.txt", "one\ntwo\n");
        std::fs::write(world.other().join(".gitattributes"), "* text=auto\ncrlf.txt text\nlfs filter=lfs -text\n").unwrap();
        world.run(&world.other(), &["add", ".gitattributes"]);
        world.run(&world.other(), &["commit", "-q", "-m", "rules"]);
        world.run(&world.other(), &["push", "-q", "origin", "HEAD:refs/heads/main"]);
        world.ready().await;
        std::fs::write(world.dir().join("lfs"), &file).unwrap();
        // As an editor on another system writes it; and times that say nothing.
        std::fs::write(world.dir().join("plain.txt"), "one\r\ntwo\r\n").unwrap();
        std::fs::write(world.dir().join("crlf.txt"), "one\r\ntwo\r\n").unwrap();
        for _ in 0..3 {
            let ready = world.again().ready(&world.cancel).await.unwrap();
            assert_eq!((ready.parked, world.read("lfs")), (vec![], file.clone()));
            world.expect(Reconcile::InSync).await;
            assert_eq!(world.conflicts(), Vec::<String>::new());
        }
        // An edit among them is one, and alone.
        std::fs::write(world.dir().join("crlf.txt"), "one\r\nthree\r\n").unwrap();
        assert_eq!(world.ready().await.parked.len(), 1);
        world.expect(Reconcile::InSync).await;
        assert_eq!(world.run(&world.remote(), &["diff", "--name-only", "main", &world.conflicts()[0]]), "crlf.txt");
        // And what the remote changes arrives.
        world.run(&world.other(), &["config", "core.autocrlf", "false"]);
        world.elsewhere("crlf.txt", "four\n");
        world.expect(Reconcile::FastForwarded).await;
        assert_eq!((world.read("crlf.txt"), world.conflicts().len()), ("four\n".to_owned(), 1));
    }

    async fn damaged_objects_without_own_work_are_cloned_anew(world: World) {
        world.ready().await;
        damage(&world, "main:a");
        let ready = world.ready().await;
        assert_eq!(ready.aside.len(), 1, "{ready:?}");
        world.assert_same();
        assert!(aside(&ready).contains(&"HEAD".to_owned()));
    }

    async fn damaged_objects_with_own_work_that_can_be_read_carry_it_along(world: World) {
        world.ready().await;
        world.elsewhere("later", "l");
        world.expect(Reconcile::FastForwarded).await;
        let own = world.here("own", "o");
        // An object that own work does not need to be read for.
        damage(&world, "main~2^{tree}");
        let ready = world.ready().await;
        assert_eq!(ready.aside.len(), 1, "{ready:?}");
        assert_eq!((world.head(), world.read("own")), (own, "o".to_owned()));
        world.expect(Reconcile::Pushed).await;
        world.assert_same();
    }

    async fn damaged_objects_with_own_work_that_cannot_be_read_are_kept_aside_and_shouted_about(world: World) {
        world.ready().await;
        let own = world.here("own", "o");
        damage(&world, "main:own");
        let ready = world.ready().await;
        assert_eq!(ready.aside.len(), 1, "{ready:?}");
        let told = ready.healed.join(" ");
        assert!(told.contains("UNPUSHED WORK") && told.contains(&own), "{told}");
        assert!(world.try_run(&ready.aside[0], &["cat-file", "-e", &own]));
        world.assert_same();
    }

    async fn an_empty_head_and_ref_after_a_crash_are_healed(world: World) {
        world.ready().await;
        std::fs::write(world.dir().join(".git/HEAD"), "").unwrap();
        world.ready().await;
        world.assert_same();
        std::fs::write(world.dir().join(".git/refs/heads/main"), "").unwrap();
        world.ready().await;
        world.assert_same();
        world.elsewhere("a", "2\n");
        world.expect(Reconcile::FastForwarded).await;
        world.assert_same();
    }

    async fn a_branch_with_slashes_works(world: World) {
        world.run(&world.other(), &["push", "-q", "origin", "HEAD:refs/heads/data/v1/live"]);
        world.set(|settings| settings.branch = String::from("data/v1/live"));
        world.ready().await;
        let own = world.here("own", "o");
        world.expect(Reconcile::Pushed).await;
        assert_eq!(world.run(&world.remote(), &["rev-parse", "refs/heads/data/v1/live"]), own);
        world.assert_clean();
    }

    async fn a_bare_one_follows_without_files(world: World) {
        let remote = world.settings().remote.clone();
        world.run(world.root.path(), &["clone", "-q", "--bare", &remote, "data"]);
        world.ready().await;
        world.elsewhere("a", "2\n");
        world.expect(Reconcile::FastForwarded).await;
        assert_eq!(world.run(&world.dir(), &["rev-parse", "refs/heads/main"]), world.remote_tip());
        let tree = world.run(&world.dir(), &["rev-parse", "main^{tree}"]);
        let own = world.run(&world.dir(), &["commit-tree", "-p", "main", "-m", "own", &tree]);
        world.run(&world.dir(), &["update-ref", "refs/heads/main", &own]);
        world.elsewhere("b", "2\n");
        world.expect(Reconcile::Rebased).await;
        assert_eq!(world.run(&world.dir(), &["rev-parse", "refs/heads/main"]), world.remote_tip());
    }

    async fn the_users_and_the_hosts_configuration_change_nothing(world: World) {
        let shout = world.path("shout");
        std::fs::write(&shout, format!("#!/bin/sh\necho ran >> {}\nexit 1\n", world.path("ran").display())).unwrap();
        crate::world::executable(&shout);
        let hooks = world.path("home/hooks");
        std::fs::create_dir(&hooks).unwrap();
        for hook in ["pre-push", "post-checkout", "reference-transaction", "pre-rebase", "post-merge", "pre-commit", "post-index-change"] {
            std::fs::copy(&shout, hooks.join(hook)).unwrap();
        }
        let s = shout.display();
        std::fs::write(world.path("home/.gitconfig"), format!(
            "[core]\n hooksPath = {}\n autocrlf = true\n fsmonitor = {s}\n editor = {s}\n excludesFile = {}\n fileMode = false\n\
             [commit]\n gpgSign = true\n[gpg]\n program = {s}\n[push]\n gpgSign = true\n followTags = true\n default = nothing\n\
             [rebase]\n autosquash = true\n[fetch]\n prune = true\n[pull]\n rebase = false\n[merge]\n renames = false\n ff = only\n\
             [user]\n useConfigOnly = true\n[clone]\n defaultRemoteName = elsewhere\n[init]\n templateDir = {}\n\
             [credential]\n helper = {s}\n[diff]\n external = {s}\n noprefix = true\n[transfer]\n credentialsInUrl = die\n",
            hooks.display(), world.path("home/ignore").display(), hooks.display(),
        )).unwrap();
        std::fs::write(world.path("home/ignore"), "*\n").unwrap();
        // The remote's side of a file:// address reads the same user's configuration: that is another host's elsewhere.
        world.run(&world.remote(), &["config", "core.hooksPath", "/dev/null"]);
        world.ready().await;
        world.run(&world.dir(), &["commit", "-q", "--allow-empty", "-m", "fixup! first"]);
        world.here("own", "one\r\ntwo\n");
        world.elsewhere("a", "crlf\nhere\n");
        let done = world.expect(Reconcile::Rebased).await;
        assert_eq!(done.pushed, 2);
        assert_eq!((world.read("a"), world.read("own")), ("crlf\nhere\n".to_owned(), "one\r\ntwo\n".to_owned()));
        assert_eq!(world.run(&world.dir(), &["log", "--format=%s", "-2"]), "here: own\nfixup! first");
        world.follow();
        world.here("b", "own\n");
        world.elsewhere("b", "theirs\n");
        world.expect(Reconcile::ConflictParked).await;
        world.assert_same();
        assert!(!world.path("ran").exists(), "no hook, signature or editor ran");
    }

    async fn rewritten_addresses_of_the_user_are_honoured(world: World) {
        let at = world.remote().display().to_string();
        std::fs::write(world.path("home/.gitconfig"), format!("[url \"file://{at}\"]\n insteadOf = data://store\n")).unwrap();
        world.set(|settings| settings.remote = String::from("data://store"));
        world.ready().await;
        world.here("own", "o");
        world.expect(Reconcile::Pushed).await;
        world.assert_same();
    }

    async fn a_dead_owners_child_does_not_block(world: World) {
        world.ready().await;
        let (called, slow) = (world.path("called"), world.path("slow-git"));
        // A git in a session of its own, which nobody ends who ends only groups.
        let script = format!(
            "#!/bin/sh\ncase \" $* \" in *' fetch '*)\n exec 3<&0\n setsid sh -c 'echo $$ >{at}.new; mv {at}.new {at}; exec sleep 1000' <&3 &\n wait;;\nesac\nexec {git} \"$@\"\n",
            at = called.display(),
            git = world.git
        );
        std::fs::write(&slow, script).unwrap();
        crate::world::executable(&slow);
        let mut owner = crate::storm::start_with(&world.dir(), &world.settings().remote, &slow.display().to_string());
        crate::world::until("the owner's git is called", || called.exists()).await;
        let child = std::fs::read_to_string(&called).unwrap().trim().to_owned();
        let lives = || std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
        world.elsewhere("a", "2\n");

        let mut hurried = world.settings().clone();
        for deadline in [&mut hurried.fetch_deadline, &mut hurried.push_deadline, &mut hurried.local_deadline] {
            *deadline = std::time::Duration::from_millis(300);
        }
        let error = tagalong::dataset::Dataset::new(hurried).reconcile(&Cancel::default()).await.unwrap_err();
        assert!(matches!(error, DatasetError::Locked(_)), "{error}");
        assert!(lives(), "it belongs to a living owner");

        owner.kill().unwrap();
        owner.wait().unwrap();
        assert!(lives(), "it outlives its owner");
        world.expect(Reconcile::FastForwarded).await;
        assert!(!lives(), "it was ended");
    }

    async fn a_living_owner_is_waited_for(world: World) {
        world.ready().await;
        world.set(|settings| {
            for deadline in [&mut settings.fetch_deadline, &mut settings.push_deadline, &mut settings.local_deadline] {
                *deadline = std::time::Duration::from_millis(300);
            }
        });
        let held = process::HostLock::take_over(&world.path(".data.tagalong/lock"), std::time::Duration::ZERO).await.unwrap();
        let error = world.data().reconcile(&Cancel::default()).await.unwrap_err();
        assert!(matches!(error, DatasetError::Locked(_)), "{error}");
        drop(held);
    }
}

/// Writes rubbish over one object, which is made loose first.
pub(crate) fn damage(world: &World, name: &str) {
    let dir = world.dir();
    let object = world.run(&dir, &["rev-parse", name]);
    let packs = dir.join(".git/objects/pack");
    for pack in std::fs::read_dir(&packs).unwrap().flatten().filter(|file| file.path().extension().is_some_and(|e| e == "pack")) {
        let moved = world.path("moved.pack");
        std::fs::rename(pack.path(), &moved).unwrap();
        std::fs::remove_file(pack.path().with_extension("idx")).unwrap();
        let file = std::fs::File::open(&moved).unwrap();
        assert!(world.command(&dir, &["unpack-objects", "-q"]).stdin(file).status().unwrap().success());
    }
    let file = dir.join(".git/objects").join(&object[..2]).join(&object[2..]);
    let _ = std::fs::remove_file(&file);
    std::fs::write(&file, "rubbish").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sha_256_repositories_work() {
    for git in ["/usr/bin/git".to_owned(), crate::world::newest_git()] {
        let world = World::with(&git, &["--object-format=sha256"]);
        world.ready().await;
        assert_eq!(world.head().len(), 64);
        world.here("b", "own\n");
        world.elsewhere("a", "2\n");
        world.expect(Reconcile::Rebased).await;
        world.follow();
        world.here("a", "own\n");
        world.elsewhere("a", "3\n");
        world.expect(Reconcile::ConflictParked).await;
        world.assert_same();
    }
}
