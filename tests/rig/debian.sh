#!/usr/bin/env bash
# Images of a bare Debian 12, made on this machine, since no hub can be counted on.
#
#   tests/rig/debian.sh            tagalong-rig/debian:bookworm, by debootstrap
#   tests/rig/debian.sh machine    tagalong-rig/machine as well: a host with systemd, Docker, compose, a registry and nginx
#   tests/rig/debian.sh host       tagalong-rig/host as well: the same with an OpenSSH server
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

there() { docker image inspect "$1" >/dev/null 2>&1; }

bare() {
    there tagalong-rig/debian:bookworm && return
    if [[ ! -s $rig/bookworm.tar ]]; then
        "$here/install.sh" image
        say "debootstrap (half a minute, once)"
        debootstrap --variant=minbase bookworm "$work/debian" >"$rig/debootstrap.log" 2>&1 || die "debootstrap failed: see $rig/debootstrap.log"
        rm -rf "$work/debian/var/cache/apt/archives/"*.deb
        tar -C "$work/debian" -cf "$rig/bookworm.tar.new" .
        mv "$rig/bookworm.tar.new" "$rig/bookworm.tar"
    fi
    docker import "$rig/bookworm.tar" tagalong-rig/debian:bookworm >/dev/null
}

machine() {
    local plugin
    there tagalong-rig/machine:1 && return
    say "a machine with systemd and Docker (one to two minutes, once)"
    plugin=$(docker info --format '{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Path}}{{end}}{{end}}')
    cp "$plugin" "$work/docker-compose"
    cat >"$work/Dockerfile" <<'DOCKERFILE'
FROM tagalong-rig/debian:bookworm
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y --no-install-recommends systemd systemd-sysv dbus adduser ca-certificates curl git openssl jq \
    iproute2 iptables docker.io docker-registry apache2-utils busybox-static nginx-light bash-completion \
    && systemctl disable nginx docker-registry && rm -rf /var/lib/apt/lists/*
COPY docker-compose /usr/libexec/docker/cli-plugins/docker-compose
VOLUME /var/lib/docker
STOPSIGNAL SIGRTMIN+3
DOCKERFILE
    docker build --quiet --tag tagalong-rig/machine:1 "$work" >"$rig/machine.log" 2>&1 || die "the machine's image could not be built: see $rig/machine.log"
}

host() {
    machine
    there tagalong-rig/host:1 && return
    cat >"$work/Dockerfile" <<'DOCKERFILE'
FROM tagalong-rig/machine:1
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y --no-install-recommends openssh-server openssh-client procps && systemctl enable ssh \
    && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_*
DOCKERFILE
    docker build --quiet --tag tagalong-rig/host:1 "$work" >"$rig/host.log" 2>&1 || die "the image of a host could not be built: see $rig/host.log"
}

bare
case ${1-} in machine | host) "$1" ;; esac
