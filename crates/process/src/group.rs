//! A process group and its end.

use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;

/// How long a killed group may take to be gone. What stays longer hangs in the kernel.
const GONE: Duration = Duration::from_secs(1);

/// A process group that ends with this value.
pub(super) struct Group(pub(super) Pid);

impl Group {
    pub(super) fn signal(&self, signal: Signal) {
        // A group that is gone already is what we want.
        let _ = rustix::process::kill_process_group(self.0, signal);
    }

    /// Whether one of the group runs. A zombie does not: it only waits for its new parent, which may never look.
    fn has_living_member(&self) -> bool {
        let group = self.0.as_raw_nonzero().to_string();
        // proc(5): state and process group are the first and third field behind the name, which is in parentheses.
        let lives = |stat: &str| {
            let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
            fields.next().is_some_and(|state| !matches!(state, "Z" | "X")) && fields.nth(1) == Some(&group)
        };
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok()).any(|stat| lives(&stat))
    }

    /// Ends what is left of the group and waits until it is gone: a signal is sent at once, but it is carried out when the
    /// kernel next gives that process its turn.
    pub(super) async fn end(&self) {
        self.signal(Signal::KILL);
        let gone = async {
            while rustix::process::test_kill_process_group(self.0).is_ok() && self.has_living_member() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let _ = tokio::time::timeout(GONE, gone).await;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
