# shellcheck shell=bash disable=SC2034,SC2154
# What a person sees of it: annotations, the step summary, and the exit code.

warnings=0 errors=0 findings=()

# finding KIND TEXT: a warning or an error of the journal, as an annotation, which the log shows as well. The forge shows ten of a kind
# for a step: these, one that counts the rest, and the outcome.
finding() {
  local many
  if [[ $1 == error ]]; then many=$((++errors)); else many=$((++warnings)); fi
  if ((${#findings[@]} < 100)); then findings+=("$1: ${2:0:1000}"); fi
  if ((many <= 8)); then
    printf '::%s title=%s::%s\n' "$1" "$title" "$(command_text "$2")"
  else
    say "$1: $2"
  fi
}

# count_rest KIND MANY
count_rest() {
  if (($2 > 8)); then printf '::%s title=%s::%s more of this kind are in the log\n' "$1" "$title" "$(($2 - 8))"; fi
}

report() {
  if [[ ! $outcome ]]; then
    if ((SECONDS < deadline)); then why="the server answered $status $(detail)"; else why="its time was up"; fi
    fail "this job did not see the end of deployment $deployment, because $why; the deployment continues without this job"
  fi
  count_rest warning "$warnings"
  count_rest error "$errors"
  summarize
  case $outcome in
    live | dry_run | waiting) printf '::notice title=%s::%s\n' "$title" "$(command_text "$summary")" ;;
    *) printf '::error title=%s::%s\n' "$title" "$(command_text "$(without_finding)")" ;;
  esac
}

# The summary; a cause that stands in an annotation already is not repeated.
without_finding() {
  local text said=$summary cause=${why% (and *}
  for text in "${findings[@]}"; do
    if [[ $why && $text == "error: ${cause%.}"* ]]; then said=${summary/": $why"/}; fi
  done
  printf '%s' "$said"
}

# What to do when this is not what was wanted.
way_back() {
  case $outcome in
    waiting) printf 'nothing was changed yet; tagalong approve %s, or tagalong cancel %s if it is not wanted' "$deployment" "$deployment" ;;
    live) printf 'tagalong rollback %s, or the workflow that rolls back' "$SERVICE" ;;
    rolled_back) printf 'nothing is left to undo; tagalong logs %s tells why' "$deployment" ;;
    rollback_failed | broken | needs_operator | cancelled) printf 'tagalong status %s says what runs, and what mends it' "$SERVICE" ;;
    *) printf 'nothing was changed' ;;
  esac
}

# The step summary, and the same in the log. HTML, because no Markdown is read inside it; bounded, since a forge takes up to 1 MiB.
summarize() {
  local rows=() text page=${GITHUB_STEP_SUMMARY:-/dev/null} i
  if [[ $was ]]; then rows+=("before" "$was"); fi
  if [[ $now ]]; then rows+=("this order" "$now"); fi
  if [[ $took ]]; then rows+=("duration" "$took"); fi
  rows+=("findings" "errors: $errors, warnings: $warnings" "undo" "$(way_back)")
  group "Summary: $what: $outcome"
  say "$summary"
  printf '<h3>%s: %s</h3>\n<p>%s</p>\n<table>\n' "$(html "$what")" "$outcome" "$(html "$summary")" >>"$page"
  for ((i = 0; i < ${#rows[@]}; i += 2)); do
    say "${rows[i]}: ${rows[i + 1]}"
    printf '<tr><th>%s</th><td>%s</td></tr>\n' "${rows[i]}" "$(html "${rows[i + 1]}")" >>"$page"
  done
  printf '</table>\n' >>"$page"
  if ((${#findings[@]})); then
    printf '<ul>\n' >>"$page"
    for text in "${findings[@]}"; do printf '<li>%s</li>\n' "$(html "$text")" >>"$page"; done
    printf '</ul>\n' >>"$page"
  fi
  group_ends
}

# The same numbers as `tagalong deploy` ends with.
exit_code() {
  local names=(rolled_back rollback_failed superseded refused failed broken needs_operator cancelled) i
  case $outcome in live | dry_run | waiting) return 0 ;; esac
  for i in "${!names[@]}"; do
    if [[ ${names[i]} == "$outcome" ]]; then return $((10 + i)); fi
  done
  return 1
}
