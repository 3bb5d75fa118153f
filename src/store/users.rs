//! The users of this server and their one-time login codes. A password is stored as its hash alone, and a code as its digest.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::clock;
use crate::model::Caller;
use crate::model::Scope;
use crate::model::UserName;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::audit::Entry;
use crate::store::columns;
use crate::store::gate::Tx;

/// A user of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: UserName,
    /// Whether a password is set.
    pub has_password: bool,
    /// What the user may do.
    pub scopes: Vec<Scope>,
    /// Whether the user may not log in for now.
    pub is_disabled: bool,
    /// When the user was added (ms since 1970, UTC).
    pub created_ms: i64,
    /// When the user logged in last (ms since 1970, UTC).
    pub seen_ms: Option<i64>,
    /// How many sessions the user has, those that have expired but are not yet removed among them.
    pub sessions: i64,
}

/// What a login is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct Lock {
    /// The hash of the password, as a PHC string; none: no password is set.
    pub hash: Option<String>,
    /// Whether the user may not log in for now.
    pub is_disabled: bool,
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock(…)")
    }
}

impl Store {
    /// Adds a user who may do what `scopes` say, or gives these to one who is there already. Returns whether the user is new.
    ///
    /// # Errors
    /// When the database does not answer; then nothing has changed.
    pub async fn put_user(&self, name: &UserName, scopes: &[Scope], by: &Caller) -> Result<bool, StoreError> {
        let texts: Vec<String> = scopes.iter().map(Scope::to_string).collect();
        let json = serde_json::to_string(&texts).unwrap_or_default();
        let mut tx = self.gate.begin().await?;
        tx.alone("users").await?;
        let change = sqlx::query("UPDATE users SET scopes = $2 WHERE name = $1").bind(name.as_str()).bind(&json);
        let is_new = tx.execute(change).await? == 0;
        if is_new {
            let insert = sqlx::query("INSERT INTO users (name, scopes, disabled, created_ms) VALUES ($1, $2, 0, $3)");
            tx.execute(insert.bind(name.as_str()).bind(&json).bind(clock::now_ms())).await?;
        }
        let action = if is_new { "user add" } else { "user scopes" };
        self.committed(tx, vec![entry(by, action, name, texts.join(", "))]).await?;
        Ok(is_new)
    }

    /// Every user, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn users(&self) -> Result<Vec<User>, StoreError> {
        let all = sqlx::query(
            "SELECT u.*, (SELECT COUNT(*) FROM sessions AS s WHERE s.by_user = u.name) AS sessions FROM users AS u ORDER BY u.name",
        );
        self.gate.fetch_all(all).await?.iter().map(read).collect()
    }

    /// What a login of `name` is checked against; none: there is no such user.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lock_of(&self, name: &UserName) -> Result<Option<Lock>, StoreError> {
        let row = self.gate.fetch_optional(sqlx::query("SELECT password, disabled FROM users WHERE name = $1").bind(name.as_str())).await?;
        row.map(|row| Ok(Lock { hash: row.try_get("password")?, is_disabled: columns::flag(&row, "users", "disabled")? })).transpose()
    }

    /// Sets the hash of the user's password and ends all of the user's sessions. Returns whether there is such a user.
    ///
    /// # Errors
    /// When the database does not answer; then nothing has changed.
    pub async fn set_password(&self, name: &UserName, hash: &str, by: &Caller) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        tx.alone("users").await?;
        let change = sqlx::query("UPDATE users SET password = $2 WHERE name = $1").bind(name.as_str()).bind(hash);
        if tx.execute(change).await? == 0 {
            return Ok(false);
        }
        end_all(&mut tx, name).await?;
        self.committed(tx, vec![entry(by, "user password", name, String::new())]).await?;
        Ok(true)
    }

    /// Lets the user log in no more, and ends all of the user's sessions; or lets the user log in again. Returns whether there is such a
    /// user.
    ///
    /// # Errors
    /// When the database does not answer; then nothing has changed.
    pub async fn disable_user(&self, name: &UserName, is_disabled: bool, by: &Caller) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        tx.alone("users").await?;
        let change = sqlx::query("UPDATE users SET disabled = $2 WHERE name = $1").bind(name.as_str()).bind(i64::from(is_disabled));
        if tx.execute(change).await? == 0 {
            return Ok(false);
        }
        if is_disabled {
            end_all(&mut tx, name).await?;
        }
        let action = if is_disabled { "user disable" } else { "user enable" };
        self.committed(tx, vec![entry(by, action, name, String::new())]).await?;
        Ok(true)
    }

    /// Removes the user with all sessions and codes. Returns whether there was such a user.
    ///
    /// # Errors
    /// When the database does not answer; then nothing has changed.
    pub async fn remove_user(&self, name: &UserName, by: &Caller) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        tx.alone("users").await?;
        let removed = tx.execute(sqlx::query("DELETE FROM users WHERE name = $1").bind(name.as_str())).await?;
        if removed == 0 {
            return Ok(false);
        }
        end_all(&mut tx, name).await?;
        self.committed(tx, vec![entry(by, "user remove", name, String::new())]).await?;
        Ok(true)
    }

    /// Makes the code with this digest log `name` in once before `until_ms` (ms since 1970). Codes that the user had before are void.
    /// Returns whether there is such a user.
    ///
    /// # Errors
    /// When the database does not answer; then nothing has changed.
    pub async fn put_login_code(&self, name: &UserName, digest: &str, until_ms: i64, by: &Caller) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        tx.alone("users").await?;
        if tx.fetch_optional(sqlx::query("SELECT name FROM users WHERE name = $1").bind(name.as_str())).await?.is_none() {
            return Ok(false);
        }
        forget_codes(&mut tx, name).await?;
        let insert = sqlx::query("INSERT INTO login_codes (digest, by_user, until_ms) VALUES ($1, $2, $3)");
        tx.execute(insert.bind(digest).bind(name.as_str()).bind(until_ms)).await?;
        self.committed(tx, vec![entry(by, "user code", name, String::new())]).await?;
        Ok(true)
    }

    /// Whose the one-time code with this digest is; none: there is no such code. [`Store::open_session`] uses it up.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn owner_of_code(&self, digest: &str) -> Result<Option<UserName>, StoreError> {
        let find = sqlx::query("SELECT by_user, by_user AS id FROM login_codes WHERE digest = $1");
        let row = self.gate.fetch_optional(find.bind(digest)).await?;
        row.map(|row| columns::parsed(&row, "login_codes", "by_user", UserName::parse)).transpose()
    }
}

fn entry(by: &Caller, action: &'static str, name: &UserName, detail: String) -> Entry {
    Entry { caller: by.to_string(), action, target: name.to_string(), detail }
}

async fn forget_codes(tx: &mut Tx, name: &UserName) -> Result<(), StoreError> {
    tx.execute(sqlx::query("DELETE FROM login_codes WHERE by_user = $1").bind(name.as_str())).await?;
    Ok(())
}

/// Ends everything by which the user is, or could be, logged in.
async fn end_all(tx: &mut Tx, name: &UserName) -> Result<(), StoreError> {
    forget_codes(tx, name).await?;
    tx.execute(sqlx::query("DELETE FROM sessions WHERE by_user = $1").bind(name.as_str())).await?;
    Ok(())
}

/// The scopes in a column, which is a JSON list.
pub(super) fn scopes(text: &str) -> Result<Vec<Scope>, String> {
    let texts: Vec<String> = columns::json(text).map_err(|error| error.to_string())?;
    texts.iter().map(|text| Scope::parse(text).map_err(|error| error.to_string())).collect()
}

fn read(row: &AnyRow) -> Result<User, StoreError> {
    Ok(User {
        name: columns::parsed(row, "users", "name", UserName::parse)?,
        has_password: row.try_get::<Option<String>, _>("password")?.is_some(),
        scopes: columns::parsed(row, "users", "scopes", scopes)?,
        is_disabled: columns::flag(row, "users", "disabled")?,
        created_ms: row.try_get("created_ms")?,
        seen_ms: row.try_get("seen_ms")?,
        sessions: row.try_get("sessions")?,
    })
}
