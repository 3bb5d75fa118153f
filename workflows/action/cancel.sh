#!/usr/bin/env bash
# Cancels the order that this job placed, for action.yml: if it waits, it ends; if it runs, it undoes what it changed.
set -euo pipefail
here=${BASH_SOURCE[0]%/*}
# shellcheck source=workflows/action/text.sh
. "$here/text.sh"
# shellcheck source=workflows/action/call.sh
. "$here/call.sh"

main() {
  local tries=0 path
  check_tools
  if [[ ! ${DEPLOYMENT:-} ]]; then
    say "no server has accepted an order of this job, as far as the job knows, so there is nothing to cancel"
    return
  fi
  [[ $DEPLOYMENT =~ ^[A-Za-z0-9_-]{1,64}$ ]] || fail "the input id does not name a deployment"
  trap 'rm -rf "${work:-}"' EXIT
  prepare_calls
  path=/api/v1/deployments/$DEPLOYMENT/cancel
  while :; do
    # Each attempt has a token of its own: the one of the order is used up.
    if [[ ! $key_hex ]]; then fresh_id_token; fi
    post "$path" "cancel-$(random_hex 12)" "{\"call\":\"POST $path\"}"
    case $status in
      200)
        printf '::notice title=tagalong::%s\n' "$(command_text "$(field message "$(answer)")")"
        return
        ;;
      409)
        say "deployment $DEPLOYMENT is not cancelled: $(detail)"
        return
        ;;
      000 | 429 | 5??)
        if ((++tries >= 6)); then fail "deployment $DEPLOYMENT was not cancelled, and continues; the last answer was $status $(detail)"; fi
        pause "$tries"
        ;;
      *) fail "deployment $DEPLOYMENT was not cancelled, and continues: $status $(detail)" ;;
    esac
  done
}

main
