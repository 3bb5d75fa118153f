//! Seventy stacks as people write them: how each is pinned, that the pin reaches a person's own `docker compose`, and that
//! nothing else changes. No container is started.
#![allow(clippy::unwrap_used, clippy::panic, clippy::similar_names, reason = "tests end at the first surprise")]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use process::Cancel;
use process::Command;
use process::capture;
use tagalong::config::ComposeStack;
use tagalong::config::Docker;
use tagalong::config::PinChoice;
use tagalong::config::PinnedImage;
use tagalong::engine::Daemon;
use tagalong::engine::Engine;
use tagalong::engine::EngineError;
use tagalong::engine::PinBytes;
use tagalong::engine::PinnedNow;
use tagalong::engine::Resolved;
use tagalong::model::Digest;
use tagalong::model::ImageRef;
use tagalong::model::Repository;
use tagalong::model::Tag;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    #[serde(default)]
    mode: String,
    /// Part of the reason for the mode.
    #[serde(default)]
    why: String,
    /// Part of the refusal.
    #[serde(default)]
    refused: String,
    /// Part of each warning, all of them.
    #[serde(default)]
    warns: Vec<String>,
    /// The files that the pin changes or makes.
    #[serde(default)]
    changes: BTreeSet<String>,
    /// `COMPOSE_FILE` after the pin.
    lists: Option<String>,
    #[serde(default)]
    files: Vec<PathBuf>,
    #[serde(default)]
    choice: String,
    active: Option<Vec<String>>,
    one_shots: Option<Vec<String>>,
    touched: Option<Vec<String>>,
    /// Whether a bare `docker compose` reads the stack that is meant, also before the pin.
    #[serde(default = "yes")]
    hand_before: bool,
    /// … and after it.
    #[serde(default = "yes")]
    by_hand: bool,
    pin: Vec<ExpectPin>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
struct ExpectPin {
    image: String,
    variable: Option<String>,
    services: Vec<String>,
}

/// A copy of one stack in a folder named `site`.
struct Case {
    name: String,
    expect: Expect,
    folder: tempfile::TempDir,
}

impl Case {
    fn dir(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    fn engine(&self) -> Engine {
        let pin = |pin: &ExpectPin| PinnedImage { image: Repository::parse(&pin.image).unwrap(), variable: pin.variable.clone() };
        let stack = ComposeStack {
            dir: self.dir(),
            files: self.expect.files.clone(),
            project: "site".into(),
            pins: self.expect.pin.iter().map(pin).collect(),
            mode: match self.expect.choice.as_str() {
                "env" => PinChoice::Env,
                "override" => PinChoice::Override,
                _ => PinChoice::Auto,
            },
        };
        Engine::new(&Daemon::new(docker(), Arc::default()), &stack).acting_alone()
    }

    fn refs(&self, tag: &str, fill: char) -> Vec<ImageRef> {
        let digest = Digest::parse(&format!("sha256:{}", fill.to_string().repeat(64))).unwrap();
        let reference = |pin: &ExpectPin| ImageRef {
            loaded: false,
            repository: Repository::parse(&pin.image).unwrap(),
            tag: Some(Tag::parse(tag).unwrap()),
            digest: digest.clone(),
        };
        self.expect.pin.iter().map(reference).collect()
    }

    /// `docker compose ARGS` as a person types it in the folder.
    async fn by_hand(&self, args: &[&str]) -> Result<String, String> {
        let mut words = vec!["compose".to_owned()];
        if !self.expect.by_hand {
            words.extend(["-p", "site", "--project-directory", "."].map(str::to_owned));
            words.extend(self.expect.files.iter().flat_map(|file| ["-f".to_owned(), file.display().to_string()]));
        }
        words.extend(args.iter().map(|arg| (*arg).to_owned()));
        let command = Command {
            program: "docker".into(),
            args: words,
            env: BTreeMap::from([("PATH".into(), docker().path), ("HOME".into(), docker().home)]),
            dir: Some(self.dir()),
            deadline: Duration::from_mins(1),
            mask: Arc::default(),
            lock: None,
        };
        capture(&command, &Cancel::default()).await.success()
    }

    async fn seen(&self) -> Result<Seen, String> {
        let config = serde_json::from_str(&self.by_hand(&["--profile", "*", "config", "--format", "json"]).await?).unwrap();
        let hashes = self.by_hand(&["--profile", "*", "config", "--hash", "*"]).await?;
        let hashes =
            hashes.lines().filter_map(|line| line.split_once(' ')).map(|(name, hash)| (name.to_owned(), hash.to_owned())).collect();
        Ok(Seen { config, hashes })
    }

    /// Every file with its bytes and mode.
    fn files(&self) -> BTreeMap<String, (Vec<u8>, u32)> {
        let mut files = BTreeMap::new();
        walk(&self.dir(), &mut |path| {
            let mode = path.metadata().unwrap().permissions().mode();
            files.insert(path.strip_prefix(self.dir()).unwrap().display().to_string(), (std::fs::read(path).unwrap(), mode));
        });
        files
    }
}

/// What a person's compose makes of the folder.
struct Seen {
    config: Value,
    hashes: BTreeMap<String, String>,
}

fn docker() -> Docker {
    Docker {
        program: "docker".into(),
        path: "/usr/local/bin:/usr/bin:/bin".into(),
        home: "/root".into(),
        host: None,
        config_dir: None,
        wait: std::time::Duration::from_secs(1),
    }
}

fn walk(dir: &Path, each: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            walk(&entry.path(), each);
        } else if kind.is_file() {
            each(&entry.path());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path()).unwrap(), target).unwrap();
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn cases() -> Vec<Case> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut names: Vec<String> =
        std::fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let wanted = |name: &&String| option_env!("CORPUS").is_none_or(|wanted| name.contains(wanted));
    let case = |name: &String| {
        let folder = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(corpus.join(name).join("expect.toml")).unwrap();
        copy(&corpus.join(name), &folder.path().join("site"));
        std::fs::remove_file(folder.path().join("site/expect.toml")).unwrap();
        Case { name: name.clone(), expect: toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")), folder }
    };
    names.iter().filter(wanted).map(case).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stack_is_pinned_as_it_says() {
    let cases = cases();
    assert!(!cases.is_empty());
    let places = Arc::new(tokio::sync::Semaphore::new(4));
    let started = cases.into_iter().map(|case| {
        let places = Arc::clone(&places);
        tokio::spawn(async move {
            let _place = places.acquire().await.unwrap();
            check(&case).await.map_err(|fault| format!("{}: {fault}", case.name))
        })
    });
    let mut faults = Vec::new();
    for case in started.collect::<Vec<_>>() {
        faults.extend(case.await.unwrap().err());
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

macro_rules! hold {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err(format!($($words)+));
        }
    };
}

async fn check(case: &Case) -> Result<(), String> {
    let (engine, cancel) = (case.engine(), Cancel::default());
    let untouched = case.files();
    let resolved = engine.resolve(b"key", &cancel).await;
    hold!(case.files() == untouched, "resolving changed a file");
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(EngineError::Stack(said)) => {
            let is_meant = !case.expect.refused.is_empty() && said.contains(&case.expect.refused);
            return if is_meant { Ok(()) } else { Err(format!("was refused: {said}")) };
        }
        Err(error) => return Err(format!("failed: {error}")),
    };
    as_expected(&case.expect, &resolved)?;

    let before = case.seen().await;
    hold!(before.is_ok() || !case.expect.hand_before || !case.expect.by_hand, "by hand before the pin: {:?}", before.err());
    let snapshot = engine.snapshot().await.map_err(|error| error.to_string())?;
    for (tag, fill) in [("1f0c9e2", 'a'), ("2a7d410", 'b')] {
        let refs = case.refs(tag, fill);
        engine.pin(&resolved, &refs).await.map_err(|error| format!("pin: {error}"))?;
        engine.prove(&resolved, &refs, &cancel).await.map_err(|error| format!("prove: {error}"))?;
        let current = engine.current().await.map_err(|error| error.to_string())?;
        hold!(current.iter().map(PinnedNow::reference).eq(refs.iter().cloned().map(Some)), "current says {current:?}");
        if case.expect.by_hand {
            let after = case.seen().await.map_err(|error| format!("by hand after the pin: {error}"))?;
            if let (Ok(before), true) = (&before, case.expect.hand_before) {
                nothing_else_changed(before, &after, &resolved, &refs)?;
            }
        }
        let edit = engine.edited(&resolved, &refs, b"key", &cancel).await.map_err(|error| format!("edited: {error}"))?;
        hold!(edit.is_none(), "nobody edited it, and yet: {edit:?}");
        let again = engine.resolve(b"key", &cancel).await.map_err(|error| format!("resolving again: {error}"))?;
        hold!(
            again.pinned_by() == resolved.pinned_by() && again.uses == resolved.uses,
            "a second resolve says {:?}: {}",
            again.pinned_by(),
            again.why_mode
        );
    }
    changed_files(case, &untouched)?;

    let stored = PinBytes::from_text(&snapshot.to_text())?;
    let pinned = case.refs("2a7d410", 'b');
    engine.unpin(&stored, &pinned).await.map_err(|error| format!("unpin: {error}"))?;
    hold!(case.files() == untouched, "unpin did not bring the old bytes back");
    // A line that a person adds to .env meanwhile stays; the pin goes nevertheless.
    engine.pin(&resolved, &pinned).await.map_err(|error| format!("pin: {error}"))?;
    let (env, before) = (case.dir().join(".env"), engine.current().await.map_err(|error| error.to_string())?);
    let mut text = std::fs::read(&env).unwrap_or_default();
    text.extend_from_slice(if text.is_empty() || text.ends_with(b"\n") { b"ADDED=x\n" } else { b"\nADDED=x\n" });
    std::fs::write(&env, text).unwrap();
    engine.unpin(&stored, &pinned).await.map_err(|error| format!("unpin beside an edit: {error}"))?;
    hold!(std::fs::read_to_string(&env).is_ok_and(|text| text.contains("ADDED=x")), "unpin took a person's line away");
    let current = engine.current().await.map_err(|error| error.to_string())?;
    hold!(current != before, "unpin left the pin: {current:?}");
    engine.restore(&stored).await.map_err(|error| format!("restore: {error}"))?;
    hold!(case.files() == untouched, "restore did not bring the old bytes back");
    Ok(())
}

fn as_expected(expect: &Expect, resolved: &Resolved) -> Result<(), String> {
    hold!(expect.refused.is_empty(), "was not refused");
    hold!(resolved.pinned_by() == expect.mode, "mode {:?}: {}", resolved.pinned_by(), resolved.why_mode);
    hold!(resolved.why_mode.contains(&expect.why), "why: {}", resolved.why_mode);
    for (used, pin) in resolved.uses.iter().zip(&expect.pin) {
        hold!(used.services == pin.services, "{} is used by {:?}", pin.image, used.services);
    }
    let all_meant = resolved.warnings.iter().all(|warning| expect.warns.iter().any(|part| warning.contains(part)));
    let all_said = expect.warns.iter().all(|part| resolved.warnings.iter().any(|warning| warning.contains(part)));
    hold!(all_meant && all_said, "warnings: {:?}", resolved.warnings);
    let names = |of: &dyn Fn(&tagalong::engine::Service) -> bool| {
        resolved.services.iter().filter(|service| of(service)).map(|service| service.name.clone()).collect::<Vec<_>>()
    };
    let active = names(&|service| service.active);
    hold!(expect.active.as_ref().is_none_or(|meant| *meant == active), "active: {active:?}");
    let one_shots = names(&|service| service.one_shot);
    hold!(expect.one_shots.as_ref().is_none_or(|meant| *meant == one_shots), "one-shots: {one_shots:?}");
    let touched = resolved.touched();
    hold!(expect.touched.as_ref().is_none_or(|meant| *meant == touched), "touched: {touched:?}");
    let stored = resolved.config_with(&[]);
    hold!(!stored.contains("hunter22") && !stored.contains("tagalong-"), "stored configuration: {stored}");
    Ok(())
}

/// Exactly the pinned images are exactly ours; every other leaf, and the hash of every other service, is as before.
fn nothing_else_changed(before: &Seen, after: &Seen, resolved: &Resolved, refs: &[ImageRef]) -> Result<(), String> {
    let mut meant = before.config.clone();
    let mut pinned = BTreeSet::new();
    for used in &resolved.uses {
        let reference = refs.iter().find(|reference| reference.repository == used.pin.image).unwrap();
        for service in &used.services {
            pinned.insert(service.clone());
            let image = after.config["services"][service]["image"].as_str().unwrap_or_default().to_owned();
            let is_ours = image == reference.to_string() || image.ends_with(&format!("/{reference}"));
            hold!(is_ours, "{service} would run {image}");
            meant["services"][service]["image"] = Value::String(image);
        }
    }
    let mut seen = after.config.clone();
    for config in [&mut meant, &mut seen] {
        // Fragments that anchors copy from: their copies are compared.
        config.as_object_mut().unwrap().retain(|name, _| !name.starts_with("x-"));
    }
    hold!(meant == seen, "more than the images changed:\n{}\n{}", before.config, after.config);
    for (service, hash) in &before.hashes {
        let is_same = after.hashes.get(service) == Some(hash);
        hold!(pinned.contains(service) || is_same, "{service} would be recreated");
    }
    hold!(before.hashes.len() == after.hashes.len(), "services came or went");
    Ok(())
}

fn changed_files(case: &Case, before: &BTreeMap<String, (Vec<u8>, u32)>) -> Result<(), String> {
    let after = case.files();
    let gone: Vec<&String> = before.keys().filter(|name| !after.contains_key(*name)).collect();
    hold!(gone.is_empty(), "the pin removed {gone:?}");
    let changed: BTreeSet<String> =
        after.iter().filter(|(name, now)| before.get(*name) != Some(now)).map(|(name, _)| name.clone()).collect();
    hold!(changed == case.expect.changes, "the pin changed {changed:?}");
    for (name, (_, mode)) in &after {
        let meant = before.get(name).map_or(if name == ".env" { 0o100_600 } else { 0o100_644 }, |(_, mode)| *mode);
        hold!(*mode == meant, "{name} has the mode {mode:o}");
    }
    if let Some(lists) = &case.expect.lists {
        let dotenv = String::from_utf8(after[".env"].0.clone()).unwrap();
        let line = dotenv.lines().find_map(|line| line.strip_prefix("COMPOSE_FILE=")).unwrap_or_default();
        hold!(line.trim_matches('"') == lists, "COMPOSE_FILE={line}");
    }
    Ok(())
}
