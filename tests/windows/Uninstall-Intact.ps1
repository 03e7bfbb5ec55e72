<#
.SYNOPSIS
Takes away what Install-Intact.ps1 installed: driver, service, policy rule, certificate.

.DESCRIPTION
Needs an elevated PowerShell. The folder with the test files stays. Written without a Windows machine at hand: not yet
run.
#>
[CmdletBinding()]
param()

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

if (& fltmc.exe filters | Select-String -Pattern '^\s*Intact\s' -Quiet) {
    & fltmc.exe unload Intact | Out-Host
    if ($LASTEXITCODE -ne 0) {
        throw 'Intact does not unload: a program still saves a file, or the machine must be restarted.'
    }
}
if (Test-Path -Path 'HKLM:\SYSTEM\CurrentControlSet\Services\Intact') {
    & sc.exe delete Intact | Out-Null
}
Remove-Item -Path (Join-Path $env:SystemRoot 'System32\drivers\intact.sys') -Force -ErrorAction SilentlyContinue
Remove-Item -Path 'HKLM:\SOFTWARE\Policies\Intact\IntactTest' -Recurse -Force -ErrorAction SilentlyContinue
foreach ($store in 'My', 'Root', 'TrustedPublisher') {
    Get-ChildItem -Path "Cert:\LocalMachine\$store" |
        Where-Object { $_.Subject -eq 'CN=Intact test signing' } |
        Remove-Item
}
Write-Output 'Removed. Test signing is still on: bcdedit /set testsigning off, and a restart, end it.'
