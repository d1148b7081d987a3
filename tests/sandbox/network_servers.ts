/**
 * Servers that people run (nginx, dnsmasq, iperf3), on a machine of the test's own behind a router of its own: network
 * namespaces and cables between them. On the router's far cable less fits into a packet than either end of it says.
 */
import { afterAll, beforeAll } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tag, until } from "./network_machines.ts";

/** Documentation addresses (RFC 5737). */
export const server = "203.0.113.6";
/** No way leads from the router to this one. */
export const nowhere = "203.0.113.70";
/** One name that leads to so many addresses that a datagram of 512 bytes does not hold them. */
export const many = Array.from({ length: 60 }, (_, i) => `203.0.113.${128 + i}`);
/** Bytes of /file, and what they are. */
export const size = (32 << 20) / Number(process.env.CAPSA_TEST_SHRINK ?? 1);

const router = `capsa-r${tag}`;
const far = `capsa-s${tag}`;
const near = `cr${tag}`;
const NARROW = 1280;

/** Why these tests cannot be here; undefined where they can. */
export function missing(): string | undefined {
  if (process.getuid?.() !== 0) return "making network namespaces needs root";
  const absent = ["nginx", "dnsmasq", "iperf3", "openssl"].filter((name) => program(name) === null);
  return absent.length === 0
    ? undefined
    : `not installed: ${absent.join(", ")} (scripts/setup dev installs them)`;
}

const program = (name: string) => Bun.which(name, { PATH: `${process.env.PATH}:/usr/sbin` });

function ip(line: string): void {
  run(["ip", ...line.split(" ")]);
}

function run(command: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(command, { stdout: "ignore", stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
}

function makeNetwork(): void {
  for (const line of [
    `netns add ${router}`,
    `netns add ${far}`,
    `link add ${near} type veth peer name near netns ${router}`,
    `-n ${router} link add far type veth peer name eth0 netns ${far}`,
    `addr add 203.0.113.1/30 dev ${near}`,
    `-n ${router} addr add 203.0.113.2/30 dev near`,
    `-n ${router} addr add 203.0.113.5/30 dev far`,
    `-n ${far} addr add ${server}/30 dev eth0`,
    `link set ${near} up`,
    `-n ${router} link set near up`,
    `-n ${router} link set far mtu ${NARROW} up`,
    `-n ${far} link set eth0 up`,
    `-n ${far} link set lo up`,
    "route add 203.0.113.4/30 via 203.0.113.2",
    "route add 203.0.113.64/26 via 203.0.113.2",
    // the server invites packets of 1500 bytes, and only the router knows that they do not pass
    `-n ${far} route add default via 203.0.113.5 mtu lock ${NARROW} advmss 1460`,
    `-n ${router} route add unreachable 203.0.113.64/26`,
  ])
    ip(line);
  run(["ip", "netns", "exec", router, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]);
}

const nginx = (
  directory: string,
) => `daemon off; user root; worker_processes 1; pid ${directory}/pid; error_log ${directory}/error;
events {}
http {
  access_log off; client_max_body_size 1g; client_body_temp_path ${directory}/body;
  server {
    listen ${server}:443 ssl; root ${directory}/www;
    ssl_certificate ${directory}/cert.pem; ssl_certificate_key ${directory}/key.pem;
    location /put/ { dav_methods PUT; }
  }
}`;

interface Servers {
  /** What of /put has come to nginx. */
  uploaded(name: string): string;
  /** Of nginx, in PEM: who trusts it trusts server.test. */
  readonly certificate: () => Promise<string>;
  /** SHA-256 of /file. */
  sha256(): string;
}

/** To be called once where {@link missing} says nothing: all of it is there from `beforeAll` on. */
export function useServers(): Servers {
  const directory = mkdtempSync(join(tmpdir(), "capsa-servers-"));
  const www = join(directory, "www");
  const running: Bun.Subprocess[] = [];
  const inside = (...command: string[]) => {
    running.push(
      Bun.spawn(["ip", "netns", "exec", far, program(command[0]!)!, ...command.slice(1)], {
        stdout: "ignore",
        stderr: "ignore",
        env: { PATH: process.env.PATH }, // what watches over our own programs is not for these
      }),
    );
  };
  const listens = (port: number) =>
    Bun.spawnSync(["ip", "netns", "exec", far, "ss", "-tlnH", "sport", `${port}`]).stdout.length > 0;
  const hash = (path: string) => new Bun.CryptoHasher("sha256").update(readFileSync(path)).digest("hex");
  beforeAll(async () => {
    makeNetwork();
    mkdirSync(join(www, "put"), { recursive: true });
    const file = Bun.file(join(www, "file")).writer();
    for (let left = size; left > 0; left -= 65536) file.write(crypto.getRandomValues(new Uint8Array(65536)));
    await file.end();
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    const who = ["-subj", "/CN=server.test", "-addext", "subjectAltName=DNS:server.test"];
    const pem = ["-keyout", join(directory, "key.pem"), "-out", join(directory, "cert.pem")];
    run(["openssl", "req", "-x509", ...key, ...who, ...pem]);
    writeFileSync(join(directory, "nginx.conf"), nginx(directory));
    const hosts = [`${server} server.test`, ...many.map((address) => `${address} many.test`)];
    writeFileSync(join(directory, "hosts"), hosts.map((line) => `${line}\n`).join(""));
    inside("nginx", "-p", directory, "-c", join(directory, "nginx.conf"), "-e", join(directory, "error"));
    const quiet = [
      "--conf-file=/dev/null",
      "--keep-in-foreground",
      "--no-resolv",
      "--no-hosts",
      "--pid-file=",
    ];
    const names = [`--addn-hosts=${join(directory, "hosts")}`, "--local=/test/", "--user=root"];
    inside("dnsmasq", ...quiet, ...names, `--listen-address=${server}`, "--bind-interfaces");
    inside("iperf3", "-s", "-B", server);
    const ports = [443, 53, 5201];
    await until(() => ports.every(listens));
    const silent = ports.filter((port) => !listens(port));
    if (silent.length > 0) throw new Error(`nobody listens at port ${silent.join(", ")} of ${server}`);
  });
  afterAll(async () => {
    for (const one of running) one.kill();
    await Promise.all(running.map((one) => one.exited));
    for (const line of [`link del ${near}`, `netns del ${far}`, `netns del ${router}`])
      Bun.spawnSync(["ip", ...line.split(" ")], { stderr: "ignore" });
    rmSync(directory, { recursive: true, force: true });
  });
  return {
    uploaded: (name) => hash(join(www, "put", name)),
    certificate: () => Bun.file(join(directory, "cert.pem")).text(),
    sha256: () => hash(join(www, "file")),
  };
}
