#!/usr/bin/env bash
# Pack the base root file system, busybox and /init as an uncompressed cpio: the same bytes for the same input, root not needed.
# Usage: initramfs.sh INIT OUT.cpio
set -euo pipefail
init=$1 out=$2
here=$(dirname "$(realpath "$0")")
busybox=$(command -v busybox) || { echo "initramfs.sh: no busybox: install busybox-static" >&2; exit 1; }
! ldd "$busybox" >/dev/null 2>&1 || { echo "initramfs.sh: $busybox is not static: install busybox-static" >&2; exit 1; }

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{bin,capsa,dev,etc,home,mnt,opt,proc,root,run,srv,sys,tmp,usr/bin,usr/lib,usr/local/bin,usr/sbin,var/lib,var/log,var/tmp}
cp -r "$here/rootfs/." "$tree/"
install -m 755 "$init" "$tree/init"
install -m 755 "$busybox" "$tree/bin/busybox"
ln -s bin "$tree/sbin"
ln -s ../run "$tree/var/run"
# every applet in /bin, and the two paths that scripts name
"$busybox" --list | while read -r applet; do
  [ "$applet" = busybox ] || [ "$applet" = init ] || ln -s busybox "$tree/bin/$applet"
done
ln -s ../../bin/env "$tree/usr/bin/env"
find "$tree" -mindepth 1 -type d -exec chmod 755 {} +
find "$tree/etc" -type f -exec chmod 644 {} +
chmod 700 "$tree/root"
chmod 1777 "$tree/tmp" "$tree/var/tmp"
find "$tree" -exec touch -h -d @0 {} +
chmod 755 "$tree"
(cd "$tree" && find . -print0 | LC_ALL=C sort -z |
  cpio --quiet --null --create --format=newc --reproducible --owner=+0:+0) >"$out.new"
mv "$out.new" "$out"
