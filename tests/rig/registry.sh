#!/usr/bin/env bash
# An image registry on 127.0.0.1, which Docker trusts without TLS.
#
#   tests/rig/registry.sh up   [--auth] [--dir DIR] [--port N]   prints the port; it is in DIR/port too
#   tests/rig/registry.sh down [--auth] [--dir DIR] [--keep]     stops it and removes its data (--keep: leaves the data)
#
# With --auth it asks for user "deployer", password "let-me-pull". DIR is by default in the rig's cache folder; a folder
# of its own gives a registry of its own. Without --port a free one is taken. Deleting is allowed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"

verb=${1-}
(($#)) && shift
auth=
dir=
port=0
keep=
while (($#)); do
    case $1 in
        --auth) auth=1 ;;
        --keep) keep=1 ;;
        --dir) dir=${2:?--dir needs a folder} && shift ;;
        --port) port=${2:?--port needs a number} && shift ;;
        *) die "unknown argument '$1'" ;;
    esac
    shift
done
[[ $dir ]] || dir=$rig/registry${auth:+-auth}
pidfile=$dir/pid

running() { alive "$pidfile" docker-registry; }

# The registry writes the port that it really got into its log.
listening_port() { grep -aoE 'listening on 127\.0\.0\.1:[0-9]+' "$dir/log" | tail -n 1 | grep -oE '[0-9]+$'; }

listening_or_ended() { listening_port || ! running; }

write_config() {
    cat <<YAML
version: 0.1
log: {accesslog: {disabled: true}, level: info}
storage:
  filesystem: {rootdirectory: "$dir/data"}
  delete: {enabled: true}
http: {addr: "127.0.0.1:$port"}
YAML
    if [[ $auth ]]; then
        htpasswd -Bbn deployer let-me-pull >"$dir/htpasswd"
        printf 'auth: {htpasswd: {realm: tagalong-rig, path: "%s/htpasswd"}}\n' "$dir"
    fi
}

up() {
    if ! running; then
        have docker-registry || die "there is no docker-registry command: run tests/rig/install.sh registry"
        mkdir -p "$dir/data"
        write_config >"$dir/config.yml"
        : >"$dir/log"
        (cd / && OTEL_TRACES_EXPORTER=none exec setsid docker-registry serve "$dir/config.yml" </dev/null >"$dir/log" 2>&1) &
        printf '%s\n' "$!" >"$pidfile"
        wait_for 5 "docker-registry to begin" running
        wait_for 20 "the registry (see $dir/log)" listening_or_ended
        running || die "docker-registry ended at once: $(tail -n 3 "$dir/log")"
        listening_port >"$dir/port"
    fi
    cat "$dir/port"
}

down() {
    stop "$pidfile" docker-registry 10
    rm -f "$dir/port"
    [[ $keep ]] || rm -rf "$dir"
}

case $verb in
    up | down) "$verb" ;;
    *) die "usage: registry.sh up|down [--auth] [--dir DIR] [--port N] [--keep]" ;;
esac
