<#
.SYNOPSIS
Runs the scenarios and the questions of intact-faults with Intact loaded, and keeps what they say.

.DESCRIPTION
Runs everything once without Intact, which proves that the tests can show damage, and once with it. Needs an elevated
PowerShell and Install-Intact.ps1 before. The reports go to the folder Results beside this script.

Written without a Windows machine at hand: not yet run.

.PARAMETER Folder
The folder that the policy covers.

.PARAMETER Unload
Also tries to unload Intact while a file is being saved, which must be refused.
#>
[CmdletBinding()]
param(
    [string] $Folder = 'C:\IntactTest',
    [switch] $Unload
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$program = Join-Path $PSScriptRoot 'intact-faults.exe'
$results = Join-Path $PSScriptRoot 'Results'
New-Item -ItemType Directory -Path $results -Force | Out-Null
$stamp = Get-Date -Format 'yyyyMMdd-HHmmss'

function Invoke-Faults {
    param([string] $Name, [string[]] $Arguments, [int[]] $Expected)
    $file = Join-Path $results "$stamp-$Name.txt"
    & $program @Arguments | Tee-Object -FilePath $file | Out-Host
    $code = $LASTEXITCODE
    if ($Expected -notcontains $code) {
        Write-Warning "$Name ended with $code; expected $($Expected -join ' or '). See $file"
        $script:failed = $true
    }
}

function Test-Loaded {
    [bool] (& fltmc.exe filters | Select-String -Pattern '^\s*Intact\s' -Quiet)
}

$failed = $false
if (Test-Loaded) {
    & fltmc.exe unload Intact | Out-Host
}
if (Test-Loaded) {
    throw 'Intact does not unload: is a program saving a file? Restart, and run this again.'
}
# Without Intact nothing is proven (3), but everything must be as it is without it.
Invoke-Faults -Name 'without' -Arguments @('run', '--folder', $Folder) -Expected 3

& fltmc.exe load Intact | Out-Host
if (-not (Test-Loaded)) {
    throw 'Intact does not load. Look for its reason in Event Viewer: Windows Logs, System.'
}
& fltmc.exe instances -f Intact | Out-Host
Invoke-Faults -Name 'run' -Arguments @('run', '--folder', $Folder) -Expected 0
Invoke-Faults -Name 'kill' -Arguments @('kill', '--folder', $Folder) -Expected 0
$answers = @('answers', '--folder', $Folder)
if ($Unload) {
    $answers += '--unload'
}
Invoke-Faults -Name 'answers' -Arguments $answers -Expected 0

# Nothing is left open, so it unloads; and Driver Verifier, if it is on, looks for leaks then.
& fltmc.exe unload Intact | Out-Host
if (Test-Loaded) {
    Write-Warning 'Intact does not unload though nothing is being saved.'
    $failed = $true
}
& fltmc.exe load Intact | Out-Host

if ($failed) {
    Write-Output "Something is not as expected. Please send the files $stamp-*.txt in $results."
    exit 1
}
Write-Output "All as expected. The answers to send back: $results\$stamp-answers.txt"
