//! `tagalong key rotate`: one secret follows another, and nobody is refused on the way. Wherever it is interrupted, the files hold
//! what is needed for both old and new callers, and the next run goes on from there.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap_complete::ArgValueCompleter;
use serde_json::json;

use crate::api;
use crate::cli::client::Client;
use crate::cli::complete;
use crate::cli::global::Global;
use crate::cli::key::secret::Held;
use crate::cli::output::Output;
use crate::cli::secrets;
use crate::cli::secrets::How;
use crate::cli::secrets::Line;
use crate::cli::secrets::put_all;
use crate::clock;
use crate::config::Config;
use crate::config::Provision;
use crate::config::Value;
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
    #[arg(long, value_name = "NAME", conflicts_with = "id", add = ArgValueCompleter::new(complete::datasets))]
    dataset: Option<DatasetName>,
    /// Drop the old secret, and do nothing else; refused as long as the new one has not been used
    #[arg(long)]
    finish: bool,
    /// Drop the old secret even if the new one has not been used
    #[arg(long, requires = "finish")]
    force: bool,
    /// Do not put the new secret where the `[[secret]]` tables say
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
    let turn = Turn { global, args, config: &config, store: &store };
    let is_rotating = held.now.older.is_some();
    let (stage, lines) = match (is_rotating, args.finish) {
        (false, true) => (Stage::Idle, turn.bring_in_line(&held, Stage::Idle).await?),
        (true, true) if used_ms.is_none() && !args.force => anyhow::bail!(not_used_yet(&held)),
        (true, finish) if finish || used_ms.is_some() => turn.finish(&mut held).await?,
        (true, _) => (Stage::Waiting, turn.bring_in_line(&held, Stage::Waiting).await?),
        (false, false) => {
            held.begin()?;
            (Stage::Waiting, turn.bring_in_line(&held, Stage::Waiting).await?)
        }
    };
    say(output, &held, stage, used_ms, &lines);
    Ok(u8::from(lines.iter().any(Line::is_failed)))
}

/// One run of the command.
struct Turn<'a> {
    global: &'a Global,
    args: &'a Args,
    config: &'a Config,
    store: &'a Store,
}

impl Turn<'_> {
    /// Every file holds what the secret is now, the server accepts that, and after that everybody who is to call with it gets it.
    async fn bring_in_line(&self, held: &Held, stage: Stage) -> anyhow::Result<Vec<Line>> {
        // An earlier run may have been interrupted before it came to the last of the files.
        held.write()?;
        tell_server(self.global, held).await.with_context(|| untold(held, stage))?;
        self.sync(held).await
    }

    /// The old secret is dropped, unless somebody gets the new one only now.
    async fn finish(&self, held: &mut Held) -> anyhow::Result<(Stage, Vec<Line>)> {
        let lines = self.bring_in_line(held, Stage::Waiting).await?;
        if !self.args.force && lines.iter().any(|line| line.is_changed() || line.is_failed()) {
            return Ok((Stage::Waiting, lines));
        }
        held.finish()?;
        tell_server(self.global, held).await.with_context(|| untold(held, Stage::Finished))?;
        Ok((Stage::Finished, self.sync(held).await?))
    }

    /// What the tables say is put where they say.
    async fn sync(&self, held: &Held) -> anyhow::Result<Vec<Line>> {
        let is_of = |one: &&Provision| matches!(&one.value, Value::Of(whose) if *whose == held.whose);
        let mine: Vec<&Provision> = self.config.provisions.iter().filter(is_of).collect();
        if self.args.no_sync || mine.is_empty() {
            return Ok(Vec::new());
        }
        put_all(self.config, self.store, &mine, How { dry_run: false, remember: true }).await
    }
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
            "{file} holds the old and the new secret of {}, but the server did not say that it accepts the new one, so nothing was put anywhere. \
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

fn say(output: &Output, held: &Held, stage: Stage, used_ms: Option<i64>, lines: &[Line]) {
    let whose = &held.whose;
    let file = held.path().display();
    if output.is_json() {
        let stage = match stage {
            Stage::Idle => "idle",
            Stage::Waiting => "waiting",
            Stage::Finished => "finished",
        };
        return output.json(&json!({ "secret": whose.to_string(), "file": held.path(), "stage": stage, "used_ms": used_ms, "lines": lines.iter().map(Line::json).collect::<Vec<_>>() }));
    }
    secrets::say(output, lines, false);
    match stage {
        Stage::Idle => output.say(&format!("{whose} is not being rotated; {file} holds one secret.")),
        Stage::Finished => output.say(&format!("{whose}: the old secret is gone; {file} holds the new one.")),
        Stage::Waiting => output.say(&format!(
            "{whose}: the server accepts the old and the new secret; {file} holds both, the new one last. \
            When the new one has been used, the same command drops the old one."
        )),
    }
}
