//! One pass: the local branch and the remote's become the same, and no work is lost.

use process::Cancel;
use process::Ended;

use crate::dataset::DatasetError;
use crate::dataset::Reconciled;
use crate::dataset::checkout::Moved;
use crate::dataset::decide::Facts;
use crate::dataset::decide::Next;
use crate::dataset::decide::decide;
use crate::dataset::git::Repo;
use crate::dataset::park::PARKED;
use crate::dataset::range::Own;
use crate::dataset::remote::Fetched;
use crate::dataset::remote::Pushed;
use crate::dataset::replay::Carried;
use crate::dataset::traces::Gone;
use crate::model::Commit;
use crate::model::Reconcile;

/// How often a pass starts again because somebody was faster, here or on the remote.
const ROUNDS: usize = 12;

/// The result of a round.
enum Round {
    /// Both are the same, or nothing more can be done. The outcome, unless an earlier round had a more important one.
    Over(Reconcile, Option<String>),
    /// Look again; with a fetch if the remote has moved.
    Again { fetch: bool },
}

impl Repo {
    /// One pass. The repository has been repaired, and nobody else works on it.
    pub(super) async fn pass(&self, cancel: &Cancel) -> Result<Reconciled, DatasetError> {
        self.trust_what_was_seen(cancel).await?;
        let from = self.tip(&self.local_ref(), cancel).await?;
        let mut story =
            Reconciled { outcome: Reconcile::InSync, from: from.clone(), to: from, parked: None, pushed: 0, why: None, is_behind: false };
        let mut remote = None;
        for _ in 0..ROUNDS {
            let tip = match remote.take() {
                Some(tip) => tip,
                None => match self.fetch(cancel).await? {
                    Fetched::Tip(tip) => tip,
                    Fetched::NoBranch => {
                        let why = format!("the remote has no branch {}", self.settings.branch);
                        return self.ended_with(story, Reconcile::RemoteBranchMissing, Some(why), cancel).await;
                    }
                    Fetched::Unreachable(why) => return self.ended_with(story, Reconcile::FetchFailed, Some(why), cancel).await,
                },
            };
            match self.round(&tip, &mut story, cancel).await? {
                Round::Over(outcome, why) => {
                    let outcome = weightier(story.outcome, outcome);
                    return self.ended_with(story, outcome, why, cancel).await;
                }
                Round::Again { fetch } => remote = (!fetch).then_some(tip),
            }
        }
        let why = "the remote branch kept moving while local commits were being pushed".to_owned();
        self.ended_with(story, Reconcile::PushFailed, Some(why), cancel).await
    }

    /// Completes the pass: publishes parked work of earlier passes, and reads the present state.
    async fn ended_with(
        &self,
        mut story: Reconciled,
        outcome: Reconcile,
        why: Option<String>,
        cancel: &Cancel,
    ) -> Result<Reconciled, DatasetError> {
        story.outcome = outcome;
        story.why = story.why.or(why);
        if !matches!(outcome, Reconcile::FetchFailed | Reconcile::RemoteBranchMissing)
            && let Some(remote) = self.tip(&self.fetched_ref(), cancel).await?
            && let Some(Pushed::Refused(why) | Pushed::Transient(why) | Pushed::Busy(why)) = self.publish_parked(&remote, cancel).await?
        {
            story.why = story.why.or(Some(format!("parked work is not on the remote yet: {why}")));
        }
        story.to = self.tip(&self.local_ref(), cancel).await?;
        Ok(story)
    }

    async fn round(&self, remote: &Commit, story: &mut Reconciled, cancel: &Cancel) -> Result<Round, DatasetError> {
        let seen = self.tip(&self.upstream_ref(), cancel).await?;
        let (facts, gone) = self.observe(remote, cancel).await?;
        let local = facts.local.clone();
        if let Some(local) = local.as_ref().filter(|_| facts.own < facts.ahead && !gone.is_sure) {
            // It may be the work of somebody who followed another remote: it stays only on this host.
            let name = self.keep(local, cancel).await?;
            story.why = Some(format!(
                "commits that came from a remote with a different address, and that {} does not have, are kept here on {name}",
                self.settings.remote
            ));
        }
        match decide(&facts) {
            Next::Rest => {
                self.remember(remote, seen.as_ref(), cancel).await?;
                Ok(Round::Over(Reconcile::InSync, None))
            }
            Next::FastForward => self.follow(local.as_ref(), (remote, remote), Reconcile::FastForwarded, story, cancel).await,
            Next::FollowRewrite => self.follow(local.as_ref(), (remote, remote), Reconcile::FollowedRewrite, story, cancel).await,
            Next::Push => self.push_own(&facts, seen.as_ref(), story, cancel).await,
            Next::CarryOver | Next::Park => {
                let Some(local) = local else { return Ok(Round::Again { fetch: true }) };
                let own = Own { local: &local, remote, gone: &gone.tips };
                if decide(&facts) == Next::CarryOver
                    && let Carried::Tip(tip) = self.carry_over(&own, cancel).await?
                {
                    return self.follow(Some(&local), (&tip, remote), Reconcile::Rebased, story, cancel).await;
                }
                let parked = if facts.own < facts.ahead { self.lay_over(&own, cancel).await? } else { local.clone() };
                self.park_and_follow(&local, &parked, remote, story, cancel).await
            }
        }
    }

    /// Collects the facts for the decision.
    async fn observe(&self, remote: &Commit, cancel: &Cancel) -> Result<(Facts, Gone), DatasetError> {
        let local = self.tip(&self.local_ref(), cancel).await?;
        let mut facts = Facts { local: local.clone(), remote: remote.clone(), ahead: 0, own: 0, behind: 0, related: true };
        let mut gone = Gone::default();
        let Some(local) = local.filter(|local| local != remote) else { return Ok((facts, gone)) };
        let range = format!("{local}...{remote}");
        let sides = self.git(["rev-list", "--count", "--left-right", &range]).text(cancel).await?;
        let mut sides = sides.split_whitespace().map(|side| side.parse().unwrap_or(0));
        facts.ahead = sides.next().unwrap_or(0);
        facts.behind = sides.next().unwrap_or(0);
        if facts.ahead > 0 {
            gone = self.gone_from(&local, remote, cancel).await?;
            let range = Own { local: &local, remote, gone: &gone.tips }.range();
            facts.own = self.count(&range.iter().map(String::as_str).collect::<Vec<_>>(), cancel).await?;
        }
        if facts.own > 0 && (facts.behind > 0 || facts.own < facts.ahead) {
            let others = std::iter::once(remote).chain(&gone.tips).map(Commit::as_str);
            let args: Vec<&str> = ["merge-base", local.as_str()].into_iter().chain(others).collect();
            facts.related = self.git(args).run(cancel).await.0 == Ended::Exit(0);
        }
        Ok((facts, gone))
    }

    async fn follow(
        &self,
        from: Option<&Commit>,
        (to, remote): (&Commit, &Commit),
        outcome: Reconcile,
        story: &mut Reconciled,
        cancel: &Cancel,
    ) -> Result<Round, DatasetError> {
        if from == Some(to) {
            return Ok(Round::Again { fetch: true });
        }
        // The commit on which the branch is based now belongs to the remote, even if it is gone there before we look again.
        self.note_had(remote)?;
        if let Moved::Done { parked } = self.go(from, to, cancel).await? {
            story.outcome = weightier(story.outcome, outcome);
            if let Some(name) = parked {
                story.why = Some(format!("uncommitted edits were in the way and were parked as conflicts/{name}"));
                story.parked = Some(format!("conflicts/{name}"));
            }
        }
        Ok(Round::Again { fetch: false })
    }

    async fn push_own(&self, facts: &Facts, seen: Option<&Commit>, story: &mut Reconciled, cancel: &Cancel) -> Result<Round, DatasetError> {
        let Some(local) = &facts.local else { return Ok(Round::Again { fetch: true }) };
        // This is recorded first: if we are killed after the push, we still know that the pushed commits are ours.
        self.remember(&facts.remote, seen, cancel).await?;
        match self.push(local, &self.local_ref(), Some(&facts.remote), self.settings.push_deadline, cancel).await {
            Pushed::Done => {
                self.remember(local, Some(&facts.remote), cancel).await?;
                self.set_ref(&self.fetched_ref(), local, cancel).await?;
                story.pushed += facts.own;
                story.outcome = weightier(story.outcome, Reconcile::Pushed);
                let now = self.tip(&self.local_ref(), cancel).await?;
                // A commit that was made during the push is pushed as well.
                if now.as_ref() == Some(local) { Ok(Round::Over(Reconcile::Pushed, None)) } else { Ok(Round::Again { fetch: true }) }
            }
            Pushed::Moved => Ok(Round::Again { fetch: true }),
            Pushed::Refused(why) => {
                story.outcome = Reconcile::InSync;
                Ok(Round::Over(Reconcile::PushRefused, Some(why)))
            }
            Pushed::Transient(_) | Pushed::Busy(_) if cancel.is_cancelled() => Err(DatasetError::Cancelled),
            Pushed::Transient(why) | Pushed::Busy(why) => {
                story.outcome = Reconcile::InSync;
                Ok(Round::Over(Reconcile::PushFailed, Some(format!("local commits could not be pushed: {why}"))))
            }
        }
    }

    /// The work is stored on a local ref and pushed; only then does the checkout move.
    async fn park_and_follow(
        &self,
        local: &Commit,
        work: &Commit,
        remote: &Commit,
        story: &mut Reconciled,
        cancel: &Cancel,
    ) -> Result<Round, DatasetError> {
        let name = self.park(work, cancel).await?;
        let is_out = !self.refs_below(&format!("{PARKED}{name}"), cancel).await?.is_empty();
        let (answer, name) = if is_out { self.publish(&name, work, cancel).await? } else { (Pushed::Done, name) };
        match answer {
            Pushed::Done | Pushed::Moved => {}
            // The remote does not accept it now: it stays on the local ref, and readers get the remote's data nevertheless.
            Pushed::Refused(why) => {
                story.why =
                    Some(format!("the remote refused conflicts/{name}, which stays on this host until the remote accepts it: {why}"));
            }
            Pushed::Transient(_) | Pushed::Busy(_) if cancel.is_cancelled() => return Err(DatasetError::Cancelled),
            Pushed::Transient(why) | Pushed::Busy(why) => {
                let why = format!("local work conflicts with the remote, and conflicts/{name} could not be pushed yet: {why}");
                return Ok(Round::Over(Reconcile::PushFailed, Some(why)));
            }
        }
        let round = self.follow(Some(local), (remote, remote), Reconcile::ConflictParked, story, cancel).await?;
        story.parked = Some(format!("conflicts/{name}"));
        Ok(round)
    }

    /// Remembers the remote's tip, because all of our own work is now above it.
    pub(super) async fn remember(&self, tip: &Commit, seen: Option<&Commit>, cancel: &Cancel) -> Result<(), DatasetError> {
        // If something is noted, the branch was moved, perhaps back to where the remote was seen last.
        if seen != Some(tip) || self.has_noted() {
            // This is git's own record of the remote, if it has one: purged commits must not stay on it.
            let mut names = self.tracking_refs(cancel).await?;
            names.push(self.upstream_ref());
            self.set_refs(&names, tip, cancel).await?;
        }
        self.forget_had();
        if self.is_same_remote() { Ok(()) } else { self.remember_remote() }
    }

    /// What was seen at an address that is no longer used says nothing about the present one.
    async fn trust_what_was_seen(&self, cancel: &Cancel) -> Result<(), DatasetError> {
        if self.is_remote_known() && !self.is_same_remote() {
            for name in [self.upstream_ref(), self.fetched_ref()] {
                if let Some(seen) = self.tip(&name, cancel).await? {
                    self.drop_ref(&name, &seen, cancel).await?;
                }
            }
            self.forget_had();
            self.remember_remote()?;
        }
        Ok(())
    }
}

/// The outcome that says more about what happened to the data.
fn weightier(a: Reconcile, b: Reconcile) -> Reconcile {
    let weight = |outcome| match outcome {
        Reconcile::InSync => 0,
        Reconcile::Pushed => 1,
        Reconcile::FastForwarded => 2,
        Reconcile::FollowedRewrite => 3,
        Reconcile::Rebased => 4,
        Reconcile::ConflictParked => 5,
        Reconcile::PushRefused | Reconcile::PushFailed | Reconcile::FetchFailed | Reconcile::RemoteBranchMissing => 6,
    };
    if weight(b) > weight(a) { b } else { a }
}
