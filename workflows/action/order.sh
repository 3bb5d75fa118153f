#!/usr/bin/env bash
# Sends one order to tagalong and follows it to its end, for action.yml. Needs bash, curl, and openssl or coreutils.
set -euo pipefail
here=${BASH_SOURCE[0]%/*}
# shellcheck source=workflows/action/text.sh
. "$here/text.sh"
# shellcheck source=workflows/action/call.sh
. "$here/call.sh"
# shellcheck source=workflows/action/follow.sh
. "$here/follow.sh"
# shellcheck source=workflows/action/report.sh
. "$here/report.sh"

main() {
  deployment='' outcome='' summary='' why='' digest='' was='' now='' took=''
  trap finish EXIT
  check_tools
  read_inputs
  prepare_calls
  send
  if [[ $deployment ]]; then
    say "deployment $deployment"
    follow
  fi
  report
  exit_code
}

# Outputs are set however it ends. Read again after those of `send`, the last ones count.
finish() {
  group_ends
  output outcome "${outcome:-unknown}"
  output digest "$digest"
  rm -rf "${work:-}"
}

read_inputs() {
  local minutes=${TIMEOUT_MINUTES:-30}
  ORDER=${ORDER:-deploy}
  case $ORDER in
    deploy) path=/api/v1/deployments TAG=${TAG:-${COMMIT:-${GITHUB_SHA:-}}} ;;
    rollback) path=/api/v1/rollbacks ;;
    *) fail "the input order must be deploy, rollback or cancel; it is '$ORDER'" ;;
  esac
  case ${ON_CANCEL:-cancel} in
    cancel | leave) ;;
    *) fail "the input on-cancel must be cancel or leave; it is '$ON_CANCEL'" ;;
  esac
  case ${ON_APPROVAL:-wait} in
    wait | leave) ;;
    *) fail "the input on-approval must be wait or leave; it is '$ON_APPROVAL'" ;;
  esac
  [[ $minutes =~ ^[0-9]{1,4}$ ]] || fail "the input timeout must be a whole number of minutes, at most 9999; it is '$minutes'"
  deadline=$((SECONDS + 10#$minutes * 60))
  what="$SERVICE${TAG:+ $TAG}"
  title="tagalong%3A $(property_text "$what")"
  order=$(order_body)
  # A repeated attempt of this run is the same order; a re-run by a person is a new one.
  order_id="run-${GITHUB_RUN_ID//[^0-9A-Za-z_-]/}-${GITHUB_RUN_ATTEMPT:-1}-$(printf '%s' "$path$order" | sha256 | cut -c 1-16)"
}

# A key says for which commit, ref and run it orders; with a token of the job they are taken from the token.
order_body() {
  local body commit=${COMMIT:-} ref=${REF:-}
  body="{\"service\":$(json "$SERVICE")"
  if [[ $ORDER == rollback ]]; then
    if [[ ${TAG:-} ]]; then body+=",\"to\":{\"tag\":$(json "$TAG")}"; fi
  else
    body+=",\"tag\":$(json "$TAG")"
    if [[ ${TAGALONG_SECRET:-} ]]; then
      commit=${commit:-${GITHUB_SHA:-}} ref=${ref:-${GITHUB_REF:-}}
      body+=",\"run_url\":$(json "$(run_url)")"
      if [[ ${GITHUB_RUN_NUMBER:-} =~ ^[1-9][0-9]{0,17}$ ]]; then body+=",\"run_number\":$GITHUB_RUN_NUMBER"; fi
    fi
    if [[ $commit ]]; then body+=",\"commit\":$(json "$commit")"; fi
    if [[ $ref ]]; then body+=",\"ref\":$(json "$ref")"; fi
  fi
  if [[ ${REASON:-} ]]; then body+=",\"reason\":$(json "$REASON")"; fi
  printf '%s}' "$body"
}

# The page of this run: GitHub counts runs over all, Forgejo and Gitea within the repository.
run_url() {
  local run=$GITHUB_RUN_ID
  if [[ ${FORGEJO_ACTIONS:-} == true || ${GITEA_ACTIONS:-} == true ]]; then run=$GITHUB_RUN_NUMBER; fi
  printf '%s/%s/actions/runs/%s' "$GITHUB_SERVER_URL" "$GITHUB_REPOSITORY" "$run"
}

# Posts the order until it is accepted or refused. Its id stays, or its token, so the same order is never carried out twice.
send() {
  local tries=0 stopped=''
  if [[ ! $key_hex ]]; then fresh_id_token; fi
  # A job that is cancelled in this moment waits for the answer, which names what is to be cancelled.
  trap 'stopped=yes' INT TERM
  while [[ ! $stopped ]]; do
    post "$path" "$order_id" "$order"
    case $status in
      202) break ;;
      000 | 429 | 5??)
        if ((++tries >= 8 || SECONDS >= deadline)); then
          fail "$server did not accept the order in $tries attempts; the last answer was $status $(detail)"
        fi
        pause "$tries"
        ;;
      422)
        # A guard refused the order before it was accepted: the same as a deployment that ended refused.
        outcome=refused summary=$(detail)
        break
        ;;
      *) refused ;;
    esac
  done
  if [[ ${status:-} == 202 ]]; then accepted; fi
  trap - INT TERM
  if [[ $stopped ]]; then exit 130; fi
}

refused() { fail "$server refused the order with $status: $(detail)"; }

# Set at once, since the step that cancels an order reads them.
accepted() {
  local location
  location=$(header location)
  [[ ${location##*/} =~ ^[A-Za-z0-9_-]{1,64}$ ]] || fail "the answer to the order does not name a deployment; is $server a tagalong server?"
  deployment=${location##*/}
  output id "$deployment"
  output url "$server/api/v1/deployments/$deployment"
  # A server issues one only where nobody on the way can read it, and not for a repeated signed order.
  read_token=$(header tagalong-read-token)
  [[ ! $read_token || $read_token =~ ^[A-Za-z0-9._~+/=-]+$ ]] || fail "the read token in the answer to the order is not valid"
}

main
