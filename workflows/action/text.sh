# shellcheck shell=bash
# Text from inputs, the forge and the server is only text: it is never an operand of arithmetic (which would run a command in a subscript),
# never a pattern or a format, and it reaches the log only where the runner does not take it for a command.

# Text for a workflow command: one line, as the runner decodes it.
command_text() {
  local text=${1:0:4000}
  text=${text//'%'/%25} text=${text//$'\r'/%0D} text=${text//$'\n'/%0A}
  printf '%s' "$text"
}

# Text for a property of a workflow command.
property_text() {
  local text
  text=$(command_text "$1")
  text=${text//:/%3A} text=${text//,/%2C}
  printf '%s' "${text//[[:cntrl:]]/ }"
}

# Ends the step as a failure, with the reason as an annotation.
fail() {
  group_ends
  printf '::error title=tagalong::%s\n' "$(command_text "$*")"
  exit 1
}

# One line of the log. The runner takes a line for a command that begins with "::", also behind white space, or that has "##[" anywhere.
say() {
  local text=${1//[[:cntrl:]]/ }
  printf '| %s\n' "${text//'##['/'# #['}"
}

# The lines that follow are folded below this one.
in_group=
group() {
  local text=${1//[[:cntrl:]]/ }
  group_ends
  in_group=yes
  printf '::group::%s\n' "$(command_text "${text//'##['/'# #['}")"
}

group_ends() {
  if [[ $in_group ]]; then echo '::endgroup::'; fi
  in_group=
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
  local text=${1:0:4000}
  text=${text//[[:cntrl:]]/ } text=${text//'&'/'&amp;'} text=${text//'<'/'&lt;'} text=${text//'>'/'&gt;'}
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

# Text for the address of a page, every byte but the plainest escaped.
url_text() {
  local LC_ALL=C text=$1 out='' i
  for ((i = 0; i < ${#text}; i++)); do
    case ${text:i:1} in
      [a-zA-Z0-9.~_-]) out+=${text:i:1} ;;
      *) printf -v out '%s%%%02X' "$out" "'${text:i:1}" ;;
    esac
  done
  printf '%s' "$out"
}

# output NAME VALUE: an output of the step. A delimiter that nobody can guess cannot be written into a value.
output() {
  local delimiter
  [[ ${GITHUB_OUTPUT:-} ]] || return 0
  delimiter=end-$(openssl rand -hex 16)
  printf '%s<<%s\n%s\n%s\n' "$1" "$delimiter" "${2//[[:cntrl:]]/ }" "$delimiter" >>"$GITHUB_OUTPUT"
}
