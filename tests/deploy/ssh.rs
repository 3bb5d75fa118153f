//! The files of a stack over ssh, on a real OpenSSH server: with a deploy key and a host that is known, and with neither.

use serde_json::json;

use crate::files::Remote;
use crate::sshd::Sshd;
use crate::sshd::keygen;
use crate::support::until;
use crate::world::Settings;
use crate::world::World;

/// A server with the key of somebody whom it knows, and files that know it, somebody else in its place, and nobody.
struct Known {
    sshd: Sshd,
    dir: tempfile::TempDir,
}

impl Known {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        for name in ["host", "other_host", "key", "stranger"] {
            keygen(&path(name), "");
        }
        let public = |name: &str| std::fs::read_to_string(path(&format!("{name}.pub"))).expect("a key");
        std::fs::write(path("authorized"), public("key")).expect("a file");
        let sshd = Sshd::start(dir.path(), "host");
        for (file, text) in [
            ("known", format!("[127.0.0.1]:{} {}", sshd.port, public("host"))),
            ("impostor", format!("[127.0.0.1]:{} {}", sshd.port, public("other_host"))),
            ("nobody", String::new()),
        ] {
            std::fs::write(path(file), text).expect("a file");
        }
        Self { sshd, dir }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_over_ssh_with_a_deploy_key_from_a_known_host_alone() {
    let server = Known::start();
    until("sshd takes connections", || server.sshd.takes_connections()).await;
    let remote = Remote::new();
    let table = remote.table("web").replace("file://", &format!("ssh://root@127.0.0.1:{}", server.sshd.port));
    let table = format!("{table}ssh_key_file = \"{}\"\nssh_known_hosts_file = \"{}\"\n", server.path("key"), server.path("known"));
    let mut world = World::new(&Settings { service: table, ..Settings::default() }).await;
    let compose = std::fs::read_to_string(world.path("stack/compose.yaml")).expect("a file");
    std::fs::remove_file(world.path("stack/compose.yaml")).expect("a file");
    let commit =
        |note: &str| remote.commit(&[("compose.yaml".to_owned(), compose.clone()), ("note".to_owned(), format!("{note}\n"))].into());
    let order = async |world: &World, tag: &str, commit: &str| {
        let id = world.server().order("/api/v1/deployments", json!({ "service": "web", "tag": tag, "commit": commit })).await;
        let ended = world.server().outcome(&id).await;
        (ended["outcome"].as_str().unwrap_or_default().to_owned(), world.server().journal(&id).await)
    };
    let note = |world: &World| std::fs::read_to_string(world.path("stack/note")).unwrap_or_default();
    let (outcome, journal) = order(&world, "v1", &commit("one")).await;
    assert_eq!((outcome.as_str(), note(&world).as_str()), ("live", "one\n"), "{journal}");
    let before = world.containers();
    // Another host answers at the address; nobody knows the host; the host does not know the key. Nobody is asked anything.
    for (file, other, why) in [
        ("known", "impostor", "REMOTE HOST IDENTIFICATION HAS CHANGED"),
        ("impostor", "nobody", "Host key verification failed"),
        ("key", "stranger", "Permission denied"),
    ] {
        if file == "key" {
            world.reconfigure(&server.path("nobody"), &server.path("known")).await;
        }
        world.reconfigure(&format!("{}\"", server.path(file)), &format!("{}\"", server.path(other))).await;
        let (outcome, journal) = order(&world, "v2", &commit(other)).await;
        assert!(["failed", "refused"].contains(&outcome.as_str()) && journal.contains(why), "{other}: {outcome}: {journal}");
        assert_eq!((note(&world).as_str(), world.containers() == before), ("one\n", true), "{other}");
    }
    world.reconfigure(&server.path("stranger"), &server.path("key")).await;
    let (outcome, journal) = order(&world, "v2", &commit("two")).await;
    assert_eq!((outcome.as_str(), note(&world).as_str()), ("live", "two\n"), "{journal}");
    world.finish().await;
}
