#!/bin/sh
# Asks a verifier, or a licensing backend, to verify this VM: gets a nonce, gets a document with it from IMDS, and posts
# both. Needs a POSIX shell and curl.
#
#   agent.sh --verifier URL [--token] [--key-file FILE] [--vm-id GUID] [--policy NAME] [OPTION...]
#   agent.sh --backend URL [--key-file FILE] [--vm-id GUID] [--policy NAME] [OPTION...]
#   agent.sh --nonce NONCE [OPTION...]
#
# OPTION is --imds URL, --timeout SECONDS or --output FILE. Prints the result as JSON, or with --token only the result
# token. With --nonce it prints the document of IMDS. With --output it writes the file atomically.
# Exits with 0 if the VM is verified. Otherwise it prints one sentence on standard error and exits with a code from
# the table in docs/integrate/agent.md, like `imds-verifier attest`.
set -eu
umask 077
# `finish` writes here, so that its message appears even while standard error is redirected.
exec 3>&2

verifier='' backend='' nonce='' vm_id='' policy='' imds=http://169.254.169.254 key_file='' timeout=180 token_only='' output=''

# finish STATUS SENTENCE: print the sentence and exit. Removes everything but printable ASCII, so that remote text
# cannot control the terminal.
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
            token_only=yes
            shift
            continue
            ;;
        --verifier | --backend | --nonce | --vm-id | --policy | --imds | --key-file | --timeout | --output) ;;
        *) usage "unknown option $1" ;;
    esac
    if [ $# -lt 2 ]; then usage "$1 needs a value"; fi
    case $1 in
        --verifier) verifier=${2%/} ;;
        --backend) backend=${2%/} ;;
        --nonce) nonce=$2 ;;
        --vm-id) vm_id=$2 ;;
        --policy) policy=$2 ;;
        --imds) imds=${2%/} ;;
        --key-file) key_file=$2 ;;
        --timeout) timeout=$2 ;;
        --output) output=$2 ;;
    esac
    shift 2
done
# What is asked, and the word for it: the verifier, a licensing backend, or IMDS alone.
case ${verifier:+verifier}:${backend:+backend}:${nonce:+nonce} in
    verifier::) name=verifier base=$verifier nonces=/v1/nonces appraisals=/v1/attestations done_status=200 ;;
    :backend:) name=backend base=$backend nonces=/challenges appraisals=/licenses done_status=201 ;;
    ::nonce) name='' base=$imds ;;
    *) usage 'name one of --verifier, --backend and --nonce' ;;
esac
if [ -n "$token_only" ] && [ "$name" != verifier ]; then usage '--token needs --verifier'; fi
if [ -n "$vm_id$policy$key_file" ] && [ -z "$name" ]; then usage '--vm-id, --policy and --key-file need a server'; fi
case $nonce in *[!0-9A-Za-z]* | ?????????????????????????????????*) usage 'the nonce must be letters and digits' ;; esac
case $policy in *[!0-9A-Za-z._@-]*) usage 'the policy must be the name of a policy' ;; esac
case $vm_id in \{?*\}) vm_id=${vm_id#?} vm_id=${vm_id%?} ;; esac
case $vm_id in *[!0-9A-Fa-f-]*) usage 'the vmId must be a GUID' ;; esac
if [ -n "$vm_id" ] && ! echo "$vm_id" | grep -qx '.\{8\}\(-[^-]\{4\}\)\{3\}-[^-]\{12\}'; then
    usage 'the vmId must be a GUID'
fi
binding=${vm_id:+"\"vmId\":\"$vm_id\""}${policy:+${vm_id:+,}"\"policy\":\"$policy\""}
for url in "$base" "$imds"; do
    case $url in
        *[!]0-9A-Za-z:/._~%[-]* | *@*) usage 'the URL must be a base address without user name, query or fragment' ;;
        http://?* | https://?*) ;;
        *) usage 'the URL must begin with http:// or https://' ;;
    esac
    authority=${url#*://}
    case ${authority%%/*} in
        \[*) ;;
        *:*:*) usage 'the URL must have an IPv6 address in brackets, such as http://[::1]:8080' ;;
    esac
done
case $timeout in
    '' | *[!0-9]* | 0* | ?????*) usage 'the timeout must be 1 to 9999 seconds' ;;
esac
if [ -n "$output" ] && [ -d "$output" ]; then usage "$output is a directory"; fi
if ! command -v curl >/dev/null; then finish 2 'curl is not installed'; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'finish 130 interrupted' INT
trap 'exit 143' TERM
deadline=$(($(date +%s) + timeout))

# Every user of the VM can read curl's command line, so the key goes into a file.
echo 'header = "Content-Type: application/json"' >"$work/verifier.conf"
if [ -n "$key_file" ]; then
    cat "$key_file" 2>/dev/null >"$work/key" || finish 2 "cannot read $key_file"
    # A key is ASCII. Without these bytes, a byte order mark and UTF-16 make no difference.
    key=$(LC_ALL=C tr -d '\000\r\273\277\357\376\377' <"$work/key" | sed 's/^[[:space:]]*//; s/[[:space:]]*$//')
    # The whole output of `imds-verifier api-key`.
    if [ -z "$(printf '%s\n' "$key" | sed '1{/^key:/d;}; 2{/^sha256: *[0-9a-f]\{64\}$/d;}')" ]; then
        key=$(printf '%s\n' "$key" | sed -n '1s/^key: *//p')
    fi
    case $key in
        '') finish 2 "the key file $key_file is empty" ;;
        sha256:*) finish 2 "the key file $key_file begins with the hash of the key: keep only the line that begins with key:" ;;
    esac
    lines=$(($(printf '%s\n' "$key" | wc -l)))
    if [ "$lines" -gt 1 ]; then
        found='it must have only the key'
        line=$(printf '%s\n' "$key" | grep -nx '[0-9A-Za-z_-]\{43\}' | head -n 1 | cut -d : -f 1)
        if [ -n "$line" ]; then found="line $line has the form of a key: keep only this line"; fi
        finish 2 "the key file $key_file has $lines lines; $found"
    fi
    case $key in
        '' | *[!0-9A-Za-z._~+/=-]*) finish 2 'the API key is not a bearer token: use only letters, digits and ._~+/-' ;;
    esac
    printf 'header = "Authorization: Bearer %s"\n' "$key" >>"$work/verifier.conf"
fi

seconds_left() {
    echo $((deadline - $(date +%s)))
}

# pause SECONDS: sleep, or fail at once if less time is left.
pause() {
    if [ "$1" -ge "$(seconds_left)" ]; then return 1; fi
    sleep "$1"
}

# fetch SERVER SECONDS ARGUMENT...: write the response to $work/body and $work/head, its status to $status. Without a
# complete response $status is 000, $failure is the exit code of curl, and $connections the number of its connections.
#
# curl uses no proxy, no .curlrc and no redirects. ulimit bounds the response: 512 blocks of at most 1 KiB.
fetch() {
    server=$1
    seconds=$(seconds_left)
    if [ "$seconds" -gt "$2" ]; then seconds=$2; fi
    shift 2
    if [ "$seconds" -le 0 ]; then out_of_time; fi
    failure=0
    : >"$work/head"
    : >"$work/body"
    # Some shells report on standard error that ulimit stopped curl.
    {
        report=$(
            ulimit -f 512
            exec curl -q -g -s --noproxy '*' --proto '=http,https' --max-time "$seconds" \
                -D "$work/head" -o "$work/body" -w '%{http_code} %{num_connects}' "$@"
        )
    } 2>/dev/null || failure=$?
    status=${report%% *} connections=${report##* }
    if [ "$failure" -ne 0 ]; then status=000; fi
    if [ "$failure" -eq 28 ] && [ "$(seconds_left)" -le 0 ]; then out_of_time; fi
}

out_of_time() {
    finish 30 "the timeout of $timeout s expired before $server answered"
}

# text NAME: print the first JSON string with that name outside `checks`. Only escaped quotes are unescaped.
text() {
    tr -d '\r\n' <"$work/body" | sed 's/"checks" *:.*"retryable"/"retryable"/' |
        sed -n 's/.*"'"$1"'" *: *"\([^"\\]*\(\\.[^"\\]*\)*\)".*/\1/p' | sed 's/\\"/"/g' | cut -c 1-300
}

# retry_after: print the seconds of the header, or else of the problem document, because a proxy may drop the header.
retry_after() {
    seconds=$(sed -n 's/^[Rr]etry-[Aa]fter: *0*\([0-9]\{1,9\}\)[[:space:]]*$/\1/p' "$work/head" | tail -n 1)
    if [ -z "$seconds" ]; then
        seconds=$(tr -d '\r\n' <"$work/body" | sed -n 's/.*"retryAfterSeconds" *: *0*\([0-9]\{1,9\}\) *[,}].*/\1/p')
    fi
    echo "$seconds"
}

# not_attested STATUS SENTENCE [retryable]: record how the run ends, unless a retry succeeds.
not_attested() {
    exit_code=$1 sentence=$2 retryable=${3:-}
    after=$(retry_after)
    return 1
}

check_imds_response() {
    error=$(text error)
    # Some errors are an object with a message and a code.
    if [ -z "$error" ] && grep -q '"error"' "$work/body"; then
        error=$(text message)
        error=${error:-$(text code)}
    fi
    returned="status $status, ${error:-no error text}"
    case $status in
        200)
            if grep -q '"encoding" *: *"' "$work/body" && grep -q '"signature" *: *"' "$work/body"; then return 0; fi
            not_attested 14 "$imds is not IMDS: the response is not an attested document. Is this an Azure VM?"
            ;;
        000)
            if [ "$failure" -eq 6 ] || [ "$failure" -eq 7 ] || [ "$connections" = 0 ]; then
                not_attested 3 "cannot reach IMDS: $imds did not answer. Is this an Azure VM?"
            else
                not_attested 13 "IMDS at $imds sent no complete response (curl $failure)"
            fi
            ;;
        429) not_attested 11 "IMDS at $imds limits the request rate: $returned" ;;
        410) not_attested 12 "IMDS at $imds is being updated: $returned" ;;
        4??) not_attested 10 "IMDS at $imds rejected the request: $returned" ;;
        5??) not_attested 13 "IMDS at $imds failed: $returned" ;;
        *) not_attested 14 "IMDS at $imds sent a response that is not from IMDS: $returned" ;;
    esac
}

# retry_waits STATUS: print the seconds before each retry, by the rules of Azure's page: 70 s in total for 410.
retry_waits() {
    case $1 in
        3) echo 1 2 ;;
        11) echo 1 1 2 4 ;;
        12) echo 1 2 4 8 15 20 20 ;;
        13) echo 1 2 4 8 ;;
    esac
}

# Write the document for $nonce to $work/body, or fail after the last retry.
fetch_document() {
    failures='' update_seconds=0
    while :; do
        fetch "$imds" 5 -H 'Metadata: true' "$imds/metadata/attested/document?api-version=2020-09-01&nonce=$nonce"
        # An answer of IMDS is ASCII. Without these bytes, a byte order mark and UTF-16 make no difference.
        LC_ALL=C tr -d '\000\273\277\357\376\377' <"$work/body" >"$work/ascii"
        mv "$work/ascii" "$work/body"
        if check_imds_response; then return 0; fi
        failures="$failures $exit_code"
        # shellcheck disable=SC2086 # a list of words
        times=$(printf '%s\n' $failures | grep -cx "$exit_code")
        default_wait=$(retry_waits "$exit_code" | cut -s -d ' ' -f "$times")
        if [ -z "$default_wait" ]; then return 1; fi
        seconds=${after:-$default_wait}
        if [ "$exit_code" -eq 12 ]; then update_seconds=$((update_seconds + seconds)); fi
        if [ "$update_seconds" -gt 70 ] || ! pause "$seconds"; then return 1; fi
    done
}

# check_verifier_response EXPECTED_STATUS [OPTIONS]: OPTIONS is not empty if the request had options of the user.
check_verifier_response() {
    case $status in
        "$1") return 0 ;;
        000)
            case $failure in
                51 | 60) not_attested 22 "the $name at $base has an untrusted certificate (curl $failure)" ;;
                *) not_attested 20 "the $name at $base did not answer (curl $failure)" retryable ;;
            esac
            return 1
            ;;
    esac
    code=$(text code) detail=$(text detail) request=$(text requestId)
    if ! grep -qi '^content-type: *application/problem+json' "$work/head" || [ -z "$code" ] || [ -z "$detail" ]; then
        returned="$base returned status $status without a problem document"
        case $status in
            429) not_attested 24 "the $name limits the request rate: $returned" retryable ;;
            408 | 5??) not_attested 21 "the $name is unavailable: $returned" retryable ;;
            *) not_attested 22 "$returned. Check the URL." ;;
        esac
        return 1
    fi
    problem="$detail ($code${request:+, request $request})"
    again=$(tr -d '\r\n' <"$work/body" | sed -n 's/.*"retryable" *: *true *[,}].*/retryable/p')
    case $status:$code:${2:+options}:$again in
        429:*) not_attested 24 "the $name limits the request rate: $problem" "$again" ;;
        408:* | 5??:*) not_attested 21 "the $name is unavailable: $problem" "$again" ;;
        *:unauthenticated:* | *:forbidden:*)
            not_attested 23 "the $name denied access: $problem" "$again"
            ;;
        *:malformed-request:options:*)
            not_attested 2 "the $name does not accept an option of the agent: $problem" "$again"
            ;;
        *:malformed-request:* | *:not-found:* | *:method-not-allowed:* | *:unsupported-media-type:*)
            not_attested 22 "$base does not support this request: $problem. Check the URL." "$again"
            ;;
        *:retryable) not_attested 25 "refused, but a retry may succeed: $problem" "$again" ;;
        *) not_attested 1 "refused: $problem" ;;
    esac
}

# Write the result to $work/body, or set $exit_code, $sentence, $retryable and $after.
attest() {
    fetch "$base" 15 -K "$work/verifier.conf" --data-binary "{$binding}" "$base$nonces"
    check_verifier_response 201 "$binding" || return 1
    # The nonces that IMDS accepts. Anything else must not reach the URL.
    nonce=$(text nonce)
    case $nonce in
        '' | *[!0-9A-Za-z]* | ?????????????????????????????????*)
            not_attested 22 "$base is not a $name: it issued a nonce that IMDS does not accept. Check the URL."
            return 1
            ;;
    esac

    posted="\"nonce\":\"$nonce\""
    if [ "$name" = backend ]; then
        session=$(text session)
        case $session in
            '' | *[!0-9A-Za-z._~-]*)
                not_attested 22 "$base is not a $name: it issued no session. Check the URL."
                return 1
                ;;
        esac
        posted="\"session\":\"$session\""
    fi

    fetch_document || return 1
    # Add the nonce, so that the verifier detects a document that IMDS served from its cache.
    {
        printf '{%s,' "$posted"
        tr -d '\r\n' <"$work/body" | sed 's/^ *{//'
    } >"$work/document"
    fetch "$base" 15 -K "$work/verifier.conf" --data-binary "@$work/document" "$base$appraisals"
    check_verifier_response "$done_status" || return 1
    if [ "$name" = backend ]; then
        if grep -q '"licensed" *: *true *[,}]' "$work/body"; then return 0; fi
        not_attested 22 "$base is not a $name: the response is not a license. Check the URL."
    elif ! grep -q '"verdict" *: *"verified"' "$work/body" || ! grep -q '"claims" *: *{' "$work/body"; then
        not_attested 22 "$base is not a $name: the response is not an attestation result. Check the URL."
    fi
}

# What a run does: IMDS's answer to a nonce, or the verdict.
run() {
    if [ -z "$name" ]; then fetch_document; else attest; fi
}

# At most five rounds, each with a new nonce and a new document.
for default_wait in 1 2 4 8 none; do
    if run; then
        exit_code=0
        break
    fi
    if [ -z "$retryable" ] || [ "$default_wait" = none ] || ! pause "${after:-$default_wait}"; then break; fi
done
if [ "$exit_code" -ne 0 ]; then finish "$exit_code" "$sentence"; fi

result=$work/body
if [ -n "$token_only" ]; then
    result=$work/token
    part='[0-9A-Za-z_-]\{1,\}'
    token=$(tr -d '\r\n' <"$work/body" | sed -n 's/.*"token" *: *"\('"$part\\.$part\\.$part"'\)".*/\1/p')
    if [ -z "$token" ]; then finish 26 'verified, but the verifier returned no result token'; fi
    printf '%s\n' "$token" >"$result"
fi
if [ -z "$output" ]; then
    cat "$result" 2>/dev/null || {
        # More than 128 is a signal, such as SIGPIPE.
        written=$?
        if [ "$written" -gt 128 ]; then exit "$written"; fi
        finish 2 'cannot write standard output'
    }
elif ! { part=$(mktemp "$output.XXXXXX") && cat "$result" >"$part" && mv -f "$part" "$output"; } 2>/dev/null; then
    finish 2 "cannot write $output"
fi
