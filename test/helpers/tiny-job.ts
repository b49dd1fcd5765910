/** The real phases in this process, on a network of three layers and 64 made images: about a second a phase. */
import path from 'node:path';

import {loadStoredConfig} from '../../src/config/load-config.ts';
import type {Dataset} from '../../src/data/dataset.ts';
import register from '../../src/hooks/register.ts';
import type {PhaseContext} from '../../src/phases/phase.ts';
import {openSession, type JobConfig, type Session} from '../../src/phases/session.ts';
import {Registry, type Definitions, type Kind} from '../../src/plugin-api/registry.ts';
import {normal, uniform} from '../../src/random.ts';
import {readJournal} from '../../src/runs/journal.ts';
import {createRun, resumeRun, type Run} from '../../src/runs/run-directory.ts';
import {listenForStop, type StopSignal} from '../../src/runs/signals.ts';
import {memorySplit} from './made-dataset.ts';
import {tinyClasses, tinyGraph, tinyShape} from './tiny-network.ts';

const kinds: readonly Kind[] = [
  'engine',
  'dataset',
  'model',
  'task',
  'weight-quantizer',
  'activation-quantizer',
  'searcher',
  'cost-model',
  'exporter',
];

/** Noise with a bright patch whose place and channel tell the class, which is the image's number modulo the classes. */
function images(count: number, seed: number): Dataset['train'] {
  const [channels, height, width] = tinyShape;
  const draw = uniform(seed, 'bench');
  return memorySplit(count, [height, width, channels], tinyClasses, (image, row, _, channel) => {
    const label = image % tinyClasses;
    const patch =
      label === 0 ? channel === 0 && row < 3 : label === 1 ? channel === 1 && row >= 3 : channel === 1 && row < 2;
    return Math.round(Math.min(255, Math.max(0, 100 + 30 * normal(draw) + (patch ? 80 : 0))));
  });
}

export function madeImages(): Dataset {
  const [channels, height, width] = tinyShape;
  return {
    name: 'made',
    classes: ['a', 'b', 'c'],
    height,
    width,
    channels,
    mean: [0.4, 0.4],
    std: [0.2, 0.2],
    augmentation: {pad: 1, flip: true},
    // 64 to train on, 33 held out, 30 to test on.
    train: images(97, 1),
    test: images(30, 2),
  };
}

/** The images with three numbers each in place of classes: which patch they show. */
export function madeNumbers(): Dataset {
  const dataset = madeImages();
  const withTargets = (split: Dataset['train']): Dataset['train'] => {
    const targets = new Float32Array(new SharedArrayBuffer(12 * split.labels.length));
    split.labels.forEach((label, i) => (targets[3 * i + label] = 1));
    return {...split, targets};
  };
  return {
    ...dataset,
    classes: [],
    values: ['a', 'b', 'c'],
    train: withTargets(dataset.train),
    test: withTargets(dataset.test),
  };
}

const noOptions = {type: 'object', properties: {}, additionalProperties: false} as const;

/** The built-ins, the network `tiny` and the data set `made`. */
async function tinyRegistry(
  dataset: Dataset = madeImages(),
  more: readonly Definitions[Kind][] = [],
): Promise<Registry> {
  const registry = new Registry(kinds);
  await registry.from('sdq', () => register.call({} as never, {registry} as never));
  registry.add({
    kind: 'model',
    name: 'tiny',
    summary: 'Three layers.',
    optionsSchema: noOptions,
    defaults: {classes: tinyClasses, inputShape: tinyShape},
    build: () => tinyGraph(),
  });
  registry.add({
    kind: 'dataset',
    name: 'made',
    summary: 'Patches in noise.',
    optionsSchema: noOptions,
    sources: [],
    fetch: () => Promise.resolve(),
    verify: () => Promise.resolve([]),
    open: () => Promise.resolve(dataset),
  });
  for (const definition of more) registry.add(definition);
  return registry;
}

type Settings = Readonly<Record<string, unknown>>;
/** Sections of the config, and its lists. */
type Changes = Readonly<Record<string, Settings | readonly string[]>>;

const job: Settings = {
  model: {name: 'tiny'},
  data: {name: 'made', batchSize: 8, validation: 33},
  engine: {name: 'wasm', threads: 1},
  runs: {checkpointSeconds: 0, logEverySteps: 1},
};

const isList = (change: Settings | readonly string[] | undefined): change is readonly string[] => Array.isArray(change);

/** The job with other settings, whole sections merged one level deep. */
async function tinySettings(
  changes: Changes,
  dataset?: Dataset,
  definitions?: readonly Definitions[Kind][],
): Promise<{readonly config: JobConfig; readonly registry: Registry}> {
  const registry = await tinyRegistry(dataset, definitions);
  const sections = Object.keys({...job, ...changes});
  const values = Object.fromEntries(
    sections.map((name) => {
      const change = changes[name];
      return [name, isList(change) ? change : {...(job[name] as Settings), ...change}];
    }),
  );
  const stored = {name: 'the test', base: import.meta.dirname, values};
  const {config} = await loadStoredConfig(stored, {
    cwd: import.meta.dirname,
    env: {},
    set: [],
    require: ['model', 'data'],
    loadRegistry: () => Promise.resolve(registry),
  });
  return {config: config as JobConfig, registry};
}

export interface TinyRun {
  readonly context: PhaseContext;
  readonly session: Session;
  readonly run: Run;
  /** What the reporter was told. */
  readonly lines: readonly string[];
  /** Data of the journal's metric rows, in order. */
  metrics(): Readonly<Record<string, number>>[];
  close(): Promise<void>;
}

export interface TinyOptions {
  /** Folder of the runs. */
  readonly root: string;
  readonly changes?: Changes;
  readonly dataset?: Dataset;
  /** Beside the built-ins, `tiny` and `made`. */
  readonly definitions?: readonly Definitions[Kind][];
  /** Stops the phase after so many steps from now, as SIGTERM does. */
  readonly stopAfter?: number;
  /** Continues this run. */
  readonly resume?: string;
}

/** A run with its session, as `withRun` gives it to a phase. */
export async function tinyRun({
  root,
  changes = {},
  dataset,
  definitions,
  stopAfter,
  resume,
}: TinyOptions): Promise<TinyRun> {
  const {config, registry} = await tinySettings(changes, dataset, definitions);
  const lines: string[] = [];
  const stop: StopSignal = listenForStop(() => undefined);
  let steps = 0;
  const session = await openSession(config, registry, {
    line: (text) => lines.push(text),
    update(label) {
      if (!label.startsWith('evaluating') && (steps += 1) === stopAfter) stop.request('the test');
    },
  });
  const notice = (text: string): void => void lines.push(text);
  const run =
    resume === undefined
      ? createRun(
          root,
          {id: undefined, command: 'run', config, seed: config.seed, versions: {sdq: '0'}},
          new Date(),
          notice,
        )
      : resumeRun(root, resume, 'run', new Date(), notice);
  return {
    context: {session, run, stop, stepOffset: 0},
    session,
    run,
    lines,
    metrics: () =>
      [...readJournal(path.join(run.directory, 'events.jsonl'))].flatMap(({kind, data}) =>
        kind === 'metric' ? [data as Record<string, number>] : [],
      ),
    async close() {
      stop.dispose();
      if (run.record().status === 'running') run.end(stop.received() === undefined ? 'finished' : 'interrupted', 0);
      await session.close();
    },
  };
}
