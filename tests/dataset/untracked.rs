//! What is not tracked stays here, and what anybody wants to be ignored is never pushed.

use tagalong::model::Reconcile;

use crate::world::World;
use crate::world::on_both_gits;

const SECRET: &str = "PASSWORD=hush\n";

/// No commit that the remote has on any ref holds the secret.
fn assert_not_there(world: &World) {
    let objects = world.run(&world.remote(), &["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"]);
    let secret = world.run(&world.dir(), &["hash-object", "-t", "blob", &world.secret_file()]);
    assert!(!objects.lines().any(|object| object == secret), "the remote has the secret");
}

impl World {
    fn secret_file(&self) -> String {
        let file = self.path("secret");
        std::fs::write(&file, SECRET).unwrap();
        file.display().to_string()
    }

    /// Boots and passes, as often as it takes for a mistake to show.
    async fn boots(&self) {
        for _ in 0..3 {
            self.again().ready(&self.cancel).await.unwrap();
            self.data().reconcile(&self.cancel).await.unwrap();
            assert_not_there(self);
        }
    }
}

fn secret(world: &World) {
    std::fs::write(world.dir().join(".env"), SECRET).unwrap();
}

/// With and without `push_untracked`, for a rule must hold either way.
macro_rules! either_way {
    ($world:ident, $body:block) => {
        for push_untracked in [false, true] {
            let mut $world = World::new(&$world.git);
            $world.set(|settings| settings.push_untracked = push_untracked);
            $body
        }
    };
}

on_both_gits! {
    async fn an_edited_rule_that_is_parked_still_hides_what_it_hid(world: World) {
        either_way!(world, {
            world.elsewhere(".gitignore", "*.tmp\n");
            world.ready().await;
            std::fs::write(world.dir().join(".gitignore"), "*.tmp\n.env\n").unwrap();
            secret(&world);
            world.boots().await;
            assert_eq!((world.read(".env"), world.read(".gitignore")), (SECRET.to_owned(), "*.tmp\n".to_owned()));
            assert_eq!(world.conflicts().len(), 1, "the edit of the rules alone");
        });
    }

    async fn a_rule_of_the_branch_that_an_edit_removed_holds(world: World) {
        either_way!(world, {
            world.elsewhere(".gitignore", ".env\n");
            world.ready().await;
            std::fs::write(world.dir().join(".gitignore"), "").unwrap();
            secret(&world);
            world.boots().await;
            assert_eq!(world.read(".env"), SECRET);
        });
    }

    async fn a_rule_that_the_remote_has_dropped_holds(world: World) {
        either_way!(world, {
            world.elsewhere(".gitignore", ".env\n");
            world.ready().await;
            secret(&world);
            world.elsewhere(".gitignore", "other\n");
            world.expect(Reconcile::FastForwarded).await;
            world.boots().await;
            world.elsewhere("d", "more");
            world.boots().await;
            assert_eq!(world.read(".env"), SECRET);
        });
    }

    async fn a_rule_that_the_remote_brings_after_it_was_parked_holds(world: World) {
        either_way!(world, {
            world.ready().await;
            world.run(&world.dir(), &["config", "core.autocrlf", "false"]);
            secret(&world);
            std::fs::write(world.dir().join("a"), "edited").unwrap();
            world.elsewhere(".gitignore", ".env\n");
            world.boots().await;
            assert_eq!(world.run(&world.remote(), &["show", &format!("{}:a", world.conflicts()[0])]), "edited");
            let status = world.data().status(&world.cancel).await.unwrap();
            assert!(status.kept.iter().any(|kept| kept.holds == [".env"]), "{status:?}");
        });
    }

    async fn what_was_added_by_force_and_not_committed_stays_here(world: World) {
        either_way!(world, {
            world.elsewhere(".gitignore", ".env\n");
            world.ready().await;
            secret(&world);
            world.run(&world.dir(), &["add", "-f", ".env"]);
            world.boots().await;
            let status = world.data().status(&world.cancel).await.unwrap();
            assert!(status.kept.iter().any(|kept| kept.holds == [".env"]), "{status:?}");
        });
    }

    async fn untracked_files_stay_on_a_ref_here_that_status_lists(world: World) {
        world.ready().await;
        std::fs::create_dir(world.dir().join("drafts")).unwrap();
        for n in 0..12 {
            std::fs::write(world.dir().join(format!("drafts/{n:02}")), format!("draft {n}")).unwrap();
        }
        secret(&world);
        std::fs::write(world.dir().join("b"), "edited").unwrap();
        let ready = world.ready().await;
        assert!(ready.healed.join(" ").contains("refs/tagalong/kept/"), "{ready:?}");
        world.boots().await;
        world.assert_same();
        let status = world.data().status(&world.cancel).await.unwrap();
        assert_eq!((status.kept.len(), status.kept[0].holds.len(), status.kept[0].more), (1, 8, 5));
        assert_eq!(world.run(&world.dir(), &["show", &format!("{}:drafts/11", status.kept[0].name)]), "draft 11");
        assert_eq!(world.run(&world.remote(), &["ls-tree", "-r", "--name-only", &world.conflicts()[0]]), "a\nb\nc");
        // The same again is kept once.
        world.run(&world.dir(), &["checkout", "-q", &status.kept[0].name, "--", "drafts", ".env"]);
        world.run(&world.dir(), &["reset", "-q"]);
        world.boots().await;
        assert_eq!(world.data().status(&world.cancel).await.unwrap().kept.len(), 1);
    }

    async fn an_untracked_file_in_the_way_stays_here(world: World) {
        world.ready().await;
        std::fs::write(world.dir().join("draft"), "mine").unwrap();
        world.elsewhere("draft", "theirs");
        let done = world.expect(Reconcile::FastForwarded).await;
        assert!(done.why.unwrap().contains("refs/tagalong/kept/"));
        assert_eq!((world.read("draft"), world.conflicts().len()), ("theirs".to_owned(), 0));
        let status = world.data().status(&world.cancel).await.unwrap();
        assert_eq!(world.run(&world.dir(), &["show", &format!("{}:draft", status.kept[0].name)]), "mine");
        world.assert_same();
    }
}
