/** Engine `qemu`: QEMU emulates the processors, wherever it is installed. */

import { HostError } from "../errors/errors.ts";
import { qemuPath } from "../host/installation.ts";
import type { Engine } from "./engine.ts";

export const qemu: Engine = {
  look: () => {
    try {
      return { what: "QEMU", found: qemuPath() };
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      return { what: "QEMU", found: error.message, refusal: error };
    }
  },
  cost: {
    code: "ENGINE_QEMU",
    words: "software emulation runs programs several times slower than KVM",
  },
  program: qemuPath,
};
