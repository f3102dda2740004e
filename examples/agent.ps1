#Requires -Version 5.1
<#
.SYNOPSIS
    Asks a verifier, or a licensing backend, to verify this VM: gets a nonce, gets a document with it from IMDS, and
    posts both.
.DESCRIPTION
    Name one of -Verifier, -Backend and -Nonce. Prints the result as JSON, or with -Token only the result token. With
    -Nonce it prints the document of IMDS. With -Output it writes the file atomically.
    Exits with 0 if the VM is verified. Otherwise it prints one sentence on standard error and exits with a code from
    the table in docs/integrate/agent.md, like `imds-verifier attest`. Runs on Windows PowerShell 5.1 and PowerShell 7.
.EXAMPLE
    powershell.exe -NoProfile -NonInteractive -File agent.ps1 -Verifier https://verifier.example -KeyFile key.txt
#>
# No CmdletBinding and no types: PowerShell exits with 1 if it rejects a parameter, and here 1 means a verdict.
param(
    $Verifier = '',
    $Backend = '',
    $Nonce = '',
    $VmId = '',
    $Policy = '',
    $Imds = 'http://169.254.169.254',
    $KeyFile = '',
    $Timeout = '180',
    [switch] $Token,
    $Output = ''
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$clock = [Diagnostics.Stopwatch]::StartNew()

# Removes everything but printable ASCII, so that remote text cannot control the terminal.
function Stop-Agent {
    param([int] $ExitCode, [string] $Sentence)
    [Console]::Error.WriteLine('attest: ' + ($Sentence -replace '[^ -~]', ''))
    exit $ExitCode
}

function Get-SecondsLeft {
    return $seconds - $clock.Elapsed.TotalSeconds
}

function Stop-OnTimeout {
    param([Uri] $Uri)
    $server = $Uri.GetLeftPart([UriPartial]::Authority)
    Stop-Agent 30 "the timeout of $seconds s expired before $server answered"
}

# Sleeps and returns $true, or returns $false at once if less time is left.
function Wait-Seconds {
    param([double] $Pause)
    if ($Pause -ge (Get-SecondsLeft)) { return $false }
    Start-Sleep -Milliseconds ([int] ($Pause * 1000))
    return $true
}

# How the run ends, unless a retry succeeds. -After: seconds to wait first, or $null.
function New-Failure {
    param([int] $ExitCode, [string] $Sentence, $After = $null, [bool] $Retryable = $false)
    return [pscustomobject] @{ ExitCode = $ExitCode; Sentence = $Sentence; After = $After; Retryable = $Retryable }
}

# Returns the member with that name if it is a string, and '' otherwise.
function Get-Text {
    param($Fields, [string] $Name)
    if ($Fields -isnot [Management.Automation.PSCustomObject]) { return '' }
    $property = $Fields.PSObject.Properties[$Name]
    if ($null -ne $property -and $property.Value -is [string]) { return $property.Value }
    return ''
}

function ConvertFrom-Body {
    param([string] $Body)
    try { return ConvertFrom-Json $Body } catch { return $null }
}

# Why there is no complete response: 'unreachable', 'untrusted' or 'broken'.
function Get-FailureKind {
    param([Exception] $Exception, [Uri] $Uri)
    for ($cause = $Exception; $null -ne $cause; $cause = $cause.InnerException) {
        if ($cause -is [Security.Authentication.AuthenticationException]) { return 'untrusted' }
        if ($cause -is [Net.Sockets.SocketException]) {
            if ($cause.SocketErrorCode -eq [Net.Sockets.SocketError]::ConnectionReset) { return 'broken' }
            return 'unreachable'
        }
        if ($cause -is [OperationCanceledException]) {
            # Timeout: connect again to find out whether the server is reachable.
            $probe = New-Object Net.Sockets.TcpClient
            try { if (-not $probe.ConnectAsync($Uri.Host, $Uri.Port).Wait(1000)) { return 'unreachable' } }
            catch { return 'unreachable' }
            finally { $probe.Close() }
            return 'broken'
        }
    }
    return 'broken'
}

# Without a complete response within $MaxSeconds, Status is 0 and Failure is the kind of failure.
function Send-Request {
    param([string] $Method, [string] $Uri, [double] $MaxSeconds, [string] $Body = '')
    $allowed = [Math]::Min($MaxSeconds, (Get-SecondsLeft))
    if ($allowed -le 0) { Stop-OnTimeout $Uri }
    $request = New-Object Net.Http.HttpRequestMessage (New-Object Net.Http.HttpMethod $Method), $Uri
    if ($Method -eq 'GET') { $request.Headers.Add('Metadata', 'true') }
    else {
        $request.Content = New-Object Net.Http.StringContent $Body
        $request.Content.Headers.ContentType = [Net.Http.Headers.MediaTypeHeaderValue]::Parse('application/json')
        if ($key) {
            $request.Headers.Authorization = New-Object Net.Http.Headers.AuthenticationHeaderValue 'Bearer', $key
        }
    }
    $cancel = New-Object Threading.CancellationTokenSource ([TimeSpan]::FromSeconds($allowed))
    try {
        $response = $client.SendAsync($request, $cancel.Token).GetAwaiter().GetResult()
        $text = $response.Content.ReadAsStringAsync().GetAwaiter().GetResult()
    }
    catch {
        if ((Get-SecondsLeft) -le 0) { Stop-OnTimeout $Uri }
        $failure = Get-FailureKind $_.Exception ([Uri] $Uri)
        return [pscustomobject] @{ Status = 0; Failure = $failure; Body = ''; MediaType = ''; After = $null }
    }
    finally { $cancel.Dispose() }
    $after = $null
    if ($response.Headers.RetryAfter -and $null -ne $response.Headers.RetryAfter.Delta) {
        $after = [int] $response.Headers.RetryAfter.Delta.TotalSeconds
    }
    $mediaType = ''
    if ($response.Content.Headers.ContentType) { $mediaType = $response.Content.Headers.ContentType.MediaType }
    return [pscustomobject] @{
        Status = [int] $response.StatusCode; Failure = ''; Body = $text; MediaType = $mediaType; After = $after
    }
}

# Returns $null if the response is a document.
function Get-ImdsFailure {
    param($Response)
    $fields = ConvertFrom-Body $Response.Body
    $errorText = Get-Text $fields 'error'
    if ($fields -is [Management.Automation.PSCustomObject] -and $fields.PSObject.Properties['error']) {
        # Some errors are an object with a message and a code.
        if (-not $errorText) { $errorText = Get-Text $fields.error 'message' }
        if (-not $errorText) { $errorText = Get-Text $fields.error 'code' }
    }
    if (-not $errorText) { $errorText = 'no error text' }
    $errorText = $errorText.Substring(0, [Math]::Min($errorText.Length, 200))
    $status = $Response.Status
    $returned = "status $status, $errorText"
    $after = $Response.After
    if ($status -eq 200) {
        if ((Get-Text $fields 'encoding') -and (Get-Text $fields 'signature')) { return $null }
        return New-Failure 14 "$Imds is not IMDS: the response is not an attested document. Is this an Azure VM?"
    }
    if ($status -eq 0 -and $Response.Failure -eq 'unreachable') {
        return New-Failure 3 "cannot reach IMDS: $Imds did not answer. Is this an Azure VM?"
    }
    if ($status -eq 0) { return New-Failure 13 "IMDS at $Imds sent no complete response" }
    if ($status -eq 429) { return New-Failure 11 "IMDS at $Imds limits the request rate: $returned" $after }
    if ($status -eq 410) { return New-Failure 12 "IMDS at $Imds is being updated: $returned" $after }
    if ($status -ge 400 -and $status -lt 500) { return New-Failure 10 "IMDS at $Imds rejected the request: $returned" }
    if ($status -ge 500) { return New-Failure 13 "IMDS at $Imds failed: $returned" $after }
    return New-Failure 14 "IMDS at $Imds sent a response that is not from IMDS: $returned"
}

# Seconds before each retry, by the rules of Azure's page: 70 s in total for 410.
$imdsWaits = @{ 3 = @(1, 2); 11 = @(1, 1, 2, 4); 12 = @(1, 2, 4, 8, 15, 20, 20); 13 = @(1, 2, 4, 8) }

# Returns the response with a document for the nonce, or the failure after the last retry.
function Get-Document {
    param([string] $Nonce)
    $tries = @{ 3 = 0; 11 = 0; 12 = 0; 13 = 0 }
    $updateSeconds = 0
    while ($true) {
        $response = Send-Request 'GET' "$Imds/metadata/attested/document?api-version=2020-09-01&nonce=$Nonce" 5
        $failure = Get-ImdsFailure $response
        if ($null -eq $failure) { return $response }
        $code = $failure.ExitCode
        if (-not $imdsWaits.ContainsKey($code) -or $tries[$code] -ge $imdsWaits[$code].Count) { return $failure }
        $pause = $imdsWaits[$code][$tries[$code]]
        if ($null -ne $failure.After) { $pause = $failure.After }
        $tries[$code]++
        if ($code -eq 12) { $updateSeconds += $pause }
        if ($updateSeconds -gt 70 -or -not (Wait-Seconds $pause)) { return $failure }
    }
}

# Returns $null if the response has the expected status.
function Get-VerifierFailure {
    param($Response, [int] $Expected, [bool] $HasOptions = $false)
    $status = $Response.Status
    $after = $Response.After
    if ($status -eq $Expected) { return $null }
    if ($status -eq 0 -and $Response.Failure -eq 'untrusted') {
        return New-Failure 22 "the $name at $base has an untrusted certificate"
    }
    if ($status -eq 0) { return New-Failure 20 "the $name at $base did not answer" $null $true }
    $fields = $null
    if ($Response.MediaType -eq 'application/problem+json') { $fields = ConvertFrom-Body $Response.Body }
    $code = Get-Text $fields 'code'
    $detail = Get-Text $fields 'detail'
    $unavailable = $status -ge 500 -or $status -eq 408
    if (-not $code -or -not $detail) {
        $returned = "$base returned status $status without a problem document"
        if ($status -eq 429) { return New-Failure 24 "the $name limits the request rate: $returned" $after $true }
        if ($unavailable) { return New-Failure 21 "the $name is unavailable: $returned" $after $true }
        return New-Failure 22 "$returned. Check the URL."
    }
    $problem = "$detail ($code"
    $request = Get-Text $fields 'requestId'
    if ($request) { $problem += ", request $request" }
    $problem += ')'
    # Only a JSON true: with any other value the refusal is final.
    $property = $fields.PSObject.Properties['retryable']
    $again = $null -ne $property -and $property.Value -is [bool] -and $property.Value
    $property = $fields.PSObject.Properties['retryAfterSeconds']
    if ($null -eq $after -and $null -ne $property -and ($property.Value -is [int] -or $property.Value -is [long])) {
        $after = [Math]::Max(0, $property.Value)
    }
    if ($status -eq 429) { return New-Failure 24 "the $name limits the request rate: $problem" $after $again }
    if ($unavailable) { return New-Failure 21 "the $name is unavailable: $problem" $after $again }
    if (@('unauthenticated', 'forbidden') -ccontains $code) {
        return New-Failure 23 "the $name denied access: $problem" $after $again
    }
    if ($code -ceq 'malformed-request' -and $HasOptions) {
        return New-Failure 2 "the $name does not accept an option of the agent: $problem" $after $again
    }
    if (@('malformed-request', 'not-found', 'method-not-allowed', 'unsupported-media-type') -ccontains $code) {
        return New-Failure 22 "$base does not support this request: $problem. Check the URL."
    }
    if ($again) { return New-Failure 25 "refused, but a retry may succeed: $problem" $after $true }
    return New-Failure 1 "refused: $problem"
}

# Returns the response with the result or the license, or the failure of this round.
function Invoke-Round {
    if (-not $name) { return Get-Document $Nonce }
    $issued = Send-Request 'POST' "$base$nonces" 15 (ConvertTo-Json -Compress $binding)
    $failure = Get-VerifierFailure $issued 201 ($binding.Count -gt 0)
    if ($null -ne $failure) { return $failure }
    $challenge = ConvertFrom-Body $issued.Body
    # The nonces that IMDS accepts. Anything else must not reach the URL.
    $issuedNonce = Get-Text $challenge 'nonce'
    if ($issuedNonce -cnotmatch '\A[A-Za-z0-9]{1,32}\z') {
        return New-Failure 22 "$base is not a $name: it issued a nonce that IMDS does not accept. Check the URL."
    }
    $member = '"nonce":"' + $issuedNonce + '"'
    if ($name -eq 'backend') {
        $session = Get-Text $challenge 'session'
        if ($session -cnotmatch '\A[0-9A-Za-z._~-]{1,256}\z') {
            return New-Failure 22 "$base is not a $name: it issued no session. Check the URL."
        }
        $member = '"session":"' + $session + '"'
    }

    $document = Get-Document $issuedNonce
    if ($document.PSObject.Properties['ExitCode']) { return $document }

    # Add the nonce, so that the verifier detects a document that IMDS served from its cache.
    $posted = '{' + $member + ',' + $document.Body.Trim().Substring(1)
    $verdict = Send-Request 'POST' "$base$appraisals" 15 $posted
    $failure = Get-VerifierFailure $verdict $doneStatus
    if ($null -ne $failure) { return $failure }
    $fields = ConvertFrom-Body $verdict.Body
    if ($name -eq 'backend') {
        # Only a JSON true.
        if ($fields -is [Management.Automation.PSCustomObject]) { $property = $fields.PSObject.Properties['licensed'] }
        else { $property = $null }
        if ($null -ne $property -and $property.Value -is [bool] -and $property.Value) { return $verdict }
        return New-Failure 22 "$base is not a $name: the response is not a license. Check the URL."
    }
    if ((Get-Text $fields 'verdict') -cne 'verified' -or -not $fields.PSObject.Properties['claims']) {
        return New-Failure 22 "$base is not a $name: the response is not an attestation result. Check the URL."
    }
    return $verdict
}

# At most five rounds, each with a new nonce and a new document.
function Invoke-Rounds {
    foreach ($defaultWait in @(1, 2, 4, 8)) {
        $outcome = Invoke-Round
        if (-not $outcome.PSObject.Properties['ExitCode'] -or -not $outcome.Retryable) { return $outcome }
        $pause = $defaultWait
        if ($null -ne $outcome.After) { $pause = $outcome.After }
        if (-not (Wait-Seconds $pause)) { return $outcome }
    }
    return Invoke-Round
}

function Write-Result {
    param([string] $Text)
    if (-not $Output) {
        [Console]::Out.WriteLine($Text)
        return
    }
    $file = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Output)
    $part = "$file.$([Guid]::NewGuid().ToString('N'))"
    try {
        [IO.File]::WriteAllText($part, "$Text`n", (New-Object Text.UTF8Encoding $false))
        if ([IO.File]::Exists($file)) { [IO.File]::Replace($part, $file, [NullString]::Value) }
        else { [IO.File]::Move($part, $file) }
    }
    catch {
        [IO.File]::Delete($part)
        Stop-Agent 2 "cannot write $Output"
    }
}

try {
    if ($args.Count -gt 0) { Stop-Agent 2 "unknown option $($args[0])" }
    $seconds = 0
    if ("$Timeout" -cnotmatch '\A[1-9][0-9]{0,3}\z') {
        Stop-Agent 2 'the timeout must be 1 to 9999 seconds'
    }
    $seconds = [int] "$Timeout"
    $Imds = "$Imds".TrimEnd('/')
    # What is asked, and the word for it: the verifier, a licensing backend, or IMDS alone.
    if (@(@($Verifier, $Backend, $Nonce) | Where-Object { $_ }).Count -ne 1) {
        Stop-Agent 2 'name one of -Verifier, -Backend and -Nonce'
    }
    if ($Verifier) {
        $name = 'verifier'; $base = $Verifier; $nonces = '/v1/nonces'; $appraisals = '/v1/attestations'; $doneStatus = 200
    }
    elseif ($Backend) {
        $name = 'backend'; $base = $Backend; $nonces = '/challenges'; $appraisals = '/licenses'; $doneStatus = 201
    }
    else { $name = ''; $base = $Imds }
    $base = "$base".TrimEnd('/')
    if ($Token -and $name -ne 'verifier') { Stop-Agent 2 '-Token needs -Verifier' }
    if (($VmId -or $Policy -or $KeyFile) -and -not $name) { Stop-Agent 2 '-VmId, -Policy and -KeyFile need a server' }
    if ($Nonce -and "$Nonce" -cnotmatch '\A[0-9A-Za-z]{1,32}\z') { Stop-Agent 2 'the nonce must be letters and digits' }
    $binding = @{}
    if ($VmId) {
        if ("$VmId" -cmatch '\A\{(.+)\}\z') { $VmId = $Matches[1] }
        if ("$VmId" -cnotmatch '\A[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\z') {
            Stop-Agent 2 'the vmId must be a GUID'
        }
        $binding['vmId'] = "$VmId"
    }
    if ($Policy) {
        if ("$Policy" -cnotmatch '\A[0-9A-Za-z._@-]{1,64}\z') { Stop-Agent 2 'the policy must be the name of a policy' }
        $binding['policy'] = "$Policy"
    }
    foreach ($url in @($base, $Imds)) {
        if ($url -cnotmatch '\Ahttps?://[\[\]0-9A-Za-z:/._~%-]+\z') {
            Stop-Agent 2 'the URL must be a base address that begins with http:// or https://'
        }
        if ($url -match '\Ahttps?://[^/\[:]*:[^/:]*:') {
            Stop-Agent 2 'the URL must have an IPv6 address in brackets, such as http://[::1]:8080'
        }
    }
    $key = ''
    if ($KeyFile) {
        try { $key = ([string] (Get-Content -Raw -LiteralPath $KeyFile)).Trim() }
        catch { Stop-Agent 2 "cannot read $KeyFile" }
        # The whole output of `imds-verifier api-key`.
        if ($key -cmatch '\Akey:\s*(\S+)(?:\s+sha256:\s*[0-9a-f]{64})?\z') { $key = $Matches[1] }
        if (-not $key) { Stop-Agent 2 "the key file $KeyFile is empty" }
        if ($key -cmatch '\Asha256:') {
            Stop-Agent 2 "the key file $KeyFile begins with the hash of the key: keep only the line that begins with key:"
        }
        $lines = @($key -split '\r?\n')
        if ($lines.Count -gt 1) {
            $found = 'it must have only the key'
            for ($number = $lines.Count; $number -ge 1; $number--) {
                if ($lines[$number - 1].Trim() -cmatch '\A[0-9A-Za-z_-]{43}\z') {
                    $found = "line $number has the form of a key: keep only this line"
                }
            }
            Stop-Agent 2 "the key file $KeyFile has $($lines.Count) lines; $found"
        }
        if ($key -cnotmatch '\A[0-9A-Za-z._~+/-]+=*\z') {
            Stop-Agent 2 'the API key is not a bearer token: use only letters, digits and ._~+/-'
        }
    }

    # Not Invoke-WebRequest: the two PowerShells differ in how they return the body of an error response.
    Add-Type -AssemblyName System.Net.Http
    # On older systems, Windows PowerShell does not enable TLS 1.2 by default.
    [Net.ServicePointManager]::SecurityProtocol =
        [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
    $handler = New-Object Net.Http.HttpClientHandler
    # Talk to the named host only: no proxy and no redirects.
    $handler.UseProxy = $false
    $handler.AllowAutoRedirect = $false
    $handler.UseCookies = $false
    $client = New-Object Net.Http.HttpClient $handler
    $client.Timeout = [Threading.Timeout]::InfiniteTimeSpan
    $client.MaxResponseContentBufferSize = 262144

    $outcome = Invoke-Rounds
    if ($outcome.PSObject.Properties['ExitCode']) { Stop-Agent $outcome.ExitCode $outcome.Sentence }
    $text = $outcome.Body
    if ($Token) {
        $text = Get-Text (ConvertFrom-Body $outcome.Body) 'token'
        if ($text -cnotmatch '\A[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\z') {
            Stop-Agent 26 'verified, but the verifier returned no result token'
        }
    }
    Write-Result $text
    exit 0
}
catch {
    # An unexpected error is not a verdict, so the code must not be 1.
    Stop-Agent 2 "$($_.Exception.Message) ($($_.InvocationInfo.ScriptLineNumber))"
}
