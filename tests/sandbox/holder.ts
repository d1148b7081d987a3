/** Holds the shares of a sandbox as an apply does, says so, and goes on until it is killed. */
import { writeSync } from "node:fs";
import { alone } from "../../src/changes/alone.ts";
import { openStaging } from "../../src/changes/staging.ts";

await alone(openStaging(process.argv[2]!)!);
writeSync(1, "held\n");
await Bun.sleep(600_000);
