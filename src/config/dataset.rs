//! A dataset: a checkout of a git branch that follows its remote, the checked form.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use text::Mask;

use crate::model::DatasetName;

/// A dataset of the configuration.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Its name.
    pub name: DatasetName,
    /// The checkout, absolute. Made when it is not there.
    pub dir: PathBuf,
    /// A folder of our own that nobody else writes to: the git folder by which git works on the checkout. Made when it is not
    /// there; what it holds can be made again at any time.
    pub state: PathBuf,
    /// The remote repository's address, without a credential in it.
    pub remote: String,
    /// The branch, as it is called below `refs/heads/`.
    pub branch: String,
    /// Who commits what tagalong carries over or parks: a pseudonym.
    pub committer_name: String,
    /// The address that goes with it.
    pub committer_email: String,
    /// How long asking and fetching may take.
    pub fetch_deadline: Duration,
    /// How long one push may take.
    pub push_deadline: Duration,
    /// How long work on this machine alone may take: merging, checking out.
    pub local_deadline: Duration,
    /// How readers get at the data.
    pub publish: Publish,
    /// Whether parked files that are in no index go to the remote as well; else they stay on a ref of this host.
    pub push_untracked: bool,
    /// How git is run.
    pub git: Git,
    /// The private key for ssh; none: what the user's own ssh configuration says.
    pub ssh_key_file: Option<PathBuf>,
    /// The known hosts for ssh; none: the user's own.
    pub ssh_known_hosts_file: Option<PathBuf>,
    /// The login for http and https; none: what git's own configuration says.
    pub login: Option<DatasetLogin>,
    /// Hides every secret of the configuration.
    pub mask: Arc<Mask>,
}

impl Dataset {
    /// How git is run for it, and what it shows to its remote.
    #[must_use]
    pub fn access(&self) -> Access {
        Access {
            git: self.git.clone(),
            remote: self.remote.clone(),
            ssh_key_file: self.ssh_key_file.clone(),
            ssh_known_hosts_file: self.ssh_known_hosts_file.clone(),
            login: self.login.clone(),
            committer_name: self.committer_name.clone(),
            committer_email: self.committer_email.clone(),
            local_deadline: self.local_deadline,
            mask: Arc::clone(&self.mask),
        }
    }
}

/// How git is run for a repository, and what it shows to its remote.
#[derive(Debug, Clone)]
pub struct Access {
    /// The program.
    pub git: Git,
    /// The remote repository's address, without a credential in it.
    pub remote: String,
    /// The private key for ssh; none: what the user's own ssh configuration says.
    pub ssh_key_file: Option<PathBuf>,
    /// The known hosts for ssh; none: the user's own.
    pub ssh_known_hosts_file: Option<PathBuf>,
    /// The login for http and https; none: what git's own configuration says.
    pub login: Option<DatasetLogin>,
    /// Who commits: a pseudonym.
    pub committer_name: String,
    /// The address that goes with it.
    pub committer_email: String,
    /// How long work on this machine alone may take.
    pub local_deadline: Duration,
    /// Hides every secret of the configuration.
    pub mask: Arc<Mask>,
}

/// How readers get at a dataset's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publish {
    /// They read the checkout itself.
    InPlace,
    /// They follow one symlink that is swapped between whole worktrees.
    Worktree {
        /// The symlink, absolute.
        link: PathBuf,
        /// The folder where the worktrees stand, absolute, tagalong's own.
        dir: PathBuf,
        /// How long a worktree stays after the symlink has left it.
        keep: Duration,
    },
}

/// How git is run.
#[derive(Debug, Clone)]
pub struct Git {
    /// The program: a name looked up in `path`, or a path.
    pub program: String,
    /// `PATH` of every git.
    pub path: String,
    /// `HOME` of every git: its configuration there may give credentials, proxies and rewritten addresses.
    pub home: String,
    /// Whether the kernel keeps git to the checkout.
    pub confine: Confine,
}

/// Whether a git that works on a checkout may touch nothing but the checkout and our own folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confine {
    /// Where the kernel can keep it to that.
    WherePossible,
    /// Else nothing is done with the checkout at all.
    Always,
    /// Not: for a git that needs files elsewhere.
    Never,
}

/// A login for http and https. The file is read before every call, so a rotated secret is picked up.
#[derive(Debug, Clone)]
pub struct DatasetLogin {
    /// The user; forges that take tokens take any.
    pub user: String,
    /// The file that holds the password or token; white space at its end does not count.
    pub secret_file: PathBuf,
}
