/** What Node.js is given in place of capsa, by the names that there are to import: one sentence. */
exports.Capsa = exports.ConfigError = exports.MountMode = exports.NetworkMode = exports.sandbox = undefined;
exports.attach = exports.ended = exports.list = exports.pendingChanges = undefined;
exports.explainNetwork = exports.readLog = exports.readNetworkLog = exports.startSandbox = undefined;
exports.CapsaError = exports.AgentError = exports.ArgumentError = exports.BootError = undefined;
exports.ConsoleError = exports.GuestLostError = exports.HostError = exports.HostFileError = undefined;
exports.SandboxEndedError = exports.SandboxNotFoundError = exports.SpecError = exports.VmmError = undefined;

const sentence =
  "capsa needs Bun, which comes with it: `npx bun main.ts` runs a program, `npx capsa` the command";
if (process.argv[1]?.endsWith("/capsa")) {
  console.error(sentence);
  process.exit(125);
}
const error = new Error(sentence);
error.stack = sentence; // where it was thrown says nothing
throw error;
