#!/usr/bin/env bash
# How long a release takes with tagalong, beside the same release by raw docker compose, in one run on one machine.
#
#   tests/rig/bench.sh [ROUNDS]      default 10; brings the demo up first if it is not
#
# Both sides pull, bring up and wait until the same images are healthy, in stacks that are alike. tagalong also asks the
# registry, resolves the stack, pins durably, looks at the page through the proxy and records every step.
# The figures are medians; only their ratio means anything on another machine.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"

rounds=${1-10}
state=${CARGO_TARGET_DIR:-$root/target}/demo
[[ -s $state/addresses ]] || "$root/tests/demo/demo.sh" up
# shellcheck source=/dev/null
. "$state/addresses"
: "${binary:?}"
work=$(mktemp -d)
trap 'docker compose --project-name tagalong-bench --project-directory "$work" down --volumes --timeout 1 >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

# The demo's stack once more, not behind the proxy.
sed -e '/labels:/,/port:/d' "$state/stack/compose.yml" >"$work/compose.yml"

ms() { printf '%d\n' $(($(date +%s%N) / 1000000)); }

timed() {
    local begun
    begun=$(ms)
    "$@" >"$work/log" 2>&1 || die "'$*' failed: $(tail -n 5 "$work/log")"
    printf '%d\n' $(($(ms) - begun))
}

by_compose() {
    sed "s/^SITE_TAG=.*/SITE_TAG=$1/" "$state/stack/.env" >"$work/.env"
    (cd "$work" && docker compose --project-name tagalong-bench pull --quiet web && docker compose --project-name tagalong-bench up --detach --wait)
}

by_tagalong() { "$binary" --config "$state/tagalong.toml" deploy demo "$1" --wait; }

median() { sort -n "$1" | awk '{ a[NR] = $1 } END { printf "%d\n", (a[int((NR + 1) / 2)] + a[int(NR / 2) + 1]) / 2 }'; }

# One untimed round each, so that both begin from a running stack.
for way in by_compose by_tagalong; do "$way" 1f0c9e2 >"$work/log" 2>&1 || die "$way: $(tail -n 5 "$work/log")"; done
tags=(2a7d410 1f0c9e2)
for ((round = 0; round < rounds; round++)); do
    for way in by_compose by_tagalong; do
        timed "$way" "${tags[round % 2]}" >>"$work/$way"
    done
done
a=$(median "$work/by_compose")
b=$(median "$work/by_tagalong")
printf 'one release, median of %d   raw docker compose %d ms   tagalong %d ms   ratio %.2f\n' "$rounds" "$a" "$b" "$(awk "BEGIN { print $b / $a }")"
printf 'memory of tagalong serve    %d MiB resident\n' $(($(awk '/^VmRSS/ { print $2 }' "/proc/$(<"$state/pid")/status") / 1024))
