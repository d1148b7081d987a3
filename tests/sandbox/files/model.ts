/**
 * What a guest and this machine should each see of one directory. In a read-write share both see the same. In a transactional
 * one the guest sees its own where it has changed the path, and elsewhere what this machine has there by now.
 */
type Directory = { kind: "directory"; children: Map<string, Node> };
type Leaf = { kind: "file"; text: string; mode: string } | { kind: "link"; target: string };
export type Node = Leaf | Directory;

/**
 * What a guest has changed. Through a directory that is not `opaque` this machine's shows: what has its name, or what it was
 * when the guest renamed it, for as long as that is where it was.
 */
type Changed = {
  kind: "directory";
  opaque: boolean;
  was?: Lower | undefined;
  children: Map<string, Layer>;
};
type Layer = Leaf | { kind: "gone" } | Changed;
/** A directory of this machine's, and where it is. */
type Lower = { node: Directory; path: readonly string[] };

export const WHO = ["guest", "host"] as const;
export type Who = (typeof WHO)[number];
export interface Deed {
  readonly do: "write" | "append" | "save" | "remove" | "mkdir" | "rmtree" | "move" | "chmod" | "link";
  readonly args: readonly string[];
}
export type Step =
  | { readonly who: Who; readonly deeds: readonly Deed[] }
  | { readonly who: "apply" | "discard" };
export type Seen = Record<string, string>;

const directory = (): Directory => ({ kind: "directory", children: new Map() });
const layer = (opaque = false): Changed => ({ kind: "directory", opaque, children: new Map() });
const split = (path: string) => path.split("/");

const below = (lower: Lower | undefined, name: string) => lower?.node.children.get(name);

/** What shows through the guest's directory `own`; `lower` is what shows through the one above it. */
function through(
  own: Layer | undefined,
  lower: Lower | undefined,
  name: string,
  top: Directory,
): Lower | undefined {
  const named = below(lower, name);
  const there = named?.kind === "directory" ? { node: named, path: [...lower!.path, name] } : undefined;
  if (own?.kind !== "directory") return there;
  if (own.opaque) return undefined;
  return own.was && at(top, own.was.path) === own.was.node ? own.was : there;
}

/** What a guest sees in a directory, of what it has changed and what shows through. */
function view(own: Changed, lower: Lower | undefined, top: Directory): Directory {
  const seen = directory();
  for (const name of new Set([...own.children.keys(), ...(lower?.node.children.keys() ?? [])])) {
    const mine = own.children.get(name);
    const node =
      mine?.kind === "directory"
        ? view(mine, through(mine, lower, name, top), top)
        : mine?.kind === "gone"
          ? undefined
          : (mine ?? below(lower, name));
    if (node) seen.children.set(name, node);
  }
  return seen;
}

function copyOf(node: Node): Node {
  if (node.kind !== "directory") return { ...node };
  return {
    kind: "directory",
    children: new Map([...node.children].map(([name, child]) => [name, copyOf(child)])),
  };
}

function at(top: Node | undefined, path: readonly string[]): Node | undefined {
  let node = top;
  for (const name of path) node = node?.kind === "directory" ? node.children.get(name) : undefined;
  return node;
}

function* lines(node: Node, path = ""): Generator<[string, string]> {
  if (path)
    yield [
      path,
      node.kind === "directory"
        ? "directory"
        : node.kind === "link"
          ? `-> ${node.target}`
          : `${node.mode} ${node.text}`,
    ];
  if (node.kind === "directory")
    for (const [name, child] of node.children) yield* lines(child, path ? `${path}/${name}` : name);
}

export class Model {
  #host = directory();
  #own = layer();
  /** Of what the guest has changed, what was applied. */
  readonly #settled = new Set<Layer>();
  readonly transactional: boolean;

  constructor(transactional: boolean) {
    this.transactional = transactional;
  }

  tree(who: Who): Node {
    return who === "host" || !this.transactional ? this.#host : view(this.#own, this.#lower, this.#host);
  }

  seen(who: Who): Seen {
    return Object.fromEntries(lines(this.tree(who)));
  }

  at(who: Who, path: string): Node | undefined {
    return at(this.tree(who), split(path));
  }

  /** This machine has now what the guest sees, and the guest goes on with its own. */
  apply(): void {
    this.#host = copyOf(this.tree("guest")) as Directory;
    this.#settle(this.#own);
  }

  #settle(own: Changed): void {
    delete own.was; // it is all where its name is
    for (const child of own.children.values()) {
      this.#settled.add(child);
      if (child.kind === "directory") this.#settle(child);
    }
  }

  /**
   * Whether this machine may change the path, or what is below: not what the guest goes on with, as it was applied. Each
   * would keep its own from then on.
   */
  mayTouch(path: string): boolean {
    let own: Layer | undefined = this.#own;
    for (const name of split(path)) {
      if (own.kind !== "directory") return !this.#settled.has(own);
      if (own.opaque && this.#settled.has(own)) return false;
      own = own.children.get(name);
      if (!own) return true;
    }
    return !this.#isSettledIn(own);
  }

  #isSettledIn(own: Layer): boolean {
    if (this.#settled.has(own)) return true;
    return own.kind === "directory" && [...own.children.values()].some((child) => this.#isSettledIn(child));
  }

  do(who: Who, { do: what, args }: Deed): void {
    const [path, other = ""] = args as [string, string?];
    const before = this.at(who, path);
    const file = (text: string): Node => ({
      kind: "file",
      text,
      mode: before?.kind === "file" && what !== "save" ? before.mode : "644",
    });
    if (what === "write" || what === "save") this.#put(who, path, file(other));
    else if (what === "append") this.#put(who, path, file((before as { text: string }).text + other));
    else if (what === "link") this.#put(who, path, { kind: "link", target: other });
    else if (what === "chmod") this.#put(who, path, { ...before, mode: other } as Node);
    else if (what === "mkdir") this.#put(who, path, directory());
    else if (what === "move") this.#move(who, path, other);
    else this.#remove(who, path);
  }

  get #lower(): Lower {
    return { node: this.#host, path: [] };
  }

  /** Where the guest has the name, with all directories above it; and what is below it. */
  #places(path: string) {
    const names = split(path);
    const name = names.pop()!;
    let own = this.#own;
    let lower: Lower | undefined = this.#lower;
    for (const above of names) {
      let next = own.children.get(above);
      if (next?.kind !== "directory") {
        next = layer();
        own.children.set(above, next);
      }
      lower = through(next, lower, above, this.#host);
      own = next;
    }
    return { name, own, lower };
  }

  #put(who: Who, path: string, node: Node): void {
    if (who === "host" || !this.transactional) {
      const names = split(path);
      const name = names.pop()!;
      const above = names.length ? at(this.#host, names) : this.#host;
      (above as Directory).children.set(name, node);
      return;
    }
    const { name, own, lower } = this.#places(path);
    const opaque = own.children.get(name)?.kind === "gone" && below(lower, name)?.kind === "directory";
    own.children.set(name, node.kind === "directory" ? layer(opaque) : node);
  }

  #remove(who: Who, path: string): void {
    if (who === "host" || !this.transactional) {
      const names = split(path);
      const name = names.pop()!;
      const above = names.length ? at(this.#host, names) : this.#host;
      (above as Directory).children.delete(name);
      return;
    }
    const { name, own, lower } = this.#places(path);
    if (below(lower, name)) own.children.set(name, { kind: "gone" });
    else own.children.delete(name);
  }

  #move(who: Who, path: string, to: string): void {
    const node = this.at(who, path)!;
    if (who === "guest" && this.transactional && node.kind === "directory") {
      const from = this.#places(path);
      const target = this.#places(to);
      const own = from.own.children.get(from.name);
      const moved = own?.kind === "directory" ? own : layer();
      const was = through(moved, from.lower, from.name, this.#host);
      if (was) moved.was = was;
      else if (below(target.lower, target.name)?.kind === "directory") moved.opaque = true;
      this.#remove(who, path);
      target.own.children.set(target.name, moved);
    } else {
      this.#put(who, to, node.kind === "directory" ? node : { ...node });
      this.#remove(who, path);
    }
  }
}

/** Numbers that are the same each time, for a seed (mulberry32). */
export function chance(seed: number): (most: number) => number {
  let state = seed;
  return (most) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % most;
  };
}

/** A deed that can be done in what `who` sees; with names of which there are few, so that both meet. */
function deed(model: Model, who: Who, pick: (most: number) => number, text: string): Deed | undefined {
  const tree = model.tree(who);
  const path = () => Array.from({ length: 1 + pick(3) }, () => "abcd"[pick(4)]).join("/");
  const free = (name: string) => {
    const above = name.includes("/") ? at(tree, split(name).slice(0, -1)) : tree;
    return above?.kind === "directory" && at(tree, split(name)) === undefined;
  };
  const [one, other] = [path(), path()];
  if (who === "host" && model.transactional && !(model.mayTouch(one) && model.mayTouch(other)))
    return undefined;
  const node = at(tree, split(one));
  if (!node) {
    if (!free(one)) return undefined;
    const made = (["write", "save", "mkdir", "mkdir", "link"] as const)[pick(5)]!;
    return { do: made, args: made === "mkdir" ? [one] : [one, text] };
  }
  if (node.kind === "directory") {
    const move = pick(2) === 0 && free(other) && !other.startsWith(`${one}/`);
    if (move) return { do: "move", args: [one, other] };
    return pick(3) === 0 ? { do: "rmtree", args: [one] } : undefined;
  }
  const onto = at(tree, split(other));
  const kinds: Deed[] = [{ do: "remove", args: [one] }];
  if (other !== one && (free(other) || (onto && onto.kind !== "directory")))
    kinds.push({ do: "move", args: [one, other] });
  if (node.kind === "file")
    kinds.push(
      { do: "write", args: [one, text] },
      { do: "append", args: [one, text] },
      { do: "save", args: [one, text] },
      { do: "chmod", args: [one, ["600", "755", "640"][pick(3)]!] },
    );
  return kinds[pick(kinds.length)];
}

/**
 * A random program: turns of a few deeds, so many in all. Running `model` along, which must be new. No other program of one
 * sandbox has this `tag`: with equal contents a file of the one would be a renamed one of the other.
 */
export function* program(model: Model, seed: number, deeds: number, tag: string): Generator<Step> {
  const pick = chance(seed);
  for (let done = 0; done < deeds; ) {
    if (model.transactional && pick(40) === 0) {
      done++;
      model.apply();
      yield { who: "apply" };
      continue;
    }
    const who = WHO[pick(2)]!;
    const turn: Deed[] = [];
    for (let wanted = 1 + pick(4), tries = 0; turn.length < wanted && tries < 50; tries++) {
      const next = deed(model, who, pick, `${tag}.${done + turn.length}.`);
      if (!next) continue;
      model.do(who, next);
      turn.push(next);
    }
    done += turn.length;
    if (turn.length > 0) yield { who, deeds: turn };
  }
  if (model.transactional) yield { who: "discard" };
}
