/** The tools, in the order in which clients show them. */

import type { Operator } from "../limits.ts";
import type { Tool } from "../tool.ts";
import { create } from "./create.ts";
import { download } from "./download.ts";
import { exec } from "./exec.ts";
import { list } from "./list.ts";
import { read } from "./read.ts";
import { sandboxes } from "./sandboxes.ts";
import { stop } from "./stop.ts";
import { write } from "./write.ts";

/** Those that the operator lets a model have. */
export function toolsFor({ limits, kinds }: Operator): readonly Tool[] {
  return [
    create(kinds),
    exec(limits),
    read(limits),
    write,
    list(limits),
    ...(limits.downloads === undefined ? [] : [download(limits.downloads, limits.maxDownload)]),
    stop,
    sandboxes,
  ];
}
