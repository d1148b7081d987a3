#!/usr/bin/env bash
# Print a directory with Debian's OpenSSH server, as usr/sbin/sshd with the libraries that it needs, fetching it into the
# cache on first use. It is unpacked and not installed: installed it would be started, and be open to the network.
set -euo pipefail
packages=(openssh-server openssh-sftp-server libwrap0)
apt-cache show "${packages[@]}" >/dev/null 2>&1 || apt-get update -qq >&2
version=$(apt-cache policy openssh-server | awk '/Candidate:/ {print $2; exit}')
[ -n "$version" ] || { echo "bench: apt knows no openssh-server, the peer" >&2; exit 1; }
cache=${CAPSA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/capsa}/bench
directory=$cache/sshd-${version//[!0-9a-z.+-]/_}
if [ ! -d "$directory" ]; then
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/.making.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "${packages[@]}") >&2
  for package in "$work"/*.deb; do dpkg -x "$package" "$work/root"; done
  chmod 755 "$work/root"
  mv -T "$work/root" "$directory" 2>/dev/null || [ -d "$directory" ]
fi
echo "$directory"
