//! Policies: which jobs of a forge may call with their OIDC token, and what they may do.

use std::path::PathBuf;

use crate::config::claims::WantedClaim;
use crate::config::claims::read_claims;
use crate::config::key::RefPattern;
use crate::config::key::read_scopes;
use crate::config::reader::Section;
use crate::model::Forge;
use crate::model::Issuer;
use crate::model::KeyId;
use crate::model::Scope;

/// A policy of the configuration. A token is of the first policy that all of it matches.
#[derive(Debug, Clone)]
pub struct OidcPolicy {
    /// Its name, which stands in records.
    pub id: KeyId,
    /// Who must have issued the token.
    pub issuer: Issuer,
    /// Certificates that are trusted, besides the host's own roots, when the issuer is asked for its keys (PEM).
    pub ca_file: Option<PathBuf>,
    /// For whom it must have been issued: this server's own address.
    pub audience: String,
    /// What it must say, to the letter.
    pub claims: Vec<WantedClaim>,
    /// The git refs that its job may run for; empty: what the claims allow.
    pub refs: Vec<RefPattern>,
    /// What its job may do.
    pub scopes: Vec<Scope>,
}

impl OidcPolicy {
    pub(super) fn read(mut from: Section) -> Option<Self> {
        let id = from.needed("id", "every policy needs an id, which appears in records and messages.", KeyId::parse);
        let missing =
            "a policy needs the issuer of the tokens: https://token.actions.githubusercontent.com, or https://FORGEJO/api/actions.";
        let issuer = from.needed("issuer", missing, Issuer::parse);
        let missing = "a policy without an audience would accept tokens that were issued for others; write this server's own address, and \
                       let the workflow ask for a token with that audience.";
        let audience = from.needed("audience", missing, audience);
        let ca_file = from.path("ca_file");
        if let Some(Err(error)) = ca_file.as_ref().map(std::fs::read) {
            from.problem("ca_file", format!("it cannot be read: {error}."));
        }
        let claims = read_claims(&mut from);
        let refs = from.list("refs", RefPattern::parse);
        let scopes = read_scopes(&mut from, "policy");
        let (Some(id), Some(issuer), Some(audience)) = (id, issuer, audience) else {
            from.finish();
            return None;
        };
        let policy = Self { id, issuer, ca_file, audience, claims, refs, scopes };
        for (key, problem) in policy.problems() {
            from.problem(key, problem);
        }
        from.finish();
        Some(policy)
    }

    /// The claim that is wanted by this name.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&WantedClaim> {
        self.claims.iter().find(|claim| claim.name == name)
    }

    /// What it leaves open that it must not, and what in it keeps it from ever accepting a token.
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems: Vec<(&'static str, String)> = self.open_ends().into_iter().map(|why| ("claims", why.to_owned())).collect();
        let never = |why: String| ("claims", format!("{why}, so the policy can never accept a token."));
        problems.extend(self.claims.iter().filter_map(|claim| claim.never(self.issuer.forge())).map(never));
        if let Some(claim) = self.claim("ref").filter(|claim| !self.refs.is_empty() && !claim.texts().any(|text| self.is_for(text))) {
            problems.push(never(format!("refs allows no ref that the claims allow ({claim})")));
        }
        if let (Some(repository), Some(owner)) = (self.claim("repository"), self.claim("repository_owner"))
            && !repository.texts().any(|name| name.split_once('/').is_some_and(|(first, _)| owner.texts().any(|owner| owner == first)))
        {
            problems.push(never(format!("repository_owner is not the owner of the repository ({repository}, {owner})")));
        }
        if self.issuer.forge() == Forge::GitHub && self.audience.trim_end_matches('/').starts_with("https://github.com/") {
            let why = "GitHub gives this audience to every token that asks for none, so a token for another server would be accepted; write \
                       this server's own address.";
            problems.push(("audience", why.to_owned()));
        }
        problems
    }

    fn open_ends(&self) -> Vec<&'static str> {
        if self.claims.is_empty() {
            return vec![
                "a policy without claims would accept a token of any repository of the issuer; write claims = { repository_id = \"…\", \
                 ref = \"refs/heads/main\", event_name = \"push\" }.",
            ];
        }
        let mut open = Vec::new();
        let has = |name: &str| self.claim(name).is_some();
        if self.issuer.forge() == Forge::GitHub && !has("repository_id") {
            open.push(
                "repository_id is missing: a name of GitHub can be given up and taken by somebody else, so the repository is named by its \
                 number; https://api.github.com/repos/OWNER/NAME shows it as id.",
            );
        } else if !has("repository_id") && !has("repository") {
            open.push("repository_id and repository are missing, so any repository of the issuer could call; name one of them.");
        }
        if !has("event_name") {
            open.push(
                "event_name is missing, so any event could start the job, pull_request_target among them, whose ref is the main branch; \
                 write event_name = \"push\".",
            );
        }
        if !has("ref") && !has("environment") && self.refs.is_empty() {
            open.push("ref is missing, so a job of any branch could call; name ref or environment here, or set refs.");
        }
        open
    }

    /// Whether a job for `git_ref` may call.
    #[must_use]
    pub fn is_for(&self, git_ref: &str) -> bool {
        self.refs.is_empty() || self.refs.iter().any(|pattern| pattern.matches(git_ref))
    }

    /// Whether it accepts every token that `later` accepts, so that `later` never gets one.
    pub(super) fn covers(&self, later: &Self) -> bool {
        let refs_ok = self.refs.is_empty() || self.refs == later.refs;
        let claim_ok = |mine: &WantedClaim| later.claim(&mine.name).is_some_and(|theirs| mine.covers(theirs));
        self.issuer == later.issuer && self.audience == later.audience && refs_ok && self.claims.iter().all(claim_ok)
    }
}

fn audience(given: &str) -> Result<String, &'static str> {
    if given.is_empty() || given.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("it must be this server's own address, https://tagalong.example.com.");
    }
    Ok(given.to_owned())
}

/// Reads `[[oidc]]`, and what no table of it can know alone.
pub(super) fn read_policies(root: &mut Section) -> Vec<OidcPolicy> {
    let policies: Vec<OidcPolicy> = root.sections("oidc").into_iter().filter_map(OidcPolicy::read).collect();
    check_policies(root, &policies);
    policies
}

/// What no policy can know alone.
fn check_policies(root: &Section, policies: &[OidcPolicy]) {
    for (at, policy) in policies.iter().enumerate() {
        let earlier = &policies[..at];
        let id = &policy.id;
        if let Some(other) = earlier.iter().find(|other| other.issuer == policy.issuer && other.ca_file != policy.ca_file) {
            let why =
                format!("the policies {} and {id} have one issuer, which is asked once for both: give both the same ca_file.", other.id);
            root.problem("oidc", why);
        }
        if earlier.iter().any(|earlier| earlier.id == *id) {
            root.problem("oidc", format!("two policies have the id {id}; records name a policy by its id, so each needs its own."));
        } else if let Some(first) = earlier.iter().find(|earlier| earlier.covers(policy)) {
            let first = &first.id;
            let why = format!(
                "the policy {id} can never accept a token, because the policy {first} before it accepts all of them; put the scopes of both \
                 into one policy, or put {id} first."
            );
            root.problem("oidc", why);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::check::check;

    const POLICY: &str = r#"
        [[oidc]]
        id = "web-main"
        issuer = "https://token.actions.githubusercontent.com"
        audience = "https://tagalong.example.com"
        scopes = ["read"]
        claims = { repository_id = "7001", ref = "refs/heads/main", event_name = "push" }
    "#;

    fn problems_of(policies: &str) -> Vec<String> {
        check(&format!("version = 1\n[server]\n{policies}"), std::path::Path::new("/")).err().unwrap_or_default()
    }

    #[test]
    fn the_keys_of_an_issuer_are_asked_for_in_one_way() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("own.pem"), "").expect("a file");
        let with = |first: &str, second: &str| {
            let second =
                format!("{}ca_file = \"{second}\"\n", POLICY.replace("web-main", "second").replace("refs/heads/main", "refs/heads/x"));
            let policies = format!("{POLICY}ca_file = \"{first}\"\n{second}");
            check(&format!("version = 1\n[server]\n{policies}"), folder.path()).err().unwrap_or_default()
        };
        assert_eq!(with("own.pem", "own.pem"), Vec::<String>::new());
        assert!(with("none.pem", "none.pem")[0].contains("oidc[0].ca_file: it cannot be read"));
        std::fs::write(folder.path().join("other.pem"), "").expect("a file");
        let problems = with("own.pem", "other.pem");
        assert!(problems.len() == 1 && problems[0].contains("the policies web-main and second have one issuer"), "{problems:#?}");
    }

    #[test]
    fn a_policy_that_leaves_something_open_or_can_never_accept_a_token_is_refused_by_name() {
        assert_eq!(problems_of(POLICY), Vec::<String>::new());
        let claims = "repository_id = \"7001\", ref = \"refs/heads/main\", event_name = \"push\"";
        for (from, to, part) in [
            ("id = \"web-main\"", "", "oidc[0].id: every policy needs an id"),
            ("audience = \"https://tagalong.example.com\"", "", "oidc[0].audience: a policy without an audience"),
            ("https://tagalong.example.com", "", "oidc[0].audience: it must be this server's own address"),
            ("https://tagalong.example.com", "https://github.com/acme", "oidc[0].audience: GitHub gives this audience"),
            (
                "https://token.actions",
                "http://token.actions",
                "oidc[0].issuer: \"http://token.actions.githubusercontent.com\" uses plain http",
            ),
            ("scopes = [\"read\"]", "", "oidc[0].scopes: a policy without scopes"),
            (
                "scopes = [\"read\"]",
                "scopes = [\"deploy:none\"]",
                "oidc: the policy web-main has the scope deploy:none, but there is no [service.none]",
            ),
            ("scopes = [\"read\"]", "scopes = [\"read\"]\nclaim = 1", "oidc[0].claim: unknown key; did you mean claims?"),
            (claims, "", "oidc[0].claims: a policy without claims"),
            ("repository_id = \"7001\", ", "", "oidc[0].claims: repository_id is missing"),
            ("repository_id = \"7001\"", "repository = \"acme/web\"", "oidc[0].claims: repository_id is missing"),
            (", event_name = \"push\"", "", "oidc[0].claims: event_name is missing"),
            ("ref = \"refs/heads/main\", ", "", "oidc[0].claims: ref is missing"),
            (claims, "sub = \"repo:acme/web:ref:refs/heads/main\"", "oidc[0].claims: sub cannot be wanted"),
            ("\"7001\"", "7001", "repository_id is a string in every token of a forge, not 7001; put it in quotes"),
            (
                "\"7001\"",
                "\"acme/web\"",
                "repository_id is never \"acme/web\": it is a number in quotes, so the policy can never accept a token",
            ),
            ("\"7001\"", "[]", "repository_id has no value, so the policy can never accept a token"),
            ("\"7001\"", "{ is = 7 }", "repository_id must be a string, a whole number, true or false"),
            ("refs/heads/main", "main", "ref is never \"main\""),
            ("refs/heads/main", "refs/heads/*", "write the pattern into refs"),
            ("\"push\"", "\"pull_request_target\"", "event_name is never \"pull_request_target\""),
            ("\"push\"", "[\"push\", \"pull_request\"]", "event_name is never \"pull_request\""),
            ("scopes", "refs = [\"refs/tags/*\"]\nscopes", "refs allows no ref that the claims allow"),
            (claims, "repository_id = \"1\", event_name = \"push\", environment = \"\"", "environment is never \"\""),
            ("event_name", "iss = \"x\", event_name", "iss cannot be wanted here"),
            ("event_name", "repository = \"acme/web\", repository_owner = \"other\", event_name", "repository_owner is not the owner"),
            ("event_name", "ref_protected = true, event_name", "ref_protected is a string in every token of a forge, not true"),
        ] {
            assert!(POLICY.contains(from), "{from}");
            let problems = problems_of(&POLICY.replacen(from, to, 1));
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part} is not in {problems:#?}");
        }
        let forgejo = POLICY.replace("https://token.actions.githubusercontent.com", "https://git.example.com/api/actions");
        assert_eq!(problems_of(&forgejo.replace("repository_id = \"7001\"", "repository = \"acme/web\"")), Vec::<String>::new());
        let problems = problems_of(&forgejo.replace("event_name", "environment = \"production\", event_name"));
        assert!(
            problems[0].contains("tokens of Forgejo have no claim environment, so the policy can never accept a token"),
            "{problems:#?}"
        );
    }

    #[test]
    fn a_policy_behind_another_that_accepts_all_of_its_tokens_is_refused_by_name() {
        let second = POLICY.replace("web-main", "second");
        for (second, part) in [
            (POLICY.to_owned(), "oidc: two policies have the id web-main"),
            (second.clone(), "oidc: the policy second can never accept a token, because the policy web-main before it accepts all of them"),
            (second.replace("event_name", "actor = \"mona\", event_name"), "the policy second can never accept a token"),
        ] {
            let problems = problems_of(&format!("{POLICY}{second}"));
            assert!(problems.len() == 1 && problems[0].contains(part), "{part} is not in {problems:#?}");
        }
        for (from, to) in [
            ("\"push\"", "[\"push\", \"schedule\"]"),
            ("heads/main", "heads/next"),
            ("7001", "7002"),
            ("tagalong.example", "other.example"),
        ] {
            assert_eq!(problems_of(&format!("{POLICY}{}", second.replace(from, to))), Vec::<String>::new(), "{to}");
        }
    }
}
