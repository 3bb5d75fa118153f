#!/usr/bin/env bash
# How quick it is, beside its peers, in one run on one machine. Only ratios and limits mean anything on another.
#
#   tests/rig/bench.sh [ROUNDS]      default 20
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"

"$here/install.sh" docker registry nginx bench browser
dir=$(mktemp -d)
started_docker=
finish() {
    "$here/registry.sh" down --dir "$dir" >/dev/null 2>&1 || true
    rm -rf "$dir"
    if [[ $started_docker ]]; then "$here/docker.sh" down; fi
}
trap finish EXIT
if ! "$here/docker.sh" status >/dev/null 2>&1; then
    started_docker=1
    "$here/docker.sh" up
fi
port=$("$here/registry.sh" up --dir "$dir" | tail -n 1)
"$here/images.sh" "$port" >/dev/null
(cd "$root" && cargo build --release --locked)
tagalong=${CARGO_TARGET_DIR:-$root/target}/release/tagalong
"$root/bench/deploy.py" "$tagalong" "$port" "${1-20}"
"$root/bench/door.py" "$tagalong" "$port"
"$root/bench/followers.py" "$tagalong" "$port"
"$root/bench/smoke.py" "$tagalong" "${1-20}"
"$root/bench/agent.py" "$tagalong" "$port" "${1-20}"
(cd "$root" && cargo bench --locked --bench data)
(cd "$root" && cargo bench --locked --bench oidc)
(cd "$root" && cargo bench --locked --bench agents -- "$tagalong")
