#!/usr/bin/env bash
# The lab: a machine with a true /dev/kvm on hosts that have none, by QEMU's emulation of a processor with SVM. It runs
# on the host's own file system, read-only beneath an overlay in memory: this checkout, Bun and /usr are just there.
# Usage: lab.sh run TEST...      `bun test` of these files in the lab
#        lab.sh exec COMMAND...  any command, from the checkout's root; the exit code is the command's
#        lab.sh shell            a shell on the lab's console
# CAPSA_LAB_MEMORY (MiB, 3072), CAPSA_LAB_CPUS (1), CAPSA_LAB_TIMEOUT (seconds, 1800), CAPSA_LAB_OUT (directory that is
# /lab inside; one that goes away otherwise)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
usage() { sed -n '4,6s/^# *//p' "$0" >&2; exit 2; }

verb=${1:-}
[ $# -gt 0 ] && shift
case $verb in
  run) [ $# -gt 0 ] || usage; command=(node_modules/.bin/bun test --timeout 300000 "$@") ;;
  exec) [ $# -gt 0 ] || usage; command=("$@") ;;
  shell) command=(bash -i) ;;
  *) usage ;;
esac
[ "$(id -u)" = 0 ] || { echo "lab: needs root, to share the host's files as they are" >&2; exit 125; }

machine=$("$here/machine.sh")
work=$(mktemp -d /tmp/capsa-lab.XXXXXX)
out=${CAPSA_LAB_OUT:-$work/out}
mkdir -p "$out"
started=()
# shellcheck disable=SC2317 # called by the trap
clean_up() {
  kill -KILL "${started[@]}" || true
  wait || true
  rm -rf "$work"
} 2>/dev/null # where bash would tell of each
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What is started here ends with this script, however that ends.
start() {
  setpriv --pdeathsig KILL -- "$@" &
  started+=($!)
}

share() { # name, directory, cache mode
  # without a thread pool: its threads now and then make a system call that virtiofsd forbids itself
  start /usr/lib/qemu/virtiofsd -f --socket-path="$work/$1.sock" -o "source=$2" -o "cache=$3" -o xattr -o sandbox=chroot \
    --thread-pool-size=0 >"$work/$1.log" 2>&1
  for _ in $(seq 100); do [ -S "$work/$1.sock" ] && return; sleep 0.05; done
  cat "$work/$1.log" >&2
  echo "lab: virtiofsd does not start" >&2
  exit 125
}
share host / always
share out "$out" none

cp "$here/inside.sh" "$out/"
printf '%s\n' "$checkout" >"$out/checkout"
rm -f "$out/code" "$out/output" "$out/interactive" "$out/pulse"
{
  printf 'cd %q\n' "$checkout"
  printf 'export HOME=%q PATH=%q TERM=%q LANG=C.UTF-8 CAPSA_LAB=1\n' "$HOME" "$PATH" "${TERM:-dumb}"
  for name in CI FUZZ_SECONDS CAPSA_CACHE CAPSA_ENGINE; do [ -z "${!name:-}" ] || printf 'export %s=%q\n' "$name" "${!name}"; done
  printf '%q ' "${command[@]}"
} >"$out/command"

memory=${CAPSA_LAB_MEMORY:-3072}
# One processor: with two, QEMU's SVM now and then mixes up the state of host and guest, and either of them ends in a
# triple fault (of 13 runs of tests/sandbox/bulk.test.ts 5 did, with one processor none of 10).
# nohz=off highres=off: timers that go on by themselves. It also loses pending interrupts, and a processor that waits
# for a single-shot timer would stand still for ever.
# shellcheck disable=SC2054 # the commas are QEMU's
qemu=(qemu-system-x86_64 -M q35 -cpu 'max,+svm,-erms,-fsrm' -accel tcg,thread=multi -smp "${CAPSA_LAB_CPUS:-1}" -m "$memory"
  -object "memory-backend-memfd,id=ram,size=${memory}M,share=on" -numa node,memdev=ram
  -chardev "socket,id=host,path=$work/host.sock" -device vhost-user-fs-pci,chardev=host,tag=host,queue-size=1024
  -chardev "socket,id=out,path=$work/out.sock" -device vhost-user-fs-pci,chardev=out,tag=out
  -netdev user,id=net,net=172.31.7.0/24,host=172.31.7.2,dns=172.31.7.3 -device virtio-net-pci,netdev=net,romfile=
  -kernel "$machine/vmlinuz" -initrd "$machine/initrd"
  -append "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off nohz=off highres=off"
  -nodefaults -no-user-config -display none -no-reboot)

if [ "$verb" = shell ]; then
  touch "$out/interactive"
  "${qemu[@]}" -serial mon:stdio
  exit 0
fi

# Ends when the machine has been without a pulse for two minutes.
watch_pulse() {
  local before='' now
  while setpriv --pdeathsig KILL sleep 120; do
    now=$(cat "$out/pulse" 2>/dev/null || true)
    [ "$now" != "$before" ] || break
    before=$now
  done
  echo "lab: the machine stands still" >&2
}

touch "$out/output"
seconds=${CAPSA_LAB_TIMEOUT:-1800}
start timeout -s KILL "$seconds" setpriv --pdeathsig KILL -- "${qemu[@]}" -serial "file:$work/console" \
  >"$work/qemu.log" 2>&1
vm=${started[-1]}
tail -n +1 -s 0.2 -f "$out/output" --pid="$vm" &
output=$!
watch_pulse &
started+=($!)
# The first to end ends all: without one of them the machine would wait for ever.
first=0
wait -n "${started[@]}" || first=$?
for _ in $(seq 30); do kill -0 "$vm" 2>/dev/null || break; sleep 0.1; done
kill -KILL "$vm" 2>/dev/null && cat "$work"/*.log >&2
wait "$output" || true
[ "$first" != 137 ] || echo "lab: ended, perhaps after CAPSA_LAB_TIMEOUT=$seconds seconds" >&2
if [ ! -s "$out/code" ]; then
  cat "$work/qemu.log" "$work/console" >&2
  echo "lab: the machine ended without a result" >&2
  exit 125
fi
exit "$(cat "$out/code")"
