//! What a reconcile does, decided only from what was observed.

use crate::model::Commit;

/// What was observed about the local and the remote branch. Numbers are numbers of commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// The local branch; none: it does not exist yet.
    pub(super) local: Option<Commit>,
    /// The remote's tip.
    pub(super) remote: Commit,
    /// Commits in `local` that are not in `remote`.
    pub(super) ahead: u64,
    /// Those of them that the remote never had, as far as we have seen: our own work.
    pub(super) own: u64,
    /// Commits in `remote` that are not in `local`.
    pub(super) behind: u64,
    /// Whether the two have a common ancestor, or our own work has one with what the remote had.
    pub(super) related: bool,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Rest,
    /// The branch moves to the remote's tip; nothing is lost by it.
    FastForward,
    /// The branch moves to the remote's tip; the commits that are lost by it came from the remote and were removed there.
    FollowRewrite,
    /// Our own commits are pushed unchanged.
    Push,
    /// Our own commits are rebased onto the remote's tip, all or none.
    CarryOver,
    /// Our own work is parked as a whole, then the branch moves to the remote's tip.
    Park,
}

/// The table of reconciles.
pub(super) fn decide(facts: &Facts) -> Next {
    let Some(local) = &facts.local else { return Next::FastForward };
    if *local == facts.remote {
        return Next::Rest;
    }
    match (facts.ahead, facts.own, facts.behind) {
        (0, _, _) => Next::FastForward,
        (_, 0, _) => Next::FollowRewrite,
        // Commits that the remote had and has removed must not be pushed back below our own.
        (ahead, own, 0) if ahead == own => Next::Push,
        _ if facts.related => Next::CarryOver,
        _ => Next::Park,
    }
}

#[cfg(test)]
mod tests {
    use super::Facts;
    use super::Next;
    use super::decide;
    use crate::model::Commit;

    fn commit(digit: &str) -> Commit {
        Commit::parse(&digit.repeat(40)).expect("a commit")
    }

    fn facts(ahead: u64, own: u64, behind: u64) -> Facts {
        Facts { local: Some(commit("a")), remote: commit("b"), ahead, own, behind, related: true }
    }

    #[test]
    fn the_same_rests() {
        assert_eq!(decide(&Facts { remote: commit("a"), ..facts(0, 0, 0) }), Next::Rest);
    }

    #[test]
    fn a_branch_that_is_not_born_takes_the_remotes() {
        assert_eq!(decide(&Facts { local: None, ..facts(0, 0, 3) }), Next::FastForward);
    }

    #[test]
    fn behind_follows_and_ahead_pushes() {
        assert_eq!(decide(&facts(0, 0, 2)), Next::FastForward);
        assert_eq!(decide(&facts(2, 2, 0)), Next::Push);
    }

    #[test]
    fn diverged_carries_over() {
        assert_eq!(decide(&facts(2, 2, 1)), Next::CarryOver);
    }

    #[test]
    fn rewritten_without_work_of_our_own_follows() {
        assert_eq!(decide(&facts(2, 0, 1)), Next::FollowRewrite);
        assert_eq!(decide(&Facts { related: false, ..facts(2, 0, 1) }), Next::FollowRewrite);
        // The remote was reset to an older commit.
        assert_eq!(decide(&facts(2, 0, 0)), Next::FollowRewrite);
    }

    #[test]
    fn rewritten_with_work_of_our_own_carries_only_that() {
        assert_eq!(decide(&facts(3, 1, 1)), Next::CarryOver);
        assert_eq!(decide(&facts(3, 1, 0)), Next::CarryOver);
    }

    #[test]
    fn unrelated_work_is_parked() {
        assert_eq!(decide(&Facts { related: false, ..facts(2, 2, 5) }), Next::Park);
    }
}
