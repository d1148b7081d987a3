#!/usr/bin/env bash
# Print the path of Debian's cloud kernel (bzImage), fetching the package into the cache on first use.
set -euo pipefail
cache=${CAPSA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/capsa}/cloud-kernel
package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ {print $2; exit}')
if [ ! -e "$cache/$package/vmlinuz" ]; then
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/.fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$package") >&2
  dpkg -x "$work"/*.deb "$work/root"
  mkdir "$work/done"
  mv "$work"/root/boot/vmlinuz-* "$work/done/vmlinuz"
  mv -T "$work/done" "$cache/$package" 2>/dev/null || [ -e "$cache/$package/vmlinuz" ]
fi
echo "$cache/$package/vmlinuz"
