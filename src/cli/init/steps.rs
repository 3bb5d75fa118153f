//! What is left for a person to do, in its order.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;

use crate::cli::init::access::Access;
use crate::cli::init::existing::Existing;
use crate::cli::init::existing::is_default;
use crate::cli::init::forge::Forge;
use crate::cli::init::forge::Kind;
use crate::cli::init::stack::Choice;
use crate::cli::init::workflow::Login;
use crate::cli::init::workflow::Secrets;

/// What the steps depend on.
pub(super) struct Done<'a> {
    pub(super) existing: &'a Existing,
    pub(super) choice: &'a Choice,
    pub(super) access: &'a Access,
    pub(super) forge: Option<&'a Forge>,
    /// The public address, where it stands in the workflow.
    pub(super) url: Option<&'a str>,
    /// The branch whose pushes are deployed.
    pub(super) branch: &'a str,
    /// The folder that holds the forge's folder, and whether it is a clone of the repository.
    pub(super) root: &'a Path,
    pub(super) is_clone: bool,
    /// Whether containers of the stack run here.
    pub(super) runs: bool,
}

impl Done<'_> {
    /// The steps, each a sentence or two.
    pub(super) fn steps(&self) -> Vec<String> {
        let mut steps = self.on_the_host();
        let Some(forge) = self.forge else {
            steps.push(
                "For a workflow, run `tagalong init` again with --repository https://FORGE/OWNER/NAME; any other caller signs its calls with the \
                 secret (docs/reference.md)."
                    .to_owned(),
            );
            return steps;
        };
        steps.extend(self.at_the_forge(forge));
        steps.push(self.push(forge));
        steps.extend(self.results(forge));
        steps
    }

    fn on_the_host(&self) -> Vec<String> {
        let mut steps = Vec::new();
        let file = &self.existing.file;
        let is_package = is_default(file);
        let service = &self.choice.service;
        if is_package && let Some(paths) = self.not_the_servers() {
            steps.push(format!("Let the server pin the tag in .env: `chown tagalong: {paths}`"));
        }
        let program = if is_package { "tagalong".to_owned() } else { format!("tagalong --config {}", file.display()) };
        let user = if is_package { " --user tagalong" } else { "" };
        steps.push(format!("Check the host: `{program} doctor{user}`"));
        let is_up = self.existing.config.server.socket.as_ref().is_some_and(|socket| UnixStream::connect(socket).is_ok());
        steps.push(match (is_up, is_package) {
            (true, true) => "Let the server read its configuration again: `systemctl reload tagalong`".to_owned(),
            (true, false) => "Let the server read its configuration again: send it SIGHUP.".to_owned(),
            (false, true) => "Start the server: `systemctl enable --now tagalong`".to_owned(),
            (false, false) => format!("Start the server: `{program} serve`"),
        });
        if self.runs {
            steps.push(format!("Record the release that is running, so that there is one to return to: `{program} adopt {service}`"));
        }
        steps
    }

    /// The stack's folder and its `.env`, where the server's user does not own them.
    fn not_the_servers(&self) -> Option<String> {
        let server = std::fs::metadata(&self.existing.config.server.data_dir).ok()?.uid();
        let dir = &self.choice.dir;
        let foreign = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|there| there.uid() != server);
        let paths: Vec<String> =
            [dir.clone(), dir.join(".env")].iter().filter(|path| foreign(path)).map(|path| path.display().to_string()).collect();
        (!paths.is_empty()).then(|| paths.join(" "))
    }

    fn at_the_forge(&self, forge: &Forge) -> Vec<String> {
        let secrets = forge.secrets_page();
        let variables = forge.variables_page();
        let mut steps = Vec::new();
        if let Access::Key { id, file, .. } = self.access {
            let content =
                file.as_ref().map_or_else(|| format!("the secret of the key {id}"), |file| format!("the content of {}", file.display()));
            steps.push(format!("Open {secrets} and store {content} as the secret TAGALONG_SECRET."));
        }
        if self.url.is_none() {
            steps.push(format!(
                "Open {variables} and store this server's address, as the runner reaches it, as the variable TAGALONG_URL: \
                 https://deploy.example.com behind your proxy (docs/operations.md, Recipes), or http://127.0.0.1:8787 for a runner on this host."
            ));
        }
        let pins = &self.choice.pins;
        let by_secrets = pins.iter().filter(|pin| Login::of(pin, forge) == Login::BySecrets);
        let logins: BTreeSet<Secrets> = by_secrets.map(|pin| Secrets::of(pin, pins, forge)).collect();
        steps.extend(logins.iter().map(|Secrets { registry, user, password }| {
            format!("Open {secrets} and store a login that may push to {registry} as the secrets {user} and {password}.")
        }));
        steps
    }

    /// What shows the results on the commits, where the configuration does not know the repository of the service.
    fn results(&self, forge: &Forge) -> Option<String> {
        let service = &self.choice.service;
        if self.existing.config.service(service).is_some_and(|known| known.source.is_some()) {
            return None;
        }
        let address = if forge.kind == Kind::Github && forge.origin.forge == "https://github.com" {
            String::new()
        } else {
            format!("url = \"{}\", ", forge.origin.forge)
        };
        Some(format!(
            "If the results are to be shown on the commits, make a token at the forge, store it beside {}, and add [[forge]] with id = \"forge\", \
             kind = \"{}\", {address}token_file = \"forge.token\", and [service.{service}.source] with forge = \"forge\", repository = \"{}\" \
             (docs/operations.md, Results on the commit).",
            self.existing.file.display(),
            forge.kind.word(),
            forge.origin.path(),
        ))
    }

    fn push(&self, forge: &Forge) -> String {
        let folder = forge.kind.folder();
        let branch = self.branch;
        let what = "builds the images, pushes them, and deploys them";
        if self.is_clone {
            return format!(
                "Commit and push: `git -C {} add {folder} && git commit -m \"Deploy with tagalong\" && git push`. The push to {branch} {what}.",
                self.root.display()
            );
        }
        format!(
            "Copy {} into your clone of {}, commit it and push it. The push to {branch} {what}.",
            self.root.join(folder).display(),
            forge.origin.path()
        )
    }
}
