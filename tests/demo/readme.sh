#!/usr/bin/env bash
# The five-minute start for data, as docs/data.md has it: as a script, and pasted into an interactive bash on a terminal; with an
# empty home, no git identity, and a program on the port that it would like to have.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/rig/lib.sh
. "$root/tests/rig/lib.sh"

place=$(mktemp -d)
taken=
finish() {
    local code=$?
    if [[ $taken ]]; then kill "$taken" 2>/dev/null || true; fi
    if ((code)); then for file in "$place"/*.out; do if [[ -s $file ]]; then say "--- ${file##*/}" && tail -n 40 "$file" >&2; fi; done; fi
    rm -rf "$place"
}
trap finish EXIT

mkdir "$place/home" "$place/tmp"
awk '/^## Five-minute start, with a bare repository/ { found = 1 } found && /^```$/ { exit } inside { print } found && /^```bash$/ { inside = 1 }' \
    "$root/docs/data.md" >"$place/block"
[[ $(wc -l <"$place/block") -gt 20 ]] || die "the five-minute start for data was not found"

# What a machine has where nobody has set anything up, but for Rust.
bare() {
    (cd "$root" && exec env -i PATH="$PATH" HOME="$place/home" TMPDIR="$place/tmp" TERM=dumb GIT_CONFIG_NOSYSTEM=1 \
        CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" CARGO_INCREMENTAL=0 \
        ${CARGO_TARGET_DIR:+CARGO_TARGET_DIR="$CARGO_TARGET_DIR"} "$@")
}

holds() {
    grep -q '"files":\["second.md"\]' "$place/$1.out" || die "$1: the second note was not found"
    grep -q 'serves [0-9a-f]\{40\}' "$place/$1.out" || die "$1: nobody serves it"
    [[ -z $(ls "$place/tmp") ]] || die "$1: something of it is left: $(ls "$place/tmp")"
}

say "the five-minute start for data, as a script"
bare bash "$place/block" >"$place/script.out" 2>&1 || die "as a script it ended with $?"
holds script

say "the same, pasted into an interactive bash, while the port it would take is in use"
git init --quiet --initial-branch=main "$place/taken"
echo note >"$place/taken/note.md"
git -C "$place/taken" add .
git -C "$place/taken" -c user.name=me -c user.email=me@localhost commit --quiet --message note
"${CARGO_TARGET_DIR:-$root/target}/debug/examples/searchable" --data "$place/taken" --listen 127.0.0.1:8080 >/dev/null 2>&1 &
taken=$!
in_use() { (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null; }
wait_for 30 "somebody to take port 8080" in_use
{
    cat "$place/block"
    printf 'exit $?\n'
} >"$place/paste"
bare script --quiet --return --command "bash --noprofile --norc -i" /dev/null <"$place/paste" >"$place/pasted.out" 2>&1 ||
    die "pasted it ended with $?"
holds pasted
say "the five-minute start for data holds"
