#Requires -Version 5.1
<#
.SYNOPSIS
    Attests this VM to a verifier: a nonce, the document of IMDS for it, and the verdict.
.DESCRIPTION
    Prints the result as JSON, or with -Token the result token alone, or writes it to the file of -Output, whole or
    not at all. Exits 0 where the VM is verified. Otherwise one sentence is on standard error, and the exit status
    tells the end, as that of `imds-verifier attest` does: docs/agent.md has the table. Windows PowerShell 5.1 and
    PowerShell 7, with nothing to install.
.EXAMPLE
    powershell.exe -NoProfile -NonInteractive -File agent.ps1 -Verifier https://verifier.example -KeyFile key.txt
#>
# No CmdletBinding and no types: what PowerShell itself refuses would end with 1, which here means a verdict.
param(
    $Verifier = '',
    $Imds = 'http://169.254.169.254',
    $KeyFile = '',
    $Timeout = '180',
    [switch] $Token,
    $Output = ''
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$clock = [Diagnostics.Stopwatch]::StartNew()

# The sentence is one line of printable ASCII, whatever others put into it.
function Stop-Agent {
    param([int] $End, [string] $Sentence)
    [Console]::Error.WriteLine('attest: ' + ($Sentence -replace '[^ -~]', ''))
    exit $End
}

function Get-SecondsLeft {
    return $seconds - $clock.Elapsed.TotalSeconds
}

function Stop-Late {
    param([Uri] $Uri)
    $whom = $Uri.GetLeftPart([UriPartial]::Authority)
    Stop-Agent 30 "the time, $seconds s, was up before $whom answered"
}

# Whether they have passed; or not, at once, where so many are not left.
function Wait-Seconds {
    param([double] $Pause)
    if ($Pause -ge (Get-SecondsLeft)) { return $false }
    Start-Sleep -Milliseconds ([int] ($Pause * 1000))
    return $true
}

# How a run ends, unless another round, which -Retryable allows, mends it. -After: seconds to wait first, or nothing.
function New-Trouble {
    param([int] $End, [string] $Sentence, $After = $null, [bool] $Retryable = $false)
    return [pscustomobject] @{ End = $End; Sentence = $Sentence; After = $After; Retryable = $Retryable }
}

# The string of that name in an answer, or nothing.
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

# Why there is no whole answer: 'unreachable', 'untrusted' or 'broken'.
function Get-Failure {
    param([Exception] $Exception, [Uri] $Uri)
    for ($cause = $Exception; $null -ne $cause; $cause = $cause.InnerException) {
        if ($cause -is [Security.Authentication.AuthenticationException]) { return 'untrusted' }
        if ($cause -is [Net.Sockets.SocketException]) {
            if ($cause.SocketErrorCode -eq [Net.Sockets.SocketError]::ConnectionReset) { return 'broken' }
            return 'unreachable'
        }
        if ($cause -is [OperationCanceledException]) {
            # Time is up. Was there a connection?
            $probe = New-Object Net.Sockets.TcpClient
            try { if (-not $probe.ConnectAsync($Uri.Host, $Uri.Port).Wait(1000)) { return 'unreachable' } }
            catch { return 'unreachable' }
            finally { $probe.Close() }
            return 'broken'
        }
    }
    return 'broken'
}

# One exchange, of $Most seconds at most. Status is 0 where there is no whole answer, and Failure tells why.
function Send-Once {
    param([string] $Method, [string] $Uri, [double] $Most, [string] $Body = '')
    $allowed = [Math]::Min($Most, (Get-SecondsLeft))
    if ($allowed -le 0) { Stop-Late $Uri }
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
        if ((Get-SecondsLeft) -le 0) { Stop-Late $Uri }
        $failure = Get-Failure $_.Exception ([Uri] $Uri)
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

# Nothing where IMDS's answer is a document, and otherwise what it means.
function Get-ImdsTrouble {
    param($Answer)
    $fields = ConvertFrom-Body $Answer.Body
    $words = Get-Text $fields 'error'
    if (-not $words) { $words = 'without an explanation' }
    $words = $words.Substring(0, [Math]::Min($words.Length, 200))
    $status = $Answer.Status
    $answered = "it answered $status, $words"
    $after = $Answer.After
    if ($status -eq 200) {
        if ((Get-Text $fields 'encoding') -and (Get-Text $fields 'signature')) { return $null }
        return New-Trouble 14 "$Imds does not answer as IMDS does: is this an Azure VM?"
    }
    if ($status -eq 0 -and $Answer.Failure -eq 'unreachable') {
        return New-Trouble 3 "no IMDS: $Imds gave no answer: is this an Azure VM?"
    }
    if ($status -eq 0) { return New-Trouble 13 "IMDS at $Imds gave no whole answer" }
    if ($status -eq 429) { return New-Trouble 11 "IMDS at $Imds is asked too often: $answered" $after }
    if ($status -eq 410) { return New-Trouble 12 "IMDS at $Imds is being updated: $answered" $after }
    if ($status -ge 400 -and $status -lt 500) { return New-Trouble 10 "IMDS at $Imds refuses: $answered" }
    if ($status -ge 500) { return New-Trouble 13 "IMDS at $Imds is failing: $answered" $after }
    return New-Trouble 14 "IMDS at $Imds does not answer as IMDS does: $answered"
}

# How long to wait before each retry, by the rules of Azure's page: 70 s in all for 410.
$imdsWaits = @{ 3 = @(1, 2); 11 = @(1, 1, 2, 4); 12 = @(1, 2, 4, 8, 15, 20, 20); 13 = @(1, 2, 4, 8) }

# The answer with the document for the nonce; or how that ends, after every retry.
function Get-Document {
    param([string] $Nonce)
    $tries = @{ 3 = 0; 11 = 0; 12 = 0; 13 = 0 }
    $updating = 0
    while ($true) {
        $answer = Send-Once 'GET' "$Imds/metadata/attested/document?api-version=2020-09-01&nonce=$Nonce" 5
        $trouble = Get-ImdsTrouble $answer
        if ($null -eq $trouble) { return $answer }
        $end = $trouble.End
        if (-not $imdsWaits.ContainsKey($end) -or $tries[$end] -ge $imdsWaits[$end].Count) { return $trouble }
        $pause = $imdsWaits[$end][$tries[$end]]
        if ($null -ne $trouble.After) { $pause = $trouble.After }
        $tries[$end]++
        if ($end -eq 12) { $updating += $pause }
        if ($updating -gt 70 -or -not (Wait-Seconds $pause)) { return $trouble }
    }
}

# Nothing where the verifier's answer has the status of a good one, and otherwise what it means.
function Get-VerifierTrouble {
    param($Answer, [int] $Expected)
    $status = $Answer.Status
    $after = $Answer.After
    if ($status -eq $Expected) { return $null }
    if ($status -eq 0 -and $Answer.Failure -eq 'untrusted') {
        return New-Trouble 22 "the verifier at $Verifier is not who it should be (its certificate is not trusted)"
    }
    if ($status -eq 0) { return New-Trouble 20 "the verifier at $Verifier gave no answer" $null $true }
    $fields = $null
    if ($Answer.MediaType -eq 'application/problem+json') { $fields = ConvertFrom-Body $Answer.Body }
    $code = Get-Text $fields 'code'
    $detail = Get-Text $fields 'detail'
    if (-not $code -or -not $detail) {
        $told = "$Verifier answered $status, without the problem document of a verifier"
        if ($status -eq 429) { return New-Trouble 24 "the verifier is asked too often: $told" $after $true }
        if ($status -ge 500) { return New-Trouble 21 "the verifier cannot answer now: $told" $after $true }
        return New-Trouble 22 "${told}: is the URL right?"
    }
    $problem = "$detail ($code"
    $request = Get-Text $fields 'requestId'
    if ($request) { $problem += ", request $request" }
    $problem += ')'
    # Only a plain true: a refusal is final unless it says otherwise.
    $property = $fields.PSObject.Properties['retryable']
    $again = $null -ne $property -and $property.Value -is [bool] -and $property.Value
    $property = $fields.PSObject.Properties['retryAfterSeconds']
    if ($null -eq $after -and $null -ne $property -and ($property.Value -is [int] -or $property.Value -is [long])) {
        $after = [Math]::Max(0, $property.Value)
    }
    if ($status -eq 429) { return New-Trouble 24 "the verifier is asked too often: $problem" $after $again }
    if ($status -ge 500) { return New-Trouble 21 "the verifier cannot answer now: $problem" $after $again }
    if (@('unauthenticated', 'forbidden') -ccontains $code) {
        return New-Trouble 23 "the verifier does not let this agent in: $problem" $after $again
    }
    if (@('malformed-request', 'not-found', 'method-not-allowed', 'unsupported-media-type') -ccontains $code) {
        return New-Trouble 22 "$Verifier does not take this agent's requests: ${problem}: is the URL right?"
    }
    if ($again) { return New-Trouble 25 "refused for now: $problem" $after $true }
    return New-Trouble 1 "refused: $problem"
}

# The answer with the result; or how this round ends.
function Invoke-Round {
    $issued = Send-Once 'POST' "$Verifier/v1/nonces" 15 '{}'
    $trouble = Get-VerifierTrouble $issued 201
    if ($null -ne $trouble) { return $trouble }
    # What IMDS takes as a nonce; anything else goes into no URL.
    $nonce = Get-Text (ConvertFrom-Body $issued.Body) 'nonce'
    if ($nonce -notmatch '\A[A-Za-z0-9]{1,32}\z') {
        return New-Trouble 22 "$Verifier does not answer as a verifier does: no nonce that IMDS takes: is the URL right?"
    }

    $document = Get-Document $nonce
    if ($document.PSObject.Properties['End']) { return $document }

    # The document as it came, and beside it the nonce: so the verifier tells one that IMDS had cached.
    $posted = '{"nonce":"' + $nonce + '",' + $document.Body.Trim().Substring(1)
    $verdict = Send-Once 'POST' "$Verifier/v1/attestations" 15 $posted
    $trouble = Get-VerifierTrouble $verdict 200
    if ($null -ne $trouble) { return $trouble }
    $fields = ConvertFrom-Body $verdict.Body
    if ((Get-Text $fields 'verdict') -cne 'verified' -or -not $fields.PSObject.Properties['claims']) {
        return New-Trouble 22 "$Verifier does not answer as a verifier does: no result: is the URL right?"
    }
    return $verdict
}

# One more round than there are waits, each with a nonce and a document of its own.
function Invoke-Rounds {
    foreach ($usual in @(1, 2, 4, 8)) {
        $ended = Invoke-Round
        if (-not $ended.PSObject.Properties['End'] -or -not $ended.Retryable) { return $ended }
        $pause = $usual
        if ($null -ne $ended.After) { $pause = $ended.After }
        if (-not (Wait-Seconds $pause)) { return $ended }
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
        Stop-Agent 2 "$Output cannot be written"
    }
}

try {
    if ($args.Count -gt 0) { Stop-Agent 2 "the option $($args[0]) is not known" }
    $seconds = 0
    if ("$Timeout" -notmatch '\A[1-9][0-9]{0,3}\z') {
        Stop-Agent 2 'the timeout is a number of seconds, from 1 to 9999'
    }
    $seconds = [int] "$Timeout"
    $Verifier = "$Verifier".TrimEnd('/')
    $Imds = "$Imds".TrimEnd('/')
    foreach ($url in @($Verifier, $Imds)) {
        if ($url -notmatch '\Ahttps?://[\[\]0-9A-Za-z:/._~%-]+\z') {
            Stop-Agent 2 'a URL must be a plain base address that begins with http:// or https://'
        }
    }
    $key = ''
    if ($KeyFile) {
        try { $key = ([string] (Get-Content -Raw -LiteralPath $KeyFile)).Trim() }
        catch { Stop-Agent 2 "$KeyFile cannot be read" }
        if ($key -notmatch '\A[0-9A-Za-z._~+/-]+=*\z') {
            Stop-Agent 2 'the API key is not a bearer token: letters, digits and ._~+/- only'
        }
    }

    # HttpClient and not Invoke-WebRequest: the two PowerShells differ in how they show the body of a refusal.
    Add-Type -AssemblyName System.Net.Http
    # Windows PowerShell offers TLS 1.0 first on older systems.
    [Net.ServicePointManager]::SecurityProtocol =
        [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
    $handler = New-Object Net.Http.HttpClientHandler
    # No proxy and no redirect: what answers is what was named.
    $handler.UseProxy = $false
    $handler.AllowAutoRedirect = $false
    $handler.UseCookies = $false
    $client = New-Object Net.Http.HttpClient $handler
    $client.Timeout = [Threading.Timeout]::InfiniteTimeSpan
    $client.MaxResponseContentBufferSize = 262144

    $ended = Invoke-Rounds
    if ($ended.PSObject.Properties['End']) { Stop-Agent $ended.End $ended.Sentence }
    $text = $ended.Body
    if ($Token) {
        $text = Get-Text (ConvertFrom-Body $ended.Body) 'token'
        if ($text -notmatch '\A[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\z') {
            Stop-Agent 26 'verified, but the verifier signs no results: there is no token'
        }
    }
    Write-Result $text
    exit 0
}
catch {
    # Whatever it is, it is no verdict.
    Stop-Agent 2 "$($_.Exception.Message) ($($_.InvocationInfo.ScriptLineNumber))"
}
