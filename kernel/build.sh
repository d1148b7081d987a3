#!/usr/bin/env bash
# The guest kernel: an uncompressed vmlinux from Debian's linux-source, kept in the cache under the hash of its inputs.
# Usage: build.sh build         build it unless the cache has it
#        build.sh path          print where the built kernel is; exit 1 if it is not built
#        build.sh info [--json] what the kernel is made of
#        build.sh lock          take the newest source on the mirror and the config as it is into kernel.lock
set -euo pipefail
export LC_ALL=C
unset MAKEFLAGS MFLAGS MAKELEVEL ARCH CROSS_COMPILE KCFLAGS KCPPFLAGS LOCALVERSION # nothing of a caller's in the kernel
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
arch=$(uname -m)
config=$here/$arch.config
cache=${CAPSA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/capsa}/kernel

say() { printf 'kernel: %s\n' "$*" >&2; }
die() {
  say "$*"
  exit 1
}

[ -e "$config" ] || die "no configuration for $arch: kernel/$arch.config does not exist"
declare -A lock=()
while read -r name value; do
  case $name in '' | '#'*) ;; *) lock[$name]=$value ;; esac
done <"$here/kernel.lock"
patches=("$here"/patches/*.patch)
key=$(cat "$here/kernel.lock" "$config" "$here/build.sh" "${patches[@]}" | sha256sum)
key=${key:0:24}
artifact=$cache/$key

digest() { sha256sum "$1" | cut -d' ' -f1; }

# --- running long commands: cancellable, leaving nothing, with progress on a terminal ---

work='' child=''
finish() {
  [ -z "$child" ] || { kill -TERM -- "-$child" && wait "$child"; } 2>/dev/null || true
  [ -z "$work" ] || rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# run PHASE COMMAND...: in a process group of its own, which dies with this script; the output goes to the log
run() {
  local phase=$1 started=$SECONDS status=0 compiled
  shift
  say "$phase"
  setsid setpriv --pdeathsig TERM "$@" >"$work/log" 2>&1 9>&- &
  child=$!
  if [ -t 2 ]; then
    while kill -0 "$child" 2>/dev/null; do
      compiled=$(grep -cE '^  (CC|AS|AR|LD) ' "$work/log" || true)
      printf '\r  %d:%02d%s' $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60)) \
        "$([ "$compiled" = 0 ] || echo ", $compiled objects")" >&2
      sleep 0.5
    done
    printf '\r\033[K' >&2
  fi
  wait "$child" || status=$?
  child=''
  if [ "$status" != 0 ]; then
    cp "$work/log" "$cache/failed.log"
    tail -n 20 "$work/log" >&2
    die "$phase: failed with status $status; the whole output is in $cache/failed.log"
  fi
}

# --- the source: Debian's mirror as the host has it, by a source list of our own ---

# prepare_apt: set `apt` to the options that keep apt-get within $work
prepare_apt() {
  local signed=/usr/share/keyrings/debian-archive-keyring.gpg main security
  [ -e "$signed" ] || die "$signed is missing: apt-get install debian-archive-keyring"
  uris() {
    { cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null || true; } |
      sed -nE "s/^(URIs:|deb( \[[^]]*\])?) *([^ ]*\/$1)\/?( .*)?$/\3/;T;p;q"
  }
  main=$(uris debian) security=$(uris debian-security)
  [ -n "$main" ] || main=http://deb.debian.org/debian security=http://deb.debian.org/debian-security
  mkdir -p "$work"/apt/{state/lists/partial,cache/archives/partial}
  {
    echo "deb [signed-by=$signed] $main ${lock[suite]} main"
    [ -z "$security" ] || echo "deb [signed-by=$signed] $security ${lock[suite]}-security main"
  } >"$work/apt/sources.list"
  apt=(-qq -o "Dir::Etc::SourceList=$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State=$work/apt/state" -o "Dir::Cache=$work/apt/cache" -o APT::Sandbox::User=root
    -o Acquire::Languages=none -o Acquire::Retries=3)
  run "asking Debian's mirror for ${lock[package]}" apt-get "${apt[@]}" update
  mapfile -t offered < <(apt-cache "${apt[@]}" madison "${lock[package]}" | awk '{print $3}')
  [ "${#offered[@]}" -gt 0 ] || die "the mirror $main has no ${lock[package]} in ${lock[suite]}; is the network up?"
}

# fetch_source: set `version` and `deb` to the locked source, or to the newest one if the mirror has dropped it
fetch_source() {
  local file
  version=${lock[version]}
  file=${lock[package]}_${version}_all.deb
  deb=$cache/source/$file
  if [ ! -e "$deb" ] || [ "$(digest "$deb")" != "${lock[deb_sha256]}" ]; then
    prepare_apt
    if [[ " ${offered[*]} " != *" $version "* ]]; then
      say "warning: the mirror no longer has ${lock[package]} $version, which kernel.lock names."
      version=${offered[0]}
      say "warning: building $version instead; the manifest records it. 'build.sh lock' makes it the locked one."
    fi
    download "$version"
  fi
  [ "$version" != "${lock[version]}" ] || [ "$(digest "$deb")" = "${lock[deb_sha256]}" ] ||
    die "$deb has SHA-256 $(digest "$deb"), but kernel.lock says ${lock[deb_sha256]}"
}

# download VERSION: the package, checked by apt against Debian's signature, into the cache; sets `deb`
download() {
  local file=${lock[package]}_${1}_all.deb
  deb=$cache/source/$file
  mkdir -p "$work/deb" "$cache/source"
  run "fetching ${lock[package]} $1 (150 MB)" \
    env -C "$work/deb" apt-get "${apt[@]}" download "${lock[package]}=$1"
  mv "$work"/deb/*.deb "$deb"
}

# --- the sub-commands ---

build_kernel() {
  [ "${lock[config_sha256]}" = "$(digest "$config")" ] ||
    die "kernel/$arch.config is not the one in kernel.lock: once it is as you want it, run kernel/build.sh lock"
  mkdir -p "$cache"
  exec 9>"$cache/.lock"
  if ! flock -n 9; then
    say "another build is running; waiting for it"
    setsid setpriv --pdeathsig TERM flock 9 &
    child=$!
    wait "$child"
    child=''
  fi
  [ ! -e "$artifact/manifest.json" ] || return 0
  rm -rf "$cache"/.build.* # of builds that were killed: the lock is ours
  work=$(mktemp -d "$cache/.build.XXXXXX")
  local started=$SECONDS version deb
  fetch_source

  # Of other machines' hardware only the Kconfig is read; without the rest the tree is a third of its size.
  {
    printf '*/%s\n' '*.dts' '*.dtsi' 'Documentation/*/*' 'tools/testing/*' 'sound/*.[ch]' 'drivers/net/*/*.[ch]'
    printf '*/drivers/%s/*.[ch]\n' accel clk gpu iio infiniband media pinctrl scsi staging usb
    printf '*/arch/%s/*.[chS]\n' alpha arc arm csky hexagon loongarch m68k microblaze mips nios2 openrisc parisc \
      powerpc riscv s390 sh sparc um xtensa
  } >"$work/unread"
  mkdir "$work/tree"
  # shellcheck disable=SC2016
  run "unpacking ${lock[package]} $version" bash -o pipefail -c 'dpkg --fsys-tarfile "$1" | tar -xO "./usr/src/$2.tar.xz" |
    xz -dc -T0 | tar -xC "$3/tree" --strip-components=1 --exclude-from="$3/unread"' \
    unpack "$deb" "${lock[package]}" "$work"
  for patch in "${patches[@]}"; do
    run "applying ${patch##*/}" env -C "$work/tree" busybox patch -p1 -i "$patch"
  done

  local make=(make -C "$work/tree" "-j$(nproc)" KBUILD_BUILD_USER=capsa KBUILD_BUILD_HOST=capsa
    KBUILD_BUILD_VERSION=1 'KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970')
  run "configuring" "${make[@]}" "KCONFIG_ALLCONFIG=$config" allnoconfig
  "$here/check-config.sh" "$config" "$work/tree/.config"
  run "compiling, for about four minutes on two cores" "${make[@]}" vmlinux
  mkdir "$work/artifact"
  strip -s -o "$work/artifact/vmlinux" "$work/tree/vmlinux"
  cp "$work/tree/.config" "$work/artifact/config"
  cat >"$work/artifact/manifest.json" <<END
{
  "package": "${lock[package]}",
  "version": "$version",
  "lockedVersion": "${lock[version]}",
  "debSha256": "$(digest "$deb")",
  "configSha256": "${lock[config_sha256]}",
  "patches": "$(printf '%s\n' "${patches[@]##*/}" | paste -sd ' ')",
  "release": "$(<"$work/tree/include/config/kernel.release")",
  "compiler": "$(gcc --version | head -n 1)",
  "size": $(stat -c %s "$work/artifact/vmlinux"),
  "sha256": "$(digest "$work/artifact/vmlinux")",
  "builtAt": "$(date -u +%Y-%m-%dT%H:%M:%SZ)",
  "buildSeconds": $((SECONDS - started))
}
END
  mv -T "$work/artifact" "$artifact"
  say "built $artifact/vmlinux in $((SECONDS - started)) s"
}

lock_newest() {
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/.lock.XXXXXX")
  local apt offered deb
  prepare_apt
  deb=$cache/source/${lock[package]}_${offered[0]}_all.deb
  [ -e "$deb" ] || download "${offered[0]}"
  sed -E -i "s/^version .*/version ${offered[0]}/; s/^(deb_sha256) .*/\1 $(digest "$deb")/
    s/^(config_sha256) .*/\1 $(digest "$config")/" "$here/kernel.lock"
  say "kernel.lock now names ${lock[package]} ${offered[0]} and kernel/$arch.config as it is"
}

case "${1:-} ${2:-}" in
  'build ') build_kernel ;;
  'path ')
    [ -e "$artifact/vmlinux" ] || die "not built for this kernel.lock and $arch.config: run kernel/build.sh build"
    echo "$artifact/vmlinux"
    ;;
  'info ' | 'info --json')
    [ -e "$artifact/manifest.json" ] || die "not built for this kernel.lock and $arch.config: run kernel/build.sh build"
    manifest=$(sed "1a\\  \"path\": \"$artifact/vmlinux\"," "$artifact/manifest.json")
    if [ "${2:-}" = --json ]; then
      echo "$manifest"
    else
      sed -nE 's/^ *"([a-zA-Z0-9]+)": "?([^"]*[^",])"?,?$/\1\t\2/p' <<<"$manifest" | expand -t 16
    fi
    ;;
  'lock ') lock_newest ;;
  *)
    sed -nE '2,/^set/s/^# ?//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
