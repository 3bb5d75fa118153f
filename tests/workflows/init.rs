//! `tagalong init`: from a stack's folder and a git remote to a configuration that `check` passes and a workflow. The workflows that it
//! writes lie in `written/`, where the linters look at them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use crate::forge::Forge;
use crate::forge::repository;
use crate::script::root;

/// A folder with a stack, which is a clone where there is a remote, and another for the configuration.
struct World {
    dir: tempfile::TempDir,
}

const WEB: &str =
    "name: site\nservices:\n  web:\n    image: registry.example.com/acme/web:${WEB_TAG:-1f0c9e2}\n  db:\n    image: postgres:16\n";

impl World {
    fn new(compose: &str, remote: Option<&str>) -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(world.path("etc")).unwrap();
        std::fs::create_dir(world.path("web")).unwrap();
        std::fs::write(world.path("web/compose.yml"), compose).unwrap();
        if let Some(remote) = remote {
            world.git(&["init", "--quiet", "--initial-branch=main"]);
            world.git(&["remote", "add", "origin", remote]);
        }
        world
    }

    fn git(&self, args: &[&str]) {
        assert!(Command::new("git").args(args).current_dir(self.path("web")).status().unwrap().success());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// tagalong in the stack's folder, without a terminal: what it says, and whether it ends well.
    fn tagalong(&self, words: &str) -> (String, bool) {
        let ran = Command::new(env!("CARGO_BIN_EXE_tagalong"))
            .args(words.split_whitespace())
            .arg("--config")
            .arg(self.path("etc/tagalong.toml"))
            .current_dir(self.path("web"))
            .env_remove("TAGALONG_URL")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)), ran.status.success())
    }

    fn init(&self, words: &str) -> String {
        let (said, is_well) = self.tagalong(&format!("init {words}"));
        assert!(is_well, "{words}: {said}");
        let (checked, is_well) = self.tagalong("check");
        assert!(is_well, "check: {checked}");
        said
    }

    /// What is said where init does not end well; nothing is written then.
    fn refused(&self, words: &str) -> String {
        let before = self.all();
        let (said, is_well) = self.tagalong(&format!("init {words}"));
        assert!(!is_well, "{words}: {said}");
        assert_eq!(self.all(), before, "{said}");
        said
    }

    /// Every file of both folders with its content.
    fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut folders = vec![self.path("etc"), self.path("web")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    found.push((entry.path(), std::fs::read(entry.path()).unwrap()));
                }
            }
        }
        found.sort();
        found
    }

    /// The workflow is the one in `written/`, which the linters have looked at.
    #[allow(clippy::disallowed_methods, reason = "a person says that the files are to be written")]
    fn wrote(&self, folder: &str, name: &str) {
        let written = self.read(&format!("web/{folder}/workflows/deploy.yml"));
        let kept = root().join("tests/workflows/written").join(name);
        if std::env::var_os("WRITE_DOCUMENTS").is_some() {
            std::fs::write(&kept, &written).unwrap();
        }
        let known = std::fs::read_to_string(&kept).unwrap_or_default();
        assert_eq!(written, known, "write it with WRITE_DOCUMENTS=1 cargo test --test workflows init, and lint it");
    }
}

/// All contain every part, in their order.
fn says(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("\"{part}\" is not in its place in: {text}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn a_clone_of_github_gets_a_policy_and_a_workflow() {
    let compose = "services:\n  web:\n    image: ghcr.io/acme/web:${WEB_TAG:-1}\n    build: {context: app, dockerfile: Dockerfile.web, target: site, args: {A: b}}\n    labels: ['traefik.http.routers.web.rule=Host(`www.example.com`)']\n";
    let world = World::new(compose, Some("git@github.com:acme/web.git"));
    let flags = "--url https://deploy.example.com/ --repository-id 7001 --owner-id 42 --branch main";
    let said = world.init(flags);
    says(
        &said,
        &[
            "tagalong.toml: written",
            "workflows/deploy.yml: written",
            "build.args",
            "1. Check the host",
            "2. Start the server",
            "3. Commit and push",
            "The push to main",
        ],
    );
    assert!(!said.contains("TAGALONG_SECRET") && !said.contains("TAGALONG_URL"), "there is nothing to paste: {said}");
    let config = world.read("etc/tagalong.toml");
    let policy = "[[oidc]]\nid = \"web-main\"\nissuer = \"https://token.actions.githubusercontent.com\"\naudience = \"https://deploy.example.com\"\n\
                  scopes = [\"deploy:web\", \"rollback:web\"]\n[oidc.claims]               # the jobs of acme/web on main\n\
                  repository_id = \"7001\"\nrepository_owner_id = \"42\"\nref = \"refs/heads/main\"\nevent_name = [\"push\", \"workflow_dispatch\"]\n";
    says(
        &config,
        &[
            policy,
            "[service.web]",
            "project = \"web\"",
            "image = \"ghcr.io/acme/web\"\nvariable = \"WEB_TAG\"",
            "url = \"https://www.example.com/\"",
        ],
    );
    world.wrote(".github", "github-oidc.yml");
    for file in ["action.yml", "workflows/action/order.sh", "workflows/action/text.sh"] {
        let own = std::fs::read_to_string(root().join(file)).unwrap();
        assert_eq!(world.read(&format!("web/.github/actions/tagalong/{file}")), own);
    }
    // Once more, and nothing changes.
    let before = world.all();
    says(&world.init(flags), &["nothing to change", "Nothing has changed"]);
    assert_eq!(world.all(), before);
    // A workflow that somebody has changed is theirs, until they say otherwise.
    let deploy = world.path("web/.github/workflows/deploy.yml");
    std::fs::write(&deploy, "mine").unwrap();
    says(&world.init(flags), &["deploy.yml: is yours and was kept"]);
    assert_eq!(world.read("web/.github/workflows/deploy.yml"), "mine");
    world.init(&format!("{flags} --force"));
    assert_eq!(world.all(), before);
}

#[test]
fn a_secret_is_used_where_no_token_is_to_be_had() {
    let compose = "services:\n  web: {image: 'registry.example.com/acme/web:${TAG}'}\n  worker: {image: 'acme/worker:${WORKER}', build: worker}\n  also: {image: 'registry.example.com/acme/web:${TAG}'}\n";
    let world = World::new(compose, None);
    let action = format!("acme/tagalong@{}", "0".repeat(40));
    let flags =
        format!("--repository https://github.com/acme/web --branch main --auth secret --action {action} --project site --service shop");
    let said = world.init(&flags);
    says(
        &said,
        &[
            "1. Check the host",
            "3. Open https://github.com/acme/web/settings/secrets/actions/new and store the content of",
            "ci.secret as the secret TAGALONG_SECRET",
            "4. Open https://github.com/acme/web/settings/variables/actions/new",
            "TAGALONG_URL",
            "to Docker Hub as the secrets REGISTRY_USER_DOCKER_IO and REGISTRY_PASSWORD_DOCKER_IO",
            "to registry.example.com as the secrets REGISTRY_USER_REGISTRY_EXAMPLE_COM and REGISTRY_PASSWORD_REGISTRY_EXAMPLE_COM",
            "7. Copy",
            "into your clone of acme/web",
        ],
    );
    assert!(!world.path("web/.github/actions").exists());
    let secret = world.read("etc/ci.secret");
    assert!(secret.starts_with("whsec_") && !said.contains(secret.trim()), "{said}");
    assert_eq!(std::fs::metadata(world.path("etc/ci.secret")).unwrap().permissions().mode() & 0o777, 0o600);
    let config = world.read("etc/tagalong.toml");
    says(
        &config,
        &[
            "id = \"ci\"\nsecret_file = \"ci.secret\"",
            "[service.shop]",
            "project = \"site\"",
            "image = \"registry.example.com/acme/web\"\nvariable = \"TAG\"",
            "[[service.shop.images]]\nimage = \"acme/worker\"\nvariable = \"WORKER\"",
        ],
    );
    world.wrote(".github", "github-secret.yml");
    let before = world.all();
    says(&world.init(&flags), &["Nothing has changed", "ci.secret as the secret TAGALONG_SECRET"]);
    assert_eq!(world.all(), before);
}

#[test]
fn the_forge_is_asked_what_it_is_and_for_the_numbers_of_the_repository() {
    let url = "--url https://deploy.example.com";
    let numbers = "repository_id = \"7001\"\nrepository_owner_id = \"42\"\nref = \"refs/heads/trunk\"";
    let at = |forge: &Forge| {
        World::new(&WEB.replace("registry.example.com", "127.0.0.1:5000"), Some(&format!("{}/acme/web.git", forge.address)))
    };

    let forge = Forge::forgejo("15.0.2+gitea-1.22.0");
    let world = at(&forge);
    world.init(url);
    says(&world.read("etc/tagalong.toml"), &[&format!("issuer = \"{}/api/actions\"", forge.address), numbers]);
    world.wrote(".forgejo", "forgejo-oidc.yml");

    let forge = Forge::forgejo("11.0.7+gitea-1.22.0");
    let world = at(&forge);
    says(&world.init(url), &["this Forgejo is version 11", "settings/actions/secrets and store"]);
    says(&world.refused("--auth oidc --service two"), &["this Forgejo is version 11"]);

    let forge = Forge::gitea();
    let world = at(&forge);
    says(&world.init(url), &["Gitea gives its jobs no OIDC token"]);
    world.wrote(".gitea", "gitea-secret.yml");

    let forge = Forge::ghes(200, repository("acme/web"));
    let world = at(&forge);
    world.init(url);
    says(&world.read("etc/tagalong.toml"), &[&format!("issuer = \"{}/_services/token\"", forge.address), numbers]);
    assert_eq!(forge.asked().last().map(String::as_str), Some("/api/v3/repos/acme/web"));

    // A private repository, one that was renamed, and an answer that is none: no number is guessed.
    for (status, body) in [(404, "{\"message\":\"Not Found\"}".into()), (200, repository("acme/renamed")), (200, "<html>".into())] {
        let world = at(&Forge::ghes(status, body));
        says(&world.init(url), &["the number of the repository is not known", "--repository-id"]);
        assert!(!world.read("etc/tagalong.toml").contains("oidc"));
    }
    // Forgejo's policies may name the repository instead.
    let version = ("/api/forgejo/v1/version", 200, "{\"version\":\"15.0.0\"}".to_owned());
    let world = at(&Forge::start(&[version]));
    says(&world.init(url), &["The policy knows the repository by its name"]);
    says(&world.read("etc/tagalong.toml"), &["repository = \"acme/web\"\nref = \"refs/heads/main\""]);
    // Nobody knows what answers there.
    let forge = Forge::start(&[]);
    let world = at(&forge);
    says(&world.init(url), &["No workflow is written", "say which it is with --forge", "--repository https://FORGE/OWNER/NAME"]);
    assert!(!world.path("web/.github").exists());
    let world = World::new(WEB, None);
    says(&world.refused(&format!("--repository {}/acme/web", forge.address)), &["--forge"]);
}

#[test]
fn a_configuration_is_added_to_and_never_replaced() {
    let world = World::new(WEB, None);
    let own =
        "# mine\nversion = 1\n[server]\nlisten = [\"127.0.0.1:1\"] # here\ndata_dir = \"state\"\nsocket = \"s\"\n\n[docker]\nwait_s = 5";
    std::fs::write(world.path("etc/tagalong.toml"), own).unwrap();
    std::fs::set_permissions(world.path("etc/tagalong.toml"), std::fs::Permissions::from_mode(0o604)).unwrap();
    let said = world.init("--smoke-url https://www.example.com/");
    says(&said, &["tagalong.toml: changed", "For a workflow, run `tagalong init` again with --repository"]);
    assert!(!world.init("").contains("No page is checked"), "the configuration names one");
    let config = world.read("etc/tagalong.toml");
    assert!(config.starts_with(&format!("{own}\n\n[[key]]")), "{config}");
    assert_eq!(std::fs::metadata(world.path("etc/tagalong.toml")).unwrap().permissions().mode() & 0o777, 0o604);

    // A second stack gets a key of its own.
    std::fs::create_dir(world.path("web/shop")).unwrap();
    std::fs::write(world.path("web/shop/compose.yml"), WEB).unwrap();
    says(&world.refused("--dir shop"), &["has a service web already", "--service"]);
    world.init("--dir shop --service shop");
    says(
        &world.read("etc/tagalong.toml"),
        &["id = \"ci\"", "id = \"ci-shop\"\nsecret_file = \"ci-shop.secret\"\nscopes = [\"deploy:shop\", \"rollback:shop\"]"],
    );

    // Nothing is added to what is not valid, and nothing that would make it so.
    std::fs::write(world.path("etc/tagalong.toml"), "version = 2\n[server]\nlisten = [\"127.0.0.1:1\"]\n").unwrap();
    says(&world.refused(""), &["supports only version 1"]);
    std::fs::write(world.path("etc/tagalong.toml"), "version = 1\nkey = []\n[server]\nlisten = [\"127.0.0.1:1\"]\n").unwrap();
    says(&world.refused("--service third"), &["Nothing was written", "add them by hand", "[[key]]"]);
}

#[test]
fn a_stack_that_cannot_be_pinned_yet_is_told_how() {
    let built = World::new("services:\n  web:\n    build: .\n", Some("https://github.com/acme/web"));
    let flags = "--auth secret --branch main";
    says(&built.refused(flags), &["has no name", "`image: ghcr.io/acme/web:${WEB_TAG:-latest}` to the service web"]);
    built.init(&format!("{flags} --edit-compose"));
    assert_eq!(built.read("web/compose.yml"), "services:\n  web:\n    image: ghcr.io/acme/web:${WEB_TAG:-latest}\n    build: .\n");

    let fixed = World::new("services:\n  web:\n    image: acme/web:1.2 # ours\n", None);
    says(&fixed.init(""), &["write `image: acme/web:${WEB_TAG:-1.2}` instead of `image: acme/web:1.2`", "an override file pins the image"]);
    assert!(!fixed.read("etc/tagalong.toml").contains("variable"));
    assert_eq!(fixed.read("web/compose.yml"), "services:\n  web:\n    image: acme/web:1.2 # ours\n");
    let fixed = World::new("services:\n  web:\n    image: acme/web:1.2 # ours\n", None);
    fixed.init("--edit-compose");
    says(&fixed.read("etc/tagalong.toml"), &["variable = \"WEB_TAG\""]);
    assert_eq!(fixed.read("web/compose.yml"), "services:\n  web:\n    image: acme/web:${WEB_TAG:-1.2} # ours\n");

    let flow = World::new("services: {web: {image: acme/web:1.2}}\n", None);
    says(&flow.refused("--edit-compose"), &["do it by hand"]);
    // A tag that must be set, and one that .env sets.
    let demanding = || World::new("services: {web: {image: 'acme/web:${WEB_TAG:?set it}'}}\n", None);
    demanding().init("");
    let set = demanding();
    std::fs::write(set.path("web/.env"), "WEB_TAG=1\n").unwrap();
    says(&set.refused("--variable OTHER"), &["do not use the variable OTHER"]);
    set.init("");
    assert_eq!(set.read("web/.env"), "WEB_TAG=1\n");
}

#[test]
fn each_problem_has_one_sentence() {
    let world = World::new(WEB, None);
    std::fs::create_dir(world.path("web/below")).unwrap();
    std::fs::rename(world.path("web/compose.yml"), world.path("web/below/compose.yml")).unwrap();
    says(&world.refused(""), &["There is no compose file in", "name one with --dir:", "web/below"]);
    says(&world.refused("--dir below/nowhere"), &["is not a folder"]);
    std::fs::remove_dir_all(world.path("web/below")).unwrap();
    says(&world.refused(""), &["there is no compose file in"]);
    let world = World::new("services: {a: {image: x/a:1}, b: {image: y/b:1}}\n", None);
    says(&world.refused(""), &["Which image does CI build?", "x/a, y/b"]);
    for (flags, part) in [
        ("--image z/c", "No service of the stack uses the image z/c"),
        ("--image x/a --url deploy.example.com", "is not an address"),
        ("--image x/a --url http://deploy.example.com", "plain http"),
        ("--image x/a --repository web", "is not the address of a repository"),
        ("--image x/a --auth oidc", "the repository is not known: name it with --repository"),
        ("--image x/a --action acme/tagalong@main", "the whole name of the commit"),
    ] {
        says(&world.refused(flags), &[part]);
    }
    let before = world.all();
    let (said, is_well) = world.tagalong("init --image x/a --dry-run --auth secret --branch main --repository https://github.com/acme/web");
    assert!(is_well, "{said}");
    says(&said, &["[service.a]", "name: Deploy", "would be written", "[service.a.source]", "repository = \"acme/web\""]);
    assert_eq!(world.all(), before);
    let (said, _) = world.tagalong("init --image x/a --json");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(said["files"][0]["state"] == "new" && said["next"].as_array().is_some_and(|next| next.len() > 2), "{said:#}");
}
