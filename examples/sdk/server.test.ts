/** A test beside a real server, which has a machine of its own. Run it: npm exec -- bun test ./examples/sdk/server.test.ts */
import { afterAll, expect, test } from "bun:test";
import { Capsa } from "capsa";

const box = await Capsa.open({ rootfs: "host", shares: [{ host: import.meta.dirname, guest: "/site" }] });
afterAll(() => box[Symbol.asyncDispose]());
const server = await box.spawn("python3 -um http.server 8000", { cwd: "/site", stderr: "stdout" });
await server.waitFor("Serving HTTP");
const { url } = await box.forward(8000);

test("the server serves", async () => {
  const page = await fetch(`${url}/minimal.ts`);
  expect(await page.text()).toContain("Capsa.open");
});
