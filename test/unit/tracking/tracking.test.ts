import {getEventListeners, once} from 'node:events';
import {appendFileSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

import {afterAll, beforeAll, describe, expect, jest, test} from '@jest/globals';
import fc from 'fast-check';

import {refuseSecrets} from '../../../src/config/secrets.ts';
import type {TrackerDefinition} from '../../../src/plugin-api/registry.ts';
import {connect} from '../../../src/plugins/trackers/mlflow/connection.ts';
import {
  batches,
  entriesOf,
  limits,
  paramEntries,
  validKey,
  type Entry,
} from '../../../src/plugins/trackers/mlflow/entries.ts';
import {mlflow, mlflowTracker} from '../../../src/plugins/trackers/mlflow/index.ts';
import type {Clock} from '../../../src/retry.ts';
import {followJournal, openJournal} from '../../../src/runs/journal.ts';
import {syncCommand} from '../../../src/runs/run-commands.ts';
import {flatten} from '../../../src/tracking/flatten.ts';
import {runPump} from '../../../src/tracking/pump.ts';
import {redactor} from '../../../src/redact.ts';
import {trackerStatus} from '../../../src/tracking/sync.ts';
import {TrackerError, type End, type Event, type Tracker} from '../../../src/plugin-api/tracker.ts';
import {fakeMlflow} from '../../helpers/fake-mlflow.ts';
import {faultyServer} from '../../helpers/faulty-server.ts';
import {logRows, testRun, type Subject} from '../../helpers/tracker-suite.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const folder = temporaryFolder();
let files = 0;
const newFile = (): string => path.join(folder, `journal-${files++}.jsonl`);
const anything = {events: 1000, bytes: 1 << 20};

describe('following a journal', () => {
  test('gives each line once, a torn one only when it is whole', () => {
    const file = newFile();
    writeFileSync(file, '{"seq":1,"ts":1,"kind":"metric","step":1,"data":{}}\n{"seq":2,"ts":1,');
    const reader = followJournal(file);
    expect(reader.read(anything).map(({seq}) => seq)).toEqual([1]);
    expect(reader.read(anything)).toEqual([]);
    appendFileSync(file, '"kind":"metric","data":{}}\n');
    expect(reader.read(anything).map(({seq}) => seq)).toEqual([2]);
    reader.close();
  });

  test('goes on at any place as if it had read everything before it, whatever the size of a batch', () => {
    const file = newFile();
    const journal = openJournal(file);
    for (let step = 1; step <= 50; step++) journal.log('metric', {text: 'ü'.repeat(step)}, step);
    journal.close();
    fc.assert(
      fc.property(fc.integer({min: 1, max: 20}), fc.integer({min: 1, max: 5000}), (events, bytes) => {
        const seen: number[] = [];
        let place = {seq: 0, offset: 0};
        for (;;) {
          const reader = followJournal(file, place);
          const batch = reader.read({events, bytes});
          place = reader.place();
          reader.close();
          if (batch.length === 0) break;
          seen.push(...batch.map(({seq}) => seq));
        }
        expect(seen).toEqual(Array.from({length: 50}, (_, i) => i + 1));
      }),
      {numRuns: 50},
    );
  });

  test('a place that the file does not have is looked for by its number', () => {
    const file = newFile();
    const journal = openJournal(file);
    for (let step = 1; step <= 5; step++) journal.log('metric', {}, step);
    journal.close();
    for (const offset of [7, readFileSync(file).length + 100]) {
      const reader = followJournal(file, {seq: 3, offset});
      expect(reader.read(anything).map(({seq}) => seq)).toEqual([4, 5]);
      reader.close();
    }
  });
});

describe('secrets', () => {
  test('a config with one is refused, naming the place and not the value', () => {
    for (const tracking of [
      [{name: 'wandb', apiKey: 'geheim'}],
      [{name: 'mlflow', options: {accessToken: 'geheim'}}],
      [{name: 'mlflow', uri: 'https://me:geheim@host/'}],
    ]) {
      const source = {name: '--set tracking=[{apiKey: geheim}]', base: '/', values: {tracking}};
      expect(() => refuseSecrets([source])).toThrow(/^--set tracking: \/tracking\/0\//);
      expect(() => refuseSecrets([source])).not.toThrow(/geheim/);
    }
    expect(() =>
      refuseSecrets([{name: 'f', base: '/', values: {tracking: [{name: 'mlflow', uri: 'http://host:5000'}]}}]),
    ).not.toThrow();
  });

  test.each([
    ['POST https://me:pw@host/x failed', 'POST https://***@host/x failed'],
    ['http://joe:p/ss@127.0.0.1:18555', 'http://***@127.0.0.1:18555'],
    ['http://joe:80/ss@h', 'http://***@h'],
    ['http://joe:p?s#s@h.invalid/x', 'http://***@h.invalid/x'],
    ['postgresql://joe:p@ss/word@db/ml', 'postgresql://***@db/ml'],
    ['http://joe:p@s/s@host:5000/x', 'http://***@host:5000/x'],
    ['https://TOKEN@host', 'https://***@host'],
    ['https://to/ken@host.example.org/a', 'https://***@host.example.org/a'],
    ['"https://h/a?token=abc&x=1#access_token=b"', '"https://h/a?token=***&x=1#access_token=***"'],
    ['https://h/a?X-Amz-Signature=abc&Expires=9', 'https://h/a?X-Amz-Signature=***&Expires=9'],
    ['https://cdn.example.org/npm/package@1.2.3/x.js', 'https://cdn.example.org/npm/package@1.2.3/x.js'],
    ['https://h/a?tokenizer=b file:///home/me@host.org/x', 'https://h/a?tokenizer=b file:///home/me@host.org/x'],
    ['mail me@host.org or https://host/x', 'mail me@host.org or https://host/x'],
  ])('%s is shown as %s', (text, shown) => {
    expect(redactor({})(text)).toBe(shown);
    const config = {name: 'f', base: '/', values: {tracking: [{name: 'mlflow', uri: text}]}};
    if (text === shown) expect(() => refuseSecrets([config])).not.toThrow();
    else expect(() => refuseSecrets([config])).toThrow(/tracking\/0\/uri/);
  });

  test('for any user and password no part of them is left', () => {
    const part = fc.string({unit: fc.constantFrom(...'aZ19/@:?#%&=.-_~!'.split('')), minLength: 1, maxLength: 12});
    fc.assert(
      fc.property(part, part, (user, password) => {
        expect(redactor({})(`http://${user}:Q${password}Q@example.org:80/x`)).toBe('http://***@example.org:80/x');
      }),
    );
  });

  test('the values of secret variables are taken out of messages, and only theirs', () => {
    const redact = redactor({
      MLFLOW_TRACKING_TOKEN: 'tok-1',
      WANDB_API_KEY: 'tok-123',
      PGPASSWORD: 'longer-than-eight',
      TOKENIZERS_PARALLELISM: 'false',
      MY_TOKEN: 'true',
      HOME: '/root',
    });
    expect(redact('tok-123 tok-1 longer-than-eight: false, true in /root')).toBe('*** *** ***: false, true in /root');
  });
});

test('flat names join keys; lists are text; empty things are left out', () => {
  expect([...flatten({a: {b: 1, c: {}}, d: [1, 2], e: null, f: 'x'}, '/')]).toEqual([
    ['a/b', 1],
    ['d', '[1,2]'],
    ['f', 'x'],
  ]);
});

describe('MLflow entries', () => {
  const event = (data: Event['data'], kind: Event['kind'] = 'metric'): Event => ({seq: 1, ts: 5, kind, step: 2, data});

  test('NaN and infinities stay what they are; text becomes a tag', () => {
    expect(entriesOf(event({a: 'NaN', b: '-Infinity', c: 'text', d: 1}), 2)).toEqual([
      {list: 'metrics', item: {key: 'a', value: 'NaN', timestamp: 5, step: 2}},
      {list: 'metrics', item: {key: 'b', value: '-Infinity', timestamp: 5, step: 2}},
      {list: 'tags', item: {key: 'c', value: 'text'}},
      {list: 'metrics', item: {key: 'd', value: 1, timestamp: 5, step: 2}},
    ]);
  });

  test('names are those that the server takes, for any text', () => {
    fc.assert(
      fc.property(fc.string({unit: 'binary', minLength: 1}), (name) => {
        expect(validKey(name)).toMatch(/^[/\w.\- ]{1,250}$/);
        expect(validKey(name).split('/')).not.toContain('..');
      }),
    );
  });

  test('params are cut at 6,000 characters, and of two names that become one the first stays', () => {
    const entries = paramEntries({'a*': 1, 'a?': 2, long: '🚀'.repeat(4000)});
    expect(entries[0]!.item.value).toBe('1');
    expect(entries.map(({item}) => item.key)).toEqual(['a_', 'long']);
    const {value} = entries[1]!.item as {value: string};
    expect(value.length).toBeLessThanOrEqual(6000);
    expect(value).toBe(Buffer.from(value).toString());
  });

  test('batches hold everything once, in order, within every limit', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('metrics', 'params', 'tags'), {maxLength: 3000}), (lists) => {
        const entries = lists.map((list, i) => ({list, item: {key: `k${i}`, value: 'v'.repeat(i % 700)}}) as Entry);
        const found = batches(entries);
        expect(found.flat()).toEqual(entries);
        for (const batch of found) {
          expect(batch.length).toBeLessThanOrEqual(1000);
          expect(JSON.stringify(batch.map(({item}) => item)).length).toBeLessThanOrEqual(limits.bytes + 2);
          for (const list of ['params', 'tags']) {
            expect(batch.filter((entry) => entry.list === list).length).toBeLessThanOrEqual(100);
          }
        }
      }),
      {numRuns: 20},
    );
  });
});

describe('the address of MLflow', () => {
  test.each([
    ['nothing', {}, /no address of a server.*mlflow server/],
    ['a folder', {MLFLOW_TRACKING_URI: 'file:///tmp/mlruns'}, /is a folder.*mlflow server/],
    ['a path', {MLFLOW_TRACKING_URI: './mlruns'}, /is a folder/],
    ['a database', {MLFLOW_TRACKING_URI: 'sqlite:///x.db'}, /is a sqlite store/],
    [
      'a CA file that is not there',
      {MLFLOW_TRACKING_URI: 'https://host', MLFLOW_TRACKING_SERVER_CERT_PATH: '/no/such.pem'},
      /MLFLOW_TRACKING_SERVER_CERT_PATH: Cannot read \/no\/such\.pem/,
    ],
  ])('%s is refused with the way out', (_, env, message) => {
    expect(() => connect(undefined, env, 1000)).toThrow(message);
  });

  const service = fakeMlflow();
  const server = faultyServer((request) => service.handle(request));
  beforeAll(() => server.start());
  afterAll(() => server.stop());

  test.each([
    [
      'Basic',
      {MLFLOW_TRACKING_USERNAME: 'me', MLFLOW_TRACKING_PASSWORD: 'pw', MLFLOW_TRACKING_TOKEN: 't'},
      'Basic bWU6cHc=',
    ],
    ['Bearer', {MLFLOW_TRACKING_TOKEN: 't'}, 'Bearer t'],
    [
      'Bearer (empty variables are none)',
      {MLFLOW_TRACKING_USERNAME: '', MLFLOW_TRACKING_PASSWORD: '', MLFLOW_TRACKING_TOKEN: 'tok123'},
      'Bearer tok123',
    ],
    ['Bearer (no password)', {MLFLOW_TRACKING_USERNAME: 'me', MLFLOW_TRACKING_TOKEN: 'tok123'}, 'Bearer tok123'],
    ['No', {MLFLOW_TRACKING_USERNAME: '', MLFLOW_TRACKING_PASSWORD: '', MLFLOW_TRACKING_TOKEN: ''}, undefined],
  ])('%s authentication by the environment', async (_, env, authorization) => {
    const context = {options: {artifacts: []}, env: {HOME: folder, ...env, MLFLOW_TRACKING_URI: server.url()}};
    expect(await mlflow.probe(context, AbortSignal.timeout(60_000))).toMatchObject({available: true});
    expect(server.requests.at(-1)!.headers['authorization']).toBe(authorization);
  });

  test('user and password of ~/.mlflow/credentials, below the environment', async () => {
    const home = path.join(folder, 'home');
    mkdirSync(path.join(home, '.mlflow'), {recursive: true});
    const stored = '# made by mlflow\n[mlflow]\nmlflow_tracking_username = me\nMLFLOW_TRACKING_PASSWORD: pw\n';
    writeFileSync(path.join(home, '.mlflow', 'credentials'), stored);
    const probe = (env: Record<string, string>): Promise<unknown> =>
      mlflow.probe(
        {options: {artifacts: []}, env: {HOME: home, MLFLOW_TRACKING_URI: server.url(), ...env}},
        AbortSignal.timeout(60_000),
      );
    await probe({MLFLOW_TRACKING_TOKEN: 't'});
    expect(server.requests.at(-1)!.headers['authorization']).toBe('Basic bWU6cHc=');
    await probe({MLFLOW_TRACKING_PASSWORD: 'other'});
    expect(server.requests.at(-1)!.headers['authorization']).toBe('Basic bWU6b3RoZXI=');
  });

  test.each([
    ['http://joe:p/ss@127.0.0.1:18555', /MLFLOW_TRACKING_URI is not an address/],
    ['postgresql://joe:p@ss/word@db/ml', /MLFLOW_TRACKING_URI is a postgresql store/],
    ['http://joe:p%ss@127.0.0.1', /has a % that is not/],
  ])('of %s nothing is shown', (uri, message) => {
    const check = (): void => mlflow.check!({options: {artifacts: []}, env: {MLFLOW_TRACKING_URI: uri}, cwd: folder});
    expect(check).toThrow(message);
    expect(check).not.toThrow(/joe|p[/%@]ss|ss.word/);
  });

  test('user and password in the address', async () => {
    const env = {MLFLOW_TRACKING_URI: server.url().replace('//', '//me:pw@')};
    const {available, reason} = await mlflow.probe({options: {artifacts: []}, env}, AbortSignal.timeout(60_000));
    expect({available, reason}).toEqual({available: true, reason: `The server at ${server.url()} answers.`});
    expect(server.requests.at(-1)!.headers['authorization']).toBe('Basic bWU6cHc=');
  });

  const subject: Subject = {
    define: (timeoutMs) => mlflowTracker(timeoutMs) as unknown as TrackerDefinition,
    options: {artifacts: ['strategy', 'table']},
    env: (url) => ({MLFLOW_TRACKING_URI: url}),
    service: () => service,
    secret: '',
  };

  test('artifacts arrive byte for byte, tables as MLflow shows them; a file that is gone counts as failed', async () => {
    const {journal, notices, run, start} = testRun(subject, folder, server.url());
    writeFileSync(path.join(run.directory, 'strategy.json'), '{"ü": 1}\n');
    const pump = start();
    journal.log('artifact', {type: 'strategy', name: 'strategy.json', path: 'strategy.json'});
    journal.log('artifact', {type: 'table', name: 'bits', columns: ['layer', 'bits'], rows: [['conv1', 2]]});
    journal.log('artifact', {type: 'strategy', name: 'gone.json', path: 'gone.json'});
    logRows(journal, 1, 1);
    expect(await pump.end({status: 'finished', exitCode: 0})).toMatchObject({complete: true});
    const names = [...service.artifacts.keys()].map((name) => name.replace(/^.*artifacts\//, ''));
    expect(names).toEqual(['strategy/strategy.json', 'tables/bits.json']);
    expect([...service.artifacts.values()].map(String)).toEqual([
      '{"ü": 1}\n',
      '{"columns":["layer","bits"],"data":[["conv1",2]]}',
    ]);
    expect(notices.join()).toMatch(/event 3 is not sent: .*gone\.json is not there/);
    expect(trackerStatus(run.directory, 'mlflow')).toMatchObject({failed: 1, pending: 0, complete: true});
  });

  test('of a picture with boxes the one with the boxes drawn on it arrives; a file that the run starts from is none', async () => {
    const options = {...subject.options, artifacts: ['image', 'strategy']};
    const {journal, run, start} = testRun({...subject, options}, folder, server.url());
    for (const name of ['test-0.png', 'test-0.boxes.png']) writeFileSync(path.join(run.directory, name), `of ${name}`);
    const before = new Set(service.artifacts.keys());
    const pump = start();
    const boxes = {classes: ['a'], groups: {predictions: [{class: 0, box: [0, 0, 1, 1], score: 0.5}]}};
    const size = {width: 8, height: 8, bytes: 13, sha256: 'ab'.repeat(32)};
    journal.log('artifact', {
      type: 'image',
      name: 'test-0.png',
      path: 'test-0.png',
      ...size,
      drawn: 'test-0.boxes.png',
      boxes,
    });
    journal.log('artifact', {type: 'input', of: 'strategy', name: 'strategy.json', path: '../other/strategy.json'});
    expect(await pump.end({status: 'finished', exitCode: 0})).toMatchObject({complete: true});
    const sent = [...service.artifacts].filter(([name]) => !before.has(name));
    expect(sent.map(([name, body]) => [name.replace(/^.*artifacts\//, ''), String(body)])).toEqual([
      ['image/test-0.boxes.png', 'of test-0.boxes.png'],
    ]);
  });

  const config = {data: {name: 'digits', directory: '/data/digits'}};

  test('data sets are inputs of the run, with digest, source, schema and sizes', async () => {
    const {journal, run, start} = testRun(subject, folder, server.url(), {config});
    const pump = start();
    const input = {name: 'digits', shape: [1, 28, 28], classes: 10};
    const train = {...input, split: 'train', digest: '0123456789abcdef', samples: 60, validation: 6};
    journal.log('artifact', {type: 'dataset', ...train});
    journal.log('artifact', {type: 'dataset', ...train, split: 'test', digest: 'fedcba9876543210', validation: 0});
    expect(await pump.end({status: 'finished', exitCode: 0})).toMatchObject({complete: true});
    const [first, second] = service.runs.find(({tags}) => tags.get('sdq.run_uid') === run.uid)!.inputs.values();
    expect([first!.tags, second!.tags]).toEqual([
      [{key: 'mlflow.data.context', value: 'train'}],
      [{key: 'mlflow.data.context', value: 'test'}],
    ]);
    const {profile, schema, source, ...others} = first!.dataset;
    expect(others).toEqual({name: 'digits', digest: '0123456789abcdef', source_type: 'local'});
    expect(JSON.parse(source!)).toEqual({uri: '/data/digits'});
    expect(JSON.parse(profile!)).toEqual({samples: 60, validation: 6, shape: [1, 28, 28], classes: 10});
    expect(schema).toContain('[-1,1,28,28]');
  });

  test('a server that knows no data sets gets all else', async () => {
    const {journal, notices, run, start} = testRun(subject, folder, server.url(), {config});
    server.setFault(({path: asked}) => (asked.endsWith('log-inputs') ? {status: 404} : undefined));
    const pump = start();
    journal.log('artifact', {type: 'dataset', name: 'd', digest: 'f', shape: [2], split: 'train'});
    logRows(journal, 1, 1);
    expect(await pump.end({status: 'finished', exitCode: 0})).toMatchObject({complete: true});
    server.setFault(undefined);
    expect(notices.join()).toMatch(/event 1 is not sent: the server does not take dataset inputs/);
    expect(service.rows(run.uid)).toHaveLength(2);
  });

  test('a model is logged and registered once, also when all is sent again; a server that has none gets all else', async () => {
    const options = {...subject.options, artifacts: ['model', 'report'], registry: 'digits'};
    const params = Object.fromEntries(Array.from({length: 230}, (_, i) => [`p${i}`, i]));
    const {journal, notices, run, start, sync} = testRun({...subject, options}, folder, server.url(), {config: params});
    writeFileSync(path.join(run.directory, 'model.onnx'), 'onnx');
    writeFileSync(path.join(run.directory, 'model-example.json'), '[[1, 2]]');
    writeFileSync(path.join(run.directory, 'report.html'), '<p>');
    const model = {name: 'model.onnx', path: 'model.onnx', example: 'model-example.json', sha256: 'f00', bytes: 4};
    const [inputs, outputs] = ['x', 'y'].map((name) => [{name, shape: ['N', 2]}]);
    journal.log('artifact', {type: 'model', ...model, inputs, outputs});
    const pump = start(() => ({cpuPercent: 12.5, memoryUsedBytes: 3e6, 'gpu.1.memoryBytes': 5e6}));
    const system = () =>
      service.runs
        .find(({tags}) => tags.get('sdq.run_uid') === run.uid)
        ?.metrics.filter(({key}) => key.startsWith('system/'));
    for (let tries = 0; tries < 500 && !system()?.length; tries++) await sleep(20);
    expect(await pump.end({status: 'finished', exitCode: 0})).toMatchObject({complete: true});
    expect(
      system()!
        .slice(0, 3)
        .map(({key, value}) => [key, value]),
    ).toEqual([
      ['system/cpu_utilization_percentage', 12.5],
      ['system/system_memory_usage_megabytes', 3],
      ['system/gpu_1_memory_usage_megabytes', 5],
    ]);
    rmSync(path.join(run.directory, 'tracking', 'mlflow.json'));
    expect(await sync()).toMatchObject({complete: true});
    const parent = service.runs.find(({tags}) => tags.get('sdq.run_uid') === run.uid)!;
    const mine = service.models.filter((each) => each.run === parent.id);
    expect(mine).toMatchObject([{status: 'LOGGED_MODEL_READY'}]);
    expect(mine[0]!.params).toHaveLength(230);
    expect(service.versions.filter(({run_id: id}) => id === parent.id)).toEqual([
      {name: 'digits', source: `models:/${mine[0]!.id}`, run_id: parent.id},
    ]);
    const place = `0/models/${mine[0]!.id}/artifacts`;
    expect(String(service.artifacts.get(`${place}/model.onnx`))).toBe('onnx');
    expect(String(service.artifacts.get(`${place}/serving_input_example.json`))).toBe('{"inputs":[[1,2]]}');
    expect(String(service.artifacts.get(`${place}/MLmodel`))).toContain('"shape":[-1,2]');
    expect(String(service.artifacts.get(`0/${parent.id}/artifacts/report.html`))).toBe('<p>');

    const old = testRun({...subject, options}, folder, server.url());
    writeFileSync(path.join(old.run.directory, 'model.onnx'), 'onnx');
    writeFileSync(path.join(old.run.directory, 'model-example.json'), '[[1, 2]]');
    old.journal.log('artifact', {type: 'model', ...model, inputs, outputs});
    server.setFault(({path: asked}) => (asked.includes('logged-models') ? {status: 404} : undefined));
    expect(await old.start().end({status: 'finished', exitCode: 0})).toMatchObject({complete: true});
    server.setFault(undefined);
    expect(old.notices.join()).toMatch(/event 1 is not sent: the server does not take logged models/);
    expect(notices).toEqual([]);
  });

  test('children whose parent was deleted are shown below the new one', async () => {
    const {journal, run, sync} = testRun(subject, folder, server.url());
    journal.log('metric', {'search/loss': 2}, 1);
    journal.log('metric', {'train/loss': 3}, 2);
    journal.close();
    expect(await sync()).toMatchObject({complete: true});
    const mine = () => service.runs.filter(({tags}) => tags.get('sdq.run_uid') === run.uid);
    const [parent, ...children] = mine();
    expect(children).toHaveLength(2);
    // What `runs/delete` does: searches find it no more.
    service.runs.splice(service.runs.indexOf(parent!), 1);
    rmSync(path.join(run.directory, 'tracking', 'mlflow.json'));
    expect(await sync()).toMatchObject({complete: true});
    const again = mine().find(({tags}) => !tags.has('sdq.phase'))!;
    expect(mine()).toHaveLength(3);
    expect(children.map(({tags}) => tags.get('mlflow.parentRunId'))).toEqual([again.id, again.id]);
  });

  test('a run has a parent and a child a phase; a value that the server refuses is told of and the others arrive', async () => {
    const {journal, notices, run, start} = testRun(subject, folder, server.url());
    const pump = start();
    journal.log('metric', {'pretrain/loss': 1}, 1);
    journal.log('summary', {pretrain: {accuracy: {test: 0.5}, checkpoint: '/x'}});
    journal.log('metric', {'search/loss': 2, 'dbp/conv1/bits': 3}, 2);
    journal.log('param', {seed: 'another'}); // the config has it: MLflow refuses a second value
    journal.log('metric', {'train/loss': 3}, 3);
    expect(await pump.end({status: 'failed', exitCode: 5})).toMatchObject({complete: true});
    const runs = service.runs.filter(({tags}) => tags.get('sdq.run_uid') === run.uid);
    const shown = runs.map(({metrics, name, status, tags}) => [
      tags.get('sdq.phase') ?? name,
      status,
      metrics.map(({key, step, value}) => `${key} ${step} ${value}`),
    ]);
    expect(shown).toEqual([
      [run.id, 'FAILED', ['pretrain/accuracy/test 1 0.5']],
      ['pretrain', 'FINISHED', ['pretrain/loss 1 1']],
      ['search', 'FAILED', ['search/loss 2 2', 'dbp/conv1/bits 2 3']],
      ['train', 'FAILED', ['train/loss 3 3']],
    ]);
    expect(runs[1]!.tags.get('mlflow.parentRunId')).toBe(runs[0]!.id);
    for (const {params} of runs) {
      expect(Object.fromEntries(params)).toEqual({seed: '1', 'search.epochs': '4'});
    }
    expect(notices.join()).toMatch(/event 4 is not sent: .*param seed was changed/);
  });
});

/** Empty for a descriptor that was closed meanwhile. */
function readLink(file: string): string {
  try {
    return readlinkSync(file);
  } catch {
    return '';
  }
}

describe('the pump', () => {
  const ended = Promise.resolve({status: 'killed', exitCode: 137, ts: 1} as const);
  const run = (directory: string) => ({
    uid: 'u',
    id: 'r',
    command: 'run',
    directory,
    startedAt: 0,
    seed: 0,
    config: {},
    versions: {},
    git: null,
  });
  const pumpOf = (
    tracker: Tracker,
    {graceMs = 1000, ...others}: {graceMs?: number; clock?: Clock; ended?: Promise<End>} = {},
  ) => {
    const directory = path.join(folder, `pump-${files++}`);
    mkdirSync(directory);
    const journal = path.join(directory, 'events.jsonl');
    const opened = openJournal(journal);
    for (let step = 1; step <= 10; step++) opened.log('metric', {loss: step}, step);
    opened.close();
    const notices: string[] = [];
    const notice = (message: string): void => void notices.push(message);
    const options = {
      name: 't',
      tracker,
      run: run(directory),
      journal,
      ended,
      graceMs,
      attempts: Infinity,
      notice,
      ...others,
    };
    return {directory, notices, done: runPump({...options, redact: (text) => text})};
  };
  const silent: Tracker = {
    open: () => Promise.resolve({id: 'x', state: null}),
    push: (batch) => Promise.resolve({seq: batch.at(-1)!.seq, state: null}),
    close: () => Promise.resolve(),
  };

  test('does not wait for a tracker that ignores its signal', async () => {
    const {done} = pumpOf({...silent, push: () => new Promise(() => undefined)}, {graceMs: 50});
    expect(await done).toEqual({name: 't', complete: false, message: 'not all could be sent within 0.05 s of the end'});
  });

  const endless = 1e9;
  /** A clock that only waiting moves on; waiting ends early where the signal aborts meanwhile. */
  const madeClock = (during: (ms: number) => void = () => undefined): Clock & {readonly waits: number[]} => {
    let time = 0;
    const waits: number[] = [];
    return {
      waits,
      now: () => time,
      async wait(ms, signal) {
        waits.push(ms);
        if (!signal.aborted) during(ms);
        if (ms === endless) {
          await once(signal, 'abort');
          return;
        }
        await new Promise((resolve) => setImmediate(resolve));
        // Half of the time is over when something else wakes.
        time += signal.aborted ? ms / 2 : ms;
      },
    };
  };
  const refusing = (retryAfterMs: number): Tracker => {
    let tries = 0;
    return {
      ...silent,
      open(...args) {
        tries += 1;
        if (tries > 1) return silent.open(...args);
        return Promise.reject(new TrackerError('HTTP 503', {kind: 'transient', status: 503, retryAfterMs}));
      },
    };
  };

  test('waits as long as the server asks, also when the run ends meanwhile', async () => {
    let end: (end: End) => void = () => undefined;
    const running = new Promise<End>((resolve) => (end = resolve));
    let isFirst = true;
    const clock = madeClock((ms) => {
      if (isFirst && ms === 300_000) end({status: 'finished', exitCode: 0, ts: 1});
      isFirst = false;
    });
    const {done} = pumpOf(refusing(300_000), {graceMs: endless, clock, ended: running});
    expect(await done).toMatchObject({complete: true});
    // The pause that the end cut short, the grace, and the rest of the pause.
    expect(clock.waits.filter((ms) => ms !== endless)).toEqual([300_000, 150_000]);
  });

  test('what is left at the end of the run takes the grace at most, by the clock', async () => {
    const clock = madeClock();
    const {done} = pumpOf({...silent, push: () => new Promise(() => undefined)}, {graceMs: 10_000, clock});
    expect(await done).toEqual({name: 't', complete: false, message: 'not all could be sent within 10 s of the end'});
    expect(clock.waits).toEqual([10_000]);
  });

  test('an hour that the wall clock is set back is not waited', async () => {
    const wall = jest.spyOn(Date, 'now').mockReturnValue(1_700_000_000_000);
    try {
      const tracker = refusing(50);
      const open = tracker.open.bind(tracker);
      const {done} = pumpOf(
        {
          ...tracker,
          open(...args) {
            setTimeout(() => wall.mockReturnValue(1_700_000_000_000 - 3_600_000), 20);
            return open(...args);
          },
        },
        {graceMs: 60_000},
      );
      expect(await done).toMatchObject({complete: true});
    } finally {
      wall.mockRestore();
    }
  });

  test('calls leave no listener on the signal that lives as long as the run', async () => {
    const counts: number[] = [];
    const {done} = pumpOf({
      ...silent,
      push(batch, signal) {
        counts.push(getEventListeners(signal, 'abort').length);
        return Promise.resolve({seq: batch[0]!.seq, state: null});
      },
    });
    expect(await done).toMatchObject({complete: true});
    expect(counts).toEqual(Array.from({length: 10}, () => 1));
  });

  test('ends with a message when a tracker has a bug', async () => {
    const {directory, done} = pumpOf({...silent, push: () => Promise.reject(new TypeError('x is not a function'))});
    expect(await done).toMatchObject({complete: false, message: 'x is not a function'});
    expect(trackerStatus(directory, 't')).toMatchObject({sent: 0, pending: 10, message: 'x is not a function'});
  });

  (process.platform === 'linux' ? test : test.skip)(
    'leaves no open file behind, whatever its end (Linux)',
    async () => {
      for (const push of [silent.push.bind(silent), () => Promise.reject(new TypeError('x is not a function'))]) {
        const {directory, done} = pumpOf({...silent, push});
        await done;
        const open = readdirSync('/proc/self/fd').map((fd) => readLink(`/proc/self/fd/${fd}`));
        expect(open.filter((file) => file.startsWith(directory))).toEqual([]);
      }
    },
  );

  test('sends the rest of a batch that got part of the way, once', async () => {
    const taken: number[] = [];
    const {directory, done} = pumpOf({
      ...silent,
      push(batch) {
        taken.push(...batch.slice(0, 3).map(({seq}) => seq));
        return Promise.resolve({seq: batch.slice(0, 3).at(-1)!.seq, state: taken.length});
      },
    });
    expect(await done).toMatchObject({complete: true});
    expect(taken).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(trackerStatus(directory, 't')).toMatchObject({sent: 10, pending: 0, complete: true});
  });

  test('gives up at once when another try cannot help', async () => {
    let tries = 0;
    const {directory, done, notices} = pumpOf({
      ...silent,
      open() {
        tries += 1;
        return Promise.reject(new TrackerError('HTTP 401', {kind: 'permanent', status: 401}));
      },
    });
    expect(await done).toMatchObject({complete: false, message: 'HTTP 401'});
    expect(tries).toBe(1);
    expect(notices).toEqual([`t: HTTP 401. The rest is in the journal: ${syncCommand(directory)}`]);
  });
});
