/** A secret of a sandbox as plain data: where its value is, never the value. */

/** A value of this machine's that programs in the sandbox use without having it. */
export interface SecretSpec {
  /** Where the value is: `"env:TOKEN"`, a variable of this process's environment, or `"file:/absolute/path"`. */
  readonly from: string;
  /** Who is given it: `"api.example:443"`; without a port 443. By name, over TLS. */
  readonly hosts: readonly string[];
  /** The one header of a request that it may be in; absent: any. */
  readonly header?: string;
}

/** By name, which is that of the variable that has the placeholder in the guest. */
export type Secrets = Readonly<Record<string, SecretSpec>>;
