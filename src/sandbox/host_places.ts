/** The paths of this machine in a specification: what each leads to at a start. */

import type { Notice } from "../errors/errors.ts";
import { rememberGuestDirectory } from "../host/guest_directories.ts";
import { hold } from "../host/hold.ts";
import type { Identity } from "../host/identity.ts";
import type { SandboxSpec } from "../spec/spec.ts";
import { writableIn } from "../spec/writable.ts";

/**
 * Look up what a sandbox is about to be given, and remember where its guest may write. Gives what the monitor has to find, by
 * path. Throws `HostFileError`.
 */
export function lookUpHosts(
  spec: SandboxSpec,
  onNotice: (notice: Notice) => void = () => {},
): ReadonlyMap<string, Identity> {
  const writable = writableIn([spec]);
  const found = new Map<string, Identity>();
  const add = (path: string, written?: true) => {
    using held = hold(path, writable);
    const { status } = held;
    found.set(path, [status.dev, status.ino]);
    if (!written || !status.isDirectory()) return;
    try {
      rememberGuestDirectory(status, { path, sandbox: spec.name });
    } catch (error) {
      const why = (error as Error).message;
      const message = `that the sandbox may write in ${path} cannot be remembered: ${why}; set XDG_STATE_HOME to a directory of yours`;
      onNotice({ code: "GUEST_DIRECTORIES", message });
    }
  };
  if (spec.kernel !== undefined) add(spec.kernel);
  if (spec.rootfs.kind === "directory") add(spec.rootfs.path);
  for (const { host, mode } of spec.shares) add(host, mode === "ro" ? undefined : true);
  return found;
}
