/** A certificate authority of one sandbox's own, whose key never leaves this process, and certificates for its hosts. */

import "reflect-metadata"; // @peculiar/x509 does not load without
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";

/** guest/init/trust.c has OpenSSL's hash of it. */
const SUBJECT = "CN=capsa secrets";
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

/** A certificate and its key, PEM. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

export interface Authority {
  /** Its certificate, PEM. */
  readonly certificate: string;
  issue(name: string): Promise<Identity>;
}

export async function makeAuthority(): Promise<Authority> {
  const life = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + 365 * DAY_MS) };
  const keys = await makeKeys();
  const own = await X509CertificateGenerator.createSelfSigned({
    ...life,
    name: SUBJECT,
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const issue = async (name: string): Promise<Identity> => {
    const { publicKey, privateKey } = await makeKeys();
    const certificate = await X509CertificateGenerator.create({
      ...life,
      issuer: own.subject,
      // a common name has at most 64 characters, and none is needed beside the alternative name
      subject: "CN=host of capsa secrets",
      publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
        new SubjectAlternativeNameExtension([{ type: "dns", value: name }]),
        await SubjectKeyIdentifierExtension.create(publicKey),
        await AuthorityKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    const key = PemConverter.encode(await crypto.subtle.exportKey("pkcs8", privateKey), "PRIVATE KEY");
    return { cert: certificate.toString("pem"), key };
  };
  return { certificate: `${own.toString("pem")}\n`, issue };
}

function makeKeys(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}
