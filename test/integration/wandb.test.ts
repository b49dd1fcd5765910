/** The real Python package reads what we write: its own reader, and `wandb sync` against a recording server. */
import {spawn, spawnSync} from 'node:child_process';
import {createHash} from 'node:crypto';
import {existsSync, readdirSync, readFileSync, truncateSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

import {afterAll, beforeAll, expect, test} from '@jest/globals';

import {bitsChart} from '../../src/phases/bits-chart.ts';
import {wandbTracker} from '../../src/plugins/trackers/wandb/index.ts';
import type {TrackerDefinition} from '../../src/plugin-api/registry.ts';
import {fakeWandb, parseLine, type StoredRun} from '../helpers/fake-wandb.ts';
import {faultyServer} from '../helpers/faulty-server.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {logRows, testRun, type TestRun} from '../helpers/tracker-suite.ts';

const folder = temporaryFolder();
const service = fakeWandb(() => server.url());
const server = faultyServer((request) => service.handle(request));
beforeAll(() => server.start());
afterAll(() => server.stop());

/** A run that is kept offline under these variables. */
function offlineRun(env: Readonly<Record<string, string>>): TestRun {
  return testRun(
    {
      define: (timeoutMs) => wandbTracker(timeoutMs) as unknown as TrackerDefinition,
      options: {
        project: 'real',
        tags: ['mnist', 'fast'],
        transport: 'http',
        artifacts: ['strategy', 'table', 'image'],
        metricNames: 'quantity',
      },
      env: () => ({WANDB_MODE: 'offline', HOME: folder, ...env}),
      service: () => service,
      secret: 'geheim-42',
    },
    folder,
    server.url(),
    {config: {lr: 0.1, search: {target: {meanWeightBits: 4}}, schlüssel: '🚀'}},
  );
}

function logsOf({run}: TestRun): readonly string[] {
  const parent = path.join(run.directory, 'wandb');
  if (!existsSync(parent)) return [];
  return readdirSync(parent)
    .sort()
    .flatMap((name) =>
      readdirSync(path.join(parent, name))
        .filter((file) => file.endsWith('.wandb'))
        .map((file) => path.join(parent, name, file)),
    );
}

/** Runs `wandb sync` of the package. */
async function sync(file: string): Promise<string> {
  const child = spawn(pythonProgram('wandb', 'wandb'), ['sync', file], {
    cwd: folder,
    env: {
      ...process.env,
      HOME: folder,
      WANDB_API_KEY: 'f'.repeat(40),
      WANDB_BASE_URL: server.url(),
      WANDB_DIR: folder,
      WANDB_CACHE_DIR: folder,
      WANDB_DATA_DIR: folder,
      WANDB_ERROR_REPORTING: 'false',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const timer = setTimeout(() => child.kill('SIGKILL'), 50_000);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  if (code !== 0) throw new Error(`wandb sync ended with ${String(code)}: ${output}`);
  return output;
}

function uploaded(runId: string): StoredRun {
  return [...service.runs.values()].find(({path: place}) => place.endsWith(`/${runId}`))!;
}

describeWith('wandb')('the Python package wandb', () => {
  test('its classes read every record, also of a torn file', async () => {
    const testing = offlineRun({WANDB_RUN_ID: 'reader'});
    const pump = testing.start();
    logRows(testing.journal, 1, 3000);
    await pump.end({status: 'finished', exitCode: 0});
    const [file] = logsOf(testing);
    const read = (): Record<string, number> => {
      const script = [
        // The package has no reader in Python any more (`wandb sync` below is the one in Go): a second one, from the format's description.
        'import json, struct, sys, zlib, collections',
        'from wandb.proto import wandb_internal_pb2 as pb',
        'b = open(sys.argv[1], "rb").read(); c = collections.Counter(); at = 7; part = b""',
        'assert b[:7] == b":W&B" + bytes([0xe1, 0xbe, 0])',
        'while True:',
        '    if 32768 - at % 32768 < 7: at += 32768 - at % 32768',
        '    if at + 7 > len(b): break',
        '    crc, n, kind = struct.unpack("<IHB", b[at:at + 7]); d = b[at + 7:at + 7 + n]',
        '    if len(d) < n: break',
        '    assert crc == zlib.crc32(bytes([kind]) + d)',
        '    part += d; at += 7 + n',
        '    if kind in (1, 4):',
        '        r = pb.Record(); r.ParseFromString(part); part = b""; c[r.WhichOneof("record_type")] += 1',
        'print(json.dumps(c))',
      ].join('\n');
      const {stderr, stdout} = spawnSync(pythonProgram('wandb'), ['-c', script, file!], {encoding: 'utf8'});
      if (stdout === '') throw new Error(stderr);
      return JSON.parse(stdout) as Record<string, number>;
    };
    expect(read()).toMatchObject({header: 1, run: 1, history: 3000, exit: 1, final: 1});
    truncateSync(file!, readFileSync(file!).length - 20_000);
    const torn = read();
    expect(torn['history']).toBeGreaterThan(2500);
    expect(torn['exit']).toBeUndefined();
  });

  test('wandb sync sends history, summary, config, tags, sweep, artifacts and exit code', async () => {
    const testing = offlineRun({
      WANDB_RUN_ID: 'synced',
      WANDB_SWEEP_ID: 'sweep7',
      WANDB_RUN_GROUP: 'gruppe',
      WANDB_NOTES: 'ü',
    });
    const {journal, run} = testing;
    writeFileSync(path.join(run.directory, 'strategy.json'), '{"bits": 4}');
    writeFileSync(path.join(run.directory, 'output.log'), 'Engine wasm\n');
    const pump = testing.start(() => ({processCpuPercent: 25}));
    logRows(journal, 1, 50);
    // 15 s by the suite's clock, which is 100 times as fast.
    const hasSample = (): boolean => logsOf(testing).some((log) => readFileSync(log).includes('cpu'));
    for (let tries = 0; tries < 500 && !hasSample(); tries++) await sleep(20);
    journal.log('metric', {'search/loss': NaN, 'dbp/conv1/beta': Infinity}, 51);
    journal.log('artifact', {type: 'strategy', name: 'strategy.json', path: 'strategy.json'});
    journal.log('artifact', {type: 'table', name: 'bits-per-layer', columns: ['layer', 'bits'], rows: [['conv1', 4]]});
    const {png, ...size} = await bitsChart({layers: [{name: 'conv1', weightBits: 4, activationBits: 3}]});
    writeFileSync(path.join(run.directory, 'bits-chart.png'), png);
    journal.log('artifact', {
      type: 'image',
      name: 'bits-chart.png',
      path: 'bits-chart.png',
      bytes: png.length,
      sha256: createHash('sha256').update(png).digest('hex'),
      ...size,
      boxes: {classes: ['a'], groups: {predictions: [{class: 0, score: 0.5, box: [0, 0, 1, 1]}]}},
    });
    journal.log('summary', {search: {meanWeightBits: 3.9, accuracy: {test: 0.9}}});
    await pump.end({status: 'failed', exitCode: 5});
    const [file] = logsOf(testing);
    await sync(file!);
    const stored = uploaded('synced');
    const lines = stored.history.map(parseLine);
    expect(lines).toHaveLength(53);
    expect(lines.slice(0, 50).map((line) => [line['_step'], line['search/loss']])).toEqual(
      Array.from({length: 50}, (_, i) => [i + 1, 1 / (i + 1)]),
    );
    expect(lines[50]).toMatchObject({'search/loss': 'NaN', 'dbp/beta/conv1': 'Infinity'});
    expect(lines[51]!['bits-per-layer']).toMatchObject({_type: 'table-file', nrows: 1, ncols: 2});
    const picture = lines[52]!['bits-chart'] as {path: string};
    expect(picture).toMatchObject({_type: 'image-file', format: 'png', size: png.length, ...size});
    expect(Buffer.compare(service.files.get(picture.path)!, png)).toBe(0);
    const {predictions} = (picture as unknown as {boxes: {predictions: {path: string}}}).boxes;
    expect(String(service.files.get(predictions.path))).toContain('"box_caption":"a 0.50"');
    expect(parseLine(stored.summary)).toMatchObject({'search/meanWeightBits': 3.9, 'search/accuracy/test': 0.9});
    expect(stored.config).toMatchObject({
      lr: {value: 0.1},
      search: {value: {target: {meanWeightBits: 4}}},
      schlüssel: {value: '🚀'},
    });
    // The package writes them in any order; the axis of a metric is the place of `step` among them, from 1.
    const {m: metrics} = stored.config['_wandb']!.value as {m: readonly Record<string, unknown>[]};
    const axis = 1 + metrics.findIndex((metric) => metric['1'] === 'step');
    expect(metrics[axis - 1]).toMatchObject({6: [3]});
    expect(new Map(metrics.map((metric) => [metric['1'], metric['5']]))).toEqual(
      new Map([
        ['step', undefined],
        ['search/loss', axis],
        ['dbp/beta/conv1', axis],
      ]),
    );
    expect(parseLine(stored.events[0]!)).toMatchObject({'system.cpu': 25, _wandb: true});
    expect(stored.variables).toMatchObject({sweep: 'sweep7', groupName: 'gruppe', notes: 'ü', tags: ['mnist', 'fast']});
    expect(stored).toMatchObject({complete: true, exitCode: 5});
    expect(service.artifacts.at(-1)).toMatchObject({state: 'COMMITTED', input: {artifactTypeName: 'strategy'}});
    expect([...service.files.values()].map(String)).toContain('{"bits": 4}');
    expect([...service.files.values()].map(String)).toContain('{"columns":["layer","bits"],"data":[["conv1",4]]}');
    expect(service.files.get('output.log')?.toString()).toBe('Engine wasm\n');
    expect(service.files.get('requirements.txt')?.toString()).toContain('sdq==0.1.0\n');
    expect(JSON.parse(String(service.files.get('wandb-metadata.json')))).toMatchObject({program: 'sdq', args: ['run']});
    // Made by the package itself.
    expect(String(service.files.get('config.yaml'))).toContain('meanWeightBits: 4');
    // What the package deletes after sending is its copy.
    expect(readFileSync(path.join(run.directory, 'strategy.json'), 'utf8')).toBe('{"bits": 4}');
  });

  test('a preempted run and its continuation are one run with every row once', async () => {
    const testing = offlineRun({WANDB_RUN_ID: 'resumed'});
    const {journal} = testing;
    logRows(journal, 1, 20);
    journal.log('end', {status: 'interrupted', exitCode: 143});
    await testing.sync();
    const [first] = logsOf(testing);
    await sync(first!);
    expect(uploaded('resumed')).toMatchObject({preempting: true});
    logRows(journal, 21, 20);
    journal.log('end', {status: 'finished', exitCode: 0});
    journal.close();
    await testing.sync();
    const files = logsOf(testing);
    expect(files).toHaveLength(2);
    await sync(files[1]!);
    const stored = uploaded('resumed');
    const steps = stored.history.map((line) => parseLine(line)['_step']);
    expect(new Set(steps)).toEqual(new Set(Array.from({length: 40}, (_, i) => i + 1)));
    expect(stored).toMatchObject({complete: true, exitCode: 0});
  });
});
