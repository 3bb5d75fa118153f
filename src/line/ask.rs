//! Questions that a control plane has for an agent, and what is answered.

use serde::Deserialize;
use serde::Serialize;
use smoke::Report;

use crate::api;
use crate::model::ServiceName;
use crate::model::Tag;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Its number, which the answer repeats.
    pub ask: u64,
    /// What is asked.
    pub body: AskedFor,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask_for", rename_all = "snake_case")]
pub enum AskedFor {
    /// How these services stand.
    Services {
        /// Their names.
        services: Vec<ServiceName>,
    },
    /// How the datasets stand.
    Datasets,
    /// That a service's hold ends.
    Resume {
        /// The service.
        service: ServiceName,
        /// Who asked.
        caller: String,
    },
    /// That the page of a service is looked at now.
    Look {
        /// The service.
        service: ServiceName,
        /// The tag that the page should show; none: that of the live release.
        #[serde(default)]
        tag: Option<Tag>,
        /// The commit that the page may show instead of that tag.
        #[serde(default)]
        commit: Option<String>,
    },
    /// A question of a newer version.
    #[serde(other)]
    Unknown,
}

/// The answer to a question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The question's number.
    pub ask: u64,
    /// What is answered.
    pub body: AnswerBody,
}

/// What is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum AnswerBody {
    /// How services stand, as the agent sees them.
    Services {
        /// The services.
        services: Vec<api::Service>,
    },
    /// How datasets stand.
    Datasets {
        /// The datasets.
        datasets: Vec<api::Dataset>,
    },
    /// What a look at a page has found.
    Looked {
        /// The report.
        report: Box<Report>,
    },
    /// It is done.
    Done {
        /// What was done, as one sentence.
        message: String,
    },
    /// It was not done.
    Problem {
        /// Why, as one sentence.
        why: String,
    },
    /// An answer of a newer version.
    #[serde(other)]
    Unknown,
}
