//! A remote over ssh, on a real OpenSSH server of the test's own.

use std::time::Duration;

use process::holders_of;
use rustix::process::Signal;
use rustix::process::kill_process;
use tagalong::model::Reconcile;

use crate::sshd::Sshd;
use crate::sshd::keygen;
use crate::world::World;
use crate::world::on_both_gits;

/// A server that knows `key`, and that `known` knows.
async fn start(world: &World) -> Sshd {
    for name in ["host", "key", "stranger"] {
        keygen(&world.path(name), "");
    }
    let public = |name: &str| std::fs::read_to_string(world.path(&format!("{name}.pub"))).unwrap();
    std::fs::write(world.path("authorized"), public("key")).unwrap();
    let server = Sshd::start(world.path("host").parent().unwrap(), "host");
    std::fs::write(world.path("known"), format!("[127.0.0.1]:{} {}", server.port, public("host"))).unwrap();
    crate::world::until("sshd takes connections", || server.takes_connections()).await;
    server
}

on_both_gits! {
    async fn a_key_of_ones_own_and_a_known_host(world: World) {
        let server = start(&world).await;
        let remote = format!("ssh://root@127.0.0.1:{}{}", server.port, world.remote().display());
        let (key, known) = (world.path("key"), world.path("known"));
        world.set(|settings| (settings.remote, settings.ssh_key_file, settings.ssh_known_hosts_file) = (remote, Some(key.clone()), Some(known.clone())));
        world.ready().await;
        let there = world.elsewhere("a", "theirs\n");
        let done = world.expect(Reconcile::FastForwarded).await;
        assert_eq!(done.to.unwrap().to_string(), there);
        world.here("own", "o\n");
        world.expect(Reconcile::Pushed).await;
        world.follow();
        world.here("a", "own\n");
        world.elsewhere("a", "others\n");
        world.expect(Reconcile::ConflictParked).await;
        world.assert_same();
        assert_eq!(world.conflicts().len(), 1);

        // A host that is not known and a key that is not taken: nobody is asked, and the data stays.
        let head = world.head();
        let (other, strangers) = (world.path("stranger"), world.path("strangers"));
        std::fs::write(&strangers, "").unwrap();
        world.set(|settings| settings.ssh_known_hosts_file = Some(strangers));
        let done = world.expect(Reconcile::FetchFailed).await;
        assert!(done.why.as_ref().unwrap().contains("Host key verification failed"), "{done:?}");
        world.set(|settings| (settings.ssh_known_hosts_file, settings.ssh_key_file) = (Some(known.clone()), Some(other)));
        let done = world.expect(Reconcile::FetchFailed).await;
        assert!(done.why.as_ref().unwrap().contains("Permission denied"), "{done:?}");

        // A server that hangs: the deadline ends ssh too, and the next pass finds it well.
        world.set(|settings| (settings.ssh_key_file, settings.fetch_deadline) = (Some(key), Duration::from_secs(1)));
        kill_process(server.pid(), Signal::STOP).unwrap();
        world.expect(Reconcile::FetchFailed).await;
        let lock = world.path(".data.tagalong/lock");
        crate::world::until("nothing holds the lock", || holders_of(&lock).is_empty()).await;
        assert_eq!(world.head(), head);
        kill_process(server.pid(), Signal::CONT).unwrap();
        world.set(|settings| settings.fetch_deadline = Duration::from_mins(1));
        world.expect(Reconcile::InSync).await;
    }
}
