//! Who is logged in to the dashboard. Of a session's token only the digest is stored.

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
use crate::store::users::scopes;

/// How many sessions a user has at most; a further login ends the oldest.
const MOST_SESSIONS: i64 = 20;

/// What has proven who logs in.
#[derive(Clone, PartialEq, Eq)]
pub enum LoginProof {
    /// The password with this hash, which has to be the user's still when the session begins.
    Password(String),
    /// The one-time code with this digest, which is used up as the session begins.
    Code(String),
    /// A forge, which says that they belong to these there.
    Forge(Vec<String>),
}

impl std::fmt::Debug for LoginProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(…)",
            Self::Code(_) => "Code(…)",
            Self::Forge(_) => "Forge(…)",
        })
    }
}

/// A session that begins.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The digest of its token.
    pub digest: String,
    /// By which people name it.
    pub id: String,
    /// Who has logged in.
    pub user: UserName,
    /// What has proven it.
    pub proof: LoginProof,
    /// Where from.
    pub address: String,
    /// With what.
    pub agent: String,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// By which people name it.
    pub id: String,
    /// Who has logged in.
    pub user: UserName,
    /// What lets the user in.
    pub right: SessionRight,
    /// When the user logged in (ms since 1970, UTC).
    pub created_ms: i64,
    /// When it was used last, within a minute (ms since 1970, UTC).
    pub seen_ms: i64,
    /// Where from, at the login.
    pub address: String,
    /// With what, at the login.
    pub agent: String,
}

/// What the user of a session may do, and where that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionRight {
    /// A user of this server with these scopes.
    Scopes(Vec<Scope>),
    /// A user of a forge, who belongs to these there; the configuration says what that is good for.
    MemberOf(Vec<String>),
    /// Nothing: the user is there no more, or is disabled.
    None,
}

impl Store {
    /// Begins a session. The session with the digest `instead`, and of too many the oldest, end. Returns whether it has begun: not if
    /// what has proven it counts no more by now, because the password was changed, the code was used, or the user was disabled or
    /// removed meanwhile.
    ///
    /// # Errors
    /// When the database does not answer; then nothing has changed.
    pub async fn open_session(&self, new: &NewSession, instead: Option<&str>, how: &str) -> Result<bool, StoreError> {
        let now_ms = clock::now_ms();
        let mut tx = self.gate.begin().await?;
        // Whoever ends all sessions of a user waits for this, or this for them.
        tx.alone("users").await?;
        if !is_proven_still(&mut tx, new, now_ms).await? {
            return Ok(false);
        }
        if let Some(digest) = instead {
            tx.execute(sqlx::query("DELETE FROM sessions WHERE digest = $1").bind(digest)).await?;
        }
        let newest = sqlx::query(
            "DELETE FROM sessions WHERE by_user = $1 AND digest NOT IN
               (SELECT digest FROM sessions WHERE by_user = $1 ORDER BY created_ms DESC LIMIT $2)",
        );
        tx.execute(newest.bind(new.user.as_str()).bind(MOST_SESSIONS - 1)).await?;
        let insert = sqlx::query(
            "INSERT INTO sessions (digest, id, by_user, member_of, created_ms, seen_ms, address, agent) VALUES ($1, $2, $3, $4, $5, $5, $6, $7)",
        );
        let member_of = match &new.proof {
            LoginProof::Forge(list) => Some(serde_json::to_string(list).unwrap_or_default()),
            LoginProof::Password(_) | LoginProof::Code(_) => None,
        };
        let insert = insert.bind(&new.digest).bind(&new.id).bind(new.user.as_str()).bind(member_of).bind(now_ms);
        tx.execute(insert.bind(&new.address).bind(&new.agent)).await?;
        tx.execute(sqlx::query("UPDATE users SET seen_ms = $2 WHERE name = $1").bind(new.user.as_str()).bind(now_ms)).await?;
        let caller = Caller::User(new.user.clone()).to_string();
        let detail = format!("by {how} from {}", new.address);
        self.committed(tx, vec![Entry { caller, action: "login", target: new.id.clone(), detail }]).await?;
        Ok(true)
    }

    /// The session with this digest.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn session(&self, digest: &str) -> Result<Option<Session>, StoreError> {
        let find = sqlx::query(
            "SELECT s.*, u.scopes, u.disabled FROM sessions AS s LEFT JOIN users AS u ON u.name = s.by_user WHERE s.digest = $1",
        );
        self.gate.fetch_optional(find.bind(digest)).await?.as_ref().map(read).transpose()
    }

    /// The sessions of `user`, the newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sessions_of(&self, user: &UserName) -> Result<Vec<Session>, StoreError> {
        let find = sqlx::query(
            "SELECT s.*, u.scopes, u.disabled FROM sessions AS s LEFT JOIN users AS u ON u.name = s.by_user
             WHERE s.by_user = $1 ORDER BY s.created_ms DESC",
        );
        self.gate.fetch_all(find.bind(user.as_str())).await?.iter().map(read).collect()
    }

    /// Every session, by user and the newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sessions(&self) -> Result<Vec<Session>, StoreError> {
        let all = sqlx::query(
            "SELECT s.*, u.scopes, u.disabled FROM sessions AS s LEFT JOIN users AS u ON u.name = s.by_user
             ORDER BY s.by_user, s.created_ms DESC",
        );
        self.gate.fetch_all(all).await?.iter().map(read).collect()
    }

    /// Notes that the session with this digest is used at `now_ms` (ms since 1970).
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn saw_session(&self, digest: &str, now_ms: i64) -> Result<(), StoreError> {
        let saw = sqlx::query("UPDATE sessions SET seen_ms = $2 WHERE digest = $1 AND seen_ms < $2");
        self.gate.write(saw.bind(digest).bind(now_ms)).await?;
        Ok(())
    }

    /// Ends the session of `user` with this id. Returns whether there was one.
    ///
    /// # Errors
    /// When the database does not answer; then it goes on.
    pub async fn end_session(&self, user: &UserName, id: &str, by: &Caller) -> Result<bool, StoreError> {
        let mut tx = self.gate.begin().await?;
        let end = sqlx::query("DELETE FROM sessions WHERE by_user = $1 AND id = $2");
        if tx.execute(end.bind(user.as_str()).bind(id)).await? == 0 {
            return Ok(false);
        }
        self.committed(tx, vec![Entry { caller: by.to_string(), action: "logout", target: id.to_owned(), detail: user.to_string() }])
            .await?;
        Ok(true)
    }

    /// Ends every session of `user`. Returns how many there were.
    ///
    /// # Errors
    /// When the database does not answer; then they go on.
    pub async fn end_sessions(&self, user: &UserName, by: &Caller) -> Result<u64, StoreError> {
        let mut tx = self.gate.begin().await?;
        let ended = tx.execute(sqlx::query("DELETE FROM sessions WHERE by_user = $1").bind(user.as_str())).await?;
        let detail = format!("{ended} sessions");
        self.committed(tx, vec![Entry { caller: by.to_string(), action: "logout", target: user.to_string(), detail }]).await?;
        Ok(ended)
    }

    /// Deletes the sessions that began before `created_ms` or were used last before `seen_ms` (ms since 1970), and the codes whose time was
    /// over at `now_ms`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_sessions(&self, created_ms: i64, seen_ms: i64, now_ms: i64) -> Result<(), StoreError> {
        self.gate.write(sqlx::query("DELETE FROM sessions WHERE created_ms < $1 OR seen_ms < $2").bind(created_ms).bind(seen_ms)).await?;
        self.gate.write(sqlx::query("DELETE FROM login_codes WHERE until_ms < $1").bind(now_ms)).await?;
        Ok(())
    }
}

/// Whether what has proven the login counts still. A code is used up.
async fn is_proven_still(tx: &mut Tx, new: &NewSession, now_ms: i64) -> Result<bool, StoreError> {
    let user = new.user.as_str();
    let is_good = match &new.proof {
        // Nobody has to be known here whom a forge knows.
        LoginProof::Forge(_) => return Ok(true),
        LoginProof::Password(hash) => {
            let find = sqlx::query("SELECT name FROM users WHERE name = $1 AND password = $2 AND disabled = 0");
            tx.fetch_optional(find.bind(user).bind(hash)).await?.is_some()
        }
        LoginProof::Code(digest) => {
            let find = sqlx::query("SELECT name FROM users WHERE name = $1 AND disabled = 0");
            let is_welcome = tx.fetch_optional(find.bind(user)).await?.is_some();
            let take = sqlx::query("DELETE FROM login_codes WHERE digest = $1 AND by_user = $2 AND until_ms > $3");
            is_welcome && tx.execute(take.bind(digest).bind(user).bind(now_ms)).await? == 1
        }
    };
    Ok(is_good)
}

fn read(row: &AnyRow) -> Result<Session, StoreError> {
    let member_of = columns::parsed_if_any(row, "sessions", "member_of", columns::json::<Vec<String>>)?;
    let mine = columns::parsed_if_any(row, "users", "scopes", scopes)?;
    let right = match (member_of, mine) {
        (Some(member_of), _) => SessionRight::MemberOf(member_of),
        (None, Some(scopes)) if !columns::flag(row, "users", "disabled")? => SessionRight::Scopes(scopes),
        _ => SessionRight::None,
    };
    Ok(Session {
        id: row.try_get("id")?,
        user: columns::parsed(row, "sessions", "by_user", UserName::parse)?,
        right,
        created_ms: row.try_get("created_ms")?,
        seen_ms: row.try_get("seen_ms")?,
        address: row.try_get("address")?,
        agent: row.try_get("agent")?,
    })
}
