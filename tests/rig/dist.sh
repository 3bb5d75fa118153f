#!/usr/bin/env bash
# What is given to others: a Debian package, and one static binary that needs nothing of the host's libraries.
#
#   tests/rig/dist.sh [deb] [static]   both by default; the files go to target/dist, whose path is printed
#
# TAGALONG_BIN names a binary for the package that is built already. The same sources give the same bytes: times are those of
# the last commit ($SOURCE_DATE_EPOCH where that is set), owners are root, and files come in the order of their names.
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

# The libraries that the binary names, with the versions that it needs at least.
libraries() {
    mkdir -p "$work/shlibs/debian"
    printf 'Source: tagalong\n\nPackage: tagalong\nArchitecture: any\nDescription: x\n' >"$work/shlibs/debian/control"
    (cd "$work/shlibs" && dpkg-shlibdeps -O "$tree/usr/bin/tagalong" 2>/dev/null) | sed -n 's/^shlibs:Depends=//p'
}

control() {
    cat <<CONTROL
Package: tagalong
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: The tagalong authors <tagalong@localhost>
Installed-Size: $(du --apparent-size --summarize --block-size=1K "$tree" | cut -f1)
Depends: $(libraries), adduser, ca-certificates
Recommends: docker.io | docker-ce, docker-compose-plugin | docker-compose-v2, git
Suggests: chromium
Section: admin
Priority: optional
Description: lands tags on docker compose, verifies them, undoes them
 A companion for GitHub and Forgejo Actions runners. CI calls it with a tag. It
 proves who calls, pins the tag's digest, brings the release up with docker
 compose on the host where it runs, looks at the page from outside, and undoes
 the release when the page does not hold.
CONTROL
}

deb() {
    local binary=${TAGALONG_BIN:-$target/release/tagalong} tree=$work/tree part package
    "$here/install.sh" dist
    if [[ ! ${TAGALONG_BIN:-} ]]; then built "$work/build.log" --release --locked --bin tagalong || die "tagalong could not be built"; fi
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
    for part in README.md SECURITY.md docs/operations.md docs/reference.md docs/smoke.md docs/data.md CHANGELOG.md; do
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
    find "$tree" -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    mkdir -p "$dist"
    package=$dist/tagalong_${version}_$(dpkg --print-architecture).deb
    dpkg-deb --root-owner-group --build "$tree" "$package" >/dev/null
    lintian --allow-root --fail-on error,warning "$package" >&2 ||
        die "lintian complains of $package"
    printf '%s\n' "$package"
}

static() {
    local triple name
    triple=$(uname -m)-unknown-linux-musl name=tagalong-$version-$(uname -m)-linux-static
    "$here/install.sh" static
    built "$work/static.log" --release --locked --target "$triple" --bin tagalong || die "the static binary could not be built"
    # Loading needs nothing of the host: no interpreter is named.
    ! readelf --program-headers "$target/$triple/release/tagalong" | grep -q INTERP || die "the binary is not static"
    mkdir -p "$dist" "$work/$name"
    install -m 755 "$target/$triple/release/tagalong" "$work/$name/"
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
