# The signed call of a workflow, by hand: Standard Webhooks with curl and openssl.
# shellcheck shell=bash disable=SC2154
id=msg_$(openssl rand -hex 12)
time=$(date +%s)
key=$(sed 's/^whsec_//' ci.secret | base64 -d | od -An -v -tx1 | tr -d ' \n')
signature=$(printf '%s' "$id.$time.$body" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)
curl -sS -D answer.headers -H "webhook-id: $id" -H "webhook-timestamp: $time" -H "webhook-signature: v1,$signature" \
    -H 'content-type: application/json' --data "$body" "$server/api/v1/deployments"
