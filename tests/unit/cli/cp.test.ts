/** Command lines of `capsa cp` that mean nothing, whatever runs. */
import { expect, test } from "bun:test";
import { capsa } from "./capsa.ts";

const cases: [what: string, args: string[], why: string][] = [
  ["two paths here", ["a", "b"], "one of the two paths must be in a sandbox"],
  ["two in sandboxes", ["box:/a", "box:/b"], "one of the two paths must be in a sandbox"],
  ["no path", ["box:", "b"], '"box:" has no path'],
  ["a stream", ["box:/etc", "-"], "tar -c"],
  ["an owner that is none", ["--owner", "me", "/etc/hosts", "box:/w"], "Give numbers"],
  ["an owner out of it", ["--owner", "1", "box:/etc/hosts", "x"], "into a sandbox"],
  ["one argument", ["box:/etc"], "missing required argument"],
];
for (const [what, args, why] of cases) {
  test(what, async () => {
    const { exitCode, stderr } = await capsa(["cp", ...args]);
    expect(stderr).toContain(why);
    expect(exitCode).toBe(2);
  });
}

test("--help tells how names are taken and what the exit code is", async () => {
  const { exitCode, stdout } = await capsa(["cp", "--help"]);
  expect(exitCode).toBe(0);
  for (const part of ["<src>", "NAME:PATH", "--parents", "--owner", "exit code is 1"])
    expect(stdout).toContain(part);
});
