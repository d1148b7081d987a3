#!/usr/bin/env bash
# Print the directory with what the lab's peers need, making it in the cache on first use: microsandbox/ (bin/msb, lib/)
# as npm carries it, and modules/ of the lab's kernel (vhost-vsock for QEMU, loop for a disk), `order` naming them.
set -euo pipefail
microsandbox=@superradcompany/microsandbox-linux-x64-gnu@0.7.2
package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ {print $2; exit}')
[ -n "$package" ] || { echo "bench-lab: apt knows no linux-image-cloud-amd64; run apt-get update" >&2; exit 1; }
version=$(apt-cache policy "$package" | awk '/Candidate:/ {print $2; exit}')
cache=${CAPSA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/capsa}/bench-lab
done=$cache/$package-$version-${microsandbox##*@}
if [ ! -d "$done" ]; then
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/.fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  echo "bench-lab: fetching $microsandbox and $package" >&2
  mkdir -p "$work/done/modules"
  (cd "$work" && npm pack --silent "$microsandbox" && apt-get download -qq -o APT::Sandbox::User=root "$package") >&2
  tar -xzf "$work"/*.tgz -C "$work"
  mv "$work/package" "$work/done/microsandbox"
  ln -s libkrunfw.so.5.6.1 "$work/done/microsandbox/lib/libkrunfw.so.5"
  dpkg -x "$work"/*.deb "$work/deb"
  # each after those it needs
  for module in vsock vmw_vsock_virtio_transport_common vhost_iotlb vhost vhost_vsock loop; do
    cp "$(find "$work/deb/lib/modules" -name "$module.ko" -print -quit)" "$work/done/modules/"
    echo "$module" >>"$work/done/modules/order"
  done
  mv -T "$work/done" "$done" 2>/dev/null || [ -d "$done" ]
fi
echo "$done"
