# shellcheck shell=bash
# Sends one signed order to tagalong and follows it to its end. Needs bash, curl and openssl.
# Kept in workflows/order.sh; workflows/inline.sh puts it into each workflow, which so needs no checkout.
# Text from inputs, the forge and the server is only text: it is never an operand of arithmetic (which would run a command in a subscript),
# and it reaches the log only where the runner does not take it for a command.
set -euo pipefail

# Text for a workflow command: one line, as the runner decodes it.
command_text() {
  local text=$1
  text=${text//'%'/%25} text=${text//$'\r'/%0D} text=${text//$'\n'/%0A}
  printf '%s' "$text"
}

fail() {
  printf '::error title=tagalong::%s\n' "$(command_text "$*")"
  exit 1
}

# A line of the log with text from outside: the runner finds "##[command]" anywhere in a line.
say() {
  local text=${1//[[:cntrl:]]/ }
  text=${text//'##['/'# #['}
  printf '%s\n' "$text"
}

# number TEXT MOST FALLBACK: a whole number in decimal, at most MOST; FALLBACK where TEXT is none.
number() {
  if [[ ! $1 =~ ^[0-9]+$ ]]; then
    printf '%s' "$3"
  elif ((${#1} > 9 || 10#$1 > $2)); then
    printf '%s' "$2"
  else
    printf '%s' "$((10#$1))"
  fi
}

# Text inside HTML.
html() {
  local text=${1//[[:cntrl:]]/ }
  text=${text//'&'/'&amp;'} text=${text//'<'/'&lt;'} text=${text//'>'/'&gt;'}
  printf '%s' "$text"
}

# A JSON string; control characters have no business in any field and become spaces.
json() {
  local text=${1//[[:cntrl:]]/ }
  text=${text//\\/\\\\} text=${text//\"/\\\"}
  printf '"%s"' "$text"
}

# field NAME JSON: the text of a string field, decoded, on one line. Quotes inside a text are escaped, so the first hit is the field.
field() {
  local pattern="\"$1\": *\"(([^\"\\\\]|\\\\.)*)\"" text
  [[ $2 =~ $pattern ]] || return 0
  text=${BASH_REMATCH[1]}
  text=${text//\\\//\/} text=${text//\\\"/\"}
  # The dot keeps line ends at the end, which a substitution would take away.
  text=$(printf '%b.' "$text") text=${text%.}
  printf '%s' "${text//[[:cntrl:]]/ }"
}

order_body() {
  local body
  body="{\"service\":$(json "$SERVICE")"
  if [[ $ORDER == rollbacks ]]; then
    if [[ ${TAG:-} ]]; then body+=",\"to\":{\"tag\":$(json "$TAG")}"; fi
  else
    body+=",\"tag\":$(json "$TAG"),\"commit\":$(json "$COMMIT"),\"ref\":$(json "$REF"),\"run_url\":$(json "$RUN_URL")"
    [[ $RUN_NUMBER =~ ^[1-9][0-9]{0,17}$ ]] && body+=",\"run_number\":$RUN_NUMBER"
  fi
  if [[ ${REASON:-} ]]; then body+=",\"reason\":$(json "$REASON")"; fi
  printf '%s}' "$body"
}

# The key, padded to a block of SHA-256, every byte xor $1.
key_pad() {
  local i out=
  for ((i = 0; i < 128; i += 2)); do
    printf -v out '%s\\x%02x' "$out" $((16#${key_hex:i:2} ^ $1))
  done
  printf '%b' "$out"
}

# HMAC-SHA256 of standard input, base64. Written out, because openssl takes a key only as an argument, for every process to see.
hmac() {
  { key_pad 0x5c; { key_pad 0x36; cat; } | openssl dgst -sha256 -binary; } | openssl dgst -sha256 -binary | openssl base64 -A
}

# Posts the order once; prints the status, "000" when there was no answer. The id stays, so the same order is never carried out twice.
post() {
  local time
  time=$(date +%s)
  curl --globoff --silent --show-error --max-time 60 --output "$work/answer" --dump-header "$work/headers" --write-out '%{http_code}' \
    --header 'content-type: application/json' --header "webhook-id: $id" --header "webhook-timestamp: $time" \
    --header "webhook-signature: v1,$(printf '%s' "$id.$time.$body" | hmac)" \
    --data-binary "$body" "$TAGALONG_URL/api/v1/$ORDER" || true
}

header() { sed -n "s/^$1: *//Ip" "$work/headers" | tr -d '\r' | tail -n 1; }

send() {
  local status tries=0 pause answer
  while :; do
    : >"$work/answer"
    : >"$work/headers"
    status=$(post)
    answer=$(<"$work/answer")
    case $status in
      202) break ;;
      000 | 429 | 5??)
        if ((++tries >= 8 || SECONDS >= deadline)); then
          fail "$TAGALONG_URL did not accept the order in $tries attempts; the last answer was $status $(field detail "$answer")"
        fi
        pause=$(number "$(header retry-after)" 60 "$((1 << (tries < 5 ? tries : 5)))")
        say "no answer yet ($status $(field detail "$answer")), trying again in $pause s"
        sleep "$pause"
        ;;
      422)
        # A guard refused the order before it was accepted: the same as a deployment that ended refused.
        outcome=refused summary=$(field detail "$answer") deployment=''
        return
        ;;
      *) fail "$TAGALONG_URL refused the order with $status: $(field detail "$answer")" ;;
    esac
  done
  deployment=$(header location)
  deployment=${deployment##*/}
  [[ $deployment =~ ^[A-Za-z0-9_-]+$ ]] || fail "the answer to the order does not name a deployment; is $TAGALONG_URL a tagalong server?"
  # A server issues one only where nobody on the way can read it, and not for a repeated order.
  token=$(header tagalong-read-token)
  [[ ! $token || $token =~ ^[A-Za-z0-9._~+/=-]+$ ]] || fail "the read token in the answer to the order is not valid"
}

# One event of the stream.
event() {
  local kind text
  if [[ $event_name == outcome ]]; then
    outcome=$(field outcome "$event_data") why=$(field why "$event_data")
    [[ $outcome =~ ^[a-z_]{1,32}$ ]] || outcome=unknown
    summary=$(field summary "$event_data")
    return
  fi
  kind=$(field kind "$event_data")
  text=$(field text "$event_data")
  case $kind in
    step) say "== $text" ;;
    outcome) ;; # said by the last event
    warning | error) annotate "$kind" "$text" ;;
    *) say "   $text" ;;
  esac
}

# A warning or an error of the journal, as an annotation, which the log shows as well. The forge shows ten of a kind for a step.
annotate() {
  if ((annotations[$1] >= 8)); then
    say "   $1: $2"
    return
  fi
  annotations[$1]=$((annotations[$1] + 1))
  if [[ $1 == error ]]; then errors+=("$2"); fi
  end_fence
  printf '::%s title=%s::%s\n' "$1" "$title" "$(command_text "$2")"
  begin_fence
}

# Reads the journal from the line after $last on, until the outcome or until the connection ends.
follow_once() {
  local line event_name='' event_data='' event_id='' path="/api/v1/deployments/$deployment/log" time read proof
  if [[ $token && $TAGALONG_URL == https:* ]]; then
    proof="Authorization: Bearer $token"
  else
    # A token must not be sent unencrypted; a signature is valid for this call only.
    time=$(date +%s) read="read-$(openssl rand -hex 12)"
    printf -v proof 'webhook-id: %s"\nheader = "webhook-timestamp: %s"\nheader = "webhook-signature: v1,%s' \
      "$read" "$time" "$(printf '%s' "$read.$time.{\"call\":\"GET $path\"}" | hmac)"
  fi
  while IFS= read -r line; do
    line=${line%$'\r'}
    case $line in
      id:*) event_id=${line#id:} event_id=${event_id# } ;;
      event:*) event_name=${line#event:} event_name=${event_name# } ;;
      data:*) event_data=${line#data:} event_data=${event_data# } ;;
      '')
        if [[ $event_data ]]; then event; fi
        if [[ $event_id =~ ^[0-9]{1,18}$ ]]; then last=$event_id; fi
        event_name='' event_data='' event_id=''
        if [[ $outcome ]]; then return; fi
        ;;
    esac
  done < <(
    curl --globoff --silent --show-error --fail --no-buffer --connect-timeout 20 --max-time $((deadline - SECONDS)) \
      --speed-limit 1 --speed-time 90 --header 'accept: text/event-stream' --header "last-event-id: $last" \
      --config <(printf 'header = "%s"\n' "$proof") "$TAGALONG_URL$path" 2>"$work/curl" && true
    echo $? >"$work/ended"
  )
}

follow() {
  local pauses=0 before
  begin_fence
  while ((SECONDS < deadline)); do
    before=$last
    : >"$work/ended"
    follow_once
    if [[ $outcome ]]; then break; fi
    if [[ $(<"$work/ended") == 22 && $(<"$work/curl") =~ \ (401|403|404) ]]; then break; fi
    if [[ $last != "$before" ]]; then pauses=0; fi
    sleep $((pauses < 15 ? ++pauses : 15))
  done
  end_fence
}

# Journal lines are text from outside: nothing in them may be taken for a command to the runner.
begin_fence() {
  fence=$(openssl rand -hex 16)
  echo "::stop-commands::$fence"
}

end_fence() {
  if [[ $fence ]]; then echo "::$fence::"; fi
  fence=
}

report() {
  local text cause=${why% (and *} said=$summary
  if [[ ! $outcome ]]; then
    fail "this job did not see the end of deployment $deployment ($(tail -n 1 "$work/curl")); the deployment continues without this job"
  fi
  if [[ ${GITHUB_OUTPUT:-} ]]; then printf 'deployment=%s\noutcome=%s\n' "$deployment" "$outcome" >>"$GITHUB_OUTPUT"; fi
  if [[ ${GITHUB_STEP_SUMMARY:-} ]]; then
    # HTML, because no Markdown is read inside it.
    printf '<h3>%s: %s</h3>\n<pre>%s</pre>\n' "$(html "$what")" "$outcome" "$(html "$summary")" >>"$GITHUB_STEP_SUMMARY"
  fi
  case $outcome in
    live | dry_run) printf '::notice title=%s::%s\n' "$title" "$(command_text "$summary")" ;;
    *)
      # A cause that stands in an annotation already is not repeated.
      for text in "${errors[@]}"; do
        if [[ $why && $text == "${cause%.}"* ]]; then said=${summary/": $why"/}; fi
      done
      printf '::error title=%s::%s\n' "$title" "$(command_text "$said")"
      ;;
  esac
}

# The same numbers as `tagalong deploy` ends with.
exit_code() {
  local names=(rolled_back rollback_failed superseded refused failed broken needs_operator cancelled) i
  case $outcome in live | dry_run) return 0 ;; esac
  for i in "${!names[@]}"; do
    if [[ ${names[i]} == "$outcome" ]]; then return $((10 + i)); fi
  done
  return 1
}

main() {
  TAGALONG_URL=${TAGALONG_URL%/}
  [[ $TAGALONG_URL =~ ^https?://[^[:space:][:cntrl:]]+$ ]] || fail "set the address of the tagalong server: the input url, or the variable TAGALONG_URL"
  [[ ${TAGALONG_SECRET:-} == whsec_* ]] || fail "the secret TAGALONG_SECRET is missing, or does not begin with whsec_"
  key_hex=$(printf '%s' "${TAGALONG_SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
  ((${#key_hex} >= 48 && ${#key_hex} <= 128)) || fail "the secret TAGALONG_SECRET is not valid: it must be whsec_ followed by the base64 of 24 to 64 bytes"
  printf -v key_hex '%-128s' "$key_hex"
  key_hex=${key_hex// /0}
  local minutes=${TIMEOUT_MINUTES:-30}
  [[ $minutes =~ ^[0-9]{1,4}$ ]] || fail "the input timeout_minutes must be a whole number of minutes, at most 9999; it is '$minutes'"
  deadline=$((SECONDS + 10#$minutes * 60))
  fence=
  work=$(mktemp -d)
  trap 'end_fence; rm -rf "$work"' EXIT
  body=$(order_body)
  # A repeated attempt of this run is the same order; a re-run by a person is a new one.
  id="run-$GITHUB_RUN_ID-${GITHUB_RUN_ATTEMPT:-1}-$(printf '%s' "$ORDER$body" | openssl dgst -sha256 -r | cut -c 1-16)"
  last=0 outcome='' summary='' why='' errors=()
  what="$SERVICE${TAG:+ $TAG}"
  title="tagalong: $(command_text "$what")"
  title=${title//:/%3A} title=${title//,/%2C}
  declare -gA annotations=([warning]=0 [error]=0)
  send
  if [[ $deployment ]]; then
    echo "deployment $deployment"
    follow
  fi
  report
  exit_code
}

main
