#!/usr/bin/env bash
# Builds images of the demo site and pushes them to a registry on this machine.
#
#   tests/rig/images.sh PORT [TAG[=VARIANT[+VARIANT…]]…]
#
# Each image serves / (a page with a stylesheet, a script and a picture), /healthz and /version (its tag as text), and
# checks its own health. Without tags the three of the demo are made: 1f0c9e2, 2a7d410 and 3bad5c1=http.
#
# VARIANT   http        the page writes http:// in front of its stylesheet, as behind a proxy that it does not know of
#           broken      the page names a script that is not there
#           unhealthy   /healthz is missing, so the health check fails
#           crash       ends with exit code 1 soon after its start
#           nohealth    has no health check
#           slow        needs three seconds before it answers
#
# SITE_REPOSITORY (acme/site) is the repository's name. Prints one line an image: reference, tab, digest.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"

port=${1-}
[[ $port =~ ^[0-9]+$ ]] || die "usage: images.sh PORT [TAG[=VARIANT[+VARIANT…]]…]"
shift
(($#)) || set -- 1f0c9e2 2a7d410 3bad5c1=http
repository=${SITE_REPOSITORY:-acme/site}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# page TAG VARIANTS: the files of one site. The colour follows the tag, so that a look tells two releases apart.
page() {
    local tag=$1 variants=$2 assets='' script=app.js colour
    [[ $variants == *+http+* ]] && assets=http://site.example.com/
    [[ $variants == *+broken+* ]] && script=gone.js
    colour=$(printf '%s' "$tag" | cksum | awk '{ print $1 % 360 }')
    mkdir -p "$work/www"
    sed -e "s|@TAG@|$tag|g" -e "s|@ASSETS@|$assets|g" -e "s|@SCRIPT@|$script|g" "$here/site/index.html" >"$work/www/index.html"
    sed -e "s|@COLOUR@|$colour|g" "$here/site/style.css" >"$work/www/style.css"
    cp "$here/site/app.js" "$here/site/tag.svg" "$work/www/"
    printf '%s\n' "$tag" >"$work/www/version"
    rm -f "$work/www/healthz"
    [[ $variants == *+unhealthy+* ]] || printf 'ok\n' >"$work/www/healthz"
}

dockerfile() {
    local tag=$1 variants=$2 start='exec httpd -f -p 80 -h /www'
    [[ $variants == *+slow+* ]] && start="sleep 3; $start"
    [[ $variants == *+crash+* ]] && start='echo "cannot open the data folder: /data is missing" >&2; sleep 0.3; exit 1'
    cat <<DOCKERFILE
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY www /www
LABEL org.opencontainers.image.title="demo site" org.opencontainers.image.version="$tag" org.opencontainers.image.revision="$tag"
EXPOSE 80
# busybox as process 1 does not listen to SIGTERM: every stop would take the whole grace period.
STOPSIGNAL SIGKILL
DOCKERFILE
    [[ $variants == *+nohealth+* ]] ||
        echo 'HEALTHCHECK --interval=500ms --timeout=2s --retries=4 CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1/healthz"]'
    # JSON form, so that the command is the process itself.
    jq -nr --arg start "$start" '"CMD " + (["/bin/sh", "-c", $start] | tojson)'
}

cp "$(command -v busybox)" "$work/busybox"
for wanted in "$@"; do
    tag=${wanted%%=*}
    variants=+${wanted#"$tag"}+
    variants=${variants/=/}
    for variant in ${variants//+/ }; do
        case $variant in
            http | broken | unhealthy | crash | nohealth | slow) ;;
            *) die "unknown variant '$variant' in '$wanted'" ;;
        esac
    done
    reference=127.0.0.1:$port/$repository:$tag
    page "$tag" "$variants"
    dockerfile "$tag" "$variants" >"$work/Dockerfile"
    # The classic builder is all that Debian's engine has; with BuildKit the same file builds as well.
    docker build --quiet --tag "$reference" "$work" >"$work/log" 2>&1 || die "docker build of $reference failed: $(tail -n 5 "$work/log")"
    docker push --quiet "$reference" >"$work/log" 2>&1 || die "docker push of $reference failed: $(tail -n 5 "$work/log")"
    digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$reference" |
        grep -F "127.0.0.1:$port/$repository@" | head -n 1)
    printf '%s\t%s\n' "$reference" "${digest#*@}"
done
