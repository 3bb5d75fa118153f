#!/usr/bin/env bash
# Builds the Dockerfile and runs compose.yml for real: tagalong in a container, behind Traefik, lands two releases of a
# stack of this machine, as a user that is not root.
#
# No hub is needed. The three images that the Dockerfile starts from are made here: Debian by debootstrap, the Docker
# client from this machine's own, and for Rust one whose `cargo` hands out the binary that was built outside. So all of
# the Dockerfile is carried out but the compilation itself.
#
#   tests/rig/container.sh [BINARY]     default: target/release/tagalong, built if it is not there
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"

binary=${1-${CARGO_TARGET_DIR:-$root/target}/release/tagalong}
project=tagalong-container
work=$(mktemp -d)
# The stack's folder, owned by the user that tagalong runs as.
stacks=$work/stacks
uid=1234

compose() {
    # The variables that the head of compose.yml asks for.
    STACKS=$stacks STACKS_UID=$uid STACKS_GID=$uid DOCKER_GID=$(stat -c %g /var/run/docker.sock) TAGALONG_HOST=tagalong.localhost \
        docker compose --ansi never --project-name "$project" --file "$work/compose.yml" --file "$work/here.yml" "$@"
}

finish() {
    local code=$?
    if ((code)); then
        compose logs --tail 30 tagalong >&2 2>/dev/null || true
        docker logs --tail 10 "$project-forwarder" >&2 2>/dev/null || true
        cat "$work/outside.log" >&2 2>/dev/null || true
    fi
    docker rm --force "$project-forwarder" >/dev/null 2>&1 || true
    docker compose --project-name "$project-site" down --volumes --timeout 1 >/dev/null 2>&1 || true
    compose down --volumes --timeout 2 >/dev/null 2>&1 || true
    if [[ -s $work/forwarder ]]; then kill "$(<"$work/forwarder")" 2>/dev/null || true; fi
    "$here/registry.sh" down --dir "$work/registry" || true
    docker images --format '{{.Repository}}:{{.Tag}}' | grep -E "^(tagalong|tagalong-rig/(rust|client|traefik)|tagalong\.keep/boxed|127\.0\.0\.1:${port:-none}/.*):" |
        xargs --no-run-if-empty docker rmi --force >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT

# image NAME: builds the folder of that name below $work.
image() { docker build --quiet --tag "tagalong-rig/$1" "$work/$1" >"$work/build.log" 2>&1 || die "docker build of $1 failed: $(tail -n 5 "$work/build.log")"; }

client_image() {
    local plugin
    plugin=$(docker info --format '{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Path}}{{end}}{{end}}')
    mkdir "$work/client"
    cp "$(readlink -f "$(command -v docker)")" "$work/client/docker"
    cp "$plugin" "$work/client/docker-compose"
    printf '%s\n' 'FROM scratch' 'COPY docker /usr/local/bin/docker' \
        'COPY docker-compose /usr/local/libexec/docker/cli-plugins/docker-compose' >"$work/client/Dockerfile"
    image client
}

rust_image() {
    mkdir "$work/rust"
    cp "$binary" "$work/rust/tagalong"
    printf '%s\n' '#!/bin/sh' 'set -eu' 'test "$*" = "build --release --locked --bin tagalong"' 'test -f Cargo.lock' \
        'mkdir -p target/release' 'cp /tagalong target/release/' >"$work/rust/cargo"
    chmod +x "$work/rust/cargo"
    printf '%s\n' 'FROM tagalong-rig/debian:bookworm' 'COPY tagalong /tagalong' 'COPY cargo /usr/local/bin/cargo' >"$work/rust/Dockerfile"
    image rust
}

traefik_image() {
    mkdir "$work/traefik"
    cp "$(command -v traefik)" "$work/traefik/traefik"
    cp "$root/tests/demo/proxy/Dockerfile" "$work/traefik/"
    image traefik
}

# What differs here from compose.yml as it stands: images made on this machine, free ports, no certificate authority.
differences() {
    cat <<YAML
services:
  traefik:
    image: tagalong-rig/traefik
    command: !override
      - --entrypoints.https.address=:443
      - --entrypoints.https.http.tls=true
      - --providers.docker.exposedbydefault=false
      - --providers.docker.network=edge
      - --providers.docker.constraints=Label(\`com.docker.compose.project\`,\`$project\`)||Label(\`com.docker.compose.project\`,\`$project-site\`)
      - --providers.docker.defaultrule=Host(\`none.invalid\`)
      - --providers.providersthrottleduration=100ms
      - --global.checknewversion=false
    ports: !override ["127.0.0.1:$https_port:443"]
    stop_grace_period: 1s
  tagalong:
    build:
      context: $root
      args: {RUST_IMAGE: tagalong-rig/rust, DOCKER_CLI_IMAGE: tagalong-rig/client, BASE_IMAGE: "tagalong-rig/debian:bookworm"}
YAML
}

configuration() {
    cat <<TOML
version = 1
[server]
listen = ["0.0.0.0:8787"]
trusted_proxies = ["172.30.87.2/32"]
[[key]]
id = "ci"
secret_file = "ci.secret"
scopes = ["deploy:boxed"]
[service.boxed]
dir = "$stacks/site"
project = "$project-site"
image = "127.0.0.1:$port/acme/site"
variable = "SITE_TAG"
[service.boxed.smoke]
url = "http://web/"
within_s = 10
[service.boxed.smoke.release]
path = "/version"
text = true
TOML
}

stack() {
    mkdir -p "$stacks/site"
    cat >"$stacks/site/compose.yml" <<YAML
services:
  web:
    image: 127.0.0.1:$port/acme/site:\${SITE_TAG}
    networks: [edge]
networks:
  edge: {external: true}
YAML
    printf '# settings\nSITE_TAG=none\n' >"$stacks/site/.env"
    chown -R "$uid:$uid" "$stacks"
    chmod 711 "$work"
}

inside() { compose exec -T tagalong "$@"; }

# forwarding ADDRESS: what makes Traefik pass every connection on to ADDRESS, and nothing else.
forwarding() {
    # shellcheck disable=SC2016
    printf 'tcp: {routers: {all: {rule: "HostSNI(`*`)", service: there}}, services: {there: {loadBalancer: {servers: [{address: "%s"}]}}}}\n' "$1"
}

registry_is_seen_inside() { inside curl --silent --fail --max-time 2 "http://127.0.0.1:$port/v2/"; }

# The registry listens on this machine's loopback, and inside the container that is another one. Two forwarders join them.
join_loopbacks() {
    forwarding "127.0.0.1:$port" >"$work/outside.yml"
    forwarding "172.30.87.1:$port" >"$work/inside.yml"
    traefik "--entrypoints.tcp.address=172.30.87.1:$port" "--providers.file.filename=$work/outside.yml" </dev/null >"$work/outside.log" 2>&1 &
    printf '%s\n' "$!" >"$work/forwarder"
    docker run --detach --name "$project-forwarder" --network "container:$(compose ps -q tagalong)" \
        --volume "$work/inside.yml:/inside.yml:ro" tagalong-rig/traefik \
        "--entrypoints.tcp.address=127.0.0.1:$port" --providers.file.filename=/inside.yml >/dev/null
    wait_for 20 "the registry to be seen inside" registry_is_seen_inside
}

call() {
    local id time signature body="{\"service\":\"boxed\",\"tag\":\"$1\"}"
    id=msg_$(openssl rand -hex 12) time=$(date +%s)
    signature=$(printf '%s' "$id.$time.$body" |
        openssl dgst -sha256 -mac HMAC -macopt "hexkey:$(sed 's/^whsec_//' "$work/tagalong/ci.secret" | base64 -d | od -An -v -tx1 | tr -d ' \n')" -binary | base64)
    curl --silent --show-error --insecure --connect-to "::127.0.0.1:$https_port" --dump-header "$work/headers" \
        -H "webhook-id: $id" -H "webhook-timestamp: $time" -H "webhook-signature: v1,$signature" -H 'content-type: application/json' \
        --data "$body" https://tagalong.localhost/api/v1/deployments >"$work/answer"
}

# lands TAG: by a signed call through the proxy; followed with the read token, which is refused unless the proxy is trusted.
lands() {
    local location token
    call "$1"
    location=$(sed -n 's/^location: *//Ip' "$work/headers" | tr -d '\r')
    token=$(sed -n 's/^tagalong-read-token: *//Ip' "$work/headers" | tr -d '\r')
    [[ $location && $token ]] || die "the order for $1 was not accepted: $(<"$work/answer")"
    curl --silent --show-error --fail --no-buffer --max-time 120 --insecure --connect-to "::127.0.0.1:$https_port" \
        -H "Authorization: Bearer $token" "https://tagalong.localhost$location/log" >"$work/journal" || die "the journal of $1 could not be followed"
    grep -q 'live' <(tail -n 1 "$work/journal") || die "$1 did not land: $(tail -n 20 "$work/journal")"
    [[ $(inside curl --silent http://web/version) == "$1" ]] || die "$1 is not what serves"
    say "$1 landed: $(grep '^SITE_TAG=' "$stacks/site/.env")"
}

if [[ ! -x $binary ]]; then
    (cd "$root" && cargo build --quiet --release --locked) || die "tagalong could not be built"
fi
port=$("$here/registry.sh" up --dir "$work/registry")
https_port=$(free_port 9443)
"$here/images.sh" "$port" 1f0c9e2 2a7d410 >/dev/null
"$here/debian.sh"
client_image
rust_image
traefik_image

cp "$root/compose.yml" "$work/"
differences >"$work/here.yml"
mkdir "$work/tagalong"
configuration >"$work/tagalong/tagalong.toml"
printf 'whsec_%s\n' "$(openssl rand -base64 32)" >"$work/tagalong/ci.secret"
chown -R "$uid:$uid" "$work/tagalong"
chmod 600 "$work/tagalong/ci.secret"
stack

compose build --quiet >"$work/build.log" 2>&1 || die "the Dockerfile does not build: $(tail -n 20 "$work/build.log")"
compose up --detach --wait --wait-timeout 60 >"$work/up.log" 2>&1 || die "compose.yml does not come up: $(tail -n 20 "$work/up.log")"
say "built and healthy: $(docker image inspect --format '{{.Size}}' tagalong | awk '{ printf "%d MB", $1 / 1000000 }')"

[[ $(inside id -u) == "$uid" ]] || die "it runs as user $(inside id -u), not $uid"
[[ $(inside cat /proc/1/comm) == tini ]] || die "process 1 is $(inside cat /proc/1/comm), not an init"
inside docker version --format '{{.Server.Version}}' >/dev/null || die "Docker cannot be reached from inside"
inside docker compose version >/dev/null || die "there is no compose plugin inside"
! inside touch /usr/local/bin/x 2>/dev/null || die "the image's own files can be written"
inside tagalong --config /etc/tagalong/tagalong.toml check >"$work/check.log" 2>&1 || say "check says: $(<"$work/check.log")"

join_loopbacks
lands 1f0c9e2
lands 2a7d410
[[ $(stat -c %u "$stacks/site/.env") == "$uid" ]] || die ".env changed its owner"
docker rm --force "$project-forwarder" >/dev/null

begun=$SECONDS
compose stop tagalong >/dev/null 2>&1
[[ $(docker inspect --format '{{.State.ExitCode}}' "$(compose ps --all -q tagalong)") == 0 ]] || die "it did not stop cleanly"
say "stopped cleanly in $((SECONDS - begun)) s"
say "tagalong in a container: all is well"
