#!/bin/bash
# Process 1 of the lab machine once the host's file system is its own: run /lab/command, write its exit code, power off.
trap '' INT TERM
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# A virtual machine that never runs, until the end: the kernel patches its scheduler when the first one comes and the
# last one goes, and done hundreds of times under emulation, all processors now and then stand still in that for ever.
perl -e 'open my $kvm, "+<", "/dev/kvm" or die; ioctl($kvm, 0xae01, 0) or die; sleep' & # KVM_CREATE_VM
while date +%s >/lab/pulse; do sleep 5; done & # lab.sh ends a machine that has none
# An emulator is slow the first time it meets code, and a KVM that has never run a guest looks like a software one.
probe=$(cat /lab/checkout)/build/check/kvm_probe
[ ! -x "$probe" ] || "$probe" >/lab/warm-up 2>&1
if [ -e /lab/interactive ]; then
  setsid -c bash /lab/command </dev/ttyS0 >/dev/ttyS0 2>&1
else
  setsid bash /lab/command </dev/null >/lab/output 2>&1
fi
echo $? >/lab/code
sync
echo o >/proc/sysrq-trigger
sleep 60
