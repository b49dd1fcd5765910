/**
 * What trackers cost a training. The contenders (no tracker; W&B offline; W&B and MLflow at a server that takes everything; both
 * at one that refuses connections, and at one that never answers) take turns, each in a process of its own that trains
 * ResNet20 and logs a row of a search each ten steps. Prints the medians over all turns as ratios to no tracker:
 * milliseconds a step, and processor time a step of all threads, which a busy machine disturbs less.
 *
 *   node --import tsx bench/tracking.ts [--turns 5] [--steps 60] [--batch 32]
 *
 * `--idle SECONDS` has no training, logs a row a second and tells by `cpuMs` the processor time a second of logging and
 * trackers, after their start: what they can take from a training at most, on a busy machine too.
 */
import {spawn, spawnSync} from 'node:child_process';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';

import * as tf from '@tensorflow/tfjs-core';

import {startTracking} from '../src/cli/tracking.ts';
import {wasmEngine} from '../src/plugins/engines/wasm/index.ts';
import {models} from '../src/plugins/models/index.ts';
import {activationQuantizers, weightQuantizers} from '../src/plugins/quantizers/index.ts';
import {classification} from '../src/plugins/tasks/classification.ts';
import {Registry} from '../src/plugin-api/registry.ts';
import {timeSteps} from '../src/phases/step-benchmark.ts';
import {openJournal} from '../src/runs/journal.ts';
import {registerGradients} from '../src/tensor/gradients.ts';

const classificationTask = await classification.load({}, {classes: 10, inputShape: [3, 32, 32]});

const {values} = parseArgs({
  options: {
    turns: {type: 'string', default: '5'},
    steps: {type: 'string', default: '60'},
    batch: {type: 'string', default: '32'},
    idle: {type: 'string'},
    trackers: {type: 'string'},
  },
});
const logEvery = 10;
/** Steps before the timing, in which the trackers start too. */
const warmUp = 10;

interface Timing {
  readonly stepMs: number;
  readonly cpuMs: number;
}

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;

/** As a search of ResNet20 logs it. */
function row(): Readonly<Record<string, number>> {
  const phase = ['loss', 'accuracy', 'epoch', 'imagesPerSecond', 'expectedMeanBits', 'lambda', 'tau'];
  const names = [
    ...phase.map((name) => `search/${name}`),
    ...Array.from({length: 22}, (_, l) => ['beta', 'bits', 'cost'].map((name) => `dbp/layer${l}.conv/${name}`)).flat(),
  ];
  return Object.fromEntries(names.map((name) => [name, Math.random()]));
}

/** One turn of a contender, in its own process. */
async function train(trackers: readonly string[]): Promise<Timing> {
  const directory = mkdtempSync(path.join(tmpdir(), 'sdq-bench-'));
  const journal = openJournal(path.join(directory, 'events.jsonl'));
  const settings = {
    wandb: {name: 'wandb', project: 'bench', transport: 'http', tags: [], artifacts: []},
    mlflow: {name: 'mlflow', artifacts: []},
  };
  const run = {uid: directory, id: 'bench', command: 'run', directory, startedAt: Date.now(), seed: 0};
  const work = {
    run: {...run, config: {}, versions: {}, git: null},
    trackers: trackers.map((name) => settings[name as keyof typeof settings]),
    plugins: [],
    base: directory,
  };
  if (trackers.length > 0) startTracking(work, {notice: () => undefined, onStopRequest: () => undefined});
  if (values.idle !== undefined) {
    await sleep(3000);
    const before = process.cpuUsage();
    for (let second = 1; second <= Number(values.idle); second++) {
      journal.log('metric', row(), second);
      await sleep(1000);
    }
    const {system, user} = process.cpuUsage(before);
    return {stepMs: 1000, cpuMs: (user + system) / 1000 / Number(values.idle)};
  }
  tf.enableProdMode();
  registerGradients();
  await wasmEngine.start({threads: 1});
  const registry = new Registry([]);
  for (const definition of [...weightQuantizers, ...activationQuantizers]) registry.add(definition);
  const model = models.find(({name}) => name === 'resnet20')!;
  const graph = model.build(model.defaults, {});
  const [count, steps] = [Number(values.batch), warmUp + Number(values.steps)];
  const images = Float32Array.from({length: count * 3 * 32 * 32}, (_, i) => Math.sin(i));
  const labels = Int32Array.from({length: count}, (_, i) => i % 10);
  let cpu = process.cpuUsage();
  const times = await timeSteps({
    graph,
    registry,
    task: classificationTask,
    kind: 'search',
    batch: count,
    weightBits: 4,
    activationBits: 32,
    steps,
    source: {
      batchesPerEpoch: steps,
      samples: steps * count,
      close: () => Promise.resolve(),
      batch(_, step) {
        if (step === warmUp) cpu = process.cpuUsage();
        if (step % logEvery === 0) journal.log('metric', row(), step + 1);
        return Promise.resolve({images, labels, size: count, waitMs: 0});
      },
    },
  });
  const {system, user} = process.cpuUsage(cpu);
  journal.close();
  rmSync(directory, {recursive: true});
  return {stepMs: median(times.slice(warmUp)), cpuMs: (user + system) / 1000 / (steps - warmUp)};
}

/** In a process of its own: takes what W&B and MLflow are sent, or accepts connections and says nothing. */
const server = (isSilent: boolean): string => `
const run = {info: {run_id: 'r', experiment_id: '0', artifact_uri: 'mlflow-artifacts:/0/r'}, data: {}};
const bucket = {name: 'r', historyLineCount: 0, project: {name: 'p', entity: {name: 'e'}}};
const answer = {run, experiment: {experiment_id: '0'}, data: {viewer: {entity: 'e'}, model: null, upsertBucket: {bucket}}};
require('node:http').createServer((request, response) => {
  request.resume().on('end', () => ${isSilent ? 'undefined' : 'response.end(JSON.stringify(answer))'});
}).listen(0, '127.0.0.1', function () { process.stdout.write(String(this.address().port)); });`;

async function startServer(isSilent: boolean): Promise<{url: string; stop: () => void}> {
  const child = spawn(process.execPath, ['-e', server(isSilent)], {stdio: ['ignore', 'pipe', 'inherit']});
  const port = await new Promise<string>((resolve) =>
    child.stdout.once('data', (data: Buffer) => resolve(String(data))),
  );
  return {url: `http://127.0.0.1:${port}`, stop: () => void child.kill()};
}

async function compare(): Promise<void> {
  const [taking, silent] = await Promise.all([startServer(false), startServer(true)]);
  const at = (url: string): Record<string, string> => ({
    WANDB_BASE_URL: url,
    WANDB_API_KEY: 'of the benchmark',
    MLFLOW_TRACKING_URI: url,
  });
  const contenders: readonly (readonly [name: string, trackers: string, env: Readonly<Record<string, string>>])[] = [
    ['no tracker', '', {}],
    ['W&B offline', 'wandb', {WANDB_MODE: 'offline'}],
    ['W&B', 'wandb', at(taking.url)],
    ['MLflow', 'mlflow', at(taking.url)],
    ['both, connection refused', 'wandb,mlflow', at('http://127.0.0.1:9')],
    ['both, no answer', 'wandb,mlflow', at(silent.url)],
  ];
  const timings = contenders.map((): Timing[] => []);
  const own = ['--import', 'tsx', fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  for (let turn = 0; turn < Number(values.turns); turn++) {
    // Every second turn backwards: what grows over time then meets all alike.
    const order = contenders.map((_, i) => i);
    for (const i of turn % 2 === 0 ? order : order.reverse()) {
      const [name, trackers, env] = contenders[i]!;
      const {status, stderr, stdout} = spawnSync(process.execPath, [...own, `--trackers=${trackers}`], {
        encoding: 'utf8',
        env: {...process.env, WANDB_MODE: 'online', ...env},
      });
      if (status !== 0) throw new Error(`${name}: ${stderr}`);
      timings[i]!.push(JSON.parse(stdout) as Timing);
    }
  }
  taking.stop();
  silent.stop();
  const medians = timings.map((turns) => ({
    stepMs: median(turns.map(({stepMs}) => stepMs)),
    cpuMs: median(turns.map(({cpuMs}) => cpuMs)),
  }));
  const base = medians[0]!;
  const rounded = (value: number): number => Number(value.toFixed(4));
  for (const [i, {cpuMs, stepMs}] of medians.entries()) {
    const ratios = {stepRatio: rounded(stepMs / base.stepMs), cpuRatio: rounded(cpuMs / base.cpuMs)};
    console.log(JSON.stringify({name: contenders[i]![0], stepMs: rounded(stepMs), cpuMs: rounded(cpuMs), ...ratios}));
  }
}

if (values.trackers === undefined) await compare();
else {
  process.stdout.write(JSON.stringify(await train(values.trackers.split(',').filter((name) => name !== ''))));
  process.exit();
}
