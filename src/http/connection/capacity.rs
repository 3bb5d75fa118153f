//! How many connections this process can have while enough descriptors remain for the database, files and programs.

use crate::config::Server;

/// The limits on connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// All connections over TCP.
    pub connections: usize,
    /// The unauthenticated connections of one address (IPv6: of one /64).
    pub of_one_address: usize,
    /// Connections over a unix socket, which strangers cannot use up.
    pub over_socket: usize,
    /// Followers of journals: fewer than all connections, so that orders are accepted beside them.
    pub followers: usize,
    /// Lines of agents, each of which keeps its connection.
    pub agents: usize,
}

impl Capacity {
    /// The limits of `server`, reduced so that connections use at most half of the `open_files` descriptors.
    #[must_use]
    pub fn of(server: &Server, open_files: usize) -> Self {
        let connections = server.max_connections.min(open_files / 2).max(8);
        Self {
            connections,
            of_one_address: server.max_connections_per_address.min(connections / 2),
            over_socket: (open_files / 8).clamp(8, 256),
            followers: server.max_followers.min(connections / 2),
            agents: connections / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Capacity;
    use crate::config::Config;

    #[test]
    fn half_of_the_descriptors_stay_whatever_is_asked_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("server.toml");
        let text = "version = 1\n[server]\nlisten = [\"127.0.0.1:0\"]\nmax_connections = 2000\nmax_followers = 2000\n";
        std::fs::write(&file, text).expect("a file");
        let server = Config::load(&file).expect("a configuration").server;
        let small = Capacity::of(&server, 1024);
        assert_eq!(small, Capacity { connections: 512, of_one_address: 256, over_socket: 128, followers: 256, agents: 256 });
        assert_eq!(
            Capacity::of(&server, 65_536),
            Capacity { connections: 2000, of_one_address: 512, over_socket: 256, followers: 1000, agents: 1000 }
        );
    }
}
