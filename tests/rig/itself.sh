#!/usr/bin/env bash
# tagalong deploys the stack that it runs in, on real Docker: a good, a crashing, a hanging, a deaf and a store-incompatible version of
# itself, and kills at every step. What is looked at stands in itself.py; this builds the images and the stack.
#
#   tests/rig/itself.sh [BINARY] [ROUND…|brief]     default: target/release/tagalong, built if it is not there; and all rounds
#
# With ITSELF_DAEMON=1 all of this is done on a Docker daemon of its own. Its rounds `docker at …` are unfinished: the daemon does not come back.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"

binary=${1:-${CARGO_TARGET_DIR:-$root/target}/release/tagalong}
shift || true
project=tagalong-itself-$$
work=$(mktemp -d)
bridge=itself$(($$ % 10000))

finish() {
    local code=$?
    if ((code)); then
        for one in $(docker ps --all --quiet --filter "label=tagalong.of=$project/tagalong") \
            $(docker ps --all --quiet --filter "label=com.docker.compose.project=$project"); do
            docker logs --tail 15 "$one" >&2 2>&1 || true
        done
    fi
    docker ps --all --quiet --filter "label=tagalong.of=$project/tagalong" | xargs --no-run-if-empty docker rm --force --volumes >/dev/null 2>&1 || true
    docker ps --all --quiet --filter "label=com.docker.compose.project=$project" | xargs --no-run-if-empty docker rm --force --volumes >/dev/null 2>&1 || true
    "$here/registry.sh" down --dir "$work/registry" || true
    docker images --format '{{.Repository}}:{{.Tag}}' | grep -E "^(tagalong\.keep/itself|$project/.*|127\.0\.0\.1:${port:-none}/.*):" |
        xargs --no-run-if-empty docker rmi --force >/dev/null 2>&1 || true
    if [[ ${ITSELF_DAEMON-} ]]; then daemon_down; fi
    rm -rf "$work"
}
trap finish EXIT

# A daemon of our own, which leaves the host's addresses alone. Its script starts it again after it was killed.
daemon_up() {
    mkdir -p "$work/docker"
    ip link add name "$bridge" type bridge && ip address add 172.30.199.1/24 dev "$bridge" && ip link set "$bridge" up
    cat >"$work/docker/start" <<SCRIPT
#!/bin/sh
rm -f "$work/docker/pid" "$work/docker/exec/containerd/containerd.pid"
exec setsid dockerd --data-root "$work/docker/data" --exec-root "$work/docker/exec" --pidfile "$work/docker/pid" -H "unix://$work/docker/s" \
    --bridge "$bridge" --iptables=false --ip-masq=false --log-level=warn </dev/null >>"$work/docker/log" 2>&1
SCRIPT
    chmod +x "$work/docker/start"
    "$work/docker/start" &
    export DOCKER_HOST=unix://$work/docker/s
    wait_for 60 "the daemon (see $work/docker/log)" docker info
}

daemon_down() {
    stop "$work/docker/pid" dockerd 60
    ip link delete "$bridge" 2>/dev/null || true
    grep -oE "$work/[^ ]+" /proc/mounts | sort -r | xargs --no-run-if-empty umount --lazy 2>/dev/null || true
}

# The files of an image in which the binary and Docker's client run: they and the libraries of this machine that they need.
base_image() {
    local plugin file
    mkdir -p "$work/base/files/usr/local/bin" "$work/base/files/usr/local/libexec/docker/cli-plugins" \
        "$work/base/files/tmp" "$work/base/files/run/tagalong" "$work/base/files/bin" "$work/base/files/etc/ssl/certs"
    plugin=$(docker info --format '{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Path}}{{end}}{{end}}')
    cp "$(readlink -f "$(command -v docker)")" "$work/base/files/usr/local/bin/docker"
    cp "$plugin" "$work/base/files/usr/local/libexec/docker/cli-plugins/docker-compose"
    cp /bin/busybox "$work/base/files/bin/busybox"
    cp /etc/ssl/certs/ca-certificates.crt "$work/base/files/etc/ssl/certs/" 2>/dev/null || true
    strip -g -o "$work/base/files/usr/local/bin/tagalong" "$binary" 2>/dev/null || cp "$binary" "$work/base/files/usr/local/bin/tagalong"
    python3 "$here/itself.py" patch "$work/base/files/usr/local/bin/tagalong" "$work/base/files/usr/local/bin/other"
    for file in "$binary" "$work/base/files/usr/local/bin/docker" "$plugin"; do
        { ldd "$file" 2>/dev/null | grep -oE '/[^ ]+' || true; } | sort -u | while read -r library; do
            mkdir -p "$work/base/files$(dirname "$library")"
            cp --dereference "$library" "$work/base/files$library"
        done
    done
    chmod 1777 "$work/base/files/tmp"
    printf '%s\n' 'FROM scratch' 'COPY files /' 'RUN ["/bin/busybox", "--install", "-s", "/bin"]' \
        'ENV PATH=/usr/local/bin:/bin HOME=/var/lib/tagalong' \
        "HEALTHCHECK --interval=500ms --timeout=2s --retries=6 CMD [\"wget\", \"-q\", \"-O\", \"/dev/null\", \"http://127.0.0.1:$listen/healthz\"]" \
        'ENTRYPOINT ["/usr/local/bin/tagalong"]' 'CMD ["--config", "/etc/tagalong/tagalong.toml", "serve"]' >"$work/base/Dockerfile"
    docker build --quiet --tag "$project/base" "$work/base" >"$work/build.log" 2>&1 || die "the base image could not be built: $(tail -n 5 "$work/build.log")"
}

# version TAG [SCRIPT]: an image of tagalong; a script stands in place of the program. In the program `other` one byte of a migration
# differs, so that it does not accept a store that the real one has made.
version() {
    local folder=$work/$1
    mkdir -p "$folder"
    printf 'FROM %s\n' "$project/base" >"$folder/Dockerfile"
    printf 'LABEL org.opencontainers.image.version="%s"\nENV RELEASE=%s\n' "$1" "$1" >>"$folder/Dockerfile"
    if [[ ${2-} ]]; then
        printf '#!/bin/sh\n%s\n' "$2" >"$folder/version"
        chmod +x "$folder/version"
        printf '%s\n' 'COPY version /usr/local/bin/version' 'ENTRYPOINT ["/usr/local/bin/version"]' 'CMD ["--config", "/etc/tagalong/tagalong.toml", "serve"]' >>"$folder/Dockerfile"
    fi
    docker build --quiet --tag "127.0.0.1:$port/acme/tagalong:$1" "$folder" >"$work/build.log" 2>&1 || die "$1 could not be built: $(tail -n 5 "$work/build.log")"
    docker push --quiet "127.0.0.1:$port/acme/tagalong:$1" >"$work/build.log" 2>&1 || die "$1 could not be pushed: $(tail -n 5 "$work/build.log")"
}

versions() {
    version one
    version two
    version three
    # Each of these passes for good until it serves, but the first two.
    version wrong 'echo "illegal instruction" >&2; exit 132'
    version incompatible 'exec other "$@"'
    version crashing 'case "$*" in *serve*) echo "panicked" >&2; exit 101 ;; esac; exec tagalong "$@"'
    version hanging 'case "$*" in *serve*) exec sleep 100000 ;; esac; exec tagalong "$@"'
    version lying 'case "$*" in *serve*) exec other "$@" ;; esac; exec tagalong "$@"'
    version deaf "case \"\$*\" in *serve*) mkdir -p /tmp/www && echo ok >/tmp/www/healthz && exec httpd -f -p 127.0.0.1:$listen -h /tmp/www ;; esac; exec tagalong \"\$@\""
}

stack() {
    mkdir -p "$work/stack" "$work/state" "$work/config"
    chmod 700 "$work/state"
    cat >"$work/stack/compose.yml" <<YAML
services:
  tagalong:
    image: 127.0.0.1:$port/acme/tagalong:\${TAGALONG_TAG}
    restart: unless-stopped
    network_mode: host
    stop_grace_period: 5s
    environment: {ADMIN_TOKEN: "$token"}
    volumes:
      - $work/state:/var/lib/tagalong
      - $work/config:/etc/tagalong:ro
      - $work/stack:$work/stack
      - $socket:/var/run/docker.sock
  neighbour:
    image: $project/base
    entrypoint: ["sleep", "100000"]
    restart: always
    network_mode: none
    init: true
    healthcheck: {disable: true}
YAML
    printf 'TAGALONG_TAG=one\n' >"$work/stack/.env"
    cat >"$work/config/tagalong.toml" <<TOML
version = 1
[server]
listen = ["127.0.0.1:$listen"]
data_dir = "/var/lib/tagalong"
socket = "/run/tagalong/tagalong.sock"
[store]
lease_s = 8
[[key]]
id = "admin"
token_env = "ADMIN_TOKEN"
scopes = ["deploy:tagalong", "rollback:tagalong", "read"]
[service.tagalong]
dir = "$work/stack"
project = "$project"
image = "127.0.0.1:$port/acme/tagalong"
variable = "TAGALONG_TAG"
self = true
[service.tagalong.before]
argv = ["sleep", "0.2"]
[service.tagalong.after]
argv = ["sleep", "0.2"]
[service.tagalong.health]
deadline_s = 12
settle_s = 1
[service.tagalong.smoke]
url = "http://127.0.0.1:$listen/healthz"
within_s = 5
TOML
}

if [[ ! -x $binary ]]; then
    (cd "$root" && cargo build --quiet --release --locked) || die "tagalong could not be built"
fi
if [[ ${ITSELF_DAEMON-} ]]; then daemon_up; fi
socket=${DOCKER_HOST:-unix:///var/run/docker.sock}
socket=${socket#unix://}
port=$("$here/registry.sh" up --dir "$work/registry")
listen=$(free_port 18787)
token=$(openssl rand -base64 32)
base_image
versions
stack
docker compose --ansi never --project-name "$project" --project-directory "$work/stack" up --detach --pull never >"$work/up.log" 2>&1 ||
    docker compose --ansi never --project-name "$project" --project-directory "$work/stack" up --detach >"$work/up.log" 2>&1 || die "the stack does not come up: $(tail -n 5 "$work/up.log")"
ITSELF_TOKEN=$token python3 "$here/itself.py" table "$project" "$work" "$listen" "127.0.0.1:$port/acme/tagalong" "$@"
say "tagalong deploys itself: all is well"
