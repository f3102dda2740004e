#Requires -Version 5.1
<#
.SYNOPSIS
    Attests this VM to a verifier: a nonce, the document of IMDS for it, and the verdict.
.DESCRIPTION
    Writes the result as JSON and exits 0 where the VM is verified; writes the refusal as an error and exits 1.
    Exits 3 where something does not answer. Windows PowerShell 5.1 and PowerShell 7.
.EXAMPLE
    .\agent.ps1 -Verifier https://verifier.example
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)] [string] $Verifier,
    # The tenant's key. The environment keeps it out of the command line.
    [string] $Key = $env:VERIFIER_KEY,
    [string] $Imds = 'http://169.254.169.254',
    [int] $Attempts = 5
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
Add-Type -AssemblyName System.Net.Http
# Windows PowerShell offers TLS 1.0 first on older systems.
[Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12

# HttpClient and not Invoke-WebRequest: the two PowerShells differ in how they show the body of a refusal.
$handler = New-Object System.Net.Http.HttpClientHandler
# No proxy: what answers at a link-local address has to be IMDS, and not somebody on the way.
$handler.UseProxy = $false
$handler.AllowAutoRedirect = $false
$imdsClient = New-Object System.Net.Http.HttpClient $handler
$verifierHandler = New-Object System.Net.Http.HttpClientHandler
$verifierHandler.AllowAutoRedirect = $false
$verifierClient = New-Object System.Net.Http.HttpClient $verifierHandler
foreach ($client in @($imdsClient, $verifierClient)) { $client.Timeout = [TimeSpan]::FromSeconds(30) }

function Send-Once {
    param($Client, [string] $Method, [string] $Uri, [string] $Body)
    $request = New-Object System.Net.Http.HttpRequestMessage (New-Object System.Net.Http.HttpMethod $Method), $Uri
    if ($Client -eq $imdsClient) { $request.Headers.Add('Metadata', 'true') }
    elseif ($Key) {
        $request.Headers.Authorization = New-Object System.Net.Http.Headers.AuthenticationHeaderValue 'Bearer', $Key
    }
    if ($Body) {
        $request.Content = New-Object System.Net.Http.StringContent $Body, ([Text.Encoding]::UTF8), 'application/json'
    }
    try { $response = $Client.SendAsync($request).GetAwaiter().GetResult() }
    catch { return [pscustomobject] @{ Status = 0; Body = $_.Exception.Message; RetryAfter = $null } }
    $retryAfter = $null
    if ($response.Headers.RetryAfter -and $response.Headers.RetryAfter.Delta) {
        $retryAfter = [int] $response.Headers.RetryAfter.Delta.TotalSeconds
    }
    return [pscustomobject] @{
        Status = [int] $response.StatusCode
        Body = $response.Content.ReadAsStringAsync().GetAwaiter().GetResult()
        RetryAfter = $retryAfter
    }
}

# Again where the answer says to wait: IMDS's 410 and 429, and a service that is away.
function Send-Patiently {
    param($Client, [string] $Method, [string] $Uri, [string] $Body)
    for ($attempt = 1; ; $attempt++) {
        $answer = Send-Once -Client $Client -Method $Method -Uri $Uri -Body $Body
        if (@(0, 410, 429, 500, 502, 503, 504) -notcontains $answer.Status -or $attempt -ge $Attempts) { return $answer }
        $seconds = $attempt
        if ($null -ne $answer.RetryAfter) { $seconds = [Math]::Min($answer.RetryAfter, 60) }
        Start-Sleep -Seconds $seconds
    }
}

function Stop-Agent {
    param([string] $Message, $Answer, [int] $ExitCode)
    [Console]::Error.WriteLine("agent: $Message (status $($Answer.Status))")
    [Console]::Error.WriteLine($Answer.Body)
    exit $ExitCode
}

for ($round = 1; ; $round++) {
    $issued = Send-Patiently -Client $verifierClient -Method 'POST' -Uri "$Verifier/v1/nonces"
    if ($issued.Status -ne 201) {
        $code = 1
        if ($issued.Status -eq 0 -or $issued.Status -ge 500) { $code = 3 }
        Stop-Agent 'the verifier gives no nonce' $issued $code
    }
    $nonce = ($issued.Body | ConvertFrom-Json).nonce
    # The verifier's nonces are letters and digits; anything else is no nonce, and goes into no URL.
    if ($nonce -notmatch '\A[A-Za-z0-9]{1,64}\z') { Stop-Agent "the verifier's answer has no nonce" $issued 3 }

    $document = Send-Patiently -Client $imdsClient -Method 'GET' `
        -Uri "$Imds/metadata/attested/document?api-version=2020-09-01&nonce=$nonce"
    if ($document.Status -ne 200) { Stop-Agent 'IMDS gives no document' $document 3 }

    # The document is posted as it came.
    $verdict = Send-Patiently -Client $verifierClient -Method 'POST' -Uri "$Verifier/v1/attestations" -Body $document.Body
    if ($verdict.Status -eq 200) {
        Write-Output $verdict.Body
        exit 0
    }
    if ($verdict.Status -eq 0 -or $verdict.Status -ge 500) { Stop-Agent 'the verifier does not decide' $verdict 3 }
    # IMDS may have answered from its cache, with the nonce of another request.
    $problem = $verdict.Body | ConvertFrom-Json
    if (-not $problem.retryable -or $round -ge $Attempts) { Stop-Agent 'refused' $verdict 1 }
    $seconds = 5
    if ($null -ne $verdict.RetryAfter) { $seconds = [Math]::Min($verdict.RetryAfter, 60) }
    Start-Sleep -Seconds $seconds
}
