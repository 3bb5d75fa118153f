#!/usr/bin/env bash
# Runs one of our workflows for real, on this machine and without a forge, against a running tagalong.
#
#   TAGALONG_URL=… TAGALONG_SECRET=whsec_… tests/rig/workflow.sh workflows/github/deploy.yml service=web tag=1f0c9e2
#
# Inputs are NAME=VALUE. The exit code is 0 when the job ended green, 1 when it ended red; the job's output is printed.
# The workflow is dispatched by hand, as the forge would, in an empty repository of its own; its action is the one of this clone.
# A signal to this process is a job that is cancelled. Each line NAME=VALUE of ACT_ENV is a variable of the job, as
# a runner sets it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"
root=$(cd "$here/../.." && pwd)

workflow=${1-}
[[ -f $workflow ]] || die "usage: workflow.sh FILE [NAME=VALUE…]"
shift
: "${TAGALONG_URL:?name the server}" "${TAGALONG_SECRET?name the key, or set it to nothing for a job without a secret}"
have act || die "there is no act command: run tests/rig/install.sh workflow"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/repo/.github/workflows" "$work/cache" "$work/tagalong"
cp -r "$root/action.yml" "$root/workflows" "$work/tagalong/"
# What an operator writes into "uses": where the action is. The runner here knows neither Forgejo's full addresses nor its own key.
commit=$(printf '0%.0s' {1..40})
sed -e "s|uses: .*/tagalong@0*|uses: acme/tagalong@$commit|" -e '/^ *enable-openid-connect:/d' "$workflow" >"$work/repo/.github/workflows/order.yml"
git -C "$work/repo" init --quiet --initial-branch main
git -C "$work/repo" remote add origin https://github.com/acme/web.git
git -C "$work/repo" -c user.name=demo -c user.email=demo@example.com commit --quiet --allow-empty -m "A commit to deploy"

inputs=()
for input in "$@"; do inputs+=(--input "$input"); done
# The secret goes by a file, not by an argument that every process on the machine could read.
printf '%s\n' "${TAGALONG_SECRET:+TAGALONG_SECRET=$TAGALONG_SECRET}" >"$work/secrets"
printf 'TAGALONG_URL=%s\n' "$TAGALONG_URL" >"$work/vars"

job_env=()
while IFS= read -r line; do
    if [[ $line ]]; then job_env+=(--env "$line"); fi
done <<<"${ACT_ENV:-}"

# Both runner labels mean this machine: no container, no download. Each run has a number of its own, as on a forge.
cd "$work/repo"
XDG_CACHE_HOME=$work/cache act workflow_dispatch -W .github/workflows/order.yml \
    -P ubuntu-latest=-self-hosted -P docker=-self-hosted --no-cache-server --local-repository "acme/tagalong@$commit=$work/tagalong" \
    --env "GITHUB_RUN_ID=$(date +%s%N)" --env "GITHUB_RUN_NUMBER=${RUN_NUMBER:-$(date +%s)}" "${job_env[@]}" \
    --secret-file "$work/secrets" --var-file "$work/vars" "${inputs[@]}" </dev/null &
act=$!
trap 'kill -INT "$act" 2>/dev/null || true' INT TERM
# A signal ends the first wait, and act has then still to end.
wait "$act" && code=0 || code=$?
if kill -0 "$act" 2>/dev/null; then wait "$act" && code=0 || code=$?; fi
exit "$code"
