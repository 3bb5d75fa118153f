#!/usr/bin/env bash
# A Docker engine for the tests and the demo.
#
#   tests/rig/docker.sh up       uses the engine that answers; where none does, starts one and remembers that it is ours
#   tests/rig/docker.sh down     stops the engine only if `up` started it
#   tests/rig/docker.sh status   says which it is; exit code 0 when an engine answers
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"

home=$rig/docker
pidfile=$home/pid

answers() { docker info --format '{{.ServerVersion}}' >/dev/null 2>&1; }
ours() { alive "$pidfile" dockerd; }
version() { docker version --format '{{.Server.Version}}'; }

answers_or_ended() { answers || ! ours; }

up() {
    have docker || die "there is no docker command: run tests/rig/install.sh docker"
    if answers; then
        say "Docker Engine $(version) answers already; using it"
        return
    fi
    ((EUID == 0)) || die "no Docker Engine answers, and only root can start one: start it, or run this as root"
    if [[ -d /run/systemd/system ]]; then
        systemctl start docker
        wait_for 60 "Docker, started by systemctl" answers
        say "Docker Engine $(version) started by systemctl"
        return
    fi
    have dockerd || die "there is no dockerd command: run tests/rig/install.sh docker"
    mkdir -p "$home"
    # A killed engine leaves its pid file behind, and a new one would refuse to start if that number was taken again.
    alive /var/run/docker.pid dockerd || rm -f /var/run/docker.pid
    # Its own session: it outlives the shell and the terminal that started it.
    (cd / && exec setsid dockerd --log-level warn </dev/null >"$home/dockerd.log" 2>&1) &
    printf '%s\n' "$!" >"$pidfile"
    wait_for 5 "dockerd to begin" ours
    wait_for 60 "Docker's socket (see $home/dockerd.log)" answers_or_ended
    ours || die "dockerd ended at once: $(tail -n 3 "$home/dockerd.log")"
    say "Docker Engine $(version) started; log in $home/dockerd.log"
}

down() {
    if ours; then
        stop "$pidfile" dockerd 60
        say "Docker Engine stopped"
    else
        rm -f "$pidfile"
        say "Docker Engine was not started here; left alone"
    fi
}

status() {
    answers || { say "no Docker Engine answers"; return 1; }
    if ours; then say "Docker Engine $(version), started here"; else say "Docker Engine $(version), not ours"; fi
}

case ${1-} in
    up | down | status) "$1" ;;
    *) die "usage: docker.sh up|down|status" ;;
esac
