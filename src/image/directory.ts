/** A directory of the host that holds a whole root file system. */

import type { Source } from "./root.ts";

export const directory: Source<"directory"> = async ({ path }) => ({ lowers: [path], overlays: [] });
