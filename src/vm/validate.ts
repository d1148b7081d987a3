/** Whether this machine has what a raw VM is to have. */

import { statusOf } from "../host/hold.ts";
import { type Checker, checkReadable } from "../spec/paths.ts";
import { type Path, type Problem, refuseFirst, reporter } from "../spec/problem.ts";
import { checkFiles } from "../spec/sandbox.ts";
import type { DiskSpec, VmSpec } from "./spec.ts";

const SECTOR = 512;

/** Throws `SpecError` for the first thing that cannot be. */
export function validateVm(spec: VmSpec): void {
  const problems: Problem[] = [];
  const checker = { report: reporter(problems) };
  checkFiles(spec, checker);
  spec.disks.forEach((disk, index) => {
    checkDisk(["disks", index, "path"], disk, checker);
  });
  refuseFirst(problems);
}

function checkDisk(at: Path, { path, readOnly }: DiskSpec, checker: Checker): void {
  if (!checkReadable(at, path, { kind: "disk", access: readOnly ? "read" : "write" }, checker)) return;
  const status = statusOf(path);
  if (status.isBlockDevice() || (status.size > 0n && status.size % BigInt(SECTOR) === 0n)) return;
  checker.report(
    at,
    `${path} has ${status.size} bytes: a disk is made of one or more sectors of ${SECTOR}`,
    `is it a raw image? \`truncate --size=%${SECTOR} FILE\` rounds one up`,
  );
}
