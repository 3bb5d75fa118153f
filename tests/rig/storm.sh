#!/usr/bin/env bash
# A storm on a Docker daemon of its own: kills, stops, full disks, a registry that goes away, hands that meddle.
#
#   [ROUNDS=4] [SEED=…] tests/rig/storm.sh [TEST…]   one_server_keeps_its_promises, two_servers_keep_their_promises, a_control_plane_and_its_agent_keep_their_promises; all by default
#
# Each prints its seed, which replays its dice. ROUNDS=500 takes hours.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"
cd "$here/../.."

"$here/install.sh" docker registry tests
started_docker=
finish() { if [[ $started_docker ]]; then "$here/docker.sh" down; fi; }
trap finish EXIT
if ! "$here/docker.sh" status >/dev/null 2>&1; then
    started_docker=1
    "$here/docker.sh" up
fi
cargo test --locked --test deploy -- --nocapture --test-threads 1 "${@:-storm::}"
