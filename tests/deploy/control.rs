//! A control plane over the tagalong of a world, which is its agent then: over the standard streams of a program, as by ssh, or over a
//! WebSocket that the agent dials.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::Server;
use crate::support::host;
use crate::support::until_some;

/// How orders come to the host of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// They are given to its own server.
    Nothing,
    /// By a control plane that starts `tagalong agent --stdio` there, as it believes by ssh.
    Stdio,
    /// By a control plane that the host dials.
    Dialled,
}

/// A control plane; it goes with this value.
pub(crate) struct Control {
    dir: tempfile::TempDir,
    pub(crate) server: Server,
}

/// Writes the configuration of a control plane that reaches the host with the configuration `agent` by a stand-in for ssh: the line passes
/// through `wire.py`. While the file `down` is there, the host is not reached.
pub(crate) fn write_stdio(dir: &Path, agent: &Path, more: &str) {
    for folder in ["wire", "met", "bin"] {
        std::fs::create_dir(dir.join(folder)).expect("a folder");
    }
    let script = format!(
        "#!/bin/sh\n[ -e {dir}/down ] && {{ echo 'No route to host' >&2; exit 255; }}\nenv > {dir}/ssh.env\necho $$ > {dir}/ssh.pid.new\nmv {dir}/ssh.pid.new {dir}/ssh.pid\n\
         exec {wire} {dir} {tagalong} agent --stdio --config {agent}\n",
        dir = dir.display(),
        wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy/wire.py").display(),
        tagalong = env!("CARGO_BIN_EXE_tagalong"),
        agent = agent.display(),
    );
    let ssh = dir.join("bin/ssh");
    std::fs::write(&ssh, script).expect("a file");
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let text = format!(
        "version = 1\n[server]\nlisten = []\nsocket = \"s\"\ndata_dir = \"data\"\nlog_level = \"info\"\n[docker]\nprogram = \"/bin/false\"\npath = \"{}:/usr/bin:/bin\"\n\
         [host.micro]\naddress = \"root@127.0.0.1\"\nhost_key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx\"\n{more}",
        dir.join("bin").display()
    );
    std::fs::write(dir.join("tagalong.toml"), text).expect("a file");
}

/// Runs a command of tagalong and gives what it wrote.
pub(crate) fn tagalong(args: &[&str], config: &Path) -> String {
    host(env!("CARGO_BIN_EXE_tagalong"), &[args, &["--config", &config.display().to_string()]].concat())
}

impl Control {
    /// One that reaches the host by itself.
    pub(crate) async fn stdio(agent: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("tagalong-").tempdir().expect("a folder");
        write_stdio(dir.path(), agent, "");
        let server = Server::start(dir.path()).await;
        Self { dir, server }
    }

    /// One at which the host with the configuration `agent` is enrolled as micro; it dials when it is started the next time.
    pub(crate) async fn dialled(agent: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("tagalong-").tempdir().expect("a folder");
        let config = dir.path().join("tagalong.toml");
        let text =
            "version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\nsocket = \"s\"\ndata_dir = \"data\"\n[service.web]\nhosts = [\"micro\"]\n";
        std::fs::write(&config, text).expect("a file");
        let server = Server::start(dir.path()).await;
        let address = || Some(server.log().split_once("addresses=[")?.1.split_once(']')?.0.to_owned());
        let url = format!("http://{}", until_some("its address", address).await);
        let code = dir.path().join("code");
        std::fs::write(&code, tagalong(&["agent", "token", "micro"], &config)).expect("a file");
        tagalong(&["agent", "enrol", "--url", &url, "--code-file", &code.display().to_string()], agent);
        let own = std::fs::read_to_string(agent).expect("a file");
        std::fs::write(agent, format!("{own}[agent]\nname = \"micro\"\nurl = \"{url}\"\n")).expect("a file");
        Self { dir, server }
    }

    /// The host is not reached by a new line until [`Control::reaches_the_host`]: `agent --stdio` starts a server where none runs, and that
    /// would have the data folder when the test's own is started again.
    pub(crate) fn leaves_the_host(&self) {
        std::fs::write(self.dir.path().join("down"), "").expect("a file");
    }

    pub(crate) fn reaches_the_host(&self) {
        let _ = std::fs::remove_file(self.dir.path().join("down"));
    }

    /// Waits until it sees the service through its agent.
    pub(crate) async fn sees_the_host(&self) {
        for _ in 0..1200 {
            let (status, service) = self.server.get("/api/v1/services/web").await;
            if status == 200 && service["blocked"].is_null() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("the agent does not come: {}", self.server.log());
    }
}
