//! Runs a script as a runner does, and judges what it leaves.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use crate::script::Script;
use crate::script::root;
use crate::server::ID_TOKEN;
use crate::server::SECRET;
use crate::server::TOKEN;

/// A run of one script; what it leaves is judged when it has ended.
pub(crate) struct Run {
    dir: tempfile::TempDir,
    what: String,
}

impl Run {
    pub(crate) fn new(what: String) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), what }
    }

    pub(crate) fn canary(&self) -> PathBuf {
        self.dir.path().join("canary")
    }

    /// Runs it as a runner does and judges what it left; gives its output back.
    pub(crate) fn go(&self, script: &Script, env: &BTreeMap<String, String>) -> String {
        self.end(script, env).0
    }

    /// The same, with how it ended.
    pub(crate) fn end(&self, script: &Script, env: &BTreeMap<String, String>) -> (String, Option<i32>) {
        self.ended(script, &self.command(script, env).output().unwrap())
    }

    /// A folder that has what every Linux has, and of what signs only `more`.
    pub(crate) fn tools(&self, more: &[&str]) -> PathBuf {
        let folder = self.dir.path().join("tools");
        std::fs::create_dir(&folder).unwrap();
        let every = ["bash", "cat", "curl", "cut", "date", "head", "mktemp", "od", "rm", "sed", "sleep", "tail", "tr"];
        for name in every.iter().chain(more) {
            let there = ["/usr/local/bin", "/usr/bin", "/bin"].map(|place| Path::new(place).join(name));
            let program = there.into_iter().find(|file| file.exists()).unwrap();
            std::os::unix::fs::symlink(program, folder.join(name)).unwrap();
        }
        folder
    }

    /// The script as a runner starts it.
    pub(crate) fn command(&self, script: &Script, env: &BTreeMap<String, String>) -> Command {
        let (file, output, summary) = (self.dir.path().join("script"), self.dir.path().join("output"), self.dir.path().join("summary"));
        for file in [&output, &summary] {
            std::fs::write(file, "").unwrap();
        }
        std::fs::write(&file, &script.text).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_tagalong")).parent().unwrap();
        let mut command = Command::new("bash");
        command
            .args(["--noprofile", "--norc", "-eo", "pipefail"])
            .arg(&file)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", program.display()))
            .env("HOME", self.dir.path())
            .env("GITHUB_ACTION_PATH", root())
            .env("GITHUB_OUTPUT", &output)
            .env("GITHUB_STEP_SUMMARY", &summary)
            .envs([("GITHUB_SERVER_URL", "https://forge.test"), ("GITHUB_REPOSITORY", "acme/web")])
            .envs([("GITHUB_RUN_ID", "77"), ("GITHUB_RUN_NUMBER", "7")])
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Judges what it left; its output, and how it ended.
    pub(crate) fn ended(&self, script: &Script, ran: &Output) -> (String, Option<i32>) {
        let log = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        self.judge(&log);
        for (name, value) in self.outputs() {
            let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-:/.".contains(&byte));
            assert!(["id", "outcome", "digest", "url"].contains(&name.as_str()) && plain, "{}: {name} is {value}", self.what);
        }
        let summary = self.summary();
        if script.what.starts_with("action.yml") {
            let line = regex::Regex::new("^(<h3>|<p>|<table>|</table>|<tr><th>|<ul>|</ul>|<li>)").unwrap();
            let text = regex::Regex::new("</?(h3|p|table|tr|th|td|ul|li)>").unwrap();
            let is_ours = |one: &str| line.is_match(one) && !text.replace_all(one, "").contains(['<', '>']);
            assert!(summary.lines().all(is_ours), "{}: {summary}", self.what);
            let theirs = log.lines().find(|line| !line.starts_with("| ") && !line.starts_with("::"));
            assert_eq!(theirs, None, "{}: a line that is neither ours nor behind a bar: {log}", self.what);
        }
        (log, ran.status.code())
    }

    /// The outputs; of one that was set twice, the later value.
    pub(crate) fn outputs(&self) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.dir.path().join("output")).unwrap();
        let (mut lines, mut found) = (text.lines(), BTreeMap::new());
        while let Some(line) = lines.next() {
            let (name, delimiter) = line.split_once("<<").unwrap_or_else(|| panic!("{}: {text}", self.what));
            assert!(delimiter.len() >= 32, "{}: a delimiter that can be guessed: {text}", self.what);
            let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
            assert_eq!(value.len(), 1, "{}: {text}", self.what);
            found.insert(name.to_owned(), value[0].to_owned());
        }
        found
    }

    pub(crate) fn summary(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("summary")).unwrap()
    }

    /// Reads the log as the runner does: `::name…::` begins a line, `##[name]` may stand anywhere in one, and nothing counts
    /// between a "stop-commands" and its word.
    pub(crate) fn judge(&self, log: &str) {
        assert!(!self.canary().exists(), "{}: it was run: {log}", self.what);
        let mut stopped: Option<String> = None;
        let mut in_group = false;
        for line in log.split(['\n', '\r']).map(str::trim) {
            if let Some(word) = &stopped {
                if line == format!("::{word}::") {
                    stopped = None;
                }
                continue;
            }
            if let Some(command) = line.strip_prefix("::") {
                let name = command.split([' ', ':']).next().unwrap();
                let known = ["error", "warning", "notice", "group", "endgroup", "add-mask", "stop-commands"];
                assert!(known.contains(&name), "{}: {line}", self.what);
                if ["group", "endgroup"].contains(&name) {
                    assert_ne!(in_group, name == "group", "{}: {log}", self.what);
                    in_group = name == "group";
                } else if let Some(masked) = command.strip_prefix("add-mask::") {
                    assert_eq!(masked, ID_TOKEN, "{}: {line}", self.what);
                } else if let Some(word) = command.strip_prefix("stop-commands::") {
                    assert!(word.len() >= 32, "{}: a word that can be guessed: {word}", self.what);
                    stopped = Some(word.to_owned());
                } else {
                    assert!(command.contains("title="), "{}: a forged annotation: {line}", self.what);
                }
            } else {
                assert!(!line.contains("##["), "{}: {line}", self.what);
            }
        }
        assert!(stopped.is_none() && !in_group, "{}: commands stay stopped, or lines folded: {log}", self.what);
        let shown = log.replace(&format!("::add-mask::{ID_TOKEN}\n"), "");
        assert!([&SECRET[6..], ID_TOKEN, TOKEN].iter().all(|secret| !shown.contains(secret)), "{}: a secret is shown", self.what);
    }
}
