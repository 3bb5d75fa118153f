#!/usr/bin/env bash
# Builds what is given to others: a Debian package, and a static binary that needs no library of the host.
#
#   tests/rig/dist.sh [deb] [static]   both by default; the files go to target/dist, and their paths are printed
#
# TAGALONG_BIN names a binary for the package that is built already. The same binary and sources give the same package, byte for
# byte: times are those of the last commit ($SOURCE_DATE_EPOCH if that is set), owners are root, and files are sorted by name. The
# package is made twice, in different folders, and compared.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"
cd "$root"

target=${CARGO_TARGET_DIR:-$root/target}
dist=$target/dist
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# file MODE SOURCE TARGET: into the package's tree.
file() { install -D -m "$1" "$2" "$tree/$3"; }

# zipped TARGET: standard input, compressed without a time of its own.
zipped() {
    mkdir -p "$(dirname "$tree/$1")"
    gzip -9n >"$tree/$1"
    chmod 644 "$tree/$1"
}

copyright() {
    printf '%s\n' 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/' 'Upstream-Name: tagalong' '' \
        'Files: *' 'Copyright: 2026 The tagalong authors' 'License: MIT or Apache-2.0' '' 'License: MIT'
    sed -n '/^Permission/,$p' LICENSE-MIT | sed 's/^$/./; s/^/ /'
    printf '%s\n' '' 'License: Apache-2.0' ' On Debian systems the text of the licence is in /usr/share/common-licenses/Apache-2.0.'
}

changelog() {
    printf 'tagalong (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n -- The tagalong authors <tagalong@localhost>  %s\n' \
        "$version" "$(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")"
}

# The libraries that the binary names, with the versions that it needs at least, each with a comma; none for a static one.
libraries() {
    if is_static "$tree/usr/bin/tagalong"; then return; fi
    mkdir -p "$work/shlibs/debian"
    printf 'Source: tagalong\n\nPackage: tagalong\nArchitecture: any\nDescription: x\n' >"$work/shlibs/debian/control"
    (cd "$work/shlibs" && dpkg-shlibdeps -O "$tree/usr/bin/tagalong" 2>/dev/null) | sed -n 's/^shlibs:Depends=\(.*\)/\1, /p'
}

# A static binary names no interpreter that would load libraries.
is_static() { ! LC_ALL=C readelf --program-headers "$1" | grep -q INTERP; }

# In KiB, as dpkg-gencontrol counts it: what a folder takes up on the disk differs from one file system to the next.
installed_size() { find "$tree" -path "$tree/DEBIAN" -prune -o -printf '%y %s\n' | awk '{ size += $1 == "f" ? int(($2 + 1023) / 1024) : 1 } END { print size }'; }

control() {
    cat <<CONTROL
Package: tagalong
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: The tagalong authors <tagalong@localhost>
Installed-Size: $(installed_size)
Depends: $(libraries)adduser, ca-certificates
Recommends: docker.io | docker-ce, docker-compose-plugin | docker-compose-v2, git
Suggests: chromium
Section: admin
Priority: optional
Description: deploys with docker compose, verifies and rolls back
 A companion for GitHub and Forgejo Actions runners. CI calls it with a tag. It
 authenticates the caller, pins the tag's digest, deploys the release with
 docker compose on its own host, checks the page from outside as a browser
 would, and restores the previous release if the check fails.
CONTROL
}

# tree BINARY: the files of the package, in the folder $tree.
tree() {
    local binary=$1 part
    file 755 "$binary" usr/bin/tagalong
    strip --strip-unneeded "$tree/usr/bin/tagalong"
    file 644 config/tagalong.service lib/systemd/system/tagalong.service
    file 640 config/debian/tagalong.toml etc/tagalong/tagalong.toml
    chmod 750 "$tree/etc/tagalong"
    file 644 config/debian/lintian-overrides usr/share/lintian/overrides/tagalong
    file 644 config/tagalong.toml usr/share/doc/tagalong/examples/tagalong.toml
    for part in deploy.yml rollback.yml; do
        file 644 "workflows/github/$part" "usr/share/doc/tagalong/examples/github/$part"
        file 644 "workflows/forgejo/$part" "usr/share/doc/tagalong/examples/forgejo/$part"
    done
    for part in README.md SECURITY.md CHANGELOG.md docs/*.md; do
        cat "$part" | zipped "usr/share/doc/tagalong/${part##*/}.gz"
    done
    changelog | zipped usr/share/doc/tagalong/changelog.gz
    copyright >"$work/copyright" && file 644 "$work/copyright" usr/share/doc/tagalong/copyright
    "$binary" man | zipped usr/share/man/man1/tagalong.1.gz
    "$binary" completions bash >"$work/bash" && file 644 "$work/bash" usr/share/bash-completion/completions/tagalong
    "$binary" completions zsh >"$work/zsh" && file 644 "$work/zsh" usr/share/zsh/vendor-completions/_tagalong
    "$binary" completions fish >"$work/fish" && file 644 "$work/fish" usr/share/fish/vendor_completions.d/tagalong.fish
    mkdir "$tree/DEBIAN"
    install -m 755 config/debian/postinst config/debian/prerm config/debian/postrm "$tree/DEBIAN/"
    printf '/etc/tagalong/tagalong.toml\n' >"$tree/DEBIAN/conffiles"
    (cd "$tree" && find . -path ./DEBIAN -prune -o -path ./etc -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
    control >"$tree/DEBIAN/control"
    find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

# compiled_as_always NAME ARGUMENT…: cargo build. C libraries would be compiled anew where this variable is set, and everything above them.
compiled_as_always() { (
    unset SOURCE_DATE_EPOCH
    built "$work/$1.log" "${@:2}"
); }

# package BINARY TREE FILE: the package FILE, from the folder TREE, which is made for it.
package() {
    local tree=$2
    tree "$1"
    dpkg-deb --root-owner-group --build "$tree" "$3" >/dev/null
}

deb() {
    local binary=${TAGALONG_BIN:-$target/release/tagalong} deb
    "$here/install.sh" dist
    if [[ ! ${TAGALONG_BIN:-} ]]; then compiled_as_always build --release --locked || die "tagalong could not be built"; fi
    mkdir -p "$dist"
    deb=$dist/tagalong_${version}_$(dpkg --print-architecture).deb
    package "$binary" "$work/tree" "$deb"
    package "$binary" "$work/elsewhere/again" "$work/again.deb"
    cmp "$deb" "$work/again.deb" >&2 || die "the package is not the same when it is built again"
    lintian --allow-root --fail-on error,warning "$deb" >&2 || die "lintian complains about $deb"
    printf '%s\n' "$deb"
}

static() {
    local triple name binary
    triple=$(uname -m)-unknown-linux-musl name=tagalong-$version-$(uname -m)-linux-static
    "$here/install.sh" static
    compiled_as_always static --release --locked --target "$triple" --bin tagalong || die "the static binary could not be built"
    binary=$target/$triple/release/tagalong
    is_static "$binary" || die "$binary is not static"
    "$binary" --version >&2 || die "$binary does not run"
    mkdir -p "$dist" "$work/$name"
    install -m 755 "$binary" "$work/$name/"
    install -m 644 config/tagalong.service config/tagalong.toml README.md LICENSE-MIT LICENSE-APACHE "$work/$name/"
    tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --directory "$work" "$name" | gzip -9n >"$dist/$name.tar.gz"
    printf '%s\n' "$dist/$name.tar.gz"
}

(($#)) || set -- deb static
for part in "$@"; do
    case $part in
        deb | static) "$part" ;;
        *) die "unknown part '$part': deb or static" ;;
    esac
done
