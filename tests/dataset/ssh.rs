//! A remote over ssh, on a real OpenSSH server of the test's own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use process::holders_of;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use tagalong::model::Reconcile;
use tokio::net::TcpSocket;

use crate::world::World;
use crate::world::on_both_gits;

/// A server on loopback that takes the key `key` of its folder for the user that runs this.
struct Sshd {
    child: Child,
    port: u16,
    /// Nobody else is given the port while this is bound to it; it listens to nobody.
    _kept: TcpSocket,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = kill_process(self.pid(), Signal::CONT);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keygen(file: &Path) {
    let args = ["-q", "-t", "ed25519", "-N", "", "-f"];
    assert!(Command::new("ssh-keygen").args(args).arg(file).status().unwrap().success());
}

impl Sshd {
    async fn start(world: &World) -> Self {
        // Where it ends processes that have no user yet; nothing else makes the folder where no init runs.
        let _ = std::fs::create_dir_all("/run/sshd");
        for name in ["host", "key", "stranger"] {
            keygen(&world.path(name));
        }
        let public = |name: &str| std::fs::read_to_string(world.path(&format!("{name}.pub"))).unwrap();
        std::fs::write(world.path("authorized"), public("key")).unwrap();
        let kept = TcpSocket::new_v4().unwrap();
        kept.set_reuseaddr(true).unwrap();
        kept.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let port = kept.local_addr().unwrap().port();
        std::fs::write(world.path("known"), format!("[127.0.0.1]:{port} {}", public("host"))).unwrap();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin prohibit-password\nLogLevel ERROR\n",
            world.path("host").display(),
            world.path("authorized").display()
        );
        std::fs::write(world.path("sshd.conf"), config).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(world.path("sshd.conf")).stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("sshd: install openssh-server (tests/rig/install.sh tests)");
        let server = Self { child, port, _kept: kept };
        crate::world::until("sshd takes connections", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        server
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed()).unwrap()
    }
}

on_both_gits! {
    async fn a_key_of_ones_own_and_a_known_host(world: World) {
        let server = Sshd::start(&world).await;
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
