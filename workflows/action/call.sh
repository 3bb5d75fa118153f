# shellcheck shell=bash disable=SC2154
# Calls of the server, each with a proof: a signature made with the secret, or else the token that the forge gives this job (OpenID
# Connect). Proofs reach curl by a pipe, since every process of the machine can read arguments.

# Sets where to call and by what; makes the folder for answers. Nothing is sent yet.
prepare_calls() {
  server=${TAGALONG_URL:-} server=${server%/}
  [[ $server =~ ^https?://[^[:space:][:cntrl:]]+$ ]] || fail "set the address of the tagalong server: the input url, or the variable TAGALONG_URL"
  work=$(mktemp -d)
  key_hex='' id_token='' read_token=''
  if [[ ${TAGALONG_SECRET:-} ]]; then
    read_secret
  elif [[ ! ${ACTIONS_ID_TOKEN_REQUEST_URL:-} || ! ${ACTIONS_ID_TOKEN_REQUEST_TOKEN:-} ]]; then
    fail "the job has neither a token nor a secret: give it the permission 'id-token: write' (Forgejo: 'enable-openid-connect: true'), or set the secret TAGALONG_SECRET"
  elif [[ $server == http:* && ! $server =~ ^http://(127\.[0-9.]+|localhost|\[::1\])(:[0-9]+)?(/|$) ]]; then
    fail "$server uses plain http, so anybody who sees the traffic could use the job's token: use https, or a secret, which signs the call"
  fi
}

# The key of the signature, padded with zeros to a block of SHA-256, as hex.
read_secret() {
  [[ $TAGALONG_SECRET == whsec_* ]] || fail "the secret TAGALONG_SECRET does not begin with whsec_"
  key_hex=$(printf '%s' "${TAGALONG_SECRET#whsec_}" | from_base64 | od -An -v -tx1 | tr -d ' \n')
  ((${#key_hex} >= 48 && ${#key_hex} <= 128)) || fail "the secret TAGALONG_SECRET is not valid: it must be whsec_ followed by the base64 of 24 to 64 bytes"
  printf -v key_hex '%-128s' "$key_hex"
  key_hex=${key_hex// /0}
}

# The key, every byte xor $1.
key_pad() {
  local i out=
  for ((i = 0; i < 128; i += 2)); do
    printf -v out '%s\\x%02x' "$out" $((16#${key_hex:i:2} ^ $1))
  done
  printf '%b' "$out"
}

# HMAC-SHA256 of standard input, base64. Written out, because openssl takes a key only as an argument, for every process to see.
hmac() {
  local inner
  inner=$({ key_pad 0x36; cat; } | sha256)
  bytes "$({ key_pad 0x5c; bytes "$inner"; } | sha256)" | to_base64
}

# A new token of this job for this server. It is masked, although nothing here prints it.
fresh_id_token() {
  local address=$ACTIONS_ID_TOKEN_REQUEST_URL answer tries
  # GitHub's address and Forgejo's have a query already.
  if [[ $address == *\?* ]]; then address+='&'; else address+='?'; fi
  for tries in 1 2 3; do
    answer=$(curl --disable --globoff --silent --show-error --fail --max-time 20 \
      --config <(printf 'header = "Authorization: bearer %s"\n' "${ACTIONS_ID_TOKEN_REQUEST_TOKEN//[[:cntrl:]\"\\]/}") \
      "${address}audience=$(url_text "$server")" 2>"$work/curl" | head -c 65536 | tr -d '\0') || answer=''
    id_token=$(field value "$answer")
    if [[ $id_token =~ ^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$ ]]; then
      printf '::add-mask::%s\n' "$id_token"
      return
    fi
    if ((tries < 3)); then sleep "$tries"; fi
  done
  fail "the forge gave this job no token: $(tail -n 1 "$work/curl")"
}

# proof ID TEXT: of one call, as lines for curl. ID is the same when the call is repeated, TEXT is what a signature covers. A token is good
# for one order, which may be repeated with it.
proof() {
  local time
  if [[ $key_hex ]]; then
    time=$(date +%s)
    printf 'header = "webhook-id: %s"\nheader = "webhook-timestamp: %s"\nheader = "webhook-signature: v1,%s"\n' \
      "$1" "$time" "$(printf '%s' "$1.$time.$2" | hmac)"
  else
    printf 'header = "Authorization: Bearer %s"\n' "$id_token"
  fi
}

# The proof of a call that reads. A read token must not be sent unencrypted; a signature is valid for this call only.
read_proof() {
  if [[ $read_token && (! $key_hex || $server == https:*) ]]; then
    printf 'header = "Authorization: Bearer %s"\n' "$read_token"
  else
    proof "read-$(random_hex 12)" "{\"call\":\"GET $1\"}"
  fi
}

# curl, as every call uses it; the proof is on file descriptor 3.
curl_with_proof() {
  curl --disable --globoff --silent --show-error --connect-timeout 20 --config /dev/fd/3 "$@"
}

# post PATH ID BODY: sets the status, "000" when there was no answer. The answer is in $work/answer, its headers in $work/headers.
post() {
  : >"$work/answer"
  : >"$work/headers"
  status=$(printf '%s' "$3" | curl_with_proof --max-time 60 --output "$work/answer" --dump-header "$work/headers" --write-out '%{http_code}' \
    --header 'content-type: application/json' --data-binary @- "$server$1" 3< <(proof "$2" "$3") 2>"$work/curl") || true
}

# get PATH: sets the status; the answer is in $work/answer.
get() {
  : >"$work/answer"
  if [[ ! $key_hex && ! $read_token ]]; then fresh_id_token; fi
  status=$(curl_with_proof --max-time 30 --output "$work/answer" --write-out '%{http_code}' "$server$1" 3< <(read_proof "$1") 2>"$work/curl") || true
}

# The answer of the last call, as far as anybody may want it.
answer() { head -c 262144 "$work/answer" | tr -d '\0'; }

header() { sed -n "s/^$1: *//Ip" "$work/headers" | tr -d '\0\r' | tail -n 1; }

# What the last call was refused with, or why there is no answer.
detail() {
  local said
  said=$(field detail "$(answer)")
  printf '%s' "${said:-$(tail -n 1 "$work/curl")}"
}

# pause TRIES: as long as the server wishes, at most a minute, else longer each time.
pause() {
  local seconds
  seconds=$(number "$(header retry-after)" 60 "$((1 << ($1 < 5 ? $1 : 5)))")
  say "no answer yet ($status $(detail)), trying again in $seconds s"
  sleep "$seconds"
}
