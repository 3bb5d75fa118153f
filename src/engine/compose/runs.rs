//! Asking compose what it makes of a stack.

use std::collections::BTreeSet;

use process::Cancel;
use process::Captured;
use process::Command;
use process::Ended;
use process::capture;
use serde_json::Value;

use crate::engine::compose::fields::json;
use crate::engine::compose::fields::members;
use crate::engine::compose::files::LISTED;
use crate::engine::compose::ground::Ground;
use crate::engine::compose::proof::marker;
use crate::engine::compose::stack::Compose;
use crate::engine::compose::stack::QUESTION;
use crate::engine::compose::stack::path_text;
use crate::engine::error::EngineError;

/// What compose made of the stack.
pub(super) struct Runs {
    /// By hand: no project, no files named. None where a hand-run does not work, with what it said.
    pub(super) hand: Result<Value, String>,
    /// As we call it, without an override file of ours, every profile on.
    pub(super) ours: Value,
    /// The services that are active without any profile being named.
    pub(super) active: BTreeSet<String>,
    /// What compose warned of.
    pub(super) notes: Vec<String>,
}

impl Compose {
    /// Resolves the stack twice: as a person would, and as we do. `marked`: with markers in place of the pins.
    pub(super) async fn runs(&self, ground: &Ground, marked: bool, cancel: &Cancel) -> Result<Runs, EngineError> {
        let with_markers = |mut command: Command, run: u8| {
            let pins = self.stack.pins.iter().enumerate().filter(|_| marked);
            command.env.extend(pins.filter_map(|(index, pin)| Some((pin.variable.clone()?, marker(run, index)))));
            command
        };
        let hand = with_markers(self.hand_command(ground, &["config", "--format", "json"]), 1);
        let ours = |profiles: &[&str]| {
            let args: Vec<&str> = profiles.iter().copied().chain(["config", "--format", "json"]).collect();
            with_markers(self.compose_command(&ground.files, &args, QUESTION), 2)
        };
        let all = ours(&["--profile", "*"]);
        let by_hand = async {
            // Without a file here compose would go looking in the folders above.
            if ground.hand.files.is_empty() { None } else { Some(capture(&hand, cancel).await) }
        };
        let (by_hand, mut by_us) = tokio::join!(by_hand, capture(&all, cancel));
        if matches!(by_us.ended, Ended::Exit(code) if code != 0) {
            // A service of a profile that nobody switches on may lack its files.
            by_us = capture(&ours(&[]), cancel).await;
        }
        let errors = [by_hand.as_ref().map_or("", |captured| captured.err.as_str()), &by_us.err];
        let mut notes: Vec<String> = errors.into_iter().flat_map(notes).collect();
        for note in &mut notes {
            *note = self.as_on_the_host(note).into_owned();
        }
        notes.sort();
        notes.dedup();
        let hand = by_hand.map_or_else(|| Ok(Err("no compose file was found".to_owned())), |captured| self.hand_answer(captured))?;
        let active = match &hand {
            Ok(config) if ground.is_read_by_hand(&self.stack.dir) => names(config),
            _ => names(&self.our_answer(&capture(&ours(&[]), cancel).await)?),
        };
        Ok(Runs { hand, ours: self.our_answer(&by_us)?, active, notes })
    }

    /// What a person would type in the folder. Where `.env` lists our override file already and it does not exist yet, the
    /// files are named without it.
    pub(super) fn hand_command(&self, ground: &Ground, args: &[&str]) -> Command {
        let mut words = vec!["compose".to_owned()];
        let ours = ground.hand.ours(&self.stack.dir);
        if ours.is_some_and(|ours| !ours.exists()) {
            words.extend(ground.hand.own(&self.stack.dir).iter().flat_map(|file| ["-f".to_owned(), path_text(file)]));
        }
        words.extend(args.iter().map(|arg| (*arg).to_owned()));
        self.docker_command(words, QUESTION)
    }

    fn hand_answer(&self, captured: Captured) -> Result<Result<Value, String>, EngineError> {
        match &captured.ended {
            Ended::Exit(0) => Ok(Ok(json(&self.as_on_the_host(&captured.out))?)),
            Ended::Exit(_) => Ok(Err(captured.err)),
            ended => Err(EngineError::ended(&self.what(), &self.daemon.docker().program, ended, &captured.err)),
        }
    }

    fn our_answer(&self, captured: &Captured) -> Result<Value, EngineError> {
        match &captured.ended {
            Ended::Exit(0) => json(&self.as_on_the_host(&captured.out)),
            ended => match EngineError::ended(&self.what(), &self.daemon.docker().program, ended, &captured.err) {
                EngineError::Failed { why, .. } => {
                    Err(EngineError::Stack(format!("compose does not accept the stack in {}: {why}", self.stack.dir.display())))
                }
                other => Err(other),
            },
        }
    }

    fn what(&self) -> String {
        format!("docker compose config of {}", self.stack.project)
    }
}

fn names(config: &Value) -> BTreeSet<String> {
    members(config, &["services"]).map(|(name, _)| name.to_owned()).collect()
}

/// The warnings of compose, without time and level.
fn notes(errors: &str) -> Vec<String> {
    let mut notes = Vec::new();
    for part in errors.split("; ").filter(|part| part.contains("level=warning")) {
        let Some((_, message)) = part.split_once("msg=\"") else { continue };
        let note = message.trim_end_matches('"').replace("\\\"", "\"");
        let is_about_us = note.contains(LISTED) || note.contains("attribute `version` is obsolete");
        if !is_about_us && !notes.contains(&note) {
            notes.push(note);
        }
    }
    notes
}
