#!/bin/sh
# Bun for a program of capsa's: the one way in which capsa starts it. By itself Bun obeys the directory that it is started
# in, which may be a guest's to write: its settings (bunfig.toml), variables (.env, .env.local, …) and, also in all
# directories above, paths (tsconfig.json, jsconfig.json); and it installs what is missing, and runs what its cache has.
# Usage: bun.sh [--with BUN] PROGRAM [ARGUMENT...]     PROGRAM: its path in the package
root=$(CDPATH='' cd -- "${0%/*}/../.." && pwd -P) || exit 125
if [ "$1" = --with ]; then
  bun=$2
  shift 2
else
  above=$root # it is found as packages are: in node_modules, of the package or of a directory above it
  until bun=$above/node_modules/.bin/bun && [ -x "$bun" ]; do
    if [ -z "$above" ]; then
      echo 'capsa: there is no Bun to run it' >&2
      echo "  run \`make setup\` in capsa's directory or, where it came from npm, \`npm install capsa\`" >&2
      exit 125
    fi
    above=${above%/*}
  done
fi
program=$root/$1
shift
export BUN_RUNTIME_TRANSPILER_CACHE_PATH=0
exec "$bun" --config=/dev/null --no-env-file --no-install --tsconfig-override=/dev/null "$program" "$@"
