//! `tagalong key rotate`: one secret follows another, and nobody is refused on the way. Wherever it is interrupted, the files hold
//! what is needed for both old and new callers, and the next run goes on from there.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::api;
use crate::cli::client::Client;
use crate::cli::global::Global;
use crate::cli::key::secret::Held;
use crate::cli::output::Output;
use crate::clock;
use crate::config::Config;
use crate::model::DatasetName;
use crate::model::KeyId;
use crate::model::Rotated;
use crate::store::MARK_KEY;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The id of the key
    #[arg(required_unless_present = "dataset")]
    id: Option<KeyId>,
    /// Rotate the reload secret of this dataset instead
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    dataset: Option<DatasetName>,
    /// Drop the old secret, and do nothing else; refused as long as the new one has not been used
    #[arg(long)]
    finish: bool,
    /// Drop the old secret even if the new one has not been used
    #[arg(long, requires = "finish")]
    force: bool,
    /// Do not put the new secret where the [[secret]] tables say
    #[arg(long)]
    no_sync: bool,
}

/// How far a rotation is when the command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is being rotated.
    Idle,
    /// Both secrets are accepted, and the new one has not been used.
    Waiting,
    /// The old one is gone.
    Finished,
}

impl Args {
    fn whose(&self) -> anyhow::Result<Rotated> {
        let key = self.id.clone().map(Rotated::Key);
        key.or_else(|| self.dataset.clone().map(Rotated::Dataset)).context("Name a key, or a dataset with --dataset.")
    }
}

pub(super) async fn run(global: &Global, output: &Output, args: &Args) -> anyhow::Result<u8> {
    let config = Config::load(&global.config)?;
    let store = Store::open(&config.server.data_dir, config.store.postgres.as_ref()).await?;
    let random = || STANDARD.encode(clock::random_bytes::<32>());
    let mark_key = store.named_value(MARK_KEY, random).await?.into_bytes();
    let mut held = Held::of(&config, args.whose()?, mark_key)?;
    let used_ms = store.secret_first_used(&held.whose, &held.mark()).await?;
    let stage = match (held.now.older.is_some(), args.finish) {
        (false, true) => Stage::Idle,
        (false, false) => {
            held.begin()?;
            Stage::Waiting
        }
        (true, true) => {
            anyhow::ensure!(used_ms.is_some() || args.force, "{}", not_used_yet(&held));
            Stage::Finished
        }
        (true, false) if used_ms.is_some() => Stage::Finished,
        (true, false) => Stage::Waiting,
    };
    if stage == Stage::Finished {
        held.finish()?;
    } else {
        // An earlier run may have been interrupted before it came to the last of the files.
        held.write()?;
    }
    tell_server(global, &held).await.with_context(|| untold(&held, stage))?;
    say(output, &held, stage, used_ms);
    Ok(0)
}

fn not_used_yet(held: &Held) -> String {
    format!(
        "The new secret of {} has not been used yet, so whoever calls with it may still have only the old one. Wait until CI has called, or \
        drop the old one anyway with --finish --force.",
        held.whose
    )
}

fn untold(held: &Held, stage: Stage) -> String {
    let file = held.path().display();
    match stage {
        Stage::Waiting => format!(
            "{file} holds the old and the new secret of {}, but the server does not know the new one yet, so it was put nowhere else. \
            Start the server or correct what is wrong, and run the same command again",
            held.whose
        ),
        Stage::Idle | Stage::Finished => {
            format!(
                "{file} holds only the new secret of {}, but the server may still accept the old one until it reads its configuration",
                held.whose
            )
        }
    }
}

/// The server accepts what the files hold when this returns.
async fn tell_server(global: &Global, held: &Held) -> anyhow::Result<()> {
    let read: api::ReadAgain = Client::new(global)?.act("/api/v1/configuration/read").await?;
    // A reload secret is read for each call.
    let is_known = matches!(held.whose, Rotated::Dataset(_)) || read.secrets.get(&held.whose.to_string()) == Some(&held.mark());
    anyhow::ensure!(
        is_known,
        "The server that answers has another secret of {}: it uses another configuration, or another copy of {}.",
        held.whose,
        held.path().display()
    );
    Ok(())
}

fn say(output: &Output, held: &Held, stage: Stage, used_ms: Option<i64>) {
    let (whose, file) = (&held.whose, held.path().display());
    if output.is_json() {
        let stage = match stage {
            Stage::Idle => "idle",
            Stage::Waiting => "waiting",
            Stage::Finished => "finished",
        };
        return output.json(&json!({ "secret": whose.to_string(), "file": held.path(), "stage": stage, "used_ms": used_ms }));
    }
    match stage {
        Stage::Idle => output.say(&format!("{whose} is not being rotated; {file} holds one secret.")),
        Stage::Finished => output.say(&format!("{whose}: the old secret is gone; {file} holds the new one.")),
        Stage::Waiting => output.say(&format!(
            "{whose}: the server accepts the old and the new secret; {file} holds both, the new one last. \
            When the new one has been used, the same command drops the old one."
        )),
    }
}
