<#
.SYNOPSIS
Resets a Hyper-V virtual machine in the middle of saves, again and again, and checks what is left.

.DESCRIPTION
Runs on the host. In the machine, intact-faults begins saves and holds them half done; the host turns the machine off
as a power cut would, starts it, and lets intact-faults check every file. The machine needs Install-Intact.ps1 run in
it, and the folder of this script at -Tools. The virtual disk should not cache writes on the host: what the host
acknowledges must be on its disk.

Written without a Windows machine at hand: not yet run.

.PARAMETER VMName
The virtual machine.

.PARAMETER Credential
An administrator in it.

.PARAMETER Tools
Where intact-faults.exe is in the machine.

.PARAMETER Folder
The folder in the machine that the policy covers.

.PARAMETER Count
How many resets.
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory)] [string] $VMName,
    [Parameter(Mandatory)] [pscredential] $Credential,
    [string] $Tools = 'C:\intact',
    [string] $Folder = 'C:\IntactTest\reset',
    [int] $Count = 10
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

function Invoke-InMachine {
    param([scriptblock] $Script, [object[]] $Arguments = @())
    Invoke-Command -VMName $VMName -Credential $Credential -ScriptBlock $Script -ArgumentList $Arguments
}

function Wait-Machine {
    $deadline = (Get-Date).AddMinutes(10)
    while ($true) {
        try {
            Invoke-InMachine -Script { $true } | Out-Null
            return
        } catch {
            if ((Get-Date) -gt $deadline) {
                throw "$VMName does not answer after ten minutes: $_"
            }
            Start-Sleep -Seconds 3
        }
    }
}

$bad = 0
for ($round = 1; $round -le $Count; $round++) {
    Wait-Machine
    # Started through WMI, so that it outlives this session; its output says when everything is half done.
    Invoke-InMachine -Arguments @($Tools, $Folder) -Script {
        param($Tools, $Folder)
        & fltmc.exe load Intact 2>&1 | Out-Null
        Remove-Item -Path "$Tools\prepare.txt" -Force -ErrorAction SilentlyContinue
        $line = "cmd.exe /c `"`"$Tools\intact-faults.exe`" prepare --folder `"$Folder`" > `"$Tools\prepare.txt`" 2>&1`""
        $started = Invoke-CimMethod -ClassName Win32_Process -MethodName Create -Arguments @{ CommandLine = $line }
        if ($started.ReturnValue -ne 0) {
            throw "prepare did not start: $($started.ReturnValue)"
        }
        $deadline = (Get-Date).AddMinutes(2)
        while (-not (Select-String -Path "$Tools\prepare.txt" -Pattern '^READY' -Quiet -ErrorAction SilentlyContinue)) {
            if ((Get-Date) -gt $deadline) {
                throw "prepare is not ready: $(Get-Content -Path "$Tools\prepare.txt" -ErrorAction SilentlyContinue)"
            }
            Start-Sleep -Milliseconds 200
        }
    }
    Start-Sleep -Milliseconds (Get-Random -Minimum 0 -Maximum 8000)
    Stop-VM -Name $VMName -TurnOff -Force
    Start-VM -Name $VMName
    Wait-Machine
    $result = Invoke-InMachine -Arguments @($Tools, $Folder) -Script {
        param($Tools, $Folder)
        $text = & "$Tools\intact-faults.exe" check --folder $Folder 2>&1 | Out-String
        [pscustomobject] @{ Code = $LASTEXITCODE; Text = $text }
    }
    Write-Output "reset $round of ${Count}: exit $($result.Code)"
    if ($result.Code -ne 0) {
        $bad++
        Write-Output $result.Text
    }
}
Write-Output "$Count resets, $bad of them not as promised."
if ($bad -gt 0) {
    exit 1
}
