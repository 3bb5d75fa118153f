#!/usr/bin/env bash
# Runs every workflow of workflows/ for real against the demo that is up: a job ends green only for a live release,
# a rollback holds the service against the next deploy, a wrong secret gets nowhere, and a page is looked at from outside.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/rig/lib.sh
. "$root/tests/rig/lib.sh"
cd "$root"

state=${CARGO_TARGET_DIR:-$root/target}/demo
[[ -s $state/addresses ]] || die "there is no demo: run make demo first"
# shellcheck source=/dev/null
. "$state/addresses"
export TAGALONG_URL=http://127.0.0.1:$port
TAGALONG_SECRET=$(<"$state/ci.secret")
export TAGALONG_SECRET
passed=0
: "${port:?}" "${site_port:?}" "${binary:?}"

# job GREEN|RED TAG-THAT-SERVES-AFTERWARDS TEXT-IN-THE-LOG WORKFLOW INPUT…
job() {
    local wanted=$1 serves=$2 text=$3 ended=green log=$state/workflow.log found
    shift 3
    tests/rig/workflow.sh "$@" >"$log" 2>&1 || ended=red
    [[ ${ended^^} == "$wanted" ]] || die "$* ended $ended: $(tail -n 20 "$log")"
    grep -qF -- "$text" "$log" || die "$* did not say '$text': $(tail -n 20 "$log")"
    ! grep -qF -- "${TAGALONG_SECRET#whsec_}" "$log" || die "$* showed the secret"
    found=$(curl --silent --show-error --fail --max-time 5 --cacert "$state/ca.crt" --connect-to "::127.0.0.1:$site_port" "https://site.localhost:$site_port/version")
    [[ $found == "$serves" ]] || die "after $* the proxy serves $found, not $serves"
    say "as it should: $* ended $ended, $serves serves"
    passed=$((passed + 1))
}

job GREEN 1f0c9e2 'live' workflows/github/deploy.yml service=demo tag=1f0c9e2
job RED 1f0c9e2 'rolled back' workflows/github/deploy.yml service=demo tag=3bad5c1
# shellcheck disable=SC2016
job GREEN 2a7d410 'live' workflows/forgejo/deploy.yml service=demo tag=2a7d410 'reason=a "reason" with $(signs) & an é'
job GREEN 1f0c9e2 'live' workflows/github/rollback.yml service=demo
job RED 1f0c9e2 'has held demo since' workflows/forgejo/deploy.yml service=demo tag=2a7d410
"$binary" --config "$state/tagalong.toml" resume demo >&2
job GREEN 2a7d410 'live' workflows/forgejo/rollback.yml service=demo tag=2a7d410
"$binary" --config "$state/tagalong.toml" resume demo >&2
job RED 2a7d410 'with 404' workflows/github/deploy.yml service=demo tag=1f0c9e2 "url=$TAGALONG_URL/nowhere"

# The smoke workflow needs no server; the runner has the program in its PATH.
mkdir -p "$state/program"
ln -sf "$(realpath "$binary")" "$state/program/tagalong"
PATH=$state/program:$PATH
page=(--ca-file "$state/ca.crt" --within-s 5 --connect-to "127.0.0.1:$site_port")
job GREEN 2a7d410 'passes: 0 findings' workflows/github/smoke.yml "url=https://site.localhost:$site_port/" "flags=${page[*]} --release-path /version --release-text" release=2a7d410
job RED 2a7d410 'does not show the tag 1f0c9e2' workflows/github/smoke.yml "url=https://site.localhost:$site_port/" "flags=${page[*]} --release-path /version --release-text" release=1f0c9e2
job RED 2a7d410 'answers with status 404 instead of 200' workflows/forgejo/smoke.yml "url=https://site.localhost:$site_port/nowhere" "flags=${page[*]}"

TAGALONG_SECRET=whsec_$(openssl rand -base64 32)
job RED 2a7d410 'with 401' workflows/github/deploy.yml service=demo tag=1f0c9e2
printf 'workflows: %d passed, 0 failed\n' "$passed"
