/** Memory as it is on hardware: no dearer to write because a guest has run there before. */
import { join } from "node:path";
import { $ } from "bun";
import type { Place } from "./measure.ts";

/** More than a guest of these benchmarks and its monitor have had: what was freed last is taken first. */
const MEGABYTES = 2048;

/** Before each start of a machine, ours and a peer's (see scrub.c). */
export async function scrub(place: Place): Promise<void> {
  await $`${join(place.out, "scrub")} ${MEGABYTES}`.quiet();
}
