/** Places on private networks: who gets which, and what VMM and guest are told. */

import { expect, test } from "bun:test";
import { guestLan, type Lan, type LanMember, lanDevice, takeLan } from "../../../src/network/lan.ts";

const take = (name: string, as: string, others: readonly LanMember[]): Lan =>
  takeLan({ name, scope: "/capsa.toml", as }, others, `/run/${as}.sock`);

test("members of one network are in one subnet, with numbers of their own", () => {
  const web = take("backend", "web", []);
  const db = take("backend", "db", [web.self]);
  const other = take("other", "web", [web.self, db.self]);
  expect([web, db, other].map(({ self: { subnet, number } }) => [subnet, number])).toEqual([
    [1, 2],
    [1, 3],
    [2, 2],
  ]);
  expect(db.peers).toEqual([web.self]);
  expect(other.peers).toEqual([]);
  expect(web.self.token).toMatch(/^[0-9a-f]{32}$/);
  expect(web.self.token).not.toBe(db.self.token);
  // what is free again is taken again
  expect(take("backend", "late", [db.self]).self).toMatchObject({ subnet: 1, number: 2 });
});

test("the same name of another file is another network", () => {
  const web = take("backend", "web", []);
  const elsewhere = takeLan({ name: "backend", scope: "/other/capsa.toml", as: "web" }, [web.self], "/s");
  expect(elsewhere).toMatchObject({ self: { subnet: 2 }, peers: [] });
});

test("a name is one member's, and there is an end to members", () => {
  const members: LanMember[] = [];
  for (let i = 0; i < 32; i++) members.push(take("backend", `m${i}`, members).self);
  expect(() => take("backend", "m3", members)).toThrow('the network "backend" already has a member "m3"');
  expect(() => take("backend", "more", members)).toThrow("already has 32 members");
});

test("what VMM and guest are told", () => {
  const web = take("backend", "web", []);
  const db = take("backend", "db", [web.self]);
  expect(lanDevice(db)).toEqual({
    mtu: 32768,
    name: "db",
    mac: Uint8Array.of(2, 0x63, 0x70, 0x6e, 1, 3),
    ipv4: "10.202.1.3",
    ipv6: "fd63:6170:7361:1::3",
    token: Buffer.from(db.self.token, "hex"),
    nameServer4: "10.202.1.1",
    nameServer6: "fd63:6170:7361:1::1",
    peers: [
      {
        socket: "/run/web.sock",
        name: "web",
        mac: Uint8Array.of(2, 0x63, 0x70, 0x6e, 1, 2),
        ipv4: "10.202.1.2",
        ipv6: "fd63:6170:7361:1::2",
        token: Buffer.from(web.self.token, "hex"),
      },
    ],
  });
  expect(guestLan(db, true)).toEqual({
    mac: Uint8Array.of(2, 0x63, 0x70, 0x6e, 1, 3),
    ipv4: { address: "10.202.1.3", prefix: 24 },
    ipv6: { address: "fd63:6170:7361:1::3", prefix: 64 },
    nameServer: "10.202.1.1",
  });
  expect(guestLan(db, false)).not.toHaveProperty("nameServer", expect.anything());
});
