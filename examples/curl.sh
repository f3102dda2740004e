#!/bin/sh
# The three requests of an attestation, one after the other, without error handling. See agent.sh for what a VM runs.
#
#   VERIFIER=http://127.0.0.1:8080 IMDS=http://127.0.0.1:8081 ./curl.sh
set -eu

VERIFIER=${VERIFIER:-http://127.0.0.1:8080}
IMDS=${IMDS:-http://169.254.169.254}

# 1. A nonce. With tenants: add -H "Authorization: Bearer $KEY" here and in step 3.
nonce=$(curl -sSf -X POST "$VERIFIER/v1/nonces" | sed 's/.*"nonce" *: *"\([A-Za-z0-9]*\)".*/\1/')

# 2. The document, on the VM.
# 3. The verdict: post what IMDS answered, as it came.
curl -sSf --noproxy '*' -H 'Metadata: true' \
    "$IMDS/metadata/attested/document?api-version=2020-09-01&nonce=$nonce" |
    curl -sS --fail-with-body -H 'Content-Type: application/json' --data-binary @- "$VERIFIER/v1/attestations"
