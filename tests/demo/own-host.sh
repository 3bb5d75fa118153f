#!/usr/bin/env bash
# The README's own-host part and the recipes of docs/operations.md, played on clean machines: Debian with systemd as process 1,
# with a Docker of its own, and an existing Traefik that serves a stack already.
#
#   tests/demo/own-host.sh [first | recipes]     the README's five minutes alone, timed, or (default) the recipes after them
#
# TAGALONG_DEB names a package that is made already, TAGALONG_BIN a binary to make it of. What is done on the machine stands in on-machine.sh.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/rig/lib.sh
. "$root/tests/rig/lib.sh"

one=tagalong-own-host two=tagalong-other-host
# All that systemd and a Docker of the machine's own need. CAP_SYS_RESOURCE, which not every machine may give away, is not needed.
capabilities=(CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_ADMIN NET_RAW SYS_CHROOT
    SYS_PTRACE SYS_ADMIN SYS_NICE MKNOD AUDIT_WRITE SETFCAP SYSLOG)

finish() {
    local code=$?
    if ((code)); then docker exec "$one" journalctl --no-pager --lines 40 --unit tagalong >&2 2>/dev/null || true; fi
    docker rm --force --volumes "$one" "$two" >/dev/null 2>&1 || true
    docker network rm "$one" >/dev/null 2>&1 || true
}
trap finish EXIT

is_up() { [[ $(docker exec "$1" systemctl is-system-running 2>/dev/null) =~ ^(running|degraded)$ ]]; }
docker_is_up() { docker exec "$1" docker info; }

# machine NAME: a clean host, with this clone's sources and the package in /root.
machine() {
    local name=$1 capability
    local -a given=()
    for capability in "${capabilities[@]}"; do given+=("--cap-add=$capability"); done
    docker rm --force --volumes "$name" >/dev/null 2>&1 || true
    # A network of its own: another dockerd on this machine that is started with --bridge takes docker0 away.
    docker network inspect "$one" >/dev/null 2>&1 || docker network create "$one" >/dev/null
    docker run --detach --name "$name" --hostname "$name" --network "$one" --cap-drop=ALL "${given[@]}" --security-opt seccomp=unconfined \
        --security-opt apparmor=unconfined --security-opt systempaths=unconfined --cgroupns=private --tmpfs /run:exec --tmpfs /run/lock \
        --env container=docker tagalong-rig/machine:1 sh -c \
        'for mount in /sys /sys/fs/cgroup /sys/fs/cgroup/*; do mount -o remount,bind,rw $mount 2>/dev/null; done; exec /lib/systemd/systemd' >/dev/null
    wait_for 60 "systemd on $name (it needs a machine that lets a container have $((${#capabilities[@]})) capabilities)" is_up "$name"
    wait_for 60 "Docker on $name" docker_is_up "$name"
    docker exec "$name" mkdir -p /root/target/dist
    (cd "$root" && git ls-files --cached --others --exclude-standard README.md docs/operations.md action.yml tests/rig tests/demo workflows | tar --create --files-from -) |
        docker exec --interactive "$name" tar --extract --directory /root
    docker cp "$package" "$name:/root/target/dist/" >/dev/null
    docker cp "$(command -v traefik)" "$name:/usr/local/bin/traefik" >/dev/null
    docker cp "$(command -v act)" "$name:/usr/local/bin/act" >/dev/null
}

on() {
    local name=$1
    shift
    docker exec --workdir /root "$name" tests/demo/on-machine.sh "$@"
}

# carry FILE…: from the first machine to the second, as an operator's backup is.
carry() { docker exec "$one" tar --create --directory / "$@" | docker exec --interactive "$two" tar --extract --directory /; }

recipes() {
    on "$one" package_again
    on "$one" pipeline
    on "$one" nginx
    on "$one" runner_in_a_container
    on "$one" runner_with_a_socket
    on "$one" private_registry
    on "$one" several_services
    on "$one" away
    machine "$two"
    # The package comes before the files of the other host, so that it makes the user that they belong to.
    on "$two" installed
    carry etc/tagalong srv/web srv/shop var/backups/tagalong root/registry
    on "$two" other_host
    docker rm --force --volumes "$two" >/dev/null
    machine "$two"
    # The disk is lost: only the stack's files, as git has them, and the configuration are somewhere else.
    on "$two" installed
    carry etc/tagalong srv/web/compose.yml root/registry
    on "$two" lost_disk
    on "$one" removed_and_purged
}

"$root/tests/rig/install.sh" docker proxy workflow
"$root/tests/rig/debian.sh" machine
package=${TAGALONG_DEB:-$("$root/tests/rig/dist.sh" deb)}
machine "$one"
on "$one" existing_traefik
on "$one" readme
case ${1:-recipes} in
    first) ;;
    recipes) recipes ;;
    *) die "usage: own-host.sh [first|recipes]" ;;
esac
say "on one's own host: all is well"
