//! `tagalong check`: the configuration and every stack, every problem at once.

use std::path::Path;
use std::sync::Arc;

use policy::Finding;
use policy::Level;
use process::Cancel;

use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::output::Tone;
use crate::config::Config;
use crate::config::Service;
use crate::engine::Daemon;
use crate::engine::Engine;
use crate::engine::Resolved;
use crate::orders;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Check only the configuration, without the stacks and Docker
    #[arg(long)]
    config_only: bool,
}

/// What to do where a service's stack has no folder.
pub(super) fn missing_folder(service: &Service, dir: &Path) -> Option<String> {
    (!dir.is_dir()).then(|| {
        format!(
            "{0} is not there; correct service.{1}.dir, or create the folder (`mkdir -p {0}`) and put the compose files there. In a container, mount the folder at the same path as on the host.",
            dir.display(),
            service.name
        )
    })
}

/// What the stack resolves to, unless somebody has edited files of it that come from git.
async fn resolve(service: &Service, compose: &Engine) -> Result<Resolved, String> {
    let laid = match &service.files {
        Some(_) => Some(compose.files_laid().await.map_err(|error| error.to_string())?),
        None => None,
    };
    let edited = laid.as_ref().and_then(Option::as_ref).map(|files| files.edited.join(", ")).filter(|edited| !edited.is_empty());
    if let Some(edited) = edited {
        return Err(format!(
            "{edited} was edited since tagalong wrote it: commit the edit to the repository and deploy that commit, or move the file away to \
             have it written again"
        ));
    }
    let resolved = compose.resolve(b"check", &Cancel::default()).await.map_err(|error| match laid {
        Some(None) => format!("{error}; the files of this stack come from git, and the first deployment brings them"),
        _ => error.to_string(),
    })?;
    if service.is_self {
        runs_in(service, compose, &resolved).await?;
    }
    Ok(resolved)
}

/// `self = true` is for a tagalong that runs in a container of what is pinned.
async fn runs_in(service: &Service, compose: &Engine, resolved: &Resolved) -> Result<(), String> {
    let own = compose.own(&Cancel::default()).await.map_err(|error| error.to_string())?;
    let pinned = |name: &str| resolved.uses.iter().any(|used| used.services.iter().any(|service| service == name));
    match own {
        Some(own) if pinned(&own.service) => Ok(()),
        Some(own) => Err(format!(
            "this tagalong runs in the service {}, whose image service.{}.image does not name; self = true is for the image of tagalong.",
            own.service, service.name
        )),
        None => Err(format!(
            "service.{}.self = true is for a tagalong that runs in a container of this very stack, and this one does not. Check it there \
             (`docker compose exec SERVICE tagalong check`); a tagalong that is installed on the host is upgraded with its package, so \
             remove self there.",
            service.name
        )),
    }
}

pub(crate) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let config = Config::load(&global.config)?;
    let daemon = Daemon::new(config.docker.clone(), Arc::clone(&config.mask));
    let mut stacks = serde_json::Map::new();
    let mut failed = 0_u8;
    for service in config.services.values().filter(|_| !args.config_only) {
        // What stands on another host is checked there.
        let Some(compose) = Engine::of(&daemon, &service.stack) else { continue };
        // Programs run in the stack's folder, so without it they would be said to be missing.
        let resolved = match missing_folder(service, compose.dir()) {
            Some(problem) => Err(problem),
            None => resolve(service, &compose).await,
        };
        let found = match resolved {
            Ok(resolved) => {
                let pinned: Vec<&str> = resolved.uses.iter().flat_map(|used| used.services.iter().map(String::as_str)).collect();
                let mode = format!("{} ({})", resolved.pinned_by(), resolved.why_mode);
                if !output.is_json() {
                    output.say(&format!("{} {}: pins {} by {}", output.paint(Tone::Good, "✓"), service.name, pinned.join(", "), mode));
                    for warning in &resolved.warnings {
                        output.say(&format!("  {} {warning}", output.paint(Tone::Careful, "!")));
                    }
                }
                let findings = resolved.judged(&service.policy);
                let is_refused = findings.iter().any(|finding| finding.level == Level::Refuse);
                failed |= u8::from(is_refused);
                show_findings(output, &findings);
                let policy: Vec<_> = findings.iter().map(finding).collect();
                serde_json::json!({ "ok": !is_refused, "policy": policy, "pins": pinned, "mode": resolved.pinned_by(), "why": resolved.why_mode, "warnings": resolved.warnings })
            }
            Err(error) => {
                failed = 1;
                if !output.is_json() {
                    output.say(&format!("{} {}: {error}", output.paint(Tone::Bad, "✗"), service.name));
                }
                serde_json::json!({ "ok": false, "problem": error })
            }
        };
        stacks.insert(service.name.to_string(), found);
    }
    let holidays = see_holidays(&config, output).await;
    failed |= u8::from(holidays.values().any(|why| !why.is_null()));
    if output.is_json() {
        output.json(&serde_json::json!({ "config": "ok", "services": stacks, "holidays": holidays }));
    } else if args.config_only || config.services.is_empty() {
        output.say(&format!("{} the configuration is valid", output.paint(Tone::Good, "✓")));
    }
    Ok(failed)
}

fn show_findings(output: &Output, findings: &[Finding]) {
    for Finding { rule, level, message } in findings.iter().filter(|_| !output.is_json()) {
        let rule = rule.rule();
        let mark = match level {
            Level::Refuse => output.paint(Tone::Bad, "✗"),
            Level::Warn => output.paint(Tone::Careful, "!"),
            Level::Off | Level::Note => output.paint(Tone::Faint, "·"),
        };
        output.say(&format!("  {mark} policy {}: {message} {}", rule.name, rule.fix));
    }
}

fn finding(finding: &Finding) -> serde_json::Value {
    serde_json::json!({ "rule": finding.rule.rule().name, "level": finding.level.as_str(), "message": finding.message })
}

/// What is wrong with the holidays of each freeze; null: nothing is.
async fn see_holidays(config: &Config, output: &Output) -> serde_json::Map<String, serde_json::Value> {
    let mut all = serde_json::Map::new();
    for freeze in &config.freezes {
        let Some((file, zone)) = &freeze.holidays else { continue };
        let problem = orders::holidays(file.clone(), zone.clone()).await.err();
        if let Some(why) = problem.as_ref().filter(|_| !output.is_json()) {
            output.say(&format!("{} freeze {}: {why}", output.paint(Tone::Bad, "✗"), freeze.id));
        }
        all.insert(freeze.id.to_string(), problem.map_or(serde_json::Value::Null, serde_json::Value::from));
    }
    all
}
