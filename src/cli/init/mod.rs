//! `tagalong init`: from a stack's folder to a configuration that holds, a way for CI to show who it is, and the workflow.

mod access;
mod args;
mod edit;
mod existing;
mod files;
mod forge;
mod origin;
mod show;
mod stack;
mod steps;
mod workflow;

use std::fmt::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use process::Cancel;

pub(crate) use args::Args;

use crate::cli::global::Global;
use crate::cli::init::access::Access;
use crate::cli::init::access::quoted;
use crate::cli::init::args::Auth;
use crate::cli::init::existing::Existing;
use crate::cli::init::existing::same_folder;
use crate::cli::init::files::NewSecret;
use crate::cli::init::files::State;
use crate::cli::init::files::Wanted;
use crate::cli::init::forge::Forge;
use crate::cli::init::forge::Kind;
use crate::cli::init::origin::Clone;
use crate::cli::init::origin::Origin;
use crate::cli::init::show::Written;
use crate::cli::init::stack::Choice;
use crate::cli::init::stack::Nameless;
use crate::cli::init::steps::Done;
use crate::cli::init::workflow::Workflow;
use crate::cli::output::Output;
use crate::engine::Compose;
use crate::engine::Daemon;
use crate::engine::Engine;
use crate::engine::Survey;
use crate::model::is_in_the_clear;

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let existing = Existing::read(&global.config)?;
    let dir = folder(&args.dir)?;
    let url = global.url.as_deref().map(public_address).transpose()?;
    let daemon = Daemon::new(existing.config.docker.clone(), Arc::clone(&existing.config.mask));
    let survey = survey_of(&daemon, &dir).await?;
    let clone = Clone::of(&dir, &existing.config.docker.path).await;
    let (forge, unknown) = known_forge(&clone, args).await?;
    let (survey, mut choice) = chosen(survey, &daemon, &dir, args, forge.as_ref()).await?;
    if let Some(known) = existing.service_in(&dir).filter(|_| args.service.is_none()) {
        choice.service = known.clone();
    }
    let (access, why) = access::decide(&existing, &choice.service, forge.as_ref(), args, url.as_deref())?;
    let root = clone.root.clone().unwrap_or_else(|| dir.clone());
    // The audience of a policy is the address to the byte.
    let url = if let Access::Policy { audience, .. } = &access { Some(audience.clone()) } else { url };
    let branch = forge.as_ref().and_then(|forge| forge.branch.clone()).unwrap_or_else(|| "main".to_owned());
    let mut files = vec![configuration(&existing, &choice, &access)?];
    if let Some(forge) = &forge {
        let workflow = Workflow {
            service: &choice.service,
            pins: &choice.pins,
            forge,
            access: &access,
            url: url.as_deref(),
            action: args.action.as_deref(),
            runner: args.runner.as_deref().unwrap_or_else(|| forge.kind.runner()),
            branch: &branch,
            root: &root,
        };
        let text = |(name, text): (PathBuf, String)| Wanted { path: root.join(name), text, mode: 0o644, may_replace: args.force };
        files.extend(workflow.files().into_iter().map(text));
    }
    let unsaid = forge.as_ref().filter(|forge| forge.branch.is_none());
    let unsaid = unsaid.map(|_| {
        "The workflow deploys pushes to main, because the default branch is not known; name another one with --branch.".to_owned()
    });
    let unbuilt = choice.pins.iter().filter(|_| forge.is_some()).filter_map(|pin| unbuilt(pin, &root));
    let edits = choice.edits.iter().map(|edit| format!("{} Until then an override file pins the image.", edit.words()));
    let notes = unknown.into_iter().chain(why).chain(unsaid).chain(unchecked(&existing, &choice)).chain(edits).chain(unbuilt).collect();
    let plan = Plan { existing: &existing, choice: &choice, access: &access, daemon: &daemon };
    let states = if args.dry_run { plan.would_be(&files).await? } else { plan.write(&files).await? };
    let runs = survey.started.as_ref().is_some_and(|started| started.contains(&choice.project));
    let done = Done {
        existing: &existing,
        choice: &choice,
        access: &access,
        forge: forge.as_ref(),
        url: url.as_deref(),
        branch: &branch,
        root: &root,
        is_clone: clone.root.is_some(),
        runs,
    };
    let written = Written { files: states, notes, next: done.steps() };
    written.show(output, args.dry_run.then(|| print(&existing, &files)).as_deref());
    Ok(0)
}

/// The address that CI calls, without a `/` at its end: a token's audience is compared to the byte.
fn public_address(given: &str) -> anyhow::Result<String> {
    let url = url::Url::parse(given).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.with_context(|| format!("\"{given}\" is not an address; write --url https://deploy.example.com"))?;
    anyhow::ensure!(!is_in_the_clear(&url), "{given} uses plain http, over which CI sends nothing to another host; write https.");
    Ok(given.trim_end_matches('/').to_owned())
}

fn folder(dir: &Path) -> anyhow::Result<PathBuf> {
    let dir = std::path::absolute(dir).context("The path of the folder is not known")?;
    anyhow::ensure!(dir.is_dir(), "{} is not a folder; name the folder of the compose files with --dir.", dir.display());
    Ok(dir.components().collect())
}

async fn survey_of(daemon: &Daemon, dir: &Path) -> anyhow::Result<Survey> {
    Compose::survey(daemon, dir, &Cancel::default()).await.map_err(|error| {
        let below: Vec<String> = stacks_below(dir);
        if below.is_empty() {
            return error.into();
        }
        anyhow::anyhow!(
            "There is no compose file in {}, but in folders below it; name one with --dir: {}.",
            dir.display(),
            below.join(", ")
        )
    })
}

/// Folders in `dir` with a compose file, where `dir` itself has none.
fn stacks_below(dir: &Path) -> Vec<String> {
    let has_file = |dir: &Path| {
        ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"].iter().any(|name| dir.join(name).is_file())
    };
    if has_file(dir) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut below: Vec<String> = entries.filter(|path| has_file(path)).map(|path| path.display().to_string()).collect();
    below.sort();
    below
}

/// The forge of the repository that is named, or that the git remote leads to; none: there is neither, or nobody knows which forge the
/// remote is at, which is said.
async fn known_forge(clone: &Clone, args: &Args) -> anyhow::Result<(Option<Forge>, Option<String>)> {
    let remote = clone.remote.as_deref().and_then(Origin::parse);
    let origin = match (&args.repository, remote) {
        (None, remote) => remote,
        (Some(given), remote) => Some(
            named(given, remote, args.forge)
                .with_context(|| format!("\"{given}\" is not the address of a repository; write https://FORGE/OWNER/NAME"))?,
        ),
    };
    let Some(origin) = origin else { return Ok((None, None)) };
    let knows_all = args.branch.is_some() && (args.repository_id.is_some() || matches!(args.auth, Some(Auth::Secret)));
    match Forge::of(origin, args.forge, !knows_all).await {
        Ok(mut forge) => {
            let checked_out = clone.branch.clone().filter(|_| args.repository.is_none());
            forge.branch = args.branch.clone().or(forge.branch).or(checked_out);
            Ok((Some(forge), None))
        }
        Err(error) if args.repository.is_none() => Ok((None, Some(format!("No workflow is written: {error:#}.")))),
        Err(error) => Err(error),
    }
}

fn named(given: &str, remote: Option<Origin>, forge: Option<Kind>) -> Option<Origin> {
    if let Some(origin) = Origin::parse(given) {
        return Some(origin);
    }
    let github = (forge == Some(Kind::Github)).then(|| "https://github.com".to_owned());
    let forge = remote.map(|remote| remote.forge).or(github)?;
    Origin::parse(&format!("{forge}/{given}"))
}

/// What is to be deployed; where it is asked for, the compose files are edited for it.
async fn chosen(survey: Survey, daemon: &Daemon, dir: &Path, args: &Args, forge: Option<&Forge>) -> anyhow::Result<(Survey, Choice)> {
    let edits = match stack::choose(&survey, dir, args, forge) {
        Ok(choice) if args.edit_compose && !choice.edits.is_empty() => choice.edits,
        Ok(choice) => return Ok((survey, choice)),
        Err(error) => match error.downcast::<Nameless>() {
            Ok(nameless) if args.edit_compose => nameless.edits,
            Ok(nameless) => return Err(nameless.into()),
            Err(error) => return Err(error),
        },
    };
    anyhow::ensure!(!args.dry_run, "--edit-compose changes the compose files, so it cannot be tried with --dry-run.");
    let survey = edit::carry_out(&edits, &survey, daemon, dir).await?;
    let choice = stack::choose(&survey, dir, args, forge)?;
    Ok((survey, choice))
}

/// What is missing if no page is checked after a deployment, neither a new one nor one of the configuration.
fn unchecked(existing: &Existing, choice: &Choice) -> Option<String> {
    let has_page = choice.smoke.is_some() || existing.config.service(&choice.service).is_some_and(|service| service.smoke.is_some());
    let name = &choice.service;
    (!has_page).then(|| format!("No page is checked after a deployment: name one with --smoke-url, or add [service.{name}.smoke] later."))
}

/// The configuration as it is to be.
fn configuration(existing: &Existing, choice: &Choice, access: &Access) -> anyhow::Result<Wanted> {
    if let Some(other) = existing.config.service(&choice.service)
        && !other.stack.dir().is_some_and(|dir| same_folder(dir, &choice.dir))
    {
        anyhow::bail!(
            "The configuration has a service {} already, in {}; give this one another name with --service.",
            choice.service,
            other.stack.dir().map_or_else(|| "another host".to_owned(), |dir| dir.display().to_string())
        );
    }
    let text = existing.with(&added(existing, choice, access, None));
    Ok(Wanted { path: existing.file.clone(), text, mode: 0o640, may_replace: true })
}

/// The lines that the configuration lacks; the key's secret is in `secret`, or in its own file.
fn added(existing: &Existing, choice: &Choice, access: &Access, secret: Option<&Path>) -> String {
    let file = match (secret, access) {
        (Some(secret), _) => secret.display().to_string(),
        (None, Access::Key { file: Some(file), .. }) => file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        (None, _) => String::new(),
    };
    let mut lines = access.lines(&choice.service, &file);
    if existing.config.service(&choice.service).is_none() {
        lines.push_str(&service_lines(choice));
    }
    lines
}

fn service_lines(choice: &Choice) -> String {
    let service = &choice.service;
    let mut lines =
        format!("\n[service.{service}]\ndir = {}\nproject = {}\n", quoted(&choice.dir.display().to_string()), quoted(&choice.project));
    for (at, pin) in choice.pins.iter().enumerate() {
        if at > 0 {
            let _ = writeln!(lines, "\n[[service.{service}.images]]");
        }
        let _ = writeln!(lines, "image = {}", quoted(pin.image.as_str()));
        if let Some(variable) = &pin.variable {
            let _ = writeln!(lines, "variable = {}", quoted(variable));
        }
    }
    if let Some(url) = &choice.smoke {
        let _ = writeln!(lines, "\n[service.{service}.smoke]\nurl = {}", quoted(url));
    }
    lines
}

/// What the workflow cannot know of how an image is built.
fn unbuilt(pin: &stack::Pin, root: &Path) -> Option<String> {
    let image = &pin.image;
    let Some(build) = &pin.build else {
        return (!root.join("Dockerfile").is_file())
            .then(|| format!("The workflow builds {image} from the Dockerfile in the repository's first folder; correct CONTEXT in its step if it is elsewhere."));
    };
    (!build.others.is_empty()).then(|| {
        format!(
            "The workflow does not pass on build.{} of {image}; add it to its step if the image needs it.",
            build.others.join(", build.")
        )
    })
}

/// What a dry run shows: the lines for the configuration, and the workflow.
fn print(existing: &Existing, files: &[Wanted]) -> String {
    let mut text = String::new();
    for file in files.iter().filter(|file| file.path.extension().is_none_or(|ending| ending != "sh") && !file.path.ends_with("action.yml"))
    {
        let _ = writeln!(text, "# {}", file.path.display());
        let shown = if file.path == existing.file && existing.is_there {
            file.text.strip_prefix(&existing.text).unwrap_or(&file.text)
        } else {
            &file.text
        };
        let _ = writeln!(text, "{}", shown.trim_start_matches('\n'));
    }
    text
}

/// What is to be written, and what decides whether it may be.
struct Plan<'a> {
    existing: &'a Existing,
    choice: &'a Choice,
    access: &'a Access,
    daemon: &'a Daemon,
}

impl Plan<'_> {
    /// What writing the files would make of them.
    ///
    /// # Errors
    /// When `check` would not pass.
    async fn would_be(&self, files: &[Wanted]) -> anyhow::Result<Vec<(PathBuf, State)>> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("ci.secret");
        let _secret = self.new_secret(&file)?;
        self.passes(Some(&file)).await?;
        files.iter().map(|file| Ok((file.path.clone(), file.state()?))).collect()
    }

    /// Writes everything, after `check` has passed on what the configuration will be.
    ///
    /// # Errors
    /// When it does not pass; nothing was written then.
    async fn write(&self, files: &[Wanted]) -> anyhow::Result<Vec<(PathBuf, State)>> {
        let file = if let Access::Key { file: Some(file), .. } = self.access { file.clone() } else { PathBuf::new() };
        let secret = self.new_secret(&file)?;
        self.passes(None).await?;
        let (configuration, others) = files.split_first().context("There is no configuration to write")?;
        let mut states = vec![(configuration.path.clone(), configuration.write()?)];
        if let Some(secret) = secret {
            secret.keep();
            states.push((file, State::New));
        }
        for other in others {
            states.push((other.path.clone(), other.write()?));
        }
        Ok(states)
    }

    /// The secret of a new key, in `file`.
    fn new_secret(&self, file: &Path) -> anyhow::Result<Option<NewSecret>> {
        match self.access {
            Access::Key { secret: Some(secret), .. } => NewSecret::write(file, secret).map(Some),
            Access::Key { .. } | Access::Policy { .. } => Ok(None),
        }
    }

    /// Whether `check` passes, with the new key's secret in `secret` or in its own file.
    async fn passes(&self, secret: Option<&Path>) -> anyhow::Result<()> {
        let lines = added(self.existing, self.choice, self.access, secret);
        let config = self.existing.tried(&lines).with_context(|| {
            format!("Nothing was written, because the configuration would not be valid with these lines; add them by hand:\n{lines}\n")
        })?;
        let service = config.service(&self.choice.service);
        if let Some(engine) = service.and_then(|service| Engine::of(self.daemon, &service.stack)) {
            let resolved = engine.resolve(b"check", &Cancel::default()).await;
            resolved.context("Nothing was written, because `tagalong check` would refuse the stack")?;
        }
        Ok(())
    }
}
