//! A service: its stack and how it is landed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::policy::Policy;
use text::Mask;
use text::Secret;

use crate::config::Approval;
use crate::config::ComposeStack;
use crate::config::Docker;
use crate::config::PinChoice;
use crate::config::PinnedImage;
use crate::config::Smoke;
use crate::config::Source;
use crate::config::Stack;
use crate::config::StackSource;
use crate::config::Watch;
use crate::config::at_agent;
use crate::config::look;
use crate::config::policy::read_policy;
use crate::config::reader::Section;
use crate::model::Repository;
use crate::model::ServiceName;
use crate::model::Tag;

/// A service of the configuration.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// What it runs on, and what is pinned of it.
    pub stack: Stack,
    /// Whether it is the stack that tagalong itself runs in.
    pub is_self: bool,
    /// The repository that the stack's files come from; none: people keep them in its folder.
    pub files: Option<Arc<StackSource>>,
    /// The repository that it is built from.
    pub source: Option<Source>,
    /// What its orders need before they are carried out; none: nobody's approval.
    pub approval: Option<Approval>,
    /// Tags that may be landed; none: any.
    pub tag_pattern: Option<regex::Regex>,
    /// Whether an image that `docker load` brought may be landed while the registry does not answer.
    pub loaded_images: bool,
    /// What happens when a release fails.
    pub on_failure: OnFailure,
    /// How many verified images stay on the host.
    pub keep: usize,
    /// How long an order may wait for its turn.
    pub max_wait: Duration,
    /// How long a rollback holds the service; none: until it is resumed.
    pub hold: Option<Duration>,
    /// Tags that must not be rolled back past.
    pub no_rollback_past: Vec<Tag>,
    /// Deadlines of the steps.
    pub deadlines: Deadlines,
    /// What healthy means.
    pub health: Health,
    /// How its page is looked at; none: not at all.
    pub smoke: Option<Smoke>,
    /// How it is looked at after it was deployed.
    pub watch: Watch,
    /// Its hooks.
    pub hooks: Hooks,
    /// What is asked of its stack.
    pub policy: Policy,
}

/// What happens when a release fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The previous release comes back.
    Undo,
    /// It stays for an operator.
    Leave,
}

/// How long each step may take.
#[derive(Debug, Clone)]
pub struct Deadlines {
    /// Asking the registry.
    pub resolve: Duration,
    /// Everything before anything changes.
    pub preflight: Duration,
    /// Images coming to the host.
    pub pull: Duration,
    /// `docker compose up`.
    pub up: Duration,
}

/// What healthy means.
#[derive(Debug, Clone)]
pub struct Health {
    /// How long a container may take to become healthy.
    pub deadline: Duration,
    /// The same for compose services that need another time.
    pub by_service: BTreeMap<String, Duration>,
    /// How long a container without a healthcheck must stay up, unrestarted.
    pub settle: Duration,
}

impl Health {
    /// How long `compose_service` may take.
    #[must_use]
    pub fn deadline_of(&self, compose_service: &str) -> Duration {
        self.by_service.get(compose_service).copied().unwrap_or(self.deadline)
    }
}

/// The hooks of a service.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    /// Runs before anything changes; when it fails, nothing does.
    pub before: Option<Hook>,
    /// Runs when the release is live; when it fails, that is a warning.
    pub after: Option<Hook>,
    /// Runs before the previous release comes back.
    pub undo: Option<Hook>,
}

/// One hook: argv only.
#[derive(Debug, Clone)]
pub struct Hook {
    /// Where it runs.
    pub kind: HookKind,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// How long it may take.
    pub deadline: Duration,
}

/// Where a hook runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookKind {
    /// On the host (or where tagalong runs), in the stack's folder.
    Host,
    /// In a running container of this compose service.
    Exec(String),
    /// In a new container of this image.
    Run(String),
}

impl Service {
    pub(super) fn read(name: &str, mut from: Section, base: &Policy, docker: &Docker, secrets: &mut Vec<Secret>) -> Option<Self> {
        // A wrong name must not hide what else is wrong, so the table is read on under another.
        let name = ServiceName::parse(name).map_err(|error| from.problem("", error)).or_else(|()| ServiceName::parse("invalid")).ok()?;
        let stack = if from.has("hosts") { at_agent::read(&mut from)? } else { read_stack(&mut from) };
        let hold = from.seconds("hold_s", 0.0, 0.0..=31_536_000.0);
        let source = from.section("source").and_then(|section| Source::read(section, &name));
        let allowed = source.as_ref().map(|source| source.admission.refs.as_slice()).unwrap_or_default();
        let files = from.section("stack").map(|section| Arc::new(StackSource::read(section, allowed, docker, secrets)));
        let mut policy = read_policy(from.section("policy"), base);
        // What the stack has beside its compose files is its own.
        policy.folders.extend(stack.dir().map(|dir| dir.display().to_string()));
        let service = Self {
            policy,
            name,
            stack,
            is_self: from.flag("self", false),
            files,
            source,
            approval: from.section("approval").map(Approval::read),
            tag_pattern: from.parsed("tag_pattern", whole_pattern),
            loaded_images: from.flag("loaded_images", false),
            on_failure: from.choice("on_failure", &[("undo", OnFailure::Undo), ("leave", OnFailure::Leave)]),
            keep: from.whole("keep", 5, 2..=1000) as usize,
            max_wait: from.seconds("max_wait_s", 3600.0, 1.0..=604_800.0),
            hold: (!hold.is_zero()).then_some(hold),
            no_rollback_past: from.list("no_rollback_past", Tag::parse),
            deadlines: read_deadlines(from.section("deadlines")),
            health: read_health(from.section("health")),
            smoke: from.section("smoke").and_then(|section| look::read(section, secrets)),
            watch: from.section("watch").map(Watch::read).unwrap_or_default(),
            hooks: Hooks {
                before: from.section("before").map(read_hook),
                after: from.section("after").map(read_hook),
                undo: from.section("undo").map(read_hook),
            },
        };
        from.finish();
        Some(service)
    }
}

/// The services with what is known of their repositories only when everything else is.
pub(super) fn complete_services(
    mut services: BTreeMap<ServiceName, Arc<Service>>,
    mask: &Arc<Mask>,
    data_dir: &Path,
) -> BTreeMap<ServiceName, Arc<Service>> {
    for (name, service) in services.iter_mut().filter(|(_, service)| service.files.is_some()) {
        if let Some(source) = Arc::make_mut(service).files.as_mut().map(Arc::make_mut) {
            source.access.mask = Arc::clone(mask);
            source.state = data_dir.join("stacks").join(name.as_str());
        }
    }
    services
}

/// Reads `[service.NAME]`, each over what `[policy]` says for all.
pub(super) fn read_services(root: &mut Section, docker: &Docker, secrets: &mut Vec<Secret>) -> BTreeMap<ServiceName, Arc<Service>> {
    let policy = read_policy(root.section("policy"), &Policy::default());
    let services = root.named("service").into_iter().filter_map(|(name, section)| Service::read(&name, section, &policy, docker, secrets));
    services.map(|service| (service.name.clone(), Arc::new(service))).collect()
}

fn read_stack(from: &mut Section) -> Stack {
    let dir = from.path("dir");
    if dir.is_none() {
        from.problem("dir", "every service needs the folder of its compose files.");
    }
    let image = from.parsed("image", Repository::parse);
    let variable = from.parsed("variable", variable_name);
    let mut pins: Vec<PinnedImage> = image.map(|image| PinnedImage { image, variable }).into_iter().collect();
    for mut section in from.sections("images") {
        let image = section.parsed("image", Repository::parse);
        let variable = section.parsed("variable", variable_name);
        pins.extend(image.map(|image| PinnedImage { image, variable }));
        section.finish();
    }
    if pins.is_empty() {
        from.problem("image", "every service needs the image that is pinned, written as in the compose file but without the tag.");
    }
    let missing = "every service needs its compose project name; `docker compose ls` shows it.";
    let project = from.needed("project", missing, project_name);
    let files = from.texts("files").unwrap_or_default().into_iter().map(Into::into).collect();
    let mode = from.choice("pin", &[("auto", PinChoice::Auto), ("env", PinChoice::Env), ("override", PinChoice::Override)]);
    if mode == PinChoice::Env && pins.iter().any(|pin| pin.variable.is_none()) {
        from.problem("variable", "pin = \"env\" needs the name of the variable in .env that contains the tag.");
    }
    Stack::Compose(ComposeStack { dir: dir.unwrap_or_default(), files, project: project.unwrap_or_default(), pins, mode })
}

/// A pattern that must match all of a tag, not some of it.
fn whole_pattern(text: &str) -> Result<regex::Regex, String> {
    regex::Regex::new(&format!("^(?:{text})$")).map_err(|error| format!("it is not a valid regular expression: {error}."))
}

fn variable_name(text: &str) -> Result<String, String> {
    let first_ok = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if first_ok && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && text.len() <= 128 {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{}\" is not a variable name: use only letters, digits and _.", text.escape_default()))
    }
}

fn project_name(text: &str) -> Result<String, String> {
    let first_ok = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if first_ok && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b)) {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{}\" is not a compose project name: use only lower-case letters, digits, _ and -.", text.escape_default()))
    }
}

fn read_deadlines(from: Option<Section>) -> Deadlines {
    let mut default = Deadlines {
        resolve: Duration::from_secs(30),
        preflight: Duration::from_mins(1),
        pull: Duration::from_mins(15),
        up: Duration::from_mins(5),
    };
    let Some(mut from) = from else { return default };
    for (key, slot) in [
        ("resolve_s", &mut default.resolve),
        ("preflight_s", &mut default.preflight),
        ("pull_s", &mut default.pull),
        ("up_s", &mut default.up),
    ] {
        *slot = from.seconds(key, slot.as_secs_f64(), 1.0..=86_400.0);
    }
    from.finish();
    default
}

fn read_health(from: Option<Section>) -> Health {
    let default = Health { deadline: Duration::from_mins(2), by_service: BTreeMap::new(), settle: Duration::from_secs(5) };
    let Some(mut from) = from else { return default };
    let health = Health {
        deadline: from.seconds("deadline_s", 120.0, 1.0..=86_400.0),
        by_service: from.seconds_by_name("services").into_iter().collect(),
        settle: from.seconds("settle_s", 5.0, 0.0..=3600.0),
    };
    from.finish();
    health
}

pub(super) fn read_hook(mut from: Section) -> Hook {
    let kind = match (from.text("exec"), from.text("run")) {
        (None, None) => HookKind::Host,
        (Some(service), None) => HookKind::Exec(service),
        (None, Some(image)) => HookKind::Run(image),
        (Some(_), Some(_)) => {
            from.problem("exec", "a hook runs either in a running service (exec) or in a new container (run), not both.");
            HookKind::Host
        }
    };
    let argv = from.texts("argv").unwrap_or_default();
    if argv.first().is_none_or(String::is_empty) {
        from.problem("argv", "write the program of a hook and its arguments as a list: argv = [\"backup\", \"--full\"].");
    }
    let hook = Hook { kind, argv, deadline: from.seconds("deadline_s", 300.0, 1.0..=86_400.0) };
    from.finish();
    hook
}
