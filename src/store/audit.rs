//! The audit trail: who did what, with which result. Each entry contains the hash of the entry before it. The head (number and hash of the
//! last entry) is stored separately as well: in a row of its own, and in a file beside the database.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use sha2::Digest as _;
use sha2::Sha256;
use sqlx::Row as _;

use crate::clock;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::gate::Gate;
use crate::store::gate::Tx;
use crate::store::many;

/// What is wrong with the trail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// An entry does not match its hash, or does not follow the entry before it.
    #[error("Entry {seq} of the audit trail was changed, or an entry before it was removed.")]
    Changed {
        /// The number of the first such entry.
        seq: i64,
    },
    /// The end of the trail is missing, or the trail was rewritten.
    #[error(
        "The audit trail ends with entry {entries} and has no entry {seq} with the hash {hash}, which {place} names: its end was cut off, or it was rewritten."
    )]
    Cut {
        /// How many entries the trail has.
        entries: i64,
        /// The number of the missing entry.
        seq: i64,
        /// Its hash.
        hash: String,
        /// Where the missing entry is named.
        place: String,
    },
    /// No entry has the hash that an operator gave.
    #[error(
        "No entry of the audit trail has the hash {hash}: its end was cut off, it was rewritten, or the hash belongs to another trail."
    )]
    NotThere {
        /// The hash that was given.
        hash: String,
    },
}

/// A new entry.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) caller: String,
    pub(super) action: &'static str,
    pub(super) target: String,
    pub(super) detail: String,
}

/// The number and hash of the last entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    seq: i64,
    hash: String,
}

impl Head {
    fn parse(text: &str) -> Option<Self> {
        let (seq, hash) = text.trim_end_matches('\n').split_once(' ')?;
        Some(Self { seq: seq.parse().ok()?, hash: hash.to_owned() })
    }

    async fn stored(gate: &Gate) -> Result<Self, StoreError> {
        let row = gate.fetch_one(sqlx::query("SELECT value FROM meta WHERE name = 'audit_head'")).await?;
        Self::of(&row.try_get::<String, _>("value")?)
    }

    fn of(value: &str) -> Result<Self, StoreError> {
        Self::parse(value).ok_or_else(|| StoreError::Value {
            place: "meta.audit_head".to_owned(),
            why: format!("\"{}\" is not the number and hash of an audit entry", value.escape_default()),
        })
    }
}

/// SHA-256 over the fields, each preceded by its length, so that no two different entries have the same input.
fn entry_hash(seq: i64, at_ms: i64, fields: [&str; 5]) -> String {
    let mut hash = Sha256::new();
    hash.update(seq.to_be_bytes());
    hash.update(at_ms.to_be_bytes());
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field.as_bytes());
    }
    text::hex(&hash.finalize())
}

/// Adds entries within a transaction, so that an action and its entry are either both on disk or neither is. Give the returned head to
/// [`HeadFile::note`] after the commit.
pub(super) async fn append(tx: &mut Tx, entries: &[Entry]) -> Result<Head, StoreError> {
    // Two servers that append at the same time must not use the same number.
    tx.alone("audit").await?;
    // The head is not read from the trail's own last row: if the end of the trail was cut off, that would hide it.
    let row = tx.fetch_optional(sqlx::query("SELECT value FROM meta WHERE name = 'audit_head'")).await?;
    let mut head = Head::of(&row.ok_or(sqlx::Error::RowNotFound)?.try_get::<String, _>("value")?)?;
    let at_ms = clock::now_ms();
    for part in many::parts(entries) {
        let mut insert = many::insert("audit (seq, at_ms, caller, action, target, detail, previous, hash)", 8, part.len(), "");
        for Entry { caller, action, target, detail } in part {
            let seq = head.seq + 1;
            let hash = entry_hash(seq, at_ms, [caller, action, target, detail, &head.hash]);
            insert = insert.bind(seq).bind(at_ms).bind(caller.as_str()).bind(*action).bind(target.as_str()).bind(detail.as_str());
            insert = insert.bind(head.hash).bind(hash.clone());
            head = Head { seq, hash };
        }
        tx.execute(insert).await?;
    }
    let value = format!("{} {}", head.seq, head.hash);
    tx.execute(sqlx::query("UPDATE meta SET value = $1 WHERE name = 'audit_head'").bind(value)).await?;
    Ok(head)
}

/// The file beside the database that contains the head. It is written after the commit, so it may lag behind the trail but is never ahead
/// of it.
#[derive(Debug)]
pub(super) struct HeadFile {
    path: PathBuf,
    state: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    seq: i64,
    file: Option<File>,
    /// Whether the trail was searched for the head that an earlier process wrote.
    is_checked: bool,
    /// A fault was found and logged; the file is not written any more.
    is_left: bool,
}

impl HeadFile {
    pub(super) fn in_folder(data_dir: &Path) -> Self {
        Self { path: data_dir.join(AUDIT_HEAD_FILE), state: Mutex::default() }
    }

    fn read(&self) -> Option<Head> {
        std::fs::read_to_string(&self.path).ok().as_deref().and_then(Head::parse)
    }

    /// Writes `head` to the file, unless the file has a later one. If the trail does not contain the head that an earlier process wrote,
    /// this is logged and the file is kept as it is.
    pub(super) async fn note(&self, gate: &Gate, head: &Head) {
        let is_checked = self.state.lock().unwrap_or_else(PoisonError::into_inner).is_checked;
        if !is_checked {
            let is_lost = match self.read() {
                Some(noted) => is_lost(gate, &noted).await,
                None => false,
            };
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.is_checked = true;
            state.is_left = is_lost;
            if is_lost {
                tracing::error!(file = %self.path.display(), "the audit trail does not contain the entry that this file names, so its end \
                was cut off; see `tagalong audit verify`");
            }
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_left || head.seq <= state.seq {
            return;
        }
        state.seq = head.seq;
        if let Err(error) = write_head(&self.path, &mut state.file, head) {
            state.is_left = true;
            tracing::warn!(file = %self.path.display(), %error, "the head of the audit trail could not be written to the file beside the \
            database");
        }
    }
}

/// The name of the file.
pub const AUDIT_HEAD_FILE: &str = "audit-head";

async fn is_lost(gate: &Gate, noted: &Head) -> bool {
    if noted.seq == 0 {
        return false;
    }
    let row = gate.fetch_optional(sqlx::query("SELECT hash FROM audit WHERE seq = $1").bind(noted.seq)).await;
    // If the database does not answer, nothing is known about the trail.
    row.is_ok_and(|row| row.and_then(|row| row.try_get::<String, _>("hash").ok()).as_deref() != Some(noted.hash.as_str()))
}

/// Overwrites the file in place, always with the same length: this needs no new disk space, so it works on a full disk.
fn write_head(path: &Path, file: &mut Option<File>, head: &Head) -> std::io::Result<()> {
    if file.is_none() {
        *file = Some(File::options().write(true).create(true).truncate(false).mode(0o600).open(path)?);
    }
    let Some(file) = file else { return Ok(()) };
    file.write_all_at(format!("{:020} {}\n", head.seq, head.hash).as_bytes(), 0)
}

impl Store {
    /// Adds an entry to the trail.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn audit(&self, caller: &str, action: &'static str, target: &str, detail: &str) -> Result<(), StoreError> {
        let entry = Entry { caller: caller.to_owned(), action, target: target.to_owned(), detail: detail.to_owned() };
        let tx = self.gate.begin().await?;
        self.committed(tx, vec![entry]).await
    }

    /// Commits `tx` with entries of the trail: both are there afterwards, or neither is.
    pub(super) async fn committed(&self, mut tx: Tx, entries: Vec<Entry>) -> Result<(), StoreError> {
        let head = append(&mut tx, &entries).await?;
        tx.commit().await?;
        self.head.note(&self.gate, &head).await;
        Ok(())
    }

    /// Reads the whole trail, and returns how many entries it has and the hash of the last one, which an operator can store elsewhere. The
    /// trail must contain the entries that the database's own head, the file beside the database and `noted` (a hash) name.
    ///
    /// # Errors
    /// When the database does not answer. The inner error says what is wrong with the trail.
    pub async fn verify_audit(&self, noted: Option<&str>) -> Result<Result<(i64, String), AuditFault>, StoreError> {
        // The heads are read first, because the trail may grow meanwhile.
        let mut heads = vec![("the database's own note".to_owned(), Head::stored(&self.gate).await?)];
        heads.extend(self.head.read().map(|head| (format!("the file {}", self.head.path.display()), head)));
        heads.retain(|(_, head)| head.seq > 0);
        let mut seq = 0_i64;
        let mut previous = String::new();
        let mut is_there = noted.is_none();
        loop {
            let rows = self.gate.fetch_all(sqlx::query("SELECT * FROM audit WHERE seq > $1 ORDER BY seq LIMIT 500").bind(seq)).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                seq += 1;
                let text = |column: &str| row.try_get::<String, _>(column);
                let (stored_seq, at_ms): (i64, i64) = (row.try_get("seq")?, row.try_get("at_ms")?);
                let caller = text("caller")?;
                let action = text("action")?;
                let target = text("target")?;
                let detail = text("detail")?;
                let before = text("previous")?;
                let hash = text("hash")?;
                let right = entry_hash(stored_seq, at_ms, [&caller, &action, &target, &detail, &before]);
                if stored_seq != seq || before != previous || hash != right {
                    return Ok(Err(AuditFault::Changed { seq }));
                }
                is_there |= noted == Some(hash.as_str());
                heads.retain(|(_, head)| head.seq != seq || head.hash != hash);
                previous = hash;
            }
        }
        if let Some((place, head)) = heads.into_iter().next() {
            return Ok(Err(AuditFault::Cut { entries: seq, seq: head.seq, hash: head.hash, place }));
        }
        match noted {
            Some(hash) if !is_there => Ok(Err(AuditFault::NotThere { hash: hash.to_owned() })),
            _ => Ok(Ok((seq, previous))),
        }
    }
}
