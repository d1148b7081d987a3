/** `write`: put a file into the sandbox, from the script or from the host. */
import { CapsaError } from "../errors.ts";
import type { WriteStep } from "./step.ts";
import type { Verb } from "./verb.ts";

export const write: Verb<WriteStep> = async (step, { agent, signal }) => {
  const contents = "text" in step.contents ? step.contents.text : await hostFile(step.contents.from);
  await agent.writeFile(step.file, contents, { mode: step.mode, parents: true, signal });
  return { mismatches: [] };
};

async function hostFile(path: string): Promise<Blob> {
  const file = Bun.file(path);
  if (!(await file.exists())) throw new CapsaError("ENOENT", `there is no file ${path} on the host`);
  return file;
}
