/** Unix sockets of this machine that forwards listen on, by paths that a guest may have bent. */
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, renameSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { forward } from "../../../src/agent/forward/forward.ts";
import { ownBent, REFUSED } from "../host/bent.ts";

const bent = ownBent();
const never = new Promise<never>(() => {});
const listen = (path: string) => forward("/nowhere/agent.sock", 80, { path }, never);

test("none is made through a link of a guest's", async () => {
  await expect(listen(join(bent.shared, "way/new.sock"))).rejects.toMatchObject(REFUSED);
  await expect(listen(join(bent.shared, "file"))).rejects.toMatchObject({ code: "PORT_IN_USE" });
});

test("it is made in the directory that was there, and removed from it, wherever that is by then", async () => {
  const [before, after] = [join(bent.shared, "before"), join(bent.shared, "after")];
  mkdirSync(before);
  const path = join(before, "x.sock");
  await using opening = await listen(path);
  expect(opening).toMatchObject({ address: path, url: `unix:${path}` });
  const socket = connect(path);
  await new Promise((done) => socket.once("close", done).on("error", () => {}));
  renameSync(before, after);
  expect(readdirSync(after)).toEqual(["x.sock"]);
  await opening.close();
  while (existsSync(join(after, "x.sock"))) await Bun.sleep(1);
});
