//! Bad input with real files: each time one sentence names what to change, and nothing was changed.

use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::host;
use crate::world::ENV;
use crate::world::Immutable;
use crate::world::Settings;
use crate::world::World;

/// Orders v2, which must fail with all of `words` in its reason, and with nothing changed.
async fn fails_untouched(world: &World, words: &[&str]) -> Value {
    let (before, env) = (world.containers(), std::fs::read(world.path("stack/.env")).expect("a file"));
    let id = world.server().deploy("v2").await;
    let ended = world.server().outcome(&id).await;
    let why = ended["why"].as_str().unwrap_or_default();
    assert!(["failed", "refused"].contains(&ended["outcome"].as_str().unwrap_or_default()), "{ended}");
    assert!(words.iter().all(|word| why.contains(word)), "{why}");
    assert_eq!(before, world.containers());
    assert_eq!(env, std::fs::read(world.path("stack/.env")).expect("a file"));
    let left: Vec<String> =
        std::fs::read_dir(world.path("stack")).expect("a folder").flatten().map(|one| one.file_name().display().to_string()).collect();
    assert!(!left.iter().any(|name| name.starts_with(".tagalong-")), "{left:?}");
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_env_file_that_nobody_may_replace() {
    let world = World::landed(&Settings::default()).await;
    let immutable = Immutable::make(world.path("stack/.env"));
    fails_untouched(&world, &["stack/.env failed", "Operation not permitted", "tagalong runs as"]).await;
    drop(immutable);
    world.land("v2").await;
    world.finish().await;
}

/// A mount that goes with this value.
struct Mount(PathBuf);

impl Mount {
    fn make(args: &[&str], at: &Path) -> Self {
        host("mount", &[args, &[&at.display().to_string()]].concat());
        Self(at.to_path_buf())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        host("umount", &["--lazy", &self.0.display().to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_env_file_that_is_mounted_by_itself() {
    let world = World::landed(&Settings::default()).await;
    let env = world.path("stack/.env");
    let mount = Mount::make(&["--bind", &env.display().to_string()], &env);
    fails_untouched(&world, &["stack/.env failed", "mount the folder"]).await;
    drop(mount);
    world.land("v2").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_on_a_read_only_mount() {
    let world = World::landed(&Settings::default()).await;
    let stack = world.path("stack");
    let shown = stack.display().to_string();
    let mount = Mount::make(&["--bind", &shown], &stack);
    host("mount", &["-o", "remount,bind,ro", &shown]);
    fails_untouched(&world, &["stack", "Read-only file system"]).await;
    drop(mount);
    world.land("v2").await;
    world.finish().await;
}

async fn lands_over(env: &str, expected: impl Fn(&str) -> String) {
    let world = World::new(&Settings::default()).await;
    std::fs::write(world.path("stack/.env"), env).expect("a file");
    world.land("v1").await;
    let pin = format!("v1@{}", world.digest("v1"));
    assert_eq!(world.env(), expected(&pin));
    world.arm("page@v2", "fail");
    let id = world.server().deploy("v2").await;
    assert_eq!(world.server().outcome(&id).await["outcome"], "rolled_back");
    assert_eq!(world.env(), expected(&pin), "the undo brings every byte back");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_env_file_with_windows_line_ends_keeps_them() {
    let env = ENV.replace('\n', "\r\n");
    lands_over(&env, |pin| env.replace("WEB_TAG=v1", &format!("WEB_TAG={pin}"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_env_file_without_a_last_newline_keeps_its_other_lines() {
    lands_over("COLOUR=red\nWEB_TAG=v1", |pin| format!("COLOUR=red\nWEB_TAG={pin}")).await;
    lands_over("COLOUR=red", |pin| format!("COLOUR=red\nWEB_TAG={pin}\n")).await;
}

/// A file system of its own with little room.
struct SmallDisk {
    place: tempfile::TempDir,
    _mount: Mount,
}

impl SmallDisk {
    fn make(size: &str) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let mount = Mount::make(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], place.path());
        Self { place, _mount: mount }
    }

    /// Takes all the room that is left.
    fn fill(&self) -> PathBuf {
        let filler = self.place.path().join("filler");
        let file = std::fs::File::create(&filler).expect("a file");
        let mut writer = std::io::BufWriter::new(file);
        while std::io::Write::write_all(&mut writer, &[0; 512]).is_ok() {}
        filler
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_stack() {
    let disk = SmallDisk::make("1m");
    let world = World::new(&Settings::default()).await;
    let small = disk.place.path().join("stack");
    std::fs::create_dir(&small).expect("a folder");
    for name in [".env", "compose.yaml"] {
        std::fs::copy(world.path("stack").join(name), small.join(name)).expect("a file");
    }
    std::fs::remove_dir_all(world.path("stack")).expect("a folder");
    std::os::unix::fs::symlink(&small, world.path("stack")).expect("a link");
    world.land("v1").await;
    let filler = disk.fill();
    fails_untouched(&world, &[".env failed", "No space left on device", "free some space"]).await;
    std::fs::remove_file(filler).expect("a file");
    world.land("v2").await;
    world.finish().await;
}

/// The database's disk is full in the middle of a deployment: it waits, takes no more orders, and goes on when there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_database() {
    let disk = SmallDisk::make("4m");
    let mut world = World::new(&Settings::default()).await;
    // Nothing but the data folder is on it: docker and the server's own log have room.
    let data = disk.place.path().join("data").display().to_string();
    world.reconfigure("data_dir = \"data\"", &format!("data_dir = \"{data}\"")).await;
    world.land("v1").await;
    let before = world.containers();
    world.arm("before", "hang");
    let id = world.server().deploy("v2").await;
    world.reached("before").await;
    let filler = disk.fill();
    world.disarm("before");
    crate::support::until("the full disk is met", || world.server().log().contains("full")).await;
    let (status, answer) = world.server().post("/api/v1/deployments", serde_json::json!({"service": "web", "tag": "v3"})).await;
    assert_eq!((status, answer["detail"].as_str().is_some_and(|why| why.contains("disk"))), (503, true), "{answer}");
    std::fs::remove_file(filler).expect("a file");
    let ended = world.server().outcome(&id).await;
    assert_eq!((&ended["outcome"], world.running()), (&"live".into(), "v2".to_owned()), "{ended}");
    let after = world.containers();
    assert_eq!((&before["db"], &before["worker"]), (&after["db"], &after["worker"]));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_docker_that_does_not_answer() {
    let mut world = World::landed(&Settings::default()).await;
    world.reconfigure("wait_s = 25", "wait_s = 1").await;
    world.arm("daemon", "fail");
    fails_untouched(&world, &["the Docker daemon does not answer", "docker.host"]).await;
    world.disarm("daemon");
    world.land("v2").await;
    world.finish().await;
}

/// The client is Docker's own here, and nothing listens at the socket that it is given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_docker_host_where_nothing_listens() {
    let mut world = World::landed(&Settings::default()).await;
    let stand_in = format!("program = \"{}\"", world.path("docker").display());
    let dead = format!("host = \"unix://{}\"", world.path("dead.sock").display());
    world.reconfigure("wait_s = 25", "wait_s = 1").await;
    world.reconfigure(&stand_in, &dead).await;
    fails_untouched(&world, &["the Docker daemon does not answer", "Cannot connect to the Docker daemon at unix://", "docker.host"]).await;
    world.reconfigure(&dead, &stand_in).await;
    world.land("v2").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_gone() {
    let mut world = World::landed(&Settings::default()).await;
    world.close_registry();
    fails_untouched(&world, &["The registry 127.0.0.1:", "cannot be reached"]).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_whose_lock_somebody_else_holds() {
    let world = World::landed(&Settings { service: "max_wait_s = 10".into(), ..Settings::default() }).await;
    let lock = std::fs::File::open(world.path("stack/.tagalong.lock")).expect("a file");
    let mut holder = std::process::Command::new("sleep").arg("600").stdin(lock.try_clone().expect("a file")).spawn().expect("it starts");
    lock.lock().expect("the lock");
    let ended = fails_untouched(&world, &["is locked by", &format!("process {} (sleep 600)", holder.id())]).await;
    assert_eq!(ended["outcome"], "failed");
    drop(lock);
    holder.kill().expect("it lives");
    holder.wait().expect("a child");
    world.land("v2").await;
    world.finish().await;
}
