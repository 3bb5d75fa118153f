//! Actions secrets and variables of a repository, an environment or an organisation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_box::PublicKey;
use crypto_box::aead::OsRng;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use crate::config::At;
use crate::config::ProvisionKind;
use crate::config::Visibility;
use crate::forge::Forge;
use crate::forge::call::Answer;
use crate::forge::call::Call;
use crate::forge::call::path_part;
use crate::forge::error::ForgeError;
use crate::forge::error::ForgeErrorKind;
use crate::model::ForgeRepository;

/// A list that goes on for longer is none of a forge.
const MOST_PAGES: usize = 200;

/// The secrets, or the variables, of one place at a forge.
#[derive(Debug, Clone, Copy)]
pub struct Shelf<'f> {
    forge: &'f Forge,
    at: &'f At,
    kind: ProvisionKind,
}

/// What is there under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct There {
    /// What the forge says about when it changed: GitHub the time of the last change, Forgejo and Gitea that of its creation.
    pub stamp: String,
    /// Its value, which is told of variables alone.
    pub value: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    #[serde(default)]
    updated_at: Option<String>,
    #[serde(default)]
    created_at: Option<String>,
}

#[derive(Deserialize)]
struct Variable {
    /// GitHub's word for it.
    value: Option<String>,
    /// Forgejo's and Gitea's.
    data: Option<String>,
    #[serde(default)]
    visibility: Option<String>,
}

#[derive(Deserialize)]
struct SealingKey {
    key_id: String,
    key: String,
}

#[derive(Deserialize)]
struct Numbered {
    id: i64,
}

impl Listed {
    fn there(self) -> There {
        There { stamp: self.updated_at.or(self.created_at).unwrap_or_default(), value: None }
    }
}

impl<'f> Shelf<'f> {
    /// Those of `kind` at `at`, which must be at `forge`.
    #[must_use]
    pub fn new(forge: &'f Forge, at: &'f At, kind: ProvisionKind) -> Self {
        Self { forge, at, kind }
    }

    /// What is there under `name`.
    ///
    /// # Errors
    /// When the forge does not say.
    pub async fn find(&self, name: &str) -> Result<Option<There>, ForgeError> {
        match (self.forge, self.kind) {
            (_, ProvisionKind::Variable) => {
                let Some(answer) = found(self.call(Call::Get(&self.path(name))).await)? else { return Ok(None) };
                let variable: Variable = answer.read()?;
                Ok(Some(There { stamp: variable.visibility.unwrap_or_default(), value: variable.value.or(variable.data) }))
            }
            (Forge::GitHub(_), ProvisionKind::Secret) => {
                let Some(answer) = found(self.call(Call::Get(&self.path(name))).await)? else { return Ok(None) };
                Ok(Some(answer.read::<Listed>()?.there()))
            }
            (Forge::Forgejo(_), ProvisionKind::Secret) => self.listed(name).await,
        }
    }

    /// Forgejo and Gitea only list what there is.
    async fn listed(&self, name: &str) -> Result<Option<There>, ForgeError> {
        for page in 1..=MOST_PAGES {
            let answer = self.call(Call::Get(&format!("{}?page={page}&limit=50", self.shelf()))).await?;
            let all: Vec<Listed> = answer.read()?;
            if all.is_empty() {
                return Ok(None);
            }
            if let Some(one) = all.into_iter().find(|one| one.name.eq_ignore_ascii_case(name)) {
                return Ok(Some(one.there()));
            }
        }
        Err(ForgeError::new(ForgeErrorKind::Odd, "The forge lists secrets without an end.".to_owned()))
    }

    /// Puts `value` there under `name`, where something is already if `is_there`.
    ///
    /// # Errors
    /// When the forge does not take it.
    pub async fn put(&self, name: &str, value: &str, is_there: bool) -> Result<(), ForgeError> {
        let path = self.path(name);
        match (self.forge, self.kind) {
            (Forge::GitHub(_), ProvisionKind::Secret) => {
                let body = self.with_visibility(self.sealed(value).await?).await?;
                self.call(Call::Put(&path, &body)).await?;
            }
            (Forge::Forgejo(_), ProvisionKind::Secret) => {
                self.call(Call::Put(&path, &json!({ "data": value }))).await?;
            }
            (Forge::GitHub(_), ProvisionKind::Variable) => {
                let body = self.with_visibility(json!({ "name": name, "value": value })).await?;
                let shelf = self.shelf();
                self.call(if is_there { Call::Patch(&path, &body) } else { Call::Post(&shelf, &body) }).await?;
            }
            (Forge::Forgejo(_), ProvisionKind::Variable) => {
                let body = json!({ "value": value });
                self.call(if is_there { Call::Put(&path, &body) } else { Call::Post(&path, &body) }).await?;
            }
        }
        Ok(())
    }

    /// Removes what is there under `name`; it is no fault that it is gone already.
    ///
    /// # Errors
    /// When the forge does not do it.
    pub async fn remove(&self, name: &str) -> Result<(), ForgeError> {
        if found(self.call(Call::Delete(&self.path(name))).await)?.is_none() {
            // Forges say the same of what nobody may see: then this fails too.
            self.call(Call::Get(&self.shelf())).await?;
        }
        Ok(())
    }

    /// The value in a box that only the forge can open
    /// ([GitHub's words on it](https://docs.github.com/en/rest/guides/encrypting-secrets-for-the-rest-api)).
    async fn sealed(&self, value: &str) -> Result<Value, ForgeError> {
        let key: SealingKey = self.call(Call::Get(&format!("{}/public-key", self.shelf()))).await?.read()?;
        let odd = || ForgeError::new(ForgeErrorKind::Odd, "The forge's public key for secrets is none.".to_owned());
        let bytes = STANDARD.decode(&key.key).map_err(|_| odd())?;
        let sealed = PublicKey::from_slice(&bytes).map_err(|_| odd())?.seal(&mut OsRng, value.as_bytes()).map_err(|_| odd())?;
        Ok(json!({ "encrypted_value": STANDARD.encode(sealed), "key_id": key.key_id }))
    }

    /// For whom in the organisation it is, where it is in one.
    async fn with_visibility(&self, mut body: Value) -> Result<Value, ForgeError> {
        let At::Organisation(_, _, visibility) = self.at else { return Ok(body) };
        body["visibility"] = visibility.as_str().into();
        if let Visibility::Selected(repositories) = visibility {
            let mut ids = Vec::new();
            for repository in repositories {
                let one: Numbered = self.forge.call(repository, Call::Get(&format!("/repos/{repository}"))).await?.read()?;
                ids.push(one.id);
            }
            body["selected_repository_ids"] = ids.into();
        }
        Ok(body)
    }

    async fn call(&self, call: Call<'_>) -> Result<Answer, ForgeError> {
        match self.at {
            At::Repository(_, repository) | At::Environment(_, repository, _) => self.forge.call(repository, call).await,
            At::Organisation(_, name, _) => {
                // A token acts for an organisation whatever the repository; an App is refused when the configuration is checked.
                let any = ForgeRepository::parse(&format!("{name}/any"));
                let any = any.map_err(|error| ForgeError::new(ForgeErrorKind::Refused, error.to_string()))?;
                self.forge.call(&any, call).await
            }
            At::Manifest { .. } => Err(ForgeError::new(ForgeErrorKind::Refused, "A file is at no forge.".to_owned())),
        }
    }

    fn shelf(&self) -> String {
        let kind = match self.kind {
            ProvisionKind::Secret => "secrets",
            ProvisionKind::Variable => "variables",
        };
        match self.at {
            At::Repository(_, repository) => format!("/repos/{repository}/actions/{kind}"),
            At::Environment(_, repository, name) => format!("/repos/{repository}/environments/{}/{kind}", path_part(name)),
            At::Organisation(_, name, _) => format!("/orgs/{}/actions/{kind}", path_part(name)),
            At::Manifest { .. } => String::new(),
        }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{}", self.shelf(), path_part(name))
    }
}

/// The answer; none where there is no such thing.
fn found(answer: Result<Answer, ForgeError>) -> Result<Option<Answer>, ForgeError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind == ForgeErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
