/** The built search under several budgets on a device, with learned inputs and strategies on the way. */
import {readFileSync, readdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';

import {beforeAll, expect, test} from '@jest/globals';

import {uniform} from '../../src/random.ts';
import {readJournal} from '../../src/runs/journal.ts';
import {listRuns} from '../../src/runs/find-run.ts';
import {failure, smallJob, writeSmallJob} from '../helpers/failures.ts';
import {resultProblems} from '../helpers/result-schemas.ts';
import {journalLines} from '../helpers/run-journal.ts';
import {sdq, startSdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const base = temporaryFolder();
const inFolder = (name: string): string => path.join(base, name);
const search = {
  ...smallJob.search,
  epochs: 4,
  target: {hardware: 'bitfusion-edge', latencyMs: 0.0275, sizeKiB: 45},
  activationBits: [4, 8],
  pareto: 3,
};

function freshFolder(name: string): string {
  const cwd = inFolder(name);
  writeSmallJob(cwd);
  const model = {...smallJob.model, weights: path.join(base, 'fp.safetensors')};
  writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify({...smallJob, model, search, seed: 3}));
  return cwd;
}

beforeAll(async () => {
  const cwd = inFolder('pretrain');
  writeSmallJob(cwd);
  expect(await sdq(['pretrain', '--output', '../fp.safetensors', '--quiet'], {cwd})).toMatchObject({exitCode: 0});
}, 120_000);

/** What a search leaves that does not tell the time or the run's id. */
function leftBy(cwd: string): unknown {
  const root = path.join(cwd, '.sdq/runs');
  const directory = path.join(root, listRuns(root)[0]!.id);
  const strategies = readdirSync(directory).filter((name) => /^(strategy|pareto-\d+)\.json$/.test(name));
  const timed = /imagesPerSecond|dataWaitFraction|^search$/;
  return {
    strategies: strategies.map((name) => [
      name,
      (JSON.parse(readFileSync(path.join(directory, name), 'utf8')) as {layers: unknown}).layers,
    ]),
    weights: readFileSync(path.join(directory, 'searched.safetensors')).toString('base64'),
    rows: [...readJournal(path.join(directory, 'events.jsonl'))]
      .filter(({kind}) => kind === 'metric')
      .map(({step, data}) => [step, Object.entries(data).filter(([name]) => !timed.test(name))]),
  };
}

test('two budgets, learned inputs, three strategies on the way: valid for the device, and the same after kill -9', async () => {
  const cwd = freshFolder('whole');
  const whole = await sdq(['search', '--json'], {cwd});
  expect(whole).toMatchObject({exitCode: 0, stderr: ''});
  expect(resultProblems('search', whole.stdout)).toEqual([]);
  const {budgets, hardware, pareto, strategy} = JSON.parse(whole.stdout) as {
    budgets: {name: string; target: number; cost: number}[];
    hardware: string[];
    pareto: unknown[];
    strategy: string;
  };
  expect(hardware).toEqual(['bitfusion-edge']);
  expect(budgets.map(({name}) => name)).toEqual(['sizeKiB', 'latencyMs']);
  for (const {cost, target} of budgets) expect(cost).toBeLessThanOrEqual(target);
  expect(pareto.length).toBeGreaterThan(0);
  expect(JSON.parse(readFileSync(strategy, 'utf8'))).toMatchObject({
    hardware: ['bitfusion-edge'],
    provenance: {target: {sizeKiB: 45, latencyMs: 0.0275}},
  });
  expect(await sdq(['strategy', 'validate', strategy, '--hardware', 'bitfusion-edge'], {cwd})).toMatchObject({
    exitCode: 0,
  });

  const killed = freshFolder('killed');
  const root = path.join(killed, '.sdq/runs');
  const draw = uniform(Number(process.env['TEST_SEED'] ?? 2), 'bench');
  const isFinished = (): boolean => listRuns(root)[0]?.status === 'finished';
  const lines = (): number => journalLines(root);
  const resume = (): string[] => (listRuns(root).length > 0 ? ['search', '--resume', 'latest'] : ['search']);
  let kills = 0;
  while (kills < (thorough ? 5 : 2) && !isFinished()) {
    const before = lines();
    const {child, outcome} = startSdq(resume(), {cwd: killed});
    while (lines() <= before && child.exitCode === null) await setTimeout(20);
    await Promise.race([outcome, setTimeout(400 * draw())]);
    if (child.kill('SIGKILL')) kills += 1;
    await outcome;
  }
  expect(kills).toBeGreaterThanOrEqual(thorough ? 2 : 1);
  if (!isFinished())
    expect(await sdq([...resume(), '--quiet'], {cwd: killed})).toMatchObject({exitCode: 0, stderr: ''});
  expect(leftBy(killed)).toEqual(leftBy(cwd));
}, 240_000);

test.each([
  ['search.target={hardware: bitfusion-edge, latencyMs: 0.001}', 3, 'smallest that the candidates can reach is 0.0'],
  ['search.target={sizeKiB: 5}', 3, '/search/target/sizeKiB is 5; the smallest that the candidates can reach is'],
  ['search.target={bops: 10}', 3, '/search/target/bops is 10; the smallest that the candidates can reach is'],
  ['search.target={hardware: bitfusion-edge, energyUj: 0.001}', 3, '/search/target/energyUj is 0.001; the smallest'],
  ['search.target={meanWeightBits: 1}', 3, '/search/target/meanWeightBits is 1; the smallest'],
  ['search.target={latencyMs: 1}', 3, '/search/target/latencyMs needs the hardware it is about'],
  ['search.target={hardware: finn-zu7ev, latencyMs: 1}', 3, 'on finn-zu7ev the layers run at the same time'],
  ['search.target={hardware: bitfusion-egde}', 3, 'Did you mean "bitfusion-edge"?'],
  ['search.activationBits=32', 4, 'inputs of 32'],
  ['search.activationBits=[8,4]', 3, '/search/activationBits/1 is 4 after 8'],
  ['search.method=uniform', 3, 'which takes no /search/activationBits (a list), no /search/pareto'],
  ['quantizers.weights=dorefa', 4, 'dorefa'],
  ['data.validation=0', 3, '/search/pareto'],
])(
  '%s is refused before anything is trained',
  async (setting, exit, message) => {
    const cwd = inFolder('killed');
    const [key, value] = [setting.slice(0, setting.indexOf('=')), setting.slice(setting.indexOf('=') + 1)];
    // A target replaces the one of the config rather than joining it.
    const own = JSON.parse(readFileSync(path.join(cwd, 'sdq.config.json'), 'utf8')) as {search: {target?: unknown}};
    if (key === 'search.target') delete own.search.target;
    writeFileSync(path.join(cwd, 'other.config.json'), JSON.stringify(own));
    const shown = await failure(['search', '--config', 'other.config.json', '--set', `${key}=${value}`], cwd, exit);
    expect(shown).toContain(message);
    expect(shown).not.toContain('search, epoch');
  },
  60_000,
);
