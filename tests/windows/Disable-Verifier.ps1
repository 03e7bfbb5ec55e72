<#
.SYNOPSIS
Ends Driver Verifier's watch, from the next start on.

.DESCRIPTION
Needs an elevated PowerShell. Written without a Windows machine at hand: not yet run.
#>
[CmdletBinding()]
param()

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

& verifier.exe /reset | Out-Host
Write-Output 'Restart the machine.'
