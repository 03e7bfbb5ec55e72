<#
.SYNOPSIS
Installs Intact for tests on a machine to throw away, and lets it protect one folder.

.DESCRIPTION
Makes a test certificate, signs intact.sys with it, registers the driver as the INF would, and writes one policy rule.
Needs an elevated PowerShell, test signing (bcdedit /set testsigning on, then a restart; Secure Boot must be off), and
intact.sys beside this script. It changes trusted certificates of the machine: use a virtual machine, and take a
checkpoint first.

Written without a Windows machine at hand: not yet run.

.PARAMETER Folder
The folder that the policy covers, with everything below it.

.EXAMPLE
.\Install-Intact.ps1
#>
[CmdletBinding()]
param(
    [string] $Folder = 'C:\IntactTest'
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$principal = [Security.Principal.WindowsPrincipal] [Security.Principal.WindowsIdentity]::GetCurrent()
if (-not $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
    throw 'Run this in an elevated PowerShell.'
}
$options = (Get-ItemProperty -Path 'HKLM:\SYSTEM\CurrentControlSet\Control').SystemStartOptions
if ($options -notmatch 'TESTSIGNING') {
    throw 'Test signing is off. Run: bcdedit /set testsigning on, restart, and run this again.'
}
$source = Join-Path $PSScriptRoot 'intact.sys'
if (-not (Test-Path -LiteralPath $source)) {
    throw "There is no $source. Copy the whole folder that cargo xtask windows makes."
}
if (Test-Path -Path 'HKLM:\SYSTEM\CurrentControlSet\Services\Intact') {
    throw 'Intact is installed already. Run Uninstall-Intact.ps1 first.'
}

# A certificate of this machine's own, trusted by it alone.
$subject = 'CN=Intact test signing'
$certificate = Get-ChildItem -Path 'Cert:\LocalMachine\My' |
    Where-Object { $_.Subject -eq $subject -and $_.NotAfter -gt (Get-Date) } |
    Select-Object -First 1
if (-not $certificate) {
    $certificate = New-SelfSignedCertificate -Type CodeSigningCert -Subject $subject `
        -CertStoreLocation 'Cert:\LocalMachine\My'
    $file = Join-Path $env:TEMP 'intact-test.cer'
    Export-Certificate -Cert $certificate -FilePath $file | Out-Null
    Import-Certificate -FilePath $file -CertStoreLocation 'Cert:\LocalMachine\Root' | Out-Null
    Import-Certificate -FilePath $file -CertStoreLocation 'Cert:\LocalMachine\TrustedPublisher' | Out-Null
    Remove-Item -LiteralPath $file
}

$driver = Join-Path $env:SystemRoot 'System32\drivers\intact.sys'
Copy-Item -LiteralPath $source -Destination $driver -Force
$signature = Set-AuthenticodeSignature -FilePath $driver -Certificate $certificate -HashAlgorithm SHA256
if ($signature.Status -ne 'Valid') {
    throw "Signing $driver failed: $($signature.StatusMessage)"
}

# What intact.inf says: service, load order group, instance. Both places of the instance, for Windows 11 24H2 and before.
& sc.exe create Intact type= filesys start= demand error= normal binPath= 'System32\drivers\intact.sys' `
    group= 'FSFilter System Recovery' depend= FltMgr DisplayName= Intact | Out-Null
if ($LASTEXITCODE -ne 0) {
    throw "sc.exe create failed with $LASTEXITCODE."
}
$service = 'HKLM:\SYSTEM\CurrentControlSet\Services\Intact'
foreach ($key in $service, "$service\Parameters") {
    if (-not (Test-Path -Path $key)) {
        New-Item -Path $key -Force | Out-Null
    }
    New-ItemProperty -Path $key -Name 'SupportedFeatures' -PropertyType DWord -Value 0 -Force | Out-Null
    New-Item -Path "$key\Instances\Intact" -Force | Out-Null
    New-ItemProperty -Path "$key\Instances" -Name 'DefaultInstance' -PropertyType String -Value 'Intact' -Force | Out-Null
    New-ItemProperty -Path "$key\Instances\Intact" -Name 'Altitude' -PropertyType String -Value '225000' -Force | Out-Null
    New-ItemProperty -Path "$key\Instances\Intact" -Name 'Flags' -PropertyType DWord -Value 0 -Force | Out-Null
}

# The policy: this folder, whichever program saves.
New-Item -ItemType Directory -Path $Folder -Force | Out-Null
$policy = 'HKLM:\SOFTWARE\Policies\Intact'
New-Item -Path "$policy\IntactTest" -Force | Out-Null
New-ItemProperty -Path $policy -Name 'Version' -PropertyType DWord -Value 1 -Force | Out-Null
New-ItemProperty -Path $policy -Name 'Enabled' -PropertyType DWord -Value 1 -Force | Out-Null
New-ItemProperty -Path "$policy\IntactTest" -Name 'Paths' -PropertyType MultiString `
    -Value @("$($Folder.TrimEnd('\'))\**") -Force | Out-Null

Write-Output "Installed. The policy covers $Folder. Load it with: fltmc load Intact"
