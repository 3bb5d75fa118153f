//! The workflow that builds the images, pushes them tagged by the commit, and calls tagalong; and the action that it calls.

use std::fmt::Write as _;
use std::path::Path;
use std::path::PathBuf;

use crate::cli::init::access::Access;
use crate::cli::init::forge::Forge;
use crate::cli::init::forge::Kind;
use crate::cli::init::stack::Pin;
use crate::model::ServiceName;

/// The action of this version, file by file: a repository of its own has it where no published one is named.
const ACTION: [(&str, &str); 7] = [
    ("action.yml", include_str!("../../../action.yml")),
    ("workflows/action/call.sh", include_str!("../../../workflows/action/call.sh")),
    ("workflows/action/cancel.sh", include_str!("../../../workflows/action/cancel.sh")),
    ("workflows/action/follow.sh", include_str!("../../../workflows/action/follow.sh")),
    ("workflows/action/order.sh", include_str!("../../../workflows/action/order.sh")),
    ("workflows/action/report.sh", include_str!("../../../workflows/action/report.sh")),
    ("workflows/action/text.sh", include_str!("../../../workflows/action/text.sh")),
];

/// `actions/checkout` at the commit of v5.0.0, which every forge finds by this short name.
const CHECKOUT: &str = "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0";

/// What the workflow is made of.
pub(super) struct Workflow<'a> {
    pub(super) service: &'a ServiceName,
    pub(super) pins: &'a [Pin],
    pub(super) forge: &'a Forge,
    pub(super) access: &'a Access,
    /// The server's public address; none: the variable `TAGALONG_URL`.
    pub(super) url: Option<&'a str>,
    /// The published action, `ADDRESS@COMMIT`; none: the one that is put into the repository.
    pub(super) action: Option<&'a str>,
    pub(super) runner: &'a str,
    pub(super) branch: &'a str,
    /// The folder that the clone begins in, where contexts are looked for.
    pub(super) root: &'a Path,
}

/// How a job logs in to the registry of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// By the token that the forge gives each job.
    OfJob,
    /// By two secrets of the repository, see [`Secrets`].
    BySecrets,
    /// Not at all: it is on the runner's own machine.
    None,
}

impl Login {
    /// How jobs of `forge` log in for `pin`.
    pub(super) fn of(pin: &Pin, forge: &Forge) -> Self {
        let registry = pin.image.registry().unwrap_or("docker.io");
        let host = registry.split(':').next().unwrap_or(registry);
        if host == "localhost" || host.starts_with("127.") {
            Self::None
        } else if forge.kind == Kind::Github && registry == forge.registry() {
            Self::OfJob
        } else {
            Self::BySecrets
        }
    }
}

/// The names of the secrets that a job logs in to a registry by. No registry is shown the login of another, so that each has its own
/// where there are several.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Secrets {
    /// What people call the registry.
    pub(super) registry: String,
    pub(super) user: String,
    pub(super) password: String,
}

impl Secrets {
    /// Those for the registry of `pin`, which is one of `pins`.
    pub(super) fn of(pin: &Pin, pins: &[Pin], forge: &Forge) -> Self {
        let host = |pin: &Pin| pin.image.registry().unwrap_or("docker.io").to_ascii_lowercase();
        let mine = host(pin);
        let is_another = |other: &Pin| Login::of(other, forge) == Login::BySecrets && host(other) != mine;
        // Two hosts never have the same name.
        let named = mine.to_ascii_uppercase().replace('-', "__").replace('.', "_").replace(':', "_PORT_");
        let end = if pins.iter().any(is_another) { format!("_{named}") } else { String::new() };
        let registry = pin.image.registry().unwrap_or("Docker Hub").to_owned();
        Self { registry, user: format!("REGISTRY_USER{end}"), password: format!("REGISTRY_PASSWORD{end}") }
    }
}

impl Workflow<'_> {
    /// Every file that belongs into the repository, from its first folder.
    pub(super) fn files(&self) -> Vec<(PathBuf, String)> {
        let folder = Path::new(self.forge.kind.folder());
        let mut files = vec![(folder.join("workflows/deploy.yml"), self.text())];
        if self.action.is_none() {
            let own = folder.join("actions/tagalong");
            files.extend(ACTION.iter().map(|(name, text)| (own.join(name), (*text).to_owned())));
        }
        files
    }

    fn text(&self) -> String {
        format!(
            "# Build the images of a commit, push them, and deploy them with tagalong.\n\
             # `tagalong init` has written this file; it is yours to change.\n\
             name: Deploy\n\n\
             on:\n  push:\n    branches: [{branch}]\n  workflow_dispatch:\n\n\
             permissions: {{}}\n\n\
             # A group of its own for each run: tagalong itself queues the orders, and a waiting job could not tell it about a newer one.\n\
             concurrency:\n  group: tagalong-deploy-{service}-${{{{ github.run_id }}}}\n  cancel-in-progress: false\n\n\
             jobs:\n{images}\n{order}",
            branch = yaml(self.branch),
            service = self.service,
            images = self.images(),
            order = self.order(),
        )
    }

    /// The job that builds and pushes.
    fn images(&self) -> String {
        let packages = if self.pins.iter().any(|pin| Login::of(pin, self.forge) == Login::OfJob) {
            "      packages: write # to push the images\n"
        } else {
            ""
        };
        let mut job = format!(
            "  images:\n    name: Build and push\n    runs-on: {runner} # it needs docker\n    timeout-minutes: 60\n    permissions:\n      \
             contents: read # to check the commit out\n{packages}    steps:\n{checkout}",
            runner = yaml(self.runner),
            checkout = checkout("the commit"),
        );
        for pin in self.pins {
            job.push_str(&self.step(pin));
        }
        job
    }

    /// The step that builds one image and pushes it.
    fn step(&self, pin: &Pin) -> String {
        let image = pin.image.as_str();
        let mut env = format!("          IMAGE: {}\n          CONTEXT: {}\n", yaml(image), yaml(&self.context(pin)));
        let mut options = String::new();
        if let Some(build) = &pin.build {
            if build.dockerfile != "Dockerfile" {
                let _ = writeln!(env, "          DOCKERFILE: {}", yaml(&build.dockerfile));
                options.push_str(" --file \"$CONTEXT/$DOCKERFILE\"");
            }
            if let Some(target) = &build.target {
                let _ = writeln!(env, "          TARGET: {}", yaml(target));
                options.push_str(" --target \"$TARGET\"");
            }
        }
        let login = match Login::of(pin, self.forge) {
            Login::None => "",
            Login::OfJob => {
                env.push_str("          REGISTRY_USER: ${{ github.actor }}\n          REGISTRY_PASSWORD: ${{ secrets.GITHUB_TOKEN }}\n");
                "          printf '%s' \"$REGISTRY_PASSWORD\" | docker login \"${IMAGE%%/*}\" --username \"$REGISTRY_USER\" --password-stdin\n"
            }
            Login::BySecrets => {
                let Secrets { user, password, .. } = Secrets::of(pin, self.pins, self.forge);
                let _ = writeln!(env, "          REGISTRY_USER: ${{{{ secrets.{user} }}}}");
                let _ = writeln!(env, "          REGISTRY_PASSWORD: ${{{{ secrets.{password} }}}}");
                if pin.image.registry().is_some() {
                    "          printf '%s' \"$REGISTRY_PASSWORD\" | docker login \"${IMAGE%%/*}\" --username \"$REGISTRY_USER\" --password-stdin\n"
                } else {
                    "          printf '%s' \"$REGISTRY_PASSWORD\" | docker login --username \"$REGISTRY_USER\" --password-stdin\n"
                }
            }
        };
        format!(
            "      - name: Build {name} and push it, tagged by the commit\n        env:\n{env}        run: |\n{login}          \
             docker build{options} --label \"org.opencontainers.image.revision=$GITHUB_SHA\" --tag \"$IMAGE:$GITHUB_SHA\" \"$CONTEXT\"\n          \
             docker push \"$IMAGE:$GITHUB_SHA\"\n",
            name = image.rsplit('/').next().unwrap_or(image),
        )
    }

    /// The folder of an image's files, from the clone's first folder; that folder itself where it is not known.
    fn context(&self, pin: &Pin) -> String {
        let Some(build) = &pin.build else { return ".".to_owned() };
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match real(Path::new(&build.context)).strip_prefix(real(self.root)) {
            Ok(inside) if !inside.as_os_str().is_empty() => inside.display().to_string(),
            Ok(_) | Err(_) => ".".to_owned(),
        }
    }

    /// The job that orders the deployment.
    fn order(&self) -> String {
        // Only the newest runners of GitHub know the other spelling that zizmor would have.
        let own = format!("./{}/actions/tagalong # zizmor: ignore[self-repository]", self.forge.kind.folder());
        let action = self.action.unwrap_or(&own);
        let is_token = matches!(self.access, Access::Policy { .. });
        let mut rights = String::new();
        if self.action.is_none() {
            rights.push_str("      contents: read # the action is in this repository\n");
        }
        if is_token && self.forge.kind == Kind::Github {
            rights.push_str("      id-token: write # the token by which tagalong knows the job; it gives no access to the forge\n");
        }
        let rights = if rights.is_empty() {
            "    permissions: {} # it talks only to tagalong\n".to_owned()
        } else {
            format!("    permissions:\n{rights}")
        };
        let token = if is_token && self.forge.kind == Kind::Forgejo {
            "    enable-openid-connect: true # the token by which tagalong knows the job (Forgejo 15 and newer)\n"
        } else {
            ""
        };
        let url = self.url.map_or_else(|| "${{ vars.TAGALONG_URL }}".to_owned(), yaml);
        let secret = if is_token { "" } else { "          secret: ${{ secrets.TAGALONG_SECRET }}\n" };
        let checkout = if self.action.is_none() { checkout("the action") } else { String::new() };
        format!(
            "  deploy:\n    name: Deploy {service}\n    needs: images\n    runs-on: {runner}\n{rights}{token}    steps:\n{checkout}      \
             - name: Send the order and follow it\n        id: order\n        uses: {action}\n        with:\n          url: {url}\n          \
             service: {service}\n          tag: ${{{{ github.sha }}}}\n{secret}\n      \
             # The action does so itself, but not every runner still runs the steps of an action when the job is cancelled.\n      \
             - name: Cancel the order of a cancelled job\n        if: cancelled()\n        uses: {action}\n        with:\n          \
             order: cancel\n          url: {url}\n          id: ${{{{ steps.order.outputs.id }}}}\n{secret}",
            service = self.service,
            runner = yaml(self.runner),
        )
    }
}

fn checkout(what: &str) -> String {
    format!("      - name: Check {what} out\n        uses: {CHECKOUT}\n        with:\n          persist-credentials: false\n")
}

/// `text` as a value of YAML: as it is where it is a plain word, else in quotes as JSON has them.
fn yaml(text: &str) -> String {
    let is_plain =
        text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    let is_word = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"].iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_plain && !is_word {
        return text.to_owned();
    }
    // An expression of the forge must not begin in it.
    serde_json::Value::from(text.replace("${{", "$ {{")).to_string()
}
