/** `write`: put a file into the sandbox, from the script or from the host. */
import { CapsaError } from "../errors/errors.ts";
import { errorCode } from "../host/file_errors.ts";
import { type Held, hold } from "../host/hold.ts";
import type { WriteStep } from "./step.ts";
import type { Verb } from "./verb.ts";

export const write: Verb<WriteStep> = async (step, { agent, signal }) => {
  const options = { mode: step.mode, parents: true, signal };
  if ("text" in step.contents) {
    await agent.writeFile(step.file, step.contents.text, options);
  } else {
    using file = hostFile(step.contents.from);
    await agent.writeFile(step.file, Bun.file(file.path), options);
  }
  return { mismatches: [] };
};

function hostFile(path: string): Held {
  const none = () => new CapsaError("ENOENT", `there is no file ${path} on the host`);
  try {
    const held = hold(path);
    if (held.status.isFile()) return held;
    held[Symbol.dispose]();
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
  throw none();
}
