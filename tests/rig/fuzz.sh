#!/usr/bin/env bash
# Fuzzes the page scanner: each target in turn, on one core, with what libFuzzer says at its end.
#
#   tests/rig/fuzz.sh [SECONDS [TARGET…]]   600 seconds each, every target of tests/fuzz
#
# What it learns is kept in the rig's cache and used again; only the small seeds are in the repository. An input that breaks
# something is kept in tests/fuzz/artifacts and named.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"
cd "$here/../.."

seconds=${1:-600}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "'$seconds' is no number of seconds"
(($#)) && shift

"$here/install.sh" fuzz
(($#)) || set -- page css srcset headers
failed=()
for target in "$@"; do
    [[ -d tests/fuzz/seeds/$target ]] || die "unknown target '$target'"
    learnt=$rig/fuzz/corpus/$target
    log=$rig/fuzz/$target.log
    mkdir -p "$learnt"
    say "fuzz: $target for $seconds s"
    nice cargo +nightly fuzz run --fuzz-dir tests/fuzz --target-dir "$rig/fuzz/target" "$target" "$learnt" "tests/fuzz/seeds/$target" \
        -- -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 >"$log" 2>&1 || failed+=("$target")
    # The last state: executions, coverage, size of the corpus.
    grep -E '^#[0-9]+.* (DONE|pulse|REDUCE|NEW) ' "$log" | tail -1 >&2 || true
    grep -E '^stat::|panicked|SUMMARY|Test unit written' "$log" >&2 || true
done
((${#failed[@]} == 0)) || die "fuzz: ${failed[*]} broke: see $rig/fuzz/*.log and tests/fuzz/artifacts"
say "fuzz: nothing broke"
