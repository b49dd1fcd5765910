/**
 * What W&B's own Python client sends of a run beside what sdq sends of one like it, both to a server that records: the table of
 * docs/tracking-parity.md. Needs `node scripts/python-services.js wandb wandb-workspaces`; skips where they are missing.
 */
import {execFileSync, spawn} from 'node:child_process';
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {gunzipSync} from 'node:zlib';

import {afterAll, beforeAll, describe, expect, test} from '@jest/globals';

import {bitsChart} from '../../src/phases/bits-chart.ts';
import type {TrackerDefinition} from '../../src/plugin-api/registry.ts';
import {wandbTracker} from '../../src/plugins/trackers/wandb/index.ts';
import {systemMetrics} from '../../src/tracking/system-metrics.ts';
import {fakeWandb, parseLine, type FakeWandb} from '../helpers/fake-wandb.ts';
import {faultyServer, type FaultyServer} from '../helpers/faulty-server.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {root} from '../helpers/result-schemas.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {testRun} from '../helpers/tracker-suite.ts';
import {thorough} from '../helpers/thorough.ts';

const folder = temporaryFolder();

interface Recorded {
  readonly service: FakeWandb;
  readonly server: FaultyServer;
}

function recorder(): Recorded {
  const service: FakeWandb = fakeWandb(() => server.url());
  const server = faultyServer((request) => service.handle(request));
  return {service, server};
}

const clients = {Python: recorder(), sdq: recorder()};
beforeAll(() => Promise.all(Object.values(clients).map(({server}) => server.start())));
afterAll(() => Promise.all(Object.values(clients).map(({server}) => server.stop())));

/** Names of what the server was sent of its only run. */
function fieldsOf({server, service}: Recorded): ReadonlySet<string> {
  const [run] = service.runs.values();
  const fields = new Set<string>();
  const add = (kind: string, names: Iterable<string>): void => {
    for (const name of names) fields.add(`${kind}: ${name}`);
  };
  const given = Object.entries(run!.variables).filter(([, value]) => value !== '' && !isEmpty(value));
  add(
    'run',
    given.map(([name]) => name).filter((name) => !['config', 'entity', 'name', 'project'].includes(name)),
  );
  add(
    'config',
    Object.keys(run!.config['_wandb']?.value ?? {}).map((name) => `_wandb.${name}`),
  );
  const kept = [...service.files.keys()].filter((name) => !/^(a\d+|manifest-a\d+)/.test(name));
  add(
    'file',
    kept.map((name) => name.replace(/^(media\/.*|code)\/.*/, '$1/…')),
  );
  const metadata = JSON.parse(String(service.files.get('wandb-metadata.json'))) as Record<string, object>;
  add('wandb-metadata.json', Object.keys(metadata));
  add(
    'wandb-metadata.json',
    Object.keys(metadata['git']!).map((name) => `git.${name}`),
  );
  const systems = run!.events
    .flatMap((line) => Object.keys(parseLine(line)))
    .filter((name) => name.startsWith('system.'));
  add(
    'system',
    systems
      .map((name) => name.slice('system.'.length).replace(/^disk\.\w+\./, 'disk.DEVICE.'))
      .filter((name) => !name.startsWith('gpu.')),
  );
  for (const line of run!.history.map(parseLine)) {
    add(
      'history',
      Object.keys(line).filter((name) => name.startsWith('_') || name === 'step'),
    );
    add('table', Object.keys(line['bits-per-layer'] ?? {}));
    add('image', Object.keys(line['test-0'] ?? {}));
  }
  for (const {body: raw, headers, path: place} of server.requests) {
    if (!place.endsWith('/file_stream')) continue;
    const body = headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw;
    const {files = {}, ...rest} = JSON.parse(String(body)) as {readonly files?: Readonly<Record<string, unknown>>};
    add('stream', [
      ...Object.keys(files),
      ...Object.entries(rest).flatMap(([name, value]) => (isEmpty(value) ? [] : [name])),
    ]);
  }
  for (const {input, users} of service.artifacts) {
    add('artifact', [input.artifactTypeName, ...(users.size > 0 ? [`${input.artifactTypeName}, used`] : [])]);
  }
  return fields;
}

const isEmpty = (value: unknown): boolean =>
  value === null || value === undefined || (Array.isArray(value) && value.length === 0);

/** Rows `| field | Python | sdq |` of the docs. */
function documented(): ReadonlyMap<string, readonly [python: string, sdq: string]> {
  const page = readFileSync(path.join(root, 'docs/tracking-parity.md'), 'utf8');
  const rows = page.matchAll(/^\| `([^`]+: [^`]+)` \| ([^|]+) \| ([^|]+) \|$/gm);
  return new Map([...rows].map(([, field, python, sdq]) => [field!, [python!, sdq!]]));
}

async function pythonRun({server}: Recorded, png: Uint8Array): Promise<void> {
  const cwd = path.join(folder, 'python');
  const script = readFileSync(path.join(root, 'test/helpers/wandb_run.py'));
  mkdirSync(cwd);
  const files = {'test-0.png': png, 'strategy.json': '{"bits": 4}', 'a.txt': 'before\n', 'run.py': script};
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(cwd, name), content);
  const git = (...args: string[]): unknown => execFileSync('git', args, {cwd});
  git('init', '-q');
  git('remote', 'add', 'origin', 'https://example.com/r.git');
  git('add', '-A');
  git('-c', 'user.name=a', '-c', 'user.email=a@b.c', 'commit', '-qm', 'first');
  writeFileSync(path.join(cwd, 'a.txt'), 'after\n');
  const child = spawn(pythonProgram('wandb-workspaces'), [path.join(cwd, 'run.py'), cwd], {
    cwd,
    env: {
      ...process.env,
      HOME: folder,
      WANDB_API_KEY: 'f'.repeat(40),
      WANDB_BASE_URL: server.url(),
      WANDB_MODE: 'online',
      WANDB_ERROR_REPORTING: 'false',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const timer = setTimeout(() => child.kill('SIGKILL'), 120_000);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  if (code !== 0) throw new Error(stderr);
}

async function sdqRun({server, service}: Recorded, png: Uint8Array): Promise<void> {
  const testing = testRun(
    {
      define: (timeoutMs) => wandbTracker(timeoutMs) as unknown as TrackerDefinition,
      options: {
        ...{project: 'parity', runName: 'shown', group: 'g', jobType: 'j', notes: 'n', tags: ['t'], transport: 'http'},
        ...{artifacts: ['strategy', 'table', 'image'], metricNames: 'quantity', gitDiff: true, saveCode: true},
      },
      env: () => ({WANDB_API_KEY: 'geheim-42', WANDB_BASE_URL: server.url(), HOME: folder}),
      service: () => service,
      secret: 'geheim-42',
    },
    folder,
    server.url(),
    {config: {lr: 0.1}},
  );
  const {journal, run} = testing;
  Object.assign(run, {git: {commit: 'c'.repeat(40), dirty: true, remote: 'https://example.com/r.git'}});
  mkdirSync(path.join(run.directory, 'code'));
  const files = {
    ...{'test-0.png': png, 'strategy.json': '{"bits": 4}', 'output.log': 'Engine wasm\n'},
    ...{'diff.patch': 'a diff', 'code/a.js': 'code'},
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(run.directory, name), content);
  const pump = testing.start(() => systemMetrics());
  journal.log('metric', {'search/loss': 0.5}, 1);
  journal.log('artifact', {type: 'table', name: 'bits-per-layer', columns: ['layer', 'bits'], rows: [['conv1', 4]]});
  journal.log('artifact', {
    ...{
      type: 'image',
      name: 'test-0.png',
      path: 'test-0.png',
      bytes: png.length,
      sha256: 'ab'.repeat(32),
      width: 8,
      height: 8,
    },
    boxes: {classes: ['a'], groups: {predictions: [{class: 0, box: [0, 0, 1, 1]}]}},
  });
  journal.log('artifact', {type: 'strategy', name: 'strategy.json', path: 'strategy.json'});
  journal.log('artifact', {type: 'input', of: 'strategy', name: 'strategy.json', path: 'strategy.json'});
  journal.log('summary', {search: {meanWeightBits: 3.9}});
  // 15 s by the suite's clock, which is 100 times as fast.
  for (let tries = 0; tries < 500 && [...service.runs.values()][0]?.events.length !== 1; tries++) await sleep(20);
  expect(await pump.end({status: 'killed', exitCode: 143})).toMatchObject({complete: true});
}

(thorough ? describeWith('wandb-workspaces') : describe.skip)(
  'W&B beside its Python client (in the slow suite)',
  () => {
    test('every field that either of them sends is a row of docs/tracking-parity.md, with who sends it', async () => {
      const {png} = await bitsChart({layers: [{name: 'conv1', weightBits: 4, activationBits: 3}]});
      await pythonRun(clients.Python, png);
      await sdqRun(clients.sdq, png);
      const [python, ours] = [fieldsOf(clients.Python), fieldsOf(clients.sdq)];
      const rows = documented();
      const mark = (sent: boolean, text = ''): string =>
        sent ? '✔' : text === '' || text.startsWith('✔') ? 'no, and why' : text;
      const table = (seen: (field: string) => readonly [string, string]): readonly string[] =>
        [...new Set([...python, ...ours, ...rows.keys()])]
          .sort()
          .map((field) => `| \`${field}\` | ${seen(field).join(' | ')} |`);
      expect(table((field) => rows.get(field) ?? ['', ''])).toEqual(
        table((field) => [mark(python.has(field), rows.get(field)?.[0]), mark(ours.has(field), rows.get(field)?.[1])]),
      );
    }, 240_000);
  },
);
