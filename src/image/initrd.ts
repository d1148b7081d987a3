/** The initrd of a sandbox: the base, or the user's own, and what its guest is to do. */

import * as fs from "node:fs/promises";
import { join } from "node:path";
import { HostFileError } from "../errors/errors.ts";
import { hold } from "../host/hold.ts";
import { encodeCbor } from "../wire/framing.ts";
import { cpio } from "./cpio.ts";

/**
 * The base and, behind it, the guest's plan: the kernel unpacks one after the other. Megabytes, copied by the kernel, and
 * not waited for by the program. Gives the path, in `directory`. Rejects with `HostFileError`.
 */
export async function writeInitrd(directory: string, base: string, plan: object): Promise<string> {
  const path = join(directory, "initrd.cpio");
  const addition = cpio([
    { path: "capsa", mode: 0o040755 },
    { path: "capsa/plan.cbor", mode: 0o100600, data: encodeCbor(plan) },
  ]);
  using held = hold(base);
  if (!held.status.isFile()) throw new HostFileError("EINVAL", base, "the initrd is not a regular file");
  await fs.copyFile(held.path, path);
  await fs.chmod(path, 0o600);
  const padding = new Uint8Array((4 - ((await fs.stat(path)).size % 4)) % 4);
  await fs.appendFile(path, Buffer.concat([padding, addition]));
  return path;
}
