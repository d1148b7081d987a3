/** The proxy of secrets as its process, between a guest's end, which is a Unix socket, and a host of the test's own. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { connect, createServer as createTlsServer, type Server } from "node:tls";
import type { NetworkRefusal } from "../../../src/index.ts";
import { type Identity, makeAuthority } from "../../../src/secrets/proxy/authority.ts";
import { outsideProxy } from "../../../src/secrets/proxy/outside.ts";
import { SecretProxy } from "../../../src/secrets/proxy.ts";
import { startUpstream, type Upstream } from "./upstream.ts";

const TOKEN = "s3cret-value-of-the-test";
const OTHER = "another-secret-value";
const shown = { TOKEN: "capsa-secret-0123456789abcdef", KEY: "capsa-secret-fedcba9876543210" };
const NAME = "localhost"; // the one name of a host that every machine knows

let directory: string;
let upstream: Upstream;
/** A host that takes what others refuse. */
let raw: Raw;
let proxy: SecretProxy;
let child: number;
const refusals: NetworkRefusal[] = [];
/** The end of its control channel that is the VMM's. */
const vmm: Socket[] = [];
const control = createServer((socket) => vmm.push(socket));

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "capsa-secrets-"));
  const authority = await makeAuthority();
  upstream = await startUpstream(NAME, "127.0.0.1", authority);
  raw = await startRaw(await authority.issue(NAME));
  writeFileSync(join(directory, "ca.pem"), upstream.authority);
  writeFileSync(join(directory, "key"), `${OTHER}\n`);
  const before = process.env.NODE_EXTRA_CA_CERTS;
  process.env.NODE_EXTRA_CA_CERTS = join(directory, "ca.pem");
  process.env.CAPSA_TEST_TOKEN = TOKEN;
  await new Promise<void>((resolve) => control.listen(join(directory, "control.sock"), resolve));
  proxy = await SecretProxy.start({
    secrets: {
      TOKEN: { from: "env:CAPSA_TEST_TOKEN", hosts: [`${NAME}:${upstream.port}`] },
      KEY: {
        from: `file:${join(directory, "key")}`,
        hosts: [`${NAME}:${upstream.port}`, `${NAME}:1`, "other.test:443", `${NAME}:${raw.port}`],
        header: "X-Api-Key",
      },
    },
    placeholders: shown,
    runtimeDir: directory,
  });
  if (before === undefined) delete process.env.NODE_EXTRA_CA_CERTS;
  else process.env.NODE_EXTRA_CA_CERTS = before;
  delete process.env.CAPSA_TEST_TOKEN;
  await proxy.follow((refusal) => refusals.push(refusal));
  child = proxy.pid;
});

afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  raw.server.close();
  control.close();
  rmSync(directory, { recursive: true, force: true });
});

interface Raw {
  readonly server: Server;
  readonly port: number;
  /** Methods and targets, a character a byte. */
  readonly lines: string[];
  /** Ask for these on one connection, one after the other; the answers' first lines. */
  ask(...lines: string[]): Promise<string[]>;
}

async function startRaw(identity: Identity): Promise<Raw> {
  const lines: string[] = [];
  const server = createTlsServer(identity, (socket) => {
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      lines.push(chunk.toString("latin1").split(" HTTP/1.1")[0]!);
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const ask = async (...asked: string[]) => {
    const service = proxy.services.find((service) => service.port === port)!;
    const where = { path: service.socket, ca: proxy.authority, servername: NAME };
    const socket = connect(where as Parameters<typeof connect>[0]);
    const answers: string[] = [];
    for (const line of asked) {
      // in parts, as the network may bring it
      socket.write(line.slice(0, 3), "latin1");
      await Bun.sleep(1);
      socket.write(`${line.slice(3)} HTTP/1.1\r\nHost: ${NAME}:${port}\r\n\r\n`, "latin1");
      const [answer] = await once(socket, "data");
      answers.push(String(answer).split("\r\n")[0]!);
    }
    socket.destroy();
    return answers;
  };
  return { server, port, lines, ask };
}

interface Said {
  /** As the TLS name; false: none. */
  readonly servername?: string | false;
  /** Which of the proxy's hosts. */
  readonly service?: number;
  /** By another proxy than the one of most tests. */
  readonly by?: SecretProxy;
  /** Called with all there is so far, whenever more comes; what it returns is sent. */
  readonly reply?: (soFar: string) => string | undefined;
}

/** Send it through the proxy; everything that came back until the connection's end. */
function say(
  text: string,
  { servername = NAME, service = 0, reply, by = proxy }: Said = {},
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect({
    path: by.services[service]!.socket,
    ca: by.authority,
    ...(servername === false ? { checkServerIdentity: () => undefined } : { servername }),
    rejectUnauthorized: servername === NAME,
  } as Parameters<typeof connect>[0]);
  let got = "";
  let left = reply;
  socket.on("secureConnect", () => socket.write(text));
  socket.on("data", (chunk) => {
    got += chunk.toString("latin1");
    const more = left?.(got);
    if (more === undefined) return;
    left = undefined;
    socket.write(more);
  });
  socket.on("close", () => resolve(got));
  socket.on("error", reject);
  return promise;
}

const host = () => `Host: ${NAME}:${upstream.port}`;
const get = (path: string, ...headers: string[]) =>
  [`GET ${path} HTTP/1.1`, host(), "Connection: close", ...headers, "", ""].join("\r\n");

/** What the host has seen of a header. */
function seen(name: string): string[] {
  return upstream.seen.filter((_, index) => index % 2 === 1 && upstream.seen[index - 1] === name);
}

describe("a placeholder becomes the value", () => {
  test("in any header, where none is named, and anywhere in it", async () => {
    const answer = await say(
      get("/headers", `Authorization: Bearer ${shown.TOKEN}`, `x-a: <${shown.TOKEN}>`),
    );
    expect(answer).toStartWith("HTTP/1.1 200 OK\r\n");
    expect(seen("Authorization")).toEqual([`Bearer ${TOKEN}`]);
    expect(seen("x-a")).toEqual([`<${TOKEN}>`]);
  });

  test("in the named header, and in no other", async () => {
    await say(get("/headers", `x-api-key: ${shown.KEY}`, `Authorization: Bearer ${shown.KEY}`));
    expect(seen("x-api-key")).toEqual([OTHER]);
    expect(seen("Authorization")).toEqual([`Bearer ${shown.KEY}`]);
  });

  test("in user and password of Basic", async () => {
    const encode = (token: string) => `Basic ${Buffer.from(`x-access-token:${token}`).toString("base64")}`;
    const answer = await say(get("/headers", `Authorization: ${encode(shown.TOKEN)}`));
    expect(seen("Authorization")).toEqual([encode(TOKEN)]);
    expect(answer).not.toContain(encode(TOKEN));
    expect(answer).toContain(encode(shown.TOKEN));
  });

  test("and no answer has it: in headers it is a placeholder again, in bodies stars", async () => {
    const answer = await say(
      get("/headers", `Authorization: Bearer ${shown.TOKEN}`, "Accept-Encoding: gzip"),
    );
    const [head, body] = answer.split("\r\n\r\n");
    expect(answer).not.toContain(TOKEN);
    expect(head).toContain(`Bearer ${shown.TOKEN}`);
    expect(body).toContain(`Bearer ${"*".repeat(TOKEN.length)}`);
    expect(seen("Accept-Encoding")).toEqual(["identity"]);
  });

  test("bodies go as they are", async () => {
    const body = `{"token":"${shown.TOKEN}"}`;
    const answer = await say(
      `POST /echo HTTP/1.1\r\n${host()}\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    expect(answer).toContain(`\r\n${body}\r\n`);
  });
});

describe("this machine's proxy", () => {
  const connects: string[] = [];
  const users: Socket[] = [];
  let answer = "HTTP/1.1 200 Connection established\r\n\r\n";
  const outside = createServer((socket) => {
    users.push(socket.on("error", () => {}));
    socket.once("data", (head) => {
      connects.push(head.toString());
      socket.write(answer);
      const far = createConnection(upstream.port, "127.0.0.1");
      socket.pipe(far.on("error", () => {})).pipe(socket);
    });
  });
  beforeAll(async () => {
    await new Promise<void>((resolve) => outside.listen(0, "127.0.0.1", resolve));
  });
  afterAll(() => {
    for (const user of users) user.destroy();
    outside.close();
  });

  /** What the host answers by a proxy of secrets that was started with these variables. */
  async function by(variables: Record<string, string>): Promise<string> {
    const place = mkdtempSync(join(directory, "by-"));
    const env = { ...variables, NODE_EXTRA_CA_CERTS: join(directory, "ca.pem"), CAPSA_TEST_TOKEN: TOKEN };
    const before = Object.keys(env).map((name) => [name, process.env[name]] as const);
    Object.assign(process.env, env);
    const secrets = { TOKEN: { from: "env:CAPSA_TEST_TOKEN", hosts: [`${NAME}:${upstream.port}`] } };
    try {
      const other = await SecretProxy.start({ secrets, placeholders: shown, runtimeDir: place });
      const said = await say(get("/headers", `x-a: ${shown.TOKEN}`), { by: other });
      await other.leave();
      return said;
    } finally {
      for (const [name, value] of before)
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
    }
  }
  const url = (login = "") => `http://${login}127.0.0.1:${(outside.address() as AddressInfo).port}`;

  test("leads to the hosts, as curl would be led", async () => {
    expect(await by({ HTTPS_PROXY: url("me:p%40ss@") })).toStartWith("HTTP/1.1 200 OK\r\n");
    expect(seen("x-a")).toEqual([TOKEN]);
    const login = Buffer.from("me:p@ss").toString("base64");
    const place = `${NAME}:${upstream.port}`;
    expect(connects).toEqual([
      `CONNECT ${place} HTTP/1.1\r\nHost: ${place}\r\nProxy-Authorization: Basic ${login}\r\n\r\n`,
    ]);
  });

  test("is passed by for the names that no_proxy has", async () => {
    connects.length = 0;
    for (const no_proxy of ["a.test, .localhost", "*"])
      expect(await by({ https_proxy: url(), no_proxy })).toStartWith("HTTP/1.1 200 OK\r\n");
    expect(connects).toEqual([]);
  });

  test("that refuses, or is not there, is a 502 that says so", async () => {
    answer = "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
    expect(await by({ https_proxy: url("me:secret@") })).toMatch(
      / 502 [\s\S]*the proxy 127.0.0.1:\d+ answers 407/,
    );
    expect(await by({ https_proxy: "http://127.0.0.1:1" })).toMatch(
      / 502 [\s\S]*127.0.0.1:1 cannot be reached/,
    );
  });

  test("of another kind is refused at the start", () => {
    for (const ALL_PROXY of ["socks5://127.0.0.1:1080", "http://", "http://a%zz@b"])
      expect(() => outsideProxy({ ALL_PROXY })).toThrow("ALL_PROXY is not a proxy");
    expect(outsideProxy({ HTTPS_PROXY: "" })).toBeUndefined();
    expect(outsideProxy({ HTTPS_PROXY: "proxy.test" })).toMatchObject({ tls: false, port: 1080 });
    expect(outsideProxy({ HTTPS_PROXY: "https://[::1]/" })).toMatchObject({
      tls: true,
      host: "::1",
      port: 443,
    });
    expect(outsideProxy({ HTTPS_PROXY: "http://p.test:80", no_proxy: "a.test" })).toMatchObject({ port: 80 });
  });
});

describe("HTTP passes", () => {
  test("1.1 is agreed on, whatever else is offered", async () => {
    const socket = connect({
      path: proxy.services[0]!.socket,
      ca: proxy.authority,
      servername: NAME,
      ALPNProtocols: ["h2", "http/1.1"],
    } as Parameters<typeof connect>[0]);
    await new Promise((resolve) => socket.once("secureConnect", resolve));
    expect(socket.alpnProtocol).toBe("http/1.1");
    socket.destroy();
  });

  test("headers twice, and several requests on a connection", async () => {
    const twice = `GET /headers HTTP/1.1\r\n${host()}\r\nX-Two: a\r\nX-Two: b\r\n\r\n`;
    const answer = await say(twice, { reply: () => get("/headers") });
    expect(answer.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
    expect(answer).toContain("X-Twice: 1\r\nX-Twice: 2\r\n");
    expect(answer).toContain('"X-Two","a","X-Two","b"');
  });

  test("a connection that the host ends, in place of another answer, ends: who asked may ask again", async () => {
    const first = `GET /headers HTTP/1.1\r\n${host()}\r\n\r\n`;
    const answer = await say(first, { reply: () => get("/hang-up") });
    expect(answer.match(/HTTP\/1\.1 /g)).toHaveLength(1);
    expect(await say(get("/hang-up"))).toStartWith("HTTP/1.1 502 ");
  });

  test("a request cannot be hidden in another's body by a Connection that takes the length away", async () => {
    const hidden = "GET /headers HTTP/1.1\r\nHost: other.test\r\n\r\n";
    const length = `Content-Length: ${hidden.length}`;
    const answer = await say(`${get("/echo", "Connection: Content-Length, Host", length)}${hidden}`);
    expect(answer).toContain(`\r\n${hidden}`);
    expect(answer.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(1);
    expect(seen("Content-Length")).toEqual([String(hidden.length)]);
    expect(seen("Host")).toEqual([`${NAME}:${upstream.port}`]);
  });

  test("methods that nobody knows, and any bytes in a target", async () => {
    const lines = ["BREW /pot", "GET /a?q=\u00c3\u00a9\u00ff\u00a0", "X!Y /a"];
    const said = await raw.ask(...lines);
    expect(raw.lines).toEqual(lines);
    expect(said).toEqual(lines.map(() => "HTTP/1.1 200 OK"));
    // in small letters they would not arrive as they are
    expect(await say(`brew /pot HTTP/1.1\r\n${host()}\r\n\r\n`)).toStartWith("HTTP/1.1 400 ");
  });

  test("an answer streams while the request does", async () => {
    const answer = await say(
      `POST /stream HTTP/1.1\r\n${host()}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`,
      { reply: (got) => (got.includes("first") ? "0\r\n\r\n" : undefined) },
    );
    expect(answer).toContain("second");
  });

  test("Expect: 100-continue is the host's to answer", async () => {
    const ask = (path: string) =>
      `POST ${path} HTTP/1.1\r\n${host()}\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n`;
    const body = (got: string) => (got.includes("100 Continue\r\n\r\n") ? "body" : undefined);
    expect(await say(ask("/echo"), { reply: body })).toContain("\r\nbody\r\n");
    const unwanted = await say(ask("/unwanted"), { reply: body });
    expect(unwanted).toStartWith("HTTP/1.1 417");
    expect(unwanted).not.toContain("100 Continue");
  });

  test("an upgrade becomes a stream, searched like a body", async () => {
    const ask = `GET /upgrade HTTP/1.1\r\n${host()}\r\nConnection: Upgrade\r\nUpgrade: echo\r\nAuthorization: ${shown.TOKEN}\r\n\r\n`;
    const { promise, resolve } = Promise.withResolvers<string>();
    const socket = connect({
      path: proxy.services[0]!.socket,
      ca: proxy.authority,
      servername: NAME,
    } as never);
    let got = "";
    socket.on("data", (chunk) => {
      got += chunk;
      if (got.includes("ping")) socket.end();
    });
    socket.on("close", () => resolve(got));
    socket.write(`${ask}early `);
    socket.write("ping");
    const answer = await promise;
    expect(answer).toStartWith("HTTP/1.1 101 ");
    expect(answer).toContain(`X-Token: ${shown.TOKEN}\r\n`);
    expect(answer).toContain(`you are ${"*".repeat(TOKEN.length)}\nearly ping`);
    expect(seen("Authorization")).toEqual([TOKEN]);
  });
});

describe("what is not for the host alone is refused", () => {
  const cases: [what: string, text: () => string, said: Said, status: number][] = [
    ["another SNI than the host", () => get("/headers"), { servername: "other.test" }, 421],
    ["no SNI", () => get("/headers"), { servername: false }, 421],
    ["another Host than the SNI", () => get("/").replace(host(), "Host: other.test"), {}, 421],
    ["another port in Host", () => get("/").replace(host(), `Host: ${NAME}:4`), {}, 421],
    ["no Host's port where it is not 443", () => get("/").replace(host(), `Host: ${NAME}`), {}, 421],
    ["two Hosts", () => get("/headers", "Host: other.test"), {}, 421],
    ["an absolute target", () => get("https://other.test/headers"), {}, 400],
    ["TRACE", () => get("/headers").replace("GET", "TRACE"), {}, 405],
    ["CONNECT", () => `CONNECT other.test:443 HTTP/1.1\r\n${host()}\r\n\r\n`, {}, 405],
    [
      "two framings",
      () =>
        `${get("/echo", "Content-Length: 5", "Transfer-Encoding: chunked").replace("GET", "POST")}0\r\n\r\n`,
      {},
      400,
    ],
    [
      "two lengths",
      () => `${get("/echo", "Content-Length: 3", "Content-Length: 4").replace("GET", "POST")}abc`,
      {},
      400,
    ],
    [
      "a framing that nobody knows",
      () => `${get("/echo", "Transfer-Encoding: xchunked").replace("GET", "POST")}0\r\n\r\n`,
      {},
      400,
    ],
    ["a header over two lines", () => get("/headers", "X-Long: a\r\n b"), {}, 400],
    ["a header with a control character", () => get("/headers", "X-Odd: a\x01b"), {}, 400],
    ["a path that is none", () => get("/a\x7fb"), {}, 400],
    [
      "HTTP/2 on the same connection",
      () => get("/upgrade", "Upgrade: h2c").replace("Connection: close", "Connection: Upgrade"),
      {},
      400,
    ],
    ["a space before a colon", () => get("/headers", "Content-Length : 3"), {}, 400],
    ["no HTTP", () => "nonsense\r\n\r\n", {}, 400],
  ];
  test.each(cases)("%s", async (_what, text, said, status) => {
    const before = upstream.seen;
    expect(await say(text(), said)).toStartWith(`HTTP/1.1 ${status} `);
    expect(upstream.seen).toBe(before);
  });

  test("and told", async () => {
    const deadline = performance.now() + 10_000;
    while (refusals.length === 0 && performance.now() < deadline) await Bun.sleep(5);
    const where = { protocol: "tcp", name: NAME, port: upstream.port } as const;
    expect(refusals).toContainEqual({
      ...where,
      why: `the TLS name (SNI) is another or none: this is ${NAME}:${upstream.port}`,
    });
  });

  test("a host that cannot be reached is a 502 that says so", async () => {
    const answer = await say(`GET / HTTP/1.1\r\nHost: ${NAME}:1\r\nConnection: close\r\n\r\n`, {
      service: 1,
    });
    expect(answer).toStartWith("HTTP/1.1 502 ");
    expect(answer).toContain(`capsa: ${NAME}:1 cannot be reached: `);
  });

  test("a host with a certificate that this machine does not believe", async () => {
    await using stranger = await startUpstream(NAME);
    const secret = { from: `file:${join(directory, "key")}`, hosts: [`${NAME}:${stranger.port}`] };
    const away = join(directory, "stranger");
    await Bun.write(join(away, "x"), "");
    const one = await SecretProxy.start({ secrets: { KEY: secret }, placeholders: shown, runtimeDir: away });
    const socket = connect({ path: one.services[0]!.socket, ca: one.authority, servername: NAME } as never);
    let got = "";
    socket.on("data", (chunk) => {
      got += chunk;
    });
    socket.write(
      `GET / HTTP/1.1\r\nHost: ${NAME}:${stranger.port}\r\nConnection: close\r\nX: ${shown.KEY}\r\n\r\n`,
    );
    await new Promise((resolve) => socket.on("close", resolve));
    expect(got).toStartWith("HTTP/1.1 502 ");
    expect(got).toContain("certificate");
    expect(stranger.seen).toEqual([]);
    await one.leave(); // follows nobody, so ends with this
    await one.exited;
  });
});

test.each(["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"])(
  "a relative %s is refused",
  async (name) => {
    const before = process.env[name];
    process.env[name] = "certificates";
    try {
      const options = { secrets: {}, placeholders: {}, runtimeDir: directory };
      const started = SecretProxy.start(options).then((one) => one.leave());
      await expect(started).rejects.toMatchObject({
        code: "SPEC_INVALID",
        message: `${name} is "certificates"; it must be an absolute path`,
      });
    } finally {
      if (before === undefined) delete process.env[name];
      else process.env[name] = before;
    }
  },
);

describe("the process", () => {
  test("has nothing of it where others look", () => {
    // to who is not root its environment is closed, as its memory is
    for (const file of process.getuid?.() === 0 ? ["cmdline", "environ"] : ["cmdline"]) {
      const text = readFileSync(`/proc/${child}/${file}`, "latin1");
      expect(text).not.toContain(TOKEN);
      expect(text).not.toContain(OTHER);
    }
    expect(readFileSync(`/proc/${child}/limits`, "utf8")).toMatch(/Max core file size\s+0\s+0/);
  });

  test("is closed to other programs of its user, and so leaves no core to anybody", async () => {
    // root without capabilities is a user like any other
    const user = process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] : [];
    const main = resolve(import.meta.dirname, "../../../src/secrets/proxy/main.ts");
    const options = { stdin: "pipe", stdout: "pipe", stderr: "ignore" } as const;
    const other = Bun.spawn([...user, process.execPath, main], options);
    const told = other.stdout.getReader().read();
    other.stdin.write(`${JSON.stringify({ services: [], control: "", log: "" })}\n`);
    await other.stdin.flush();
    expect(new TextDecoder().decode((await told).value)).toContain('{"ready":');
    const reads = (pid: number) => Bun.spawnSync([...user, "cat", `/proc/${pid}/environ`]).success;
    const idle = Bun.spawn([...user, "sleep", "60"]);
    while (!readFileSync(`/proc/${idle.pid}/comm`, "utf8").startsWith("sleep")) await Bun.sleep(5);
    expect({ proxy: reads(other.pid), sleep: reads(idle.pid) }).toEqual({ proxy: false, sleep: true });
    idle.kill();
    other.kill();
    await Promise.all([idle.exited, other.exited]);
  });

  test("ends with the VMM whose control channel it follows", async () => {
    for (const socket of vmm) socket.destroy();
    await proxy.exited;
    await proxy.leave();
  });
});
