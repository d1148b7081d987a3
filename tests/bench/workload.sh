#!/bin/sh
# What the share benchmark does in the guest, the same for capsa and its peer: write, read and walk a share, ROUNDS times.
# Usage: workload.sh DIRECTORY ROUNDS      prints "write|read|walk SECONDS" a line; DIRECTORY/tree is there already
set -eu
cd "$1"
now() { read -r up _ </proc/uptime; echo "$up"; }
since() { echo "$1 $2 $(now)" | awk '{printf "%s %.2f\n", $1, $3 - $2}'; }
round=0
while [ "$round" -lt "$2" ]; do
  round=$((round + 1))
  start=$(now)
  dd if=/dev/zero of=bulk bs=1M count=192 conv=fsync 2>/dev/null
  since write "$start"
  echo 3 >/proc/sys/vm/drop_caches
  start=$(now)
  dd if=bulk of=/dev/null bs=1M 2>/dev/null
  since read "$start"
  echo 3 >/proc/sys/vm/drop_caches
  start=$(now)
  find tree -type f -size -2 | wc -l >/dev/null
  since walk "$start"
  rm bulk
done
