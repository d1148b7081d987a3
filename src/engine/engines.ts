/** The engines that there are, the fastest first. */

import type { Engine } from "./engine.ts";
import { kvm } from "./kvm.ts";
import { qemu } from "./qemu.ts";

export const ENGINES = { kvm, qemu } satisfies Record<string, Engine>;

/** An engine by its name, such as `"kvm"` or `"qemu"`. */
export type EngineName = keyof typeof ENGINES;

export const ENGINE_NAMES = Object.keys(ENGINES) as EngineName[];
