//! What was put at forges. Of a secret only its mark (a keyed hash) is stored.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::config::At;
use crate::config::ProvisionKind;
use crate::config::Visibility;
use crate::model::ForgeRepository;
use crate::model::KeyId;
use crate::model::WordError;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::columns;

/// A secret or variable that was put at a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisioned {
    /// The place at the forge.
    pub at: At,
    /// A secret or a variable.
    pub kind: ProvisionKind,
    /// Its name there.
    pub name: String,
    /// The mark of its value.
    pub mark: String,
    /// What the forge said at that time about when it was changed.
    pub stamp: String,
}

/// The columns of a place at a forge; none for a file.
fn columns(at: &At) -> Option<(&KeyId, &'static str, String, &str)> {
    match at {
        At::Repository(forge, repository) => Some((forge, "repository", repository.as_str().to_ascii_lowercase(), "")),
        At::Environment(forge, repository, name) => Some((forge, "environment", repository.as_str().to_ascii_lowercase(), name)),
        At::Organisation(forge, name, _) => Some((forge, "organisation", name.to_ascii_lowercase(), "")),
        At::Manifest { .. } => None,
    }
}

impl Store {
    /// Everything that was put at forges.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn provisioned(&self) -> Result<Vec<Provisioned>, StoreError> {
        let all = sqlx::query(
            "SELECT forge, place, owner, environment, kind, name, mark, stamp, forge || ' ' || name AS id FROM provisioned
             ORDER BY forge, owner, environment, kind, name",
        );
        self.gate.fetch_all(all).await?.iter().map(read).collect()
    }

    /// Records that `put` is at its forge as tagalong put it there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn record_provisioned(&self, put: &Provisioned) -> Result<(), StoreError> {
        let Some((forge, place, owner, environment)) = columns(&put.at) else { return Ok(()) };
        let statement = sqlx::query(
            "INSERT INTO provisioned (forge, place, owner, environment, kind, name, mark, stamp, at_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (forge, place, owner, environment, kind, name)
             DO UPDATE SET mark = excluded.mark, stamp = excluded.stamp, at_ms = excluded.at_ms",
        );
        let statement = statement.bind(forge.as_str()).bind(place).bind(owner).bind(environment).bind(put.kind.as_str());
        self.gate.write(statement.bind(&put.name).bind(&put.mark).bind(&put.stamp).bind(clock::now_ms())).await?;
        Ok(())
    }

    /// Forgets that `put` was put there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_provisioned(&self, put: &Provisioned) -> Result<(), StoreError> {
        let Some((forge, place, owner, environment)) = columns(&put.at) else { return Ok(()) };
        let statement = sqlx::query(
            "DELETE FROM provisioned WHERE forge = $1 AND place = $2 AND owner = $3 AND environment = $4 AND kind = $5 AND name = $6",
        );
        let statement = statement.bind(forge.as_str()).bind(place).bind(owner).bind(environment).bind(put.kind.as_str());
        self.gate.write(statement.bind(&put.name)).await?;
        Ok(())
    }
}

impl Provisioned {
    /// Whether this is the one with this kind and name at `at`.
    #[must_use]
    pub fn is(&self, at: &At, kind: ProvisionKind, name: &str) -> bool {
        self.kind == kind && self.name == name && columns(&self.at) == columns(at)
    }
}

fn read(row: &AnyRow) -> Result<Provisioned, StoreError> {
    let forge = columns::parsed(row, "provisioned", "forge", KeyId::parse)?;
    let owner: String = row.try_get("owner")?;
    let environment: String = row.try_get("environment")?;
    let at = columns::parsed(row, "provisioned", "place", |place| {
        Ok::<_, WordError>(match place {
            "repository" => At::Repository(forge.clone(), ForgeRepository::parse(&owner)?),
            "environment" => At::Environment(forge.clone(), ForgeRepository::parse(&owner)?, environment.clone()),
            "organisation" => At::Organisation(forge.clone(), owner.clone(), Visibility::Private),
            _ => return Err(WordError::new("The place", place, "it is repository, environment or organisation")),
        })
    })?;
    let kind = columns::parsed(row, "provisioned", "kind", |kind| match kind {
        "secret" => Ok(ProvisionKind::Secret),
        "variable" => Ok(ProvisionKind::Variable),
        _ => Err(WordError::new("The kind", kind, "it is secret or variable")),
    })?;
    Ok(Provisioned { at, kind, name: row.try_get("name")?, mark: row.try_get("mark")?, stamp: row.try_get("stamp")? })
}
