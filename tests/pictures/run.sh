#!/bin/sh
# Pictures of the dashboard with a history of ninety days: run.sh FOLDER. The binary is TAGALONG, playwright-core lies in PLAYWRIGHT.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tagalong=${TAGALONG:-$here/../../target/debug/tagalong}
world=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$world"' EXIT
serve() {
    "$tagalong" serve --config "$world/tagalong.toml" >"$world/log" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        address=$(sed -n 's/.*serving.*\(127\.0\.0\.1:[0-9]*\).*/\1/p' "$world/log" | head -n 1)
        [ -n "$address" ] && [ -S "$world/tagalong.sock" ] && return
        sleep 0.1
    done
    cat "$world/log" >&2
    exit 1
}
python3 "$here/world.py" make "$world"
serve
"$tagalong" --socket "$world/tagalong.sock" user add ada --scope 'deploy:*' --scope 'rollback:*' --scope 'approve:*' --scope read >/dev/null
kill "$server"
wait "$server" || true
python3 "$here/world.py" fill "$world"
serve
code=$("$tagalong" --socket "$world/tagalong.sock" user code ada | grep -oE '[A-Z0-9]{4}(-[A-Z0-9]{4})+' | head -n 1)
[ -z "${WAIT:-}" ] || { echo "http://$address $code $world"; sleep "$WAIT"; }
node "$here/shoot.mjs" "http://$address" "$code" "$1"
