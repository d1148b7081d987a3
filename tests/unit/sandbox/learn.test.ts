/** From what was used of shares to those that are needed, as text for a file. */

import { expect, test } from "bun:test";
import { parseToml } from "../../../src/config/toml.ts";
import { learnShares, sharesToml } from "../../../src/sandbox/learn.ts";
import { share } from "./spec.ts";

const use = (guest: string, used: boolean, ...entries: string[]) => {
  return { guest, used, written: entries.length > 0, entries, more: false };
};

test("a share that nothing used goes, one that was only read is read-only, the rest stays as it was", () => {
  const shares = [
    share("/unused", { mode: "rw" }),
    share("/read", { mode: "rw" }),
    share("/written", { mode: "rw" }),
    share("/tried"),
    share("/staged", { mode: "transaction" }),
  ];
  const uses = [
    use("/unused", false),
    use("/read", true),
    use("/written", true, "a"),
    use("/tried", true, "a"),
  ];
  expect(learnShares(shares, uses).map(({ use, mode }) => [use, mode])).toEqual([
    ["unused", undefined],
    ["read", "ro"],
    ["written", "rw"],
    ["refused", "ro"],
    ["kept", "transaction"],
  ]);
});

test("as tables they hold what the shares held, by paths of the file", () => {
  const name = 'a "quoted"\nname \x7f \u{1f600}';
  const map = {
    mode: "map",
    uids: [{ guest: 0, host: 1000, count: 1 }],
    gids: [
      { guest: 0, host: 100, count: 2 },
      { guest: 5, host: 5, count: 1 },
    ],
  } as const;
  const shares = [
    share("/here", { host: "/home/me", mode: "rw", protect: [".git/hooks", 'a "b"'] }),
    share("/below", { host: `/home/me/${name}`, ownership: map, cache: "never", locks: "host" }),
    share("/out", { host: "/home/other", ownership: { mode: "caller" } }),
    share("/unused", { host: `/home/me/${name}` }),
  ];
  const uses = [
    { ...use("/here", true, "a", "b c"), more: true },
    use("/below", true),
    use("/out", true),
    use("/unused", false),
  ];
  const text = sharesToml("box", "/home/me/capsa.toml", learnShares(shares, uses));
  expect(parseToml(text)).toEqual({
    value: {
      sandbox: {
        box: {
          shares: [
            { host: ".", guest: "/here", mode: "rw", protect: [".git/hooks", 'a "b"'] },
            {
              host: `./${name}`,
              guest: "/below",
              mode: "ro",
              ownership: { uids: map.uids, gids: map.gids },
              cache: "never",
              locks: "host",
            },
            { host: "/home/other", guest: "/out", mode: "ro", ownership: "caller" },
          ],
        },
      },
    },
  });
  expect(text).toStartWith("[[sandbox.box.shares]] # written: a, b c and others\n");
  expect(text).toContain("\n# not used, so left out: ");
  expect(text).toEndWith('at "/unused"\n\n');
});

test("without shares there is nothing to say", () => {
  expect(sharesToml("box", "/home/me/capsa.toml", learnShares([], []))).toBe("");
});
