//! What every engine promises (`src/engine/calls.rs`), on a real one: what a deployment touches, and that a person's own command
//! (`docker compose up -d`) agrees. Another engine gets its own `Rig::engine`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::similar_names, reason = "tests end at the first surprise")]

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use process::Cancel;
use process::Command;
use process::Ended;
use process::Stream;
use process::capture;
use tagalong::config::ComposeStack;
use tagalong::config::Docker;
use tagalong::config::PinChoice;
use tagalong::config::PinnedImage;
use tagalong::engine::Container;
use tagalong::engine::ContainerState;
use tagalong::engine::Daemon;
use tagalong::engine::Engine;
use tagalong::engine::EngineError;
use tagalong::engine::Forgotten;
use tagalong::engine::Health;
use tagalong::engine::HookPlace;
use tagalong::engine::Observed;
use tagalong::engine::Resolved;
use tagalong::model::Digest;
use tagalong::model::ImageRef;
use tagalong::model::Repository;
use tagalong::model::ServiceName;

const LONG: Duration = Duration::from_mins(2);
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

fn docker() -> Docker {
    Docker {
        program: "docker".into(),
        path: PATH.into(),
        home: "/root".into(),
        host: None,
        config_dir: None,
        wait: std::time::Duration::from_secs(1),
    }
}

fn command(program: &str, args: &[&str], dir: &Path) -> Command {
    Command {
        program: program.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: BTreeMap::from([("PATH".into(), PATH.into()), ("HOME".into(), "/root".into()), ("DOCKER_BUILDKIT".into(), "0".into())]),
        dir: Some(dir.into()),
        deadline: LONG,
        mask: Arc::default(),
        lock: None,
    }
}

async fn sh(program: &str, args: &[&str], dir: &Path) -> String {
    let captured = capture(&command(program, args, dir), &Cancel::default()).await;
    captured.success().unwrap_or_else(|error| panic!("{program} {}: {error}", args.join(" ")))
}

/// A project, a registry and images of their own; all of it goes when this does.
struct Rig {
    folder: tempfile::TempDir,
    project: String,
    port: String,
}

impl Rig {
    async fn new(files: &[(&str, &str)]) -> Self {
        Self::with_registry(files, &[]).await
    }

    async fn with_registry(files: &[(&str, &str)], options: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let project = format!("tt{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut rig = Self { folder: tempfile::tempdir().unwrap(), project, port: String::new() };
        std::fs::create_dir(rig.dir()).unwrap();
        let info = capture(&command("docker", &["info", "--format", "{{.ServerVersion}}"], &rig.dir()), &Cancel::default()).await;
        assert!(info.success().is_ok(), "Docker does not answer: run tests/rig/install.sh and tests/rig/docker.sh up");
        let registry = rig.folder.path().join("registry");
        let port = sh("bash", &[&[&script("registry.sh"), "up", "--dir", registry.to_str().unwrap()], options].concat(), &rig.dir()).await;
        rig.port.push_str(port.trim());
        for (name, text) in files {
            std::fs::write(rig.dir().join(name), text.replace("REGISTRY", &format!("127.0.0.1:{}", rig.port))).unwrap();
        }
        rig
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join(&self.project)
    }

    /// Images `acme/NAME` with these tags (and variants, as `tests/rig/images.sh` knows them).
    async fn images(&self, name: &str, tags: &[&str]) -> Vec<ImageRef> {
        let mut build = command("bash", &[&[script("images.sh").as_str(), &self.port], tags].concat(), &self.dir());
        build.env.insert("SITE_REPOSITORY".into(), format!("acme/{name}"));
        build.env.insert("DOCKER_CONFIG".into(), self.credentials().display().to_string());
        let out = capture(&build, &Cancel::default()).await.success().unwrap();
        let reference = |line: &str| ImageRef::parse(&line.replace('\t', "@")).unwrap();
        out.lines().map(reference).collect()
    }

    /// A folder with the login of a registry that asks for one.
    fn credentials(&self) -> PathBuf {
        let dir = self.folder.path().join("credentials");
        std::fs::create_dir_all(&dir).unwrap();
        let auth = r#"{"auths": {"127.0.0.1:PORT": {"auth": "ZGVwbG95ZXI6bGV0LW1lLXB1bGw="}}}"#;
        std::fs::write(dir.join("config.json"), auth.replace("PORT", &self.port)).unwrap();
        dir
    }

    fn engine(&self) -> Engine {
        Engine::new(&Daemon::new(docker(), Arc::default()), &self.stack()).acting_alone()
    }

    fn stack(&self) -> ComposeStack {
        let pin = PinnedImage {
            image: Repository::parse(&format!("127.0.0.1:{}/acme/web", self.port)).unwrap(),
            variable: Some("WEB_TAG".into()),
        };
        ComposeStack { dir: self.dir(), files: Vec::new(), project: self.project.clone(), pins: vec![pin], mode: PinChoice::Auto }
    }

    /// An engine whose every program is written down, and how to count those whose words begin with something.
    fn counted(&self) -> (Engine, impl Fn(&str) -> usize + use<>) {
        let (program, calls) = (self.folder.path().join("docker"), self.folder.path().join("calls"));
        std::fs::write(&program, format!("#!/bin/sh\necho \"$*\" >>{}\nexec docker \"$@\"\n", calls.display())).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let daemon = Daemon::new(Docker { program: program.display().to_string(), ..docker() }, Arc::default());
        let count =
            move |words: &str| std::fs::read_to_string(&calls).unwrap_or_default().lines().filter(|line| line.starts_with(words)).count();
        (Engine::new(&daemon, &self.stack()).acting_alone(), count)
    }

    /// Pins, pulls and brings up, as the deploy story does.
    async fn deploy(&self, engine: &Engine, reference: &ImageRef) -> Resolved {
        let cancel = Cancel::default();
        let refs = std::slice::from_ref(reference);
        let resolved = engine.resolve(b"key", &cancel).await.unwrap();
        engine.pull(reference, None, LONG, &cancel, |_, _| {}).await.unwrap();
        engine.pull_missing(&resolved, LONG, &cancel, |_, _| {}).await.unwrap();
        engine.pin(&resolved, refs).await.unwrap();
        engine.prove(&resolved, refs, &cancel).await.unwrap();
        engine.up(&resolved, LONG, &cancel, |_, _| {}).await.unwrap();
        resolved
    }

    async fn there(&self, engine: &Engine) -> BTreeMap<String, Container> {
        engine.containers(&Cancel::default()).await.unwrap().into_iter().map(|container| (container.name.clone(), container)).collect()
    }

    /// The one container of `service`.
    async fn only(&self, engine: &Engine, service: &str) -> Container {
        let mut found: Vec<Container> = self.there(engine).await.into_values().filter(|container| container.service == service).collect();
        assert_eq!(found.len(), 1, "{service}");
        found.remove(0)
    }

    async fn up_by_hand(&self) -> String {
        capture(&command("docker", &["compose", "up", "-d"], &self.dir()), &Cancel::default()).await.success().unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let script = format!(
            "docker ps -aq --filter label=com.docker.compose.project={project} | xargs -r docker rm -fv >/dev/null\n\
             docker network ls -q --filter label=com.docker.compose.project={project} | xargs -r docker network rm >/dev/null\n\
             docker volume ls -q --filter label=com.docker.compose.project={project} | xargs -r docker volume rm >/dev/null\n\
             docker images --digests --format '{{{{.Repository}}}}:{{{{.Tag}}}} {{{{.Repository}}}}@{{{{.Digest}}}}' | tr ' ' '\\n' |\n\
             grep -e '^127.0.0.1:{port}/' -e '^tagalong.keep/{project}:' | grep -v '<none>' | xargs -r docker rmi >/dev/null 2>&1\n\
             bash {registry} down --dir {folder}/registry",
            project = self.project,
            port = if self.port.is_empty() { "none" } else { &self.port },
            registry = script("registry.sh"),
            folder = self.folder.path().display(),
        );
        #[allow(clippy::disallowed_methods, reason = "a drop cannot wait for a future")]
        let _ = std::process::Command::new("bash").args(["-c", &script]).env("PATH", PATH).status();
    }
}

fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig").join(name).display().to_string()
}

fn same_lives(before: &BTreeMap<String, Container>, after: &BTreeMap<String, Container>, but: &[&str]) {
    let lives = |all: &BTreeMap<String, Container>| -> BTreeMap<String, (String, String, String)> {
        let others = all.values().filter(|container| !but.contains(&container.service.as_str()));
        others.map(|one| (one.name.clone(), (one.id.clone(), one.started_at.clone(), one.image_id.clone()))).collect()
    };
    assert_eq!(lives(before), lives(after));
}

fn ids(all: &BTreeMap<String, Container>) -> Vec<&str> {
    all.values().map(|container| container.id.as_str()).collect()
}

const WITH_DATABASE: &str = r#"
services:
  web:
    image: REGISTRY/acme/web:${WEB_TAG:-none}
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
  migrate:
    image: REGISTRY/acme/web:${WEB_TAG:-none}
    command: ["sh", "-c", "sleep 0.3; cat /www/version"]
    depends_on: {db: {condition: service_healthy}}
    healthcheck: {disable: true}
  worker:
    image: REGISTRY/acme/web:${WEB_TAG:-none}
    scale: 2
  db:
    image: REGISTRY/acme/db:16
    volumes: ["data:/data"]
  exporter:
    image: REGISTRY/acme/db:16
    network_mode: service:web
    command: ["sleep", "1000"]
  proxy:
    image: REGISTRY/acme/db:16
    depends_on: [web]
volumes:
  data:
"#;

#[tokio::test]
async fn a_deployment_touches_only_what_it_pins() {
    let rig = Rig::new(&[("compose.yaml", WITH_DATABASE), (".env", "# ours\nDB_PASSWORD=hunter22\n")]).await;
    let (web, db) = (rig.images("web", &["one", "two"]).await, rig.images("db", &["16"]).await);
    for gone in [format!("{}:one", web[0].repository), format!("{}:two", web[1].repository), format!("{}:16", db[0].repository)] {
        sh("docker", &["rmi", &gone], &rig.dir()).await;
    }
    let (engine, cancel) = (rig.engine(), Cancel::default());

    // The first deployment starts the whole stack.
    let untouched = engine.snapshot().await.unwrap();
    let resolved = rig.deploy(&engine, &web[0]).await;
    assert_eq!((resolved.pinned_by(), resolved.warnings.len()), ("env", 0), "{:?}", resolved.warnings);
    assert_eq!(resolved.touched(), ["exporter", "migrate", "web", "worker"]);
    let first = rig.there(&engine).await;
    assert_eq!(first.len(), 7, "{:?}", first.keys());
    let one = engine.image(&web[0].by_digest(), &cancel).await.unwrap().unwrap();
    let migrated = rig.only(&engine, "migrate").await;
    assert_eq!((migrated.state.as_str(), migrated.exit_code, migrated.image_id.as_str()), ("exited", 0, one.id.as_str()));
    assert!(
        one.has_healthcheck && one.platform.starts_with("linux/") && one.labels["org.opencontainers.image.version"] == "one",
        "{one:?}"
    );

    // By hand: nothing new.
    rig.up_by_hand().await;
    let by_hand = rig.there(&engine).await;
    assert_eq!(ids(&first), ids(&by_hand));
    same_lives(&first, &by_hand, &["migrate"]);

    // The second changes what is pinned, and what lives in it; database and proxy live on.
    rig.deploy(&engine, &web[1]).await;
    let second = rig.there(&engine).await;
    let two = engine.image(&web[1].by_digest(), &cancel).await.unwrap().unwrap();
    same_lives(&by_hand, &second, &["web", "worker", "migrate", "exporter"]);
    for container in second.values().filter(|container| ["web", "worker", "migrate"].contains(&container.service.as_str())) {
        assert_eq!(container.image_id, two.id, "{}", container.name);
        assert_eq!(container.image, web[1].to_string());
    }
    assert!(rig.only(&engine, "migrate").await.started_at < rig.only(&engine, "web").await.started_at);
    assert_eq!(engine.tail(&rig.only(&engine, "migrate").await.id, 5, &cancel).await.unwrap(), ["two"]);
    rig.up_by_hand().await;
    let by_hand = rig.there(&engine).await;
    assert_eq!(ids(&second), ids(&by_hand));
    same_lives(&second, &by_hand, &["migrate"]);

    // Back to the first without a registry.
    sh("bash", &[&script("registry.sh"), "down", "--keep", "--dir", rig.folder.path().join("registry").to_str().unwrap()], &rig.dir())
        .await;
    engine.pin(&resolved, &web[..1]).await.unwrap();
    engine.up(&resolved, LONG, &cancel, |_, _| {}).await.unwrap();
    assert_eq!(rig.only(&engine, "web").await.image_id, one.id);
    same_lives(&by_hand, &rig.there(&engine).await, &["web", "worker", "migrate", "exporter"]);
    engine.restore(&untouched).await.unwrap();
    assert_eq!(std::fs::read_to_string(rig.dir().join(".env")).unwrap(), "# ours\nDB_PASSWORD=hunter22\n");
}

#[tokio::test]
async fn what_is_observed_is_not_asked_for() {
    let rig = Rig::new(&[("compose.yaml", "services: {web: {image: 'REGISTRY/acme/web:${WEB_TAG:-none}', stop_signal: SIGKILL}}\n")]).await;
    let web = rig.images("web", &["one"]).await;
    rig.deploy(&rig.engine(), &web[0]).await;
    let ((engine, count), cancel) = (rig.counted(), Cancel::default());
    let engine = engine.patient(|_| {});
    let looks = || count("ps") + count("inspect");
    let until = async |what: &str, is_so: &dyn Fn(&Observed) -> bool| {
        let began = Instant::now();
        loop {
            let seen = engine.observed(LONG, &cancel).await.unwrap();
            if is_so(&seen) {
                return seen;
            }
            assert!(began.elapsed() < LONG, "{what}: {seen:?}");
            engine.changed(began, Duration::from_millis(50)).await;
        }
    };
    let is_good = |seen: &Observed| seen.containers.len() == 1 && seen.containers[0].health == Health::Healthy;
    until("it is listened to, and the web is good", &|seen| is_good(seen) && !seen.age.is_zero()).await;
    let before = looks();
    for _ in 0..100 {
        assert!(is_good(&engine.observed(LONG, &cancel).await.unwrap()));
    }
    assert_eq!(looks(), before, "nobody asks for what is known");

    // It is told of what happens, and only then it is looked again.
    let (since, name) = (Instant::now(), format!("{}-web-1", rig.project));
    sh("docker", &["stop", "-t", "0", &name], &rig.dir()).await;
    engine.changed(since, LONG).await;
    assert!(since.elapsed() < LONG / 2, "an event came");
    until("it has ended", &|seen| seen.containers[0].state == ContainerState::Exited).await;
    assert!(engine.containers(&cancel).await.unwrap()[0].state == ContainerState::Exited && count("events") == 1);

    // Where the line is cut, a look takes its place, and it is listened to again.
    let own = Path::new("/proc").read_dir().unwrap().flatten().filter(|process| {
        let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let words = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let is_events = String::from_utf8_lossy(&words).starts_with("docker\0events");
        is_events && stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(&std::process::id().to_string()))
    });
    let own: Vec<String> = own.map(|process| process.file_name().display().to_string()).collect();
    assert_eq!(own.len(), 1, "{own:?}");
    sh("kill", &["-KILL", &own[0]], &rig.dir()).await;
    sh("docker", &["start", &name], &rig.dir()).await;
    until("it runs again", &|seen| seen.containers[0].is_running()).await;
    until("it is listened to anew", &|seen| is_good(seen) && !seen.age.is_zero() && count("events") == 2).await;
}

#[tokio::test]
async fn what_cannot_have_changed_is_not_asked_for() {
    let rig = Rig::new(&[("compose.yaml", "services: {web: {image: 'REGISTRY/acme/web:${WEB_TAG:-none}'}}\n")]).await;
    let web = rig.images("web", &["one"]).await;
    let ((engine, count), cancel) = (rig.counted(), Cancel::default());
    let refs = std::slice::from_ref(&web[0]);
    let resolved = engine.resolve(b"key", &cancel).await.unwrap();
    engine.pin(&resolved, refs).await.unwrap();
    let before = count("compose");
    assert_eq!(engine.edited(&resolved, refs, b"key", &cancel).await.unwrap(), None);
    assert_eq!(count("compose"), before, "nothing that compose reads has changed");
    let file = rig.dir().join("compose.yaml");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + "# a remark\n").unwrap();
    assert_eq!(engine.edited(&resolved, refs, b"key", &cancel).await.unwrap(), None);
    assert!(count("compose") > before, "what has changed is asked for");

    let asked = || count("compose version");
    let first = engine.version(&cancel).await.unwrap();
    assert_eq!((engine.version(&cancel).await.unwrap(), asked()), (first, 1));
    // Another program takes the place of the one that answered.
    let program = rig.folder.path().join("docker");
    std::fs::copy(&program, rig.folder.path().join("fresh")).unwrap();
    std::fs::rename(rig.folder.path().join("fresh"), &program).unwrap();
    engine.version(&cancel).await.unwrap();
    assert_eq!(asked(), 2);
    assert_eq!(engine.pull_missing(&resolved, LONG, &cancel, |_, _| {}).await.unwrap(), Vec::<String>::new());
    assert_eq!(count("ps") + count("inspect") + count("image"), 0, "there is nothing besides the pinned image");
}

/// Wherever somebody edits a stack after it was looked at: it is noticed, and its path is named. What is no edit is none.
#[tokio::test]
async fn an_edit_is_noticed_wherever_it_is_made() {
    const FILES: [(&str, &str); 6] = [
        (
            "compose.yaml",
            "include: [more.yaml]\nservices:\n  web:\n    image: acme/web:${WEB_TAG}\n    environment: {COLOUR: \"${COLOUR}\"}\n    env_file: web.env\n    \
             volumes: [\"./site:/srv\"]\n  base:\n    extends: {file: base.yaml, service: base}\n  extra:\n    image: acme/extra:1\n    profiles: [extra]\n",
        ),
        ("more.yaml", "services:\n  more:\n    image: acme/more:1\n"),
        ("base.yaml", "services:\n  base:\n    image: acme/base:1\n    command: [serve]\n"),
        ("web.env", "MODE=blue\n"),
        (".env", "# ours\nCOLOUR=red\nWEB_TAG=old\n"),
        ("notes.txt", "none of compose's\n"),
    ];
    let cases = [
        ("compose.yaml", "./site:/srv", "./other:/srv", "services.web.volumes.0.source"),
        ("compose.yaml", "acme/extra:1\n    profiles: [extra]", "acme/extra:1", "the service extra was switched on by its profile"),
        ("more.yaml", "acme/more:1", "acme/more:2", "services.more.image"),
        ("more.yaml", "services:", "services:\n  fresh:\n    image: acme/fresh:1", "services.fresh.image"),
        ("base.yaml", "[serve]", "[serve, --fast]", "services.base.command"),
        ("web.env", "blue", "green", "services.web.environment.MODE"),
        (".env", "COLOUR=red", "COLOUR=black", "services.web.environment.COLOUR"),
        (".env", "WEB_TAG=", "WEB_TAG=x", "acme/web is pinned to x"),
        (".env", "# ours", "COMPOSE_PROFILES=extra", "the service extra was switched on by its profile"),
        ("compose.yaml", "services:", "services: [", "compose"),
        ("compose.override.yaml", "", "services: {web: {user: \"7\"}}\n", "its compose files are now"),
        ("notes.txt", "none", "still none", ""),
        (".env", "# ours", "# ours, and a remark", ""),
        ("more.yaml", "services:\n", "services:\n\n  # a remark\n", ""),
    ];
    let digest = "0".repeat(64);
    let reference = ImageRef::parse(&format!("acme/web:new@sha256:{digest}")).unwrap();
    for (file, from, to, path) in cases {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in FILES {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let pin = PinnedImage { image: Repository::parse("acme/web").unwrap(), variable: Some("WEB_TAG".into()) };
        let stack =
            ComposeStack { dir: folder.path().into(), files: Vec::new(), project: "edited".into(), pins: vec![pin], mode: PinChoice::Auto };
        let (engine, cancel, refs) =
            (Engine::new(&Daemon::new(docker(), Arc::default()), &stack).acting_alone(), Cancel::default(), [reference.clone()]);
        let resolved = engine.resolve(b"key", &cancel).await.unwrap();
        assert_eq!(resolved.pinned_by(), "env", "{}", resolved.why_mode);
        engine.pin(&resolved, &refs).await.unwrap();
        assert_eq!(engine.edited(&resolved, &refs, b"key", &cancel).await.unwrap(), None);
        let path_of = folder.path().join(file);
        let text = std::fs::read_to_string(&path_of).unwrap_or_default();
        assert!(text.contains(from), "{file}: {text}");
        std::fs::write(&path_of, if from.is_empty() { to.to_owned() } else { text.replacen(from, to, 1) }).unwrap();
        let said = engine.edited(&resolved, &refs, b"key", &cancel).await.unwrap().unwrap_or_default();
        assert!(said.contains(path) && said.is_empty() == path.is_empty(), "{file} {to}: {said}");
        assert!(!said.contains("green") && !said.contains("black"), "a value may be a secret: {said}");
    }
}

#[tokio::test]
async fn a_database_that_reads_env_lives_on() {
    let compose = "services:\n  web:\n    image: REGISTRY/acme/web:${WEB_TAG}\n    labels: {release: \"${WEB_TAG}\"}\n    depends_on: [db]\n  \
                   db:\n    image: REGISTRY/acme/db:16\n    env_file: .env\n";
    let rig = Rig::new(&[("compose.yaml", compose), (".env", "WEB_TAG=old\nPOSTGRES_PASSWORD=hunter22\n")]).await;
    let (web, _db) = (rig.images("web", &["old", "new"]).await, rig.images("db", &["16"]).await);
    let (engine, cancel) = (rig.engine(), Cancel::default());
    // It ran before tagalong came.
    rig.up_by_hand().await;
    let before = rig.there(&engine).await;
    let snapshot = engine.snapshot().await.unwrap();

    let resolved = rig.deploy(&engine, &web[1]).await;
    assert_eq!(resolved.pinned_by(), "override", "{}", resolved.why_mode);
    let after = rig.there(&engine).await;
    same_lives(&before, &after, &["web"]);
    assert_eq!(rig.only(&engine, "web").await.image, web[1].to_string());
    rig.up_by_hand().await;
    same_lives(&after, &rig.there(&engine).await, &[]);
    assert_eq!(engine.current().await.unwrap()[0].reference().as_ref(), Some(&web[1]));

    // Undone, the folder is as it was, and so is what a person would bring up.
    engine.restore(&snapshot).await.unwrap();
    engine.up(&resolved, LONG, &cancel, |_, _| {}).await.unwrap();
    assert!(rig.only(&engine, "web").await.image.ends_with("/acme/web:old"));
    let undone = rig.there(&engine).await;
    same_lives(&before, &undone, &["web"]);
    rig.up_by_hand().await;
    same_lives(&undone, &rig.there(&engine).await, &[]);
}

#[tokio::test]
async fn a_dependency_that_stopped_is_started_and_not_replaced() {
    let compose = "services:\n  web: {image: 'REGISTRY/acme/web:${WEB_TAG:-none}', depends_on: [cache]}\n  \
                   cache: {image: 'REGISTRY/acme/db:16', depends_on: [disk]}\n  disk: {image: 'REGISTRY/acme/db:16'}\n  other: {image: 'REGISTRY/acme/db:16'}\n";
    let rig = Rig::new(&[("compose.yaml", compose)]).await;
    let (web, _db) = (rig.images("web", &["one", "two"]).await, rig.images("db", &["16"]).await);
    let engine = rig.engine();
    rig.deploy(&engine, &web[0]).await;
    let before = rig.there(&engine).await;
    let names = ["cache", "disk", "other"].map(|service| format!("{}-{service}-1", rig.project));
    sh("docker", &["stop", "-t", "0", &names[0], &names[1], &names[2]], &rig.dir()).await;
    // Their definition has changed meanwhile: that is for an operator to bring up.
    let changed =
        std::fs::read_to_string(rig.dir().join("compose.yaml")).unwrap().replace("depends_on: [disk]", "depends_on: [disk], hostname: c");
    std::fs::write(rig.dir().join("compose.yaml"), changed).unwrap();

    rig.deploy(&engine, &web[1]).await;
    let after = rig.there(&engine).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for name in &names {
        let state = if name.contains("other") { "exited" } else { "running" };
        assert_eq!((&after[name].id, after[name].state.as_str()), (&before[name].id, state), "{name}");
    }
}

#[tokio::test]
async fn what_a_killed_compose_left_is_finished() {
    let rig = Rig::new(&[("compose.yaml", "services:\n  web: {image: 'REGISTRY/acme/web:${WEB_TAG:-none}'}\n")]).await;
    let web = rig.images("web", &["one", "two"]).await;
    let engine = rig.engine();
    rig.deploy(&engine, &web[0]).await;
    rig.deploy(&engine, &web[1]).await;
    let name = format!("{}-web-1", rig.project);
    let temporary = format!("0123456789ab_{name}");

    // Ended between the end of the old container and the new one's name: the same container gets it.
    let before = rig.only(&engine, "web").await;
    assert!(before.is_replacement, "compose names what it replaced: {before:?}");
    sh("docker", &["rename", &name, &temporary], &rig.dir()).await;
    rig.deploy(&engine, &web[1]).await;
    let again = rig.only(&engine, "web").await;
    assert_eq!((&again.id, &again.name, &again.started_at), (&before.id, &name, &before.started_at));

    // Ended before the old one stopped: the new one, which never ran, goes.
    let labels =
        [("project", rig.project.as_str()), ("service", "web"), ("container-number", "1"), ("oneoff", "False"), ("replace", "web-1")];
    let labels = labels.map(|(label, value)| format!("--label=com.docker.compose.{label}={value}"));
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    sh("docker", &[&["create", "--name", &temporary], &labels[..], &[&web[0].to_string()]].concat(), &rig.dir()).await;
    rig.deploy(&engine, &web[0]).await;
    let after = rig.only(&engine, "web").await;
    assert_eq!((&after.name, after.state.as_str(), after.image_id == before.image_id), (&name, "running", false), "{after:?}");
}

#[tokio::test]
async fn a_release_that_does_not_come_up_is_seen() {
    let compose = "services:\n  web:\n    image: REGISTRY/acme/web:${WEB_TAG:-none}\n    restart: always\n  second:\n    \
                   image: REGISTRY/acme/web:${WEB_TAG:-none}\n    depends_on: {web: {condition: service_healthy}}\n";
    let rig = Rig::new(&[("compose.yaml", compose)]).await;
    let web = rig.images("web", &["good", "sick=unhealthy", "bad=crash"]).await;
    let (engine, cancel) = (rig.engine(), Cancel::default());
    let resolved = rig.deploy(&engine, &web[0]).await;

    engine.pin(&resolved, &web[1..2]).await.unwrap();
    let mut lines = Vec::new();
    let error = engine.up(&resolved, LONG, &cancel, |_, line| lines.push(line)).await.unwrap_err();
    assert!(matches!(&error, EngineError::Failed { why, .. } if why.contains("is unhealthy")), "{error}");
    assert!(lines.iter().any(|line| line.contains("Recreated")), "{lines:?}");
    let sick = rig.only(&engine, "web").await;
    assert_eq!((&sick.health, sick.health_output.contains("404")), (&Health::Unhealthy, true), "{sick:?}");

    engine.pin(&resolved, &web[2..]).await.unwrap();
    let stop = cancel.clone();
    let error = engine
        .up(&resolved, LONG, &cancel, |_, line| {
            if line.contains("Waiting") {
                stop.cancel();
            }
        })
        .await
        .unwrap_err();
    assert!(matches!(error, EngineError::Cancelled { .. } | EngineError::Failed { .. }), "{error}");
    let cancel = Cancel::default();
    let bad = loop {
        let bad = rig.only(&engine, "web").await;
        if bad.restarts > 0 {
            break bad;
        }
    };
    assert_eq!(bad.exit_code, i64::from(!bad.is_running()), "{bad:?}");
    assert!(engine.tail(&bad.id, 3, &cancel).await.unwrap().iter().any(|line| line.contains("/data is missing")));

    engine.pin(&resolved, &web[..1]).await.unwrap();
    engine.up(&resolved, LONG, &cancel, |_, _| {}).await.unwrap();
    assert_eq!(rig.only(&engine, "web").await.health, Health::Healthy);
    let error = engine.up(&resolved, Duration::from_millis(1), &cancel, |_, _| {}).await.unwrap_err();
    assert!(matches!(error, EngineError::Deadline { .. }), "{error}");
}

#[tokio::test]
async fn kept_images_stay_until_they_are_forgotten() {
    let rig = Rig::new(&[("compose.yaml", "services: {web: {image: 'REGISTRY/acme/web:${WEB_TAG:-none}'}}\n")]).await;
    // Images of one content are one image to Docker, with the names that other tests give it: these are of this test alone.
    let tags = ["one", "two"].map(|tag| format!("{tag}-{}", rig.project));
    let web = rig.images("web", &tags.each_ref().map(String::as_str)).await;
    let (engine, cancel) = (rig.engine(), Cancel::default());
    for (reference, tag) in web.iter().zip(&tags) {
        sh("docker", &["rmi", &format!("{}:{tag}", reference.repository)], &rig.dir()).await;
        assert_eq!(engine.image(&reference.by_digest(), &cancel).await.unwrap(), None);
        engine.pull(reference, None, LONG, &cancel, |_, _| {}).await.unwrap();
    }
    rig.deploy(&engine, &web[0]).await;
    let name = ServiceName::parse(&rig.project).unwrap();
    for reference in [&web[0], &web[1], &web[1]] {
        engine.keep(&name, reference, &cancel).await.unwrap();
    }
    let kept = engine.image(&web[1].by_digest(), &cancel).await.unwrap().unwrap();
    assert_eq!(kept.tags, [format!("tagalong.keep/{name}:{}", web[1].digest.short())]);

    let user = format!("{}-web-1", rig.project);
    assert_eq!(engine.forget(&name, &web[0], &cancel).await.unwrap(), Forgotten::InUse(user));
    assert!(engine.image(&web[0].by_digest(), &cancel).await.unwrap().is_some());
    assert_eq!(engine.forget(&name, &web[1], &cancel).await.unwrap(), Forgotten::Gone);
    assert_eq!(engine.image(&kept.id, &cancel).await.unwrap(), None);
    assert_eq!(engine.forget(&name, &web[1], &cancel).await.unwrap(), Forgotten::NotHere);
    assert!(matches!(engine.keep(&name, &web[1], &cancel).await, Err(EngineError::Failed { .. })));

    let gone = ImageRef { digest: Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap(), ..web[0].clone() };
    let error = engine.pull(&gone, None, LONG, &cancel, |_, _| {}).await.unwrap_err();
    assert!(matches!(&error, EngineError::Failed { what, why } if what.contains("docker pull") && !why.is_empty()), "{error}");
}

#[tokio::test]
async fn hooks_run_where_they_are_meant() {
    let rig = Rig::new(&[("compose.yaml", "services: {web: {image: 'REGISTRY/acme/web:${WEB_TAG:-none}'}}\n")]).await;
    let web = rig.images("web", &["one"]).await;
    let (engine, cancel) = (rig.engine(), Cancel::default());
    let resolved = rig.deploy(&engine, &web[0]).await;
    let env = BTreeMap::from([("TAGALONG_TAG".to_owned(), "one".to_owned())]);
    let argv = ["sh", "-c", "echo $TAGALONG_TAG $(cat /www/version 2>/dev/null) $(id -u); exit 3"].map(str::to_owned);
    for (place, said) in
        [(HookPlace::Host, "one 0\n"), (HookPlace::Exec("web".into()), "one one 0\n"), (HookPlace::Run(web[0].by_digest()), "one one 0\n")]
    {
        let hook = engine.hook(&resolved, &place, &argv, &env, LONG).await.unwrap();
        let got = capture(&hook, &cancel).await;
        assert_eq!((got.out.as_str(), got.ended), (said, Ended::Exit(3)), "{place:?} {}", got.err);
    }
}

#[tokio::test]
async fn the_host_is_asked_and_its_absence_said() {
    let folder = tempfile::tempdir().unwrap();
    let pin = PinnedImage { image: Repository::parse("acme/web").unwrap(), variable: None };
    let stack =
        ComposeStack { dir: folder.path().into(), files: Vec::new(), project: "nothing".into(), pins: vec![pin], mode: PinChoice::Auto };
    let (mut docker, cancel) = (docker(), Cancel::default());
    let engine = |docker: &Docker| Engine::new(&Daemon::new(docker.clone(), Arc::default()), &stack.clone()).acting_alone();

    let server = engine(&docker).server(&cancel).await.unwrap();
    assert!(server.os == "linux" && !server.version.is_empty() && server.root_dir.starts_with('/'), "{server:?}");
    assert!(["amd64", "arm64"].contains(&server.arch.as_str()), "{server:?}");
    assert!(engine(&docker).version(&cancel).await.is_ok());
    assert_eq!(engine(&docker).containers(&cancel).await.unwrap(), []);

    docker.host = Some("tcp://127.0.0.1:1".into());
    for error in [
        engine(&docker).server(&cancel).await.unwrap_err(),
        engine(&docker).containers(&cancel).await.unwrap_err(),
        engine(&docker).image("acme/web:1", &cancel).await.unwrap_err(),
    ] {
        assert!(matches!(error, EngineError::Daemon { .. }), "{error}");
    }
    docker.program = "no-such-docker".into();
    let error = engine(&docker).server(&cancel).await.unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains("no-such-docker"), "{error}");
    let stopped = Cancel::default();
    stopped.cancel();
    docker.program = "docker".into();
    assert!(matches!(engine(&docker).server(&stopped).await, Err(EngineError::Cancelled { .. })));
}

#[tokio::test]
async fn a_pull_is_quiet_and_says_how_far_it_is() {
    let rig = Rig::new(&[]).await;
    // Of this content nothing is on the host yet.
    let web = rig.images("web", &[&rig.project]).await;
    sh("docker", &["rmi", &format!("{}:{}", web[0].repository, rig.project)], &rig.dir()).await;
    let mut lines = Vec::new();
    rig.engine().pull(&web[0], None, LONG, &Cancel::default(), |stream, line| lines.push((stream, line))).await.unwrap();
    assert!(lines.iter().all(|(stream, _)| *stream == Stream::Out), "{lines:?}");
    assert!(lines.iter().any(|(_, line)| line.ends_with("layers are done")), "{lines:?}");
    assert!(!lines.iter().any(|(_, line)| line.contains("fs layer")), "{lines:?}");
}

#[tokio::test]
async fn a_private_registry_takes_the_credentials_of_the_order() {
    let rig = Rig::with_registry(&[], &["--auth"]).await;
    let web = rig.images("web", &["one"]).await;
    sh("docker", &["rmi", &format!("{}:one", web[0].repository)], &rig.dir()).await;
    let (engine, cancel) = (rig.engine(), Cancel::default());
    let error = engine.pull(&web[0], None, LONG, &cancel, |_, _| {}).await.unwrap_err();
    assert!(matches!(&error, EngineError::Failed { why, .. } if why.contains("no basic auth credentials")), "{error}");
    engine.pull(&web[0], Some(&rig.credentials()), LONG, &cancel, |_, _| {}).await.unwrap();
    assert!(engine.image(&web[0].by_digest(), &cancel).await.unwrap().is_some());
}
