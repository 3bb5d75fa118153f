#!/usr/bin/env bash
# A control plane and three hosts: two agents, and a host that only ssh reaches, over a bastion. Each is a machine of its own, with its
# own addresses, systemd and Docker.
#
#   tests/demo/fleet.sh [up | down | PART…]     all of it, or parts of it again on machines that were left there: rome, line, partial, reboot, upgrade
#
# Everything is looked at from outside, and the first surprise ends it with an error. TAGALONG_BIN names a binary that is built already;
# KEEP=1 leaves the machines there for a look, until `fleet.sh down`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/rig/lib.sh
. "$root/tests/rig/lib.sh"

state=${CARGO_TARGET_DIR:-$root/target}/demo-fleet
front=tagalong-fleet back=tagalong-fleet-back
machines=(control bastion oslo lima rome)
good=1f0c9e2 better=2a7d410 picky=4cafe77 slow=5d10ff3 last=6ee1a90
url=https://control:8443
capabilities=(CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_ADMIN NET_RAW SYS_CHROOT
    SYS_PTRACE SYS_ADMIN SYS_NICE MKNOD AUDIT_WRITE SETFCAP SYSLOG)

heading() { if [[ -t 1 ]]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi; }
tell() { printf '    %s\n' "$*"; }
shown() { sed 's/^/    | /'; }
surprise() { die "surprise: $*"; }

# on MACHINE COMMAND…
on() { docker exec "tagalong-fleet-$1" "${@:2}"; }
# put MACHINE FILE MODE: standard input becomes the file.
put() { docker exec --interactive "tagalong-fleet-$1" install -D -m "$3" /dev/stdin "$2"; }
tagalong() { on control tagalong "$@"; }
outcome() { tagalong --json history "$1" | jq -r '.deployments[0].outcome // .deployments[0].state'; }
serves() { [[ $(on "$1" curl --silent --max-time 2 http://127.0.0.1/version) == "$2" ]]; }
both_serve() { local name; for name in oslo lima; do serves "$name" "$1" || surprise "$name does not serve $1"; done; }
expect() { [[ $2 == "$3" ]] || surprise "$1 should be '$2' and is '$3'"; }

down() {
    docker rm --force --volumes "${machines[@]/#/tagalong-fleet-}" >/dev/null 2>&1 || true
    docker network rm "$front" "$back" >/dev/null 2>&1 || true
    rm -rf "$state"
}

finish() {
    local code=$?
    if ((code)); then on control journalctl --no-pager --lines 20 --unit tagalong >&2 2>/dev/null || true; fi
    [[ ${KEEP:-} ]] || down
}

is_up() { [[ $(on "$1" systemctl is-system-running 2>/dev/null) =~ ^(running|degraded)$ ]]; }
docker_is_up() { on "$1" docker info; }

# machine NAME NETWORK: a clean host with systemd, an ssh server and a Docker of its own.
machine() {
    local name=$1 capability
    local -a given=()
    for capability in "${capabilities[@]}"; do given+=("--cap-add=$capability"); done
    docker run --detach --name "tagalong-fleet-$name" --hostname "$name" --network "$2" --network-alias "$name" --cap-drop=ALL "${given[@]}" \
        --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined --cgroupns=private \
        --tmpfs /run:exec --tmpfs /run/lock --env container=docker tagalong-rig/host:1 sh -c \
        'ssh-keygen -A; for mount in /sys /sys/fs/cgroup /sys/fs/cgroup/*; do mount -o remount,bind,rw $mount 2>/dev/null; done; exec /lib/systemd/systemd' >/dev/null
    printf '{"insecure-registries": ["bastion:5000"]}\n' | put "$name" /etc/docker/daemon.json 644
    put "$name" /root/.ssh/authorized_keys 600 <"$state/key.pub"
}

up_all() {
    local name
    heading "Five machines: a control plane, a bastion, oslo and lima beside it, and rome behind the bastion"
    docker network create "$front" >/dev/null
    docker network create --internal "$back" >/dev/null
    for name in control oslo lima; do machine "$name" "$front"; done
    machine bastion "$front"
    docker network connect --alias bastion "$back" tagalong-fleet-bastion
    machine rome "$back"
    for name in "${machines[@]}"; do wait_for 90 "systemd on $name" is_up "$name"; done
    for name in bastion oslo lima rome; do
        on "$name" systemctl restart docker
        wait_for 60 "Docker on $name" docker_is_up "$name"
    done
    ! on control sh -c 'getent hosts rome' >/dev/null || surprise "the control plane reaches rome"
    tell "control cannot even resolve rome"
}

images() {
    heading "A registry with an image of five tags"
    docker exec tagalong-fleet-bastion mkdir -p /root/clone
    (cd "$root" && tar --create tests/rig) | docker exec --interactive tagalong-fleet-bastion tar --extract --directory /root/clone
    printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: /var/lib/registry}}\nhttp: {addr: ":5000"}\n' | put bastion /etc/registry.yml 644
    on bastion systemd-run --quiet --unit demo-registry docker-registry serve /etc/registry.yml
    wait_for 60 "the registry" on bastion curl --silent --fail http://127.0.0.1:5000/v2/
    on bastion env SITE_REPOSITORY=acme/web /root/clone/tests/rig/images.sh 5000 "$good" "$better" "$picky" "$slow=slow" "$last" | shown
}

host_key() { on "$1" cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub; }

control() {
    heading "The control plane, with TLS of its own and the host keys of everybody"
    (
        cd "$state"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=demo CA" -keyout ca.key -out ca.crt \
            -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=control -CA ca.crt -CAkey ca.key \
            -keyout server.key -out server.crt -addext subjectAltName=DNS:control -addext basicConstraints=critical,CA:FALSE
    ) 2>/dev/null
    put control /usr/local/bin/tagalong 755 <"$binary"
    on control useradd --system --home-dir /var/lib/tagalong --shell /usr/sbin/nologin --groups docker tagalong
    on control install -d -o root -g tagalong -m 0750 /etc/tagalong
    for file in ca.crt server.crt server.key key; do
        put control "/etc/tagalong/$file" 600 <"$state/$file"
        on control chown tagalong: "/etc/tagalong/$file"
    done
    sed 's|/usr/bin/tagalong|/usr/local/bin/tagalong|' "$root/config/tagalong.service" | put control /etc/systemd/system/tagalong.service 644
    put control /etc/tagalong/tagalong.toml 644 <<TOML
version = 1
[server]
listen = ["0.0.0.0:8443"]
public_url = "$url"
tls_certificate_file = "server.crt"
tls_key_file = "server.key"
$(for name in oslo lima; do printf '[host.%s]\naddress = "root@%s"\nhost_key = "%s"\nidentity_file = "key"\ndial = false\n' "$name" "$name" "$(host_key "$name")"; done)
[host.rome]
address = "root@rome"
host_key = "$(host_key rome)"
identity_file = "key"
program = "/usr/local/bin/tagalong"
[host.rome.jump]
address = "root@bastion"
host_key = "$(host_key bastion)"
identity_file = "key"
[service.web]
hosts = ["oslo", "lima"]
TOML
    on control systemctl enable --quiet --now tagalong
    tell "$(tagalong --version) at $url"
}

agents() {
    local name
    heading "agent install: oslo and lima dial the control plane, rome is dialled over the bastion"
    for name in oslo lima; do
        tagalong agent install "root@$name" --ca-file /etc/tagalong/ca.crt 2>&1 | shown
    done
    tagalong agent install rome 2>&1 | shown
    heading "Once more: nothing changes"
    tagalong agent install oslo --ca-file /etc/tagalong/ca.crt | tee "$state/again" | shown
    grep -q 'nothing was changed' "$state/again" || surprise "something was changed"
    tagalong agent list | shown
}

# stack MACHINE SERVICE: a site there, as its owner set it up. On lima its health check does not like the tag of $picky.
stack() {
    local check='wget -qO- http://127.0.0.1/healthz'
    [[ $1 != lima ]] || check="wget -qO- http://127.0.0.1/version | grep -qv $picky"
    put "$1" "/srv/$2/compose.yml" 644 <<YAML
name: $2
services:
  web:
    image: bastion:5000/acme/web:\${WEB_TAG}
    restart: unless-stopped
    ports: ["80:80"]
    healthcheck: {test: [CMD, sh, -c, '$check'], interval: 500ms, timeout: 2s, retries: 12}
YAML
    on "$1" sh -c "id tagalong >/dev/null 2>&1 && chown -R tagalong: /srv/$2 || true"
    docker exec --interactive "tagalong-fleet-$1" tee -a /etc/tagalong/tagalong.toml >/dev/null <<TOML
[[registry]]
host = "bastion:5000"
plain_http = true
[service.$2]
dir = "/srv/$2"
project = "$2"
image = "bastion:5000/acme/web"
variable = "WEB_TAG"
[service.$2.smoke]
url = "http://127.0.0.1/"
[service.$2.smoke.release]
path = "/version"
text = true
TOML
}

services() {
    heading "A service web on oslo and lima, and tool on rome: each host's own configuration says what it is"
    stack oslo web && stack lima web && stack rome tool
    on oslo systemctl restart tagalong
    on lima systemctl restart tagalong
    on rome pkill -f '[a]gent --apart'
    wait_for 60 "the services" tagalong status
    wait_for 60 "tool" on control sh -c 'tagalong --json status tool'
    tagalong status | shown
}

rome() {
    local before
    heading "rome: an order over the bastion, and the line cut in the middle of it"
    tagalong deploy tool "$good" >"$state/log" 2>&1 || surprise "rome: $(tail -n 20 "$state/log")"
    serves rome "$good" || surprise "rome does not serve $good"
    tagalong deploy --no-wait tool "$slow" | shown
    wait_for 90 "rome to work on it" on rome sh -c "docker ps | grep -q $slow"
    before=$(since rome)
    on bastion sh -c 'pkill -KILL -f "[s]shd: root"'
    # It is dialled again so soon that nobody may see it away.
    wait_for 60 "the line to rome to end" has_left rome "$before"
    wait_for 60 "rome to finish it" serves rome "$slow"
    wait_for 60 "the outcome" is_outcome tool live
    tell "the server on rome went on without ssh, and the next dial brought its outcome"
}

# since HOST: since when it is there, or away.
since() { tagalong --json agent list | jq -r --arg name "$1" '.agents[], .hosts[] | select(.name == $name).since_ms'; }
has_left() {
    local now
    now=$(since "$1")
    [[ $now && $now != "$2" ]]
}
is_outcome() { [[ $(outcome "$1") == "$2" ]]; }

line() {
    heading "lima: the line is cut in the middle (packets vanish), and comes back"
    tagalong deploy web "$good" >"$state/log" 2>&1 || surprise "both: $(tail -n 20 "$state/log")"
    both_serve "$good"
    tell "oslo and lima serve $good"
    tagalong deploy --no-wait web "$slow" | shown
    wait_for 60 "lima to work on it" on lima sh -c "docker ps | grep -q $slow"
    on lima sh -c 'iptables -A OUTPUT -p tcp --dport 8443 -j DROP; iptables -A INPUT -p tcp --sport 8443 -j DROP'
    wait_for 60 "lima to finish alone" serves lima "$slow"
    expect "what the control plane says meanwhile" running "$(outcome web)"
    on lima iptables -F
    wait_for 120 "the outcome" is_outcome web live
    tell "lima finished alone; the control plane heard of it when the line was back"
}

partial() {
    heading "A release that oslo takes and lima does not: the rollout stops at lima, and oslo goes back"
    ! tagalong deploy web "$picky" >"$state/log" 2>&1 || surprise "it is live: $(tail -n 20 "$state/log")"
    tail -n 4 "$state/log" | shown
    both_serve "$slow"
    tell "both serve $slow again"
}

reboot() {
    heading "lima is rebooted in the middle of a rollout"
    tagalong deploy --no-wait web "$last" | shown
    wait_for 60 "lima to work on it" on lima sh -c "docker ps --all | grep -q $last"
    docker restart --time 1 tagalong-fleet-lima >/dev/null
    wait_for 90 "systemd on lima" is_up lima
    wait_for 180 "the outcome" is_outcome web live
    both_serve "$last"
    tell "its unit started the agent, which finished what it had accepted"
}

upgrade() {
    heading "agent upgrade with half a binary and with a whole one; agent uninstall"
    on control sh -c "cp /usr/local/bin/tagalong /root/next && printf next >>/root/next && head -c 1000000 /root/next >/root/half"
    ! tagalong agent upgrade oslo --binary /root/half 2>"$state/log" || surprise "half a binary was taken"
    shown <"$state/log"
    tagalong agent upgrade oslo --binary /root/next | shown
    tagalong agent uninstall oslo | shown
    serves oslo "$last" || surprise "the stack on oslo is gone"
    tell "its stack runs on"
}

up() {
    down
    mkdir -p "$state"
    trap finish EXIT
    "$root/tests/rig/install.sh" docker registry
    "$root/tests/rig/docker.sh" status || "$root/tests/rig/docker.sh" up
    "$root/tests/rig/debian.sh" host
    binary=${TAGALONG_BIN:-}
    if [[ ! $binary ]]; then
        (cd "$root" && built "$state/build.log" --release --locked) || die "tagalong could not be built: see $state/build.log"
        binary=${CARGO_TARGET_DIR:-$root/target}/release/tagalong
    fi
    # What only a debugger needs would have to be copied too.
    strip -o "$state/tagalong" "$binary" 2>/dev/null || cp "$binary" "$state/tagalong"
    binary=$state/tagalong
    docker run --rm --volume "$state:/state" tagalong-rig/host:1 ssh-keygen -q -t ed25519 -N '' -f /state/key
    up_all
    images
    control
    agents
    services
    rome
    line
    partial
    reboot
    upgrade
    heading "The fleet did what was expected at every step"
}

case ${1:-up} in
    up | down) "${1:-up}" ;;
    rome | line | partial | reboot | upgrade) for part in "$@"; do "$part"; done ;;
    *) die "usage: fleet.sh [up | down | PART…]" ;;
esac
