#!/usr/bin/env bash
# Reloads of data on this machine, from nothing to nothing: two pods serve the notes of a git repository from memory, a push
# reaches both, an edit that does not fit is parked, and a pod that was killed catches up.
#
# A pod is an app (examples/searchable.rs) that `tagalong data sync` starts, with `tagalong serve` beside it. Everything is
# looked at from outside, and the first surprise ends it with an error. Nothing of it stays.
# TAGALONG_BIN names a binary that is built already; the example is then looked for in examples/ beside it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/rig/lib.sh
. "$root/tests/rig/lib.sh"

target=${CARGO_TARGET_DIR:-$root/target}
place=$(mktemp -d)
heading() { if [[ -t 1 ]]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi; }
tell() { printf '    %s\n' "$*"; }
shown() { sed 's/^/    | /'; }
expect() { [[ $2 == "$3" ]] || die "surprise: $1 should be '$2' and is '$3'"; }

# Programs that were started here, and nothing else.
finish() {
    local code=$? file
    for file in "$place"/*.pid; do
        [[ -e $file ]] || continue
        stop "$file" "$([[ $file == *-app.pid ]] && echo searchable || echo tagalong)" 20
    done
    if ((code)); then
        for file in "$place"/*.log; do if [[ -s $file ]]; then say "--- ${file##*/}" && tail -n 15 "$file" >&2; fi; done
    fi
    rm -rf "$place"
    if ((code == 0)); then say "the demo held, after $SECONDS s, and nothing of it is left"; fi
}
trap finish EXIT

# git as somebody, with no configuration but ours.
as() {
    local who=$1
    shift
    GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=$who GIT_AUTHOR_EMAIL=$who@example.com GIT_COMMITTER_NAME=$who \
        GIT_COMMITTER_EMAIL=$who@example.com git "$@"
}

binaries() {
    heading "tagalong and the example app"
    binary=${TAGALONG_BIN:-}
    if [[ ! $binary ]]; then
        have cargo || die "missing: cargo, to build tagalong (Rust 1.95 or newer)"
        (cd "$root" && built "$place/build.log" --locked --workspace --bin tagalong --example searchable) || die "tagalong could not be built: see above, or $place/build.log"
        binary=$target/debug/tagalong
    fi
    app=$(dirname "$binary")/examples/searchable
    [[ -x $app ]] || die "missing: $app; build it with cargo build --example searchable"
    have git || die "missing: git 2.38 or newer"
    tell "$("$binary" --version), $(git --version)"
}

remote() {
    heading "A bare repository with a first note"
    as ada init --quiet --bare --initial-branch=main "$place/notes.git"
    as ada clone --quiet "$place/notes.git" "$place/ada" 2>/dev/null
    as ada -C "$place/ada" checkout --quiet -B main
    push one.md "the first note"
    tell "$place/notes.git at $commit"
}

# push FILE TEXT: somebody pushes a commit; it is in $commit afterwards.
push() {
    printf '%s\n' "$2" >"$place/ada/$1"
    as ada -C "$place/ada" add --all
    as ada -C "$place/ada" commit --quiet --message "$2"
    as ada -C "$place/ada" push --quiet origin main
    commit=$(as ada -C "$place/ada" rev-parse HEAD)
}

# configure POD OTHER: the configuration of a pod whose peer is the other one.
configure() {
    local pod=$1 other=$2
    cat >"$place/$pod.toml" <<TOML
version = 1
[server]
listen = ["127.0.0.1:${port[$pod]}"]
socket = "$pod.sock"
data_dir = "$pod-state"
[[key]]
id = "pods"
secret_file = "pods.secret"
scopes = ["reload:notes"]
[dataset.notes]
dir = "$pod-notes"
remote = "file://$place/notes.git"
publish = "worktree"
interval_s = 0                # only calls bring anything new, so that the demo shows what a call does
reload_secret_file = "reload.secret"
[dataset.notes.on_change]
url = "http://127.0.0.1:${app_port[$pod]}/reload"
[dataset.notes.verify]
url = "http://127.0.0.1:${app_port[$pod]}/version"
json = "/commit"
[[dataset.notes.peer]]
urls = ["http://127.0.0.1:${port[$other]}"]
secret_file = "pods.secret"
TOML
}

# start POD: the app as its entrypoint starts it, and the server beside it.
start() {
    local pod=$1
    (cd "$place" && exec setsid "$binary" --config "$pod.toml" data sync --once -- "$app" --data "$pod-notes.current" \
        --listen "127.0.0.1:${app_port[$pod]}" </dev/null >>"$pod-app.log" 2>&1) &
    printf '%s\n' "$!" >"$place/$pod-app.pid"
    wait_for 60 "the app of $pod" version "$pod"
    (cd "$place" && exec setsid "$binary" --config "$pod.toml" serve </dev/null >>"$pod.log" 2>&1) &
    printf '%s\n' "$!" >"$place/$pod.pid"
    wait_for 60 "the server of $pod" curl --silent --fail "http://127.0.0.1:${port[$pod]}/readyz"
}

version() { curl --silent --fail --max-time 5 "http://127.0.0.1:${app_port[$1]}/version" | sed -n 's/.*"commit":"\([0-9a-f]*\)".*/\1/p' | grep .; }
serves() { [[ $(version "$1") == "$2" ]]; }
status() { "$binary" --config "$place/$1.toml" data status --json; }
has() { status "$1" | grep -q "$2"; }

binaries
remote
declare -A port app_port
port[one]=$(free_port 8801) port[two]=$(free_port $((port[one] + 1)))
app_port[one]=$(free_port $((port[two] + 1))) app_port[two]=$(free_port $((app_port[one] + 1)))
(cd "$place" && "$binary" key new pods --out pods.secret >/dev/null && "$binary" key new reload --bearer --out reload.secret >/dev/null)
configure one two
configure two one

heading "Two pods: the app behind tagalong data sync, tagalong serve beside it"
start one
start two
expect "what pod one serves" "$commit" "$(version one)"
expect "what pod two serves" "$commit" "$(version two)"
tell "both serve $commit"

heading "A push, and one call to pod one: both serve it"
push two.md "the second note"
printf 'header = "Authorization: Bearer %s"\n' "$(<"$place/reload.secret")" |
    curl --config - --silent --show-error --fail --header 'content-type: application/json' \
        --data "{\"branch\":\"main\",\"commitHash\":\"$commit\"}" "http://127.0.0.1:${port[one]}/api/_internal/reload-data" | shown
echo
expect "what pod one serves" "$commit" "$(version one)"
wait_for 60 "pod two to hear of it" serves two "$commit"
tell "pod one was called, pod two heard of it from pod one; both serve $commit"

# notify FORGE: the workflow of that forge, by the real runner, on a push that nobody has told of.
notify() {
    local log=$place/notify.log
    push "$1.md" "a note for $1"
    printf 'TAGALONG_RELOAD_SECRET=%s\n' "$(<"$place/reload.secret")" >"$place/act.secrets"
    # As an operator writes the pods into the file.
    sed -e "s|https://pod-1.example.com|http://127.0.0.1:${port[one]}|" -e "s|https://pod-2.example.com|http://127.0.0.1:${port[two]}|" \
        "$root/workflows/$1/notify-pods.yml" >"$place/notify-pods.yml"
    (cd "$place/ada" && XDG_CACHE_HOME=$place/act-cache act push -W "$place/notify-pods.yml" -P ubuntu-latest=-self-hosted \
        -P docker=-self-hosted --no-cache-server --secret-file "$place/act.secrets" </dev/null >"$log" 2>&1) ||
        die "the workflow of $1 ended red: $(tail -n 20 "$log")"
    ! grep -qF -- "$(<"$place/reload.secret")" "$log" || die "the workflow of $1 showed the secret"
    grep -o 'http://127.0.0.1:[0-9]*: 200 .*' "$log" | cut -c 1-120 | shown
    expect "what pod one serves" "$commit" "$(version one)"
    expect "what pod two serves" "$commit" "$(version two)"
    # A commit that no server serves, by a push to a branch that they do not follow or to none: red.
    local lone
    lone=$(as ada -C "$place/ada" commit-tree -m "nobody has it" 'HEAD^{tree}')
    as ada -C "$place/ada" update-ref refs/heads/main "$lone"
    if (cd "$place/ada" && XDG_CACHE_HOME=$place/act-cache act push -W "$place/notify-pods.yml" -P ubuntu-latest=-self-hosted \
        -P docker=-self-hosted --no-cache-server --secret-file "$place/act.secrets" </dev/null >"$log" 2>&1); then
        die "the workflow of $1 ended green for a commit that no server has: $(tail -n 20 "$log")"
    fi
    grep -q 'not_contained' "$log" || die "the workflow of $1 ended red for another reason: $(tail -n 20 "$log")"
    as ada -C "$place/ada" update-ref refs/heads/main "$commit"
    tell "and ends red for a commit that no server has"
}
if have act; then
    heading "The workflow that a data repository copies calls both pods"
    notify github
    notify forgejo
else
    tell "no workflow runner is here (tests/rig/install.sh workflow), so the workflow is not played"
fi

heading "Two edits of the same line: the one that came later is parked, on the remote, and nothing is lost"
mv "$place/notes.git" "$place/away.git"
printf 'as pod one has it\n' >"$place/one-notes/one.md"
as pod -C "$place/one-notes" commit --quiet --all --message "an edit through pod one"
ours=$(as pod -C "$place/one-notes" rev-parse HEAD)
mv "$place/away.git" "$place/notes.git.new"
as ada -C "$place/ada" remote set-url origin "$place/notes.git.new"
push one.md "as ada has it"
as ada -C "$place/ada" remote set-url origin "$place/notes.git"
mv "$place/notes.git.new" "$place/notes.git"
"$binary" --config "$place/one.toml" reload notes --commit "$commit" --all-peers --wait | shown
expect "what pod one serves" "$commit" "$(version one)"
parked=$(as ada -C "$place/notes.git" for-each-ref --format='%(refname:short)' refs/heads/conflicts)
expect "the commit that is parked" "$ours" "$(as ada -C "$place/notes.git" rev-parse "$parked")"
"$binary" --config "$place/one.toml" data status | shown

heading "Pod two is killed; a push; pod one is called and remembers what pod two is owed"
kill -KILL "$(<"$place/two.pid")" "$(<"$place/two-app.pid")"
wait_for 20 "the end of pod two" bash -c "! kill -0 $(<"$place/two.pid") 2>/dev/null"
push three.md "the third note"
code=0
"$binary" --config "$place/one.toml" reload notes --commit "$commit" --all-peers | shown || code=$?
expect "the exit code (18: only some serve it)" 18 "$code"
has one '"owed": \[$' || die "surprise: pod one does not say what it owes"

heading "Pod two is back: its entrypoint catches up, and the debt is settled"
start two
wait_for 60 "pod two to catch up" serves two "$commit"
settled() { has one '"owed": \[\]'; }
wait_for 90 "the debt to be settled" settled
expect "what pod one serves" "$commit" "$(version one)"
tell "both serve $commit; nothing is owed"
"$binary" --config "$place/two.toml" data status | shown
