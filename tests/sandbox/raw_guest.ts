/** A guest that is not capsa's: Debian's cloud kernel as it is, and an initrd with busybox that comes to a login prompt. */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { $ } from "bun";
import { cpio } from "../../src/image/cpio.ts";

const root = join(import.meta.dir, "../..");

export interface Guest {
  readonly kernel: string;
  readonly initrd: string;
}

const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module.ko" || echo "no $module"; done </modules/order
hostname debian
exec /bin/init
`;
const INITTAB = `ttyS0::respawn:/bin/getty -L ttyS0 115200 vt100
::shutdown:/bin/sync
`;
/** `guest` has the password "secret", root has none. */
const PASSWD = `root::0:0:root:/root:/bin/sh
guest:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1:1000:1000:guest:/:/bin/sh
`;

/** Made in `directory`; a first call fetches Debian's kernel (tests/lab/machine.sh). */
export async function makeGuest(directory: string): Promise<Guest> {
  const machine = (await $`${root}/tests/lab/machine.sh`.quiet().text()).trim();
  const vsock = join(directory, "vsock");
  await $`musl-gcc -static -Os -o ${vsock} ${import.meta.dir}/raw_vsock.c`;
  const file = (path: string, mode: number, data: string | Uint8Array) => ({
    path,
    mode: 0o100000 | mode,
    data: typeof data === "string" ? new TextEncoder().encode(data) : data,
  });
  const modules = join(machine, "modules");
  const initrd = join(directory, "initrd");
  writeFileSync(
    initrd,
    cpio([
      ...["bin", "dev", "etc", "modules", "proc", "root", "sys"].map((path) => ({ path, mode: 0o040755 })),
      file("bin/busybox", 0o755, readFileSync("/bin/busybox")),
      file("bin/vsock", 0o755, readFileSync(vsock)),
      file("init", 0o755, INIT),
      file("etc/inittab", 0o644, INITTAB),
      file("etc/passwd", 0o644, PASSWD),
      file("etc/group", 0o644, "root:x:0:\n"),
      ...readdirSync(modules).map((name) =>
        file(`modules/${name}`, 0o644, readFileSync(join(modules, name))),
      ),
    ]),
  );
  return { kernel: join(machine, "vmlinuz"), initrd };
}
