//! Secrets and variables that are put elsewhere: at a forge for its Actions, or in the manifest of a Kubernetes Secret.

use std::path::PathBuf;

use text::Secret;

use crate::config::Config;
use crate::config::Forge;
use crate::config::ForgeKind;
use crate::config::ForgeLogin;
use crate::config::Key;
use crate::config::Reload;
use crate::config::SecretSource;
use crate::config::reader::Section;
use crate::model::DatasetName;
use crate::model::ForgeRepository;
use crate::model::KeyId;
use crate::model::Rotated;

/// Forges take no more: [GitHub's limit](https://docs.github.com/en/actions/reference/security/secrets#limits-for-secrets), which is
/// below that of Forgejo and Gitea.
pub const MOST_BYTES: usize = 48 << 10;

/// A secret or a variable, and where it is put.
#[derive(Debug, Clone)]
pub struct Provision {
    /// Which of the two it is.
    pub kind: ProvisionKind,
    /// What it is called there: forges have names in upper case.
    pub name: String,
    /// Where it is put.
    pub at: At,
    /// What it is.
    pub value: Value,
}

/// What is put elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProvisionKind {
    /// A secret, which nobody can read there.
    Secret,
    /// A variable, which can be read there.
    Variable,
}

impl ProvisionKind {
    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Variable => "variable",
        }
    }
}

/// Where a secret or a variable is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// In a repository of the forge.
    Repository(KeyId, ForgeRepository),
    /// In an environment of a repository.
    Environment(KeyId, ForgeRepository, String),
    /// In an organisation of the forge.
    Organisation(KeyId, String, Visibility),
    /// In a file with the manifest of a Kubernetes Secret.
    Manifest {
        /// The file.
        file: PathBuf,
        /// Whether the one before it is put there too while it is rotated, one a line.
        both: bool,
    },
}

/// Which repositories of an organisation get something, on GitHub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visibility {
    /// All of them.
    All,
    /// Those that are not public.
    Private,
    /// These.
    Selected(Vec<ForgeRepository>),
}

/// What is put elsewhere.
#[derive(Debug, Clone)]
pub enum Value {
    /// The newest secret of one of our own.
    Of(Rotated),
    /// What is kept there.
    Kept(SecretSource),
    /// This text, of a variable.
    Text(String),
}

impl Visibility {
    /// The text form, as GitHub has it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Private => "private",
            Self::Selected(_) => "selected",
        }
    }
}

impl At {
    /// The forge, where it is at one.
    #[must_use]
    pub fn forge(&self) -> Option<&KeyId> {
        match self {
            Self::Repository(forge, _) | Self::Environment(forge, ..) | Self::Organisation(forge, ..) => Some(forge),
            Self::Manifest { .. } => None,
        }
    }
}

/// What it is called in what people read.
impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Repository(forge, repository) => write!(f, "{forge} {repository}"),
            Self::Environment(forge, repository, name) => write!(f, "{forge} {repository} environment {name}"),
            Self::Organisation(forge, name, _) => write!(f, "{forge} organisation {name}"),
            Self::Manifest { file, .. } => write!(f, "{}", file.display()),
        }
    }
}

/// The tables `[[secret]]` and `[[variable]]`.
pub(super) fn read_provisions(root: &mut Section, secrets: &mut Vec<Secret>, known: &Known<'_>) -> Vec<Provision> {
    let mut provisions: Vec<Provision> = Vec::new();
    for (key, kind) in [("secret", ProvisionKind::Secret), ("variable", ProvisionKind::Variable)] {
        provisions.extend(root.sections(key).into_iter().filter_map(|from| Provision::read(from, kind, secrets)));
    }
    check_provisions(root, &provisions, known);
    provisions
}

impl Provision {
    fn read(mut from: Section, kind: ProvisionKind, secrets: &mut Vec<Secret>) -> Option<Self> {
        let missing = "it needs the name that it is to have there; write name = \"TAGALONG_SECRET\".";
        let name = from.needed("name", missing, |text| Ok::<_, String>(text.to_owned()));
        let at = read_place(&mut from, kind);
        let value = read_value(&mut from, kind, secrets);
        from.finish();
        let at = at?;
        let name = name?;
        let name = if at.forge().is_some() { name.to_ascii_uppercase() } else { name };
        Some(Self { kind, name, at, value: value? })
    }

    /// Why it cannot be put where it is to be put; none: it can.
    #[must_use]
    pub fn fault(&self, config: &Config) -> Option<String> {
        let forge = self.at.forge().map(|id| config.forge(id).ok_or_else(|| format!("There is no [[forge]] with the id {id}.")));
        match forge.transpose() {
            Err(why) => Some(why),
            Ok(None) => self.fault_of_name(None),
            Ok(Some(forge)) => fault_at(self, forge).or_else(|| self.fault_of_name(Some(forge.kind))),
        }
    }

    /// What is wrong with the name for the forge of `kind`; none: nothing.
    fn fault_of_name(&self, forge: Option<ForgeKind>) -> Option<String> {
        let name = self.name.escape_default();
        let Some(forge) = forge else {
            let is_ok = (1..=253).contains(&self.name.len()) && self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            return (!is_ok).then(|| format!("\"{name}\" is no key of a Kubernetes Secret: use letters, digits, - _ and dots."));
        };
        let letters_ok = self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if self.name.is_empty() || !letters_ok || self.name.as_bytes()[0].is_ascii_digit() {
            return Some(format!("\"{name}\" is not allowed: use letters, digits and _, and begin with no digit."));
        }
        let (prefixes, has_ci): (&[&str], bool) = match forge {
            ForgeKind::GitHub => (&["GITHUB_"], false),
            ForgeKind::Forgejo => (&["GITHUB_", "GITEA_", "FORGEJO_"], true),
            ForgeKind::Gitea => (&["GITHUB_", "GITEA_"], true),
        };
        if let Some(prefix) = prefixes.iter().find(|prefix| self.name.starts_with(**prefix)) {
            return Some(format!("\"{name}\" is not allowed: the forge keeps names that begin with {prefix} for itself."));
        }
        (has_ci && self.name == "CI").then(|| "\"CI\" is not allowed: the forge sets it itself.".to_owned())
    }

    /// Whether both would be the same thing there.
    fn is_same_as(&self, other: &Self) -> bool {
        let place = |one: &Self| one.at.to_string().to_ascii_lowercase();
        self.kind == other.kind && self.name == other.name && place(self) == place(other)
    }
}

fn read_place(from: &mut Section, kind: ProvisionKind) -> Option<At> {
    let forge = from.parsed("forge", KeyId::parse);
    let repository = from.parsed("repository", ForgeRepository::parse);
    let environment = from.parsed("environment", environment);
    let organisation = from.parsed("organisation", organisation);
    let words = [("private", Some(Visibility::Private)), ("all", Some(Visibility::All)), ("selected", None)];
    let visibility = from.has("visibility").then(|| from.text("visibility")).flatten();
    let repositories = from.list("repositories", ForgeRepository::parse);
    let manifest = from.path("manifest");
    let both = from.flag("both", false);
    let visibility = match words.into_iter().find(|(word, _)| *word == visibility.as_deref().unwrap_or("private")) {
        Some((_, Some(visibility))) if repositories.is_empty() => visibility,
        Some((_, None)) if !repositories.is_empty() => Visibility::Selected(repositories),
        _ => {
            from.problem("visibility", "it is \"private\", \"all\", or \"selected\" with repositories = [\"acme/web\"].");
            return None;
        }
    };
    match (forge, repository, environment, organisation, manifest) {
        (Some(forge), Some(repository), None, None, None) => Some(At::Repository(forge, repository)),
        (Some(forge), Some(repository), Some(name), None, None) => Some(At::Environment(forge, repository, name)),
        (Some(forge), None, None, Some(name), None) => Some(At::Organisation(forge, name, visibility)),
        (None, None, None, None, Some(file)) if matches!(kind, ProvisionKind::Secret) => Some(At::Manifest { file, both }),
        _ => {
            let or_manifest = if matches!(kind, ProvisionKind::Secret) { ", or only manifest" } else { "" };
            from.problem(
                "forge",
                format!("set forge and repository, with or without environment, or forge and organisation{or_manifest}."),
            );
            None
        }
    }
}

fn read_value(from: &mut Section, kind: ProvisionKind, secrets: &mut Vec<Secret>) -> Option<Value> {
    let key = from.parsed("key", KeyId::parse).map(Rotated::Key);
    let dataset = from.parsed("dataset", DatasetName::parse).map(Rotated::Dataset);
    let mut hidden = Vec::new();
    let kept = from.secret_source("value_file", "value_env", &mut hidden);
    let text = if kind == ProvisionKind::Variable { from.text("value") } else { None };
    if matches!(kind, ProvisionKind::Secret) {
        secrets.extend(hidden);
    }
    let size = kept.as_ref().and_then(|kept| kept.read().ok()).map_or(0, |secret| secret.reveal().len());
    if size.max(text.as_ref().map_or(0, String::len)) > MOST_BYTES {
        from.problem("value_file", format!("the value is larger than {MOST_BYTES} bytes, which no forge takes."));
    }
    let found = [key.map(Value::Of), dataset.map(Value::Of), kept.map(Value::Kept), text.map(Value::Text)];
    let mut found = found.into_iter().flatten();
    match (found.next(), found.next(), kind) {
        (Some(value), None, kind) if matches!(kind, ProvisionKind::Secret) || !matches!(value, Value::Of(_)) => Some(value),
        (.., ProvisionKind::Secret) => {
            from.problem("value_file", "set exactly one of key, dataset, value_file and value_env.");
            None
        }
        (.., ProvisionKind::Variable) => {
            from.problem(
                "value",
                "set exactly one of value, value_file and value_env; anybody who may read the repository's settings sees it.",
            );
            None
        }
    }
}

fn environment(text: &str) -> Result<String, &'static str> {
    let is_ok = !text.is_empty() && text.len() <= 255 && text.trim() == text && !text.chars().any(char::is_control);
    if is_ok { Ok(text.to_owned()) } else { Err("it must be the name of an environment, of 1 to 255 bytes in one line.") }
}

fn organisation(text: &str) -> Result<String, String> {
    // As the owner of a repository.
    ForgeRepository::parse(&format!("{text}/x")).map(|_| text.to_owned()).map_err(|_| "it must be the name of an organisation.".to_owned())
}

/// What the tables name.
pub(super) struct Known<'a> {
    pub(super) forges: &'a [Forge],
    pub(super) keys: &'a [Key],
    pub(super) datasets: &'a [Reload],
}

/// What no table can know alone.
fn check_provisions(root: &Section, provisions: &[Provision], known: &Known<'_>) {
    let Known { forges, keys, datasets } = known;
    for (at, provision) in provisions.iter().enumerate() {
        let name = provision.name.escape_default().to_string();
        let problem = |why: String| root.problem(provision.kind.as_str(), format!("{name}: {why}"));
        let forge = provision.at.forge().map(|id| forges.iter().find(|forge| forge.id == *id).ok_or(id));
        match forge {
            Some(Err(id)) => problem(format!("there is no [[forge]] with the id {id}.")),
            Some(Ok(forge)) => {
                if let Some(why) = fault_at(provision, forge) {
                    problem(why);
                }
            }
            None => {}
        }
        if let Some(why) = provision.fault_of_name(forge.and_then(Result::ok).map(|forge| forge.kind)) {
            problem(why);
        }
        if let Value::Of(whose) = &provision.value
            && let Some(why) = fault_of_owner(whose, keys, datasets)
        {
            problem(why);
        }
        if provisions[..at].iter().any(|earlier| earlier.is_same_as(provision)) {
            problem(format!("two tables put it at {}; each run would replace one by the other.", provision.at));
        }
    }
}

/// Why the forge cannot have it there.
fn fault_at(provision: &Provision, forge: &Forge) -> Option<String> {
    match (&provision.at, forge.kind, &forge.login) {
        (_, _, None) => Some(format!("the forge {} has no token_file, so nothing can be put there.", forge.id)),
        (At::Environment(..), ForgeKind::Forgejo | ForgeKind::Gitea, _) => {
            Some(format!("the forge {} has no environments; leave environment out.", forge.id))
        }
        (At::Organisation(_, _, visibility), ForgeKind::Forgejo | ForgeKind::Gitea, _) if *visibility != Visibility::Private => {
            Some(format!("the forge {} shows it to all repositories of the organisation; leave visibility out.", forge.id))
        }
        (At::Organisation(..), ForgeKind::GitHub, Some(ForgeLogin::App { .. })) => {
            Some(format!("the App of {} acts for repositories; for an organisation, use a [[forge]] with a token.", forge.id))
        }
        (At::Organisation(_, name, Visibility::Selected(repositories)), ..)
            if repositories.iter().any(|repository| !repository.owner().eq_ignore_ascii_case(name)) =>
        {
            Some(format!("its repositories must all belong to {name}."))
        }
        _ => None,
    }
}

/// Why one of our own secrets cannot be put anywhere.
fn fault_of_owner(whose: &Rotated, keys: &[Key], datasets: &[Reload]) -> Option<String> {
    match whose {
        Rotated::Key(id) => match keys.iter().find(|key| key.id == *id) {
            None => Some(format!("there is no [[key]] with the id {id}.")),
            Some(key) if key.file.is_none() => Some(format!("the secret of the key {id} is not in a file; use value_env.")),
            Some(_) => None,
        },
        Rotated::Dataset(name) => match datasets.iter().find(|dataset| dataset.data.name == *name) {
            Some(dataset) if dataset.secret.as_ref().is_some_and(|source| source.file().is_some()) => None,
            Some(_) => Some(format!("the dataset {name} has no reload_secret_file.")),
            None => Some(format!("there is no [dataset.{name}].")),
        },
    }
}

#[cfg(test)]
mod tests {
    use crate::config::check::check;

    const TABLES: &str = r#"
        [[forge]]
        id = "github"
        kind = "github"
        token_file = "forge.token"
        [[forge]]
        id = "codeberg"
        kind = "forgejo"
        url = "https://codeberg.org"
        token_file = "forge.token"
        [[key]]
        id = "ci"
        secret_file = "ci.secret"
        scopes = ["read"]
    "#;

    fn problems(table: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            ("forge.token", "ghp_0123456789".to_owned()),
            ("ci.secret", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".to_owned()),
            ("long", "x".repeat(49_153)),
            ("value", "something".to_owned()),
        ] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        check(&format!("version = 1\n[server]\n{TABLES}{table}"), folder.path()).err().unwrap_or_default()
    }

    #[test]
    fn what_a_forge_does_not_take_is_said_by_name() {
        const GOOD: &str = "[[secret]]\nname = \"deploy_key\"\nforge = \"github\"\nrepository = \"acme/web\"\nkey = \"ci\"\n";
        assert_eq!(problems(GOOD), Vec::<String>::new());
        for (from, to, part) in [
            ("deploy_key", "github_token", "secret: GITHUB_TOKEN: \"GITHUB_TOKEN\" is not allowed: the forge keeps names"),
            ("deploy_key", "1st", "secret: 1ST: \"1ST\" is not allowed: use letters, digits and _"),
            ("deploy_key", "a-b", "is not allowed: use letters"),
            ("deploy_key", "", "is not allowed: use letters"),
            ("\"deploy_key\"\nforge = \"github\"", "\"forgejo_x\"\nforge = \"codeberg\"", "begin with FORGEJO_"),
            ("\"deploy_key\"\nforge = \"github\"", "\"gitea_x\"\nforge = \"codeberg\"", "begin with GITEA_"),
            ("\"deploy_key\"\nforge = \"github\"", "\"ci\"\nforge = \"codeberg\"", "the forge sets it itself"),
            ("forge = \"github\"", "forge = \"gitlab\"", "there is no [[forge]] with the id gitlab"),
            ("forge = \"github\"", "forge = \"codeberg\"\nenvironment = \"live\"", "codeberg has no environments"),
            ("repository = \"acme/web\"", "", "set forge and repository"),
            (
                "repository = \"acme/web\"",
                "organisation = \"acme\"\nvisibility = \"selected\"",
                "it is \"private\", \"all\", or \"selected\"",
            ),
            (
                "repository = \"acme/web\"",
                "organisation = \"acme\"\nvisibility = \"selected\"\nrepositories = [\"other/web\"]",
                "must all belong to acme",
            ),
            ("key = \"ci\"", "key = \"cd\"", "there is no [[key]] with the id cd"),
            ("key = \"ci\"", "dataset = \"content\"", "there is no [dataset.content]"),
            ("key = \"ci\"", "", "set exactly one of key, dataset"),
            ("key = \"ci\"", "value_file = \"long\"", "larger than 49152 bytes"),
            ("key = \"ci\"", "value = \"written down\"\nkey = \"ci\"", "secret[0].value: unknown key"),
        ] {
            let found = problems(&GOOD.replacen(from, to, 1));
            assert!(found.iter().any(|problem| problem.contains(part)), "{part} is not in {found:#?}");
        }
        let twice = problems(&format!("{GOOD}{}", GOOD.replace("deploy_key", "DEPLOY_KEY").replace("acme", "Acme")));
        assert!(twice.len() == 1 && twice[0].contains("two tables put it at github Acme/web"), "{twice:#?}");
        let variable = GOOD.replace("[[secret]]", "[[variable]]");
        assert!(problems(&variable)[0].contains("set exactly one of value, value_file and value_env"));
        assert_eq!(problems(&variable.replace("key = \"ci\"", "value = \"x\"")), Vec::<String>::new());
        assert_eq!(problems("[[secret]]\nname = \"reload.token\"\nmanifest = \"s.yaml\"\nvalue_file = \"value\"\n"), Vec::<String>::new());
    }
}
