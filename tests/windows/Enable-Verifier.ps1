<#
.SYNOPSIS
Lets Driver Verifier watch Intact from the next start on.

.DESCRIPTION
Needs an elevated PowerShell. A finding is a bugcheck: keep the dump. Disable-Verifier.ps1 takes it back; if the machine
does not start any more, start it in safe mode and run verifier /reset.

Written without a Windows machine at hand: not yet run.

.PARAMETER LowResources
Also lets allocations fail at random.
#>
[CmdletBinding()]
param(
    [switch] $LowResources
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# The standard settings have I/O verification, which brings Filter Manager's own checks of a minifilter along. Low
# resources (4) are not among them.
if ($LowResources) {
    & verifier.exe /flags 0x209BF /driver intact.sys | Out-Host
} else {
    & verifier.exe /standard /driver intact.sys | Out-Host
}
# 2: set, and the machine must be restarted.
if ($LASTEXITCODE -notin 0, 2) {
    throw "verifier failed with $LASTEXITCODE."
}
& verifier.exe /querysettings | Out-Host
Write-Output 'Restart the machine, run Test-Intact.ps1, and unload Intact at the end: leaks are found at unload.'
