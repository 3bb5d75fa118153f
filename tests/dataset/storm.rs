//! Kills at random moments: pods that commit, a remote that moves, conflicts among it, SIGKILL of tagalong and of its gits.
//! Afterwards every commit ever made is on the remote or on a local ref, and every pod converges by itself.
//!
//! Longer by hand: `TAGALONG_STORM_KILLS=500 TAGALONG_STORM_SEED=7 cargo nextest run --test dataset storm --no-capture`.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use process::Cancel;
use process::holders_of;
use tagalong::config;
use tagalong::dataset::Dataset;
use tagalong::model::Reconcile;

use crate::dice::Dice;
use crate::dice::number;
use crate::world::World;

const PODS: usize = 2;

fn settings_of(world: &World, pod: usize) -> config::Dataset {
    let mut settings = world.settings().clone();
    settings.dir = pod_dir(world, pod);
    settings
}

fn pod_dir(world: &World, pod: usize) -> PathBuf {
    world.path(&format!("pod{pod}"))
}

/// The process that is killed: reconciles again and again. It is this test's own program, called by [`storm`].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of the storm, which starts it"]
async fn pod() {
    let (Ok(dir), Ok(remote), Ok(git)) = (std::env::var("STORM_DIR"), std::env::var("STORM_REMOTE"), std::env::var("STORM_GIT")) else {
        return;
    };
    let dir = PathBuf::from(dir);
    let mut settings = crate::world::settings(dir.parent().unwrap(), &git);
    settings.dir = dir;
    settings.remote = remote;
    let data = Dataset::new(settings);
    let cancel = Cancel::default();
    let _ = data.ready(&cancel).await;
    loop {
        let _ = data.reconcile(&cancel).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn start(world: &World, pod: usize) -> Child {
    let settings = settings_of(world, pod);
    start_with(&settings.dir, &settings.remote, &world.git)
}

/// A process that follows `remote` in `dir` by this git.
pub(crate) fn start_with(dir: &Path, remote: &str, git: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "storm::pod", "--ignored", "--nocapture"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env("STORM_DIR", dir).env("STORM_REMOTE", remote).env("STORM_GIT", git);
    command.spawn().unwrap()
}

/// The app of a pod commits; false when git's lock was in its way, as any app would find.
fn commit(world: &World, dir: &Path, file: &str, text: &str, subject: &str) -> bool {
    let before = world.output(dir, &["rev-parse", "HEAD"]).stdout;
    let _ = std::fs::write(dir.join(file), text);
    let committed = world.try_run(dir, &["add", "--", file]) && world.try_run(dir, &["commit", "-q", "-m", subject, "--", file]);
    // A commit that was made and then reported as failed counts as well.
    let after = String::from_utf8_lossy(&world.output(dir, &["log", "-1", "--format=%s"]).stdout).trim().to_owned();
    committed || (world.output(dir, &["rev-parse", "HEAD"]).stdout != before && after == subject)
}

fn subjects(world: &World, dir: &Path) -> BTreeSet<String> {
    world.run(dir, &["log", "--all", "--format=%s"]).lines().map(str::to_owned).collect()
}

/// A pod's app commits a few times, and perhaps somebody else on the remote. Gives how often the app was refused.
fn work(world: &World, dice: &mut Dice, pod: usize, round: u64, made: &mut BTreeSet<String>) -> u32 {
    let (dir, mut refused) = (pod_dir(world, pod), 0);
    for step in 0..=dice.roll(3) {
        let subject = format!("pod {pod} round {round} step {step}");
        let file = if dice.roll(2) == 0 { "a".to_owned() } else { format!("own{pod}-{}", dice.roll(4)) };
        if commit(world, &dir, &file, &format!("{subject}\n"), &subject) {
            made.insert(subject);
        } else {
            refused += 1;
        }
    }
    if dice.roll(2) == 0 {
        world.follow();
        let subject = format!("remote round {round}");
        world.write(&world.other(), dice.one_of(&["a", "far"]), &format!("{subject}\n"), &subject);
        if world.try_run(&world.other(), &["push", "-q", "origin", "HEAD:refs/heads/main"]) {
            made.insert(subject);
        }
    }
    refused
}

async fn storm(git: &str, kills: u64) {
    let (mut dice, seed) = Dice::seeded_by("TAGALONG_STORM_SEED");
    println!("storm on {git}: seed {seed}");
    let world = World::new(git);
    let cancel = Cancel::default();
    for pod in 0..PODS {
        Dataset::new(settings_of(&world, pod)).ready(&cancel).await.unwrap();
    }
    let mut pods: Vec<Child> = (0..PODS).map(|pod| start(&world, pod)).collect();
    let (mut made, mut killed_gits, mut refused) = (BTreeSet::new(), 0, 0);
    for round in 0..kills {
        let pod = dice.roll(PODS as u64) as usize;
        refused += work(&world, &mut dice, pod, round, &mut made);
        dice.pause(250).await;
        if dice.roll(3) == 0 {
            let lock = world.path(&format!(".pod{pod}.tagalong/lock"));
            for holder in holders_of(&lock).into_iter().filter(|holder| holder.command.contains("git")) {
                killed_gits += u32::from(
                    rustix::process::kill_process(rustix::process::Pid::from_raw(holder.pid).unwrap(), rustix::process::Signal::KILL)
                        .is_ok(),
                );
            }
        }
        pods[pod].kill().unwrap();
        pods[pod].wait().unwrap();
        pods[pod] = start(&world, pod);
    }
    for pod in &mut pods {
        pod.kill().unwrap();
        pod.wait().unwrap();
    }
    converge(&world).await;
    let mut kept = subjects(&world, &world.remote());
    for pod in 0..PODS {
        kept.extend(subjects(&world, &pod_dir(&world, pod)));
    }
    let lost: Vec<_> = made.difference(&kept).collect();
    println!(
        "storm on {git}: {kills} kills of tagalong, {killed_gits} of git, {} commits, {refused} refused to the app, {} parked",
        made.len(),
        world.conflicts().len()
    );
    assert!(lost.is_empty(), "seed {seed}: {lost:?} of {} are lost", made.len());
    assert!(made.len() as u64 > kills / 2, "too little happened");
}

/// Every pod and the remote become the same without any repair.
async fn converge(world: &World) {
    let began = Instant::now();
    let cancel = Cancel::default();
    let pods: Vec<Dataset> = (0..PODS).map(|pod| Dataset::new(settings_of(world, pod))).collect();
    loop {
        let mut quiet = 0;
        for pod in &pods {
            pod.ready(&cancel).await.expect("ready");
            quiet += usize::from(pod.reconcile(&cancel).await.expect("a pass").outcome == Reconcile::InSync);
        }
        if quiet == PODS {
            break;
        }
        assert!(began.elapsed() < Duration::from_mins(2), "the pods do not converge");
    }
    for pod in 0..PODS {
        let dir = pod_dir(world, pod);
        assert_eq!(world.run(&dir, &["rev-parse", "main"]), world.remote_tip());
        assert_eq!(world.run(&dir, &["status", "--porcelain"]), "");
        world.run(&dir, &["fsck", "--connectivity-only", "--no-dangling"]);
        assert!(!dir.join(".git/tagalong/moving").exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_git_loses_nothing() {
    storm("/usr/bin/git", number("TAGALONG_STORM_KILLS").unwrap_or(25)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_git_loses_nothing() {
    storm(&crate::world::newest_git(), number("TAGALONG_STORM_KILLS").unwrap_or(25)).await;
}
