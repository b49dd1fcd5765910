/** Where the MLflow server is and how to speak to it: REST API 2.0 under `/api/2.0/`. */
import {readFileSync} from 'node:fs';

import {jsonOf, sendRequest, type Request, type Tls} from '../../../tracking/http.ts';
import {redactUrls} from '../../../tracking/redact.ts';
import {TrackerError} from '../../../tracking/tracker.ts';

type Environment = Readonly<Record<string, string | undefined>>;

export interface Connection {
  /** Of the server's pages, without user name and password. */
  readonly page: string;
  get(path: string, query: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer>;
  post(path: string, body: unknown, signal: AbortSignal): Promise<Answer>;
  /** @param path below the artifact store of the server */
  putArtifact(path: string, body: NonNullable<Request['body']>, signal: AbortSignal): Promise<void>;
}

export type Answer = Readonly<Record<string, unknown>>;

const advice = 'Start a server and name it: `mlflow server --port 5000`, MLFLOW_TRACKING_URI=http://127.0.0.1:5000';

/**
 * @param uri the option; MLFLOW_TRACKING_URI goes before it
 * @throws TrackerError (permanent) when there is no address, or none of an MLflow server
 */
export function connect(uri: string | undefined, env: Environment, timeoutMs: number): Connection {
  const named = env['MLFLOW_TRACKING_URI'];
  const address = named === undefined || named === '' ? uri : named;
  if (address === undefined) throw unusable(`there is no address of a server. ${advice}`);
  const protocol = /^([a-z][a-z0-9+.-]*):/i.exec(address)?.[1]?.toLowerCase();
  if (protocol !== 'http' && protocol !== 'https') {
    const kind = protocol === 'file' || protocol === undefined ? 'a folder' : `a ${protocol} store`;
    throw unusable(
      `${redactUrls(address)} is ${kind}, and only MLflow's own code may write there (MLflow 3.13 and newer refuses folders by default). ${advice}`,
    );
  }
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    throw unusable(`${redactUrls(address)} is not an address. ${advice}`);
  }
  const authorization = authorizationOf(url, env);
  url.username = '';
  url.password = '';
  const base = url.href.replace(/[?#].*$/s, '').replace(/\/+$/, '');
  const tls = tlsOf(env);
  const headers = {
    'user-agent': 'sdq',
    ...(authorization === undefined ? {} : {authorization}),
  };
  const api = (path: string): string => `${base}/api/2.0/mlflow/${path}`;
  return {
    page: base,
    async get(path, query, signal) {
      const target = `${api(path)}?${new URLSearchParams(query).toString()}`;
      return jsonOf(await sendRequest({method: 'GET', url: target, headers, signal, timeoutMs, tls}), path);
    },
    async post(path, body, signal) {
      const response = await sendRequest({
        method: 'POST',
        url: api(path),
        headers: {...headers, 'content-type': 'application/json'},
        body: JSON.stringify(body),
        signal,
        timeoutMs,
        tls,
      });
      return jsonOf(response, path);
    },
    async putArtifact(path, body, signal) {
      const encoded = path.split('/').map(encodeURIComponent).join('/');
      await sendRequest({
        method: 'PUT',
        url: `${base}/api/2.0/mlflow-artifacts/artifacts/${encoded}`,
        headers: {...headers, 'content-type': 'application/octet-stream'},
        body,
        signal,
        timeoutMs,
        tls,
      });
    },
  };
}

const unusable = (message: string): TrackerError => new TrackerError(message, {kind: 'permanent'});

/** MLflow's own precedence: user and password, then the token; those of the address first. */
function authorizationOf(url: URL, env: Environment): string | undefined {
  const basic = (user: string, password: string): string =>
    `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  if (url.username !== '') return basic(decodeURIComponent(url.username), decodeURIComponent(url.password));
  const {MLFLOW_TRACKING_USERNAME: user, MLFLOW_TRACKING_PASSWORD: password, MLFLOW_TRACKING_TOKEN: token} = env;
  if (user !== undefined && password !== undefined) return basic(user, password);
  return token === undefined || token === '' ? undefined : `Bearer ${token}`;
}

/** @throws TrackerError (permanent) when the file of certificates cannot be read */
function tlsOf(env: Environment): Tls {
  const file = env['MLFLOW_TRACKING_SERVER_CERT_PATH'];
  const verify = env['MLFLOW_TRACKING_INSECURE_TLS'] !== 'true';
  if (file === undefined || file === '') return {verify};
  try {
    return {verify, ca: readFileSync(file, 'utf8')};
  } catch (error) {
    throw unusable(`MLFLOW_TRACKING_SERVER_CERT_PATH: cannot read ${file}: ${(error as Error).message}`);
  }
}
