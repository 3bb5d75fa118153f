#!/usr/bin/env bash
# The story on this machine, from nothing to nothing.
#
#   tests/demo/demo.sh up     a site behind TLS; a release by a signed call, one by the command line, a bad one that is undone
#   tests/demo/demo.sh down   takes everything of it away
#
# Everything is looked at from outside, and the first surprise ends it with an error. What it makes lies in target/demo.
# TAGALONG_BIN names a binary that is built already; DEMO_PORT is where the site is served (8443, or the next free one).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/rig/lib.sh
. "$root/tests/rig/lib.sh"

target=${CARGO_TARGET_DIR:-$root/target}
state=$target/demo
good=1f0c9e2 better=2a7d410 bad=3bad5c1
stack_project=tagalong-demo
proxy_project=tagalong-demo-proxy

heading() { if [[ -t 1 ]]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi; }
tell() { printf '    %s\n' "$*"; }
shown() { sed 's/^/    | /'; }
surprise() { die "surprise: $*"; }

# expect WHAT WANTED FOUND
expect() { [[ $2 == "$3" ]] || surprise "$1 should be '$2' and is '$3'"; }

tagalong() { "$binary" --config "$state/tagalong.toml" "$@"; }

page() { curl --silent --show-error --fail --max-time 5 --cacert "$state/ca.crt" --connect-to "::127.0.0.1:$site_port" "https://site.localhost:$site_port$1"; }

# Every container of the stack: id, start and image. Two equal answers mean that nothing was touched in between.
containers() {
    docker ps --all --quiet --no-trunc --filter "label=com.docker.compose.project=$stack_project" "$@" | sort |
        xargs --no-run-if-empty docker inspect --format '{{.Name}} {{.Id}} {{.State.StartedAt}} {{.Image}}'
}

neighbours() { containers --filter label=com.docker.compose.service=db && containers --filter label=com.docker.compose.service=worker; }

programs() {
    heading "Programs, Docker and a registry (on a bare machine: one to three minutes)"
    "$root/tests/rig/install.sh" docker registry proxy
    mkdir -p "$state"
    if ! "$root/tests/rig/docker.sh" status; then
        : >"$state/docker-is-ours"
        "$root/tests/rig/docker.sh" up
    fi
    registry=127.0.0.1:$("$root/tests/rig/registry.sh" up --dir "$state/registry")
    tell "registry at $registry"
    printf '%s\n' "$registry" >"$state/registry-address"
}

images() {
    heading "Images: $good, $better and $bad, whose page names its stylesheet by http://"
    "$root/tests/rig/images.sh" "${registry#*:}" "$good" "$better" "$bad=http" | shown
    SITE_REPOSITORY=acme/helper "$root/tests/rig/images.sh" "${registry#*:}" 1=nohealth >/dev/null
}

binary() {
    heading "tagalong"
    binary=${TAGALONG_BIN:-}
    if [[ ! $binary ]]; then
        have cargo || die "missing: cargo, to build tagalong (Rust 1.95 or newer)"
        # The release build and no quicker one: what runs here is what ships.
        (cd "$root" && built "$state/build.log" --release --locked) || die "tagalong could not be built: see above, or $state/build.log"
        binary=$target/release/tagalong
    fi
    printf '%s\n' "$binary" >"$state/binary"
    tell "$("$binary" --version)"
}

certificates() {
    local subject=/CN=site.localhost
    (
        cd "$state"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=tagalong demo CA" \
            -keyout ca.key -out ca.crt -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "$subject" -CA ca.crt -CAkey ca.key \
            -keyout proxy/dynamic/site.key -out proxy/dynamic/site.crt -addext subjectAltName=DNS:site.localhost \
            -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth
    ) >"$state/openssl.log" 2>&1 || die "openssl could not make the certificates: see $state/openssl.log"
}

proxy_answers() { page / || [[ $(curl --silent --output /dev/null --write-out '%{http_code}' --cacert "$state/ca.crt" --connect-to "::127.0.0.1:$site_port" "https://site.localhost:$site_port/") == 404 ]]; }

proxy() {
    heading "Traefik, with a certificate for site.localhost"
    cp -r "$here/proxy" "$state/"
    cp "$(command -v traefik)" "$state/proxy/traefik"
    certificates
    (cd "$state/proxy" && docker build --quiet --tag tagalong-demo/traefik . >build.log 2>&1) || die "docker build of the proxy failed: see $state/proxy/build.log"
    DEMO_PORT=$site_port docker compose --project-directory "$state/proxy" --ansi never up --detach --quiet-pull 2>"$state/proxy/up.log" ||
        die "the proxy did not come up: $(tail -n 3 "$state/proxy/up.log")"
    wait_for 30 "the proxy at port $site_port" proxy_answers
    tell "https://site.localhost:$site_port/ is answered, by nobody yet"
}

ready_or_ended() { curl --silent --fail --max-time 2 "http://127.0.0.1:$port/readyz" || [[ ! -d /proc/$(<"$state/pid") ]]; }

serve() {
    heading "A stack and its tagalong.toml"
    local socket=$state/tagalong.sock
    # The name of a unix socket has a limit of its own.
    ((${#socket} < 100)) || socket=$(mktemp -d)/tagalong.sock
    printf '%s\n' "$socket" >"$state/socket"
    mkdir -p "$state/stack"
    sed "s|@REGISTRY@|$registry|g" "$here/stack/compose.yml" >"$state/stack/compose.yml"
    cp "$here/stack/env" "$state/stack/.env"
    sed -e "s|@PORT@|$port|g" -e "s|@SITE_PORT@|$site_port|g" -e "s|@SOCKET@|$socket|g" -e "s|@REGISTRY@|$registry|g" \
        "$here/tagalong.toml" >"$state/tagalong.toml"
    (cd "$state" && tagalong key new ci --out ci.secret >/dev/null)
    shown <"$state/tagalong.toml"
    (cd "$state" && exec setsid "$binary" --config tagalong.toml serve </dev/null >serve.log 2>&1) &
    printf '%s\n' "$!" >"$state/pid"
    wait_for 20 "tagalong (see $state/serve.log)" ready_or_ended
    alive "$state/pid" tagalong || die "tagalong serve ended at once: $(tail -n 5 "$state/serve.log")"
    printf 'site_port=%q port=%q binary=%q\n' "$site_port" "$port" "$binary" >"$state/addresses"
    tell "serving at http://127.0.0.1:$port, log in $state/serve.log"
}

first_release() {
    heading "Release $good by a signed call, as a workflow does it: curl and openssl"
    grep -v '^#' "$here/call.sh" | shown
    local server=http://127.0.0.1:$port body="{\"service\":\"demo\",\"tag\":\"$good\"}" location token
    (
        cd "$state"
        # shellcheck source=tests/demo/call.sh
        . "$here/call.sh"
    ) >"$state/answer"
    tell "answer: $(head -n 1 "$state/answer.headers" | tr -d '\r') $(<"$state/answer")"
    location=$(sed -n 's/^location: *//Ip' "$state/answer.headers" | tr -d '\r')
    token=$(sed -n 's/^tagalong-read-token: *//Ip' "$state/answer.headers" | tr -d '\r')
    [[ $location && $token ]] || surprise "the order was not accepted"
    curl --silent --show-error --fail --no-buffer --max-time 180 -H "Authorization: Bearer $token" "$server$location/log" | shown
    expect "the outcome" live "$(curl --silent --fail -H "Authorization: Bearer $token" "$server$location" | jq -r .outcome)"
    expect "what the proxy serves" "$good" "$(page /version)"
    tell "the line in .env: $(grep '^SITE_TAG=' "$state/stack/.env")"
    neighbours_before=$(neighbours)
}

second_release() {
    heading "Release $better from the command line: tagalong deploy demo $better"
    tagalong deploy demo "$better" | shown
    expect "what the proxy serves" "$better" "$(page /version)"
    diff <(grep -v '^SITE_TAG=' "$here/stack/env") <(grep -v '^SITE_TAG=' "$state/stack/.env") || surprise "another line of .env was changed"
}

bad_release() {
    heading "Release $bad: its health check is green, but a browser would block its stylesheet"
    local code=0
    tagalong deploy demo "$bad" | shown || code=$?
    expect "the exit code" 10 "$code"
    expect "what the proxy serves" "$better" "$(page /version)"
    tell "exit code $code: rolled back, and the previous release $better was restored"
}

nothing_moves() {
    heading "A hand-run docker compose up -d changes nothing"
    local before after
    before=$(containers)
    (cd "$state/stack" && docker compose --ansi never up --detach) 2>&1 | shown
    after=$(containers)
    expect "the list of containers" "$before" "$after"
    expect "the list of neighbours since the first release" "$neighbours_before" "$(neighbours)"
    expect "what the proxy serves" "$better" "$(page /version)"
    tell "ids, start times and images are the same; db and worker were never touched"
}

farewell() {
    local code
    tagalong user add ada --scope read --scope 'deploy:*' --scope 'rollback:*' --scope 'approve:*' --scope 'reload:*' >/dev/null
    code=$(tagalong user code ada 2>/dev/null)
    heading "The demo holds, after $SECONDS s. It stays up to play with:"
    cat <<TEXT
    the site       https://site.localhost:$site_port/   (its CA: $state/ca.crt)
    the dashboard  http://localhost:$port/   (user ada, one-time code $code)
    try            alias tagalong='$binary --config $state/tagalong.toml'
                   tagalong status
                   tagalong history demo
                   tagalong rollback demo
                   tagalong resume demo
                   tagalong deploy demo $bad
    take it down   make demo-down
TEXT
}

up() {
    if [[ -d $state ]]; then
        say "a demo is there already; it is taken down first"
        down
    fi
    [[ $target == /* ]] || die "CARGO_TARGET_DIR must be an absolute path for the demo"
    trap '(($? == 0)) || say "the demo did not hold; what it left is in $state, and make demo-down takes it away"' EXIT
    site_port=$(free_port "${DEMO_PORT:-8443}")
    port=$(free_port 8787)
    programs
    binary
    images
    proxy
    serve
    first_release
    second_release
    bad_release
    nothing_moves
    farewell
}

# remove_images PREFIX: the names that begin with it; an image goes with its last name, and one that others still name stays.
remove_images() {
    local names
    mapfile -t names < <(docker images --digests --format '{{.Repository}} {{.Tag}} {{.Digest}}' |
        awk -v prefix="$1" 'index($1, prefix) == 1 { if ($2 != "<none>") print $1 ":" $2; if ($3 != "<none>") print $1 "@" $3 }' | sort -u)
    ((${#names[@]} == 0)) || docker rmi --force "${names[@]}" >/dev/null 2>&1 || true
}

down() {
    if [[ ! -d $state ]]; then
        say "there is no demo"
        return
    fi
    stop "$state/pid" tagalong 30
    if docker info >/dev/null 2>&1; then
        docker compose --project-name "$stack_project" --ansi never down --volumes --timeout 1 >/dev/null 2>&1 || true
        docker compose --project-name "$proxy_project" --ansi never down --volumes --timeout 1 >/dev/null 2>&1 || true
        if [[ -s $state/registry-address ]]; then remove_images "$(<"$state/registry-address")/"; fi
        remove_images tagalong.keep/demo
        remove_images tagalong-demo/
        local left
        left=$(docker ps --all --quiet --filter "label=com.docker.compose.project=$stack_project" &&
            docker ps --all --quiet --filter "label=com.docker.compose.project=$proxy_project" &&
            docker network ls --quiet --filter name=tagalong-demo && docker volume ls --quiet --filter name=tagalong-demo)
        [[ ! $left ]] || die "these containers, networks or volumes are still there: $left"
    fi
    "$root/tests/rig/registry.sh" down --dir "$state/registry"
    if [[ -e $state/docker-is-ours ]]; then "$root/tests/rig/docker.sh" down; fi
    if [[ -s $state/socket && $(<"$state/socket") != "$state"/* ]]; then rm -rf "$(dirname "$(<"$state/socket")")"; fi
    rm -rf "$state"
    say "the demo is gone"
}

case ${1-} in
    up | down) "$1" ;;
    *) die "usage: demo.sh up|down" ;;
esac
