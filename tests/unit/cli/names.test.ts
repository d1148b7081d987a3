/** What `capsa doctor` says of name servers. */
import { expect, test } from "bun:test";
import { createSocket, type Socket } from "node:dgram";
import { names } from "../../../src/cli/diagnosis.ts";

const host = (fallback: boolean, ...servers: string[]) => ({ servers, fallback, search: [], options: [] });

/** A name server that answers everybody, and its port. */
async function server(): Promise<{ socket: Socket; port: number }> {
  const socket = createSocket("udp4");
  socket.on("message", (question, { port, address }) => socket.send(question, port, address));
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.bind(0, "127.0.0.1", resolve);
  await promise;
  return { socket, port: socket.address().port };
}

test("a server that answers is enough, and who does not is named", async () => {
  const { socket, port } = await server();
  expect(await names(port, host(false, "127.0.0.1"))).toEqual({ state: "ok", found: "127.0.0.1 answers" });
  expect(await names(port, host(false, "127.0.0.9", "127.0.0.1"))).toEqual({
    state: "ok",
    found: "127.0.0.9 cannot be asked (ECONNREFUSED), 127.0.0.1 answers",
  });
  expect(await names(port, host(true, "127.0.0.1"))).toMatchObject({
    state: "note",
    found: "/etc/resolv.conf names no server, so 127.0.0.1 is asked: 127.0.0.1 answers",
  });
  socket.close();
});

test("where none does, names cannot be found", async () => {
  const { socket, port } = await server();
  socket.close();
  const found = await names(port, host(false, "127.0.0.1"));
  expect(found).toMatchObject({ state: "note" });
  expect(found.found).toBe(
    "127.0.0.1 cannot be asked (ECONNREFUSED); sandboxes with a network find no names",
  );
  expect(found.mend).toContain("/etc/resolv.conf");
});
