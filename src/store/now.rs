//! The database's clock, which all servers of one database share.

/// A statement with the database's time (ms since 1970) between its two parts. For SQLite that is this host's clock.
macro_rules! by_the_databases_clock {
    ($store:expr, $before:literal, $after:literal) => {
        if $store.is_sqlite {
            concat!($before, "CAST(unixepoch('subsec') * 1000 AS BIGINT)", $after)
        } else {
            concat!($before, "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)", $after)
        }
    };
}
pub(super) use by_the_databases_clock;
