/** From what was reached to the rules that would let it. */

import { expect, test } from "bun:test";
import { learn, learnedToml } from "../../../src/network/learn.ts";
import { openAndTold } from "../../../src/network/rules.ts";
import type { NetworkAccess } from "../../../src/network/spec.ts";

const access = (allow: string, more: Partial<NetworkAccess> = {}): NetworkAccess => ({
  protocol: "tcp",
  inside: false,
  allow,
  ...more,
});

test("each rule is there once, by name where there is one, in order", () => {
  const { allow, onlyAsked } = learn([
    access("b.test", { protocol: "dns", name: "b.test" }),
    access("b.test:443", { address: "192.0.2.1", port: 443, name: "b.test" }),
    access("b.test:443", { address: "192.0.2.2", port: 443, name: "b.test" }),
    access("192.0.2.9:53/udp", { protocol: "udp", address: "192.0.2.9", port: 53 }),
    access("a.test", { protocol: "dns", name: "a.test" }),
    access("a.test", { protocol: "dns", name: "a.test" }),
  ]);
  expect(allow).toEqual(["192.0.2.9:53/udp", "b.test:443"]);
  expect(onlyAsked).toEqual(["a.test"]);
});

test("a name that led to a private address needs a rule for that as well", () => {
  const six = { address: "fd00::1", port: 53, name: "db.test", inside: true, protocol: "udp" } as const;
  expect(learn([access("db.test:53/udp", six)]).allow).toEqual(["[fd00::1]:53/udp", "db.test:53/udp"]);
  const ping = { address: "10.0.0.1", name: "db.test", inside: true, protocol: "icmp" } as const;
  expect(learn([access("db.test/icmp", ping)]).allow).toEqual(["10.0.0.1/icmp", "db.test/icmp"]);
  expect(learn([access("10.0.0.1:80", { address: "10.0.0.1", port: 80, inside: true })]).allow).toEqual([
    "10.0.0.1:80",
  ]);
});

test("nothing reached is an empty list", () => {
  expect(learnedToml("box", learn([]))).toBe("[sandbox.box.network]\nallow = []\n");
});

test("a network that is open and told keeps what is not about its limits", () => {
  expect(openAndTold("none")).toEqual({
    mode: "user",
    deny: [],
    log: ["*"],
    publish: [],
    hostLoopback: false,
  });
  const within = {
    mode: "user",
    allow: ["a"],
    deny: ["b"],
    log: [],
    publish: ["0:80"],
    hostLoopback: true,
  } as const;
  expect(openAndTold(within)).toEqual({
    mode: "user",
    deny: [],
    log: ["*"],
    publish: ["0:80"],
    hostLoopback: true,
  });
});
