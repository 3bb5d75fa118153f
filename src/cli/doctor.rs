//! `tagalong doctor`: what stands in the way, each with what to do.

pub(in crate::cli) mod account;
mod files;
mod forge;
mod host;
mod unit;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use process::Cancel;
use process::can_confine;

use crate::api;
use crate::cli::check::missing_folder;
use crate::cli::client::Client;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::clock;
use crate::config::Config;
use crate::config::Confine;
use crate::config::Reload;
use crate::config::Service;
use crate::dataset::Dataset;
use crate::dataset::Push;
use crate::engine::Daemon;
use crate::engine::Engine;
use crate::engine::Server;
use crate::orders;
use crate::registry::Registries;

/// How many services are looked at at the same time.
const AT_ONCE: usize = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Look as this user, whom the server will run as: with the rights, groups and home of that user (as root)
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

#[derive(Debug, serde::Serialize)]
struct Finding {
    check: String,
    ok: bool,
    detail: String,
}

struct Doctor {
    findings: Vec<Finding>,
}

impl Doctor {
    fn see(&mut self, check: &str, result: Result<String, String>) {
        let (ok, detail) = match result {
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        self.findings.push(Finding { check: check.to_owned(), ok, detail });
    }
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    if let Some(user) = &args.user {
        account::look_as(user, global)?;
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut doctor = Doctor { findings: Vec::new() };
    match Config::load(&global.config) {
        Ok(config) => see_all(&mut doctor, global, &config).await,
        Err(error) => {
            for problem in error.problems {
                doctor.see("configuration", Err(format!("{}: {problem}", error.file.display())));
            }
        }
    }
    show(output, &doctor.findings);
    Ok(u8::from(doctor.findings.iter().any(|finding| !finding.ok)))
}

async fn see_all(doctor: &mut Doctor, global: &Global, config: &Config) {
    doctor.see("user", Ok(account::own_name()));
    doctor.see("configuration", Ok(format!("services: {}, keys: {}", config.services.len(), config.keys.len())));
    doctor.see("data folder", host::data_folder(&config.server.data_dir));
    if let Some(result) = unit::closed_folders(config).await {
        doctor.see("unit", result);
    }
    let socket = host::docker_socket(&config.docker);
    let is_open = socket.is_ok();
    doctor.see("docker socket", socket);
    let daemon = Daemon::new(config.docker.clone(), Arc::clone(&config.mask));
    let registries = Registries::new(config.docker.clone(), config.registries.clone());
    // Programs run in the stack's folder: without one nothing can be said of Docker.
    let mut docker = Docker::Away;
    let mut stacks = config.services.values().filter_map(|service| Engine::of(&daemon, &service.stack));
    if let Some(compose) = stacks.find(|compose| is_open && compose.dir().is_dir()) {
        docker = see_docker(doctor, &compose).await;
    }
    let looks = config.services.values().map(|service| look_at(service, &daemon, &docker, &registries));
    let mut looks = stream::iter(looks).buffered(AT_ONCE);
    while let Some(findings) = looks.next().await {
        doctor.findings.extend(findings);
    }
    drop(looks);
    see_candidates(doctor, global).await;
    forge::see_forges(doctor, config).await;
    for plan in config.datasets.values() {
        see_dataset(doctor, plan).await;
    }
    doctor.see("time zones", Ok(format!("data of {}, which is part of this program", calendar::zone_data())));
    for freeze in &config.freezes {
        let Some((file, zone)) = &freeze.holidays else { continue };
        let read = orders::holidays(file.clone(), zone.clone()).await;
        doctor.see(&format!("freeze {}: holidays", freeze.id), read.map(|events| format!("{} events in {}", events.len(), file.display())));
    }
    if let Docker::Answers(server) = &docker {
        doctor.see("disk", host::free_space(server));
    }
    doctor.see("clock", clock_off(config).await);
}

/// What there is to say of one service.
async fn look_at(service: &Service, daemon: &Daemon, docker: &Docker, registries: &Registries) -> Vec<Finding> {
    let mut own = Doctor { findings: Vec::new() };
    // Without its folder, that is what is missing; a stack on another host is looked at there.
    if let Some(compose) = Engine::of(daemon, &service.stack).filter(|compose| see_folder(&mut own, service, compose.dir())) {
        see_service(&mut own, service, &compose, docker).await;
        see_registries(&mut own, service, registries).await;
    }
    own.findings
}

/// How Docker stands: what needs it is looked at only where it answers, so that one fault is said once.
enum Docker {
    Answers(Server),
    Away,
}

async fn see_docker(doctor: &mut Doctor, compose: &Engine) -> Docker {
    let server = compose.server(&Cancel::default()).await;
    doctor.see("docker", server.as_ref().map(|s| format!("engine {} on {}/{}", s.version, s.os, s.arch)).map_err(ToString::to_string));
    let Ok(server) = server else { return Docker::Away };
    doctor.see(
        "compose",
        compose
            .version(&Cancel::default())
            .await
            .map(|v| v.note.map_or_else(|| v.version.clone(), |note| format!("{}: {note}", v.version)))
            .map_err(|error| error.to_string()),
    );
    Docker::Answers(server)
}

/// Whether the stack's folder is there at all.
fn see_folder(doctor: &mut Doctor, service: &Service, dir: &Path) -> bool {
    let folder = missing_folder(service, dir).map_or_else(|| host::can_write(dir).map(|()| dir.display().to_string()), Err);
    doctor.see(&format!("{}: folder", service.name), folder);
    dir.is_dir()
}

async fn see_service(doctor: &mut Doctor, service: &Service, compose: &Engine, docker: &Docker) {
    let env = compose.dir().join(".env");
    if env.exists() {
        doctor.see(&format!("{}: .env", service.name), host::can_be_replaced(&env));
    }
    if matches!(docker, Docker::Answers(_)) {
        let stack = compose.resolve(b"doctor", &Cancel::default()).await;
        doctor.see(
            &format!("{}: stack", service.name),
            stack.map(|resolved| format!("pinned by {}", resolved.pinned_by())).map_err(|error| error.to_string()),
        );
    }
    if let Some(source) = &service.files {
        doctor.see(&format!("{}: stack's files", service.name), files::may_be_read(source).await);
    }
}

async fn see_registries(doctor: &mut Doctor, service: &Service, registries: &Registries) {
    for pin in service.stack.pins() {
        let asked = registries.ping(&pin.image, Duration::from_secs(15)).await;
        let result = asked.map(|()| "answers".to_owned()).map_err(|error| error.to_string());
        doctor.see(&format!("{}: registry of {}", service.name, pin.image), result);
    }
}

/// What can be rolled back to stands in the record, so the server is asked; where none runs yet there is nothing to go back to.
async fn see_candidates(doctor: &mut Doctor, global: &Global) {
    let Ok(client) = Client::new(global) else { return };
    let Ok(all) = client.get::<api::Services>("/api/v1/services").await else { return };
    for service in all.services.iter().filter(|service| !service.rollback_candidates.is_empty()) {
        let gone: Vec<String> = service.rollback_candidates.iter().flat_map(|candidate| candidate.gone.clone()).collect();
        let result = if gone.is_empty() {
            Ok(format!("the images of {} earlier releases are on this host", service.rollback_candidates.len()))
        } else {
            Err(format!(
                "not on this host any more: {}. A rollback to it has to pull it from the registry. Run `docker image prune` without -a: -a also removes images with keep-tags.",
                gone.join(", ")
            ))
        };
        doctor.see(&format!("{}: rollback", service.name), result);
    }
}

/// The remote is asked whether it would take a push; nothing is pushed.
async fn see_dataset(doctor: &mut Doctor, plan: &Reload) {
    let asked = Dataset::new(plan.data.clone()).may_push(&Cancel::default()).await;
    let result = match asked {
        Ok(Push::Done) => Ok(format!(
            "{} accepts pushes to {}, unless a hook or a branch protection there refuses them",
            plan.data.remote, plan.data.branch
        )),
        Ok(Push::Refused { why }) => Err(format!("{} refuses pushes to {}: {why}", plan.data.remote, plan.data.branch)),
        Ok(Push::Waiting { why, .. }) => Err(format!("{} could not be asked: {why}", plan.data.remote)),
        Ok(Push::Working | Push::Behind) => Ok(format!(
            "{} has the branch {}; whether it accepts pushes is checked after the data was cloned",
            plan.data.remote, plan.data.branch
        )),
        Err(error) => Err(error.to_string()),
    };
    doctor.see(&format!("{}: remote", plan.data.name), result);
    doctor.see(&format!("{}: confinement", plan.data.name), confinement(plan.data.git.confine, can_confine()));
}

/// What anybody who may write a checkout can make git touch elsewhere.
fn confinement(wanted: Confine, is_possible: bool) -> Result<String, String> {
    // Missing, it is what the kernel has always done: no hard links to what is not one's own.
    if std::fs::read_to_string("/proc/sys/fs/protected_hardlinks").is_ok_and(|value| value.trim() == "0") {
        return Err("fs.protected_hardlinks is 0, so anybody who can write the checkout can hard-link other users' files into it, which would be parked and pushed; set it to 1 with sysctl.".to_owned());
    }
    let open = "anybody who can write the checkout can swap a folder for a link at the right moment, so that files elsewhere are read or written with tagalong's permissions";
    match (wanted, is_possible) {
        (Confine::WherePossible | Confine::Always, true) => Ok("git can access only the checkout and tagalong's own folder".to_owned()),
        (Confine::Never, _) => Ok(format!("git is not confined, as configured: {open}")),
        (Confine::WherePossible, false) => Ok(format!("this kernel has no Landlock: {open}; with confine = \"always\" tagalong refuses to work without it")),
        (Confine::Always, false) => Err(
            "this kernel has no Landlock (Linux 5.13 or newer), so tagalong does not work on the checkout; make Landlock available, or set confine = \"where_possible\"."
                .to_owned(),
        ),
    }
}

/// Signatures hold for five minutes, so a clock that is off refuses every call.
async fn clock_off(config: &Config) -> Result<String, String> {
    const LIMIT_S: i64 = 60;
    let Some(plan) = config.services.values().find_map(|service| service.smoke.as_ref()).map(|smoke| &smoke.plan) else {
        return Ok("not compared, because no service has a [smoke] page whose clock could be asked".to_owned());
    };
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .tls_danger_accept_invalid_certs(true)
        .build();
    let answer = match client {
        Ok(client) => client.head(plan.url.clone()).send().await.ok(),
        Err(_) => None,
    };
    let date = answer.and_then(|answer| answer.headers().get("date")?.to_str().ok().map(str::to_owned));
    let Some(there) = date.and_then(|date| jiff::fmt::rfc2822::parse(&date).ok()) else {
        return Ok(format!("not compared, because {} sends no Date header", plan.url));
    };
    let off_s = clock::now_ms() / 1000 - there.timestamp().as_second();
    if off_s.abs() > LIMIT_S {
        return Err(format!(
            "this host's clock differs by {off_s} s from that of {}; start a time service (systemd-timesyncd, chrony).",
            plan.url
        ));
    }
    Ok(format!("differs by {} s from that of {}", off_s.abs(), plan.url))
}

fn show(output: &Output, findings: &[Finding]) {
    if output.is_json() {
        output.json(&findings);
        return;
    }
    for finding in findings {
        let mark = if finding.ok { output.paint(Tone::Good, "✓") } else { output.paint(Tone::Bad, "✗") };
        output.say(&format!("{mark} {}: {}", finding.check, finding.detail));
    }
}
