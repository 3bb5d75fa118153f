#!/usr/bin/env bash
# Runs every workflow of workflows/ for real against the demo that is up: a job ends green only for a live release,
# a rollback holds the service against the next deploy, a wrong secret gets nowhere, and a page is looked at from outside.
# A job follows through a proxy that gives up and a tagalong that is killed; a job that is cancelled cancels its order, or leaves it; a job
# without a secret shows the token of its forge.
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
log=$state/workflow.log
started=()
trap '((${#started[@]} == 0)) || kill "${started[@]}" 2>/dev/null || true' EXIT
: "${port:?}" "${site_port:?}" "${binary:?}"

# By the unix socket, as somebody on the host.
tagalong() { env -u TAGALONG_URL -u TAGALONG_SECRET "$binary" --config "$state/tagalong.toml" "$@"; }

# begin WORKFLOW INPUT…: a job that nobody waits for yet.
begin() {
    : >"$log"
    tests/rig/workflow.sh "$@" >>"$log" 2>&1 &
    job=$! what=$*
}

# ended GREEN|RED TEXT-IN-THE-LOG: the job that was begun ends so.
ended() {
    local how=GREEN
    wait "$job" || how=RED
    [[ $how == "$1" ]] || die "$what ended $how: $(tail -n 20 "$log")"
    grep -qF -- "$2" "$log" || die "$what did not say '$2': $(tail -n 20 "$log")"
    [[ ! $TAGALONG_SECRET ]] || ! grep -qF -- "${TAGALONG_SECRET#whsec_}" "$log" || die "$what showed the secret"
}

# serves TAG: what a browser sees now.
serves() {
    local found
    found=$(curl --silent --show-error --fail --max-time 5 --cacert "$state/ca.crt" --connect-to "::127.0.0.1:$site_port" "https://site.localhost:$site_port/version")
    [[ $found == "$1" ]] || die "after $what the proxy serves $found, not $1"
    say "as it should: $what; $1 serves"
    passed=$((passed + 1))
}

# job GREEN|RED TAG-THAT-SERVES-AFTERWARDS TEXT-IN-THE-LOG WORKFLOW INPUT…
job() {
    begin "${@:4}"
    ended "$1" "$3"
    serves "$2"
}

# From here on a deployment waits before its pin for as long as the file is there.
hold=$state/hold
gate() {
    printf '#!/bin/sh\nwhile [ -e %s ]; do sleep 0.1; done\n' "$hold" >"$state/gate.sh"
    chmod +x "$state/gate.sh"
    printf '\n[service.demo.before]\nargv = ["%s"]\n' "$state/gate.sh" >>"$state/tagalong.toml"
    kill -HUP "$(<"$state/pid")"
    wait_for 10 "the configuration to be read again" grep -qF 'service.demo.before (new)' "$state/serve.log"
}

# A proxy that gives a silent connection up after two seconds.
impatient_proxy() {
    proxy_port=$(free_port 18080)
    cat >"$state/nginx.conf" <<CONF
daemon off;
pid $state/nginx.pid;
error_log $state/nginx.log;
events {}
http {
    access_log off;
    client_body_temp_path $state/nginx-body;
    proxy_temp_path $state/nginx-proxy;
    fastcgi_temp_path $state/nginx-fastcgi;
    uwsgi_temp_path $state/nginx-uwsgi;
    scgi_temp_path $state/nginx-scgi;
    server {
        listen 127.0.0.1:$proxy_port;
        location / {
            proxy_pass http://127.0.0.1:$port;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_read_timeout 2s;
        }
    }
}
CONF
    nginx -e "$state/nginx.log" -c "$state/nginx.conf" </dev/null >/dev/null 2>&1 &
    started+=("$!")
    wait_for 10 "the impatient proxy" curl --silent --fail "http://127.0.0.1:$proxy_port/healthz"
}

start_again() {
    (cd "$state" && exec setsid "$binary" --config tagalong.toml serve </dev/null >>serve.log 2>&1) &
    printf '%s\n' "$!" >"$state/pid"
    wait_for 20 "tagalong (see $state/serve.log)" curl --silent --fail "$TAGALONG_URL/readyz"
}

# A forge that gives jobs tokens, and a policy for them: from here on a job has no secret.
forge() {
    local forge_port
    python3 "$here/forge.py" "$state" </dev/null >/dev/null 2>"$state/forge.log" &
    started+=("$!")
    wait_for 20 "the forge" test -s "$state/forge.port"
    forge_port=$(<"$state/forge.port")
    cat >>"$state/tagalong.toml" <<TOML

[[oidc]]
id = "web-main"
issuer = "http://127.0.0.1:$forge_port/api/actions"
audience = "$TAGALONG_URL"
scopes = ["deploy:demo"]
[oidc.claims]
repository = "acme/web"
ref = "refs/heads/main"
event_name = "workflow_dispatch"
TOML
    kill -HUP "$(<"$state/pid")"
    wait_for 10 "the policy to be read" grep -qF 'oidc (new)' "$state/serve.log"
    export ACT_ENV="ACTIONS_ID_TOKEN_REQUEST_URL=http://127.0.0.1:$forge_port/idtoken?placeholder=true
ACTIONS_ID_TOKEN_REQUEST_TOKEN=of-this-job"
}

log_says() { grep -qF -- "$1" "$log"; }

# The proxy gives up, tagalong is killed and comes again; the job sees each line of the journal once, and how it ended.
cut_and_restarted() {
    local id
    : >"$hold"
    begin workflows/github/deploy.yml service=demo tag=1f0c9e2 "url=http://127.0.0.1:$proxy_port"
    wait_for 60 "the proxy to give up" grep -q 'upstream timed out' "$state/nginx.log"
    kill -KILL "$(<"$state/pid")"
    wait_for 60 "the job to notice" log_says 'the state cannot be read at the moment'
    start_again
    rm "$hold"
    ended GREEN 'live'
    id=$(sed -n 's/.*::set-output:: id=//p' "$log" | head -n 1)
    diff <(sed -n 's/.*::group:://p' "$log" | grep -v '^Summary' | sort) <(tagalong logs "$id" | sed -n 's/^[a-z_]* *▸ //p' | sort) ||
        die "the job saw other steps than the journal of $id has: $(<"$log")"
    serves 1f0c9e2
}

# cancelled_job WORKFLOW INPUT…: a job that is cancelled in the midst of its deployment.
cancelled_job() {
    : >"$hold"
    begin "$@"
    wait_for 60 "the deployment to run" log_says 'it is running'
    kill -TERM "$job"
    ended RED 'Job failed'
}

# outcome_is CODE: the newest deployment ends with it.
outcome_is() {
    local code=0
    tagalong logs demo --follow >"$state/cancelled.log" || code=$?
    [[ $code == "$1" ]] || die "after $what the deployment ended with $code, not $1: $(tail -n 5 "$state/cancelled.log")"
}

# Somebody logs in with a one-time code and sees what is live; the code is good once.
dashboard() {
    local code base=http://localhost:$port jar=$state/cookies pages=(--silent --show-error --max-time 10)
    code=$(tagalong user code ada 2>/dev/null)
    enter() { curl "${pages[@]}" --output /dev/null --write-out '%{http_code}' --header "Origin: $base" --cookie-jar "$1" --data-urlencode "code=$code" "$base/login"; }
    [[ $(enter "$jar") == 303 ]] || die "the dashboard did not take the code"
    [[ $(enter /dev/null) == 401 ]] || die "the dashboard took the code twice"
    curl "${pages[@]}" --fail --cookie "$jar" "$base/services/demo" >"$state/page.html" || die "the page of the service was not shown"
    grep -q 2a7d410 "$state/page.html" || die "the page of the service does not show the live tag"
    [[ $(curl "${pages[@]}" --output /dev/null --write-out '%{http_code}' "$base/services/demo") == 303 ]] || die "a page was shown to nobody"
    rm "$jar"
    what="a login to the dashboard"
    serves 2a7d410
}

job GREEN 1f0c9e2 'live' workflows/github/deploy.yml service=demo tag=1f0c9e2
job RED 1f0c9e2 'rolled back' workflows/github/deploy.yml service=demo tag=3bad5c1
# shellcheck disable=SC2016
job GREEN 2a7d410 'live' workflows/forgejo/deploy.yml service=demo tag=2a7d410 'reason=a "reason" with $(signs) & an é'
job GREEN 1f0c9e2 'live' workflows/github/rollback.yml service=demo
job RED 1f0c9e2 'has held demo since' workflows/forgejo/deploy.yml service=demo tag=2a7d410
tagalong resume demo >&2
job GREEN 2a7d410 'live' workflows/forgejo/rollback.yml service=demo tag=2a7d410
tagalong resume demo >&2
job RED 2a7d410 'with 404' workflows/github/deploy.yml service=demo tag=1f0c9e2 "url=$TAGALONG_URL/nowhere"

# The smoke workflow needs no server; the runner has the program in its PATH.
mkdir -p "$state/program"
ln -sf "$(realpath "$binary")" "$state/program/tagalong"
PATH=$state/program:$PATH
page=(--ca-file "$state/ca.crt" --within-s 5 --connect-to "127.0.0.1:$site_port")
job GREEN 2a7d410 'passes: 0 findings' workflows/github/smoke.yml "url=https://site.localhost:$site_port/" "flags=${page[*]} --release-path /version --release-text" release=2a7d410
job RED 2a7d410 'does not show the tag 1f0c9e2' workflows/github/smoke.yml "url=https://site.localhost:$site_port/" "flags=${page[*]} --release-path /version --release-text" release=1f0c9e2
job RED 2a7d410 'answers with status 404 instead of 200' workflows/forgejo/smoke.yml "url=https://site.localhost:$site_port/nowhere" "flags=${page[*]}"

gate
impatient_proxy
cut_and_restarted
cancelled_job workflows/github/deploy.yml service=demo tag=2a7d410
outcome_is 17
serves 1f0c9e2
cancelled_job workflows/forgejo/deploy.yml service=demo tag=2a7d410 on_cancel=leave
rm "$hold"
outcome_is 0
serves 2a7d410

forge
TAGALONG_SECRET=
job GREEN 1f0c9e2 'live' workflows/forgejo/deploy.yml service=demo tag=1f0c9e2
cancelled_job workflows/github/deploy.yml service=demo tag=2a7d410
outcome_is 17
serves 1f0c9e2
rm "$hold"
job RED 1f0c9e2 'has only the scopes deploy:demo' workflows/github/rollback.yml service=demo
job GREEN 2a7d410 'live' workflows/github/deploy.yml service=demo tag=2a7d410
unset ACT_ENV
job RED 2a7d410 'id-token: write' workflows/github/deploy.yml service=demo tag=1f0c9e2

dashboard

TAGALONG_SECRET=whsec_$(openssl rand -base64 32)
job RED 2a7d410 'with 401' workflows/github/deploy.yml service=demo tag=1f0c9e2
printf 'workflows: %d passed, 0 failed\n' "$passed"
