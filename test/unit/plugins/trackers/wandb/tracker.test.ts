import {createHash} from 'node:crypto';
import {chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {hostname} from 'node:os';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals';

import {readFrames} from '../../../../../src/plugins/trackers/wandb/framing.ts';
import {readRecordHead} from '../../../../../src/plugins/trackers/wandb/records.ts';
import {addEvents, emptyState} from '../../../../../src/plugins/trackers/wandb/rows.ts';
import {wandbTracker} from '../../../../../src/plugins/trackers/wandb/index.ts';
import type {TrackerDefinition} from '../../../../../src/plugin-api/registry.ts';
import type {Cursor, Event} from '../../../../../src/plugin-api/tracker.ts';
import {fakeWandb, parseLine, type StoredRun} from '../../../../helpers/fake-wandb.ts';
import {faultyServer} from '../../../../helpers/faulty-server.ts';
import {temporaryFolder} from '../../../../helpers/temporary-folder.ts';
import {logRows, testRun, type TestRun} from '../../../../helpers/tracker-suite.ts';

const folder = temporaryFolder();
const service = fakeWandb(() => server.url());
const server = faultyServer((request) => service.handle(request));
beforeAll(() => server.start());
afterAll(() => server.stop());
beforeEach(() => {
  service.stop = false;
  service.losesRows = false;
});

const finished = {status: 'finished', exitCode: 0} as const;
/** Changed between two processes of a run. */
let environment: Record<string, string> = {};

function runWith(env: Readonly<Record<string, string>> = {}, options: Readonly<Record<string, unknown>> = {}): TestRun {
  environment = {HOME: folder, WANDB_BASE_URL: server.url(), WANDB_API_KEY: 'geheim-42', ...env};
  return testRun(
    {
      define: (timeoutMs) => {
        const definition = wandbTracker(timeoutMs) as unknown as TrackerDefinition;
        return {...definition, create: (context) => definition.create({...context, env: environment})};
      },
      options: {
        project: 'p',
        tags: ['t'],
        transport: 'http',
        artifacts: ['strategy', 'table'],
        metricNames: 'quantity',
        ...options,
      },
      env: () => environment,
      service: () => service,
      secret: 'geheim-42',
    },
    folder,
    server.url(),
  );
}

/** By itself, without a pump. */
const trackerIn = (env: Record<string, string>, notice: (message: string) => void = () => undefined) =>
  wandbTracker(60_000).create({
    options: {project: 'p', tags: [], transport: 'http', artifacts: [], metricNames: 'quantity'},
    env,
    cwd: folder,
    notice,
  });

const stored = (id: string): StoredRun => [...service.runs.values()].find(({path: place}) => place.endsWith(`/${id}`))!;
const ownId = (): string => [...service.runs.values()].at(-1)!.path.split('/').at(-1)!;
const log = (run: TestRun, from: number, count: number): void => void logRows(run.journal, from, count);

test('a line whose step lies before the last one of the journal makes no row', () => {
  const row = (seq: number, step: number): Event => ({seq, ts: 1000 * seq, kind: 'metric', step, data: {loss: seq}});
  const {rows} = addEvents(emptyState, [row(1, 10), row(2, 9), row(3, 11)], 0, {
    artifacts: new Set(),
    metricNames: 'quantity',
  });
  expect(rows.map(({seq, step}) => [seq, step])).toEqual([
    [1, 10],
    [3, 11],
  ]);
});

test('a row above 10 MiB, which the server refuses, is left out and named; one just below is sent', () => {
  const row = (seq: number, bytes: number): Event => ({
    seq,
    ts: 1000 * seq,
    kind: 'metric',
    step: seq,
    data: {text: 'x'.repeat(bytes)},
  });
  const limit = 10 * 1024 * 1024;
  const {rows, refused} = addEvents(emptyState, [row(1, limit - 1000), row(2, limit), row(3, 1)], 0, {
    artifacts: new Set(),
    metricNames: 'quantity',
  });
  expect([rows.map(({seq}) => seq), refused]).toEqual([[1, 3], [2]]);
});

describe('the W&B tracker', () => {
  test('the run, its summary, config, tags, group, sweep and exit code', async () => {
    const run = runWith({
      WANDB_RUN_ID: 'whole',
      WANDB_SWEEP_ID: 'sw',
      WANDB_RUN_GROUP: 'g',
      WANDB_NOTES: 'n',
      WANDB_JOB_TYPE: 'j',
    });
    const pump = run.start();
    run.journal.log('param', {engine: {name: 'wasm', threads: 2}});
    run.journal.log('tag', {dataset: 'mnist', quick: true});
    log(run, 1, 3);
    run.journal.log('summary', {search: {meanWeightBits: 4, strategy: 'strategy.json'}});
    await pump.end({status: 'failed', exitCode: 4});
    const {config, exitCode, history, summary, variables} = stored('whole');
    expect(variables).toMatchObject({
      sweep: 'sw',
      groupName: 'g',
      notes: 'n',
      jobType: 'j',
      entity: 'me',
      tags: ['t', 'dataset:mnist', 'quick'],
    });
    // As recorded from wandb 0.30.0 after `define_metric("*", step_metric="step")`.
    expect(config['_wandb']).toEqual({
      value: {
        m: [
          {1: 'step', 6: [3], 7: []},
          {1: 'search/loss', 5: 1, 6: [1, 3], 7: []},
          {1: 'dbp/beta/conv1', 5: 1, 6: [1, 3], 7: []},
        ],
      },
    });
    expect(config).toMatchObject({search: {value: {epochs: 4}}, engine: {value: {name: 'wasm', threads: 2}}});
    expect(parseLine(summary)).toMatchObject({
      'search/meanWeightBits': 4,
      'search/strategy': 'strategy.json',
      'search/loss': 1 / 3,
      _step: 3,
    });
    expect(history.map(parseLine)).toMatchObject(
      [1, 2, 3].map((step) => ({step, _step: step, 'search/loss': 1 / step})),
    );
    expect(parseLine(history[0]!)['_timestamp']).toBeGreaterThan(1.79e9);
    expect(exitCode).toBe(4);
  });

  test('a tag that is too long is cut and told of', async () => {
    const run = runWith({WANDB_RUN_ID: 'tags'});
    const pump = run.start();
    run.journal.log('tag', {['x'.repeat(70)]: true, quick: true});
    await pump.end(finished);
    expect(stored('tags').variables).toMatchObject({tags: ['t', 'x'.repeat(64), 'quick']});
    expect(run.notices).toEqual([`wandb: the tag ${'x'.repeat(70)} is cut: W&B takes 64 characters.`]);
  });

  test('two lines of one step are two rows, and numbers that are not finite arrive', async () => {
    const run = runWith({WANDB_RUN_ID: 'same'});
    const pump = run.start();
    run.journal.log('metric', {a: NaN}, 10);
    run.journal.log('metric', {b: -Infinity}, 10);
    run.journal.log('metric', {a: 1}, 20);
    await pump.end(finished);
    expect(stored('same').history.map(parseLine)).toMatchObject([
      {_step: 10, step: 10, a: 'NaN'},
      {_step: 11, step: 10, b: '-Infinity'},
      {_step: 20, step: 20, a: 1},
    ]);
  });

  test('artifacts and tables: the bytes, once, also when sent again', async () => {
    const run = runWith({WANDB_RUN_ID: 'files'});
    writeFileSync(path.join(run.run.directory, 'strategy.json'), '{"bits": 4}');
    const pump = run.start();
    log(run, 1, 2);
    run.journal.log('artifact', {type: 'strategy', name: 'strategy.json', path: 'strategy.json'});
    run.journal.log('artifact', {type: 'strategy', name: 'gone.json', path: 'gone.json'});
    run.journal.log('artifact', {type: 'checkpoint', name: 'c', path: 'strategy.json'});
    run.journal.log('artifact', {
      type: 'table',
      name: 'bits-per-layer',
      columns: ['layer', 'bits'],
      rows: [['conv1', 4]],
    });
    await pump.end(finished);
    expect(run.notices.join()).toMatch(/gone\.json is not there/);
    writeFileSync(path.join(run.run.directory, 'tracking', 'wandb.json'), 'torn');
    expect(await run.sync()).toMatchObject({complete: true});
    expect(service.artifacts.filter(({input}) => input.artifactCollectionName.startsWith('run-files'))).toMatchObject([
      {state: 'COMMITTED', input: {artifactTypeName: 'strategy', artifactCollectionName: 'run-files-strategy.json'}},
    ]);
    const uploads = new Map([...service.files].map(([name, bytes]) => [name, bytes.toString()]));
    expect([...uploads].find(([name]) => name.endsWith('-strategy.json'))![1]).toBe('{"bits": 4}');
    const line = parseLine(stored('files').history[2]!);
    const table = line['bits-per-layer'] as {path: string; size: number};
    expect(uploads.get(table.path)).toBe('{"columns":["layer","bits"],"data":[["conv1",4]]}');
    expect(table).toMatchObject({_type: 'table-file', ncols: 2, nrows: 1, size: 49});
  });

  test('a picture: its bytes below media/images and a row that points there; of one that is gone only the row', async () => {
    const run = runWith({WANDB_RUN_ID: 'picture'}, {artifacts: ['image']});
    const png = Buffer.from('89504e470d0a1a0a00ff', 'hex');
    writeFileSync(path.join(run.run.directory, 'bits-chart.png'), png);
    const image = {type: 'image', bytes: 10, sha256: 'ab'.repeat(32), width: 720, height: 90};
    const pump = run.start();
    log(run, 1, 1);
    run.journal.log('artifact', {...image, name: 'bits-chart.png', path: 'bits-chart.png'});
    run.journal.log('artifact', {...image, name: 'gone.png', path: 'gone.png'});
    log(run, 2, 1);
    expect(await pump.end(finished)).toMatchObject({complete: true});
    expect(run.notices.join()).toContain('the file of gone is not there');
    const lines = stored('picture').history.map(parseLine);
    expect(lines.map((line) => line['step'])).toEqual([1, undefined, undefined, 2]);
    const {path: place, ...value} = lines[1]!['bits-chart'] as {path: string};
    expect(place).toBe(`media/images/bits-chart_2_${'ab'.repeat(10)}.png`);
    expect(value).toEqual({
      _type: 'image-file',
      sha256: image.sha256,
      size: 10,
      format: 'png',
      width: 720,
      height: 90,
    });
    expect(service.files.get(place)).toEqual(png);
    const parent = path.join(run.run.directory, 'wandb');
    expect(readFileSync(path.join(parent, readdirSync(parent)[0]!, 'files', place))).toEqual(png);
    expect(service.artifacts.filter(({input}) => input.artifactCollectionName.startsWith('run-picture'))).toEqual([]);
  });

  test('boxes of a picture are files of their own, in the format of wandb.Image', async () => {
    const run = runWith({WANDB_RUN_ID: 'boxes'}, {artifacts: ['image']});
    writeFileSync(path.join(run.run.directory, 'test-0.png'), 'PNG');
    const groups = {
      predictions: [{class: 1, score: 0.875, box: [0.25, 0.5, 0.75, 1]}],
      ground_truth: [{class: 0, box: [0, 0, 0.5, 0.5]}],
    };
    const pump = run.start();
    run.journal.log('artifact', {
      ...{type: 'image', name: 'test-0.png', path: 'test-0.png', bytes: 3, sha256: 'cd'.repeat(32)},
      ...{width: 8, height: 4, drawn: 'test-0.boxes.png', boxes: {classes: ['WBC', 'RBC'], groups}},
    });
    expect(await pump.end(finished)).toMatchObject({complete: true});
    const picture = parseLine(stored('boxes').history[0]!)['test-0'] as {
      boxes: Record<string, {_type: string; path: string; size: number; sha256: string}>;
    };
    expect(Object.keys(picture.boxes)).toEqual(['predictions', 'ground_truth']);
    const {path: place, ...meta} = picture.boxes['predictions']!;
    const text = String(service.files.get(place));
    const sha256 = createHash('sha256').update(text).digest('hex');
    expect(meta).toEqual({_type: 'boxes2D', size: text.length, sha256});
    expect(JSON.parse(text)).toEqual({
      box_data: [
        {
          position: {minX: 0.25, minY: 0.5, maxX: 0.75, maxY: 1},
          class_id: 1,
          box_caption: 'RBC 0.88',
          scores: {score: 0.875},
        },
      ],
      class_labels: {0: 'WBC', 1: 'RBC'},
    });
    expect(String(service.files.get(picture.boxes['ground_truth']!.path))).toContain('"box_caption":"WBC"');
    const labels = (stored('boxes').config['_wandb']!.value as Record<string, unknown>)['bounding_box/class_labels'];
    const label = (group: string): object => ({
      [`test-0_wandb_delimeter_${group}`]: {
        type: 'bounding_box/class_labels',
        key: `test-0_wandb_delimeter_${group}`,
        value: {0: 'WBC', 1: 'RBC'},
      },
    });
    expect(labels).toEqual({...label('predictions'), ...label('ground_truth')});
  });

  test('has the files of wandb: metadata, requirements, config and console; a preempted run says so', async () => {
    const run = runWith({WANDB_RUN_ID: 'run-files'});
    writeFileSync(path.join(run.run.directory, 'output.log'), 'Engine wasm\n');
    const pump = run.start();
    run.journal.log('metric', {'dbp/layer1/conv/beta': 0.5}, 1);
    expect(await pump.end({status: 'killed', exitCode: 143})).toMatchObject({complete: true});
    const text = (name: string): string => String(service.files.get(name));
    expect(JSON.parse(text('wandb-metadata.json'))).toMatchObject({program: 'sdq', args: ['run'], host: hostname()});
    expect(text('requirements.txt')).toContain('sdq==0.1.0\n');
    expect(text('requirements.txt')).toMatch(/^yaml==\d/m);
    expect(text('config.yaml')).toContain('search:\n  value:\n    epochs: 4\n');
    expect(text('output.log')).toBe('Engine wasm\n');
    expect(stored('run-files')).toMatchObject({complete: true, preempting: true, exitCode: 143});
    expect(stored('run-files').variables).toMatchObject({host: hostname()});
    expect(parseLine(stored('run-files').history[0]!)).toMatchObject({'dbp/beta/layer1/conv': 0.5});
  });

  test.each([
    ['Ctrl-C', {status: 'killed', exitCode: 130}],
    ['kill -9', {status: 'killed', exitCode: 137}],
    ['a failure', {status: 'failed', exitCode: 5}],
  ] as const)('%s is no preemption; metrics may have the names of the journal', async (name, end) => {
    const id = `not-preempted-${name.replaceAll(/\W/g, '-')}`;
    const run = runWith({WANDB_RUN_ID: id}, {metricNames: 'layer'});
    const pump = run.start();
    run.journal.log('metric', {'dbp/conv1/beta': 0.5}, 1);
    await pump.end(end);
    expect(stored(id)).toMatchObject({complete: true, preempting: false});
    expect(parseLine(stored(id).history[0]!)).toMatchObject({'dbp/conv1/beta': 0.5});
  });

  test('a server that says yes and keeps nothing is found out; a later sync sends the rows', async () => {
    const run = runWith({WANDB_RUN_ID: 'lost'});
    service.losesRows = true;
    const pump = run.start();
    log(run, 1, 5);
    expect(await pump.end(finished)).toMatchObject({
      complete: false,
      message: 'the server says that it has 0 of 5 rows',
    });
    service.losesRows = false;
    expect(await run.sync()).toMatchObject({complete: true});
    expect(stored('lost').history).toHaveLength(5);
    expect(stored('lost').exitCode).toBe(0);
  });

  test('offline: nothing is sent; with a key the next sync sends all', async () => {
    const run = runWith({WANDB_RUN_ID: 'later', WANDB_MODE: 'offline'});
    const before = server.requests.length;
    const pump = run.start();
    log(run, 1, 5);
    await pump.end(finished);
    expect(server.requests).toHaveLength(before);
    expect(readdirSync(path.join(run.run.directory, 'wandb'))).toHaveLength(1);
    environment = {...environment, WANDB_MODE: 'online'};
    expect(await run.sync()).toMatchObject({complete: true});
    expect(stored('later')).toMatchObject({complete: true, exitCode: 0});
    expect(stored('later').history).toHaveLength(5);
    const [logFolder] = readdirSync(path.join(run.run.directory, 'wandb'));
    expect(readdirSync(path.join(run.run.directory, 'wandb', logFolder!)).sort()).toEqual([
      'files',
      'run-later.wandb',
      'run-later.wandb.synced',
    ]);
  });

  test('a resumed run goes on in the same run, with a second log', async () => {
    const run = runWith({WANDB_RUN_ID: 'again'});
    log(run, 1, 5);
    await run.sync();
    expect(stored('again')).toMatchObject({complete: true, exitCode: 137});
    log(run, 6, 5);
    run.journal.log('end', finished);
    run.journal.close();
    environment = {...environment, WANDB_RUN_ID: 'other'};
    await run.sync();
    expect(stored('again').history.map((line) => parseLine(line)['step'])).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(stored('again')).toMatchObject({complete: true, exitCode: 0});
  });

  test('a continued run first sends the rows that the server has lost', async () => {
    const earlier = runWith({WANDB_RUN_ID: 'gap'});
    log(earlier, 1, 3);
    await earlier.sync();
    const run = runWith({WANDB_RUN_ID: 'gap'});
    log(run, 1, 5);
    await run.sync();
    expect(stored('gap').history).toHaveLength(8);
    const before = [...stored('gap').history];
    stored('gap').history.length = 6;
    const progress = JSON.parse(readFileSync(path.join(run.run.directory, 'tracking', 'wandb.json'), 'utf8')) as Cursor;
    const tracker = trackerIn(environment)!;
    await tracker.open(run.run, progress, new AbortController().signal);
    expect(stored('gap').history).toEqual(before);
    await tracker.dispose!();
  });

  test('a log file that was made and never written to does not make the next one start again', async () => {
    const run = runWith({WANDB_RUN_ID: 'empty'});
    log(run, 1, 5);
    await run.sync();
    const parent = path.join(run.run.directory, 'wandb');
    const empty = path.join(parent, 'offline-run-29991231_235959-empty');
    mkdirSync(empty);
    writeFileSync(path.join(empty, 'run-empty.wandb'), '');
    // Killed even before the file was made.
    mkdirSync(path.join(parent, 'offline-run-29991231_235958-empty'));
    log(run, 6, 2);
    await run.sync();
    const files = readdirSync(parent)
      .map((name) => path.join(parent, name, 'run-empty.wandb'))
      .filter((file) => existsSync(file));
    const numbers = files.flatMap((file) => [...readFrames(file)].map((frame) => readRecordHead(frame).num));
    expect(new Set(numbers)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7]));
    expect(numbers.filter((number) => number === 3)).toHaveLength(1);
  });

  test('the diff and the code of a run are sent, and are in the log, where it is asked for', async () => {
    const sources = {'diff.patch': 'the diff', 'code/plugin/a.js': 'the code'};
    for (const asked of [false, true]) {
      service.files.clear();
      const {run, sync} = runWith({WANDB_RUN_ID: `sources-${asked}`}, asked ? {gitDiff: true, saveCode: true} : {});
      mkdirSync(path.join(run.directory, 'code/plugin'), {recursive: true});
      for (const [name, text] of Object.entries(sources)) writeFileSync(path.join(run.directory, name), text);
      expect(await sync()).toMatchObject({complete: true});
      const [log] = readdirSync(path.join(run.directory, 'wandb'));
      for (const [name, text] of Object.entries(sources)) {
        expect([name, service.files.get(name)?.toString()]).toEqual([name, asked ? text : undefined]);
        expect(existsSync(path.join(run.directory, 'wandb', log!, 'files', name))).toBe(asked);
      }
    }
  });

  test('a run uses the strategy of another run and its own checkpoint, where the server has them with this content', async () => {
    const options = {artifacts: ['strategy', 'checkpoint', 'model']};
    const maker = runWith({WANDB_RUN_ID: 'maker'}, options);
    const files = {strategy: 'strategy.json', checkpoint: 'searched.safetensors'};
    for (const [type, name] of Object.entries(files)) {
      writeFileSync(path.join(maker.run.directory, name), `of the search: ${name}`);
      maker.journal.log('artifact', {type, name, path: name});
    }
    expect(await maker.sync()).toMatchObject({complete: true});

    const user = runWith({}, options);
    const place = (name: string): string => `../${path.basename(maker.run.directory)}/${name}`;
    for (const [type, name] of Object.entries(files)) {
      user.journal.log('artifact', {type: 'input', of: type, name, path: place(name)});
    }
    user.journal.log('artifact', {type: 'input', of: 'strategy', name: 'gone.json', path: place('gone.json')});
    // Changed since: what the server has is not what the run read.
    writeFileSync(path.join(maker.run.directory, files.checkpoint), 'other weights');
    writeFileSync(path.join(user.run.directory, 'quantized.safetensors'), 'weights');
    writeFileSync(path.join(user.run.directory, 'model.onnx'), 'onnx');
    user.journal.log('artifact', {type: 'checkpoint', name: 'quantized.safetensors', path: 'quantized.safetensors'});
    user.journal.log('artifact', {type: 'input', of: 'checkpoint', name: 'q', path: 'quantized.safetensors'});
    user.journal.log('artifact', {type: 'model', name: 'model.onnx', path: 'model.onnx'});
    await user.sync();
    const id = ownId();
    const graph = service.artifacts
      .filter(({input}) => ['maker', id].includes(input.runName))
      .map(({input, users}) => [input.artifactTypeName, input.artifactCollectionName, [...users]]);
    expect(graph).toEqual([
      ['strategy', 'run-maker-strategy.json', [id]],
      ['checkpoint', 'run-maker-searched.safetensors', []],
      ['checkpoint', `run-${id}-quantized.safetensors`, [id]],
      ['model', `run-${id}-model.onnx`, []],
    ]);
  });

  test('a run of another process under the same WANDB_RUN_ID is continued, refused or demanded as WANDB_RESUME says', async () => {
    const one = runWith({WANDB_RUN_ID: 'shared'});
    log(one, 1, 3);
    await one.sync();
    const two = runWith({WANDB_RUN_ID: 'shared'});
    log(two, 1, 2);
    await two.sync();
    expect(stored('shared').history.map((line) => parseLine(line)['_step'])).toEqual([1, 2, 3, 4, 5]);
    const never = runWith({WANDB_RUN_ID: 'shared', WANDB_RESUME: 'never'});
    log(never, 1, 1);
    expect(await never.sync()).toMatchObject({
      complete: false,
      message: expect.stringContaining('WANDB_RESUME is never'),
    });
    const must = runWith({WANDB_RUN_ID: 'nowhere', WANDB_RESUME: 'must'});
    log(must, 1, 1);
    expect(await must.sync()).toMatchObject({
      complete: false,
      message: expect.stringContaining('WANDB_RESUME is must'),
    });
  });

  test('without WANDB_RUN_ID the id comes from the run: the same for each process', async () => {
    const run = runWith();
    log(run, 1, 2);
    await run.sync();
    const id = ownId();
    writeFileSync(path.join(run.run.directory, 'tracking', 'wandb.json'), '');
    await run.sync();
    expect(ownId()).toBe(id);
    expect(stored(id).history).toHaveLength(2);
  });

  test('system metrics: a line each 15 s while the run is on, none from a sync', async () => {
    const run = runWith({WANDB_RUN_ID: 'system'});
    log(run, 1, 2);
    // Of the process: a quarter of all cores, 300 MiB.
    const pump = run.start(() => ({processCpuPercent: 25, processMemoryBytes: 300 * 2 ** 20}));
    const samples = (): number => service.runs.get('me/p/system')?.events.length ?? 0;
    for (let tries = 0; tries < 500 && samples() < 2; tries++) await sleep(20);
    expect(samples()).toBeGreaterThanOrEqual(2);
    await pump.end(finished);
    const {events, history} = stored('system');
    expect(history).toHaveLength(2);
    for (const line of events.map(parseLine)) {
      expect(line).toMatchObject({_wandb: true, 'system.cpu': 25, 'system.proc.memory.rssMB': 300});
      expect(line['_timestamp']).toBeGreaterThan(1.79e9);
    }
    const count = events.length;
    writeFileSync(path.join(run.run.directory, 'tracking', 'wandb.json'), 'torn');
    await run.sync();
    expect(stored('system').events).toHaveLength(count);
    const parent = path.join(run.run.directory, 'wandb');
    const [frames] = readdirSync(parent).map((name) => [...readFrames(path.join(parent, name, 'run-system.wandb'))]);
    expect(frames!.filter((frame) => Buffer.from(frame).includes('proc.memory.rssMB'))).toHaveLength(count);
  });

  test('a sample of the system whose answer is lost is there once; the next process adds after it', async () => {
    const {run} = runWith({WANDB_RUN_ID: 'samples'});
    const {signal} = new AbortController();
    const first = trackerIn(environment)!;
    await first.open(run, undefined, signal);
    server.setFault((_, n) => (n === 0 ? 'lost' : undefined));
    const sample = {ts: run.startedAt + 15_000, metrics: {cpuPercent: 1}};
    await expect(first.logSystem!(sample, signal)).rejects.toThrow();
    await first.logSystem!(sample, signal);
    server.setFault(undefined);
    await first.dispose!();
    const second = trackerIn(environment)!;
    await second.open(run, undefined, signal);
    await second.logSystem!({ts: run.startedAt + 30_000, metrics: {cpuPercent: 2}}, signal);
    await second.dispose!();
    expect(stored('samples').events.map((line) => parseLine(line)['_runtime'])).toEqual([15, 30]);
    expect(stored('samples').events.map((line) => parseLine(line)['system.cpu.all.cpu_percent'])).toEqual([1, 2]);
  });

  test('the server asks the run to stop', async () => {
    service.stop = true;
    const run = runWith({WANDB_RUN_ID: 'stopped'});
    const tracker = trackerIn(environment)!;
    const {signal} = new AbortController();
    await tracker.open(run.run, undefined, signal);
    expect(tracker.stopRequested!()).toBe(false);
    await tracker.heartbeat!(signal);
    expect(tracker.stopRequested!()).toBe(true);
    await tracker.dispose!();
  });

  test('disabled makes no tracker; no key makes one notice', () => {
    const notices: string[] = [];
    const create = (env: Record<string, string>): unknown =>
      trackerIn({HOME: path.join(folder, 'nobody'), ...env}, (message) => notices.push(message));
    expect(create({WANDB_MODE: 'disabled'})).toBeUndefined();
    expect(notices).toEqual([]);
    expect(create({CI: 'true'})).toMatchObject({offline: true});
    expect(notices).toHaveLength(1);
    expect(notices[0]).toMatch(/kept offline, because there is no key/);
  });

  test('transport sdk: what a package swallows is sent all the same', async () => {
    const home = path.join(folder, 'node_modules', '@wandb', 'sdk');
    mkdirSync(home, {recursive: true});
    writeFileSync(path.join(home, 'package.json'), '{"name": "@wandb/sdk", "version": "0.5.1", "main": "index.js"}');
    const seen = path.join(folder, 'seen.txt');
    writeFileSync(
      path.join(home, 'index.js'),
      `const fs = require('node:fs');
       exports.init = async ({config, entity, id: name, project}) => {
         fs.appendFileSync(${JSON.stringify(seen)}, name + '\\n');
         // As version 0.5.1 does: the config's keys bare.
         const variables = {name, project, entity, config: JSON.stringify(config)};
         const body = JSON.stringify({query: 'mutation UpsertBucket', variables});
         await fetch(process.env.WANDB_BASE_URL + '/graphql', {method: 'POST', body});
       };
       exports.log = (row) => { if (row.step > 3) process.exit(1); fs.appendFileSync(${JSON.stringify(seen)}, row.step + '\\n'); };
       exports.finish = async () => undefined;`,
    );
    const run = runWith({WANDB_RUN_ID: 'by-sdk'}, {transport: 'sdk'});
    const pump = run.start();
    log(run, 1, 5);
    expect(await pump.end(finished)).toMatchObject({complete: true});
    expect(readFileSync(seen, 'utf8')).toBe('by-sdk\n1\n2\n3\n');
    expect(stored('by-sdk').history.map((line) => parseLine(line)['step'])).toEqual([1, 2, 3, 4, 5]);
    expect(stored('by-sdk').config).toMatchObject({search: {value: {epochs: 4}}});
  });

  (process.platform === 'win32' ? test.skip : test)('transport cli: the logs go to `wandb sync`', async () => {
    const bin = path.join(folder, 'bin');
    mkdirSync(bin);
    const program = path.join(bin, 'wandb');
    const run = runWith({WANDB_RUN_ID: 'by-cli', PATH: `${bin}:${process.env['PATH']}`}, {transport: 'cli'});
    writeFileSync(program, '#!/bin/sh\necho no luck; exit 3\n');
    chmodSync(program, 0o755);
    log(run, 1, 5);
    expect(await run.sync()).toMatchObject({complete: false, message: 'wandb sync: exit code 3: no luck'});
    writeFileSync(program, `#!/bin/sh\necho "$1 $2 $WANDB_API_KEY" > ${path.join(bin, 'called')}\n: > "$2.synced"\n`);
    expect(await run.sync()).toMatchObject({complete: true});
    expect(readFileSync(path.join(bin, 'called'), 'utf8')).toMatch(/^sync .*run-by-cli\.wandb geheim-42\n$/);
  });
});
