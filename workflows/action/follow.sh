# shellcheck shell=bash disable=SC2034,SC2154
# Follows a deployment to its end: through connections that break, a proxy that gives up, and a restart of tagalong. Each time the
# deployment's state is read first, and then its journal behind the last line that was seen.

follow() {
  local pauses=0 before
  last=0 state='' waits_for='' waits_why='' denied=''
  while ((SECONDS < deadline)); do
    before=$last
    look
    if [[ ${ON_APPROVAL:-wait} == leave && $waits_for == approval ]]; then
      outcome=waiting summary=${waits_why:-It waits for an approval.}
      break
    fi
    follow_once
    # A way that lets no stream through still shows how it ended.
    if [[ ! $outcome && $state == "done" ]]; then of_record; fi
    if [[ $outcome ]]; then break; fi
    if [[ $denied ]]; then
      [[ $read_token ]] || break
      # It has expired; the job can still prove who it is.
      read_token=''
    fi
    if [[ $last != "$before" ]]; then pauses=0; fi
    sleep $((pauses < 15 ? ++pauses : 15))
  done
  group_ends
  record
}

# Reads the deployment's state, and says it when it is another one.
look() {
  local found
  get "/api/v1/deployments/$deployment"
  denied=''
  case $status in
    200) ;;
    401 | 403 | 404)
      denied=yes
      return
      ;;
    *)
      say "the state cannot be read at the moment ($status $(detail))"
      return
      ;;
  esac
  found=$(answer)
  waits_for=$(field waits_for "$found") waits_why=$(field waits_why "$found")
  found=$(field state "$found")
  if [[ $found != "$state" ]]; then
    state=$found
    if [[ $state != "done" ]]; then say "it is $state"; fi
  fi
}

# Reads the journal from the line after $last on, until the outcome or until the connection ends.
follow_once() {
  local line event_name='' event_data='' event_id='' path="/api/v1/deployments/$deployment/log"
  if [[ $denied ]]; then return; fi
  if [[ ! $key_hex && ! $read_token ]]; then fresh_id_token; fi
  while IFS= read -r line; do
    line=${line%$'\r'}
    case $line in
      id:*) event_id=${line#id:} event_id=${event_id# } ;;
      event:*) event_name=${line#event:} event_name=${event_name# } ;;
      data:*) event_data=${line#data:} event_data=${event_data# } ;;
      '')
        if [[ $event_data ]]; then event "$event_name" "$event_data"; fi
        if [[ $event_id =~ ^[0-9]{1,18}$ ]]; then last=$event_id; fi
        event_name='' event_data='' event_id=''
        if [[ $outcome ]]; then return; fi
        ;;
    esac
  done < <(curl_with_proof --fail --no-buffer --max-time $((deadline - SECONDS)) --speed-limit 1 --speed-time 90 \
    --header 'accept: text/event-stream' --header "last-event-id: $last" "$server$path" 3< <(read_proof "$path") 2>"$work/curl")
}

# event NAME DATA: one line of the journal, or the outcome, which is the last.
event() {
  local kind text
  if ((${#2} > 65536)); then
    say "a line of ${#2} bytes, which tagalong logs shows"
    return
  fi
  if [[ $1 == outcome ]]; then
    ended "$2"
    return
  fi
  kind=$(field kind "$2")
  text=$(field text "$2")
  case $kind in
    step) group "$text" ;;
    outcome) ;; # said by the last event
    warning | error) finding "$kind" "$text" ;;
    *) say "$text" ;;
  esac
}

# ended JSON: how it ended.
ended() {
  outcome=$(field outcome "$1") why=$(field why "$1") summary=$(field summary "$1")
  # No server ends an order so: it is the word for a job that leaves one.
  [[ $outcome =~ ^[a-z_]{1,32}$ && $outcome != waiting ]] || outcome=unknown
}

# How it ended, by the last look.
of_record() {
  ended "$(answer)"
}

# What else is known of a deployment that has ended: what was, what is, how long it took.
record() {
  local tries json images='"images": *\[([^]]*)\]' sha256='@(sha256:[0-9a-f]{64})' ms='"took_ms": *([0-9]{1,12})[,}]'
  if [[ ! $outcome ]]; then return; fi
  for tries in 1 2 3; do
    get "/api/v1/deployments/$deployment"
    if [[ $status == 200 ]]; then break; fi
    sleep "$tries"
  done
  if [[ $status != 200 ]]; then return; fi
  json=$(answer)
  was=$(field ran_before "$json")
  if [[ $json =~ $images ]]; then
    now=${BASH_REMATCH[1]//\"/}
    now=${now//,/, }
    if [[ $now =~ $sha256 ]]; then digest=${BASH_REMATCH[1]}; fi
  fi
  if [[ $json =~ $ms ]]; then
    ms=$((10#${BASH_REMATCH[1]} / 100))
    took="$((ms / 10)).$((ms % 10)) s"
  fi
}
