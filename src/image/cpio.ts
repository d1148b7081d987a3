/** A cpio archive in the "newc" form, as the kernel unpacks it after the base initramfs. */

interface CpioFile {
  /** Path without a leading slash. */
  readonly path: string;
  /** Type and permission bits: `0o100600` a file, `0o040755` a directory. */
  readonly mode: number;
  readonly data?: Uint8Array;
}

const ALIGN = 4;

/** The archive, padded to whole words; everything in it is root's. */
export function cpio(files: readonly CpioFile[]): Uint8Array {
  const parts: Uint8Array[] = [];
  [...files, { path: "TRAILER!!!", mode: 0 }].forEach((file, index) => {
    const data = file.data ?? new Uint8Array(0);
    const path = new TextEncoder().encode(`${file.path}\0`);
    // inode, mode, uid, gid, links, mtime, size, device and special device (major, minor), length of the name, checksum
    const fields = [index + 1, file.mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length, 0];
    const head = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`;
    parts.push(padded(Buffer.concat([new TextEncoder().encode(head), path])), padded(data));
  });
  return Buffer.concat(parts);
}

function padded(data: Uint8Array): Uint8Array {
  const whole = new Uint8Array(Math.ceil(data.length / ALIGN) * ALIGN);
  whole.set(data);
  return whole;
}
