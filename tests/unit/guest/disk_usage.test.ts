/** disk_usage: a file system, and a tree in it, beside what df and du say of them. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { client as agent, at, host, place, serve, serveClients, servePlaces, sh } from "./served.ts";

serve();
servePlaces();
serveClients();

test("a file system is told as df tells it", async () => {
  const { total, free, used, inodes, ...rest } = await agent.diskUsage(place);
  expect(rest).toEqual({});
  const [size, itotal] = sh("df -B1 --output=size,itotal . | tail -1").trim().split(/ +/).map(Number);
  expect({ total, inodes: inodes.total }).toEqual({ total: size!, inodes: itotal! });
  expect(used + free).toBeLessThanOrEqual(total);
  expect(inodes.used + inodes.free).toBeLessThanOrEqual(inodes.total);
  expect(used).toBeGreaterThan(0);
});

test("a tree is counted as du -x counts it", async () => {
  sh(
    "mkdir -p a/b $'c\\xff\\n'; head -c 100000 /dev/zero >a/one; ln a/one a/b/two; ln a/one three; truncate -s 1G hole;" +
      " ln -s / a/out; head -c 5000 /dev/zero >$'c\\xff\\n/\\e[31m'",
  );
  const { tree } = await agent.diskUsage(place, { tree: true });
  expect(tree!.bytes).toBe(Number(sh("du -xs -B1 . | cut -f1")));
  expect(tree!.entries).toBe(Number(sh("find . -xdev -printf . | wc -c")));
});

test("a link means what it leads to; a file is a tree of one", async () => {
  sh("mkdir d; head -c 9000 /dev/zero >d/f; ln -s d l; ln -s d/f lf");
  const counted = async (name: string) => (await agent.diskUsage(at(name), { tree: true })).tree;
  expect(await counted("l")).toEqual(await counted("d"));
  expect(await counted("lf")).toEqual({ bytes: Number(sh("du -B1 d/f | cut -f1")), entries: 1 });
});

test("what is not there, or is no path, is told", async () => {
  await expect(agent.diskUsage(at("none"))).rejects.toMatchObject({ code: "ENOENT", path: at("none") });
  await expect(agent.diskUsage("relative")).rejects.toMatchObject({ code: "ARGUMENTS" });
  await expect(agent.diskUsage("/", { tree: "yes" as never })).rejects.toMatchObject({ code: "ARGUMENTS" });
  const response = await host.response(host.request("disk_usage", { path: place, tree: 1 }));
  expect(response.error.code).toBe("EPROTO");
});

test("a tree deeper than any walk goes is an error, and its count can be given up", async () => {
  sh("for i in {1..300}; do mkdir d; cd d; done");
  await expect(agent.diskUsage(place, { tree: true })).rejects.toMatchObject({ code: "ENAMETOOLONG" });
  const id = host.request("disk_usage", { path: "/usr", tree: true });
  host.send({ id, ev: "abort" });
  expect(await host.drain(id)).toMatchObject({ error: { code: "ECANCELED" } });
  expect(await host.response(host.request("exists", { path: join(place, "d") }))).toMatchObject({
    exists: true,
  });
});
