//! A host over ssh: what is asked and done there before tagalong runs there, and how tagalong is asked there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Seek as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use process::Cancel;
use process::Captured;
use process::Ended;
use rustix::fs::MemfdFlags;

use crate::cli::agent::binary::Binary;
use crate::cli::agent::plan::Standing;
use crate::config::Host;
use crate::model::AgentName;
use crate::ssh;
use crate::ssh::Ssh;
use crate::ssh::Taken;

/// Where tagalong is put, and where it lies until it takes the place of the one before.
pub(super) const PROGRAM: &str = "/usr/local/bin/tagalong";
pub(super) const NEW_PROGRAM: &str = "/usr/local/bin/.tagalong.new";
/// Where a package puts it.
pub(super) const PACKAGED_PROGRAM: &str = "/usr/bin/tagalong";
/// How long a question may take.
const ASK: Duration = Duration::from_mins(1);
/// How long may be copied on a slow line.
const COPY: Duration = Duration::from_mins(30);

/// What a host is. Each line is a name and a value.
const FACTS: &str = "echo system=$(uname -sm); echo uid=$(id -u); \
    if [ $(id -u) = 0 ]; then as=; elif sudo -n true 2>/dev/null; then as=\"sudo -n\"; echo sudo=yes; else as=; fi; \
    echo free_kib=$(df -Pk /usr/local 2>/dev/null | tail -n 1 | tr -s \" \" | cut -d \" \" -f 4); \
    echo docker=$($as docker version --format \"{{.Server.Version}}\" 2>/dev/null | head -n 1); \
    echo compose=$(docker compose version --short 2>/dev/null | head -n 1); \
    echo installed=$($as sha256sum /usr/local/bin/tagalong 2>/dev/null | cut -d \" \" -f 1); \
    [ -x /usr/bin/tagalong ] && echo packaged=yes; true";

/// Standard input becomes the new binary, whose checksum is printed.
const COPY_THERE: &str = "umask 077 && mkdir -p /usr/local/bin && cat > /usr/local/bin/.tagalong.new && chmod 755 /usr/local/bin/.tagalong.new && \
    sync /usr/local/bin/.tagalong.new && sha256sum /usr/local/bin/.tagalong.new";

/// What a host is.
#[derive(Debug)]
pub(super) struct Facts {
    /// Like `x86_64`.
    pub(super) architecture: String,
    pub(super) uid: u32,
    /// The checksum of the binary that is there.
    pub(super) installed: Option<String>,
    /// Whether a package has brought tagalong there.
    pub(super) is_packaged: bool,
    free_kib: u64,
    docker: Option<String>,
    compose: Option<String>,
}

/// What a doctor has found.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Finding {
    pub(super) check: String,
    pub(super) ok: bool,
    pub(super) detail: String,
}

/// A host over ssh.
pub(super) struct Remote {
    pub(super) name: AgentName,
    pub(super) host: Host,
    ssh: Ssh,
    /// What a command begins with that root has to carry out.
    as_root: &'static str,
}

impl Remote {
    /// The host, to which nothing was sent yet.
    ///
    /// # Errors
    /// When the files for ssh cannot be written.
    pub(super) fn new(name: AgentName, host: Host) -> anyhow::Result<Self> {
        let place = std::env::temp_dir();
        let ssh = Ssh::new(&host, &place, own_environment(), Arc::default());
        let ssh = ssh.with_context(|| format!("The files for ssh could not be written to {}", place.display()))?;
        Ok(Self { name, host, ssh, as_root: "" })
    }

    /// `USER@HOST`.
    pub(super) fn address(&self) -> String {
        format!("{}@{}", self.host.to.user, self.host.to.host)
    }

    /// The host keys that count.
    pub(super) fn taken(&self) -> anyhow::Result<Taken> {
        self.ssh.taken().context("What ssh has written cannot be read")
    }

    /// What the host is. From now on commands are carried out there as root.
    ///
    /// # Errors
    /// When it cannot be reached, or this user may not act as root there.
    pub(super) async fn facts(&mut self) -> anyhow::Result<Facts> {
        let out = self.sh(FACTS, None, ASK).await?;
        let value = |name: &str| {
            let value = out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::trim);
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let system = value("system").unwrap_or_default();
        let Some(("Linux", architecture)) = system.split_once(' ') else {
            anyhow::bail!("{} is not a Linux host: `uname -sm` says \"{}\".", self.address(), system.escape_default());
        };
        let uid: u32 = value("uid").and_then(|uid| uid.parse().ok()).unwrap_or(u32::MAX);
        if uid != 0 {
            anyhow::ensure!(
                value("sudo").is_some(),
                "{} is not root and may not use sudo without being asked for a password: connect as root, or allow that.",
                self.address()
            );
            self.as_root = "sudo -n ";
        }
        Ok(Facts {
            architecture: architecture.to_owned(),
            uid,
            installed: value("installed"),
            is_packaged: value("packaged").is_some(),
            free_kib: value("free_kib").and_then(|free| free.parse().ok()).unwrap_or_default(),
            docker: value("docker"),
            compose: value("compose"),
        })
    }

    /// Copies a binary beside the one that is there. It is whole when this returns.
    ///
    /// # Errors
    /// When it does not come through.
    pub(super) async fn copy(&self, binary: &Binary) -> anyhow::Result<()> {
        let file = File::open(&binary.path).with_context(|| format!("The binary {} cannot be read", binary.path.display()))?;
        let said = self.sh(COPY_THERE, Some(file), COPY).await?;
        let arrived = said.split_whitespace().next().unwrap_or_default();
        anyhow::ensure!(arrived == binary.sha256, "The binary did not arrive whole on {}; nothing was changed. Try again.", self.name);
        Ok(())
    }

    /// What tagalong at `program` on the host says to `words`, each of which is plain; it reads `input`.
    ///
    /// # Errors
    /// What it says when it does not end well.
    pub(super) async fn tagalong(&self, program: &str, words: &[&str], input: Option<&[u8]>) -> anyhow::Result<String> {
        self.answer(self.run(program, words, input).await?)
    }

    /// The same for commands whose exit code 1 is an answer.
    ///
    /// # Errors
    /// What it says when it gives no answer.
    pub(super) async fn answered(&self, program: &str, words: &[&str]) -> anyhow::Result<String> {
        let asked = self.run(program, words, None).await?;
        if asked.ended != Ended::Exit(1) || asked.out.trim().is_empty() {
            return self.answer(asked);
        }
        let said: serde_json::Value = serde_json::from_str(&asked.out).unwrap_or_default();
        let why = said.get("error").or_else(|| said.get("detail")).and_then(serde_json::Value::as_str);
        why.map_or(Ok(asked.out), |why| Err(anyhow::anyhow!("On {}: {why}", self.address())))
    }

    /// What the doctor of the host finds, as the user that the server runs as.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) async fn doctor(&self, program: &str) -> anyhow::Result<Vec<Finding>> {
        let asked = self.answered(program, &["--json", "agent", "host", "doctor"]).await?;
        serde_json::from_str(&asked).with_context(|| format!("The doctor on {} gave no list", self.address()))
    }

    async fn run(&self, program: &str, words: &[&str], input: Option<&[u8]>) -> anyhow::Result<Captured> {
        let input = input.map(in_memory).transpose().context("What is sent could not be kept in memory")?;
        let config = self.host.config.as_deref().unwrap_or(crate::cli::global::DEFAULT_CONFIG);
        let root = self.as_root.split_whitespace();
        let all = root.chain([program, "--config", config]).chain(words.iter().copied());
        Ok(self.captured(all, input, Duration::from_mins(10)).await)
    }

    async fn captured<'w>(&self, words: impl Iterator<Item = &'w str>, input: Option<File>, deadline: Duration) -> Captured {
        let command = self.ssh.command(words, deadline);
        match input {
            Some(input) => process::capture_from(&command, input, &Cancel::default()).await,
            None => process::capture(&command, &Cancel::default()).await,
        }
    }

    /// What the tagalong on the host answers when it is asked to do `act` with `input`.
    ///
    /// # Errors
    /// When it does not do it, or answers otherwise than this version does.
    pub(super) async fn asked<A: serde::de::DeserializeOwned>(&self, program: &str, act: &str, input: Option<&[u8]>) -> anyhow::Result<A> {
        let said = self.tagalong(program, &["agent", "host", act], input).await?;
        serde_json::from_str(said.trim()).with_context(|| format!("tagalong on {} is of another version; upgrade it there", self.address()))
    }

    /// From now on it has the name that it is enrolled by, if it is.
    ///
    /// # Errors
    /// When the tagalong that is there does not answer.
    pub(super) async fn take_enrolled_name(&mut self) -> anyhow::Result<()> {
        let standing: Standing = self.asked(PROGRAM, "look", None).await?;
        if let Some(name) = standing.enrolled {
            self.name = name;
        }
        Ok(())
    }

    /// What was copied and did not come into its place is gone.
    pub(super) async fn clear(&self) {
        // Whoever copies again writes over it.
        let _ = self.sh("rm -f /usr/local/bin/.tagalong.new", None, ASK).await;
    }

    /// What a script says. It has no single quotes.
    async fn sh(&self, script: &str, input: Option<File>, deadline: Duration) -> anyhow::Result<String> {
        let script = format!("'{script}'");
        let words = self.as_root.split_whitespace().chain(["sh", "-c", &script]);
        self.answer(self.captured(words, input, deadline).await)
    }

    fn answer(&self, asked: Captured) -> anyhow::Result<String> {
        let address = self.address();
        match asked.ended {
            Ended::Exit(0) => Ok(asked.out),
            // What ssh itself ends with.
            Ended::Exit(255) => {
                let said: Vec<String> = asked.err.split("; ").map(str::to_owned).collect();
                let why = ssh::why_not(self.name.as_str(), &self.host, &said);
                let last = || format!("{address} cannot be reached: {}", said.last().map_or("ssh does not say why", String::as_str).trim());
                anyhow::bail!("{}.", why.unwrap_or_else(last).trim_end_matches('.'))
            }
            Ended::Exit(_) => {
                let said = asked.err.rsplit("error: ").next().unwrap_or_default().trim();
                anyhow::bail!("On {address}: {}", if said.is_empty() { "the command failed without a word." } else { said })
            }
            ended => anyhow::bail!("The command on {address} {ended}."),
        }
    }
}

impl Facts {
    /// Whether a stack can be brought up there, and `binary` has room.
    ///
    /// # Errors
    /// One sentence that names what is missing.
    pub(super) fn suffice(&self, host: &str, binary: &Binary) -> anyhow::Result<()> {
        const SPARE_KIB: u64 = 64 << 10;
        binary.fits(host, &self.architecture)?;
        let wanted_kib = binary.size_bytes / 1024 * 2 + SPARE_KIB;
        anyhow::ensure!(
            self.free_kib >= wanted_kib,
            "{host} has {} MiB left below /usr/local, and {} MiB are needed: make room there.",
            self.free_kib / 1024,
            wanted_kib / 1024
        );
        anyhow::ensure!(self.docker.is_some(), "Docker does not answer on {host}: install it there and start it.");
        anyhow::ensure!(
            self.compose.as_ref().is_some_and(|version| !version.trim_start_matches('v').starts_with("1.")),
            "`docker compose` is missing on {host}: install the compose plugin (version 2) there."
        );
        Ok(())
    }
}

/// A file that is in no file system, with these bytes to read.
fn in_memory(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("tagalong", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// ssh finds its keys, and the agent that has them, as it does for the person who runs this.
#[allow(clippy::disallowed_methods, reason = "what ssh finds by itself is this person's, not the configuration's")]
fn own_environment() -> BTreeMap<String, String> {
    let wanted = ["PATH", "HOME", "USER", "SSH_AUTH_SOCK"];
    wanted.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect()
}
