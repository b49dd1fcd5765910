/**
 * A real MLflow server, real short trainings, and everything read back through MLflow's own Python client. Needs
 * `npm run build` and `node scripts/python-services.js mlflow mlflow-onnx`; skips where the latter is missing.
 */
import {spawn, spawnSync, type ChildProcess} from 'node:child_process';
import {createHash} from 'node:crypto';
import {closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';

import {afterAll, beforeAll, describe, expect, test} from '@jest/globals';

import {isInstalled} from '../../scripts/python-service-list.js';
import type {Config} from '../../src/config/config-types.ts';
import type {TrackerDefinition} from '../../src/plugin-api/registry.ts';
import {mlflowTracker} from '../../src/plugins/trackers/mlflow/index.ts';
import {flatten} from '../../src/tracking/flatten.ts';
import {gpuFigures} from '../../src/tracking/gpu-load.ts';
import {systemMetrics} from '../../src/tracking/system-metrics.ts';
import {readJournal, type Event} from '../../src/runs/journal.ts';
import {listRuns} from '../../src/runs/find-run.ts';
import type {RunRecord} from '../../src/runs/run-record.ts';
import {smallJob, writeSmallJob} from '../helpers/failures.ts';
import {fakeMlflow} from '../helpers/fake-mlflow.ts';
import {freePort} from '../helpers/free-port.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {sdq, startSdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';
import {testRun} from '../helpers/tracker-suite.ts';

const reader = path.resolve(import.meta.dirname, '../helpers/read_mlflow.py');

/** The daily suite has the first test. */
const testSlowly = thorough ? test : test.skip;

const systemNames = path.resolve(import.meta.dirname, '../helpers/mlflow_system_names.py');
const modelLoader = path.resolve(import.meta.dirname, '../helpers/load_mlflow_model.py');

/** The latest version of a registered model, as MLflow's own functions load it. */
function loadModel(url: string, name: string): Readonly<Record<string, unknown>> {
  const {stdout, stderr} = spawnSync(pythonProgram('mlflow-onnx'), [modelLoader, url, name], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as Readonly<Record<string, unknown>>;
}

interface RemoteRun {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly metrics: Readonly<Record<string, readonly (readonly [step: number, timestamp: number, value: number])[]>>;
  readonly params: Readonly<Record<string, string>>;
  readonly tags: Readonly<Record<string, string>>;
  readonly artifacts: Readonly<Record<string, string>>;
  readonly inputs: readonly {
    readonly name: string;
    readonly digest: string;
    readonly context: string;
    readonly uri: string;
    readonly shape: readonly number[];
    readonly profile: Readonly<Record<string, unknown>>;
  }[];
}

/** Runs a program and ends its whole process group with it, or with the process that is named first: tests may be killed. */
const untilParentEnds = `parent=$1; shift; "$@" & server=$!
while kill -0 "$parent" && kill -0 "$server"; do sleep 1; done 2>/dev/null
kill -9 0`;

class MlflowServer {
  readonly #folder: string;
  readonly #arguments: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  #process: ChildProcess | undefined;
  #port = 0;

  constructor(folder: string, options: {args?: readonly string[]; env?: Readonly<Record<string, string>>} = {}) {
    this.#folder = folder;
    this.#arguments = options.args ?? [];
    this.env = options.env ?? {};
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    mkdirSync(this.#folder, {recursive: true});
    if (this.#port === 0) this.#port = await freePort();
    const store = ['--backend-store-uri', 'sqlite:///mlflow.db', '--artifacts-destination', './artifacts'];
    const place = ['--host', '127.0.0.1', '--port', String(this.#port), '--workers', '1'];
    const log = openSync(path.join(this.#folder, 'log'), 'a');
    const server = [pythonProgram('mlflow'), '-m', 'mlflow', 'server', ...store, ...place, ...this.#arguments];
    this.#process = spawn('sh', ['-c', untilParentEnds, 'sh', String(process.pid), ...server], {
      cwd: this.#folder,
      // The server's own job queue is four more processes that no test needs.
      env: {...process.env, ...this.env, MLFLOW_TRACKING_URI: '', MLFLOW_SERVER_ENABLE_JOB_EXECUTION: 'false'},
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    for (let i = 0; i < 480; i++) {
      const isUp = await fetch(`${this.url}/health`).then(
        ({ok}) => ok,
        () => false,
      );
      if (isUp) return;
      if (this.#process.exitCode !== null) break;
      await sleep(250);
    }
    throw new Error(`the MLflow server did not start:\n${readFileSync(path.join(this.#folder, 'log'), 'utf8')}`);
  }

  /** Ends the server and its workers. */
  async stop(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running?.pid === undefined || running.exitCode !== null) return;
    const ended = new Promise((resolve) => running.on('exit', resolve));
    process.kill(-running.pid, 'SIGKILL');
    await ended;
  }

  read(experiment: string): readonly RemoteRun[] {
    const {status, stderr, stdout} = spawnSync(pythonProgram('mlflow'), [reader, this.url, experiment], {
      encoding: 'utf8',
      env: {...process.env, ...this.env},
      maxBuffer: 1 << 28,
    });
    expect({status, stderr: status === 0 ? '' : stderr}).toEqual({status: 0, stderr: ''});
    return JSON.parse(stdout) as RemoteRun[];
  }
}

/** A search that always reaches its target. */
const uniform = {method: 'uniform', target: {meanWeightBits: 4}, epochs: 1};

/** A folder with a small job that is tracked. @returns its path */
function job(
  folder: string,
  experiment: string,
  settings: Readonly<Record<string, unknown>> = {},
  options: Readonly<Record<string, unknown>> = {},
): string {
  const cwd = path.join(folder, experiment);
  writeSmallJob(cwd);
  const tracking = [{name: 'mlflow', experiment, artifacts: ['strategy', 'table', 'image', 'checkpoint'], ...options}];
  writeFileSync(
    path.join(cwd, 'sdq.config.json'),
    JSON.stringify({...smallJob, search: uniform, ...settings, tracking}),
  );
  return cwd;
}

function onlyRun(cwd: string): {record: RunRecord; directory: string; events: readonly Event[]} {
  const root = path.join(cwd, '.sdq/runs');
  const [record] = listRuns(root);
  const directory = path.join(root, record!.id);
  return {record: record!, directory, events: [...readJournal(path.join(directory, 'events.jsonl'))]};
}

const parentOf = (runs: readonly RemoteRun[]): RemoteRun => {
  const parents = runs.filter(({tags}) => tags['sdq.phase'] === undefined);
  expect(parents).toHaveLength(1);
  return parents[0]!;
};

/** Every number of the journal's metrics, as `name step time value`. */
function journalRows(events: readonly Event[]): readonly string[] {
  return events
    .filter(({kind}) => kind === 'metric')
    .flatMap(({data, step, ts}) => [...flatten(data, '/')].map(([name, value]) => `${name} ${step!} ${ts} ${value}`))
    .sort();
}

function remoteRows(runs: readonly RemoteRun[]): readonly string[] {
  return runs
    .filter(({tags}) => tags['sdq.phase'] !== undefined)
    .flatMap(({metrics}) =>
      Object.entries(metrics).flatMap(([name, history]) =>
        history.map(([step, ts, value]) => `${name} ${step} ${ts} ${value}`),
      ),
    )
    .sort();
}

const sha256 = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

/** What MLflow must show of the journal's data sets, by context. */
function datasetInputs(events: readonly Event[], uri: string): RemoteRun['inputs'] {
  const inputs = events.flatMap(({data}) => (data['type'] === 'dataset' ? [data as Record<string, never>] : []));
  expect(inputs).toHaveLength(2);
  return inputs.toReversed().map(({classes, digest, name, samples, shape, split, validation}) => ({
    name: name!,
    digest: digest!,
    context: split!,
    uri,
    shape: [-1, ...(shape as unknown as number[])],
    profile: {samples, validation, shape, classes},
  }));
}

function expectEverything(runs: readonly RemoteRun[], cwd: string, status: string): void {
  const {directory, events, record} = onlyRun(cwd);
  expect(remoteRows(runs)).toEqual(journalRows(events));
  const parent = parentOf(runs);
  expect(parent.status).toBe(status);
  expect(parent.name).toBe(record.id);
  for (const [name, value] of flatten(record.config as Record<string, unknown>, '.')) {
    for (const {params} of runs) {
      expect([name, params[name.replaceAll(/[^\w.\- /]/g, '_')]]).toEqual([name, String(value)]);
    }
  }
  expect(parent.params).toMatchObject({'runtime.engine': record.engine!.name});
  expect(parent.tags).toMatchObject({'sdq.run_uid': record.uid, 'sdq.run_id': record.id, 'sdq.command': 'run'});
  expect(parent.inputs).toEqual(datasetInputs(events, (record.config as Config).data!.directory!));
  for (const {data} of events.filter(({data: {sha256: digest, type}}) => digest !== undefined && type !== 'model')) {
    const name = String(data['name']);
    expect([name, parent.artifacts[`${String(data['type'])}/${name}`]]).toEqual([
      name,
      sha256(path.join(directory, String(data['path']))),
    ]);
  }
}

describeWith('mlflow')('a real MLflow server', () => {
  const folder = temporaryFolder();
  const server = new MlflowServer(path.join(folder, 'server'));
  beforeAll(() => server.start(), 130_000);
  afterAll(() => server.stop());
  const env = (): Record<string, string> => ({MLFLOW_TRACKING_URI: server.url});

  test('has every metric at every step, params, tags and artifacts of a run that finished', async () => {
    const cwd = job(folder, 'finished');
    const {exitCode, stderr} = await sdq(['run', '--json', '--tracker-strict'], {cwd, env: env()});
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
    const runs = server.read('finished');
    expectEverything(runs, cwd, 'FINISHED');
    expect(runs.map(({name, status}) => `${name.replace(/^2.*/, 'run')} ${status}`).sort()).toEqual([
      'pretrain FINISHED',
      'run FINISHED',
      'search FINISHED',
      'train FINISHED',
    ]);
    const parent = parentOf(runs);
    expect(Object.keys(parent.artifacts)).toEqual(
      expect.arrayContaining(['tables/bits-per-layer.json', 'image/bits-chart.png']),
    );
    const results = onlyRun(cwd).record.results as {readonly train: {readonly accuracy: {readonly test: number}}};
    expect(parent.metrics['train/accuracy/test']!.map(([, , value]) => value)).toEqual([results.train.accuracy.test]);
    // Sent again, nothing changes.
    const again = await sdq(['track', 'sync', '--json'], {cwd, env: env()});
    expect(again).toMatchObject({exitCode: 0, stderr: ''});
    expect(JSON.parse(again.stdout)).toMatchObject({
      trackers: [{name: 'mlflow', pending: 0, failed: 0, complete: true}],
    });
    expect(server.read('finished')).toEqual(runs);
  }, 240_000);

  (isInstalled('mlflow-onnx') ? testSlowly : test.skip)(
    'shows the report, and loads the registered model with signature and example (onnx, onnxruntime)',
    async () => {
      const options = {artifacts: ['model', 'report'], registry: 'digits at 4 bits'};
      const cwd = job(folder, 'model', {}, options);
      const {exitCode, stderr} = await sdq(['run', '--json', '--tracker-strict'], {cwd, env: env()});
      expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
      const {directory} = onlyRun(cwd);
      // Without its cursor everything is sent again: there is still one model and one version.
      rmSync(path.join(directory, 'tracking', 'mlflow.json'));
      const again = await sdq(['track', 'sync'], {cwd, env: env()});
      expect({exitCode: again.exitCode, stderr: again.stderr}).toEqual({exitCode: 0, stderr: ''});
      const {artifacts, id} = parentOf(server.read('model'));
      expect(artifacts).toEqual({'report.html': sha256(path.join(directory, 'report.html'))});
      // What the page of the run previews.
      const page = await fetch(`${server.url}/get-artifact?run_id=${id}&path=report.html`);
      expect(await page.text()).toBe(readFileSync(path.join(directory, 'report.html'), 'utf8'));

      const seen = loadModel(server.url, options.registry);
      expect(seen).toMatchObject({
        versions: 1,
        status: 'READY',
        params: {'model.name': 'cnn-small'},
        runId: id,
        outputs: [seen['modelId']],
        flavors: ['onnx', 'python_function'],
        inputs: [[null, expect.stringContaining('float32'), [-1, 1, 28, 28]]],
        outputShape: [1, 10],
        exampleShape: [1, 1, 28, 28],
        exampleType: 'float32',
        difference: 0,
        finite: true,
      });
      expect(seen['example']).toEqual(
        (JSON.parse(readFileSync(path.join(directory, 'model-example.json'), 'utf8')) as number[]).flat(3),
      );
    },
    240_000,
  );

  (isInstalled('mlflow-onnx') ? testSlowly : test.skip)(
    'has the system metrics under the names that its own monitors give them (psutil)',
    async () => {
      const subject = {
        define: (timeoutMs: number) => mlflowTracker(timeoutMs) as unknown as TrackerDefinition,
        options: {experiment: 'system', artifacts: []},
        env: () => ({MLFLOW_TRACKING_URI: server.url}),
        service: () => fakeMlflow(),
        secret: 'none',
      };
      const {start} = testRun(subject, folder, server.url);
      let samples = 0;
      const pump = start(() => {
        samples += 1;
        return {...systemMetrics(), ...gpuFigures('0, 40, 1024, 2048, 100, 400, 50')};
      });
      while (samples < 2) await sleep(50);
      expect(await pump.end({status: 'finished', exitCode: 0})).toMatchObject({complete: true});
      const {metrics} = parentOf(server.read('system'));
      const {stdout, stderr} = spawnSync(pythonProgram('mlflow-onnx'), [systemNames], {encoding: 'utf8'});
      if (stdout === '') throw new Error(stderr);
      const ofProcess = ['process_cpu_utilization_percentage', 'process_memory_usage_megabytes'];
      expect(Object.keys(metrics).sort()).toEqual(
        [...(JSON.parse(stdout) as string[]), ...ofProcess].map((name) => `system/${name}`).sort(),
      );
      expect(metrics['system/gpu_0_memory_usage_megabytes']!.at(-1)![2]).toBeCloseTo(1073.741824, 6);
      expect(metrics['system/cpu_utilization_percentage']!.length).toBeGreaterThanOrEqual(1);
    },
    240_000,
  );

  testSlowly(
    'is told of a run that failed',
    async () => {
      const cwd = job(folder, 'failed', {
        train: {epochs: 1, optimizer: {learningRate: 1e30}},
      });
      const {exitCode} = await sdq(['run', '--json'], {cwd, env: env()});
      expect(exitCode).toBe(5);
      const runs = server.read('failed');
      expectEverything(runs, cwd, 'FAILED');
      expect(parentOf(runs).tags['sdq.exit_code']).toBe('5');
    },
    240_000,
  );

  testSlowly(
    'is told of a stop by SIGTERM, keeps all rows over kill -9, and the resumed run goes on in the same place',
    async () => {
      const cwd = job(folder, 'killed', {pretrain: {epochs: 4}});
      const started = async (args: readonly string[], rows: number, signal: NodeJS.Signals): Promise<number | null> => {
        const {child, outcome} = startSdq(args, {cwd, env: env()});
        const enough = (): boolean => {
          try {
            return onlyRun(cwd).events.filter(({kind}) => kind === 'metric').length >= rows;
          } catch {
            return false;
          }
        };
        while (!enough() && child.exitCode === null) await sleep(20);
        child.kill(signal);
        return (await outcome).exitCode;
      };
      expect(await started(['run'], 2, 'SIGTERM')).toBe(143);
      expectEverything(server.read('killed'), cwd, 'KILLED');

      expect(await started(['run', '--resume', 'latest'], 6, 'SIGKILL')).toBeNull();
      expect((await sdq(['track', 'sync'], {cwd, env: env()})).exitCode).toBe(0);
      expectEverything(server.read('killed'), cwd, 'KILLED');

      expect((await sdq(['run', '--resume', 'latest', '--tracker-strict'], {cwd, env: env()})).exitCode).toBe(0);
      expectEverything(server.read('killed'), cwd, 'FINISHED');
    },
    240_000,
  );

  testSlowly(
    'restarts in the middle: nothing is lost or doubled',
    async () => {
      const cwd = job(folder, 'restarted', {pretrain: {epochs: 3}});
      const {outcome} = startSdq(['run', '--json'], {cwd, env: env()});
      await sleep(3000);
      await server.stop();
      await sleep(1000);
      await server.start();
      expect((await outcome).exitCode).toBe(0);
      const synced = await sdq(['track', 'sync'], {cwd, env: env()});
      expect(synced).toMatchObject({exitCode: 0});
      expectEverything(server.read('restarted'), cwd, 'FINISHED');
    },
    240_000,
  );
});

(thorough ? describeWith('mlflow') : describe.skip)('a real MLflow server with basic auth (in the slow suite)', () => {
  const folder = temporaryFolder();
  const account = {MLFLOW_TRACKING_USERNAME: 'admin', MLFLOW_TRACKING_PASSWORD: 'a password of the test'};
  const server = new MlflowServer(path.join(folder, 'server'), {
    args: ['--app-name', 'basic-auth'],
    env: {
      ...account,
      MLFLOW_AUTH_ADMIN_PASSWORD: account.MLFLOW_TRACKING_PASSWORD,
      MLFLOW_FLASK_SERVER_SECRET_KEY: 'of the test',
    },
  });
  beforeAll(() => server.start(), 130_000);
  afterAll(() => server.stop());

  test('takes a run with the right password; with a wrong one the run goes on, says so, and is sent later', async () => {
    const cwd = job(folder, 'auth');
    const wrong = {MLFLOW_TRACKING_URI: server.url, ...account, MLFLOW_TRACKING_PASSWORD: 'the wrong one'};
    // A short phase: this server takes most of a second to check a password.
    const first = await sdq(['pretrain', '--tracker-strict'], {cwd, env: wrong});
    expect(first.exitCode).toBe(6);
    expect(first.stderr).toMatch(/mlflow: .*HTTP 401/);
    expect(first.stderr).not.toContain('the wrong one');
    const {events, record} = onlyRun(cwd);
    expect(record.status).toBe('finished');
    const env = {MLFLOW_TRACKING_URI: server.url, ...account};
    expect((await sdq(['track', 'sync'], {cwd, env})).exitCode).toBe(0);
    const [run, ...others] = server.read('auth');
    expect(others).toEqual([]);
    expect(run).toMatchObject({name: record.id, status: 'FINISHED', tags: {'sdq.command': 'pretrain'}});
    const losses = events
      .filter(({data}) => 'pretrain/loss' in data)
      .map(({data, step, ts}) => [step, ts, data['pretrain/loss']]);
    expect(run!.metrics['pretrain/loss']).toEqual(losses);
  }, 240_000);
});
