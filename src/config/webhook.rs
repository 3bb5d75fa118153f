//! Rules: what a native webhook of a forge becomes, and which of them could never do anything.

use std::collections::BTreeMap;

use crate::config::reader::Section;
use crate::model::DatasetName;
use crate::model::ForgeRepository;
use crate::model::Glob;
use crate::model::HookEvent;
use crate::model::KeyId;
use crate::model::ServiceName;
use crate::model::TagTemplate;

/// What keeps a push from becoming anything, as GitHub, Forgejo, Gitea and others have it.
const SKIP_MARKERS: [&str; 7] =
    ["[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]", "***NO_CI***", "skip-checks: true"];

/// A rule of the configuration.
#[derive(Debug, Clone)]
pub struct WebhookRule {
    /// Its path in the file, which names it.
    pub path: String,
    /// Whose webhooks it is for.
    pub forge: KeyId,
    /// The repository that they must be about, to the letter.
    pub repository: ForgeRepository,
    /// The id of that repository, which stays when its name is given up and taken by somebody else.
    pub repository_id: Option<i64>,
    /// What they must tell.
    pub event: HookEvent,
    /// What of it counts.
    pub filters: WebhookFilters,
    /// A commit whose message has one of these does nothing.
    pub skip_markers: Vec<String>,
    /// What it becomes.
    pub action: WebhookAction,
}

/// What a rule makes of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookAction {
    /// An order to deploy this tag of the service.
    Deploy(ServiceName, TagTemplate),
    /// A reload of the dataset.
    Reload(DatasetName),
}

/// What of an event counts. An empty list leaves it open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookFilters {
    /// Branches.
    pub branches: Vec<Glob>,
    /// Tags.
    pub tags: Vec<Glob>,
    /// Files of which at least one has changed.
    pub paths: Vec<Glob>,
    /// Files whose change does not count.
    pub paths_ignore: Vec<Glob>,
    /// Who did it.
    pub actors: Vec<String>,
    /// Workflows, by name or by the name of their file.
    pub workflows: Vec<String>,
    /// Environments of deployments.
    pub environments: Vec<String>,
    /// Types of `repository_dispatch`.
    pub types: Vec<String>,
    /// Packages, by name.
    pub packages: Vec<String>,
    /// Labels that the image must have.
    pub labels: BTreeMap<String, String>,
    /// Whether pre-releases count.
    pub prereleases: bool,
}

/// A filter: its key, the events that have what it is about, and what the others lack.
const FILTERS: [(&str, &[HookEvent], &str); 11] = [
    ("branches", &[HookEvent::Push, HookEvent::WorkflowRun, HookEvent::RepositoryDispatch], "branch"),
    ("tags", &[HookEvent::Tag, HookEvent::Release, HookEvent::Package], "tag of its own"),
    ("paths", &[HookEvent::Push], "list of changed files"),
    ("paths_ignore", &[HookEvent::Push], "list of changed files"),
    ("workflows", &[HookEvent::WorkflowRun], "workflow"),
    ("environments", &[HookEvent::Deployment], "environment"),
    ("types", &[HookEvent::RepositoryDispatch], "type"),
    ("packages", &[HookEvent::Package], "package"),
    ("labels", &[HookEvent::Package], "label"),
    ("prereleases", &[HookEvent::Release], "pre-release"),
    ("skip_markers", &[HookEvent::Push, HookEvent::Tag], "commit message that could have a marker"),
];

/// A filter without which a rule would act on more than anybody means.
const NEEDED: [(HookEvent, &str, &str); 6] = [
    (HookEvent::Push, "branches", "a push of any branch would count; write branches = [\"main\"], or [\"**\"] for all of them."),
    (HookEvent::WorkflowRun, "branches", "a run of any branch would count; write branches = [\"main\"], or [\"**\"] for all of them."),
    (HookEvent::WorkflowRun, "workflows", "any workflow that succeeds would count; name those that build, workflows = [\"build.yml\"]."),
    (HookEvent::Package, "packages", "any image of the repository would count; write packages = [\"web\"]."),
    (HookEvent::Deployment, "environments", "a deployment to any environment would count; write environments = [\"production\"]."),
    (HookEvent::RepositoryDispatch, "types", "any call of repository_dispatch would count; write types = [\"deploy\"]."),
];

impl WebhookRule {
    pub(super) fn read(mut from: Section) -> Option<Self> {
        let path = from.at("").trim_end_matches('.').to_owned();
        let forge = from.needed("forge", "a rule needs the id of the [[forge]] whose webhooks it is for.", KeyId::parse);
        let missing = "a rule needs the repository that it is for: repository = \"acme/web\".";
        let repository = from.needed("repository", missing, ForgeRepository::parse);
        let repository_id = Some(from.whole("repository_id", 0, 1..=i64::MAX)).filter(|id| *id > 0);
        let names = HookEvent::ALL.map(HookEvent::as_str).join(", ");
        let event = from.needed("event", &format!("a rule needs an event: {names}."), |text| {
            let found = HookEvent::ALL.into_iter().find(|event| event.as_str() == text);
            found.ok_or_else(|| format!("\"{}\" is not one of {names}.", text.escape_default()))
        });
        if let Some(event) = event {
            check_filters(&from, event);
        }
        let skip_markers = from.texts("skip_markers").unwrap_or_else(|| SKIP_MARKERS.map(str::to_owned).to_vec());
        if skip_markers.iter().any(|marker| marker.trim().is_empty()) {
            from.problem("skip_markers", "every commit message has an empty marker, so the rule can never match; write [] for no markers.");
        }
        let filters = WebhookFilters::read(&mut from);
        let action = read_action(&mut from, event);
        from.finish();
        Some(Self { path, forge: forge?, repository: repository?, repository_id, event: event?, filters, skip_markers, action: action? })
    }

    /// What it acts on, as its key and name.
    #[must_use]
    pub fn target(&self) -> (&'static str, &str) {
        match &self.action {
            WebhookAction::Deploy(service, _) => ("service", service.as_str()),
            WebhookAction::Reload(dataset) => ("dataset", dataset.as_str()),
        }
    }

    /// Whether it matches whatever `later` matches and acts on the same, so that `later` never comes to anything.
    pub(super) fn covers(&self, later: &Self) -> bool {
        let same = |rule: &Self| (rule.forge.clone(), rule.repository.as_str().to_owned(), rule.event);
        let id_ok = self.repository_id.is_none() || self.repository_id == later.repository_id;
        let skip_ok = self.skip_markers.iter().all(|marker| later.skip_markers.contains(marker));
        same(self) == same(later) && self.target() == later.target() && id_ok && skip_ok && self.filters.cover(&later.filters)
    }
}

impl WebhookFilters {
    fn read(from: &mut Section) -> Self {
        let any = |text: &str| if text.trim().is_empty() { Err("an empty name matches nothing.") } else { Ok(text.to_owned()) };
        Self {
            branches: from.list("branches", |text| {
                let bare =
                    text.strip_prefix("refs/heads/").map(|bare| format!("\"{}\" is a whole ref; write \"{bare}\".", text.escape_default()));
                bare.map_or_else(|| Glob::parse(text), Err)
            }),
            tags: from.list("tags", |text| {
                let bare =
                    text.strip_prefix("refs/tags/").map(|bare| format!("\"{}\" is a whole ref; write \"{bare}\".", text.escape_default()));
                bare.map_or_else(|| Glob::parse(text), Err)
            }),
            paths: from.list("paths", path),
            paths_ignore: from.list("paths_ignore", path),
            actors: from.list("actors", any),
            workflows: from.list("workflows", any),
            environments: from.list("environments", any),
            types: from.list("types", any),
            packages: from.list("packages", any),
            labels: from.texts_by_name("labels").into_iter().collect(),
            prereleases: from.flag("prereleases", false),
        }
    }

    fn cover(&self, later: &Self) -> bool {
        fn all<T: PartialEq>(mine: &[T], theirs: &[T]) -> bool {
            mine.is_empty() || (!theirs.is_empty() && theirs.iter().all(|one| mine.contains(one)))
        }
        let everything = |globs: &[Glob]| globs.iter().any(|glob| glob.as_str() == "**");
        let globs = |mine: &[Glob], theirs: &[Glob]| everything(mine) || all(mine, theirs);
        globs(&self.branches, &later.branches)
            && globs(&self.tags, &later.tags)
            && globs(&self.paths, &later.paths)
            && self.paths_ignore.iter().all(|glob| later.paths_ignore.contains(glob))
            && all(&self.actors, &later.actors)
            && all(&self.workflows, &later.workflows)
            && all(&self.environments, &later.environments)
            && all(&self.types, &later.types)
            && all(&self.packages, &later.packages)
            && self.labels.iter().all(|(name, value)| later.labels.get(name) == Some(value))
            && (self.prereleases || !later.prereleases)
    }
}

/// What is written for things that the event does not have, and what is left open that must not be.
fn check_filters(from: &Section, event: HookEvent) {
    for (key, _, thing) in FILTERS.iter().filter(|(key, events, _)| from.has(key) && !events.contains(&event)) {
        from.problem(key, format!("the event {event} has no {thing}, so the rule can never match; leave {key} out."));
    }
    for (_, key, why) in NEEDED.iter().filter(|(needing, key, _)| *needing == event && !from.has(key)) {
        from.problem(key, why);
    }
    for (key, _, _) in FILTERS.iter().filter(|(key, _, _)| *key != "skip_markers" && from.is_empty_list(key)) {
        from.problem(
            key,
            format!("the list is empty, so it is not clear whether nothing or everything counts; leave {key} out, or fill it."),
        );
    }
}

fn path(text: &str) -> Result<Glob, String> {
    if text.starts_with('/') || text.starts_with("./") {
        return Err(format!("\"{}\" never matches: paths begin at the top of the repository, without a /.", text.escape_default()));
    }
    Glob::parse(text)
}

fn read_action(from: &mut Section, event: Option<HookEvent>) -> Option<WebhookAction> {
    let deploys = from.has("deploy");
    let reloads = from.has("reload");
    let service = from.parsed("deploy", ServiceName::parse);
    let dataset = from.parsed("reload", DatasetName::parse);
    if deploys == reloads {
        from.problem("deploy", "a rule does one thing: set either deploy = \"SERVICE\" with a tag, or reload = \"DATASET\".");
    }
    let has_tag = from.has("tag");
    // Without an event, which is a problem already, nothing can be said of the words in it.
    let template = from.text("tag").zip(event).and_then(|(text, event)| {
        let template = TagTemplate::parse(&text, event);
        template.map_err(|why| from.problem("tag", why)).ok()
    });
    match (deploys, has_tag) {
        (true, false) => from.problem("tag", "a rule that deploys needs the tag of the image; write tag = \"{sha}\", for instance."),
        (false, true) => from.problem("tag", "a reload has no tag; leave it out."),
        _ => {}
    }
    match (service, dataset) {
        (Some(service), None) => Some(WebhookAction::Deploy(service, template?)),
        (None, Some(dataset)) => Some(WebhookAction::Reload(dataset)),
        _ => None,
    }
}
