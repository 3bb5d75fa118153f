//! The stack's files, where they come from a repository: they belong to the release as its images do.
//!
//! The commit of the order says which they are; what is kept of it here brings them back without a network. Nobody's work is
//! overwritten: a file is replaced only if tagalong wrote it, or if the repository has its content.

use process::Cancel;

use crate::dataset::Depot;
use crate::dataset::DepotError;
use crate::engine::FilesNow;
use crate::engine::Resolved;
use crate::landing::release::Change;
use crate::landing::release::Laying;
use crate::landing::release::Release;
use crate::landing::site::Site;
use crate::landing::stack;
use crate::landing::stop::Fault;
use crate::landing::stop::Stop;
use crate::model::Commit;
use crate::model::Guard;
use crate::model::LaidFiles;
use crate::model::Mark;
use crate::model::Marks;
use crate::model::StackFiles;
use crate::model::Tree;
use crate::store::Deployment;
use crate::store::StoreError;

/// How many hex digits of a commit people see.
const SHORT: usize = 12;
/// So many files are named in one sentence.
const NAMED: usize = 5;
/// The tips that an adoption compares the folder with.
const MOST_TIPS: usize = 20;

impl From<DepotError> for Stop {
    fn from(error: DepotError) -> Self {
        match error {
            DepotError::Refused(why) => Self::refused(Guard::Stack, why),
            DepotError::NotAllowed(why) => Self::refused(Guard::Ref, why),
            error => Self::Fault(Fault::Files(error)),
        }
    }
}

/// The repository of the stack's files; none: people keep them in the folder.
fn depot(site: &Site<'_>) -> Option<Depot> {
    let depot = Depot::new(site.service.files.clone()?);
    Some(match &site.lock {
        Some(lock) => depot.locked(lock.clone()),
        None => depot,
    })
}

/// The files of the order's commit, which is fetched.
pub(super) async fn of_order(site: &mut Site<'_>) -> Result<Option<Tree>, Stop> {
    let Some(depot) = depot(site) else { return Ok(None) };
    let refused = |why: String| Err(Stop::refused(Guard::Ref, why));
    let Some(named) = site.order.commit.clone() else {
        return refused(
            "the order names no commit, and the stack's files come from git: send the full name of the commit as commit.".into(),
        );
    };
    let Ok(commit) = Commit::parse(&named) else {
        return refused(format!("the order names the commit {named} in short, and the stack's files come from git: send its full name."));
    };
    let tree = depot.bring(&commit, site.order.git_ref.as_deref(), &site.cancel).await?;
    site.record.journal.note(format!("the stack's files are those of the commit {}", short(&commit)));
    Ok(Some(tree))
}

/// The files that the record has of the release to which this order goes back.
pub(super) async fn of_record(site: &mut Site<'_>, recorded: &Release) -> Result<Option<Tree>, Stop> {
    if site.service.files.is_none() || recorded.files.is_some() {
        return Ok(recorded.files.clone());
    }
    let is_it = |one: &Deployment| one.images == recorded.images && one.order.commit == site.order.commit;
    let found = site.record.past.verified().await?.into_iter().filter_map(Result::ok).find(is_it).and_then(|one| one.files);
    if found.is_none() {
        site.record
            .journal
            .warning("this release was landed before the stack's files came from git: its images come back, and the files stay");
    }
    Ok(found)
}

/// The files of `release` beside what stands in the folder. It is refused by name what somebody else has written there.
pub(super) async fn ground(site: &mut Site<'_>, release: &Release) -> Result<Option<Laying>, Stop> {
    let (Some(depot), Some(tree)) = (depot(site), &release.files) else { return Ok(None) };
    let from = site.order.commit.as_deref().map(|commit| commit.chars().take(SHORT).collect());
    let wanted = depot.files_of(tree, from, &site.cancel).await?;
    let now = site.engine.files_now(&wanted).await?;
    let strange: Marks =
        now.there.iter().filter(|(path, _)| now.strange.contains(path)).map(|(path, file)| (path.clone(), file.mark.clone())).collect();
    let unknown = depot.lacking(&strange, &site.cancel).await?;
    refuse_edits(site, &now, &unknown.into_iter().collect::<Vec<_>>())?;
    if !now.gone.is_empty() {
        site.record.journal.note(format!("{} was removed from the folder and is written again", named(&now.gone)));
    }
    let mut before = now.laid.clone();
    before.files.extend(now.others.iter().map(|(path, mark)| (path.clone(), mark.clone())));
    keep(&depot, &now, &before, &site.cancel).await?;
    Ok(Some(Laying { wanted, before }))
}

/// What stood in the folder can be brought back, whatever the remote has by then.
async fn keep(depot: &Depot, now: &FilesNow, before: &LaidFiles, cancel: &Cancel) -> Result<(), Stop> {
    for path in depot.lacking(&before.files, cancel).await? {
        let is_it = |mark: &Mark| before.files.get(&path).is_some_and(|before| before.is_same_as(mark));
        if let Some(file) = now.there.get(&path).filter(|file| is_it(&file.mark)) {
            depot.keep(file, cancel).await?;
        }
    }
    Ok(())
}

fn refuse_edits(site: &Site<'_>, now: &FilesNow, unknown: &[String]) -> Result<(), Stop> {
    let dir = site.engine.dir().display();
    let why = if !now.edited.is_empty() {
        let since = now.laid.from.as_ref().map_or(String::new(), |from| format!(" from the commit {from}"));
        format!(
            "{} in {dir} was edited since tagalong wrote it{since}: commit the edit to the repository and deploy that commit, or move the \
             file away to have it written again.",
            named(&now.edited)
        )
    } else if !unknown.is_empty() {
        format!(
            "{} in {dir} is in the repository too, and tagalong did not write what stands there: commit it to the repository as it is, or \
             move it away.",
            named(unknown)
        )
    } else if let Some((path, what)) = now.in_the_way.first() {
        format!("{path} in {dir} cannot be written: {what}. Move it away.")
    } else {
        return Ok(());
    };
    Err(Stop::refused(Guard::Stack, why))
}

/// What the stack resolves to with the files that are to be written, and what it resolved to before them where they change it.
pub(super) async fn resolve(site: &mut Site<'_>, files: Option<&Laying>) -> Result<(Resolved, Option<Resolved>), Stop> {
    let Some(laying) = files.filter(|laying| !laying.wanted.laid().is_same_as(&laying.before)) else {
        return Ok((stack::resolve(site).await?, None));
    };
    let resolved = Box::pin(stack::resolve_with(site, &laying.wanted)).await?;
    let before = Box::pin(resolved_before(site, &laying.before)).await?;
    let changed = laying.wanted.laid().changed(&laying.before);
    site.record.journal.note(format!("files that change: {}", named(&changed)));
    Ok(match before {
        Some(before) => (resolved.over(&before, site.engine.dir(), &changed), Some(before)),
        None => (resolved.over_anything(), None),
    })
}

/// What the stack resolves to with `files`; none: that cannot be told.
async fn resolved_before(site: &Site<'_>, files: &LaidFiles) -> Result<Option<Resolved>, Stop> {
    let Some(depot) = depot(site) else { return Ok(None) };
    let Ok(files) = depot.remembered(files, &site.cancel).await else { return Ok(None) };
    let place = site.host.live().passing_dir.clone();
    let asked = site.engine.resolve_with(&files, &place, &site.host.fingerprint_key, &site.cancel);
    Ok(site.within(site.service.deadlines.preflight, site.engine.words().program, asked).await?.ok())
}

/// Says what is different from the last verified release, and what that means for containers and data.
pub(super) async fn tell(site: &mut Site<'_>, release: &Release, resolved: &Resolved, before: Option<&Resolved>) -> Result<(), StoreError> {
    if site.service.files.is_none() {
        return Ok(());
    }
    let last = site.record.past.last_verified(1).await?.into_iter().find_map(Result::ok).and_then(|last| last.resolved);
    if let Some(last) = last {
        for line in resolved.changes_since(&last, &release.images) {
            site.record.journal.note(format!("changed since the last release: {line}"));
        }
    }
    for sentence in before.map(|before| resolved.means_over(before)).unwrap_or_default() {
        site.record.journal.warning(sentence);
    }
    Ok(())
}

/// Writes the files of the release.
pub(super) async fn write(site: &Site<'_>, files: Option<&Laying>) -> Result<(), Stop> {
    let Some(laying) = files else { return Ok(()) };
    let left = site.engine.lay(&laying.wanted, &laying.before).await?;
    if left.is_empty() {
        return Ok(());
    }
    let why = format!(
        "{} in {} was edited while the deployment was under way: finish the edit, commit it to the repository, and deploy that commit.",
        named(&left),
        site.engine.dir().display()
    );
    Err(Stop::refused(Guard::Stack, why))
}

/// After a restart: what was to be written, as the record has it.
pub(super) async fn recorded(site: &Site<'_>, change: &Change) -> Result<Option<Laying>, Stop> {
    let (Some(depot), Some(tree), Some(before)) = (depot(site), &change.release.files, &change.files_before) else { return Ok(None) };
    let from = site.order.commit.as_deref().map(|commit| commit.chars().take(SHORT).collect());
    Ok(Some(Laying { wanted: depot.files_of(tree, from, &site.cancel).await?, before: before.clone() }))
}

/// The files that stood in the folder before `change` stand there again.
pub(super) async fn put_back(site: &Site<'_>, change: &Change) -> Result<(), Stop> {
    let (Some(depot), Some(before)) = (depot(site), &change.files_before) else { return Ok(()) };
    let files = depot.remembered(before, &Cancel::default()).await?;
    site.engine.lay(&files, &LaidFiles::default()).await?;
    Ok(())
}

/// For the undo: the files of the release that comes back stand in the folder. What somebody has edited meanwhile stays. Gives what the
/// stack resolves to with them; none: no file has changed.
pub(super) async fn bring_back(site: &mut Site<'_>, change: &Change, previous: Option<&Deployment>) -> Result<Option<Resolved>, Stop> {
    let (Some(depot), Some(before)) = (depot(site), &change.files_before) else { return Ok(None) };
    let tree = previous.and_then(|previous| Some((previous.files.clone()?, previous.order.commit.clone())));
    let back = match tree {
        Some((tree, commit)) => depot.files_of(&tree, commit.map(|commit| commit.chars().take(SHORT).collect()), &site.cancel).await?,
        None => depot.remembered(before, &site.cancel).await?,
    };
    let left = site.engine.lay(&back, &LaidFiles::default()).await?;
    if !left.is_empty() {
        let dir = site.engine.dir().display();
        site.record.journal.warning(format!("{} in {dir} was edited meanwhile and stays as it is", named(&left)));
    }
    let failed = recorded(site, change).await?.map(|laying| laying.wanted.laid());
    match failed {
        Some(failed) if failed.is_same_as(&back.laid()) => Ok(None),
        failed => over(site, failed, &back).await.map(Some),
    }
}

/// What the stack is with the files `back`, where `failed` were there before.
async fn over(site: &mut Site<'_>, failed: Option<LaidFiles>, back: &StackFiles) -> Result<Resolved, Stop> {
    let resolved = stack::resolve(site).await?;
    let Some(failed) = failed else { return Ok(resolved.over_anything()) };
    Ok(match resolved_before(site, &failed).await? {
        Some(before) => resolved.over(&before, site.engine.dir(), &back.laid().changed(&failed)),
        None => resolved.over_anything(),
    })
}

/// For an adoption: the files in the folder, where they are those of a ref that may bring them. Nothing but our own list is written.
pub(super) async fn adopted(site: &mut Site<'_>) -> Result<Option<Tree>, Stop> {
    let Some(depot) = depot(site) else { return Ok(None) };
    if let Some(now) = site.engine.files_laid().await?.filter(|now| !now.is_half_way && now.edited.is_empty() && now.gone.is_empty()) {
        return Ok(now.laid.tree);
    }
    for (name, commit, tree) in depot.trees(MOST_TIPS, &site.cancel).await? {
        let Ok(files) = depot.files_of(&tree, Some(short(&commit)), &site.cancel).await else { continue };
        let Ok(now) = site.engine.files_now(&files).await else { continue };
        let is_it =
            |(path, file): (&String, &crate::model::StackFile)| now.there.get(path).is_some_and(|there| there.mark.is_same_as(&file.mark));
        if files.files.iter().all(is_it) {
            site.engine.lay(&files, &files.laid()).await?;
            site.record.journal.note(format!("the stack's files are those of {name} ({})", short(&commit)));
            return Ok(Some(tree));
        }
    }
    site.record.journal.warning(
        "the stack's files are those of no ref that may bring them, so a rollback to this release brings its images back and no files",
    );
    Ok(None)
}

fn short(commit: &Commit) -> String {
    commit.as_str().chars().take(SHORT).collect()
}

/// The first of some paths, for a sentence.
fn named(paths: &[String]) -> String {
    let first = paths.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if paths.len() > NAMED { format!("{first} and {} more", paths.len() - NAMED) } else { first }
}
