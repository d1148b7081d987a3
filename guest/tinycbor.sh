#!/usr/bin/env bash
# Print the prefix (include/, lib/) of the pinned tinycbor, fetching it into the cache on first use.
# Why tinycbor: Intel's, MIT, kept up, a pull parser and encoder without allocation, and its static library links with musl.
# Debian 12 does not package it; the same mirror serves trixie's build. The host's own apt configuration is left alone.
set -euo pipefail

version=0.6.1-1
declare -A sha256=([amd64]=be2fa78a0b5f301703ba662ecd3c64f498cd290d7cf482b5b12bb6140e1bb3ac)

arch=$(dpkg --print-architecture)
cache=${CAPSA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/capsa}
prefix=$cache/tinycbor/$version-$arch
if [ -e "$prefix/lib/libtinycbor.a" ]; then
  echo "$prefix"
  exit 0
fi
[ -n "${sha256[$arch]:-}" ] || { echo "tinycbor.sh: no pinned build for $arch" >&2; exit 1; }

mkdir -p "$cache/tinycbor"
work=$(mktemp -d "$cache/tinycbor/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
mirror=$(sed -nE 's/^URIs: *([^ ]*\/debian)\/? *$/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1)
[ -n "$mirror" ] || mirror=$(sed -nE 's/^deb [^h]*(http[^ ]*\/debian)\/? .*/\1/p' /etc/apt/sources.list 2>/dev/null | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} trixie main" >"$work/sources.list"
mkdir -p "$work"/{state/lists/partial,cache/archives/partial,deb}
apt=(-qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
  -o "Dir::State=$work/state" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
{
  apt-get "${apt[@]}" update
  (cd "$work/deb" && apt-get "${apt[@]}" download "libtinycbor-dev=$version")
} >&2
deb=$(echo "$work"/deb/*.deb)
got=$(sha256sum "$deb" | cut -d' ' -f1)
[ "$got" = "${sha256[$arch]}" ] || { echo "tinycbor.sh: $deb has SHA-256 $got, wanted ${sha256[$arch]}" >&2; exit 1; }
dpkg -x "$deb" "$work/root"
mkdir "$work/prefix"
mv "$work/root/usr/include" "$work/prefix/include"
mkdir "$work/prefix/lib"
find "$work/root/usr/lib" -name libtinycbor.a -exec mv {} "$work/prefix/lib/" \;
mv -T "$work/prefix" "$prefix" 2>/dev/null || [ -e "$prefix/lib/libtinycbor.a" ]
echo "$prefix"
