/** The builder's rules for callers without types, and the specification it ends in. */

import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { Capsa, MountMode, NetworkMode, SpecError } from "../../../src/index.ts";

test("every call lands in the specification", () => {
  const spec = Capsa.sandbox()
    .name("web")
    .cpus(4)
    .memoryMb(2048)
    .share("./src", "/src", MountMode.ReadOnly)
    .run("/bin/app", ["--port", "80"], { env: { A: "1" }, cwd: "/src" })
    .share("/out", "/out", { mode: MountMode.ReadWrite, ownership: "caller", cache: "never" })
    .share("/all", "/all", { mode: MountMode.ReadWrite, locks: "guest", protect: [".git/hooks"] })
    .rootfs("host")
    .env({ X: "1", Y: "1" })
    .env({ Y: "2" })
    .kernel("vmlinux")
    .initrd("/i.cpio")
    .secret("KEY", { from: "file:key", hosts: ["api.example"] })
    .secret("TOKEN", { from: "env:T", hosts: ["api.example:8443"], header: "X" })
    .labels({ team: "x", tier: "1" })
    .labels({ tier: "2" })
    .noNetwork()
    .network(NetworkMode.None)
    .engine("qemu")
    .confine("require")
    .bootTimeout(5000)
    .ttl(60_000)
    .idleTimeout(7000)
    .spec();
  expect(spec).toEqual({
    name: "web",
    cpus: 4,
    memoryMb: 2048,
    shares: [
      { host: resolve("src"), guest: "/src", mode: "ro", ownership: { mode: "root" }, cache: "auto" },
      { host: "/out", guest: "/out", mode: "rw", ownership: { mode: "caller" }, cache: "never" },
      {
        host: "/all",
        guest: "/all",
        mode: "rw",
        ownership: { mode: "root" },
        cache: "auto",
        locks: "guest",
        protect: [".git/hooks"],
      },
    ],
    run: { argv: ["/bin/app", "--port", "80"], env: { A: "1" }, cwd: "/src" },
    rootfs: { kind: "host" },
    env: { X: "1", Y: "2" },
    secrets: {
      KEY: { from: `file:${resolve("key")}`, hosts: ["api.example"] },
      TOKEN: { from: "env:T", hosts: ["api.example:8443"], header: "X" },
    },
    labels: { team: "x", tier: "2" },
    kernel: resolve("vmlinux"),
    initrd: "/i.cpio",
    network: "none",
    engine: "qemu",
    confine: "require",
    bootTimeoutMs: 5000,
    ttlMs: 60_000,
    idleTimeoutMs: 7000,
  });
});

test("a builder is not changed by the calls on it", () => {
  const base = Capsa.sandbox().memoryMb(128);
  const one = base.run("/bin/one").spec();
  const other = base.cpus(2).run("/bin/other").spec();
  expect([one.cpus, one.run?.argv, other.cpus, other.run?.argv]).toEqual([
    1,
    ["/bin/one"],
    2,
    ["/bin/other"],
  ]);
  expect(one.name).not.toBe(other.name);
});

test("one main process at most, at run time too", () => {
  // biome-ignore lint/suspicious/noExplicitAny: a caller without types
  const untyped = Capsa.sandbox() as any;
  expect(() => untyped.run("/a").run("/b")).toThrow(".run() after .run()");
  expect(() => untyped.run("/a").oci("image")).toThrow(".oci() after .run()");
  expect(() => untyped.oci("image").run("/a")).toThrow(".run() after .oci()");
  expect(Capsa.sandbox().spec().run).toBeUndefined();
});

test("a network is what its options say, and nothing more than that", () => {
  const spec = Capsa.sandbox()
    .network(NetworkMode.UserNat({ allow: ["a.example:443"], publish: ["8080:80"] }))
    .run("/bin/true")
    .spec();
  expect(spec.network).toEqual({
    mode: "user",
    allow: ["a.example:443"],
    deny: [],
    log: [],
    publish: ["8080:80"],
    hostLoopback: false,
  });
  expect(Capsa.sandbox().network(NetworkMode.UserNat()).noNetwork().run("/a").spec().network).toBe("none");
});

test("what is not there yet says so", async () => {
  await expect(Capsa.sandbox().oci("python:3", ["python3"]).build()).rejects.toMatchObject({
    name: "SpecError",
    code: "NOT_SUPPORTED",
    field: "oci",
  });
  const networked = Capsa.sandbox()
    .network("nat" as never)
    .run("/bin/true")
    .build();
  await expect(networked).rejects.toBeInstanceOf(SpecError);
  await expect(networked).rejects.toMatchObject({ code: "SPEC_INVALID", field: "network" });
});

test("paths are not expanded, and what a shell would expand is refused", () => {
  const said = "`~` and variables are not expanded";
  const box = Capsa.sandbox();
  expect(() => box.share("~/src", "/src", MountMode.ReadOnly)).toThrow(said);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: that very text
  expect(() => box.rootfs({ directory: "${HOME}/root" })).toThrow(said);
  expect(() => box.kernel("~me/vmlinux")).toThrow(said);
  expect(() => box.initrd("$HOME/initrd")).toThrow(said);
  expect(() => box.secret("TOKEN", { from: "file:~/token", hosts: ["a.example"] })).toThrow(said);
  expect(() =>
    box.share("./~", "/src", MountMode.ReadOnly).share("/a~b/$x", "/b", MountMode.ReadOnly),
  ).not.toThrow();
});

test("options of a start that there are not are refused by the name of the call that was made", async () => {
  const wrong = { singal: AbortSignal.timeout(1) } as object;
  const refused = (call: string) =>
    expect.objectContaining({ message: `${call} has no option "singal"`, hint: 'it has "signal"' });
  await expect(Capsa.open({}, wrong)).rejects.toEqual(refused("open"));
  await expect(Capsa.sandbox().start(wrong)).rejects.toEqual(refused("start"));
  await expect(Capsa.sandbox().build(wrong)).rejects.toEqual(refused("build"));
  await expect(Capsa.open({ memroy: "1G" } as object)).rejects.toMatchObject({
    name: "SpecError",
    field: "memroy",
    hint: 'did you mean "memory"?',
  });
});
