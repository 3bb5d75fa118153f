//! Secrets that can be rotated.

use crate::model::DatasetName;
use crate::model::KeyId;

/// Whose secret is rotated.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rotated {
    /// The secret of a key.
    Key(KeyId),
    /// The reload secret of a dataset.
    Dataset(DatasetName),
}

impl std::fmt::Display for Rotated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Dataset(name) => write!(f, "dataset:{name}"),
        }
    }
}
