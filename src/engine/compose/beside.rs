//! Containers beside the one that this process runs in, for a tagalong that deploys its own stack: with the same volumes, networks,
//! user and rights, and without the labels by which compose and a proxy would take them for a part of the stack.

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use process::Cancel;
use process::Passing;
use process::Stream;
use serde_json::Value;

use crate::engine::compose::fields::at;
use crate::engine::compose::fields::items;
use crate::engine::compose::fields::json;
use crate::engine::compose::fields::members;
use crate::engine::compose::fields::text;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::QUESTION;
use crate::engine::error::EngineError;

/// The label that says which service of the stack a container stands beside.
const OF: &str = "tagalong.of";
/// The label that says for which deployment.
const FOR: &str = "tagalong.for";

/// The container that this process runs in.
#[derive(Debug, Clone)]
pub struct Own {
    /// Its id, 64 hex digits.
    pub id: String,
    /// The id of its image.
    pub image_id: String,
    /// The service of the compose file that it belongs to, or stands beside.
    pub service: String,
    /// The variables of its environment that its image does not set, as `NAME=value`.
    env: Vec<String>,
    inspected: Value,
}

/// What a container beside this one is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BesideKind {
    /// It works as this one does, and is started again whenever it ends, until it is removed.
    Carries,
    /// It only tries something: it can change none of the volumes, and is not started again.
    Tries,
}

/// A container beside this one.
#[derive(Debug, Clone)]
pub struct Beside {
    /// Its name; one of that name is replaced.
    pub name: String,
    /// Its image, which is on this host.
    pub image: String,
    /// For which deployment.
    pub deployment: String,
    /// What it is for.
    pub kind: BesideKind,
    /// The program that it runs; none: that of the image.
    pub program: Option<String>,
    /// The arguments.
    pub args: Vec<String>,
}

impl Compose {
    /// The container that this process runs in; none: it runs in none of this daemon's, or in one that does not belong to this stack.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub async fn own(&self, cancel: &Cancel) -> Result<Option<Own>, EngineError> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let Some(id) = own_id(&mounts) else { return Ok(None) };
        let Some(inspected) = self.inspected("container", id, cancel).await? else { return Ok(None) };
        let Some(service) = self.stands_for(&inspected) else { return Ok(None) };
        let image_id = text(&inspected, &["Image"]).to_owned();
        let image = self.inspected("image", &image_id, cancel).await?.unwrap_or_default();
        let set: Vec<&Value> = items(&image, &["Config", "Env"]).collect();
        let env = items(&inspected, &["Config", "Env"]).filter(|one| !set.contains(one)).filter_map(Value::as_str);
        let env = env.map(str::to_owned).collect();
        Ok(Some(Own { id: id.to_owned(), image_id, service, env, inspected }))
    }

    /// The service of this stack that a container belongs to or stands beside.
    fn stands_for(&self, inspected: &Value) -> Option<String> {
        let label = |name: &str| at(inspected, &["Config", "Labels", name]).and_then(Value::as_str);
        let is_of_the_stack = label("com.docker.compose.project") == Some(self.stack.project.as_str());
        let service = label("com.docker.compose.service").filter(|_| is_of_the_stack);
        service.or_else(|| label(OF)?.strip_prefix(&format!("{}/", self.stack.project))).map(str::to_owned)
    }

    /// What `docker inspect` says; none: there is no such thing.
    async fn inspected(&self, kind: &str, name: &str, cancel: &Cancel) -> Result<Option<Value>, EngineError> {
        let command = self.docker_command(["inspect", "--type", kind, name], QUESTION);
        match self.ask(&command, "docker inspect", cancel).await {
            Ok(said) => Ok(json(&said)?.get_mut(0).map(Value::take)),
            Err(EngineError::Failed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The id of the image of the container called `name`; none: there is no such container.
    ///
    /// # Errors
    /// When Docker does not answer.
    pub async fn image_beside(&self, name: &str, cancel: &Cancel) -> Result<Option<String>, EngineError> {
        Ok(self.inspected("container", name, cancel).await?.map(|one| text(&one, &["Image"]).to_owned()))
    }

    /// Afterwards `beside` runs; what bore its name is gone. `passing` is a folder for what is needed only for a moment.
    ///
    /// # Errors
    /// When it cannot be made or started: Docker's words.
    pub async fn start_beside(&self, own: &Own, beside: &Beside, passing: &Path, cancel: &Cancel) -> Result<(), EngineError> {
        self.make_beside(own, beside, passing, cancel).await?;
        self.ask(&self.docker_command(["start", &beside.name], QUESTION), "docker start", cancel).await.map(drop)
    }

    /// Runs `beside` to its end, at most as long as `limit`, giving on each line that it writes. Afterwards it is gone.
    ///
    /// # Errors
    /// When it cannot be made, does not end in time, or ends badly: its last words.
    pub async fn run_beside(
        &self,
        own: &Own,
        beside: &Beside,
        (passing, limit): (&Path, Duration),
        cancel: &Cancel,
        each: impl FnMut(Stream, String),
    ) -> Result<(), EngineError> {
        self.make_beside(own, beside, passing, cancel).await?;
        let command = self.docker_command(["start", "--attach", &beside.name], limit);
        let ended = self.carry_out_once(&command, "the trial", cancel, each).await;
        // What ends the waiting must not keep the container.
        let removed = self.remove_beside(&beside.name, &Cancel::default()).await;
        ended.and(removed)
    }

    /// Afterwards there is no container called `name`.
    ///
    /// # Errors
    /// When Docker does not remove it.
    pub async fn remove_beside(&self, name: &str, cancel: &Cancel) -> Result<(), EngineError> {
        self.ask(&self.docker_command(["rm", "--force", "--volumes", name], QUESTION), "docker rm", cancel).await.map(drop)
    }

    async fn make_beside(&self, own: &Own, beside: &Beside, passing: &Path, cancel: &Cancel) -> Result<(), EngineError> {
        if self.inspected("container", &beside.name, cancel).await?.is_some() {
            self.remove_beside(&beside.name, cancel).await?;
        }
        // Secrets may stand in the environment: they are handed over in a file that nobody else may read, never as arguments.
        let folder = passing_folder(passing).map_err(|error| EngineError::file("making a folder in", passing, error))?;
        let env_file = folder.path().join("env");
        write_env(&env_file, &own.env).map_err(|error| EngineError::file("writing", &env_file, error))?;
        let of = format!("{}/{}", self.stack.project, own.service);
        let mut create = self.docker_command(creation(own, beside, &of, &env_file.display().to_string()), QUESTION);
        for (name, value) in several_lines(&own.env) {
            if name.starts_with("DOCKER_") || create.env.insert(name.to_owned(), value.to_owned()).is_some() {
                let why = format!("the variable {name} of this container has several lines, and docker itself reads it: give it one line");
                return Err(EngineError::Failed { what: "docker create".to_owned(), why });
            }
        }
        self.ask(&create, "docker create", cancel).await?;
        for network in more_networks(&own.inspected) {
            let connect = self.docker_command(["network", "connect", network, &beside.name], QUESTION);
            self.ask(&connect, "docker network connect", cancel).await?;
        }
        Ok(())
    }
}

fn passing_folder(place: &Path) -> std::io::Result<Passing> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(place)?;
    Passing::within(place)
}

/// A file holds one variable a line.
fn write_env(file: &Path, env: &[String]) -> std::io::Result<()> {
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(file)?;
    env.iter().filter(|one| !one.contains(['\n', '\r'])).try_for_each(|one| writeln!(file, "{one}"))
}

/// The variables that no such file can hold, each with its value: docker takes them from its own environment.
fn several_lines(env: &[String]) -> impl Iterator<Item = (&str, &str)> {
    env.iter().filter(|one| one.contains(['\n', '\r'])).filter_map(|one| one.split_once('='))
}

/// `docker create …`.
fn creation(own: &Own, beside: &Beside, of: &str, env_file: &str) -> Vec<String> {
    let tries = beside.kind == BesideKind::Tries;
    let mut words = vec!["create".to_owned()];
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    option("--name", &beside.name);
    option("--label", &format!("{OF}={of}"));
    option("--label", &format!("{FOR}={}", beside.deployment));
    option("--pull", "never");
    option("--restart", if tries { "no" } else { "unless-stopped" });
    option("--volumes-from", &if tries { format!("{}:ro", own.id) } else { own.id.clone() });
    option("--env-file", env_file);
    for (name, _) in several_lines(&own.env) {
        option("--env", name);
    }
    let host = at(&own.inspected, &["HostConfig"]).unwrap_or(&Value::Null);
    for (name, value) in [
        ("--network", text(host, &["NetworkMode"])),
        ("--pid", text(host, &["PidMode"])),
        ("--ipc", text(host, &["IpcMode"])),
        ("--userns", text(host, &["UsernsMode"])),
        ("--runtime", text(host, &["Runtime"])),
        ("--user", text(&own.inspected, &["Config", "User"])),
        ("--workdir", text(&own.inspected, &["Config", "WorkingDir"])),
        ("--entrypoint", beside.program.as_deref().unwrap_or_default()),
    ] {
        if !value.is_empty() {
            option(name, value);
        }
    }
    for (name, key) in [
        ("--group-add", "GroupAdd"),
        ("--security-opt", "SecurityOpt"),
        ("--cap-drop", "CapDrop"),
        ("--cap-add", "CapAdd"),
        ("--dns", "Dns"),
        ("--add-host", "ExtraHosts"),
    ] {
        items(host, &[key]).filter_map(Value::as_str).for_each(|value| option(name, value));
    }
    // A trial writes into its own layer: what is in memory here may be too small for a copy of the store.
    for (place, options) in members(host, &["Tmpfs"]).filter(|_| !tries) {
        let options = options.as_str().unwrap_or_default();
        option("--tmpfs", &if options.is_empty() { place.to_owned() } else { format!("{place}:{options}") });
    }
    for (name, value) in &bounds(host) {
        option(name, value);
    }
    let is_set = |key: &str| at(host, &[key]).and_then(Value::as_bool) == Some(true);
    words.extend(is_set("Privileged").then(|| "--privileged".to_owned()));
    words.extend((is_set("ReadonlyRootfs") && !tries).then(|| "--read-only".to_owned()));
    words.extend(["--no-healthcheck".to_owned(), beside.image.clone()]);
    words.extend(beside.args.iter().cloned());
    words
}

/// What a container may use of its host, as options of `docker create`.
fn bounds(host: &Value) -> Vec<(&'static str, String)> {
    let mut bounds = Vec::new();
    for (name, key) in [
        ("--memory", "Memory"),
        ("--memory-swap", "MemorySwap"),
        ("--memory-reservation", "MemoryReservation"),
        ("--pids-limit", "PidsLimit"),
        ("--cpu-shares", "CpuShares"),
        ("--cpu-period", "CpuPeriod"),
        ("--cpu-quota", "CpuQuota"),
        ("--shm-size", "ShmSize"),
        ("--oom-score-adj", "OomScoreAdj"),
    ] {
        bounds.extend(at(host, &[key]).and_then(Value::as_i64).filter(|set| *set != 0).map(|set| (name, set.to_string())));
    }
    // Billionths of a processor.
    let processors = at(host, &["NanoCpus"]).and_then(Value::as_u64).filter(|set| *set != 0);
    bounds.extend(processors.map(|set| ("--cpus", format!("{}.{:09}", set / 1_000_000_000, set % 1_000_000_000))));
    for limit in items(host, &["Ulimits"]) {
        let number = |key: &str| at(limit, &[key]).and_then(Value::as_i64).unwrap_or_default();
        bounds.push(("--ulimit", format!("{}={}:{}", text(limit, &["Name"]), number("Soft"), number("Hard"))));
    }
    for device in items(host, &["Devices"]) {
        let part = |key: &str| text(device, &[key]);
        bounds.push(("--device", format!("{}:{}:{}", part("PathOnHost"), part("PathInContainer"), part("CgroupPermissions"))));
    }
    bounds
}

/// The networks of a container besides the one that it was made with.
fn more_networks(inspected: &Value) -> Vec<&str> {
    let first = text(inspected, &["HostConfig", "NetworkMode"]);
    let is_alone = ["host", "none"].contains(&first) || first.starts_with("container:");
    let all = members(inspected, &["NetworkSettings", "Networks"]).map(|(name, _)| name);
    all.filter(|name| !is_alone && *name != first && !(first == "default" && *name == "bridge")).collect()
}

/// The id of the container that a process with these mounts runs in: Docker mounts files of a container's own folder over a few of
/// `/etc`.
fn own_id(mountinfo: &str) -> Option<&str> {
    let is_dockers = |place: &str| ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"].contains(&place);
    mountinfo.lines().find_map(|line| {
        let mut words = line.split(' ').skip(3);
        let root = words.next()?;
        let id = root.split_once("/containers/").filter(|_| words.next().is_some_and(is_dockers))?.1.split('/').next()?;
        (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Beside;
    use super::BesideKind;
    use super::Own;
    use super::creation;
    use super::more_networks;
    use super::own_id;

    const ID: &str = "6c3a9d3a98c4b1f0a2d7c8e9f0123456789abcdef0123456789abcdef0123456";

    #[test]
    fn a_container_knows_itself_by_what_docker_mounts_into_it() {
        let mounts = format!(
            "1 2 0:5 / / rw - overlay overlay rw\n\
             3 2 8:1 /var/lib/docker/containers/{other}/hostname /backup/hostname rw - ext4 /dev/sda rw\n\
             4 2 8:1 /docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda rw\n",
            other = ID.replace('6', "7")
        );
        assert_eq!(own_id(&mounts), Some(ID));
        assert_eq!(own_id("27 1 254:0 / / rw - ext4 /dev/vda rw\n28 27 254:0 /etc/hosts /etc/hosts rw - ext4 /dev/vda rw"), None);
        assert_eq!(own_id(&mounts.replace("/etc/hostname", "/etc/other")), None);
    }

    fn own() -> Own {
        let inspected = json!({
            "Config": {"User": "1000:1000", "WorkingDir": "/var/lib/tagalong"},
            "HostConfig": {
                "NetworkMode": "edge", "GroupAdd": ["998"], "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges:true"],
                "ReadonlyRootfs": true, "Tmpfs": {"/tmp": "", "/run/tagalong": "uid=1000"}, "PidMode": "", "Privileged": false,
                "IpcMode": "private", "Runtime": "runc", "Memory": 268_435_456, "MemorySwap": -1, "PidsLimit": 200, "CpuShares": 0,
                "NanoCpus": 1_500_000_000_u64, "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 2048}], "Devices": [
                    {"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}]
            },
            "NetworkSettings": {"Networks": {"edge": {}, "db": {}}}
        });
        Own {
            id: ID.into(),
            image_id: "sha256:old".into(),
            service: "tagalong".into(),
            env: vec!["TOKEN=geheim".into(), "KEY=geheim\nno less".into()],
            inspected,
        }
    }

    fn created(kind: BesideKind) -> String {
        let args = ["prove", "01ABC"].map(str::to_owned).to_vec();
        let beside = Beside { name: "n".into(), image: "i".into(), deployment: "01ABC".into(), kind, program: None, args };
        creation(&own(), &beside, "p/tagalong", "/d/env").join(" ")
    }

    #[test]
    fn a_trial_can_change_nothing_and_a_carrier_comes_back() {
        let common = "--env KEY --network edge --ipc private --runtime runc --user 1000:1000 --workdir /var/lib/tagalong --group-add 998 \
                      --security-opt no-new-privileges:true --cap-drop ALL";
        let bounds = "--memory 268435456 --memory-swap -1 --pids-limit 200 --cpus 1.500000000 --ulimit nofile=1024:2048 \
                      --device /dev/fuse:/dev/fuse:rwm";
        let begin = "create --name n --label tagalong.of=p/tagalong --label tagalong.for=01ABC --pull never";
        let tries =
            format!("{begin} --restart no --volumes-from {ID}:ro --env-file /d/env {common} {bounds} --no-healthcheck i prove 01ABC");
        assert_eq!(created(BesideKind::Tries), tries);
        let carries = format!(
            "{begin} --restart unless-stopped --volumes-from {ID} --env-file /d/env {common} --tmpfs /tmp --tmpfs /run/tagalong:uid=1000 \
             {bounds} --read-only --no-healthcheck i prove 01ABC"
        );
        assert_eq!(created(BesideKind::Carries), carries);
        assert!(!carries.contains("geheim"), "a secret never becomes an argument");
    }

    #[test]
    fn every_network_is_joined() {
        assert_eq!(more_networks(&own().inspected), ["db"]);
        let on = |mode: &str| {
            let networks = json!({"HostConfig": {"NetworkMode": mode}, "NetworkSettings": {"Networks": {"bridge": {}, "host": {}}}});
            more_networks(&networks).len()
        };
        assert_eq!([on("host"), on("container:x"), on("default")], [0, 0, 1]);
    }
}
