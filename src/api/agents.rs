//! Bodies about agents.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::AgentName;
use crate::model::MachineId;
use crate::model::PublicKey;

/// Whether an agent is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Its line is open.
    Online,
    /// It pings, but does not do its part.
    Stuck,
    /// Its line has ended.
    Away,
    /// It is enrolled and has not connected since.
    Never,
    /// A person cut it off.
    Revoked,
}

impl AgentState {
    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Stuck => "stuck",
            Self::Away => "away",
            Self::Never => "never",
            Self::Revoked => "revoked",
        }
    }
}

/// An agent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Its name.
    pub name: AgentName,
    /// Whether it is there.
    pub state: AgentState,
    /// Since when, ms since 1970 (UTC).
    pub since_ms: i64,
    /// The version that it said in its last hello; none: it has said none since this server has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it was enrolled last, ms since 1970 (UTC); 0: it is dialled and was not enrolled.
    pub enrolled_ms: i64,
    /// The public keys that count for it: several while one takes the place of another; none: it is dialled.
    pub keys: Vec<PublicKey>,
    /// What last came with its key from elsewhere and was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<AgentClone>,
}

/// Something that came with the key of an agent and is not that agent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AgentClone {
    /// What it is.
    pub what: String,
    /// When it last came, ms since 1970 (UTC).
    pub at_ms: i64,
}

/// `GET /api/v1/agents`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Agents {
    /// Every agent that was ever enrolled, by name.
    pub agents: Vec<Agent>,
    /// The hosts that this server dials by ssh, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Agent>,
    /// The control plane that this server itself is an agent of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Uplink>,
    /// What a person should correct, each as one sentence: a service that two hosts have, a host that ssh does not reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// The line of this server to its control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Uplink {
    /// The control plane's address.
    pub url: String,
    /// The name of this server there.
    pub name: AgentName,
    /// Since when the line is open, ms since 1970 (UTC); none: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online_ms: Option<i64>,
    /// Why the line is not open, as one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When the next attempt is made, ms since 1970 (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<i64>,
    /// How many attempts have failed in a row.
    #[serde(default)]
    pub failed: u32,
}

/// `POST /api/v1/agents/enrol`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAgent {
    /// The public half of the code.
    pub code: PublicKey,
    /// The host's new public key.
    pub key: PublicKey,
    /// The machine.
    pub machine: MachineId,
    /// A number that is used once, as base64.
    pub nonce: String,
    /// The signature by the code.
    pub by_code: String,
    /// The signature by the new key.
    pub by_key: String,
}

/// The answer to it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Enrolled {
    /// The agent's name.
    pub name: AgentName,
    /// The control plane's public key.
    pub control: PublicKey,
    /// Its signature.
    pub proof: String,
}

/// `POST /api/v1/agents/{name}/code`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AgentCode {
    /// The code, which is shown this once.
    pub code: String,
    /// Until when it can be used, ms since 1970 (UTC).
    pub until_ms: i64,
}
