/** Finding the parts, choosing an engine in words a user can act on, and the control channel's client. */

import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chooseEngine } from "../../../src/engine/choose.ts";
import { ENGINES } from "../../../src/engine/engines.ts";
import { lookOf } from "../../../src/engine/kvm.ts";
import { checkAbi, type KvmProbe, probeKvm, startVmm } from "../../../src/engine/library.ts";
import { qemuPath, vmmPath } from "../../../src/host/installation.ts";
import { readEvent, type VmmEvent } from "../../../src/machine/events.ts";
import { Control } from "../../../src/wire/control.ts";
import { encodeFrame, FrameDecoder, type Message } from "../../../src/wire/framing.ts";

const BEFORE = { ...process.env };
afterEach(() => {
  for (const name of ["CAPSA_LIB_DIR", "CAPSA_QEMU"]) {
    if (BEFORE[name] === undefined) delete process.env[name];
    else process.env[name] = BEFORE[name];
  }
});

const PROBE: KvmProbe = {
  state: "ok",
  error: undefined,
  apiVersion: 12,
  cpuVirtualization: true,
  guestMs: 1,
  guestLoops: 1000,
};
const QEMU = {
  look: () => ({ what: "QEMU", found: "/usr/bin/qemu" }),
  cost: { code: "ENGINE_QEMU", words: "several times slower" },
};
/** The engines of a machine whose KVM is in that state. */
const found = (state: KvmProbe["state"]) => ({
  kvm: { look: () => lookOf({ ...PROBE, state }) },
  qemu: QEMU,
});

test("auto takes KVM where it is of use, and says what it costs where not", () => {
  expect(chooseEngine("auto", "", found("ok"))).toMatchObject({ engine: "kvm" });
  expect(chooseEngine("auto", "", found("ok")).notice).toBeUndefined();
  const choice = chooseEngine("auto", "", found("software"));
  expect(choice.engine).toBe("qemu");
  expect(choice.notice?.message).toContain("engine qemu: /dev/kvm answers but emulates");
  expect(choice.notice?.message).toContain("several times slower");
  expect(choice.notice?.message).not.toContain("\n");
  expect(choice.notice?.code).toBe("ENGINE_QEMU");
  expect(choice.looks.map(({ what }) => what)).toEqual(["/dev/kvm", "QEMU"]);
});

test("an engine by name is taken or refused, never replaced", () => {
  expect(chooseEngine("qemu", "kvm", found("ok")).engine).toBe("qemu");
  expect(() => chooseEngine("kvm", "", found("absent"))).toThrow("there is no /dev/kvm");
  expect(() => chooseEngine("auto", "kvm", found("denied"))).toThrow(
    expect.objectContaining({ code: "KVM_UNUSABLE" }),
  );
  expect(chooseEngine("auto", "qemu", found("ok")).engine).toBe("qemu");
  expect(chooseEngine("auto", "qemu", found("ok")).notice).toBeUndefined();
  expect(() => chooseEngine("auto", "xen", found("ok"))).toThrow('CAPSA_ENGINE is "xen"');
});

test("where no engine can be used, the last one says why", () => {
  process.env.CAPSA_QEMU = join(tmpdir(), "capsa-nowhere");
  const { kvm } = found("absent");
  expect(() => chooseEngine("auto", "", { ...ENGINES, kvm })).toThrow(
    expect.objectContaining({ code: "QEMU_MISSING" }),
  );
});

test("every finding has a reason and a mend", () => {
  for (const state of ["absent", "denied", "software", "broken", "unsupported"] as const) {
    const { found: why, refusal } = lookOf({ ...PROBE, state });
    expect(why.length).toBeGreaterThan(10);
    expect(refusal?.hint?.length).toBeGreaterThan(10);
  }
  expect(lookOf(PROBE).refusal).toBeUndefined();
});

test("the probe answers in time", () => {
  const began = performance.now();
  const probe = probeKvm(50);
  expect(performance.now() - began).toBeLessThan(500);
  expect(["ok", "absent", "denied", "software", "broken", "unsupported"]).toContain(probe.state);
});

test("missing parts and other versions are told with the mend", () => {
  const nowhere = join(tmpdir(), "capsa-nowhere");
  process.env.CAPSA_LIB_DIR = nowhere;
  expect(() => probeKvm(1)).toThrow(expect.objectContaining({ code: "LIBRARY_MISSING" }));
  expect(() => vmmPath()).toThrow(expect.objectContaining({ code: "VMM_MISSING" }));
  process.env.CAPSA_QEMU = nowhere;
  expect(() => qemuPath()).toThrow(expect.objectContaining({ code: "QEMU_MISSING" }));
  expect(() => checkAbi(99, "/lib/libcapsa.so")).toThrow("interface version 99, this capsa needs 1");
});

test("a monitor that cannot be started is an error with its name", () => {
  expect(() => startVmm("/nonesuch", new Uint8Array([0xa0]))).toThrow(
    expect.objectContaining({ code: "ENOENT" }),
  );
  expect(() => startVmm("/bin/true", new Uint8Array(1_048_577))).toThrow(
    expect.objectContaining({ code: "E2BIG" }),
  );
});

/** A VMM's end of a control channel. */
async function withVmm(
  answer: (request: Message, send: (message: object) => void, hangUp: () => void) => void,
  body: (control: Control, events: VmmEvent[], closed: Promise<void>) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "capsa-control-"));
  const unix = join(directory, "control.sock");
  const decoder = new FrameDecoder();
  const server = Bun.listen({
    unix,
    socket: {
      data(socket, chunk) {
        for (const [request] of decoder.push(chunk)) {
          answer(
            request,
            (message) => socket.write(encodeFrame(message)),
            () => socket.end(),
          );
        }
      },
    },
  });
  const events: VmmEvent[] = [];
  const closed = Promise.withResolvers<void>();
  const control = await Control.open(
    { unix },
    { onEvent: (message) => events.push(readEvent(message)), onClose: closed.resolve },
  );
  try {
    await body(control, events, closed.promise);
  } finally {
    control.close();
    server.stop(true);
    rmSync(directory, { recursive: true });
  }
}

test("requests get their own replies, events come in order", async () => {
  await withVmm(
    (request, send) => {
      if (request.op === "status") send({ event: "started", engine: "qemu", ns: 5 });
      if (request.op === "status") send({ reply: request.id, result: { state: "running" } });
      if (request.op === "pause")
        send({ reply: request.id, error: { code: "EBUSY", message: "the machine is ending" } });
    },
    async (control, events) => {
      const pausing = control.request("pause");
      expect(await control.request("status", { follow: true })).toEqual({ state: "running" });
      expect(events).toEqual([{ event: "started", engine: "qemu", ports: [] }]);
      await expect(pausing).rejects.toMatchObject({ name: "VmmError", code: "EBUSY" });
    },
  );
});

test("published ports, refusals and notices are read as what they are", async () => {
  const published = { protocol: "udp", address: "::1", port: 5353, guestPort: 53 };
  const refusal = { protocol: "tcp", address: "192.0.2.1", port: 443, why: "no\u001brule", allow: "x:443" };
  await withVmm(
    (request, send) => {
      send({
        event: "started",
        engine: "qemu",
        ns: 5,
        ports: { 10: published, 9: { ...published, port: 1 } },
      });
      send({ event: "network", ...refusal });
      send({ event: "notice", code: "WATCH_LIMIT", message: "no\u001bmore" });
      send({ reply: request.id, result: {} });
    },
    async (control, events) => {
      await control.request("status");
      expect(events).toEqual([
        { event: "started", engine: "qemu", ports: [{ ...published, port: 1 }, published] },
        { event: "network", refusal: { ...refusal, why: "no\\x1brule" } },
        { event: "notice", code: "WATCH_LIMIT", message: "no\\x1bmore" },
      ] as never);
    },
  );
});

test("a VMM that goes, or that talks nonsense, rejects what is open and closes once", async () => {
  const nonsense = [{ event: "explode" }, { reply: "x" }, { reply: 1, result: 7 }, { reply: 1, error: 7 }];
  for (const last of [undefined, ...nonsense]) {
    await withVmm(
      (_, send, hangUp) => (last === undefined ? hangUp() : send(last)),
      async (control, _, closed) => {
        await expect(control.request("stop")).rejects.toMatchObject({ code: "VMM_GONE" });
        await closed;
        await expect(control.request("status")).rejects.toMatchObject({ code: "VMM_GONE" });
      },
    );
  }
});
