#!/bin/sh
# Attests this VM to a verifier: a nonce, the document of IMDS for it, and the verdict. POSIX shell and curl alone.
#
#   agent.sh --verifier URL [--imds URL] [--key-file FILE] [--timeout SECONDS] [--token] [--output FILE]
#
# Prints the result as JSON, or with --token the result token alone, or writes it to the file of --output, atomically.
# Exits 0 where the VM is verified. Otherwise one sentence is on standard error, and the exit status tells the end, as
# that of `imds-verifier attest` does: docs/agent.md has the table.
set -eu
umask 077
# What is told goes here, even while the standard error of something else is put away.
exec 3>&2

verifier='' imds=http://169.254.169.254 key_file='' timeout=180 form=result output=''

# finish STATUS SENTENCE: the sentence is one line of printable ASCII, whatever others put into it.
finish() {
    printf 'attest: %s\n' "$(printf '%s' "$2" | tr -cd ' -~')" >&3
    exit "$1"
}

usage() {
    finish 2 "$1; see the first lines of $0"
}

while [ $# -gt 0 ]; do
    case $1 in
        --token)
            form=token
            shift
            continue
            ;;
        --verifier | --imds | --key-file | --timeout | --output) ;;
        *) usage "the option $1 is not known" ;;
    esac
    if [ $# -lt 2 ]; then usage "$1 needs a value"; fi
    case $1 in
        --verifier) verifier=${2%/} ;;
        --imds) imds=${2%/} ;;
        --key-file) key_file=$2 ;;
        --timeout) timeout=$2 ;;
        --output) output=$2 ;;
    esac
    shift 2
done
for url in "$verifier" "$imds"; do
    case $url in
        *[!]0-9A-Za-z:/._~%[-]* | *@*) usage 'a URL must be a plain base address' ;;
        http://?* | https://?*) ;;
        *) usage 'a URL must begin with http:// or https://' ;;
    esac
done
case $timeout in
    '' | *[!0-9]* | 0* | ?????*) usage 'the timeout is a number of seconds, from 1 to 9999' ;;
esac
if [ -n "$output" ] && [ -d "$output" ]; then usage "$output is a directory"; fi
if ! command -v curl >/dev/null; then finish 2 'curl is needed'; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'finish 130 interrupted' INT
trap 'exit 143' TERM
ends=$(($(date +%s) + timeout))

# A key on curl's command line could be read by every user of the VM.
echo 'header = "Content-Type: application/json"' >"$work/verifier.conf"
if [ -n "$key_file" ]; then
    key=$(cat "$key_file" 2>/dev/null) || finish 2 "$key_file cannot be read"
    case $key in
        '' | *[!0-9A-Za-z._~+/=-]*) finish 2 'the API key is not a bearer token: letters, digits and ._~+/- only' ;;
    esac
    printf 'header = "Authorization: Bearer %s"\n' "$key" >>"$work/verifier.conf"
fi

left() {
    echo $((ends - $(date +%s)))
}

# pause SECONDS: they have passed; or no, at once, where so many are not left.
pause() {
    if [ "$1" -ge "$(left)" ]; then return 1; fi
    sleep "$1"
}

# fetch WHOM SECONDS ARGUMENT...: the answer is in $work/body and $work/head. $status is its status, 000 for no whole
# answer; then $failure is that of curl, and $connected how many connections there were.
#
# No proxy, no settings of a user, no redirect: what answers is what was named. ulimit is for an answer without an end:
# 512 blocks of at most 1 KiB.
fetch() {
    whom=$1
    seconds=$(left)
    if [ "$seconds" -gt "$2" ]; then seconds=$2; fi
    shift 2
    if [ "$seconds" -le 0 ]; then out_of_time; fi
    failure=0
    : >"$work/head"
    : >"$work/body"
    # Some shells tell on standard error that ulimit ended something.
    {
        told=$(
            ulimit -f 512
            exec curl -q -g -s --noproxy '*' --proto '=http,https' --max-time "$seconds" \
                -D "$work/head" -o "$work/body" -w '%{http_code} %{num_connects}' "$@"
        )
    } 2>/dev/null || failure=$?
    status=${told%% *} connected=${told##* }
    if [ "$failure" -ne 0 ]; then status=000; fi
    if [ "$failure" -eq 28 ] && [ "$(left)" -le 0 ]; then out_of_time; fi
}

out_of_time() {
    finish 30 "the time, $timeout s, was up before $whom answered"
}

# text NAME: the first string of that name outside the checks of a problem, without what JSON escapes but for quotes.
text() {
    tr -d '\r\n' <"$work/body" | sed 's/"checks" *:.*"retryable"/"retryable"/' |
        sed -n 's/.*"'"$1"'" *: *"\([^"\\]*\(\\.[^"\\]*\)*\)".*/\1/p' | sed 's/\\"/"/g' | cut -c 1-300
}

# retry_after: the seconds of the header, and where that got lost on the way those of the problem; or nothing.
retry_after() {
    seconds=$(sed -n 's/^[Rr]etry-[Aa]fter: *0*\([0-9]\{1,9\}\)[[:space:]]*$/\1/p' "$work/head" | tail -n 1)
    if [ -z "$seconds" ]; then
        seconds=$(tr -d '\r\n' <"$work/body" | sed -n 's/.*"retryAfterSeconds" *: *0*\([0-9]\{1,9\}\) *[,}].*/\1/p')
    fi
    echo "$seconds"
}

# not_attested STATUS SENTENCE [retryable]: what is the end, if no other round mends it.
not_attested() {
    end=$1 sentence=$2 retryable=${3:-}
    after=$(retry_after)
    return 1
}

# What IMDS's answer, or none, means.
judge_imds() {
    words=$(text error)
    answered="it answered $status, ${words:-without an explanation}"
    case $status in
        200)
            if grep -q '"encoding" *: *"' "$work/body" && grep -q '"signature" *: *"' "$work/body"; then return 0; fi
            not_attested 14 "$imds does not answer as IMDS does: is this an Azure VM?"
            ;;
        000)
            if [ "$failure" -eq 6 ] || [ "$failure" -eq 7 ] || [ "$connected" = 0 ]; then
                not_attested 3 "no IMDS: $imds gave no answer: is this an Azure VM?"
            else
                not_attested 13 "IMDS at $imds gave no whole answer (curl $failure)"
            fi
            ;;
        429) not_attested 11 "IMDS at $imds is asked too often: $answered" ;;
        410) not_attested 12 "IMDS at $imds is being updated: $answered" ;;
        4??) not_attested 10 "IMDS at $imds refuses: $answered" ;;
        5??) not_attested 13 "IMDS at $imds is failing: $answered" ;;
        *) not_attested 14 "IMDS at $imds does not answer as IMDS does: $answered" ;;
    esac
}

# How long to wait before each retry, by the rules of Azure's page: 70 s in all for 410.
waits_of() {
    case $1 in
        3) echo 1 2 ;;
        11) echo 1 1 2 4 ;;
        12) echo 1 2 4 8 15 20 20 ;;
        13) echo 1 2 4 8 ;;
    esac
}

# The document for $nonce is in $work/body; or $end tells why not, after every retry.
ask_imds() {
    troubles='' updating=0
    while :; do
        fetch "$imds" 5 -H 'Metadata: true' "$imds/metadata/attested/document?api-version=2020-09-01&nonce=$nonce"
        if judge_imds; then return 0; fi
        troubles="$troubles $end"
        # shellcheck disable=SC2086 # a list of words
        times=$(printf '%s\n' $troubles | grep -cx "$end")
        usual=$(waits_of "$end" | cut -s -d ' ' -f "$times")
        if [ -z "$usual" ]; then return 1; fi
        seconds=${after:-$usual}
        if [ "$end" -eq 12 ]; then updating=$((updating + seconds)); fi
        if [ "$updating" -gt 70 ] || ! pause "$seconds"; then return 1; fi
    done
}

# What the verifier's answer, or none, means, where $1 is the status of a good one.
judge_verifier() {
    case $status in
        "$1") return 0 ;;
        000)
            case $failure in
                51 | 60) not_attested 22 "the verifier at $verifier is not who it should be (curl $failure)" ;;
                *) not_attested 20 "the verifier at $verifier gave no answer (curl $failure)" retryable ;;
            esac
            return 1
            ;;
    esac
    code=$(text code) detail=$(text detail) request=$(text requestId)
    if ! grep -qi '^content-type: *application/problem+json' "$work/head" || [ -z "$code" ] || [ -z "$detail" ]; then
        told="$verifier answered $status, without the problem document of a verifier"
        case $status in
            429) not_attested 24 "the verifier is asked too often: $told" retryable ;;
            5??) not_attested 21 "the verifier cannot answer now: $told" retryable ;;
            *) not_attested 22 "$told: is the URL right?" ;;
        esac
        return 1
    fi
    problem="$detail ($code${request:+, request $request})"
    again=$(tr -d '\r\n' <"$work/body" | sed -n 's/.*"retryable" *: *true *[,}].*/retryable/p')
    case $status:$code:$again in
        429:*) not_attested 24 "the verifier is asked too often: $problem" "$again" ;;
        5??:*) not_attested 21 "the verifier cannot answer now: $problem" "$again" ;;
        *:unauthenticated:* | *:forbidden:*)
            not_attested 23 "the verifier does not let this agent in: $problem" "$again"
            ;;
        *:malformed-request:* | *:not-found:* | *:method-not-allowed:* | *:unsupported-media-type:*)
            not_attested 22 "$verifier does not take this agent's requests: $problem: is the URL right?" "$again"
            ;;
        *:retryable) not_attested 25 "refused for now: $problem" "$again" ;;
        *) not_attested 1 "refused: $problem" ;;
    esac
}

# A result is in $work/body; or $end, $sentence, $retryable and $after tell why not.
attest() {
    fetch "$verifier" 15 -K "$work/verifier.conf" --data-binary '{}' "$verifier/v1/nonces"
    judge_verifier 201 || return 1
    # What IMDS takes as a nonce; anything else goes into no URL.
    nonce=$(text nonce)
    case $nonce in
        '' | *[!0-9A-Za-z]* | ?????????????????????????????????*)
            not_attested 22 "$verifier does not answer as a verifier does: no nonce that IMDS takes: is the URL right?"
            return 1
            ;;
    esac

    ask_imds || return 1
    # The document as it came, and beside it the nonce: so the verifier tells one that IMDS had cached.
    {
        printf '{"nonce":"%s",' "$nonce"
        tr -d '\r\n' <"$work/body" | sed 's/^ *{//'
    } >"$work/document"
    fetch "$verifier" 15 -K "$work/verifier.conf" --data-binary "@$work/document" "$verifier/v1/attestations"
    judge_verifier 200 || return 1
    if ! grep -q '"verdict" *: *"verified"' "$work/body" || ! grep -q '"claims" *: *{' "$work/body"; then
        not_attested 22 "$verifier does not answer as a verifier does: no result: is the URL right?"
    fi
}

# One more round than there are waits, each with a nonce and a document of its own.
for usual in 1 2 4 8 none; do
    if attest; then
        end=0
        break
    fi
    if [ -z "$retryable" ] || [ "$usual" = none ] || ! pause "${after:-$usual}"; then break; fi
done
if [ "$end" -ne 0 ]; then finish "$end" "$sentence"; fi

result=$work/body
if [ "$form" = token ]; then
    result=$work/token
    part='[0-9A-Za-z_-]\{1,\}'
    token=$(tr -d '\r\n' <"$work/body" | sed -n 's/.*"token" *: *"\('"$part\\.$part\\.$part"'\)".*/\1/p')
    if [ -z "$token" ]; then finish 26 'verified, but the verifier signs no results: there is no token'; fi
    printf '%s\n' "$token" >"$result"
fi
if [ -z "$output" ]; then
    cat "$result"
elif ! { part=$(mktemp "$output.XXXXXX") && cat "$result" >"$part" && mv -f "$part" "$output"; } 2>/dev/null; then
    finish 2 "$output cannot be written"
fi
