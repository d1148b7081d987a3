/**
 * Files that this machine may run, or by which it is told what to run, without anybody's asking for just that: whose changes
 * are to be read twice. By their names alone, in any directory; docs/transactions.md has the list.
 */

/** By their reasons; letters are small ones. */
export const RULES: Readonly<Record<string, string>> = {
  "the description of a sandbox": "capsa.toml capsa.lock *.scenario.toml",
  "a git hook":
    ".git/hooks/ .git/modules/**/hooks/ .githooks/ .husky/ .pre-commit-config.{yaml,yml} " +
    "{,.}lefthook{,-local}.{yml,yaml,toml,json}",
  "settings of git":
    ".git .git/config{,.worktree} .git/commondir .git/info/attributes .git/{modules,worktrees}/**/config{,.worktree} " +
    ".gitmodules .gitattributes .gitconfig",
  "scripts of a package": "package.json binding.gyp",
  "settings of a package manager": ".npmrc .yarnrc{,.yml} .pnpmfile.cjs pnpm-workspace.yaml pip.conf",
  "settings of Bun or TypeScript": "bunfig.toml {ts,js}config{,.*}.json",
  "variables of programs": ".env .env.* .envrc {,.}mise.toml .tool-versions",
  "rules of a build":
    "{gnu,}makefile *.mk {,.}justfile taskfile.{yml,yaml} rakefile cmakelists.txt build.gradle{,.kts} build.rs .cargo/ " +
    "setup.py conftest.py noxfile.py *.nix",
  "rules of a container": "{docker,container}file{,.*} *.dockerfile {docker-,}compose{,.*}.{yml,yaml}",
  "rules of a CI":
    ".github/workflows/ .github/actions/ .gitlab-ci.yml .circleci/ .buildkite/ jenkinsfile .travis.yml .drone.yml " +
    "azure-pipelines.yml bitbucket-pipelines.yml",
  "settings of an editor":
    ".vscode/ .idea/ *.code-workspace .devcontainer/ .exrc .nvimrc .nvim.lua .dir-locals.el",
  "settings of an AI agent": ".claude/ .codex/ .cursor/ .gemini/ .mcp.json",
  "a shell's start-up file":
    ".{bash,zsh,k,csh,tcsh}rc .{bash_,z,}profile .{bash_,z,}login .{bash_,z,}logout .zshenv .bash_aliases .config/fish/",
  "a debugger's start-up file": ".gdbinit .lldbinit",
};

/**
 * A pattern is for names in any directory. One that ends in a slash is of a directory: it is for that, where it is something
 * else, and for all below it.
 */
const EXPRESSIONS = expressions((pattern) => [pattern]);

/** The directories on the way to what the patterns are for: of `.git/info/attributes`, `.git` and `.git/info`. */
const WAYS = expressions((pattern) => {
  const names = pattern.replace(/\/$/, "").split("/");
  return names.slice(1).map((_, depth) => names.slice(0, depth + 1).join("/"));
});

function expressions(from: (pattern: string) => readonly string[]): (readonly [RegExp, string])[] {
  return Object.entries(RULES).flatMap(([reason, patterns]) => {
    const sources = patterns.split(" ").flatMap(from).map(source);
    return sources.length === 0 ? [] : [[new RegExp(`/(${sources.join("|")})$`, "s"), reason] as const];
  });
}

function source(pattern: string): string {
  return pattern
    .replaceAll(".", "\\.")
    .replaceAll("**/", "(.+/)?")
    .replace("**", ".+")
    .replaceAll("*", "[^/]*")
    .replaceAll(/[{},]/g, (sign) => ({ "{": "(", "}": ")", ",": "|" })[sign]!)
    .replace(/\/$/, "(/.*)?");
}

/**
 * Why to look twice at what is at `path`, by its names below the share; undefined for all the rest. `protect`: the share's.
 * `isWay`: it is or was something that leads to what is below it, a directory or a link, and counts as that does.
 * Letters are taken as small ones: some file systems make no difference. What is in node_modules is code throughout, and
 * not told of.
 */
export function mayRun(
  path: readonly Uint8Array[],
  protect: readonly string[] = [],
  isWay = false,
): string | undefined {
  const names = path.map((name) => Buffer.from(name).toString("utf8"));
  const text = `/${names.join("/")}`.toLowerCase();
  const isNamed = (one: string) =>
    `${text}/`.startsWith(`${one}/`) || (isWay && `${one}/`.startsWith(`${text}/`));
  if (protect.some((one) => isNamed(`/${one}`.toLowerCase()))) return "`protect` names it";
  if (names.includes("node_modules")) return undefined;
  const all = isWay ? [...EXPRESSIONS, ...WAYS] : EXPRESSIONS;
  return all.find(([expression]) => expression.test(text))?.[1];
}
