//! What the rules of the configuration make of a notice, and why they make nothing of it.

use crate::api::NewDeployment;
use crate::api::RuleAnswer;
use crate::config::WebhookAction;
use crate::config::WebhookRule;
use crate::model::CommitName;
use crate::model::DatasetName;
use crate::model::Glob;
use crate::model::HookEvent;
use crate::model::TagWord;
use crate::webhooks::fields::quoted;
use crate::webhooks::notice::Notice;
use crate::webhooks::skip;

/// What a rule says to a notice.
#[derive(Debug)]
pub struct Verdict<'c> {
    /// The rule.
    pub rule: &'c WebhookRule,
    /// What it makes of it, or why nothing: the words behind "because".
    pub outcome: Result<Act, String>,
    /// What is worth knowing beside it.
    pub note: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Act {
    /// An order.
    Deploy(Box<NewDeployment>),
    /// A reload of a dataset.
    Reload {
        /// Which one.
        dataset: DatasetName,
        /// The branch that moved.
        branch: Option<String>,
        /// The commit that it moved to.
        commit: Option<CommitName>,
    },
}

impl Verdict<'_> {
    /// As an answer shows it, before anything is done.
    #[must_use]
    pub fn view(&self) -> RuleAnswer {
        let view =
            RuleAnswer { rule: self.rule.path.clone(), matches: self.outcome.is_ok(), note: self.note.clone(), ..RuleAnswer::default() };
        match &self.outcome {
            Ok(Act::Deploy(ask)) => RuleAnswer { service: Some(ask.service.clone()), tag: Some(ask.tag.clone()), ..view },
            Ok(Act::Reload { dataset, .. }) => RuleAnswer { dataset: Some(dataset.clone()), ..view },
            Err(why) => RuleAnswer { why: Some(why.clone()), ..view },
        }
    }
}

/// What every rule says to `notice`, in their order. For each service and dataset the first one that matches decides.
#[must_use]
pub fn judge<'c>(rules: impl IntoIterator<Item = &'c WebhookRule>, notice: &Notice) -> Vec<Verdict<'c>> {
    let mut verdicts: Vec<Verdict<'c>> = Vec::new();
    for rule in rules {
        let decided = verdicts.iter().find(|earlier| earlier.outcome.is_ok() && earlier.rule.target() == rule.target());
        let (outcome, note) = match (matches(rule, notice), decided) {
            (Err(why), _) => (Err(why), None),
            (Ok(_), Some(earlier)) => (Err(format!("{} before it decides for {} already", earlier.rule.path, rule.target().1)), None),
            (Ok(note), None) => (act(rule, notice), note),
        };
        verdicts.push(Verdict { rule, outcome, note });
    }
    verdicts
}

/// Whether the rule is for the notice; a note where that is not certain.
///
/// # Errors
/// Why it is not.
fn matches(rule: &WebhookRule, notice: &Notice) -> Result<Option<String>, String> {
    if rule.event != notice.event {
        return Err(format!("it is for {}, and this is {}", rule.event, notice.event));
    }
    if rule.repository.as_str() != notice.repository {
        return Err(format!("it is for the repository {}, and this is {}", rule.repository, quoted(&notice.repository)));
    }
    if rule.repository_id.is_some() && rule.repository_id != notice.repository_id {
        let given = notice.repository_id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        return Err(format!("its repository_id is {}, and the delivery's is {given}", rule.repository_id.unwrap_or_default()));
    }
    let filters = &rule.filters;
    one_of("actors", &filters.actors, notice.actor.as_slice(), |wanted, given| wanted.eq_ignore_ascii_case(given))?;
    one_of("branches", &filters.branches, notice.branch.as_slice(), Glob::matches)?;
    one_of("tags", &filters.tags, notice.tag.as_slice(), Glob::matches)?;
    one_of("workflows", &filters.workflows, &notice.workflow, |wanted, given| wanted == given)?;
    one_of("environments", &filters.environments, notice.environment.as_slice(), |wanted, given| wanted == given)?;
    one_of("types", &filters.types, notice.kind.as_slice(), |wanted, given| wanted == given)?;
    one_of("packages", &filters.packages, notice.package.as_slice(), |wanted, given| wanted == given)?;
    for (name, wanted) in &filters.labels {
        let given = notice.labels.get(name).map_or_else(|| "missing".to_owned(), |given| quoted(given));
        if notice.labels.get(name) != Some(wanted) {
            return Err(format!("the label {name} of the image is {given}, not {}", quoted(wanted)));
        }
    }
    if notice.is_prerelease && !filters.prereleases {
        return Err("it is a pre-release, and prereleases is not true".to_owned());
    }
    if let Some(marker) = notice.message.as_deref().and_then(|message| skip::marker(message, &rule.skip_markers)) {
        return Err(format!("the message of the commit has the marker {}", quoted(marker)));
    }
    has_changed(rule, notice)
}

/// Whether one of the values that are given is one of those that are wanted. Nothing wanted: all are.
fn one_of<T: AsText>(key: &str, wanted: &[T], given: &[String], is: impl Fn(&T, &str) -> bool) -> Result<(), String> {
    if wanted.is_empty() || given.iter().any(|given| wanted.iter().any(|wanted| is(wanted, given))) {
        return Ok(());
    }
    let all: Vec<&str> = wanted.iter().map(AsText::as_text).collect();
    match given.first() {
        Some(given) => Err(format!("{} is not one of {key} ({})", quoted(given), all.join(", "))),
        None => Err(format!("it has {key} ({}), and the delivery does not say which it is", all.join(", "))),
    }
}

trait AsText {
    fn as_text(&self) -> &str;
}

impl AsText for String {
    fn as_text(&self) -> &str {
        self
    }
}

impl AsText for Glob {
    fn as_text(&self) -> &str {
        self.as_str()
    }
}

/// Whether a file has changed that counts. Where files may be missing from the list, one of them may be such a file, so the rule
/// matches: to deploy what is live already does no harm, and to pass over a change does.
fn has_changed(rule: &WebhookRule, notice: &Notice) -> Result<Option<String>, String> {
    let wanted = &rule.filters.paths;
    let ignored = &rule.filters.paths_ignore;
    let Some(changes) = notice.changes.as_ref().filter(|_| !wanted.is_empty() || !ignored.is_empty()) else { return Ok(None) };
    let counts = |path: &String| {
        (wanted.is_empty() || wanted.iter().any(|glob| glob.matches(path))) && !ignored.iter().any(|glob| glob.matches(path))
    };
    if changes.paths.iter().any(counts) {
        return Ok(None);
    }
    let why =
        changes.incomplete.ok_or_else(|| format!("none of the {} changed files counts by paths and paths_ignore", changes.paths.len()))?;
    Ok(Some(format!("no changed file is known to count, but the list may lack some: {why}")))
}

fn act(rule: &WebhookRule, notice: &Notice) -> Result<Act, String> {
    let (service, template) = match &rule.action {
        WebhookAction::Reload(dataset) => {
            let moved = notice.event == HookEvent::Push;
            let commit = notice.commit.as_deref().filter(|_| moved).and_then(|commit| CommitName::parse(commit).ok());
            return Ok(Act::Reload { dataset: dataset.clone(), branch: notice.branch.clone().filter(|_| moved), commit });
        }
        WebhookAction::Deploy(service, template) => (service, template),
    };
    let tag = template
        .fill(|word| word_of(word, notice))
        .map_err(|why| format!("no tag can be made of the delivery: {}", why.trim_end_matches('.')))?;
    Ok(Act::Deploy(Box::new(NewDeployment {
        service: service.clone(),
        tag,
        digest: None,
        commit: notice.commit.clone(),
        git_ref: notice.git_ref.clone(),
        run_url: notice.run_url.clone(),
        run_number: notice.run_number,
        actor: notice.actor.clone(),
        reason: Some(reason(rule, notice)),
        dry_run: false,
        force: false,
    })))
}

fn word_of(word: TagWord, notice: &Notice) -> Option<String> {
    match word {
        TagWord::Sha => notice.commit.clone(),
        TagWord::ShortSha => notice.commit.as_ref().map(|commit| commit.chars().take(7).collect()),
        TagWord::Branch => notice.branch.as_ref().map(|branch| branch.replace('/', "-")),
        TagWord::Tag => notice.tag.clone(),
        TagWord::Version => notice.tag.as_deref().map(|tag| {
            let bare = tag.strip_prefix('v').filter(|bare| bare.starts_with(|c: char| c.is_ascii_digit()));
            bare.unwrap_or(tag).to_owned()
        }),
        TagWord::RunNumber => notice.run_number.map(|number| number.to_string()),
    }
}

/// For the record.
fn reason(rule: &WebhookRule, notice: &Notice) -> String {
    let what = notice.git_ref.as_deref().or(notice.tag.as_deref()).or(notice.kind.as_deref());
    let of = what.map_or_else(String::new, |what| format!(" of {}", quoted(what)));
    let by = notice.actor.as_deref().map_or_else(String::new, |actor| format!(" by {}", quoted(actor)));
    format!("{}{of} in {}{by} ({})", rule.event, rule.repository, rule.path)
}
