#!/usr/bin/env bash
# Print the directory with the lab machine's kernel and initramfs, making it in the cache on first use: Debian's cloud
# kernel, its modules for KVM, virtio and veth, busybox, and the init beside this script. In modules/ there are those that
# a raw VM with this kernel needs for capsa's devices.
set -euo pipefail
cd "$(dirname "$0")"
newest() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image-/ {print $2; exit}'; }
package=$(newest)
if [ -z "$package" ]; then
  apt-get update -qq >&2
  package=$(newest)
fi
[ -n "$package" ] || { echo "lab: apt knows no linux-image-cloud-amd64, Debian's kernel for the lab" >&2; exit 1; }
version=$(apt-cache policy "$package" | awk '/Candidate:/ {print $2; exit}')
cache=${CAPSA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/capsa}/lab
machine=$cache/$package-$version-$(cat init machine.sh | sha256sum | cut -c1-12)
if [ ! -d "$machine" ]; then
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/.making.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  echo "lab: fetching $package" >&2
  (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$package") >&2
  dpkg -x "$work"/*.deb "$work/deb"

  root=$work/root
  mkdir -p "$root"/{bin,proc,sys,dev,new}
  cp /bin/busybox "$root/bin/"
  install -m755 init "$root/init"
  modules() { # directory, then module names, each after those it needs
    local directory=$1 module file
    shift
    mkdir -p "$directory"
    for module; do
      file=$(find "$work/deb/lib/modules" -name "$module.ko" -print -quit)
      [ -n "$file" ] || continue # built in
      cp "$file" "$directory/"
      echo "$module" >>"$directory/order"
    done
  }
  modules "$root/modules" virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci fuse virtiofs overlay \
    irqbypass ccp kvm kvm-amd veth failover net_failover virtio_net
  modules "$work/done/modules" virtio_ring virtio virtio_mmio virtio_blk rng-core virtio-rng \
    vsock vmw_vsock_virtio_transport_common vmw_vsock_virtio_transport
  (cd "$root" && find . | cpio -o -H newc --quiet) >"$work/done/initrd"
  mv "$work"/deb/boot/vmlinuz-* "$work/done/vmlinuz"
  mv -T "$work/done" "$machine" 2>/dev/null || [ -d "$machine" ]
fi
echo "$machine"
