#!/usr/bin/env bash
# Runs one of our workflows for real, on this machine and without a forge, against a running tagalong.
#
#   TAGALONG_URL=… TAGALONG_SECRET=whsec_… tests/rig/workflow.sh workflows/github/deploy.yml service=web tag=1f0c9e2
#
# Inputs are NAME=VALUE. The exit code is 0 when the job ended green, 1 when it ended red; the job's output is printed.
# The workflow is dispatched by hand, as the forge would, in an empty repository of its own.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"

workflow=${1-}
[[ -f $workflow ]] || die "usage: workflow.sh FILE [NAME=VALUE…]"
shift
: "${TAGALONG_URL:?name the server}" "${TAGALONG_SECRET:?name the key}"
have act || die "there is no act command: run tests/rig/install.sh workflow"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/repo/.github/workflows" "$work/cache"
cp "$workflow" "$work/repo/.github/workflows/order.yml"
git -C "$work/repo" init --quiet --initial-branch main
git -C "$work/repo" remote add origin https://github.com/acme/web.git
git -C "$work/repo" -c user.name=demo -c user.email=demo@example.com commit --quiet --allow-empty -m "A commit to deploy"

inputs=()
for input in "$@"; do inputs+=(--input "$input"); done
# The secret goes by a file, not by an argument that every process on the machine could read.
printf 'TAGALONG_SECRET=%s\n' "$TAGALONG_SECRET" >"$work/secrets"
printf 'TAGALONG_URL=%s\n' "$TAGALONG_URL" >"$work/vars"

# Both runner labels mean this machine: no container, no download. Each run has a number of its own, as on a forge.
cd "$work/repo"
XDG_CACHE_HOME=$work/cache act workflow_dispatch -W .github/workflows/order.yml \
    -P ubuntu-latest=-self-hosted -P docker=-self-hosted --no-cache-server \
    --env "GITHUB_RUN_ID=$(date +%s%N)" --env "GITHUB_RUN_NUMBER=${RUN_NUMBER:-$(date +%s)}" \
    --secret-file "$work/secrets" --var-file "$work/vars" "${inputs[@]}" </dev/null
