#!/bin/sh
# A PostgreSQL cluster for one test process, on a unix socket in a folder of its own. It says that folder when it answers,
# and goes, folder and all, when its standard input ends: so whenever and however the test process ends.
set -eu
for bin in /usr/lib/postgresql/*/bin; do
    PATH=$bin:$PATH
done
dir=$(mktemp -d /tmp/tagalong-pg.XXXXXX)
initdb -D "$dir/data" -A trust -U tagalong -E UTF8 --no-sync >"$dir/log" 2>&1 || { tr '\n' ' ' <"$dir/log"; exit 1; }
postgres -D "$dir/data" -k "$dir" -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=150 -c autovacuum=off \
    >>"$dir/log" 2>&1 </dev/null &
until pg_isready -q -h "$dir"; do
    kill -0 $! || { tr '\n' ' ' <"$dir/log"; exit 1; }
    sleep 0.05
done
echo "$dir"
exec >/dev/null 2>&1
cat || true
kill -INT $! || true
wait || true
rm -rf "$dir"
