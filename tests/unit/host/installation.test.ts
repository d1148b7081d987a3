import { expect, test } from "bun:test";
import { cachedKernel, packagePath } from "../../../src/host/installation.ts";

test("the kernel is looked for where its build puts it", () => {
  const { exitCode, stdout } = Bun.spawnSync([packagePath("kernel", "build.sh"), "path"]);
  expect({ exitCode, path: stdout.toString().trim() }).toEqual({ exitCode: 0, path: cachedKernel()! });
});
