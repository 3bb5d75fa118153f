//! OpenSSH servers of the tests' own.

use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use tokio::net::TcpSocket;

/// A server on loopback that takes the keys of the file `authorized` for the user that runs this; it goes with this value, and everything
/// that was started over it.
pub(crate) struct Sshd {
    child: Child,
    pub(crate) port: u16,
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

impl Sshd {
    /// A server whose folder is `dir` and whose host key is the file `key` in it. It takes connections soon, not at once.
    pub(crate) fn start(dir: &Path, key: &str) -> Self {
        Self::start_by(dir, key, |config| {
            let mut command = Command::new("/usr/sbin/sshd");
            command.args(["-D", "-e", "-f", config]);
            command
        })
    }

    /// The same by a command that is given the file of the server's configuration.
    pub(crate) fn start_by(dir: &Path, key: &str, command: impl FnOnce(&str) -> Command) -> Self {
        // Where it ends processes that have no user yet; nothing else makes the folder where no init runs.
        let _ = std::fs::create_dir_all("/run/sshd");
        let path = |file: &str| dir.join(file).display().to_string();
        let (kept, port) = kept_port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nLogLevel ERROR\n",
            path(key),
            path("authorized"),
        );
        let file = path(&format!("{key}.conf"));
        std::fs::write(&file, config).expect("a file");
        let child = command(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self { child: child.expect("sshd: install openssh-server (tests/rig/install.sh tests)"), port, _kept: kept }
    }

    pub(crate) fn takes_connections(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed()).expect("the number of a process")
    }
}

/// A key, in `file` and `file.pub`.
pub(crate) fn keygen(file: &Path, passphrase: &str) {
    let args = ["-q", "-t", "ed25519", "-N", passphrase, "-f"];
    assert!(Command::new("ssh-keygen").args(args).arg(file).status().expect("it runs").success());
}

/// A port of loopback for a server that says, as sshd does, that it may be bound to although it was in use: nobody else is given it as long
/// as the socket is there, which listens to nobody.
fn kept_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let port = socket.local_addr().expect("an address").port();
    (socket, port)
}
