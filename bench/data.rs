//! A dataset's passes beside plain git, in turn, on one remote of 10,000 files and 100 MB.
//!
//!     cargo bench --bench data [-- ROUNDS]
//!     cargo bench --bench data -- carried     only what is carried over
//!
//! Plain git is `git clone`, `git rebase` with a fetch before and a push after it, and `git fetch` with `git merge --ff-only` in a checkout of its own. Printed are medians, ratios
//! and limits; it ends with status 1 when a limit is missed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench ends when something is wrong")]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "it runs programs and says what it measured")]

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use process::Cancel;
use tagalong::config;
use tagalong::dataset::Dataset;
use tagalong::model::Commit;
use tagalong::model::CommitName;
use tagalong::model::DatasetName;
use tagalong::model::Reconcile;

const FILES: usize = 10_000;
const FILE_BYTES: usize = 10_000;
const COMMITS: usize = 100_000;

fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        .args(args)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null());
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "bench").env(format!("GIT_{role}_EMAIL"), "bench@data.invalid");
    }
    let ran = command.output().expect("git runs");
    assert!(ran.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8_lossy(&ran.stdout).trim_end().to_owned()
}

/// Bytes that do not compress.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(FILE_BYTES + 8);
    while bytes.len() < FILE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn write(dir: &Path, file: usize, seed: u64) {
    let folder = dir.join(format!("d{}", file % 100));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("f{file}")), noise(seed)).unwrap();
}

fn push(other: &Path, files: usize, round: u64) {
    for file in 0..files {
        write(other, file * 7 % FILES, round * 1_000_000 + file as u64 + 1);
    }
    git(other, &["commit", "-q", "-a", "-m", &format!("round {round}")]);
    git(other, &["push", "-q", "origin", "main"]);
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn settings(root: &Path, remote: &str, name: &str) -> config::Dataset {
    config::Dataset {
        name: DatasetName::parse("bench").unwrap(),
        dir: root.join(name),
        state: root.join(format!("{name}-state")),
        remote: format!("file://{}", root.join(remote).display()),
        branch: "main".to_owned(),
        committer_name: "bench".to_owned(),
        committer_email: "bench@data.invalid".to_owned(),
        fetch_deadline: Duration::from_mins(5),
        push_deadline: Duration::from_mins(5),
        local_deadline: Duration::from_mins(5),
        publish: config::Publish::InPlace,
        push_untracked: false,
        git: config::Git {
            program: "git".to_owned(),
            path: std::env::var("PATH").unwrap(),
            home: "/nonexistent".to_owned(),
            confine: config::Confine::Always,
        },
        ssh_key_file: None,
        ssh_known_hosts_file: None,
        login: None,
        mask: Arc::default(),
    }
}

struct Table(bool);

impl Table {
    fn ratio(&mut self, what: &str, ours: f64, plain: f64, limit: f64) {
        let ratio = ours / plain;
        self.0 &= ratio <= limit;
        println!("{what:<34} {ours:8.1} ms   plain git {plain:8.1} ms   ratio {ratio:5.2} (limit {limit:.2})");
    }

    fn bound(&mut self, what: &str, ours: f64, unit: &str, limit: f64) {
        self.0 &= ours <= limit;
        println!("{what:<34} {ours:8.2} {unit}   (limit {limit})");
    }
}

/// A remote of many commits of one small file.
fn long_history(root: &Path) {
    git(root, &["init", "-q", "--bare", "-b", "main", "long.git"]);
    let mut import =
        Command::new("git").current_dir(root.join("long.git")).args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut to = std::io::BufWriter::new(import.stdin.take().unwrap());
    for n in 0..COMMITS {
        writeln!(
            to,
            "commit refs/heads/main\ncommitter b <b@data.invalid> {} +0000\ndata 1\nx\nM 100644 inline f\ndata 6\n{n:06}\n",
            1_000_000_000 + n
        )
        .unwrap();
    }
    drop(to);
    assert!(import.wait().unwrap().success());
}

/// First sync, changes and nothing new, beside plain git.
async fn passes(root: &Path, url: &str, rounds: u64, table: &mut Table) {
    let (other, cancel) = (root.join("other"), Cancel::default());
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let _ = std::fs::remove_dir_all(root.join("plain"));
        plain.push(timed(|| drop(git(root, &["clone", "-q", "--single-branch", url, "plain"]))));
        let name = format!("ours{round}");
        let began = Instant::now();
        Dataset::new(settings(root, "remote.git", &name)).ready(&cancel).await.unwrap();
        ours.push(began.elapsed());
        if round > 0 {
            std::fs::remove_dir_all(root.join(&name)).unwrap();
        }
    }
    table.ratio("first sync", median(ours), median(plain), 1.15);

    let data = Dataset::new(settings(root, "remote.git", "ours0"));
    let checkout = root.join("plain");
    let mut number = 0;
    for (what, files, rounds, limit_ms) in [("one file changed", 1, rounds, 60.0), ("1,000 files changed", 1000, rounds.min(7), 550.0)] {
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            number += 1;
            push(&other, files, number);
            plain.push(timed(|| {
                git(&checkout, &["fetch", "-q", "origin"]);
                git(&checkout, &["merge", "-q", "--ff-only", "origin/main"]);
            }));
            let began = Instant::now();
            let done = data.reconcile(&cancel).await.unwrap();
            ours.push(began.elapsed());
            assert_eq!(done.outcome, Reconcile::FastForwarded);
        }
        let ours = median(ours);
        table.ratio(what, ours, median(plain), 1.15);
        table.bound("", ours, "ms", limit_ms);
    }

    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..rounds * 2 {
        plain.push(timed(|| drop(git(&checkout, &["fetch", "-q", "origin"]))));
        let began = Instant::now();
        assert_eq!(data.reconcile(&cancel).await.unwrap().outcome, Reconcile::InSync);
        ours.push(began.elapsed());
    }
    let ours = median(ours);
    println!("{:<34} {ours:8.1} ms   git fetch {:8.1} ms", "nothing new", median(plain));
    table.bound("", ours, "ms", 15.0);
}

/// The same with worktrees behind a symlink: until the symlink leads to the new one.
async fn published(root: &Path, rounds: u64, table: &mut Table) {
    let (other, cancel) = (root.join("other"), Cancel::default());
    let mut settings = settings(root, "remote.git", "published");
    settings.publish = config::Publish::Worktree { link: root.join("current"), dir: root.join("trees"), keep: Duration::ZERO };
    let data = Dataset::new(settings);
    let first = data.ready(&cancel).await.unwrap().head.unwrap();
    data.flip(&data.stage(&first, &cancel).await.unwrap()).await.unwrap();
    let mut times = Vec::new();
    for round in 0..rounds {
        push(&other, 1, 1000 + round);
        let began = Instant::now();
        let commit = data.reconcile(&cancel).await.unwrap().to.unwrap();
        data.flip(&data.stage(&commit, &cancel).await.unwrap()).await.unwrap();
        times.push(began.elapsed());
        data.tidy(&[], &cancel).await.unwrap();
    }
    table.bound("one file changed, as a worktree", median(times), "ms", 226.0);
}

/// The pre-check on a long history.
async fn pre_check(root: &Path, rounds: u64, table: &mut Table) {
    let cancel = Cancel::default();
    long_history(root);
    let long = Dataset::new(settings(root, "long.git", "long"));
    long.ready(&cancel).await.unwrap();
    let tip = long.head().await.unwrap().unwrap();
    long.set_loaded(&tip).await.unwrap();
    long.tend(&cancel).await.unwrap();
    let old = Commit::parse(&git(&root.join("long"), &["rev-parse", "main~90000"])).unwrap();
    for (what, wanted, limit) in [("contained in 100,000 commits", &old, 5.0), ("contained: the loaded one", &tip, 1.0)] {
        let mut times = Vec::new();
        for _ in 0..rounds * 2 {
            let began = Instant::now();
            assert!(long.contains(&CommitName::from(wanted.clone()), &tip, &cancel).await.unwrap());
            times.push(began.elapsed());
        }
        table.bound(what, median(times), "ms", limit);
    }
}

/// Own commits over a remote that has moved on, on a long history, beside `git rebase`: in other files than the remote's, and
/// in the same file.
async fn carried_over(root: &Path, table: &mut Table) {
    for (what, count, file, limit) in
        [("500 own commits, other files", 500, "own", 1.0), ("100 own commits, the same file", 100, "shared", 1.5)]
    {
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for round in 0..3 {
            let at = root.join(format!("carry-{file}-{round}"));
            std::fs::create_dir(&at).unwrap();
            git(&at, &["clone", "-q", "--bare", &root.join("long.git").display().to_string(), "remote.git"]);
            git(&at, &["clone", "-q", "remote.git", "other"]);
            let lines = |first: &str, last: &str| format!("{first}\n{}{last}\n", "line\n".repeat(9));
            std::fs::write(at.join("other/shared"), lines("first", "last")).unwrap();
            git(&at.join("other"), &["add", "-A"]);
            git(&at.join("other"), &["commit", "-q", "-m", "shared"]);
            git(&at.join("other"), &["push", "-q"]);
            let data = Dataset::new(settings(&at, "remote.git", "data"));
            data.ready(&Cancel::default()).await.unwrap();
            for n in 0..count {
                let text = lines("first", &format!("ours {n}"));
                std::fs::write(at.join("data").join(file), text).unwrap();
                git(&at.join("data"), &["add", file]);
                git(&at.join("data"), &["commit", "-q", "-m", &format!("own {n}")]);
            }
            std::fs::write(at.join("other/shared"), lines("theirs", "last")).unwrap();
            git(&at.join("other"), &["commit", "-q", "-a", "-m", "theirs"]);
            git(&at.join("other"), &["push", "-q"]);
            // The same beside it, with a remote of its own.
            git(&at, &["clone", "-q", "--bare", "remote.git", "second.git"]);
            git(&at, &["clone", "-q", "data", "plain"]);
            git(&at.join("plain"), &["remote", "set-url", "origin", &format!("file://{}", at.join("second.git").display())]);
            plain.push(timed(|| {
                git(&at.join("plain"), &["fetch", "-q", "origin"]);
                git(&at.join("plain"), &["rebase", "-q", "origin/main"]);
                git(&at.join("plain"), &["push", "-q", "origin", "main"]);
            }));
            let began = Instant::now();
            let done = data.reconcile(&Cancel::default()).await.unwrap();
            ours.push(began.elapsed());
            assert_eq!((done.outcome, done.pushed), (Reconcile::Rebased, count));
            assert_eq!(git(&at.join("data"), &["rev-parse", "HEAD^{tree}"]), git(&at.join("plain"), &["rev-parse", "HEAD^{tree}"]));
            std::fs::remove_dir_all(&at).unwrap();
        }
        table.ratio(what, median(ours), median(plain), limit);
    }
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let only_carried = std::env::args().any(|arg| arg == "carried");
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(15_u64);
    let base = if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    let root = tempfile::Builder::new().prefix("tagalong-bench-").tempdir_in(base).unwrap();
    let (root, mut table) = (root.path(), Table(true));
    if only_carried {
        long_history(root);
        carried_over(root, &mut table).await;
        return std::process::ExitCode::from(u8::from(!table.0));
    }
    println!("{}, {FILES} files of {FILE_BYTES} bytes, {rounds} rounds", git(root, &["version"]));
    git(root, &["init", "-q", "-b", "main", "other"]);
    let other = root.join("other");
    for file in 0..FILES {
        write(&other, file, file as u64);
    }
    git(&other, &["add", "-A"]);
    git(&other, &["commit", "-q", "-m", "first"]);
    git(root, &["clone", "-q", "--bare", "other", "remote.git"]);
    git(&root.join("remote.git"), &["repack", "-adq"]);
    let url = format!("file://{}", root.join("remote.git").display());
    git(&other, &["remote", "add", "origin", &url]);

    passes(root, &url, rounds, &mut table).await;
    published(root, rounds, &mut table).await;
    pre_check(root, rounds, &mut table).await;
    carried_over(root, &mut table).await;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib: f64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap();
    table.bound("memory of this process", kib / 1024.0, "MiB", 20.0);
    println!("{}", if table.0 { "every limit holds" } else { "A LIMIT IS MISSED" });
    // Not by exit, which would leave the folder behind.
    std::process::ExitCode::from(u8::from(!table.0))
}
