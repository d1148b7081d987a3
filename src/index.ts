/** capsa: throw-away Linux machines for programs. The whole public surface. */

export type {
  Agent,
  AgentProcess,
  CallOptions,
  DirEntry,
  Environment,
  ExecOptions,
  ExecResult,
  ExitStatus,
  FileType,
  GuestInfo,
  Input,
  ReadOptions,
  SpawnOptions,
  WriteOptions,
} from "./agent/api.ts";
export {
  AgentError,
  BootError,
  CapsaError,
  GuestLostError,
  HostError,
  SandboxNotFoundError,
  SpecError,
  VmmError,
} from "./errors.ts";
export type {
  BootTimings,
  EndedSandbox,
  LogEntry,
  Notice,
  RunningSandbox,
  SandboxEntry,
  SandboxExit,
  StartOptions,
  VsockSocket,
} from "./sandbox/api.ts";
export {
  Capsa,
  MountMode,
  NetworkMode,
  type RunnableSandbox,
  type RunOptions,
  type SandboxBuilder,
  type ShareOptions,
} from "./sandbox/builder.ts";
export * as sandbox from "./sandbox/ready.ts";
export { attach, ended, list, readLog } from "./sandbox/registry.ts";
export type * from "./sandbox/spec.ts";
export { startSandbox } from "./sandbox/start.ts";
