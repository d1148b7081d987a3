#!/usr/bin/env bash
# Prove that every line of a configuration fragment took effect in a finished .config, and that each has its reason.
# Usage: check-config.sh [FRAGMENT DOTCONFIG]     default: this folder's fragment and the built kernel's configuration
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
fragment=${1:-$here/$(uname -m).config}
if [ -n "${2:-}" ]; then
  dotconfig=$2
else
  vmlinux=$("$here/build.sh" path)
  dotconfig=${vmlinux%/*}/config
fi

# An option whose dependency is off is silently dropped by Kconfig, and one that another selects cannot be switched off:
# both show as a difference between what the fragment asks and what .config has.
awk -v fragment="${fragment##*/}" '
  NR == FNR {
    if (match($0, /^CONFIG_[A-Za-z0-9_]+=/)) has[substr($0, 1, RLENGTH - 1)] = substr($0, RLENGTH + 1)
    next
  }
  /^CONFIG_[A-Za-z0-9_]+=/ {
    name = $0; sub(/=.*/, "", name)
    wanted = substr($0, length(name) + 2)
    got = name in has ? has[name] : "n"
    if (got != wanted) complain(name " should be " wanted " and is " got)
    if (previous !~ /^# ./) complain(name " has no reason in the line above it")
    if (name in seen) complain(name " is named twice, first in line " seen[name])
    seen[name] = FNR
  }
  !/^CONFIG_[A-Za-z0-9_]+=/ && !/^#/ && NF { complain("not an option: " $0) }
  { previous = $0 }
  function complain(what) { printf "%s:%d: %s\n", fragment, FNR, what > "/dev/stderr"; bad = 1 }
  END { exit bad }
' "$dotconfig" "$fragment"
