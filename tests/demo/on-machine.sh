#!/usr/bin/env bash
# What own-host.sh plays on a machine, part by part; each part leaves the machine as the next one wants it.
#
#   on-machine.sh PART
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tests/rig/lib.sh
. tests/rig/lib.sh

config=/etc/tagalong/tagalong.toml
# Where the pipeline calls tagalong.
server=
export DEBIAN_FRONTEND=noninteractive DOCKER_CONFIG=/root/.docker

# expect WHAT WANTED FOUND
expect() { [[ $2 == "$3" ]] || die "$1 should be '$2' and is '$3'"; }

# says TEXT COMMAND…: the command prints the text, whatever its exit code.
says() {
    local text=$1 found
    shift
    found=$("$@" 2>&1) || true
    [[ $found == *"$text"* ]] || die "$* did not say '$text': $found"
}

page() { curl --silent --show-error --fail --max-time 5 "https://$1.example.com/version"; }
served() { [[ $(page "$1") == "$2" ]]; }
# Every container of the stacks: two equal answers mean that nothing was touched in between.
containers() { docker ps --all --quiet --no-trunc --filter label=com.docker.compose.project | sort | xargs docker inspect --format '{{.Id}} {{.State.StartedAt}}'; }
# What the log has said since the last look.
logged() { journalctl --unit tagalong --output cat --no-pager --since "$1"; }
log_has() { [[ $(logged "$1") == *"$2"* ]]; }

# stack NAME: a site of that name behind Traefik, in /srv/NAME.
stack() {
    mkdir -p "/srv/$1"
    cat >"/srv/$1/compose.yml" <<YAML
name: $1
services:
  $1:
    image: ${2:-127.0.0.1:5000}/acme/$1:\${${1^^}_TAG}
    restart: unless-stopped
    networks: [edge]
    labels:
      traefik.enable: "true"
      traefik.http.routers.$1.rule: Host(\`${3:-$1}.example.com\`)
      traefik.http.routers.$1.tls: "true"
      traefik.http.services.$1.loadbalancer.server.port: "80"
networks:
  edge: {external: true}
YAML
}

certificates() {
    mkdir -p /srv/traefik/dynamic
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=own host" -keyout /root/ca.key \
        -out /usr/local/share/ca-certificates/own-host.crt -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=example.com -CA /usr/local/share/ca-certificates/own-host.crt \
        -CAkey /root/ca.key -keyout /srv/traefik/dynamic/site.key -out /srv/traefik/dynamic/site.crt \
        -addext 'subjectAltName=DNS:*.example.com' -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth
    update-ca-certificates
}

# A host as it is before tagalong comes: Traefik with certificates and a registry; the images are in it.
host() {
    printf '127.0.0.1 www.example.com shop.example.com inner.example.com deploy.example.com\n' >>/etc/hosts
    certificates >/root/certificates.log 2>&1 || die "certificates: $(</root/certificates.log)"
    tests/rig/registry.sh up --dir /root/registry --port 5000 >/dev/null
    cp tests/demo/proxy/Dockerfile /usr/local/bin/traefik /srv/traefik/
    cp tests/demo/proxy/dynamic/tls.yml /srv/traefik/dynamic/
    cat >/srv/traefik/compose.yml <<'YAML'
name: traefik
services:
  traefik:
    build: .
    command:
      - --entrypoints.https.address=:443
      - --providers.docker.exposedbydefault=false
      - --providers.docker.network=edge
      - --providers.file.directory=/etc/traefik
      - --providers.providersthrottleduration=100ms
      - --global.checknewversion=false
    ports: ["443:443"]
    restart: unless-stopped
    volumes: ["./dynamic:/etc/traefik:ro", "/var/run/docker.sock:/var/run/docker.sock:ro"]
    networks: {edge: {ipv4_address: 172.30.0.2}}
networks:
  edge: {name: edge, ipam: {config: [{subnet: 172.30.0.0/24, gateway: 172.30.0.1}]}}
YAML
    DOCKER_BUILDKIT=0 docker compose --project-directory /srv/traefik up --build --detach >/root/traefik.log 2>&1 || die "Traefik: $(tail -n 5 /root/traefik.log)"
}

existing_traefik() {
    host
    SITE_REPOSITORY=acme/web tests/rig/images.sh 5000 1f0c9e2 2a7d410 >/dev/null
    SITE_REPOSITORY=acme/shop tests/rig/images.sh 5000 1f0c9e2 >/dev/null
    stack web 127.0.0.1:5000 www
    printf '# settings\nWEB_TAG=1f0c9e2\n' >/srv/web/.env
    docker compose --project-directory /srv/web up --detach --wait >/root/web.log 2>&1 || die "the stack: $(tail -n 5 /root/web.log)"
    wait_for 30 "the page" served www 1f0c9e2
}

# block NUMBER: the commands of the README's five minutes, the first part (on the host) or the second (in the clone).
block() {
    awk -v wanted="$1" '/^### On your own host/ { found = 1 } found && /^### / && !/On your own host/ { exit }
        found && /^```$/ { inside = 0 } inside && number == wanted { print } found && /^```sh$/ { inside = 1; number++ }' README.md
}

# recipe TITLE LANGUAGE: the first block of that language behind the paragraph of docs/operations.md that begins with TITLE.
recipe() {
    local text
    text=$(awk -v title="**$1" -v fence="\`\`\`$2" 'index($0, title) == 1 { found = 1 } inside && /^```$/ { exit } inside { print }
        found && $0 == fence { inside = 1 }' docs/operations.md)
    [[ -n $text ]] || die "docs/operations.md has no $2 behind $1"
    printf '%s\n' "$text"
}

# commands FILE: how many lines of commands there are, which is what the README counts.
commands() { awk '/^[a-z]/ { count++ } END { print count + 0 }' "$1"; }

# A repository at a forge, and a clone of it on somebody's machine: an app that is built on top of an image of the site.
repository() {
    git init --quiet --bare --initial-branch=main /root/forge/acme/web.git
    git clone --quiet /root/forge/acme/web.git /root/clone 2>/dev/null
    printf 'FROM 127.0.0.1:5000/acme/web:2a7d410\nCOPY version /www/version\n' >/root/clone/Dockerfile
    printf 'from-ci\n' >/root/clone/version
    git config --global user.name mona
    git config --global user.email mona@example.com
    git -C /root/clone add . && git -C /root/clone commit --quiet --message "A site"
    git -C /root/clone push --quiet origin HEAD:main
}

# What a forge's runner does after a push: the workflow of the commit, with what was stored in the forge.
pushed() {
    local run=/root/run
    rm -rf "$run" && git clone --quiet /root/forge/acme/web.git "$run"
    git -C "$run" remote set-url origin https://github.com/acme/web.git
    printf 'TAGALONG_SECRET=%s\n' "$(</etc/tagalong/ci.secret)" >/root/run.secrets
    printf 'TAGALONG_URL=http://127.0.0.1:8787\n' >/root/run.vars
    (cd "$run" && XDG_CACHE_HOME=/root/run.cache act push -W .github/workflows/deploy.yml -P ubuntu-latest=-self-hosted --no-cache-server \
        --env "GITHUB_RUN_ID=$(date +%s%N)" --env "GITHUB_RUN_NUMBER=$(date +%s)" --secret-file /root/run.secrets --var-file /root/run.vars </dev/null)
}

# The README's five minutes as they stand there, but for the copy from the host, which is this machine.
readme() {
    local begun took_ms on_host in_clone
    repository
    block 1 >/root/readme.sh
    block 2 | sed 's|^scp -r [^ ]*:|cp -r |' >/root/clone.sh
    on_host=$(commands /root/readme.sh) in_clone=$(commands /root/clone.sh)
    ((on_host == 7 && in_clone == 3)) || die "the README counts seven and three lines of commands, and has $on_host and $in_clone"
    grep -qF 'seven lines of commands on the host and three in the clone' README.md || die "the README counts otherwise"
    begun=$(date +%s%N)
    bash -euo pipefail /root/readme.sh >/root/readme.log 2>&1 || die "the README's commands: $(tail -n 25 /root/readme.log)"
    (cd /root/clone && bash -euo pipefail /root/clone.sh) >/root/clone.log 2>&1 || die "the README's commands in the clone: $(tail -n 25 /root/clone.log)"
    pushed >/root/pushed.log 2>&1 || die "the workflow: $(tail -n 40 /root/pushed.log)"
    took_ms=$((($(date +%s%N) - begun) / 1000000))
    # Five minutes are what the README says.
    ((took_ms < 300000)) || die "from a bare host to the first deployment from CI it took $((took_ms / 1000)) s, and the README says five minutes"
    say "from a bare host to the first deployment from CI: $on_host lines of commands on the host, $in_clone in the clone, $((took_ms / 1000)).$((took_ms % 1000 / 100)) s"
    expect "what is served" from-ci "$(page www)"
    says "$(git -C /root/clone rev-parse HEAD)" tagalong status web
    says "Nothing has changed" bash -c 'cd /srv/web && tagalong init --repository https://github.com/acme/web'
    expect "the secret's owner and mode" "root tagalong 640" "$(stat --format '%U %G %a' /etc/tagalong/ci.secret)"
    expect "the configuration's owner and mode" "root tagalong 640" "$(stat --format '%U %G %a' "$config")"
    expect "the data folder's owner and mode" "tagalong tagalong 700" "$(stat --format '%U %G %a' /var/lib/tagalong)"
    says 1f0c9e2 tagalong history web
    says "adopt" tagalong history web
    tagalong deploy web 2a7d410 >/root/deploy.log 2>&1 || die "by hand: $(tail -n 20 /root/deploy.log)"
    doctor_names_causes
    completions
}

# What goes wrong on a first day, each time with what to type.
doctor_names_causes() {
    local doctor=(tagalong doctor --user tagalong)
    chown root: /srv/web
    says "the user tagalong cannot write /srv/web" "${doctor[@]}"
    chown tagalong: /srv/web
    chown root: /srv/web/.env
    says "chown tagalong: /srv/web/.env" "${doctor[@]}"
    chown tagalong: /srv/web/.env
    chgrp root /etc/tagalong/ci.secret
    says "/etc/tagalong/ci.secret; give it to the user" "${doctor[@]}"
    expect "problems of one unreadable secret" 1 "$("${doctor[@]}" 2>&1 | grep -c '^✗')"
    chgrp tagalong /etc/tagalong/ci.secret
    gpasswd --delete tagalong docker >/dev/null
    says "usermod --append --groups docker tagalong" "${doctor[@]}"
    usermod --append --groups docker tagalong
    sed -i 's|dir = "/srv/web"|dir = "/opt/web"|' "$config"
    says "/opt/web is not there" "${doctor[@]}"
    mkdir /opt/web
    says "ReadWritePaths=/opt/web" "${doctor[@]}"
    rmdir /opt/web
    sed -i 's|dir = "/opt/web"|dir = "/srv/web"|' "$config"
    says "There is no user nobody-here" tagalong doctor --user nobody-here
    # A user whose own group is called otherwise, as it is of nobody, of users of a directory and wherever somebody says --gid.
    says "tagalong.toml: it cannot be read: Permission denied" tagalong doctor --user nobody
    "${doctor[@]}" >/root/doctor.log 2>&1 || die "the doctor finds something: $(</root/doctor.log)"
}

# completed WORD…: what bash offers for the last word.
completed() {
    bash -c '. /usr/share/bash-completion/completions/tagalong
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMP_TYPE=9
        "$(complete -p tagalong | sed "s/.*-F \([^ ]*\).*/\1/")" tagalong "${!#}" "${@:$#-1:1}" 2>&1
        printf "%s\n" "${COMPREPLY[@]}"' bash "$@"
}

# offers PATTERN WORD…: all that is offered, on one line, fits the pattern.
offers() {
    local pattern=$1
    shift
    [[ $(completed "$@" | grep -v '^-' | sort | xargs) =~ ^${pattern}$ ]]
}

# A busy machine may need longer than a person is kept waiting: then nothing is offered, and the key is pressed again.
completions() {
    wait_for 20 "the services to be completed" offers web tagalong deploy w
    wait_for 20 "the tags to be completed" offers '([0-9a-f]{40} )?1f0c9e2 ([0-9a-f]{40} )?2a7d410( [0-9a-f]{40})?' tagalong deploy web ""
    wait_for 20 "the ids to be completed" offers '[0-9A-Z]{26}( [0-9A-Z]{26}){2}' tagalong logs 0
    expect "tags without a server" "" "$(TAGALONG_URL=http://127.0.0.1:9 completed tagalong deploy web 1)"
}

upgrade() {
    rm -rf /root/tree
    dpkg-deb --raw-extract target/dist/tagalong_*.deb /root/tree
    sed -i 's/^Version: .*/&+next/' /root/tree/DEBIAN/control
    dpkg-deb -Znone --root-owner-group --build /root/tree /root/next.deb >/dev/null
    apt-get install --yes /root/next.deb >/root/upgrade.log 2>&1 || die "the upgrade: $(tail -n 10 /root/upgrade.log)"
}

package_again() {
    local before config_before
    before=$(containers) config_before=$(sha256sum "$config" /etc/tagalong/ci.secret)
    upgrade
    expect "the service after the upgrade" active "$(systemctl is-active tagalong)"
    expect "the containers after the upgrade" "$before" "$(containers)"
    expect "the configuration after the upgrade" "$config_before" "$(sha256sum "$config" /etc/tagalong/ci.secret)"
    expect "the folder's owner and mode" "root tagalong 750" "$(stat --format '%U %G %a' /etc/tagalong)"
    says 2a7d410 tagalong status web
    man --version >/dev/null 2>&1 && man --where tagalong >/dev/null
    say "upgraded: the stack was not touched"
}

# workflow GREEN|RED TEXT FILE INPUT…: a workflow as a pipeline runs it, with the README's key.
workflow() {
    local wanted=$1 text=$2 ended=GREEN
    shift 2
    TAGALONG_URL=$server TAGALONG_SECRET=$(</etc/tagalong/ci.secret) tests/rig/workflow.sh "$@" >/root/workflow.log 2>&1 || ended=RED
    expect "$*: $(tail -n 15 /root/workflow.log) the job" "$wanted" "$ended"
    grep -qF -- "$text" /root/workflow.log || die "$* did not say '$text': $(tail -n 15 /root/workflow.log)"
}

pipeline() {
    local now
    sed -i '/^listen = /d' "$config"
    recipe "Behind an existing Traefik" toml | grep -v '^\[server\]$' >/root/server.toml
    sed -i '/^\[server\]$/r /root/server.toml' "$config"
    now=$(date '+%F %T')
    systemctl reload tagalong
    wait_for 10 "the log to say what has changed" log_has "$now" server.trusted_proxies
    wait_for 10 "the log to say what waits for a restart" log_has "$now" 'keys="server.listen"'
    printf 'nonsense = 1\n' | cat - "$config" >/root/broken.toml
    cp --preserve=all "$config" /root/good.toml
    cat /root/broken.toml >"$config"
    ! systemctl reload tagalong 2>/dev/null || die "a broken configuration was read again and nobody was told"
    cat /root/good.toml >"$config"
    systemctl restart tagalong
    recipe "Behind an existing Traefik" yaml >/srv/traefik/dynamic/tagalong.yml
    server=https://deploy.example.com
    wait_for 20 "tagalong behind Traefik" curl --silent --fail "$server/healthz"
    workflow GREEN live workflows/github/deploy.yml service=web tag=1f0c9e2
    workflow GREEN live workflows/github/rollback.yml service=web
    expect "what is served after the rollback" 2a7d410 "$(page www)"
    workflow RED 'has held web since' workflows/forgejo/deploy.yml service=web tag=1f0c9e2
    tagalong resume web >/dev/null
    workflow GREEN live workflows/forgejo/deploy.yml service=web tag=1f0c9e2
    say "a pipeline: deploy, rollback and hold through Traefik, by one key"
}

nginx() {
    sed -i 's|^trusted_proxies = .*|trusted_proxies = ["172.30.0.2/32", "127.0.0.1/32"]|' "$config"
    {
        printf 'server {\n    listen 8443 ssl;\n    server_name deploy.example.com;\n'
        printf '    ssl_certificate /srv/traefik/dynamic/site.crt;\n    ssl_certificate_key /srv/traefik/dynamic/site.key;\n'
        recipe "Behind nginx" nginx
        printf '}\n'
    } >/etc/nginx/sites-enabled/tagalong
    systemctl reload tagalong
    systemctl start nginx
    server=https://deploy.example.com:8443
    wait_for 20 "tagalong behind nginx" curl --silent --fail "$server/healthz"
    workflow GREEN live workflows/github/deploy.yml service=web tag=2a7d410
    expect "what is served" 2a7d410 "$(page www)"
    systemctl stop nginx
    say "nginx: a workflow followed its deployment through it"
}

# The runner's job container is in Traefik's network, where the public name leads to Traefik.
runner_in_a_container() {
    tar --create --directory / --exclude 'usr/bin/docker*' --exclude 'usr/bin/containerd*' --exclude usr/lib/x86_64-linux-gnu/dri \
        bin lib lib64 usr/bin usr/lib/x86_64-linux-gnu usr/lib64 etc/ssl usr/share/ca-certificates usr/local/share/ca-certificates |
        docker import - runner >/dev/null
    docker run --rm --tmpfs /tmp --network edge --add-host deploy.example.com:172.30.0.2 --volume "$PWD/workflows:/workflows:ro" \
        --env "TAGALONG_SECRET=$(</etc/tagalong/ci.secret)" --env TAGALONG_URL=https://deploy.example.com --env ORDER=deploy \
        --env SERVICE=web --env TAG=1f0c9e2 --env COMMIT=1f0c9e2 --env REF=refs/heads/main --env "GITHUB_RUN_NUMBER=$(date +%s)" --env TIMEOUT_MINUTES=5 \
        --env GITHUB_SERVER_URL=https://forge.example.com --env GITHUB_REPOSITORY=acme/web --env GITHUB_RUN_ID=1 --env GITHUB_RUN_ATTEMPT=1 \
        runner bash /workflows/action/order.sh >/root/runner.log 2>&1 || die "the runner in a container: $(tail -n 20 /root/runner.log)"
    expect "what is served" 1f0c9e2 "$(page www)"
    say "a runner in a container: it landed a tag through Traefik"
}

# The same with a socket of its own and without network, as docs/operations.md has it; it still works after a restart of the server.
runner_with_a_socket() {
    local socket=/run/tagalong/runner/tagalong.sock runner
    awk '/^A runner on the same host needs neither network/ { found = 1 } found && /^```$/ { exit } inside { print } found && /^```toml$/ { inside = 1 }' \
        docs/operations.md >/root/socket.toml
    grep -qF "path = \"$socket\"" /root/socket.toml || die "the recipe's socket is not $socket"
    cat /root/socket.toml >>"$config"
    systemctl restart tagalong
    runner=$(docker run --detach --network none --volume /run/tagalong/runner:/run/tagalong/runner runner sleep infinity)
    # in_job WORD…: tagalong in the runner's container, over the socket that it was given.
    in_job() { docker exec "$runner" tagalong --socket "$socket" "$@"; }
    in_job deploy web 2a7d410 >/root/socket.log 2>&1 || die "over the socket: $(tail -n 20 /root/socket.log)"
    expect "what is served" 2a7d410 "$(page www)"
    says key:runner tagalong history web
    says "has only the scopes" in_job rollback web
    expect "what else of tagalong's is in the container" "$socket" "$(docker exec "$runner" find /run/tagalong -type s)"
    systemctl restart tagalong
    docker exec "$runner" curl --silent --show-error --fail --unix-socket "$socket" http://localhost/healthz >/dev/null || die "the socket after a restart"
    in_job deploy web 1f0c9e2 >/root/socket.log 2>&1 || die "over the socket after a restart: $(tail -n 20 /root/socket.log)"
    expect "what is served" 1f0c9e2 "$(page www)"
    docker rm --force "$runner" >/dev/null
    say "a runner with a socket of its own: it deployed, could do nothing else, and outlived a restart of the server"
}

private_registry() {
    printf '%s' let-me-pull >/root/password
    tests/rig/registry.sh up --auth --dir /root/registry-auth --port 5001 >/dev/null
    docker login 127.0.0.1:5001 --username deployer --password-stdin </root/password >/dev/null 2>&1
    SITE_REPOSITORY=acme/inner tests/rig/images.sh 5001 1f0c9e2 2a7d410 >/dev/null
    docker logout 127.0.0.1:5001 >/dev/null
    stack inner 127.0.0.1:5001
    chown tagalong: /srv/inner
    cat >>"$config" <<'TOML'
[service.inner]
dir = "/srv/inner"
project = "inner"
image = "127.0.0.1:5001/acme/inner"
variable = "INNER_TAG"
[service.inner.smoke]
url = "https://inner.example.com/"
TOML
    systemctl reload tagalong
    says "docker login 127.0.0.1:5001" tagalong doctor --user tagalong
    runuser -u tagalong -- env -u DOCKER_CONFIG HOME=/var/lib/tagalong docker login 127.0.0.1:5001 --username deployer --password-stdin </root/password >/dev/null 2>&1
    tagalong doctor --user tagalong >/root/doctor.log 2>&1 || die "the doctor after the login: $(</root/doctor.log)"
    tagalong deploy inner 1f0c9e2 >/root/inner.log 2>&1 || die "the private registry: $(tail -n 20 /root/inner.log)"
    # The other way: a password of the configuration, which may be rotated without a word to the server.
    runuser -u tagalong -- env -u DOCKER_CONFIG HOME=/var/lib/tagalong docker logout 127.0.0.1:5001 >/dev/null
    install -o root -g tagalong -m 0640 /dev/stdin /etc/tagalong/registry.password <<<"yesterday's"
    printf '[[registry]]\nhost = "127.0.0.1:5001"\nuser = "deployer"\npassword_file = "registry.password"\n' >>"$config"
    systemctl reload tagalong
    ! tagalong deploy inner 2a7d410 >/root/inner.log 2>&1 || die "a wrong password was taken"
    cat /root/password >/etc/tagalong/registry.password
    tagalong deploy inner 2a7d410 >/root/inner.log 2>&1 || die "the password that was rotated: $(tail -n 20 /root/inner.log)"
    expect "what is served" 2a7d410 "$(page inner)"
    say "a private registry: by docker login, and by a password that was rotated without a reload"
}

several_services() {
    local web now
    web=$(docker compose --project-directory /srv/web ps --quiet)
    stack shop
    chown tagalong: /srv/shop
    cat >>"$config" <<'TOML'
[service.shop]
dir = "/srv/shop"
project = "shop"
image = "127.0.0.1:5000/acme/shop"
variable = "SHOP_TAG"
[service.shop.smoke]
url = "https://shop.example.com/"
TOML
    now=$(date '+%F %T')
    systemctl reload tagalong
    wait_for 10 "the log to name the new service" log_has "$now" 'service.shop (new)'
    tagalong deploy shop 1f0c9e2 >/root/shop.log 2>&1 || die "the second service: $(tail -n 20 /root/shop.log)"
    expect "what is served" 1f0c9e2 "$(page shop)"
    expect "the other service's container" "$web" "$(docker compose --project-directory /srv/web ps --quiet)"
    wait_for 20 "the new service to be completed" offers 'inner shop web' tagalong status ""
    # What is new here belongs to neither of the other hosts.
    docker compose --project-directory /srv/inner down >/dev/null 2>&1
    say "several services: the new one landed, the other was not touched"
}

away() {
    (umask 000 && tagalong backup /var/backups/tagalong >/dev/null)
    expect "the backup's modes" "600 600 700" "$(stat --format %a /var/backups/tagalong /var/backups/tagalong/* | sort | xargs)"
    expect "the service while it is copied" active "$(systemctl is-active tagalong)"
    says 1f0c9e2 tagalong status web
    # The images of this host's registry, which stands for one that both hosts reach.
    tests/rig/registry.sh down --keep --dir /root/registry
}

installed() { apt-get install --yes ./target/dist/tagalong_*.deb >/root/install.log 2>&1 || die "the package: $(tail -n 10 /root/install.log)"; }

other_host() {
    host
    docker compose --project-directory /srv/web up --detach --wait >/root/web.log 2>&1 || die "the stack: $(tail -n 5 /root/web.log)"
    docker compose --project-directory /srv/shop up --detach --wait >/root/shop.log 2>&1 || die "the stack: $(tail -n 5 /root/shop.log)"
    wait_for 30 "the page" served www 1f0c9e2
    without_inner
    chown tagalong: /srv/shop /srv/shop/.env
    recipe "Moving to another host" sh >/root/moving.sh
    bash -euo pipefail /root/moving.sh >/root/moving.log 2>&1 || die "the recipe on the other host: $(tail -n 30 /root/moving.log)"
    says "verified" tagalong status web
    says adopt tagalong history web
    tagalong deploy web 2a7d410 >/root/deploy.log 2>&1 || die "on the other host: $(tail -n 20 /root/deploy.log)"
    tagalong rollback web >/root/rollback.log 2>&1 || die "back on the other host: $(tail -n 20 /root/rollback.log)"
    expect "what is served" 1f0c9e2 "$(page www)"
    say "another host: it knows its history, deploys and goes back"
}

# The private registry stays on the first host.
without_inner() { sed -i '/^\[service.inner\]/,/^url/d; /^\[\[registry\]\]/,/^password_file/d' "$config"; }

lost_disk() {
    host
    without_inner
    sed -i '/^\[service.shop\]/,/^url/d' "$config"
    # The tag of the last green run in the forge.
    printf 'WEB_TAG=1f0c9e2\n' >/srv/web/.env
    chown tagalong: /srv/web /srv/web/.env
    docker compose --project-directory /srv/web up --detach --wait >/root/web.log 2>&1 || die "the stack: $(tail -n 5 /root/web.log)"
    wait_for 30 "the page" served www 1f0c9e2
    systemctl enable --now tagalong 2>/dev/null
    tagalong adopt web >/root/adopt.log 2>&1 || die "the adoption: $(tail -n 20 /root/adopt.log)"
    tagalong deploy web 2a7d410 >/root/deploy.log 2>&1 || die "after the disk was lost: $(tail -n 20 /root/deploy.log)"
    tagalong rollback web --to 1f0c9e2 >/root/rollback.log 2>&1 || die "back to what was adopted: $(tail -n 20 /root/rollback.log)"
    expect "what is served" 1f0c9e2 "$(page www)"
    say "a lost disk: adopted, deployed, and gone back by the tag of what was adopted"
}

removed_and_purged() {
    local before
    before=$(containers)
    apt-get remove --yes tagalong >/root/remove.log 2>&1 || die "removing: $(tail -n 10 /root/remove.log)"
    [[ ! -e /usr/bin/tagalong && -s /var/lib/tagalong/tagalong.db && -s $config && -s /srv/web/.env ]] || die "removing left too much or too little"
    expect "the containers after removing" "$before" "$(containers)"
    installed
    systemctl start tagalong
    says adopt tagalong history web
    apt-get purge --yes tagalong >/root/purge.log 2>&1 || die "purging: $(tail -n 10 /root/purge.log)"
    [[ ! -e /var/lib/tagalong && ! -e $config ]] || die "purging left something of ours"
    [[ -s /etc/tagalong/ci.secret && -s /srv/web/.env ]] || die "purging took somebody else's files"
    expect "the containers after purging" "$before" "$(containers)"
    expect "units that are left" "" "$(systemctl list-unit-files --no-legend 'tagalong*' | xargs)"
    served www 1f0c9e2 || die "the page is gone"
    say "removed and purged: the stacks run on"
}

"${1:?a part}"
