/** Which sandbox's changes a command is about, and what is said of changes that nobody has decided about. */
import type { Change } from "../changes/api.ts";
import { allChanges, changesOf, type StagedChanges } from "../changes/changes.ts";
import { headline } from "../changes/diff.ts";
import { CapsaError } from "../errors/errors.ts";
import { printableLine } from "../errors/printable.ts";
import { RefusedError, UsageError } from "./failure.ts";
import type { Terminal } from "./terminal.ts";

/**
 * `words`: a name or id, which may be left out where only one sandbox has changes, and paths in the guest, which begin with
 * a slash; undefined without any. Without a name and without any changes there is none.
 */
export async function chooseChanges(
  words: readonly string[],
): Promise<{ changes: StagedChanges | undefined; paths: string[] | undefined }> {
  const [first, ...rest] = words;
  const name = first?.startsWith("/") ? undefined : first;
  const paths = name === undefined ? [...words] : rest;
  const relative = paths.find((path) => !path.startsWith("/"));
  if (relative !== undefined) {
    throw new UsageError(
      `${relative} is not an absolute path`,
      "give the sandbox's name first, then paths of the guest, such as /project/src",
    );
  }
  const all = await allChanges();
  const changes = name === undefined ? await onlyOne(all) : named(all, name);
  return { changes, paths: paths.length === 0 ? undefined : paths };
}

/** The newest: a name may have been used many times. */
function named(all: readonly StagedChanges[], name: string): StagedChanges {
  const found = all.find((one) => one.id === name) ?? all.find((one) => one.name === name);
  if (found !== undefined) return found;
  const hint =
    all.length === 0
      ? 'only shares with mode = "transaction" have changes to keep'
      : `sandboxes with changes: ${all.map((one) => `${one.name} (${one.id})`).join(", ")}`;
  throw new RefusedError(
    new CapsaError("NO_CHANGES_KEPT", `capsa keeps no changes of a sandbox "${name}"`, { hint }),
  );
}

async function onlyOne(all: readonly StagedChanges[]): Promise<StagedChanges | undefined> {
  if (all.length < 2) return all[0];
  const lists = await Promise.all(
    all.map(async (one) => ({ one, list: await one.list().catch(() => undefined) })),
  );
  const some = lists.filter(({ list }) => list === undefined || list.length > 0).map(({ one }) => one);
  if (some.length < 2) return some[0] ?? all[0];
  throw new UsageError(
    `${some.length} sandboxes have changes`,
    `say which: ${some.map(({ name, id, created }) => `${id} (${name}, of ${created.toLocaleString("sv")})`).join(", ")}`,
  );
}

/** A line for each that has some: where they are, and what there is to do. `id`: of that sandbox only. */
export async function tellPending(terminal: Terminal, id?: string): Promise<void> {
  const all = id === undefined ? await allChanges() : [changesOf(id)].flatMap((one) => one ?? []);
  const names = all.map(({ name }) => name);
  for (const one of all) {
    if (id !== undefined && (await one.dropIfSettled())) continue;
    const known = names.filter((name) => name === one.name).length > 1 ? one.id : one.name;
    const count = await one.list().then(
      ({ length }) => (length === 0 ? undefined : length === 1 ? "1 change" : `${length} changes`),
      (error) => `changes that cannot be listed (${error.message})`,
    );
    if (count === undefined) continue;
    await terminal.say(
      `${one.name}: ${count} in ${one.directory}; capsa diff ${known}, then capsa apply ${known} or capsa discard ${known}`,
    );
  }
}

/** For people. */
export function listed(changes: readonly Change[]): string {
  return changes.map((change) => `${printableLine(headline(change))}\n`).join("");
}
