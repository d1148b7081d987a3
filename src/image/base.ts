/** The root that the initramfs brings along: busybox, and nothing of the host. */

import type { Source } from "./root.ts";

export const base: Source<"base"> = async () => ({ lowers: [], overlays: [] });
