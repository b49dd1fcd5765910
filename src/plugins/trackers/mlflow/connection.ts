/** Where the MLflow server is and how to speak to it: REST API 2.0 under `/api/2.0/`. */
import {homedir} from 'node:os';
import path from 'node:path';

import {invalidInput, type SdqError} from '../../../errors.ts';
import type {Tls} from '../../../http/certificates.ts';
import {HttpClient} from '../../../http/client.ts';
import type {HttpRequest} from '../../../http/message.ts';
import type {Environment} from '../../../http/environment.ts';
import {readIni} from '../../../ini.ts';
import {jsonOf, sendRequest} from '../../../tracking/http.ts';
import {TrackerError} from '../../../plugin-api/tracker.ts';

export interface Connection {
  /** Of the server's pages, without user name and password. */
  readonly page: string;
  get(path: string, query: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer>;
  post(path: string, body: unknown, signal: AbortSignal): Promise<Answer>;
  patch(path: string, body: unknown, signal: AbortSignal): Promise<Answer>;
  /** @param path below the artifact store of the server */
  putArtifact(path: string, body: NonNullable<HttpRequest['body']>, signal: AbortSignal): Promise<void>;
}

export type Answer = Readonly<Record<string, unknown>>;

const advice = 'Start a server and name it: `mlflow server --port 5000`, MLFLOW_TRACKING_URI=http://127.0.0.1:5000';

/**
 * The address of the server, or undefined where there is none.
 * @param uri the option; MLFLOW_TRACKING_URI goes before it
 * @throws SdqError (exit 3) when it is none of an MLflow server; without its value, which may hold a password
 */
function serverUrl(uri: string | undefined, env: Environment): URL | undefined {
  const named = valueOf(env, 'MLFLOW_TRACKING_URI');
  const [address, source] = named === undefined ? [uri, 'The option uri of mlflow'] : [named, 'MLFLOW_TRACKING_URI'];
  if (address === undefined) return undefined;
  const protocol = /^([a-z][a-z0-9+.-]*):/i.exec(address)?.[1]?.toLowerCase();
  if (protocol !== 'http' && protocol !== 'https') {
    const kind = protocol === 'file' || protocol === undefined ? 'a folder' : `a ${protocol} store`;
    throw unusable(
      `${source} is ${kind}, and only MLflow's own code may write there (MLflow 3.13 and newer refuses folders by default). ${advice}`,
    );
  }
  if (!URL.canParse(address)) {
    throw unusable(
      `${source} is not an address. In a user name or a password write / @ : ? # as %2F %40 %3A %3F %23, or use MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD`,
    );
  }
  return new URL(address);
}

/**
 * Checks what can be checked without the server.
 * @throws SdqError (exit 3) for a variable or an option that cannot work
 */
export function checkConnection(uri: string | undefined, env: Environment): void {
  const url = serverUrl(uri, env);
  if (url !== undefined) authorizationOf(url, env);
  createClient(env);
}

/**
 * @param uri the option; MLFLOW_TRACKING_URI goes before it
 * @throws TrackerError (permanent) when there is no address. SdqError (exit 3) for a variable or an option that cannot work
 */
export function connect(uri: string | undefined, env: Environment, timeoutMs: number): Connection {
  const url = serverUrl(uri, env);
  if (url === undefined) {
    throw new TrackerError(`there is no address of a server. ${advice}`, {kind: 'permanent'});
  }
  const authorization = authorizationOf(url, env);
  url.username = '';
  url.password = '';
  const base = url.href.replace(/[?#].*$/s, '').replace(/\/+$/, '');
  const client = createClient(env);
  const headers = {
    'user-agent': 'sdq',
    ...(authorization === undefined ? {} : {authorization}),
  };
  const send = async (method: 'PATCH' | 'POST', path: string, body: unknown, signal: AbortSignal): Promise<Answer> => {
    const response = await sendRequest(client, {
      method,
      url: api(path),
      headers: {...headers, 'content-type': 'application/json'},
      body: JSON.stringify(body),
      signal,
      timeoutMs,
    });
    return jsonOf(response, path);
  };
  const api = (path: string): string => `${base}/api/2.0/mlflow/${path}`;
  return {
    page: base,
    async get(path, query, signal) {
      const target = `${api(path)}?${new URLSearchParams(query).toString()}`;
      return jsonOf(await sendRequest(client, {method: 'GET', url: target, headers, signal, timeoutMs}), path);
    },
    post: (path, body, signal) => send('POST', path, body, signal),
    patch: (path, body, signal) => send('PATCH', path, body, signal),
    async putArtifact(path, body, signal) {
      const encoded = path.split('/').map(encodeURIComponent).join('/');
      await sendRequest(client, {
        method: 'PUT',
        url: `${base}/api/2.0/mlflow-artifacts/artifacts/${encoded}`,
        headers: {...headers, 'content-type': 'application/octet-stream'},
        body,
        signal,
        timeoutMs,
      });
    },
  };
}

/** Where the server itself takes artifacts, from its address of them; undefined: nowhere. */
export const artifactPrefix = (address: string): string | undefined =>
  /^mlflow-artifacts:(?:\/\/[^/]*)?\/(.*)$/.exec(address)?.[1];

/** Why artifacts without a prefix are not sent. */
export const elsewhere = (address: string): string =>
  `the server keeps artifacts at ${address}, not behind itself; start it with --serve-artifacts.`;

const valueOf = (env: Environment, name: string): string | undefined => (env[name] === '' ? undefined : env[name]);

function unusable(message: string): SdqError {
  return invalidInput('mlflow-environment', message);
}

/**
 * MLflow's own order: user and password of the address, of the environment, of `~/.mlflow/credentials`; then the token.
 * Empty variables are as good as none.
 */
function authorizationOf(url: URL, env: Environment): string | undefined {
  const basic = (user: string, password: string): string =>
    `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  if (url.username !== '') {
    try {
      return basic(decodeURIComponent(url.username), decodeURIComponent(url.password));
    } catch {
      throw unusable(
        'The user name or the password in the address of MLflow has a % that is not the code of a character: write it as %25.',
      );
    }
  }
  const home = valueOf(env, 'HOME') ?? valueOf(env, 'USERPROFILE') ?? homedir();
  const stored = readIni(path.join(home, '.mlflow', 'credentials'), 'mlflow');
  const user = valueOf(env, 'MLFLOW_TRACKING_USERNAME') ?? stored.get('mlflow_tracking_username');
  const password = valueOf(env, 'MLFLOW_TRACKING_PASSWORD') ?? stored.get('mlflow_tracking_password');
  if (user !== undefined && password !== undefined) return basic(user, password);
  const token = valueOf(env, 'MLFLOW_TRACKING_TOKEN');
  return token === undefined ? undefined : `Bearer ${token}`;
}

/** @throws SdqError (exit 3) for a variable that cannot work */
function createClient(env: Environment): HttpClient {
  const file = (variable: string): Tls['authorities'] => {
    const value = valueOf(env, variable);
    return value === undefined ? undefined : {file: value, variable};
  };
  const insecure = valueOf(env, 'MLFLOW_TRACKING_INSECURE_TLS')?.toLowerCase() ?? 'false';
  if (!['true', '1', 'false', '0'].includes(insecure)) {
    throw unusable(`MLFLOW_TRACKING_INSECURE_TLS is ${JSON.stringify(insecure)}; allowed are true, 1, false, 0.`);
  }
  const verify = insecure === 'false' || insecure === '0';
  const authorities = file('MLFLOW_TRACKING_SERVER_CERT_PATH');
  if (!verify && authorities !== undefined) {
    throw unusable(
      'MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH are both set; MLflow takes one of them.',
    );
  }
  return new HttpClient(env, {verify, authorities, client: file('MLFLOW_TRACKING_CLIENT_CERT_PATH')});
}
