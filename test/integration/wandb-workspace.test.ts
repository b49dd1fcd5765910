/**
 * The view of examples/dashboards: made by the package `wandb-workspaces`, with every panel and column filled by a run. Needs
 * `node scripts/python-services.js wandb wandb-workspaces`; skips where they are missing.
 */
import {spawn} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {afterAll, beforeAll, describe, expect, test} from '@jest/globals';

import {isMapping} from '../../src/mapping.ts';
import {fakeWandb, parseLine} from '../helpers/fake-wandb.ts';
import {smallJob, writeSmallJob} from '../helpers/failures.ts';
import {faultyServer} from '../helpers/faulty-server.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const script = path.resolve(import.meta.dirname, '../../examples/dashboards/wandb_workspace.py');
const folder = temporaryFolder();
const service = fakeWandb(() => server.url());
const server = faultyServer((request) => service.handle(request));
beforeAll(() => server.start());
afterAll(() => server.stop());

interface View {
  readonly section: {
    readonly panelBankConfig: {
      readonly sections: readonly {
        readonly name: string;
        readonly panels: readonly {readonly viewType: string; readonly config: Readonly<Record<string, unknown>>}[];
      }[];
    };
    readonly runSets: readonly {readonly runFeed: {readonly columnOrder: readonly string[]}}[];
  };
}

const environment = (): Record<string, string> => ({
  WANDB_API_KEY: 'f'.repeat(40),
  WANDB_BASE_URL: server.url(),
  WANDB_MODE: 'online',
  WANDB_ERROR_REPORTING: 'false',
  HOME: folder,
});

async function python(args: readonly string[]): Promise<string> {
  const child = spawn(pythonProgram('wandb-workspaces'), [script, ...args], {
    cwd: folder,
    env: {...process.env, ...environment()},
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Error(stderr);
  return stdout;
}

/** What a panel draws, each by its own name or pattern. */
function drawnBy({config}: {readonly config: Readonly<Record<string, unknown>>}): readonly (string | RegExp)[] {
  const {
    mediaKeys = [],
    metricRegex,
    metrics = [],
    xAxis,
    yAxis,
  } = config as {
    readonly mediaKeys?: readonly string[];
    readonly metricRegex?: string;
    readonly metrics?: readonly string[];
    readonly xAxis?: string;
    readonly yAxis?: string;
  };
  const axes = [xAxis, yAxis].filter((name) => name !== undefined);
  return [...mediaKeys, ...metrics, ...axes, ...(metricRegex === undefined ? [] : [new RegExp(metricRegex)])];
}

/** `summary:NAME` and `config:KEY.value.REST` are of the run's summary and config, `run:…` is W&B's, all else is of the history. */
function isIn(
  name: string | RegExp,
  run: {
    readonly history: ReadonlySet<string>;
    readonly summary: Readonly<Record<string, unknown>>;
    readonly config: Readonly<Record<string, unknown>>;
  },
): boolean {
  if (typeof name !== 'string') return [...run.history].some((each) => name.test(each));
  if (name.startsWith('run:')) return true;
  if (name.startsWith('summary:')) return typeof run.summary[name.slice('summary:'.length)] === 'number';
  if (!name.startsWith('config:')) return run.history.has(name);
  const keys = name.slice('config:'.length).split('.');
  return (
    typeof keys.reduce<unknown>((value, key) => (isMapping(value) ? value[key] : undefined), run.config) === 'number'
  );
}

(thorough ? describeWith('wandb-workspaces') : describe.skip)('wandb-workspaces (in the slow suite)', () => {
  test('makes a view by one command, whose panels and columns all show something of a run', async () => {
    writeSmallJob(folder);
    const config = {
      ...smallJob,
      seed: 3,
      runs: {...smallJob.runs, logEverySteps: 1},
      search: {
        ...smallJob.search,
        epochs: 4,
        target: {
          hardware: 'bitfusion-edge',
          meanWeightBits: 6.5,
          sizeKiB: 1000,
          bops: 1e12,
          latencyMs: 10,
          energyUj: 1000,
        },
        activationBits: [4, 8],
      },
      tracking: [{name: 'wandb', project: 'p'}],
    };
    writeFileSync(path.join(folder, 'sdq.config.json'), JSON.stringify(config));
    const {exitCode, stderr} = await sdq(['run', '--json', '--tracker-strict'], {cwd: folder, env: environment()});
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
    const [stored] = service.runs.values();
    const run = {
      history: new Set(stored!.history.flatMap((line) => Object.keys(parseLine(line)))),
      summary: parseLine(stored!.summary),
      config: stored!.config,
    };

    const args = ['--entity', 'me', '--project', 'p'];
    const address = await python(args);
    expect(address).toContain('/me/p?nw=');
    expect(service.views).toHaveLength(1);
    const [saved] = service.views;
    expect(saved).toMatchObject({entityName: 'me', projectName: 'p', displayName: 'sdq', type: 'project-view'});
    const {section} = JSON.parse(String(saved!['spec'])) as View;
    const {sections} = section.panelBankConfig;
    expect(sections.map(({name}) => name)).toEqual([
      'Bits of each layer',
      'Accuracy over cost',
      'Targets kept',
      'Training',
    ]);
    const columns = section.runSets[0]!.runFeed.columnOrder;
    const names = [...sections.flatMap(({panels}) => panels.flatMap(drawnBy)), ...columns];
    // Lines have an x axis and at least one metric, points two axes.
    expect(names.length).toBeGreaterThan(40);
    expect(names.filter((name) => !isIn(name, run)).map(String)).toEqual([]);
    for (const {panels} of sections) for (const panel of panels) expect(drawnBy(panel).length).toBeGreaterThan(0);

    // The same without a server.
    const asked = server.requests.length;
    const printed = JSON.parse(await python([...args, '--print'])) as View;
    const configs = (view: View): unknown =>
      view.section.panelBankConfig.sections.map(({name, panels}) => [name, panels.map(({config: shown}) => shown)]);
    expect(configs(printed)).toEqual(configs({section}));
    expect(server.requests.length).toBe(asked);
  }, 240_000);
});
