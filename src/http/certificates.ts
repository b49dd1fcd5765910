/** Certificates: the authorities to trust, and the client's own. */
import {readdirSync, readFileSync, statSync} from 'node:fs';
import path from 'node:path';
import type {SecureContext} from 'node:tls';

import {invalidInput, type SdqError} from '../errors.ts';
import {fileError} from '../files.ts';
import {valueOf, type Environment} from './environment.ts';

export interface Tls {
  /** PEM file (or a folder of them) of the authorities to trust, and the variable that names it; goes before the usual ones. */
  readonly authorities?: {readonly file: string; readonly variable: string} | undefined;
  /** PEM file with the client's certificate and key, and the variable that names it. */
  readonly client?: {readonly file: string; readonly variable: string} | undefined;
  /** False accepts any certificate. */
  readonly verify?: boolean;
}

/** As text in PEM; what is undefined is Node's own. */
export interface Certificates {
  readonly authorities: string | undefined;
  readonly client: string | undefined;
  readonly verify: boolean;
}

/** @throws SdqError (exit 3) for a variable with a file that cannot be used; names it and not its value */
export function certificatesOf(env: Environment, {authorities, client, verify = true}: Tls): Certificates {
  const certificate = client === undefined ? undefined : readPem(client, /-----BEGIN [A-Z ]*PRIVATE KEY-----/);
  const bundle = authorities ?? bundleOf(env);
  // Node's own takes those of NODE_EXTRA_CA_CERTS too.
  if (bundle === undefined || !verify) return {authorities: undefined, client: certificate, verify};
  const extra = valueOf(env, 'NODE_EXTRA_CA_CERTS');
  const files = extra === undefined ? [bundle] : [bundle, {file: extra, variable: 'NODE_EXTRA_CA_CERTS'}];
  const trusted = files.map((file) => readPem(file, /-----BEGIN (TRUSTED )?CERTIFICATE-----/));
  return {authorities: trusted.join('\n'), client: certificate, verify};
}

/** For all connections of a client: reading some hundred certificates takes longer than a request. */
export async function secureContext({authorities, client}: Certificates): Promise<SecureContext> {
  const {createSecureContext} = await import('node:tls');
  return createSecureContext({
    ...(authorities === undefined ? {} : {ca: authorities}),
    ...(client === undefined ? {} : {cert: client, key: client}),
  });
}

/** The usual variables for the authorities to trust, in the order in which they count. */
function bundleOf(env: Environment): {readonly file: string; readonly variable: string} | undefined {
  for (const variable of ['REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'SSL_CERT_FILE']) {
    const file = valueOf(env, variable);
    if (file !== undefined) return {file, variable};
  }
  return undefined;
}

/** Text of a PEM file, or of all in a folder. @throws SdqError (exit 3) that names the variable */
function readPem({file, variable}: {readonly file: string; readonly variable: string}, content: RegExp): string {
  const invalid = (reason: string): SdqError => invalidInput('certificate-environment', `${variable}: ${reason}`);
  let texts: readonly string[];
  try {
    const files = statSync(file).isDirectory() ? readdirSync(file).map((name) => path.join(file, name)) : [file];
    texts = files.filter((each) => statSync(each).isFile()).map((each) => readFileSync(each, 'utf8'));
  } catch (error) {
    throw invalid(fileError(error, 'read', file).message);
  }
  const pem = texts.filter((text) => content.test(text));
  if (pem.length === 0) throw invalid(`${file} holds no PEM text that fits.`);
  return pem.join('\n');
}
