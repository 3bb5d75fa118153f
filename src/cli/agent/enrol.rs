//! `tagalong agent enrol` and `tagalong agent renew`.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::api;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::typed;
use crate::config::Config;
use crate::line::EnrolmentCode;
use crate::line::Identity;
use crate::line::KeyPair;
use crate::line::Showing;
use crate::line::machine_id;
use crate::line::nonce;
use crate::model::is_in_the_clear;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The control plane is the one of --url, or of url in [agent] of the configuration. The keys are kept in server.data_dir."
)]
pub(crate) struct Args {
    /// The file with the code that `tagalong agent token` printed, or - for standard input
    #[arg(long, value_name = "FILE")]
    code_file: PathBuf,
    /// Certificates that are trusted besides the host's own [default: `ca_file` in the configuration]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

pub(super) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let config = Config::load(&global.config)?;
    let configured = config.agent.as_ref();
    let url = global.url.clone().or_else(|| configured.map(|agent| agent.url.to_string()));
    let url = url.context("Name the control plane with --url https://…, or set url in [agent] of the configuration.")?;
    let url = url::Url::parse(&url).with_context(|| format!("\"{}\" is not the address of a server", url.escape_default()))?;
    anyhow::ensure!(!is_in_the_clear(&url), "{url} uses plain http; an agent is enrolled over https.");
    let text = typed::read(&args.code_file)?;
    let code = EnrolmentCode::parse(&text).map_err(anyhow::Error::msg)?;
    let dir = &config.server.data_dir;
    let mine = pending(dir)?;
    let ca_file = args.ca_file.as_deref().or_else(|| configured.and_then(|agent| agent.ca_file.as_deref()));
    let enrolled = ask(&url, ca_file, &code, &mine).await?;
    let name = enrolled.name.clone();
    if let Some(agent) = configured.filter(|agent| agent.name != name) {
        output.notice(&format!("[agent] in the configuration has the name {}; change it to {name}.", agent.name));
    }
    Identity { name: Some(name.clone()), control: Some(enrolled.control), ..mine }.write(dir)?;
    forget_pending(dir)?;
    let lines = format!("[agent]\nname = \"{name}\"\nurl = \"{url}\"");
    if output.is_json() {
        output.json(&serde_json::json!({ "name": name, "url": url, "config": lines }));
    } else if configured.is_some() {
        output.say(&format!("This host is enrolled as {name} at {url}."));
    } else {
        output.notice(&format!("This host is enrolled as {name} at {url}. Add these lines to the configuration and restart the server:"));
        output.say(&lines);
    }
    Ok(0)
}

/// The folder of the keys that wait for an answer: the ones in use stay until there is one.
fn pending_dir(dir: &Path) -> PathBuf {
    dir.join("enrolling")
}

/// The keys for this enrolment: those of one that had no answer, so that the code that it used up is still good, or new ones.
fn pending(dir: &Path) -> anyhow::Result<Identity> {
    let folder = pending_dir(dir);
    if let Some(mine) = Identity::read(&folder)? {
        return Ok(mine);
    }
    let keys = KeyPair::new().context("No key could be made")?;
    Identity { name: None, keys, next: None, control: None }.write(&folder)?;
    Identity::read(&folder)?.context("The new key could not be kept")
}

fn forget_pending(dir: &Path) -> anyhow::Result<()> {
    let folder = pending_dir(dir);
    std::fs::remove_dir_all(&folder).with_context(|| format!("{} could not be removed", folder.display()))
}

/// Shows the code and the new key, and checks that the control plane that the code is for has answered.
async fn ask(url: &url::Url, ca_file: Option<&Path>, code: &EnrolmentCode, mine: &Identity) -> anyhow::Result<api::Enrolled> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(30));
    if url.scheme() == "http" {
        builder = builder.no_proxy();
    }
    if let Some(file) = ca_file {
        let pem = std::fs::read(file).with_context(|| format!("The file {} cannot be read", file.display()))?;
        for root in
            reqwest::Certificate::from_pem_bundle(&pem).with_context(|| format!("{} is no PEM file of certificates", file.display()))?
        {
            builder = builder.add_root_certificate(root);
        }
    }
    let http = builder.build().context("The HTTP client could not be set up")?;
    let machine = machine_id();
    let nonce = nonce();
    let showing = Showing { code: code.public(), key: mine.keys.public(), machine: &machine, nonce: &nonce };
    let body = api::NewAgent {
        code: code.public().clone(),
        key: mine.keys.public().clone(),
        machine: machine.clone(),
        nonce: nonce.clone(),
        by_code: showing.prove_code(code),
        by_key: showing.prove_key(&mine.keys),
    };
    let to = format!("{}/api/v1/agents/enrol", url.as_str().trim_end_matches('/'));
    let answer = http
        .post(to)
        .json(&body)
        .send()
        .await
        .map_err(|error| anyhow::anyhow!("{url} cannot be reached: {}.", text::root_cause(&error)))?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    if status == reqwest::StatusCode::UNAUTHORIZED {
        anyhow::bail!("{url} does not know this code; `tagalong agent token NAME` on the control plane prints a new one.");
    }
    if !status.is_success() {
        let problem: Result<api::Problem, _> = serde_json::from_str(&text);
        anyhow::bail!(problem.map_or_else(|_| format!("{url} answered {status}."), |problem| problem.detail));
    }
    let enrolled: api::Enrolled = serde_json::from_str(&text).with_context(|| format!("{url} did not answer as a control plane does"))?;
    anyhow::ensure!(
        code.is_for(&enrolled.control) && showing.is_answer(&enrolled.name, &enrolled.control, &enrolled.proof),
        "The server at {url} is not the control plane that made this code, or somebody is between the two; nothing was changed here."
    );
    Ok(enrolled)
}

/// Makes the key pair that takes the place of the one in use, once the control plane knows it.
pub(super) fn renew(global: &Global, output: &Output) -> anyhow::Result<u8> {
    let config = Config::load(&global.config)?;
    let dir = &config.server.data_dir;
    let mine = Identity::read(dir)?.filter(|mine| mine.control.is_some());
    let mine = mine.context("This host is not enrolled, so there is no key to replace; run `tagalong agent enrol`.")?;
    let next = KeyPair::new().context("No key could be made")?;
    Identity { next: Some(next), ..mine }.write(dir)?;
    output.say("The new key is made. The agent tells the control plane of it the next time it connects: restart it now, or wait.");
    Ok(0)
}
