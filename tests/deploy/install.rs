//! Hosts that are made agents over ssh: a real OpenSSH server in a namespace of its own, whose `/etc`, `/usr/local` and `/var/lib` nobody
//! else sees, behind another one as the host in between.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use serde_json::Value;

use crate::sshd::Sshd;
use crate::sshd::keygen;
use crate::support::Server;
use crate::support::until;
use crate::support::until_some;

/// What becomes process 1 of the host: its folders are laid over those of this machine, and go with it.
const HOST: &str = "set -e; own=$1; mount -t tmpfs tmpfs $own; for dir in /etc /usr/local /var/lib; do \
    mkdir -p $own$dir/upper $own$dir/work; mount -t overlay overlay -o lowerdir=$dir,upperdir=$own$dir/upper,workdir=$own$dir/work $dir; done; \
    /usr/sbin/sshd -D -e -f $2 & wait";

/// A control plane, a host and a host in between.
struct Rig {
    dir: tempfile::TempDir,
    control: Option<Server>,
    host: Sshd,
    bastion: Sshd,
}

/// A server in a namespace of its own.
fn host_of(dir: &Path) -> Sshd {
    Sshd::start_by(dir, "host", |config| {
        let own = dir.join("own");
        std::fs::create_dir(&own).expect("a folder");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sh", "-c", HOST, "sh"]);
        command.arg(own).arg(config);
        command
    })
}

impl Rig {
    async fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("tagalong-").tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        for name in ["host", "bastion", "other", "key"] {
            keygen(&path(name), "");
        }
        keygen(&path("locked"), "a passphrase");
        // What a debugger needs would only be copied.
        let stripped = path("tagalong");
        assert!(Command::new("strip").arg("-o").arg(&stripped).arg(env!("CARGO_BIN_EXE_tagalong")).status().expect("strip").success());
        let public = |name: &str| std::fs::read_to_string(path(&format!("{name}.pub"))).expect("a key");
        std::fs::write(path("authorized"), public("key") + &public("locked")).expect("a file");
        let host = host_of(dir.path());
        let bastion = Sshd::start(dir.path(), "bastion");
        let mut rig = Self { dir, control: None, host, bastion };
        rig.configure(&rig.key_of("host"), &rig.key_of("bastion"), "key");
        rig.start_control().await;
        until("sshd takes connections", || rig.host.takes_connections() && rig.bastion.takes_connections()).await;
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

    /// Waits until the host's line is open: only then an upgrade waits for it to be open again.
    async fn is_online(&self) {
        for _ in 0..600 {
            if self.control().get("/api/v1/agents").await.1["agents"][0]["state"] == "online" {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        panic!("the host does not come: {}", self.control().log());
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

    /// The same, after the keys that were trusted.
    fn refused_last(&self, args: &[&str]) -> String {
        let ran = self.tagalong(args);
        assert_eq!(ran.status.code(), Some(1), "{args:?}: {}", String::from_utf8_lossy(&ran.stdout));
        String::from_utf8_lossy(&ran.stderr).lines().last().unwrap_or_default().to_owned()
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
        self.on_host("stat --format '%n %i %Y %a %U' /usr/local/bin/tagalong /etc/tagalong/* /var/lib/tagalong/agent-identity; pgrep -f '[a]gent --apart'; ls -A /usr/local/bin | grep '^.tagalong' || true")
    }
}

#[tokio::test]
async fn a_host_behind_another_becomes_an_agent_once() {
    let rig = Rig::new().await;
    let url = rig.url().await;
    let binary = rig.path("tagalong").display().to_string();
    let install = ["agent", "install", "root@localhost", "--control", &url, "--binary", &binary];
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
    assert_eq!(rig.on_host("ls /usr/local/bin/tagalong 2>/dev/null; pgrep -f '[a]gent --apart' || true"), "");
    assert_eq!(rig.control().get("/api/v1/agents").await.1["agents"][0]["state"], "revoked");
    // What it knew stays there, and it is enrolled anew.
    let back = rig.done(&install);
    assert_eq!(back["version"], env!("CARGO_PKG_VERSION"), "{back}");
}

#[tokio::test]
async fn a_host_that_is_dialled_gets_tagalong_and_an_unknown_key_is_printed() {
    let mut rig = Rig::new().await;
    let file = rig.path("tagalong.toml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text.replace("dial = false\n", "program = \"/usr/local/bin/tagalong\"\n")).expect("a file");
    rig.control.take().expect("it runs").stop();
    rig.start_control().await;
    let binary = rig.path("tagalong").display().to_string();
    let first = rig.done(&["agent", "install", "edge", "--binary", &binary]);
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"), "{first}");
    let (_, agents) = rig.control().get("/api/v1/agents").await;
    assert_eq!((&agents["hosts"][0]["state"], &agents["agents"]), (&"online".into(), &serde_json::json!([])), "{agents}");
    // Nobody has enrolled it, and no unit or other user is there.
    assert_eq!(
        rig.on_host("ls /etc/systemd/system/tagalong.service /var/lib/tagalong/agent-identity 2>/dev/null; pgrep -fc '[a]gent --apart'"),
        "1"
    );
    let (port, key) = (rig.host.port.to_string(), rig.path("key").display().to_string());
    let unknown = ["agent", "upgrade", "root@127.0.0.1", "--port", &port, "--identity", &key, "--binary", &binary];
    assert!(rig.refused(&unknown).contains("or trust the first key that is shown with --accept-new"));
    let taken = rig.tagalong(&[&unknown[..], &["--accept-new"]].concat());
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    let line = format!("host_key = \"{}\"", rig.key_of("host").rsplit_once(' ').expect("a comment").0);
    assert!(taken.status.success() && said.contains(&line) && said.contains("dial = false"), "{line}: {said}");
}

#[tokio::test]
async fn a_host_does_not_say_which_agent_is_revoked() {
    let rig = Rig::new().await;
    let binary = rig.path("tagalong").display().to_string();
    rig.done(&["agent", "install", "edge", "--control", &rig.url().await, "--binary", &binary]);
    // By this address it is no host of the configuration, and what stands there says what it likes.
    let says = "{\"enrolled\":\"edge\",\"configured\":null,\"is_running\":true,\"changed\":[]}";
    rig.on_host(&format!(
        "cd /usr/local/bin && mv tagalong real && printf '#!/bin/sh\necho '\\''{says}'\\' > tagalong && chmod 755 tagalong"
    ));
    let (port, key) = (rig.host.port.to_string(), rig.path("key").display().to_string());
    let refused = rig.refused_last(&["agent", "uninstall", "root@127.0.0.1", "--port", &port, "--identity", &key, "--accept-new"]);
    assert!(refused.contains("says that it is enrolled as the agent edge") && refused.contains("--name"), "{refused}");
    assert_ne!(rig.control().get("/api/v1/agents").await.1["agents"][0]["state"], "revoked");
}

#[tokio::test]
async fn what_cannot_be_installed_is_said_in_one_sentence() {
    let rig = Rig::new().await;
    let install = ["agent", "install", "edge", "--control", "http://127.0.0.1:9"];
    let (host, bastion) = (rig.key_of("host"), rig.key_of("bastion"));
    let unknown = rig.refused(&["agent", "install", "root@other.example.com", "--control", "http://127.0.0.1:9"]);
    assert!(unknown.contains("has no host key of root@other.example.com, so nothing was sent there"), "{unknown}");
    rig.configure(&rig.key_of("other"), &bastion, "key");
    let changed = rig.refused(&install);
    assert!(changed.starts_with("root@localhost shows another host key than host.edge.host_key says"), "{changed}");
    rig.configure(&host, &rig.key_of("other"), "key");
    let changed = rig.refused(&install);
    assert!(changed.starts_with("root@127.0.0.1 shows another host key than host.edge.jump.host_key says"), "{changed}");
    rig.configure(&host, &bastion, "locked");
    let locked = rig.refused(&install);
    assert!(locked.contains("/locked has a passphrase and there is nobody to ask for it"), "{locked}");
    rig.configure(&host, &bastion, "other");
    let stranger = rig.refused(&install);
    assert!(stranger.contains("does not accept the key") && stranger.contains("authorized_keys"), "{stranger}");
    rig.configure(&host, &bastion, "key");
    let mut binary = std::fs::read("/bin/true").expect("a program");
    binary[18] = if binary[18] == 62 { 183 } else { 62 };
    let other = rig.path("other-machine");
    std::fs::write(&other, &binary).expect("a file");
    let why = rig.refused(&[&install[..], &["--binary", &other.display().to_string()]].concat());
    assert!(why.starts_with("edge is ") && why.contains("name a binary for "), "{why}");
    let clear = rig.refused(&["agent", "install", "edge", "--control", "http://control.example.com"]);
    assert!(clear.contains("uses plain http"), "{clear}");
    // Another host has the name.
    let code = rig.done(&["agent", "token", "edge"])["code"].as_str().expect("a code").to_owned();
    std::fs::write(rig.path("code"), code).expect("a file");
    let text = "version = 1\n[server]\nlisten = []\nsocket = \"s2\"\ndata_dir = \"data2\"\n";
    std::fs::write(rig.path("second.toml"), text).expect("a file");
    let mut enrol = Command::new(env!("CARGO_BIN_EXE_tagalong"));
    enrol.args(["agent", "enrol", "--url", &rig.url().await, "--code-file"]).arg(rig.path("code"));
    assert!(enrol.arg("--config").arg(rig.path("second.toml")).output().expect("it runs").status.success());
    let taken = rig.refused(&install);
    assert!(taken.starts_with("The agent edge is another host already; give this one another name"), "{taken}");
    let left = rig.on_host("ls -A /usr/local/bin | grep tagalong; ls -d /etc/tagalong /var/lib/tagalong 2>/dev/null || true");
    assert_eq!(left, "", "something is left on the host");
}

/// A program that is like tagalong in everything but that it ends at once when it is to serve.
const CRASHES: &str = "#include <string.h>\n#include <unistd.h>\nint main(int n, char **v) { for (int i = 1; i < n; i++) if (!strcmp(v[i], \"--apart\")) return 3; \
    execv(REAL, v); return 4; }\n";

#[tokio::test]
async fn an_upgrade_that_does_not_hold_is_taken_back() {
    let mut rig = Rig::new().await;
    let url = rig.url().await;
    let own = rig.path("tagalong").display().to_string();
    rig.done(&["agent", "install", "edge", "--control", &url, "--binary", &own]);
    let before = rig.on_host_now();
    let whole = std::fs::read(&own).expect("a binary");
    let binary = |name: &str, bytes: &[u8]| {
        std::fs::write(rig.path(name), bytes).expect("a file");
        std::fs::set_permissions(rig.path(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
        rig.path(name).display().to_string()
    };
    let same = rig.tagalong(&["agent", "upgrade", "edge", "--binary", &own]);
    assert!(String::from_utf8_lossy(&same.stdout).contains("has this very binary; nothing was changed"));
    let truncated = rig.refused(&["agent", "upgrade", "edge", "--binary", &binary("truncated", &whole[..whole.len() / 2])]);
    assert!(truncated.contains("is truncated"), "{truncated}");
    let no_tagalong = rig.refused(&["agent", "upgrade", "edge", "--binary", "/bin/true"]);
    assert!(no_tagalong.contains("The new binary does not run here; nothing was changed"), "{no_tagalong}");
    // It accepts the configuration, reads the store, and ends when it is to serve.
    std::fs::write(rig.path("crashes.c"), CRASHES).expect("a file");
    let real = format!("-DREAL=\"{}\"", env!("CARGO_BIN_EXE_tagalong"));
    let made = Command::new("cc").arg(&real).arg("-o").arg(rig.path("crashes")).arg(rig.path("crashes.c")).status().expect("cc");
    assert!(made.success());
    let ran = rig.tagalong(&["agent", "upgrade", "edge", "--json", "--binary", &rig.path("crashes").display().to_string()]);
    let kept: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    assert_eq!((ran.status.code(), &kept["upgrade"]["outcome"]), (Some(1), &"kept".into()), "{kept}");
    assert_eq!(rig.on_host("sha256sum < /usr/local/bin/tagalong"), rig.on_host(&format!("sha256sum < {own}")));
    assert_ne!(rig.on_host_now(), before, "the server was restarted");
    rig.is_online().await;
    // The same version, in another binary; then another one while the control plane is away.
    let second = binary("second", &[&whole[..], b"second"].concat());
    let upgraded = rig.done(&["agent", "upgrade", "edge", "--binary", &second]);
    assert_eq!((&upgraded["hello"], &upgraded["upgrade"]["line"]), (&env!("CARGO_PKG_VERSION").into(), &"open".into()), "{upgraded}");
    let third = binary("third", &[&whole[..], b"third"].concat());
    rig.control.take().expect("it runs").kill();
    let there: Value = serde_json::from_str(&rig.on_host(&format!("tagalong --json agent upgrade --binary {third}"))).expect("JSON");
    assert_eq!((&there["outcome"], &there["line"]), (&"upgraded".into(), &"down".into()), "{there}");
    assert_eq!(rig.on_host("sha256sum < /usr/local/bin/tagalong"), rig.on_host(&format!("sha256sum < {third}")));
    assert_eq!(rig.on_host("ls -A /usr/local/bin | grep ^.tagalong || true"), "");
}
