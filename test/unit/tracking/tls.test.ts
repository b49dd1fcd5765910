/** HTTPS to an MLflow server with a certificate of its own. Skips where the command `openssl` is missing. */
import {execFileSync, spawnSync} from 'node:child_process';
import {readFileSync, writeFileSync} from 'node:fs';
import {createServer, type Server} from 'node:https';
import type {AddressInfo} from 'node:net';
import path from 'node:path';

import {afterAll, beforeAll, describe, expect, test} from '@jest/globals';

import {mlflow} from '../../../src/plugins/trackers/mlflow/index.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const describeWithOpenssl = spawnSync('openssl', ['version']).status === 0 ? describe : describe.skip;

describeWithOpenssl('an MLflow server with a self-signed certificate (openssl)', () => {
  const folder = temporaryFolder();
  const [key, certificate, other, otherKey] = ['key', 'certificate', 'other', 'other-key'].map((name) =>
    path.join(folder, `${name}.pem`),
  );
  const make = (file: string, key: string): void => {
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '1'];
    const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    execFileSync('openssl', [...kind, '-keyout', key, '-out', file, ...subject], {stdio: 'ignore'});
  };
  let server: Server;
  let uri: string;
  beforeAll(async () => {
    make(other!, otherKey!);
    make(certificate!, key!);
    server = createServer({key: readFileSync(key!), cert: readFileSync(certificate!)}, (_, response) => {
      response.end('{}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    uri = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));

  const probe = (env: Readonly<Record<string, string>>): ReturnType<typeof mlflow.probe> =>
    mlflow.probe({options: {artifacts: []}, env: {MLFLOW_TRACKING_URI: uri, ...env}}, AbortSignal.timeout(60_000));

  test.each([
    ['as one of the authorities to trust', () => ({MLFLOW_TRACKING_SERVER_CERT_PATH: certificate!})],
    ['when any certificate is', () => ({MLFLOW_TRACKING_INSECURE_TLS: 'true'})],
  ])('is taken %s', async (_, env) => {
    expect(await probe(env())).toEqual({available: true, reason: `The server at ${uri} answers.`});
  });

  test.each([
    ['by default', () => ({})],
    ['when another one is to be trusted', () => ({MLFLOW_TRACKING_SERVER_CERT_PATH: other!})],
    ['when INSECURE_TLS is not true', () => ({MLFLOW_TRACKING_INSECURE_TLS: 'false'})],
  ])('is refused %s, and the message says why', async (_, env) => {
    const {available, reason} = await probe(env());
    expect({available, reason}).toEqual({available: false, reason: expect.stringMatching(/certificate/)});
  });

  test('that asks for a certificate of the client takes the one of MLFLOW_TRACKING_CLIENT_CERT_PATH, and no other', async () => {
    const tls = {key: readFileSync(key!), cert: readFileSync(certificate!), ca: readFileSync(other!)};
    const strict = createServer({...tls, requestCert: true, rejectUnauthorized: true}, (_, response) => {
      response.end('{}');
    });
    await new Promise<void>((resolve) => strict.listen(0, '127.0.0.1', resolve));
    const address = `https://127.0.0.1:${(strict.address() as AddressInfo).port}`;
    // Certificate and key in one file, as MLflow's own client wants them.
    const [known, unknown] = [path.join(folder, 'known.pem'), path.join(folder, 'unknown.pem')];
    writeFileSync(known, `${readFileSync(other!, 'utf8')}${readFileSync(otherKey!, 'utf8')}`);
    writeFileSync(unknown, `${readFileSync(certificate!, 'utf8')}${readFileSync(key!, 'utf8')}`);
    const trusted = {MLFLOW_TRACKING_URI: address, MLFLOW_TRACKING_SERVER_CERT_PATH: certificate!};
    try {
      expect(await probe({...trusted, MLFLOW_TRACKING_CLIENT_CERT_PATH: known})).toMatchObject({available: true});
      expect(await probe({...trusted, MLFLOW_TRACKING_CLIENT_CERT_PATH: unknown})).toMatchObject({available: false});
      expect(await probe(trusted)).toMatchObject({available: false});
      const missing = {...trusted, MLFLOW_TRACKING_CLIENT_CERT_PATH: path.join(folder, 'none.pem')};
      expect((await probe(missing)).reason).toContain('MLFLOW_TRACKING_CLIENT_CERT_PATH');
    } finally {
      await new Promise((resolve) => strict.close(resolve));
    }
  });
});
