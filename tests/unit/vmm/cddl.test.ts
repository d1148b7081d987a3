/**
 * ffi/vmm.cddl says what the VMM reads: names, types, bounds, and what is required. The tables that it is read by are said by
 * tables_say.c.
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "../../..");

type Fields = Map<string, string>;

/** `text` cut at commas that no bracket holds. */
function entries(text: string): string[] {
  const found = [""];
  let depth = 0;
  for (const character of text) {
    if ("{[(".includes(character)) depth++;
    if ("}])".includes(character)) depth--;
    if (character === "," && depth === 0) found.push("");
    else found[found.length - 1] += character;
  }
  return found.map((entry) => entry.trim().replace(/\s+/g, " ")).filter(Boolean);
}

function addFields(body: string, groups: Map<string, string>, optional: boolean, to: Fields): Fields {
  for (const entry of entries(body)) {
    const choice = /^\((.*)\)$/.exec(entry);
    const field = /^(\? )?(\w+): (.+)$/.exec(entry);
    const group = groups.get(entry);
    if (choice) for (const one of choice[1]!.split("//")) addFields(one, groups, true, to);
    else if (group !== undefined) addFields(group, groups, optional, to);
    else if (field) to.set(field[2]!, `${field[1] || optional ? "optional" : "required"} ${field[3]}`);
    else throw new Error(`"${entry}" is no field`);
  }
  return to;
}

/** Of a map or tuple that the CDDL defines; none where it defines none of that name. */
function fieldsOf(cddl: string, name: string): Fields {
  const definitions = cddl.replace(/;.*$/gm, "").split(/^(?=[\w-]+ = )/m);
  const bodies = new Map(
    definitions.flatMap((text) => {
      const [, key, body] = /^([\w-]+) = [{[(](.*)[}\])]\s*$/s.exec(text) ?? [];
      return key ? [[key, body ?? ""] as const] : [];
    }),
  );
  return addFields(bodies.get(name) ?? "", bodies, false, new Map());
}

/** The maps that the VMM reads, by name. */
function tables(): Map<string, Fields> {
  const { exitCode, stderr } = Bun.spawnSync(["make", "-s", "-j2", "-C", "ffi", "tables-say"], { cwd: root });
  if (exitCode !== 0) throw new Error(`tables_say was not built:\n${stderr}`);
  const said = Bun.spawnSync([join(root, "build/tables_say")]).stdout.toString();
  const found = new Map<string, Fields>();
  for (const [, map, key, type] of said.matchAll(/^(\S+) (\S+) (.+)$/gm))
    found.set(map!, (found.get(map!) ?? new Map()).set(key!, type!));
  return found;
}

/** What a table reads as any text may be one of few words. */
const wordsAreText = (read: string, written: string) =>
  read.endsWith(" tstr") && /^\w+ "/.test(written) ? read : written;

test("the VMM reads what ffi/vmm.cddl says, and nothing else", () => {
  const cddl = readFileSync(join(root, "ffi/vmm.cddl"), "utf8");
  const read = tables();
  expect([...read.keys()]).toContain("net-rule");
  expect([...read.keys()]).toContain("saved-vsock");
  for (const [map, fields] of read) {
    const expected = [...fieldsOf(cddl, map)].map(([key, type]) => [
      key,
      wordsAreText(fields.get(key) ?? "", type),
    ]);
    expect({ map, fields: Object.fromEntries(fields) }).toEqual({
      map,
      fields: Object.fromEntries(expected),
    });
  }
});
