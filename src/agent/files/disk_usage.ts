/** How full a file system of the guest is, and what a tree takes of it. */

import { checkPath } from "../../errors/check.ts";
import { ArgumentError } from "../../errors/errors.ts";
import { shown } from "../../errors/printable.ts";
import { uint } from "../../wire/fields.ts";
import type { DiskUsage, DiskUsageOptions } from "../api.ts";
import type { Connection } from "../connect/connection.ts";
import { long } from "./paths.ts";

export async function diskUsage(
  connection: Connection,
  path: string,
  options: DiskUsageOptions,
): Promise<DiskUsage> {
  const { tree } = options;
  checkPath(path);
  if (tree !== undefined && typeof tree !== "boolean")
    throw new ArgumentError(`tree should be true or false, not ${shown(tree)}`);
  const request = { op: "disk_usage", path, tree };
  return connection.ask(long("diskUsage", request, path, options), (told) => ({
    total: uint(told, "total"),
    used: uint(told, "used"),
    free: uint(told, "free"),
    inodes: { total: uint(told, "inodes"), used: uint(told, "inodesUsed"), free: uint(told, "inodesFree") },
    ...(tree && { tree: { bytes: uint(told, "treeBytes"), entries: uint(told, "treeEntries") } }),
  }));
}
