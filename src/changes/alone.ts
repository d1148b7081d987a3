/**
 * Work on changes that neither another process nor the guest disturbs: while it lasts, the guest's programs wait at its
 * transactional shares.
 * What they made and removed meanwhile would else come back, and they would see what an apply only makes in passing.
 */

import { CapsaError } from "../errors/errors.ts";
import { controlSocket } from "../host/directories.ts";
import { errorCode } from "../host/file_errors.ts";
import { Control } from "../wire/control.ts";
import { lockStaging, type Staging } from "./staging.ts";

/**
 * Waits until no other process is at work on these changes, and the guest has ended what it is about. It ends with the scope,
 * and with this process; for the guest also after a minute, and where its sandbox cannot be asked it never waits.
 */
export async function alone(staging: Staging): Promise<Disposable> {
  const lock = await lockStaging(staging);
  const control = await holdShares(staging);
  return {
    [Symbol.dispose]: () => {
      control?.close(); // lets the guest go on
      lock[Symbol.dispose]();
    },
  };
}

/** Undefined where the sandbox has ended, or its VMM is older. */
async function holdShares({ record }: Staging): Promise<Control | undefined> {
  let control: Control | undefined;
  try {
    control = await Control.open({ unix: controlSocket(record.runtimeDir) });
    await control.request("hold-shares");
    return control;
  } catch (error) {
    control?.close();
    if (!(error instanceof CapsaError) && errorCode(error) === undefined) throw error;
    return undefined;
  }
}
