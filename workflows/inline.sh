#!/usr/bin/env bash
# Puts workflows/order.sh into every workflow that marks a step with "run: | # workflows/order.sh".
# A reusable workflow that another repository calls has no checkout of this one, so it carries the script in itself.
#
#   workflows/inline.sh           writes the workflows
#   workflows/inline.sh --check   only says which are behind; exit code 1 when there are any
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

inlined() {
    awk '
        FNR == NR { script[++lines] = $0; next }
        match($0, /^ *run: \| # workflows\/order\.sh$/) {
            print
            depth = index($0, "run:") - 1
            for (i = 1; i <= lines; i++) print (script[i] == "" ? "" : sprintf("%*s%s", depth + 2, "", script[i]))
            inside = 1
            next
        }
        inside && ($0 == "" || match($0, /[^ ]/) - 1 > depth) { next }
        { inside = 0; print }
    ' <(grep -v '^# shellcheck' order.sh) "$1"
}

behind=0
for file in github/*.yml forgejo/*.yml; do
    grep -q '# workflows/order\.sh$' "$file" || continue
    if inlined "$file" | cmp -s - "$file"; then continue; fi
    if [[ ${1-} == --check ]]; then
        echo "workflows/$file carries another script than workflows/order.sh: run workflows/inline.sh" >&2
        behind=1
    else
        fresh=$(mktemp)
        inlined "$file" >"$fresh"
        cat "$fresh" >"$file"
        rm -f "$fresh"
    fi
done
exit "$behind"
