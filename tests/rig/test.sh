#!/usr/bin/env bash
# Every test, after installing what they need and starting Docker where none answers. A Docker that was started here is
# stopped in the end, one that ran before is left alone. Arguments go to the test runner.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"
cd "$here/../.."

"$here/install.sh" docker registry proxy nginx tests browser workflow
if ! "$here/docker.sh" status 2>/dev/null; then
    trap '"$here/docker.sh" down' EXIT
    "$here/docker.sh" up
fi

# What a change is judged by throws the same dice each time; `make storm` throws others.
export SEED=${SEED:-7} TAGALONG_STORM_SEED=${TAGALONG_STORM_SEED:-7}

if cargo nextest --version >/dev/null 2>&1; then
    # Most tests wait for others most of the time.
    cargo nextest run --locked --workspace --no-fail-fast --test-threads $(($(nproc) + 1)) "$@"
    cargo test --locked --workspace --doc
else
    cargo test --locked --workspace "$@"
fi
