//! A stack whose files come from a git repository: what is brought, what is refused by name, and what stands in the folder when
//! tagalong is killed while it replaces files.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use serde_json::json;

use crate::real::Docker;
use crate::real::Images;
use crate::real::Site;
use crate::real::is_outcome;
use crate::support::host;
use crate::world::Settings;
use crate::world::World;

/// A repository, in whose folder `deploy` the files of a stack are.
pub(crate) struct Remote {
    dir: tempfile::TempDir,
}

impl Remote {
    pub(crate) fn new() -> Self {
        let remote = Self { dir: tempfile::tempdir().expect("a folder") };
        remote.git(&["init", "--quiet", "--initial-branch=main", "."]);
        remote
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let who = ["-c", "user.name=ada", "-c", "user.email=ada@localhost", "-C", self.dir.path().to_str().expect("a path")];
        host("git", &[&who[..], args].concat())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("deploy").join(name)
    }

    /// Commits what the stack's folder is to have, and gives the commit's name. Content behind `->` is a link.
    pub(crate) fn commit(&self, files: &BTreeMap<String, String>) -> String {
        let _ = std::fs::remove_dir_all(self.path(""));
        for (name, content) in files {
            let path = self.path(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            match content.strip_prefix("->") {
                Some(target) => std::os::unix::fs::symlink(target, path).expect("a link"),
                None => std::fs::write(path, content).expect("a file"),
            }
        }
        self.git(&["add", "--all", "--force"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "files"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// The table of a service.
    pub(crate) fn table(&self, service: &str) -> String {
        let remote = self.dir.path().display();
        format!(
            "[service.{service}.stack]\nfrom = \"git\"\nremote = \"file://{remote}\"\npath = \"deploy\"\nrefs = [\"refs/heads/main\"]\n"
        )
    }
}

type Files = BTreeMap<String, String>;

/// The stack of the world, with files beside it.
fn files(world: &World, colour: &str) -> Files {
    let compose = std::fs::read_to_string(world.path("compose.first")).expect("a file");
    let mut compose: Value = serde_json::from_str(&compose).expect("JSON");
    compose["services"]["web"]["environment"]["PAINT"] = json!(colour);
    let conf = world.path("stack/conf/web.conf").display().to_string();
    compose["services"]["worker"]["volumes"] = json!([{"type": "bind", "source": conf, "target": "/etc/web.conf"}]);
    [("compose.yaml", compose.to_string()), ("conf/web.conf", format!("paint {colour}\n")), ("README", "the same\n".to_owned())]
        .map(|(name, text)| (name.to_owned(), text))
        .into()
}

async fn world(remote: &Remote, service: &str) -> World {
    let world = World::new(&Settings { service: format!("{service}\n{}", remote.table("web")), ..Settings::default() }).await;
    std::fs::rename(world.path("stack/compose.yaml"), world.path("compose.first")).expect("a file");
    world
}

async fn order(world: &World, tag: &str, commit: &str) -> Value {
    let id = world.server().order("/api/v1/deployments", json!({"service": "web", "tag": tag, "commit": commit})).await;
    let mut ended = world.server().outcome(&id).await;
    ended["journal"] = json!(world.server().journal(&id).await);
    ended
}

async fn lands(world: &World, tag: &str, commit: &str) -> Value {
    let ended = order(world, tag, commit).await;
    assert_eq!(ended["outcome"], "live", "{ended:#}");
    ended
}

/// What stands in the stack's folder, but for what is tagalong's own.
fn stands(world: &World) -> Files {
    fn collect(dir: &Path, below: &str, found: &mut Files) {
        for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            if entry.file_type().expect("a kind").is_dir() {
                collect(&entry.path(), &format!("{name}/"), found);
            } else if !name.starts_with(".tagalong") && name != ".env" {
                found.insert(name, std::fs::read_to_string(entry.path()).expect("a file"));
            }
        }
    }
    let mut found = Files::new();
    collect(&world.path("stack"), "", &mut found);
    found
}

fn id(world: &World, service: &str) -> String {
    world.containers()[service]["id"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_belong_to_the_release_and_go_back_with_it() {
    let remote = Remote::new();
    let world = world(&remote, "").await;
    let red = files(&world, "red");
    let blue = {
        let mut blue = files(&world, "blue");
        blue.remove("README");
        blue.insert("more/new.conf".into(), "new\n".into());
        blue
    };
    let first = remote.commit(&red);
    lands(&world, "v1", &first).await;
    assert_eq!(stands(&world), red);
    let database = id(&world, "db");
    let worker = id(&world, "worker");
    std::fs::create_dir(world.path("stack/data")).expect("a folder");
    std::fs::write(world.path("stack/data/kept"), "a person's").expect("a file");

    let second = remote.commit(&blue);
    let ended = lands(&world, "v2", &second).await;
    let journal = ended["journal"].as_str().expect("a text");
    assert!(journal.contains("changed since the last release: services.web.environment.PAINT: hmac:"), "{journal}");
    let with_data = |files: &Files| {
        let mut files = files.clone();
        files.insert("data/kept".into(), "a person's".into());
        files
    };
    assert_eq!(stands(&world), with_data(&blue));
    assert_eq!(id(&world, "db"), database, "nothing of the database has changed");
    assert_ne!(id(&world, "worker"), worker, "a file that is mounted into it has changed");
    assert_eq!(world.env(), world.env_of("v2"));

    // Only what is kept here is needed.
    remote.git(&["branch", "-m", "main", "gone"]);
    let back = world.server().roll_back(json!("previous")).await;
    assert_eq!(world.server().outcome(&back).await["outcome"], "live", "{}", world.server().journal(&back).await);
    assert_eq!((stands(&world), world.running()), (with_data(&red), "v1".to_owned()));
    assert_eq!(id(&world, "db"), database);
    world.server().post("/api/v1/services/web/resume", json!({})).await;
    remote.git(&["branch", "-m", "gone", "main"]);

    // A release that does not hold takes its files with it.
    world.arm("page@v3", "fail");
    let ended = order(&world, "v3", &second).await;
    assert_eq!(ended["outcome"], "rolled_back", "{ended:#}");
    assert_eq!((stands(&world), world.running()), (with_data(&red), "v1".to_owned()));
    let web = id(&world, "web");
    world.by_hand(&["compose", "up", "-d", "web", "db", "worker"]);
    assert_eq!(id(&world, "web"), web);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_brought_is_refused_by_name_and_nothing_is_changed() {
    let remote = Remote::new();
    let world = world(&remote, "").await;
    let red = files(&world, "red");
    let first = remote.commit(&red);
    lands(&world, "v1", &first).await;
    let containers = world.containers();
    let with = |name: &str, content: &str| {
        let mut files = red.clone();
        files.insert(name.into(), content.into());
        files
    };
    let compose = |change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(&red["compose.yaml"]).expect("JSON");
        change(&mut value);
        with("compose.yaml", &value.to_string())
    };
    let cases = [
        (with(".env", "WEB_TAG=evil\n"), ".env, which tagalong does not bring"),
        (with("compose.tagalong.yml", "services: {}\n"), "compose.tagalong.yml, which"),
        (with(".tagalong.lock", "x"), ".tagalong.lock, which"),
        (with("conf/out", "->/etc/passwd"), "conf/out, which leads out"),
        (with("conf/up", "->../../x"), "conf/up, which leads out"),
        (compose(&|value| value["include"] = json!(["https://example.com/stack.git"])), "which tagalong does not allow"),
        (compose(&|value| value["services"]["db"]["provider"] = json!({"type": "evil"})), "names a program of this host"),
        (compose(&|value| value["services"]["web"]["image"] = json!("acme/other:1")), "uses the image"),
    ];
    for (files, words) in cases {
        let commit = remote.commit(&files);
        let ended = order(&world, "v2", &commit).await;
        assert_eq!(ended["outcome"], "refused", "{ended:#}");
        assert!(ended["why"].as_str().expect("a reason").contains(words), "{words}: {ended:#}");
    }
    // A submodule is a repository of its own, with an address.
    remote.commit(&red);
    let of_other = format!("160000,{first},deploy/vendor");
    remote.git(&["update-index", "--add", "--cacheinfo", &of_other]);
    remote.git(&["commit", "--quiet", "-m", "a submodule"]);
    let ended = order(&world, "v2", &remote.git(&["rev-parse", "HEAD"])).await;
    assert!(ended["why"].as_str().expect("a reason").contains("it is a submodule"), "{ended:#}");
    // Neither is a commit of another branch, nor half a name, nor none.
    remote.git(&["checkout", "--quiet", "-b", "other"]);
    let other = remote.commit(&with("new", "x"));
    for (commit, words) in [(other.as_str(), "none of the refs"), (&first[..9], "in short"), ("", "names no commit")] {
        let body = if commit.is_empty() {
            json!({"service": "web", "tag": "v2"})
        } else {
            json!({"service": "web", "tag": "v2", "commit": commit})
        };
        let (_, answer) = world.server().post("/api/v1/deployments", body).await;
        let ended = match answer["id"].as_str() {
            Some(id) => world.server().outcome(id).await,
            None => answer,
        };
        assert!(ended.to_string().contains(words), "{words}: {ended:#}");
    }
    assert_eq!((stands(&world), world.containers(), world.env()), (red, containers, world.env_of("v1")));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_edited_stays_and_is_named() {
    let remote = Remote::new();
    let world = world(&remote, "").await;
    let red = files(&world, "red");
    // What stands there and is in the repository is taken over; what is not is refused.
    std::fs::write(world.path("stack/compose.yaml"), "{}").expect("a file");
    let first = remote.commit(&red);
    let ended = order(&world, "v1", &first).await;
    assert!(ended["why"].as_str().expect("a reason").contains("compose.yaml in") && ended["outcome"] == "refused", "{ended:#}");
    std::fs::write(world.path("stack/compose.yaml"), &red["compose.yaml"]).expect("a file");
    lands(&world, "v1", &first).await;

    let second = remote.commit(&files(&world, "blue"));
    std::fs::write(world.path("stack/conf/web.conf"), "mine\n").expect("a file");
    let ended = order(&world, "v2", &second).await;
    let why = ended["why"].as_str().expect("a reason");
    assert!(
        ended["outcome"] == "refused" && why.contains("conf/web.conf in") && why.contains("was edited since tagalong wrote it"),
        "{ended:#}"
    );
    let (_, shown) = world.server().get("/api/v1/services/web").await;
    assert!(shown["drift"].as_str().unwrap_or_default().contains("conf/web.conf was edited"), "{shown:#}");
    assert_eq!(shown["files"], json!(&first[..12]), "{shown:#}");
    assert_eq!(stands(&world)["conf/web.conf"], "mine\n");
    // The way out of the sentence: it is committed, or moved away.
    let third = remote.commit(&{
        let mut files = files(&world, "blue");
        files.insert("conf/web.conf".into(), "mine\n".into());
        files
    });
    lands(&world, "v2", &third).await;
    std::fs::write(world.path("stack/README"), "mine\n").expect("a file");
    std::fs::remove_file(world.path("stack/README")).expect("a file");
    lands(&world, "v3", &second).await;
    assert_eq!(stands(&world), files(&world, "blue"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_files_are_replaced_it_ends_with_the_old_set_or_the_new_one() {
    let remote = Remote::new();
    let mut world = world(&remote, "").await;
    let red = files(&world, "red");
    let blue = files(&world, "blue");
    let commits = [remote.commit(&red), remote.commit(&blue)];
    lands(&world, "v1", &commits[0]).await;
    for (tag, fails) in [("v2", false), ("v3", true)] {
        let (target, other) = if tag == "v2" { (1, &red) } else { (0, &blue) };
        world.arm(&format!("up@{tag}"), "hang");
        let id = world.server().order("/api/v1/deployments", json!({"service": "web", "tag": tag, "commit": commits[target]})).await;
        world.reached(&format!("up@{tag}")).await;
        world.kill();
        world.disarm(&format!("up@{tag}"));
        // As if it had come half the way: one file is the old one again.
        std::fs::write(world.path("stack/conf/web.conf"), &other["conf/web.conf"]).expect("a file");
        if fails {
            world.arm(&format!("page@{tag}"), "fail");
        }
        world.start().await;
        let ended = world.server().outcome(&id).await;
        let expected = if fails { ("rolled_back", &blue, "v2") } else { ("live", &blue, "v2") };
        assert_eq!(ended["outcome"], expected.0, "{ended:#}\n{}", world.server().journal(&id).await);
        assert_eq!((&stands(&world), world.running().as_str()), (expected.1, expected.2));
    }
    world.finish().await;
}

/// The stack of a site on Docker: web reads a file, cache a folder, db has a volume, and there may be a worker.
fn site_files(site: &Site, paint: &str, volume: &str, has_worker: bool) -> Files {
    let first = std::fs::read_to_string(site.dir.path().join("compose.first")).expect("a file");
    let mut compose: Value = serde_json::from_str(&first).expect("JSON");
    let helper = compose["services"]["db"].clone();
    let with = |volumes: Value| {
        let mut service = helper.clone();
        service["volumes"] = volumes;
        service
    };
    compose["services"]["web"]["environment"] = json!({"PAINT": paint});
    compose["services"]["web"]["volumes"] = json!(["./data:/srv/data"]);
    compose["services"]["db"] = with(json!([format!("{volume}:/srv/db")]));
    compose["services"]["cache"] = with(json!(["./conf:/etc/cache:ro"]));
    compose["services"]["idle"] = with(json!([]));
    compose["volumes"] = json!({ volume: {} });
    if !has_worker {
        compose["services"].as_object_mut().expect("services").remove("worker");
    }
    let conf = format!("paint = {paint}\n");
    [("compose.yaml", compose.to_string()), ("conf/cache.conf", conf)].map(|(name, text)| (name.to_owned(), text)).into()
}

/// Where a container mounts a volume, and which.
fn volume_of(site: &Site, service: &str) -> String {
    let name = format!("{}-{service}-1", site.project);
    site.docker.says(&["inspect", "-f", "{{range .Mounts}}{{.Name}} {{end}}", &name])
}

pub(crate) async fn files_that_come_from_git(images: Arc<Images>) {
    let mut site = Site::make(&images, &Docker { host: None }, &images.port, json!({})).await;
    let remote = Remote::new();
    let place = site.dir.path().to_owned();
    std::fs::rename(place.join("stack/compose.yaml"), place.join("compose.first")).expect("a file");
    let config = std::fs::read_to_string(place.join("tagalong.toml")).expect("a file");
    std::fs::write(place.join("tagalong.toml"), config + &remote.table(&site.project)).expect("a file");
    site.kill_and_start().await;
    std::fs::create_dir(place.join("stack/data")).expect("a folder");
    let read = |name: &str| std::fs::read_to_string(place.join("stack").join(name)).unwrap_or_default();
    let deploy = async |site: &Site, tag: &str, commit: &str| {
        let body = json!({"service": site.project, "tag": images.tag(tag), "commit": commit});
        let id = site.server().order("/api/v1/deployments", body).await;
        site.ended(&id).await
    };
    let (red, blue) = (site_files(&site, "red", "one", true), site_files(&site, "blue", "two", false));
    let first = remote.commit(&red);
    is_outcome(&deploy(&site, "one", &first).await, "live");
    site.serves(&images.tag("one")).await;
    site.bear_a_hand_run();
    let before = site.containers();
    assert_eq!(before.len(), 5, "{before:?}");

    // The compose file has changed, the worker is gone from it, and the volume has another name.
    let second = remote.commit(&blue);
    let ended = deploy(&site, "two", &second).await;
    is_outcome(&ended, "live");
    let journal = ended["journal"].to_string();
    for words in
        ["services.web.environment.PAINT: hmac:", "the service worker is not in the compose files any more", "at /srv/db now, and not"]
    {
        assert!(journal.contains(words), "{words}: {ended:#}");
    }
    site.serves(&images.tag("two")).await;
    let after = site.containers();
    let same: Vec<&str> = before.keys().map(String::as_str).filter(|service| before[*service] == after[*service]).collect();
    assert_eq!(same, ["idle", "worker"], "only what has changed is brought up again");
    assert!(volume_of(&site, "db").contains("_two"), "{}", volume_of(&site, "db"));
    site.bear_a_hand_run();

    // Back, without a network; and the worker that somebody has removed meanwhile comes back too.
    site.docker.says(&["rm", "-f", &format!("{}-worker-1", site.project)]);
    remote.git(&["branch", "-m", "main", "gone"]);
    is_outcome(&site.roll_back().await, "live");
    site.serves(&images.tag("one")).await;
    assert_eq!((read("compose.yaml"), read("conf/cache.conf")), (red["compose.yaml"].clone(), red["conf/cache.conf"].clone()));
    assert!(volume_of(&site, "db").contains("_one") && site.containers().contains_key("worker"));
    assert_eq!(site.containers()["idle"], before["idle"]);
    site.bear_a_hand_run();
    let kept = site.docker.says(&["volume", "ls", "-q", "--filter", &format!("label=com.docker.compose.project={}", site.project)]);
    assert!(kept.contains("_one") && kept.contains("_two"), "no volume is ever deleted: {kept}");

    // What does not hold takes its files with it.
    remote.git(&["branch", "-m", "gone", "main"]);
    site.server().post(&format!("/api/v1/services/{}/resume", site.project), json!({})).await;
    let ended = deploy(&site, "three", &second).await;
    is_outcome(&ended, "rolled_back");
    site.serves(&images.tag("one")).await;
    assert_eq!(read("conf/cache.conf"), red["conf/cache.conf"]);
    site.bear_a_hand_run();
    site.finish().await;
}
