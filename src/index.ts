/// <reference types="bun" preserve="true" />
/**
 * Throw-away Linux machines for programs: the whole public surface of capsa.
 * @module
 */

export type {
  Agent,
  AgentProcess,
  AttachedProcess,
  AttachOptions,
  BackgroundProcess,
  CallOptions,
  ChownOptions,
  CollectOptions,
  CopyOptions,
  DetachOptions,
  DirEntry,
  DiskUsage,
  DiskUsageOptions,
  DownloadOptions,
  Environment,
  ExecOptions,
  ExecResult,
  ExitStatus,
  FileChange,
  FileStat,
  FileType,
  GlobOptions,
  GuestInfo,
  Input,
  Limits,
  ListDirOptions,
  ListOptions,
  MkdirOptions,
  OutputStream,
  ProcessEntry,
  ReadOptions,
  RemoveOptions,
  SpawnOptions,
  SpecialType,
  StatOptions,
  TerminalSize,
  Transferred,
  UploadOptions,
  WaitForOptions,
  Watcher,
  WatchOptions,
  WriteOptions,
} from "./agent/api.ts";
export type { ExposeOptions, Exposure, Forward, ForwardOptions } from "./agent/forward/api.ts";
export { Capsa } from "./capsa.ts";
export { pendingChanges } from "./changes/changes.ts";
export { ConfigError, type PlacedProblem } from "./config/problem.ts";
export type { EngineName } from "./engine/engines.ts";
export type { ErrorCode } from "./errors/error_codes.ts";
export {
  AgentError,
  ArgumentError,
  BootError,
  CapsaError,
  ConsoleError,
  GuestLostError,
  HostError,
  HostFileError,
  SandboxEndedError,
  SandboxNotFoundError,
  SpecError,
  VmmError,
} from "./errors/errors.ts";
export type { Project, ProjectStartOptions, ProjectUpOptions, StartedProject } from "./project/api.ts";
export type {
  ApplyOptions,
  ApplyResult,
  BootTimings,
  Change,
  Changes,
  DiffOptions,
  EndedSandbox,
  EnforcedRule,
  LogEntry,
  NetworkAccess,
  NetworkCounters,
  NetworkExplanation,
  NetworkPlace,
  NetworkRefusal,
  NetworkState,
  NetworkUpdate,
  Notice,
  PublishedPort,
  RunningSandbox,
  SandboxEntry,
  SandboxEvent,
  SandboxExit,
  SandboxMetrics,
  SandboxNetwork,
  ShareUse,
  StartOptions,
  VsockPort,
  VsockSocket,
} from "./sandbox/api.ts";
export {
  MountMode,
  NetworkMode,
  type RunnableSandbox,
  type RunOptions,
  type SandboxBuilder,
  type ShareOptions,
  type UserNatOptions,
} from "./sandbox/builder.ts";
export type { Confinement, ConfinementLayer } from "./sandbox/confinement.ts";
export { explainNetwork } from "./sandbox/explain.ts";
export type { SetMemoryOptions } from "./sandbox/memory.ts";
export type { PoolOptions, SandboxPool } from "./sandbox/pool.ts";
export * as sandbox from "./sandbox/ready.ts";
export { attach, ended, list, readLog, readNetworkLog } from "./sandbox/registry.ts";
export { startSandbox } from "./sandbox/start.ts";
export type { NetworkKeys, SandboxOptions, ShareKeys } from "./spec/options.ts";
export type * from "./spec/spec.ts";
export type * from "./steps/api.ts";
export type { DiskOptions, RawVm, VmExit, VmOptions, VmStatus, VsockListener } from "./vm/api.ts";
export type { ConsoleExecResult, ConsoleMatch, VmConsole, WaitOptions } from "./vm/console_api.ts";
