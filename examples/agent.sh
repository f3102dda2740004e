#!/bin/sh
# Attests this VM to a verifier: a nonce, the document of IMDS for it, and the verdict. POSIX shell and curl alone.
#
#   VERIFIER=https://verifier.example [VERIFIER_KEY=...] [IMDS=http://169.254.169.254] ./agent.sh
#
# Prints the result as JSON and exits 0 where the VM is verified; prints the refusal on standard error and exits 1.
# Exits 2 where it is not told the verifier, and 3 where something does not answer.
set -eu
umask 077

: "${IMDS:=http://169.254.169.254}"
if [ -z "${VERIFIER:-}" ]; then
    echo "agent: set VERIFIER to the URL of the verifier" >&2
    exit 2
fi
ATTEMPTS=5

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# A key on curl's command line could be read by every user of the VM.
{
    echo 'header = "Content-Type: application/json"'
    if [ -n "${VERIFIER_KEY:-}" ]; then
        printf 'header = "Authorization: Bearer %s"\n' "$VERIFIER_KEY"
    fi
} >"$work/verifier.conf"

# fetch ARGUMENT...: the body is in $work/body, the headers in $work/head, the status in $status; 000 for no answer.
fetch() {
    status=$(curl -sS --max-time 30 -D "$work/head" -o "$work/body" -w '%{http_code}' "$@") || status=000
}

# retry_after DEFAULT: the seconds of the Retry-After header, at most 60.
retry_after() {
    seconds=$(sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]\{1,5\}\).*/\1/p' "$work/head" 2>/dev/null | tail -n 1)
    seconds=${seconds:-$1}
    if [ "$seconds" -gt 60 ]; then seconds=60; fi
    echo "$seconds"
}

# patiently ARGUMENT...: as fetch, again where the answer says to wait: IMDS's 410 and 429, and a service that is away.
patiently() {
    attempt=1
    while :; do
        fetch "$@"
        case $status in
            000 | 410 | 429 | 500 | 502 | 503 | 504) ;;
            *) return 0 ;;
        esac
        if [ "$attempt" -ge "$ATTEMPTS" ]; then return 0; fi
        sleep "$(retry_after "$attempt")"
        attempt=$((attempt + 1))
    done
}

fail() {
    echo "agent: $1 (status $status)" >&2
    cat "$work/body" >&2 2>/dev/null || :
    exit "$2"
}

round=1
while :; do
    patiently -K "$work/verifier.conf" -X POST "$VERIFIER/v1/nonces"
    case $status in
        201) ;;
        000 | 5*) fail "the verifier gives no nonce" 3 ;;
        *) fail "the verifier gives no nonce" 1 ;;
    esac
    # The verifier's nonces are letters and digits; anything else is no nonce, and goes into no URL.
    nonce=$(sed -n 's/.*"nonce" *: *"\([A-Za-z0-9]\{1,64\}\)".*/\1/p' "$work/body")
    if [ -z "$nonce" ]; then fail "the verifier's answer has no nonce" 3; fi

    # No proxy: what answers at a link-local address has to be IMDS, and not somebody on the way.
    patiently --noproxy '*' -H 'Metadata: true' \
        "$IMDS/metadata/attested/document?api-version=2020-09-01&nonce=$nonce"
    if [ "$status" != 200 ]; then fail "IMDS gives no document" 3; fi

    # The document is posted as it came, byte for byte.
    mv "$work/body" "$work/document"
    patiently -K "$work/verifier.conf" --data-binary "@$work/document" "$VERIFIER/v1/attestations"
    case $status in
        200)
            cat "$work/body"
            exit 0
            ;;
        000 | 5*) fail "the verifier does not decide" 3 ;;
    esac
    # IMDS may have answered from its cache, with the nonce of another request: the verifier says so, and when to retry.
    if [ "$round" -lt "$ATTEMPTS" ] && grep -q '"retryable" *: *true' "$work/body"; then
        sleep "$(retry_after 5)"
        round=$((round + 1))
        continue
    fi
    fail "refused" 1
done
