/** Files and trees between this machine and the guest. */

import { dirname, resolve } from "node:path";
import { checkOwner, checkPath, checkText, checkWhole } from "../../errors/check.ts";
import { AgentError, ArgumentError } from "../../errors/errors.ts";
import { makeDirectories } from "../../host/place.ts";
import { FILE_MS, MAX_WINDOW } from "../../wire/call.ts";
import { bytes, oneOf, uint } from "../../wire/fields.ts";
import { ProtocolError } from "../../wire/framing.ts";
import { Outlet, pieces } from "../../wire/streams.ts";
import type { CollectOptions, DownloadOptions, Transferred, UploadOptions } from "../api.ts";
import type { Connection } from "../connect/connection.ts";
import { Gatherer } from "../tree/gather.ts";
import { pack, type Tally } from "../tree/pack.ts";
import { Unpacker } from "../tree/unpack.ts";

/** What is collected where nobody says how much. */
const MAX_FILES = 10_000;
const MAX_BYTES = 64 << 20;

export async function upload(
  connection: Connection,
  hostPath: string,
  guestPath: string,
  options: UploadOptions,
): Promise<Transferred> {
  const { parents, user, group, signal, timeoutMs = FILE_MS, onSkip } = options;
  checkHostPath(hostPath);
  checkPath(guestPath);
  checkOwner(user, group);
  const tally: Tally = { entries: 0, bytes: 0, skipped: 0 };
  const source = pack(hostPath, tally, { onSkip });
  try {
    let first = source.next(); // what is not there is told before the guest hears anything
    const call = connection.call({
      op: "upload",
      path: guestPath,
      request: { op: "write_tree", path: guestPath, parents, user, group },
      window: MAX_WINDOW,
      cancel: { ev: "abort" },
      signal,
      timeoutMs,
    });
    const sending = async () => {
      for (; !first.done; first = source.next()) {
        await othersTurn();
        for await (const piece of pieces(first.value)) if (!(await call.data("data", piece))) return;
      }
      call.finish("end");
    };
    sending().catch((error) => call.abandon(error));
    const response = await call.response;
    connection.trust(() => uint(response, "size"));
    return tally;
  } finally {
    source.return(undefined);
  }
}

export async function download(
  connection: Connection,
  guestPath: string,
  hostPath: string,
  options: DownloadOptions,
): Promise<Transferred> {
  const { parents, signal, timeoutMs = FILE_MS, onSkip, maxBytes = Number.POSITIVE_INFINITY } = options;
  checkPath(guestPath);
  checkHostPath(hostPath);
  if (maxBytes !== Number.POSITIVE_INFINITY) checkWhole("maxBytes", maxBytes);
  if (parents) makeDirectories(dirname(resolve(hostPath)));
  const tally: Tally = { entries: 0, bytes: 0, skipped: 0 };
  using unpacker = new Unpacker(hostPath, tally, { onSkip });
  await readTree(
    connection,
    { op: "download", path: guestPath, root: guestPath, signal, timeoutMs },
    unpacker,
    (received) => {
      if (received > maxBytes) throw tooLarge(guestPath, maxBytes);
    },
  );
  return tally;
}

/** The regular files below a directory of the guest, in memory. */
export async function collect(
  connection: Connection,
  path: string,
  options: CollectOptions,
): Promise<Map<string, Uint8Array>> {
  const { maxFiles = MAX_FILES, maxBytes = MAX_BYTES, signal, timeoutMs = FILE_MS } = options;
  checkPath(path);
  checkWhole("maxFiles", maxFiles);
  checkWhole("maxBytes", maxBytes);
  const gatherer = new Gatherer(path, { maxFiles, maxBytes });
  const root = path.endsWith("/") ? path : `${path}/`; // a link to one is as good, a file is none
  await readTree(connection, { op: "collect", path, root, signal, timeoutMs }, gatherer);
  return gatherer.files;
}

interface TreeRead {
  readonly op: string;
  /** As the caller named it, and as the guest is asked for it. */
  readonly path: string;
  readonly root: string;
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
}

/** `check`: told of the bytes so far, before they are taken. */
async function readTree(
  connection: Connection,
  { op, path, root, signal, timeoutMs }: TreeRead,
  taker: { push(chunk: Uint8Array): void; finish(): void },
  check: (received: number) => void = () => {},
): Promise<void> {
  let received = 0;
  const outlet = new Outlet((count) => call.taken(count));
  const call = connection.call({
    op,
    path,
    request: { op: "read_tree", path: root },
    window: MAX_WINDOW,
    cancel: { ev: "abort" },
    signal,
    timeoutMs,
    onEvent: (event) => {
      oneOf(event, "ev", ["data"]);
      const data = bytes(event, "data");
      received += data.length;
      outlet.push(data);
    },
  });
  call.response.then(
    () => outlet.end(),
    (error) => outlet.fail(error),
  );
  try {
    for await (const chunk of outlet.stream) {
      check(received);
      connection.trust(() => taker.push(chunk));
      await othersTurn();
    }
    const response = await call.response;
    connection.trust(() => {
      if (uint(response, "size") !== received)
        throw new ProtocolError("a tree's size is not what was sent of it");
      taker.finish();
    });
  } catch (error) {
    call.abandon(error);
    throw error;
  }
}

/** Files are read and written in one go; whatever else this program does comes in between, as far as a window reaches. */
function othersTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function checkHostPath(path: unknown): void {
  if (checkText("a path of this machine", path) === "")
    throw new ArgumentError("a path of this machine must not be empty");
}

function tooLarge(path: string, limit: number): AgentError {
  return new AgentError("OUTPUT_TOO_LARGE", `download ${path}: it is over ${limit} bytes`, {
    op: "download",
    path,
    hint: "raise maxBytes; what was already written stays",
  });
}
