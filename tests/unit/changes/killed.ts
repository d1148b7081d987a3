/** Applies the changes of a sandbox, and kills itself at the step of that number. */
import { writeSync } from "node:fs";
import { apply } from "../../../src/changes/apply.ts";
import { openStaging } from "../../../src/changes/staging.ts";

const [id, number] = process.argv.slice(2);
let left = Number(number);
await apply(openStaging(id!)!, undefined, {}, (step) => {
  if (left-- > 0) return;
  writeSync(1, step);
  process.kill(process.pid, "SIGKILL");
});
