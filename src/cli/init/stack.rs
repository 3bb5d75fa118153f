//! Which images of a stack are CI's, and how each is pinned.

use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::init::args::Args;
use crate::cli::init::forge::Forge;
use crate::engine::Build;
use crate::engine::Survey;
use crate::engine::Surveyed;
use crate::model::Repository;
use crate::model::ServiceName;

/// What is to be deployed.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) service: ServiceName,
    pub(super) dir: PathBuf,
    pub(super) project: String,
    /// At least one.
    pub(super) pins: Vec<Pin>,
    /// The page to look at after each deployment.
    pub(super) smoke: Option<String>,
    /// What would make the stack better to pin.
    pub(super) edits: Vec<Edit>,
}

/// An image that CI builds.
#[derive(Debug)]
pub(super) struct Pin {
    pub(super) image: Repository,
    pub(super) variable: Option<String>,
    pub(super) build: Option<Build>,
}

/// A line of a compose file that is better written otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) file: PathBuf,
    /// The compose service.
    pub(super) service: String,
    /// The image as it stands there; none: the service has only `build`.
    pub(super) from: Option<String>,
    /// The image as it should stand there.
    pub(super) to: String,
}

impl Edit {
    /// The line, as it should stand in the file.
    pub(super) fn line(&self) -> String {
        format!("image: {}", self.to)
    }

    /// The same for a person.
    pub(super) fn words(&self) -> String {
        let file = self.file.display();
        let service = &self.service;
        let line = self.line();
        match &self.from {
            Some(from) => format!("In {file}, the service {service}: write `{line}` instead of `image: {from}`."),
            None => format!("In {file}, add the line `{line}` to the service {service}, above `build`, which can stay."),
        }
    }
}

/// Chooses what of the stack in `dir` is deployed. `forge` is where CI runs.
///
/// # Errors
/// When that cannot be told without a flag, or a chosen image has no name yet.
pub(super) fn choose(survey: &Survey, dir: &Path, args: &Args, forge: Option<&Forge>) -> anyhow::Result<Choice> {
    let own = own_services(survey, args, forge)?;
    let service = match &args.service {
        Some(service) => service.clone(),
        None => service_name(survey, &own)?,
    };
    let edits = edits(survey, &own, args, forge)?;
    nameless(&own, &edits)?;
    let mut pins: Vec<Pin> = Vec::new();
    for surveyed in &own {
        let Some(name) = &surveyed.repository else { continue };
        let image = Repository::parse(name)?;
        if let Some(known) = pins.iter_mut().find(|pin| pin.image == image) {
            known.build = known.build.take().or_else(|| surveyed.build.clone());
            continue;
        }
        let written = surveyed.written.as_ref().and_then(|written| written.variable()).map(str::to_owned);
        pins.push(Pin { image, variable: args.variable.clone().or(written), build: surveyed.build.clone() });
    }
    let project = project(survey, args)?;
    let smoke = args.smoke_url.as_ref().map(ToString::to_string).or_else(|| page(&own));
    Ok(Choice { service, dir: dir.to_owned(), project, pins, smoke, edits })
}

/// The services whose images CI builds: those that are named, else those that are built here or lie with the repository's owner, else
/// the only ones that it can be.
fn own_services<'s>(survey: &'s Survey, args: &Args, forge: Option<&Forge>) -> anyhow::Result<Vec<&'s Surveyed>> {
    let of = |pick: &dyn Fn(&&Surveyed) -> bool| -> Vec<&'s Surveyed> { survey.services.iter().filter(pick).collect() };
    if !args.image.is_empty() {
        for image in &args.image {
            let is_there = survey.services.iter().any(|service| service.repository.as_deref() == Some(image.as_str()));
            let is_meant_for_build = survey.services.iter().any(|service| service.repository.is_none());
            anyhow::ensure!(
                is_there || is_meant_for_build,
                "No service of the stack uses the image {image}; the stack's images are {}.",
                images(survey)
            );
        }
        let named = of(&|service| service.repository.as_deref().is_none_or(|name| args.image.iter().any(|image| image.as_str() == name)));
        return Ok(named);
    }
    let owner = forge.map(|forge| forge.origin.owner.to_ascii_lowercase());
    let is_owners = |name: &str| owner.as_ref().is_some_and(|owner| name.split('/').rev().skip(1).any(|part| part == owner));
    let built = of(&|service| service.build.is_some() || service.repository.as_deref().is_some_and(is_owners));
    if !built.is_empty() {
        return Ok(built);
    }
    // Images without an owner are Docker's own: databases, proxies.
    let foreign = |service: &&Surveyed| service.repository.as_deref().is_some_and(|name| !name.contains('/'));
    let mine = of(&|service| !foreign(service) && service.written.as_ref().is_some_and(|written| written.variable().is_some()));
    let rest = of(&|service| !foreign(service));
    for few in [mine, rest, of(&|_| true)] {
        let mut names: Vec<_> = few.iter().map(|service| &service.repository).collect();
        names.dedup();
        if names.len() == 1 {
            return Ok(few);
        }
    }
    anyhow::bail!(
        "Which image does CI build? Name it with --image (several times if there are several); the stack's images are {}.",
        images(survey)
    )
}

fn images(survey: &Survey) -> String {
    let mut images: Vec<&str> = survey.services.iter().filter_map(|service| service.repository.as_deref()).collect();
    images.sort_unstable();
    images.dedup();
    if images.is_empty() { "none".to_owned() } else { images.join(", ") }
}

/// A single service gives its name, several the name of the project.
fn service_name(survey: &Survey, own: &[&Surveyed]) -> anyhow::Result<ServiceName> {
    let name = match own {
        [one] => one.name.as_str(),
        _ => survey.project.as_str(),
    };
    ServiceName::parse(&name.to_ascii_lowercase().replace('.', "-")).context("Give the service another name with --service")
}

/// The project that runs, or else the one that a bare `docker compose` in the folder makes.
fn project(survey: &Survey, args: &Args) -> anyhow::Result<String> {
    if let Some(project) = &args.project {
        return Ok(project.clone());
    }
    match survey.started.as_deref().unwrap_or_default() {
        [] => Ok(survey.project.clone()),
        [one] => Ok(one.clone()),
        several if several.contains(&survey.project) => Ok(survey.project.clone()),
        several => anyhow::bail!("Several compose projects run from this folder; name one with --project: {}.", several.join(", ")),
    }
}

/// The page that a Traefik shows for the services, where its labels name a single host.
fn page(own: &[&Surveyed]) -> Option<String> {
    let mut hosts: Vec<&String> = own.iter().flat_map(|service| &service.hosts).collect();
    hosts.sort();
    hosts.dedup();
    let [host] = hosts.as_slice() else { return None };
    url::Url::parse(&format!("https://{host}/")).ok().map(|url| url.to_string())
}

/// What should be written otherwise, so that a variable in `.env` can pin each image.
fn edits(survey: &Survey, own: &[&Surveyed], args: &Args, forge: Option<&Forge>) -> anyhow::Result<Vec<Edit>> {
    let nameless = own.iter().filter(|service| service.repository.is_none()).count();
    let mut edits: Vec<Edit> = Vec::new();
    for service in own {
        let variable = args.variable.clone().unwrap_or_else(|| variable_of(&service.name));
        if let Some(name) = &service.repository {
            // A tag that is more than a variable is left alone: an override file pins it.
            let Some(written) = service.written.as_ref().filter(|written| !written.image.contains('$')) else { continue };
            let tag = written.image.strip_prefix(name.as_str()).map(|tag| tag.trim_start_matches(':'));
            let Some(tag) = tag.filter(|tag| !tag.contains('@')) else { continue };
            let default = if tag.is_empty() { "latest" } else { tag };
            let to = format!("{name}:${{{variable}:-{default}}}");
            let edit = Edit { file: written.file.clone(), service: service.name.clone(), from: Some(written.image.clone()), to };
            // Services with one image get one variable, that of the first.
            if !edits.iter().any(|known| known.file == edit.file && known.from == edit.from) {
                edits.push(edit);
            }
        } else {
            let name = match (args.image.as_slice(), forge) {
                ([image], _) if nameless == 1 => image.to_string(),
                (_, Some(forge)) => {
                    let all = format!("{}/{}", forge.registry(), forge.origin.path().to_lowercase());
                    if nameless == 1 { all } else { format!("{all}-{}", service.name.to_lowercase()) }
                }
                _ => anyhow::bail!(
                    "The service {} is built and its image has no name that a registry could know; name the image that CI pushes with --image.",
                    service.name
                ),
            };
            let file = survey.files.first().cloned().unwrap_or_default();
            edits.push(Edit { file, service: service.name.clone(), from: None, to: format!("{name}:${{{variable}:-latest}}") });
        }
    }
    Ok(edits)
}

/// An image without a name can neither be pushed nor pulled.
fn nameless(own: &[&Surveyed], edits: &[Edit]) -> anyhow::Result<()> {
    let is_nameless = |edit: &&Edit| own.iter().any(|service| service.name == edit.service && service.repository.is_none());
    let lines: Vec<String> = edits.iter().filter(is_nameless).map(|edit| format!("  {}", edit.words())).collect();
    if lines.is_empty() {
        return Ok(());
    }
    Err(Nameless { lines: lines.join("\n"), edits: edits.to_vec() }.into())
}

/// Services are built on this host, so there is nothing that CI could push and tagalong could pull.
#[derive(Debug, thiserror::Error)]
#[error(
    "An image that is built here has no name, so CI cannot push it and tagalong cannot pull it. Change this, or let `tagalong init --edit-compose` do it:\n{lines}"
)]
pub(super) struct Nameless {
    lines: String,
    pub(super) edits: Vec<Edit>,
}

/// `WEB_TAG` of `web`.
fn variable_of(service: &str) -> String {
    let name: String = service.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    let first = if name.starts_with(|c: char| c.is_ascii_digit()) { "S" } else { "" };
    format!("{first}{name}_TAG")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::init::forge::Kind;
    use crate::cli::init::origin::Origin;
    use crate::engine::Written;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &str) -> Args {
        Line::parse_from(std::iter::once("init").chain(words.split_whitespace())).args
    }

    /// `NAME=IMAGE`, `NAME=build` or `NAME=IMAGE+build`, as they are written; their variables have no value.
    fn survey(services: &[&str]) -> Survey {
        let service = |word: &&str| {
            let (name, image) = word.split_once('=').unwrap();
            let build = image.ends_with("build").then(|| Build {
                context: "/srv/web".into(),
                dockerfile: "Dockerfile".into(),
                target: None,
                others: Vec::new(),
            });
            let image = image.trim_end_matches("build").trim_end_matches('+');
            let repository = image.split(":$").next().map(|image| image.rsplit_once(':').map_or(image, |(name, _)| name));
            Surveyed {
                name: name.into(),
                repository: repository.filter(|name| !name.is_empty()).map(str::to_owned),
                written: (!image.is_empty()).then(|| Written { file: "/srv/web/compose.yml".into(), image: image.into() }),
                build,
                hosts: Vec::new(),
            }
        };
        let services = services.iter().map(service).collect();
        Survey { project: "stack".into(), started: Some(Vec::new()), files: vec!["/srv/web/compose.yml".into()], services }
    }

    fn forge() -> Forge {
        let origin = Origin::parse("https://github.com/Acme/web").unwrap();
        Forge { kind: Kind::Github, origin, branch: None, no_tokens: None, facts: Err(String::new()) }
    }

    /// The name and the pins, or what is said instead.
    fn chosen(services: &[&str], words: &str, at_forge: bool) -> String {
        let forge = at_forge.then(forge);
        match choose(&survey(services), Path::new("/srv/web"), &args(words), forge.as_ref()) {
            Ok(choice) => {
                let pins = choice.pins.iter().map(|pin| format!("{} by {}", pin.image, pin.variable.as_deref().unwrap_or("a file")));
                format!("{}: {}", choice.service, pins.collect::<Vec<_>>().join(", "))
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_images_of_ci_are_told_from_the_others() {
        let db = "db=postgres:${PG:-16}";
        for (services, words, at_forge, wanted) in [
            (&["web=r.example.com/acme/web:${WEB_TAG}", db][..], "", false, "web: r.example.com/acme/web by WEB_TAG"),
            (&["web=acme/web:latest", db], "", false, "web: acme/web by a file"),
            (&["web=ghcr.io/acme/web:${T}", "m=grafana/grafana:${G}", db], "", true, "web: ghcr.io/acme/web by T"),
            (&["web=ghcr.io/acme/web:${T}", "m=grafana/grafana:${G}", db], "", false, "Which image does CI build?"),
            (&["web=x/web:${T}", "m=x/m:1"], "--image x/m --service shop", false, "shop: x/m by a file"),
            (&["web=x/web:${T}", "m=x/m:1"], "--image x/none", false, "No service of the stack uses the image x/none"),
            (&["web=x/web:${T}", "worker=x/web:${T}"], "", false, "stack: x/web by T"),
            (&["web=x/web:${T}+build", "worker=x/worker:${U}+build", db], "", false, "stack: x/web by T, x/worker by U"),
            (&["web=site:${T}"], "", false, "web: site by T"),
            (&["web=build", db], "", true, "write nothing"),
            (&["web=build", db], "", false, "name the image that CI pushes with --image"),
            (&["Web.App=x/web:${T}"], "", false, "web-app: x/web by T"),
        ] {
            let found = chosen(services, words, at_forge);
            if wanted == "write nothing" {
                let line = "add the line `image: ghcr.io/acme/web:${WEB_TAG:-latest}` to the service web";
                assert!(found.contains(line), "{services:?}: {found}");
            } else {
                assert!(found.contains(wanted), "{services:?} {words}: {found}");
            }
        }
    }

    #[test]
    fn a_fixed_tag_is_offered_a_variable_that_keeps_it() {
        let edits = |image: &str, words: &str| {
            let image = format!("web={image}");
            let choice = choose(&survey(&[&image]), Path::new("/srv/web"), &args(words), None).unwrap();
            choice.edits.iter().map(Edit::words).collect::<String>()
        };
        assert!(edits("acme/web:latest", "").contains("write `image: acme/web:${WEB_TAG:-latest}` instead of `image: acme/web:latest`"));
        assert!(edits("acme/web", "").contains("`image: acme/web:${WEB_TAG:-latest}` instead of `image: acme/web`"));
        assert_eq!(edits("acme/web:${TAG}", ""), "");
        assert_eq!((variable_of("web-app"), variable_of("2nd")), ("WEB_APP_TAG".into(), "S2ND_TAG".into()));
    }

    #[test]
    fn the_project_that_runs_is_meant() {
        let project = |started: &[&str], words: &str| {
            let mut survey = survey(&["web=x/web:${T}"]);
            survey.started = Some(started.iter().map(|name| (*name).to_owned()).collect());
            project(&survey, &args(words)).map_err(|error| error.to_string())
        };
        assert_eq!(project(&[], "").as_deref(), Ok("stack"));
        assert_eq!(project(&["live"], "").as_deref(), Ok("live"));
        assert_eq!(project(&["live", "stack"], "").as_deref(), Ok("stack"));
        assert!(project(&["blue", "live"], "").unwrap_err().contains("name one with --project: blue, live"));
        assert_eq!(project(&["blue", "live"], "--project blue").as_deref(), Ok("blue"));
    }
}
