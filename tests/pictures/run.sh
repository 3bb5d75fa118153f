#!/bin/sh
# Pictures of the dashboard with a history of ninety days: run.sh FOLDER. The binary is TAGALONG, playwright-core lies in PLAYWRIGHT.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tagalong=${TAGALONG:-$here/../../target/debug/tagalong}
world=$(mktemp -d)
server=
agent=
leave() {
    for one in $server $agent; do kill "$one" 2>/dev/null || true; done
    rm -rf "$world"
}
trap leave EXIT
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
"$tagalong" --socket "$world/tagalong.sock" user add ada --scope 'deploy:*' --scope 'rollback:*' --scope 'approve:*' --scope 'reload:*' --scope read >/dev/null
on_socket() { "$tagalong" --socket "$world/tagalong.sock" "$@" >/dev/null; }
on_socket user add grace --scope 'deploy:shop' --scope read
on_socket user add linus --scope read
on_socket user disable linus
# A real agent, by a code, on the same machine.
"$tagalong" --socket "$world/tagalong.sock" agent token micro >"$world/code" 2>/dev/null
"$tagalong" --config "$world/micro/tagalong.toml" agent enrol --url "http://$address" --code-file "$world/code" >"$world/agent" 2>/dev/null
"$tagalong" --config "$world/micro/tagalong.toml" serve >"$world/micro.log" 2>&1 &
agent=$!
for _ in $(seq 100); do [ ! -S "$world/micro/tagalong.sock" ] || break; sleep 0.1; done
kill "$server" "$agent"
wait "$server" || true
wait "$agent" || true
python3 "$here/world.py" fill "$world"
serve
printf '[agent]\nname = "micro"\nurl = "http://%s"\n' "$address" >>"$world/micro/tagalong.toml"
"$tagalong" --config "$world/micro/tagalong.toml" serve >"$world/micro.log" 2>&1 &
agent=$!
for _ in $(seq 100); do
    "$tagalong" --socket "$world/tagalong.sock" agent list | grep -q 'micro.*online' && break
    sleep 0.2
done
code=$("$tagalong" --socket "$world/tagalong.sock" user code ada | grep -oE '[A-Z0-9]{4}(-[A-Z0-9]{4})+' | head -n 1)
[ -z "${WAIT:-}" ] || { echo "http://$address $code $world"; sleep "$WAIT"; }
node "$here/shoot.mjs" "http://$address" "$code" "$1"
