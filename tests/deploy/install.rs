//! Hosts that are made agents over ssh: a real OpenSSH server in a namespace of its own, whose `/etc`, `/usr/local` and `/var/lib` nobody
//! else sees, behind another one as the host in between.

use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use serde_json::Value;

use crate::support::Server;
use crate::support::until;
use crate::support::until_some;

/// What becomes process 1 of the host: its folders are laid over those of this machine, and go with it.
const HOST: &str = "set -e; own=$1; mount -t tmpfs tmpfs $own; for dir in /etc /usr/local /var/lib; do \
    mkdir -p $own$dir/upper $own$dir/work; mount -t overlay overlay -o lowerdir=$dir,upperdir=$own$dir/upper,workdir=$own$dir/work $dir; done; \
    /usr/sbin/sshd -D -e -f $2 & wait";

/// An OpenSSH server on loopback; it goes with this value, and everything that was started over it.
struct Sshd {
    child: Child,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A control plane, a host and a host in between.
struct Rig {
    dir: tempfile::TempDir,
    control: Option<Server>,
    host: Sshd,
    bastion: Sshd,
}

fn keygen(file: &Path, passphrase: &str) {
    let args = ["-q", "-t", "ed25519", "-N", passphrase, "-f"];
    assert!(Command::new("ssh-keygen").args(args).arg(file).status().expect("it runs").success());
}

fn spawn(dir: &Path, name: &str, has_own_folders: bool) -> Sshd {
    let path = |file: &str| dir.join(file).display().to_string();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nLogLevel ERROR\n",
        path(name),
        path("authorized"),
    );
    let file = path(&format!("{name}.conf"));
    std::fs::write(&file, config).expect("a file");
    let mut command = if has_own_folders {
        let own = path("own");
        std::fs::create_dir(&own).expect("a folder");
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--propagation",
            "private",
            "sh",
            "-c",
            HOST,
            "sh",
            &own,
            &file,
        ]);
        command
    } else {
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f", &file]);
        command
    };
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Sshd { child: child.expect("sshd: install openssh-server (tests/rig/install.sh tests)"), port }
}

impl Rig {
    async fn new() -> Self {
        let _ = std::fs::create_dir_all("/run/sshd");
        let dir = tempfile::Builder::new().prefix("tagalong-").tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        for name in ["host", "bastion", "other", "key"] {
            keygen(&path(name), "");
        }
        keygen(&path("locked"), "a passphrase");
        let public = |name: &str| std::fs::read_to_string(path(&format!("{name}.pub"))).expect("a key");
        std::fs::write(path("authorized"), public("key") + &public("locked")).expect("a file");
        let host = spawn(dir.path(), "host", true);
        let bastion = spawn(dir.path(), "bastion", false);
        let mut rig = Self { dir, control: None, host, bastion };
        rig.configure(&rig.key_of("host"), &rig.key_of("bastion"), "key");
        rig.start_control().await;
        until("sshd takes connections", || {
            [rig.host.port, rig.bastion.port].iter().all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok())
        })
        .await;
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn key_of(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.pub"))).expect("a key").trim().to_owned()
    }

    /// The configuration of the control plane: the host by the name of edge, over the other one.
    fn configure(&self, host_key: &str, bastion_key: &str, identity: &str) {
        let identity = self.path(identity).display().to_string();
        let text = format!(
            "version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\nsocket = \"s\"\ndata_dir = \"data\"\n\
             [host.edge]\naddress = \"root@localhost\"\nport = {}\nhost_key = \"{host_key}\"\nidentity_file = \"{identity}\"\ndial = false\n\
             [host.edge.jump]\naddress = \"root@127.0.0.1\"\nport = {}\nhost_key = \"{bastion_key}\"\nidentity_file = \"{identity}\"\n",
            self.host.port, self.bastion.port
        );
        std::fs::write(self.path("tagalong.toml"), text).expect("a file");
    }

    async fn start_control(&mut self) {
        self.control = Some(Server::start(self.dir.path()).await);
    }

    fn control(&self) -> &Server {
        self.control.as_ref().expect("it runs")
    }

    async fn url(&self) -> String {
        let address = || Some(self.control().log().rsplit_once("addresses=[")?.1.split_once(']')?.0.to_owned());
        format!("http://{}", until_some("its address", address).await)
    }

    /// What the command line on the control plane's host says.
    fn tagalong(&self, args: &[&str]) -> Output {
        let config = self.path("tagalong.toml");
        Command::new(env!("CARGO_BIN_EXE_tagalong")).args(args).arg("--config").arg(config).stdin(Stdio::null()).output().expect("it runs")
    }

    /// The JSON that it gives, when it does what it was told.
    fn done(&self, args: &[&str]) -> Value {
        let ran = self.tagalong(&[args, &["--json"]].concat());
        assert!(ran.status.success(), "{args:?}: {}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        serde_json::from_slice(&ran.stdout).expect("JSON")
    }

    /// The one sentence that it refuses with.
    fn refused(&self, args: &[&str]) -> String {
        let ran = self.tagalong(args);
        let said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
        assert_eq!(ran.status.code(), Some(1), "{args:?}: {}{said}", String::from_utf8_lossy(&ran.stdout));
        assert!(!said.contains('\n'), "{args:?}: {said}");
        said.trim_start_matches("error: ").to_owned()
    }

    /// What a command on the host itself says.
    fn on_host(&self, command: &str) -> String {
        let port = self.host.port.to_string();
        let key = self.path("key").display().to_string();
        let options =
            ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-i", &key, "-p", &port];
        let ran = Command::new("ssh").args(options).args(["root@127.0.0.1", command]).stdin(Stdio::null()).output().expect("it runs");
        assert!(ran.status.success(), "{command}: {}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }

    /// The files that tagalong has on the host, and its process.
    fn on_host_now(&self) -> String {
        self.on_host("stat --format '%n %i %Y %a %U' /usr/local/bin/tagalong /etc/tagalong/* /var/lib/tagalong/agent-identity; pgrep -f 'agent --apart'; ls -A /usr/local/bin | grep '^.tagalong' || true")
    }
}

#[tokio::test]
async fn a_host_behind_another_becomes_an_agent_once() {
    let rig = Rig::new().await;
    let url = rig.url().await;
    let install = ["agent", "install", "root@localhost", "--control", &url];
    let first = rig.done(&install);
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"), "{first}");
    assert!(first["changed"].as_array().is_some_and(|changed| changed.iter().any(|one| one == "it was enrolled as edge")), "{first}");
    let (_, agents) = rig.control().get("/api/v1/agents").await;
    assert_eq!((&agents["agents"][0]["name"], &agents["agents"][0]["state"]), (&"edge".into(), &"online".into()), "{agents}");
    let before = rig.on_host_now();
    assert!(before.contains(" 640 ") && before.contains("/agent-identity "), "{before}");
    let again = rig.done(&install);
    assert_eq!((&again["changed"], rig.on_host_now()), (&serde_json::json!([]), before));
    let gone = rig.done(&["agent", "uninstall", "edge"]);
    assert!(gone["changed"].as_array().is_some_and(|changed| changed.iter().any(|one| one == "its keys were revoked")), "{gone}");
    assert_eq!(rig.on_host("ls /usr/local/bin/tagalong 2>/dev/null; pgrep -f 'agent --apart' || true"), "");
    assert_eq!(rig.control().get("/api/v1/agents").await.1["agents"][0]["state"], "revoked");
    // What it knew stays there, and it is enrolled anew.
    let back = rig.done(&install);
    assert_eq!(back["version"], env!("CARGO_PKG_VERSION"), "{back}");
}
