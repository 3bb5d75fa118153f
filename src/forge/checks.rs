//! The checks of a commit, asked of its forge: what the commit is, whether it belongs to the repository, which checks it must have and
//! how they stand. Whatever the forge does not say in so many words is an error, never a yes.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::WhichChecks;
use crate::forge::Forge;
use crate::forge::call::Call;
use crate::forge::call::path_part;
use crate::forge::error::ForgeError;
use crate::forge::error::ForgeErrorKind;
use crate::forge::green::Checks;
use crate::forge::green::Light;
use crate::forge::green::Required;
use crate::forge::green::Seen;
use crate::model::Commit;
use crate::model::CommitName;
use crate::model::ForgeRepository;

/// How many pages of one list are read. GitHub has no more than ten of check runs.
const MOST_PAGES: u32 = 30;

/// A commit whose checks are asked about.
#[derive(Debug)]
pub struct Question<'q> {
    /// Where it should be.
    pub repository: &'q ForgeRepository,
    /// The commit.
    pub commit: &'q CommitName,
    /// The branch or tag that it should be on; none: the default branch.
    pub git_ref: Option<&'q str>,
    /// The checks that it must have.
    pub which: &'q WhichChecks,
}

/// What a forge says of the checks of a commit.
#[derive(Debug)]
pub struct Told {
    /// The commit.
    pub commit: Commit,
    /// How those stand that it must have.
    pub checks: Checks,
}

#[derive(Deserialize)]
struct Sha {
    sha: Commit,
}

#[derive(Deserialize)]
struct Repository {
    default_branch: String,
}

/// Of GitHub `status`, of Forgejo and Gitea `total_commits`.
#[derive(Deserialize)]
struct Comparison {
    status: Option<String>,
    total_commits: Option<u64>,
}

#[derive(Deserialize)]
struct GitHubBranch {
    protection: Protection,
}

#[derive(Deserialize)]
struct Protection {
    required_status_checks: Option<StatusChecks>,
}

#[derive(Deserialize)]
struct StatusChecks {
    #[serde(default)]
    contexts: Vec<String>,
    #[serde(default)]
    checks: Vec<StatusCheck>,
}

/// In a branch protection, and in a rule.
#[derive(Deserialize)]
struct StatusCheck {
    context: String,
    #[serde(alias = "integration_id")]
    app_id: Option<i64>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(rename = "type")]
    kind: String,
    parameters: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RuleOfChecks {
    required_status_checks: Vec<StatusCheck>,
}

#[derive(Deserialize)]
struct ForgejoBranch {
    enable_status_check: bool,
    status_check_contexts: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct CheckRuns {
    total_count: usize,
    check_runs: Vec<CheckRun>,
}

#[derive(Deserialize)]
struct CheckRun {
    id: u64,
    name: String,
    status: String,
    conclusion: Option<String>,
    app: Option<Numbered>,
    check_suite: Option<Numbered>,
}

#[derive(Deserialize)]
struct Numbered {
    id: u64,
}

#[derive(Deserialize)]
struct CombinedStatus {
    total_count: usize,
    statuses: Vec<Status>,
}

/// GitHub calls it `state`, Forgejo and Gitea `status`.
#[derive(Deserialize)]
struct Status {
    id: u64,
    context: String,
    #[serde(alias = "status")]
    state: String,
}

impl From<Status> for Seen {
    fn from(status: Status) -> Self {
        Self { light: Light::of_status(&status.state), name: status.context, run: None, number: status.id }
    }
}

impl From<CheckRun> for Seen {
    fn from(run: CheckRun) -> Self {
        let number = |one: Option<Numbered>| one.map_or(0, |one| one.id);
        Self {
            light: Light::of_run(&run.status, run.conclusion.as_deref()),
            name: run.name,
            run: Some((number(run.check_suite), number(run.app))),
            number: run.id,
        }
    }
}

impl From<StatusCheck> for Required {
    fn from(check: StatusCheck) -> Self {
        // A negative number stands for any App.
        Self { app: check.app_id.and_then(|id| u64::try_from(id).ok()), ..Self::named(&check.context) }
    }
}

impl Forge {
    /// How the checks stand that the commit of `question` must have.
    ///
    /// # Errors
    /// When the forge does not say so, when the commit is not on its branch, or when nothing is required of it.
    pub async fn checks(&self, question: &Question<'_>) -> Result<Told, ForgeError> {
        let repository = question.repository;
        let commit = self.whole(repository, question.commit).await?;
        self.is_on_its_branch(question, &commit).await?;
        let required = self.required(question).await?;
        let seen = match self {
            Self::GitHub(_) => self.seen_by_github(repository, &commit).await?,
            Self::Forgejo(_) => self.seen_by_forgejo(repository, &commit).await?,
        };
        Ok(Told { checks: Checks::of(&required, &seen), commit })
    }

    /// The whole name of a commit.
    async fn whole(&self, repository: &ForgeRepository, name: &CommitName) -> Result<Commit, ForgeError> {
        if let Some(commit) = name.full() {
            return Ok(commit);
        }
        let path = match self {
            Self::GitHub(_) => format!("/repos/{repository}/commits/{name}?per_page=1"),
            Self::Forgejo(_) => format!("/repos/{repository}/git/commits/{name}?stat=false&files=false&verification=false"),
        };
        let unknown = |error| because(error, &format!("{repository} has no commit {name}, or more than one"));
        let found: Sha = self.get(repository, &path).await.map_err(unknown)?;
        // A branch may have such a name as well.
        if found.sha.as_str().starts_with(name.as_str()) {
            return Ok(found.sha);
        }
        Err(ForgeError::new(ForgeErrorKind::Refused, format!("{name} is not the name of a commit in {repository}; send all of it.")))
    }

    /// The commit must be on the branch or the tag of its order. Forges show commits of forks and pull requests in a repository as well,
    /// and the checks that were run for those.
    async fn is_on_its_branch(&self, question: &Question<'_>, commit: &Commit) -> Result<(), ForgeError> {
        let repository = question.repository;
        let base = match question.git_ref.map(short_ref) {
            Some(Some(name)) => name.to_owned(),
            Some(None) => return Err(ForgeError::new(ForgeErrorKind::Refused, no_branch(question.git_ref))),
            None => self.get::<Repository>(repository, &format!("/repos/{repository}")).await?.default_branch,
        };
        let query = match self {
            Self::GitHub(_) => "per_page=1",
            Self::Forgejo(_) => "files=false&verification=false",
        };
        let path = format!("/repos/{repository}/compare/{}...{commit}?{query}", path_parts(&base));
        let unknown = |error| because(error, &format!("{repository} has no commit {commit}, or no {base}"));
        let compared: Comparison = self.get(repository, &path).await.map_err(unknown)?;
        match (compared.status.as_deref(), compared.total_commits) {
            (Some("identical" | "behind"), _) | (None, Some(0)) => Ok(()),
            (Some("ahead" | "diverged"), _) | (None, Some(_)) => {
                let hint = if question.git_ref.is_some() { "" } else { "; send the branch or the tag that it is on as ref" };
                let why = format!("The commit {commit} is not on {base} of {repository}{hint}.");
                Err(ForgeError::new(ForgeErrorKind::Refused, why))
            }
            _ => Err(ForgeError::new(ForgeErrorKind::Odd, format!("The forge does not say whether {commit} is on {base}."))),
        }
    }

    /// The checks that the commit must have.
    async fn required(&self, question: &Question<'_>) -> Result<Vec<Required>, ForgeError> {
        if let WhichChecks::Named(names) = question.which {
            return Ok(names.iter().map(|name| Required::named(name)).collect());
        }
        let refused = |why| ForgeError::new(ForgeErrorKind::Refused, why);
        let branch = question.git_ref.and_then(|git_ref| git_ref.strip_prefix("refs/heads/"));
        let branch = branch.ok_or_else(|| refused(no_branch(question.git_ref)))?;
        let repository = question.repository;
        let required = match self {
            Self::GitHub(_) => self.required_by_github(repository, branch).await?,
            Self::Forgejo(_) => self.required_by_forgejo(repository, branch).await?,
        };
        if required.is_empty() {
            let why = "requires no checks, so nothing says when a commit is good; require some there, or name them in require_checks";
            return Err(refused(format!("The protection of the branch {branch} of {repository} {why}.")));
        }
        Ok(required)
    }

    /// What the branch protection and the rulesets require.
    async fn required_by_github(&self, repository: &ForgeRepository, branch: &str) -> Result<Vec<Required>, ForgeError> {
        let branch = path_parts(branch);
        let found: GitHubBranch = self.get(repository, &format!("/repos/{repository}/branches/{branch}")).await?;
        let mut required = Vec::new();
        if let Some(StatusChecks { contexts, checks }) = found.protection.required_status_checks {
            let unlisted = contexts.iter().filter(|context| !checks.iter().any(|check| check.context == **context));
            required.extend(unlisted.map(|context| Required::named(context)));
            required.extend(checks.into_iter().map(Required::from));
        }
        let rules: Vec<Rule> = self.pages(repository, &format!("/repos/{repository}/rules/branches/{branch}?per_page=100")).await?;
        for rule in rules.into_iter().filter(|rule| rule.kind == "required_status_checks") {
            let odd = |error| ForgeError::new(ForgeErrorKind::Odd, format!("The forge's rule is not what its API describes: {error}."));
            let rule: RuleOfChecks = serde_json::from_value(rule.parameters.unwrap_or_default()).map_err(odd)?;
            required.extend(rule.required_status_checks.into_iter().map(Required::from));
        }
        Ok(required)
    }

    /// What the branch protection requires, by patterns; where it names none, everything that was reported.
    async fn required_by_forgejo(&self, repository: &ForgeRepository, branch: &str) -> Result<Vec<Required>, ForgeError> {
        let found: ForgejoBranch = self.get(repository, &format!("/repos/{repository}/branches/{}", path_parts(branch))).await?;
        if !found.enable_status_check {
            return Ok(Vec::new());
        }
        let contexts = found.status_check_contexts.filter(|contexts| !contexts.is_empty()).unwrap_or_else(|| vec!["*".to_owned()]);
        Ok(contexts.iter().map(|context| Required::pattern(context)).collect())
    }

    async fn seen_by_github(&self, repository: &ForgeRepository, commit: &Commit) -> Result<Vec<Seen>, ForgeError> {
        let commit = format!("/repos/{repository}/commits/{commit}");
        let mut seen = Vec::new();
        let mut runs = 0;
        for page in 1.. {
            let path = format!("{commit}/check-runs?filter=latest&per_page=100&page={page}");
            let (found, goes_on) = self.page::<CheckRuns>(repository, &path, page).await?;
            runs += found.check_runs.len();
            seen.extend(found.check_runs.into_iter().map(Seen::from));
            if !goes_on {
                whole_list(runs, found.total_count)?;
                break;
            }
        }
        let mut statuses = 0;
        for page in 1.. {
            let (found, goes_on) =
                self.page::<CombinedStatus>(repository, &format!("{commit}/status?per_page=100&page={page}"), page).await?;
            statuses += found.statuses.len();
            seen.extend(found.statuses.into_iter().map(Seen::from));
            if !goes_on {
                whole_list(statuses, found.total_count)?;
                break;
            }
        }
        Ok(seen)
    }

    async fn seen_by_forgejo(&self, repository: &ForgeRepository, commit: &Commit) -> Result<Vec<Seen>, ForgeError> {
        let statuses: Vec<Status> = self.pages(repository, &format!("/repos/{repository}/commits/{commit}/statuses?limit=50")).await?;
        Ok(statuses.into_iter().map(Seen::from).collect())
    }

    async fn get<T: DeserializeOwned>(&self, repository: &ForgeRepository, path: &str) -> Result<T, ForgeError> {
        self.call(repository, Call::Get(path)).await?.read()
    }

    /// One page of a list, and whether there is another one.
    async fn page<T: DeserializeOwned>(&self, repository: &ForgeRepository, path: &str, page: u32) -> Result<(T, bool), ForgeError> {
        if page > MOST_PAGES {
            return Err(ForgeError::new(ForgeErrorKind::Odd, format!("The forge has more than {MOST_PAGES} pages of {path}.")));
        }
        let answer = self.call(repository, Call::Get(path)).await?;
        let goes_on = answer.goes_on;
        Ok((answer.read()?, goes_on))
    }

    /// All of a list; the path has a query already.
    async fn pages<T: DeserializeOwned>(&self, repository: &ForgeRepository, path: &str) -> Result<Vec<T>, ForgeError> {
        let mut all = Vec::new();
        for page in 1.. {
            let (found, goes_on) = self.page::<Option<Vec<T>>>(repository, &format!("{path}&page={page}"), page).await?;
            all.extend(found.into_iter().flatten());
            if !goes_on {
                break;
            }
        }
        Ok(all)
    }
}

/// What it most likely means that the forge has no such thing.
fn because(error: ForgeError, what: &str) -> ForgeError {
    match error.status {
        Some(status @ 400..=499) => ForgeError::new(error.kind, format!("{what}: {error}")).answered(status),
        _ => error,
    }
}

/// Of a list that is not whole nobody knows what it hides.
fn whole_list(read: usize, total: usize) -> Result<(), ForgeError> {
    if read >= total {
        return Ok(());
    }
    Err(ForgeError::new(ForgeErrorKind::Odd, format!("The forge speaks of {total} checks, but shows only {read}.")))
}

/// The name of a branch or a tag.
fn short_ref(git_ref: &str) -> Option<&str> {
    git_ref.strip_prefix("refs/heads/").or_else(|| git_ref.strip_prefix("refs/tags/"))
}

fn no_branch(git_ref: Option<&str>) -> String {
    format!(
        "The ref {} is not a branch, so no branch protection applies to it; send a full name such as refs/heads/main.",
        git_ref.unwrap_or("none")
    )
}

/// A name with slashes as it stands in a path.
fn path_parts(name: &str) -> String {
    name.split('/').map(path_part).collect::<Vec<_>>().join("/")
}
