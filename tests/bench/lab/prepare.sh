#!/usr/bin/env bash
# Make the lab machine ready to measure in: the peers' modules, the counters of KVM, a disk with user xattrs at DIRECTORY
# and on it the root file system that all who are measured run.
# Usage: prepare.sh WITH-PEERS DIRECTORY      WITH-PEERS: what fetch.sh printed
set -euo pipefail
peers=$1 directory=$2
here=$(cd "$(dirname "$0")" && pwd)
while read -r module; do busybox insmod "$peers/modules/$module.ko"; done <"$peers/modules/order"
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
mkdir -p "$directory"
truncate -s 1G "$directory.disk"
mkfs.ext4 -q -F -O ^has_journal "$directory.disk"
mount -o loop "$directory.disk" "$directory"
mkdir "$directory/rootfs"
(cd "$directory/rootfs" && cpio -idm --quiet <"$here/../../../build/initramfs.cpio")
