//! One stack on one daemon, and the commands that it is driven with.

use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use process::Cancel;
use process::Command;
use process::Ended;
use process::Stream;
use process::capture;
use process::run;

use crate::config::ComposeStack;
use crate::engine::compose::daemon::Daemon;
use crate::engine::compose::patience::Patience;
use crate::engine::error::EngineError;
use crate::engine::right::Leave;
use crate::engine::right::Right;
use crate::engine::words::Words;

/// How long a question to docker may take.
pub(super) const QUESTION: Duration = Duration::from_mins(1);

/// A stack on a daemon.
#[derive(Debug, Clone)]
pub struct Compose {
    pub(super) daemon: Daemon,
    pub(super) stack: ComposeStack,
    pub(super) lock: Option<Arc<File>>,
    pub(super) right: Right,
    /// Waits for a daemon that is away; none: its absence is a fault at once.
    pub(super) patience: Option<Arc<Patience>>,
    /// Whether what runs badly is restarted and what does not run is started, also where no pin is concerned.
    pub(super) mends: bool,
    /// The folder below which a view of the host's files stands in for them; none: it works on the host's own.
    pub(super) below: Option<String>,
}

impl Compose {
    /// What it calls its things.
    pub(in crate::engine) const WORDS: Words =
        Words { name: "Docker", program: "docker compose", up: "docker compose up", load: "docker load", clean_up: "docker image prune" };

    /// The engine of `stack` on `daemon`.
    #[must_use]
    pub fn new(daemon: &Daemon, stack: ComposeStack) -> Self {
        Self { daemon: daemon.clone(), stack, lock: None, right: Right::Looks, patience: None, mends: false, below: None }
    }

    /// The same engine, whose programs hold `lock`.
    #[must_use]
    pub fn locked(self, lock: Arc<File>) -> Self {
        Self { lock: Some(lock), ..self }
    }

    /// The same engine, which restarts what runs badly and starts what does not run.
    #[must_use]
    pub fn mending(&self) -> Self {
        Self { mends: true, ..self.clone() }
    }

    /// The same engine, which acts for whoever has `right`.
    #[must_use]
    pub(in crate::engine) fn acting(self, right: Right) -> Self {
        Self { right, ..self }
    }

    /// Leave for one act on the host.
    pub(super) async fn leave(&self) -> Result<Leave, EngineError> {
        self.right.leave().await
    }

    /// Leave for `command`, unless it only looks. What is not known to look acts.
    async fn leave_for(&self, command: &Command) -> Result<Option<Leave>, EngineError> {
        let looks = command.program == self.daemon.docker().program && only_looks(&command.args);
        if looks { Ok(None) } else { self.leave().await.map(Some) }
    }

    /// The stack's folder.
    pub(in crate::engine) fn dir(&self) -> &Path {
        &self.stack.dir
    }

    /// Carries out `work` on the stack's files. They may lie on a disk that hangs, so no thread that others need waits for it.
    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let engine = self.clone();
        match tokio::task::spawn_blocking(move || work(&engine)).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process ends: nobody reads the answer.
                Err(_) => Err(EngineError::Cancelled { what: format!("reading the files in {}", self.stack.dir.display()) }),
            },
        }
    }

    /// `docker ARGS`.
    pub(super) fn docker_command<S: Into<String>>(&self, args: impl IntoIterator<Item = S>, deadline: Duration) -> Command {
        let mut command = self.daemon.command(args, deadline);
        command.env.insert("PWD".to_owned(), path_text(&self.stack.dir));
        command.dir = Some(self.stack.dir.clone());
        command.lock.clone_from(&self.lock);
        command
    }

    /// `docker compose -p PROJECT --project-directory DIR -f FILE… ARGS`.
    pub(super) fn compose_command(&self, files: &[PathBuf], args: &[&str], deadline: Duration) -> Command {
        let mut all = vec!["compose".to_owned(), "-p".to_owned(), self.stack.project.clone()];
        all.extend(["--project-directory".to_owned(), path_text(&self.stack.dir)]);
        all.extend(files.iter().flat_map(|file| ["-f".to_owned(), path_text(file)]));
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        self.docker_command(all, deadline)
    }

    /// The output of a program that answers a question, or that may do what it does twice.
    pub(super) async fn ask(&self, command: &Command, what: &str, cancel: &Cancel) -> Result<String, EngineError> {
        let mut turn = self.turn();
        loop {
            let leave = self.leave_for(command).await?;
            leave.map_or(Ok(()), |leave| leave.still_holds())?;
            let captured = capture(command, cancel).await;
            let done = match captured.ended {
                Ended::Exit(0) => Ok(captured.out),
                ended => Err(EngineError::ended(what, &command.program, &ended, &captured.err)),
            };
            if !self.again(&mut turn, &done, cancel).await? {
                return done;
            }
        }
    }

    /// Runs a program to its end, giving on each line it writes; once more where Docker went away meanwhile.
    pub(super) async fn carry_out(
        &self,
        command: &Command,
        what: &str,
        cancel: &Cancel,
        mut each: impl FnMut(Stream, String),
    ) -> Result<(), EngineError> {
        let mut turn = self.turn();
        loop {
            let done = self.carry_out_once(command, what, cancel, &mut each).await;
            if !self.again(&mut turn, &done, cancel).await? {
                return done;
            }
        }
    }

    /// Runs a program that must not be run twice without another look.
    pub(super) async fn carry_out_once(
        &self,
        command: &Command,
        what: &str,
        cancel: &Cancel,
        mut each: impl FnMut(Stream, String),
    ) -> Result<(), EngineError> {
        let mut last = Vec::<String>::new();
        let leave = self.leave_for(command).await?;
        leave.map_or(Ok(()), |leave| leave.still_holds())?;
        let ended = run(command, cancel, |stream, line| {
            if stream == Stream::Err && !line.trim().is_empty() {
                if last.len() == 6 {
                    last.remove(0);
                }
                last.push(line.trim().to_owned());
            }
            each(stream, line);
        })
        .await;
        match ended {
            Ended::Exit(0) => Ok(()),
            ended => Err(EngineError::ended(what, &command.program, &ended, &why(&last))),
        }
    }
}

/// Whether `docker ARGS` changes nothing.
fn only_looks(args: &[String]) -> bool {
    let mut words = args.iter().map(String::as_str);
    match words.next() {
        Some("info" | "inspect" | "images" | "logs" | "ps" | "version") => true,
        Some("image" | "network") => words.next() == Some("inspect"),
        Some("compose") => loop {
            match words.next() {
                // Each of our options has a value.
                Some(option) if option.starts_with('-') => drop(words.next()),
                verb => return matches!(verb, Some("config" | "version")),
            }
        },
        _ => false,
    }
}

/// Compose writes its progress to standard error as well: what went wrong stands in the last line that is no progress.
fn why(last: &[String]) -> String {
    const PROGRESS: [&str; 5] = ["Container ", "Network ", "Volume ", "Image ", "Service "];
    let words: Vec<&str> = last.iter().map(String::as_str).filter(|line| !PROGRESS.iter().any(|start| line.starts_with(start))).collect();
    if words.is_empty() { last.join("; ") } else { words.join("; ") }
}

/// A path as an argument or for a message.
pub(super) fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use crate::config::ComposeStack;
    use crate::config::Docker;
    use crate::config::PinChoice;
    use crate::config::PinnedImage;
    use crate::engine::compose::daemon::Daemon;
    use crate::engine::compose::stack::Compose;
    use crate::engine::compose::stack::QUESTION;
    use crate::engine::error::EngineError;
    use crate::model::Repository;

    /// An engine for tests of values: no program is run.
    pub(in crate::engine) fn engine(dir: &str) -> Compose {
        on(docker(), dir)
    }

    fn docker() -> Docker {
        Docker {
            program: "docker".into(),
            path: "/usr/bin".into(),
            home: "/home/t".into(),
            host: None,
            config_dir: None,
            wait: Duration::ZERO,
        }
    }

    fn on(docker: Docker, dir: &str) -> Compose {
        let pins = vec![PinnedImage { image: Repository::parse("acme/web").unwrap(), variable: Some("WEB_TAG".into()) }];
        let stack = ComposeStack { dir: dir.into(), files: Vec::new(), project: "site".into(), pins, mode: PinChoice::Auto };
        Compose::new(&Daemon::new(docker, Arc::default()), stack)
    }

    #[test]
    fn commands_name_project_folder_and_files() {
        let engine = engine("/srv/site");
        let files = [PathBuf::from("/srv/site/compose.yaml"), PathBuf::from("/srv/site/prod.yaml")];
        let command = engine.compose_command(&files, &["config", "--format", "json"], QUESTION);
        let words =
            "docker compose -p site --project-directory /srv/site -f /srv/site/compose.yaml -f /srv/site/prod.yaml config --format json";
        assert_eq!(command.command_line(), words);
        assert_eq!(command.dir, Some("/srv/site".into()));
    }

    #[test]
    fn what_is_not_known_to_look_acts() {
        let looks = |words: &str| super::only_looks(&words.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let engine = engine("/srv/site");
        let compose = |args: &[&str]| super::only_looks(&engine.compose_command(&["/srv/site/a.yaml".into()], args, QUESTION).args);
        for question in ["ps -aq", "inspect 0", "image inspect --format x y", "images --digests", "info", "compose version"] {
            assert!(looks(question), "{question}");
        }
        assert!(compose(&["config", "--format", "json"]));
        for act in ["rm -f 0", "image rm x", "tag a b", "rmi a", "rename a b", "stop 0", "pull x", "run x", "", "network ls", "compose up"]
        {
            assert!(!looks(act), "{act}");
        }
        assert!(!compose(&["up", "-d"]) && !compose(&["exec", "-T", "web", "config"]) && !compose(&["pull"]));
    }

    /// Nothing is run, and no file is written, by an engine that nobody gave leave.
    #[tokio::test]
    async fn an_engine_that_looks_does_not_act() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(&dir.path().display().to_string());
        let cancel = process::Cancel::default();
        let command = engine.docker_command(["rm", "-f", "0"], QUESTION);
        let refused = |error: EngineError| matches!(error, EngineError::LooksOnly);
        assert!(refused(engine.ask(&command, "removing", &cancel).await.unwrap_err()));
        assert!(refused(engine.carry_out(&command, "removing", &cancel, |_, _| {}).await.unwrap_err()));
        let bytes = engine.snapshot().await.unwrap();
        assert!(refused(engine.restore(&bytes).await.unwrap_err()));
    }

    #[test]
    fn the_lock_is_handed_down() {
        let mut engine = engine("/srv/site");
        let lock = Arc::new(tempfile::tempfile().unwrap());
        engine.lock = Some(Arc::clone(&lock));
        for command in [engine.docker_command(["pull"], QUESTION), engine.compose_command(&[], &["up"], QUESTION)] {
            assert!(command.lock.is_some_and(|held| Arc::ptr_eq(&held, &lock)));
        }
    }

    #[test]
    fn the_environment_is_ours_alone() {
        let names = |engine: &Compose| engine.docker_command(["ps"], QUESTION).env.into_keys().collect::<Vec<_>>().join(" ");
        let ours = "COMPOSE_ANSI COMPOSE_EXPERIMENTAL_GIT_REMOTE COMPOSE_EXPERIMENTAL_OCI_REMOTE COMPOSE_IGNORE_ORPHANS COMPOSE_MENU \
                    COMPOSE_PROGRESS COMPOSE_REMOVE_ORPHANS DOCKER_CLI_HINTS HOME LANG PATH PWD";
        assert_eq!(names(&engine("/srv/site")), ours);
        let host = Some("unix:///run/user/1000/docker.sock".into());
        let env = on(Docker { host, config_dir: Some("/etc/tagalong/docker".into()), ..docker() }, "/srv/site")
            .docker_command(["ps"], QUESTION)
            .env;
        assert_eq!(env.get("DOCKER_HOST").map(String::as_str), Some("unix:///run/user/1000/docker.sock"));
        assert_eq!(env.get("DOCKER_CONFIG").map(String::as_str), Some("/etc/tagalong/docker"));
    }
}
