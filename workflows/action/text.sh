# shellcheck shell=bash
# Text from inputs, the forge and the server is only text: it is never an operand of arithmetic (which would run a command in a subscript),
# never a pattern or a format, and it reaches the log only where the runner does not take it for a command.

# Signatures and ids are made with openssl, or with the tools of every Linux where a runner has no openssl.
check_tools() {
  if has openssl; then return; fi
  if has sha256sum && has base64; then return; fi
  fail "this runner has neither openssl nor sha256sum and base64, which sign the call: install openssl"
}

has() { command -v "$1" >/dev/null 2>&1; }

# SHA-256 of standard input, as hex.
sha256() {
  if has openssl; then openssl dgst -sha256 -r; else sha256sum; fi | cut -c 1-64
}

to_base64() {
  if has openssl; then openssl base64 -A; else base64 | tr -d '\n'; fi
}

# What is no base64 is nothing.
from_base64() {
  if has openssl; then openssl base64 -d -A; else base64 -d 2>/dev/null || true; fi
}

# random_hex BYTES
random_hex() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

# The bytes that are written as hex.
bytes() {
  local i out=
  for ((i = 0; i < ${#1}; i += 2)); do out+="\\x${1:i:2}"; done
  printf '%b' "$out"
}

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
  delimiter=end-$(random_hex 16)
  printf '%s<<%s\n%s\n%s\n' "$1" "$delimiter" "${2//[[:cntrl:]]/ }" "$delimiter" >>"$GITHUB_OUTPUT"
}
