/** What `capsa.toml` may hold: one TypeBox schema that types, checks and documents every key. */
import { type Static, Type } from "@sinclair/typebox";
import {
  closed,
  command,
  duration,
  environment,
  guestPath,
  hostPath,
  optional,
  words,
} from "../spec/forms.ts";
import { StepSchema } from "../steps/index.ts";

const id = (description: string, minimum: number) =>
  Type.Integer({ description, minimum, maximum: 4294967294, expected: `a whole number, ${minimum} or more` });

const idRanges = (description: string) =>
  Type.Array(
    Type.Object(
      {
        guest: id("First id in the guest.", 0),
        host: id("First id on the host.", 0),
        count: id("How many ids.", 1),
      },
      { ...closed, expected: "a range such as { guest = 0, host = 1000, count = 1 }" },
    ),
    {
      description,
      minItems: 1,
      expected: "a list of ranges such as [{ guest = 0, host = 1000, count = 1 }]",
    },
  );

export const ShareSchema = Type.Object(
  {
    host: hostPath("A directory, or one file; a relative path starts at the directory of this file."),
    guest: guestPath("Where it appears in the guest."),
    mode: optional(
      words(
        ["ro", "rw", "transaction"],
        "ro (the default): the guest cannot change it; rw: it can; transaction: what it changes is kept beside the " +
          "directory, for `capsa diff`, `capsa apply` and `capsa discard`.",
      ),
    ),
    ownership: optional(
      Type.Union(
        [
          words(["root", "caller", "passthrough"], ""),
          Type.Object(
            { uids: idRanges("User ids."), gids: idRanges("Group ids.") },
            { ...closed, expected: "a table of uids and gids" },
          ),
        ],
        {
          description:
            "Who owns the files in the guest's eyes. root (the default): root; caller: whoever looks; " +
            "passthrough: the host's numbers; or ranges of ids that are mapped.",
          expected: '"root", "caller", "passthrough" or { uids = […], gids = […] }',
        },
      ),
    ),
    cache: optional(
      words(
        ["auto", "always", "never"],
        "How long the guest may trust what it has read: auto (the default) for a second, " +
          "always (nothing else changes the files), never (changes of the host are seen at once).",
      ),
    ),
    locks: optional(
      words(
        ["host", "guest"],
        "Whose the locks are that the guest takes on files (flock, fcntl): host (the default with mode rw), then they and " +
          "those of the host's programs exclude one another; guest (otherwise), then the host knows nothing of them.",
      ),
    ),
    protect: optional(
      Type.Array(
        Type.String({ pattern: "^[^\\x00]+$", expected: 'a path below the directory, such as ".git/hooks"' }),
        {
          description:
            'Of a directory with mode = "rw": paths below it that the guest can neither change nor make, with all that is ' +
            "below them. This file, and capsa itself, are protected without being named.",
          expected: 'a list of paths below the directory, such as [".git/hooks", ".git/config"]',
        },
      ),
    ),
  },
  {
    ...closed,
    description: "A directory of the host, or one file, shown in the guest.",
    expected: "a [[sandbox.NAME.shares]] table",
  },
);

const rules = (description: string) =>
  Type.Array(Type.String({ expected: 'a rule such as "example.org:443"' }), {
    description,
    expected: 'a list of rules such as ["example.org:443", "10.0.0.0/8:5432"]',
  });

export const NetworkSchema = Type.Object(
  {
    allow: optional(
      rules(
        "What may be reached, and nothing else (without it: everything but this machine, link-local and metadata " +
          "addresses). HOST[:PORT[-PORT]][/udp]; HOST is a name, *.DOMAIN, *, an address or a network.",
      ),
    ),
    deny: optional(rules("What may not be reached, whatever is allowed.")),
    log: optional(
      rules(
        "What is let through, as by `allow`, and told of in `capsa logs --network NAME`. Where everything is allowed " +
          "this closes nothing.",
      ),
    ),
    publish: optional(
      Type.Array(Type.String({ expected: 'a port such as "8080:80"' }), {
        description:
          "Ports of this machine that lead into the guest: [ADDRESS:]PORT:GUEST_PORT[/udp]. Of loopback unless an " +
          "address is given; port 0 is one that is free.",
        expected: 'a list of ports such as ["8080:80", "0.0.0.0:53:53/udp"]',
      }),
    ),
    nameServers: optional(
      Type.Array(Type.String({ expected: 'an address such as "192.0.2.53"' }), {
        description: "At most three name servers to ask, by address (default: this machine's).",
        expected: 'a list of addresses such as ["192.0.2.53"]',
      }),
    ),
    maxConnections: optional(
      Type.Integer({
        minimum: 1,
        maximum: 4096,
        description:
          "Connections at a time: TCP, published ports included, and 256 ports that send datagrams (default 4096).",
        expected: "a whole number from 1 to 4096",
      }),
    ),
    bandwidth: optional(
      Type.String({
        pattern: "^[0-9]+(\\.[0-9]+)?(kbit|Mbit|Gbit|kB|MB|GB)$",
        description:
          'What may cross the network in a second, each way: bits ("10Mbit") or bytes ("1.5MB"), in powers of 1000 ' +
          "(default: no limit).",
        expected: 'bits or bytes of a second with their unit: "64kbit", "10Mbit", "1.5MB"',
      }),
    ),
    hostLoopback: optional(
      Type.Boolean({
        description: "true: the guest reaches this machine's loopback at 10.0.2.2 (default false).",
        expected: "true or false",
      }),
    ),
  },
  {
    ...closed,
    expected: "a table of allow, deny, log, publish, nameServers, maxConnections, bandwidth and hostLoopback",
  },
);

export const SecretSchema = Type.Object(
  {
    from: Type.String({
      pattern: "^(env:[^=]+|file:.+)$",
      description:
        "Where the value is, on this machine: env:NAME, a variable of capsa's own environment, or file:PATH, where a " +
        "relative path starts at the directory of this file. It is read at the start.",
      expected: '"env:NAME" or "file:PATH"',
    }),
    hosts: Type.Array(Type.String({ expected: 'a host such as "api.example.org:443"' }), {
      minItems: 1,
      description:
        "Who is given the value, and nobody else: names, with a port or 443, reached over TLS. They need no rule in " +
        "network.allow.",
      expected: 'a list of hosts such as ["api.example.org:443"]',
    }),
    header: optional(
      Type.String({
        minLength: 1,
        description: 'The one header of a request that it may be in, such as "Authorization" (default: any).',
        expected: 'the name of a header, such as "Authorization"',
      }),
    ),
  },
  {
    ...closed,
    description: "A value that programs of the sandbox use without having it.",
    expected: 'a table such as { from = "env:TOKEN", hosts = ["api.example.org:443"] }',
  },
);

export const SandboxSchema = Type.Object(
  {
    cpus: optional(
      Type.Integer({
        minimum: 1,
        maximum: 255,
        description: "Virtual processors (default 1).",
        expected: "a whole number from 1 to 255",
      }),
    ),
    memory: optional(
      Type.String({
        pattern: "^[0-9]+[MG]$",
        description: 'Memory of the guest in MiB ("512M") or GiB ("2G") (default "512M").',
        expected: 'a size with its unit: "512M" (MiB) or "2G" (GiB)',
      }),
    ),
    engine: optional(
      words(
        ["auto", "kvm", "qemu"],
        "What runs the processors: kvm (hardware), qemu (software emulation), auto (the default) the fastest that works.",
      ),
    ),
    confine: optional(
      words(
        ["auto", "require", "none"],
        "The cage around the virtual machine monitor and QEMU: auto (the default) whatever this machine can do, " +
          "require refuses to start when any layer of it is missing, none is for debugging.",
      ),
    ),
    rootfs: optional(
      Type.String({
        pattern: "^(base|host|\\.{0,2}/[^\\x00]*|\\.{1,2})$",
        description:
          'What the guest\'s / is: "base" (the default; busybox), "host" (this machine\'s /usr, read-only) or a ' +
          "directory (a path with a slash). The guest's changes stay in its memory.",
        expected: '"base", "host" or a directory such as "./rootfs"',
      }),
    ),
    network: optional(
      Type.Union([words(["none", "user"], ""), NetworkSchema], {
        description:
          "none (the default): the guest has no network device. user: the host's network, by sockets of the sandbox's " +
          "process. Or a table: the same, within limits.",
        expected: '"none", "user" or a table such as { allow = ["example.org:443"] }',
      }),
    ),
    networks: optional(
      Type.Array(
        Type.String({
          pattern: "^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$",
          expected: "the name of a network: up to 32 small letters, digits and dashes",
        }),
        {
          description:
            "Private networks that this sandbox shares with others of this file, by names made up here (at most four). " +
            "Each finds the others by their names; nothing else is on them.",
          expected: 'a list of names such as ["backend"]',
        },
      ),
    ),
    env: optional(environment("Environment of the main process and of every command.")),
    secrets: optional(
      Type.Record(Type.String({ pattern: "^[A-Za-z_][A-Za-z0-9_]*$" }), SecretSchema, {
        ...closed,
        description:
          "Secrets that never enter the guest: the variable NAME holds a placeholder, which becomes the value on its way " +
          "to the secret's hosts.",
        names: "that of a variable, such as API_TOKEN",
        expected: "[sandbox.NAME.secrets.SECRET] tables",
      }),
    ),
    run: optional(
      command(
        "The main process. When it ends, the sandbox ends. Without it the sandbox lives until it is stopped.",
      ),
    ),
    cwd: optional(guestPath("Working directory of the main process and of every step that names none.")),
    kernel: optional(hostPath("A kernel (vmlinux or bzImage) instead of capsa's own.")),
    initrd: optional(hostPath("An initramfs instead of capsa's own.")),
    bootTimeout: optional(duration('How long the start may take (default "30s").')),
    ttl: optional(
      duration("The sandbox ends so long after its start, whoever started it (default: it is not limited)."),
    ),
    idleTimeout: optional(
      duration(
        "The sandbox ends when no command ran in it, and nothing else was asked of its agent, for so long " +
          "(default: it is not limited).",
      ),
    ),
    shares: optional(
      Type.Array(ShareSchema, {
        description: "Directories of the host that the guest sees.",
        expected: "[[sandbox.NAME.shares]] tables",
      }),
    ),
  },
  { ...closed, description: "A sandbox.", expected: "a [sandbox.NAME] table" },
);

const fileSize = (description: string) =>
  Type.String({
    description,
    pattern: "^[0-9]+[KMG]$",
    expected: 'a size with its unit: "64K" (KiB), "512M" (MiB) or "2G" (GiB)',
  });

export const McpSchema = Type.Object(
  {
    maxSandboxes: optional(
      Type.Integer({
        minimum: 1,
        maximum: 1000,
        description: "Sandboxes at a time (default 4).",
        expected: "a whole number from 1 to 1000",
      }),
    ),
    execTimeout: optional(duration('How long a command may take (default "2m").')),
    maxOutput: optional(fileSize('How much of a stream or a file one answer holds (default "64K").')),
    downloads: optional(
      hostPath(
        "Directory that the model may have files of a sandbox copied into; a relative path starts at the directory " +
          "of this file (default: it may not).",
      ),
    ),
    maxDownload: optional(fileSize('How much that may be in all (default "1G").')),
  },
  {
    ...closed,
    description: "What `capsa mcp` lets a model have.",
    expected: "a table of maxSandboxes, execTimeout, maxOutput, downloads and maxDownload",
  },
);

export const FileSchema = Type.Object(
  {
    sandbox: Type.Record(Type.String({ pattern: "^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$" }), SandboxSchema, {
      ...closed,
      description: "The sandboxes, by name.",
      names: "up to 32 small letters, digits and dashes",
      minProperties: 1,
      expected: "[sandbox.NAME] tables",
    }),
    steps: optional(
      Type.Array(StepSchema, { description: "What is done, in order.", expected: "[[steps]] tables" }),
    ),
    mcp: optional(McpSchema),
  },
  { ...closed, title: "capsa.toml", expected: "tables" },
);

export type ConfigFile = Static<typeof FileSchema>;
export type SandboxTable = Static<typeof SandboxSchema>;
export type SecretTable = Static<typeof SecretSchema>;
export type ShareTable = Static<typeof ShareSchema>;
export type McpTable = Static<typeof McpSchema>;
