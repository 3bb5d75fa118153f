#!/usr/bin/env bash
# How a full store is borne, on both databases: pages, start, idle time, and orders while old things are forgotten.
#
#   tests/rig/load.sh [DEPLOYMENTS [SECONDS [DATABASE…]]]      default 1000000 60 sqlite postgres
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

"$here/install.sh" tests
(cd "$root" && cargo build --release --locked)
"$root/bench/load.py" "${CARGO_TARGET_DIR:-$root/target}/release/tagalong" "$@"
