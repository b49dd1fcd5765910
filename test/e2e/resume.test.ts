import {createHash} from 'node:crypto';
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';

import {beforeAll, describe, expect, test} from '@jest/globals';

import {parseSafetensors} from '../../src/graph/safetensors.ts';
import {uniform} from '../../src/random.ts';
import {readJournal} from '../../src/runs/journal.ts';
import {listRuns} from '../../src/runs/find-run.ts';
import {journalLines, journalText} from '../helpers/run-journal.ts';
import {sdq, startSdq, type Started} from '../helpers/sdq.ts';
import {writeSmallImages} from '../helpers/small-images.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const folder = temporaryFolder();

/** A whole run in some seconds: every phase, activations quantized, a checkpoint after every step. */
const config = {
  model: {name: 'cnn-small'},
  data: {name: 'mnist', directory: './images', batchSize: 16, validation: 64},
  pretrain: {epochs: 2},
  search: {target: {meanWeightBits: 4.5}, epochs: 4, activationBits: 4, dualRate: 10, dbp: {learningRate: 1}},
  train: {epochs: 2, binRegularization: {rampEpochs: 1}},
  // Two threads wait for one another for long on a machine that does other work.
  engine: {threads: thorough ? 2 : 1},
  runs: {checkpointSeconds: 0, logEverySteps: 3},
  seed: 5,
};

const digest = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

interface Row {
  readonly kind: string;
  readonly step: number | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

/**
 * The journal without what is measured in time and without the marks of each try's end. Files name the run they come
 * from, so their digests are those of other bytes in another run: here, whether they are those of the files.
 */
function rows(directory: string): Row[] {
  return [...readJournal(path.join(directory, 'events.jsonl'))]
    .filter(({kind}) => kind !== 'end')
    .map(({kind, step, data}) => ({
      kind,
      step,
      data: Object.fromEntries(
        Object.entries(data)
          .filter(([name]) => !/imagesPerSecond|dataWaitFraction|^(pretrain|search|train)$/.test(name))
          .map(([name, value]) => [
            name,
            name === 'sha256' ? value === digest(path.join(directory, data['path'] as string)) : value,
          ]),
      ),
    }));
}

const files = ['full-precision', 'searched', 'quantized'];

/** Tensors of the files that the run leaves, by file and name, as bytes. */
function tensors(directory: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of files) {
    const file = path.join(directory, `${name}.safetensors`);
    for (const [tensor, {data}] of parseSafetensors(readFileSync(file), file).tensors) {
      found[`${name}/${tensor}`] = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');
    }
  }
  return found;
}

function bits(directory: string): unknown {
  return (JSON.parse(readFileSync(path.join(directory, 'strategy.json'), 'utf8')) as {layers: unknown}).layers;
}

async function freshFolder(name: string, testImages = 64): Promise<string> {
  const cwd = path.join(folder, name);
  writeSmallImages(path.join(cwd, 'images'), {train: 384, test: testImages});
  writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify(config));
  return Promise.resolve(cwd);
}

const runsOf = (cwd: string): string => path.join(cwd, '.sdq/runs');

/** Waits until the journal of the folder's run has the text. */
async function journalHas(text: string, cwd: string, {child, outcome}: Started): Promise<void> {
  while (!journalText(runsOf(cwd)).includes(text)) {
    if (child.exitCode !== null) throw new Error((await outcome).stderr);
    await setTimeout(10);
  }
}

describe('a run that is interrupted', () => {
  let reference = '';
  /** Of the whole run on this machine, in milliseconds. */
  let wholeRun = 0;
  beforeAll(async () => {
    const cwd = await freshFolder('reference');
    const start = performance.now();
    const {exitCode, stderr} = await sdq(['run', '--json'], {cwd});
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
    wholeRun = performance.now() - start;
    reference = path.join(runsOf(cwd), listRuns(runsOf(cwd))[0]!.id);
  }, 300_000);

  const mostKills = thorough ? 20 : 5;
  test(`by kill -9 at ${mostKills} random moments ends with the same bytes, and no journal line lost or doubled`, async () => {
    const cwd = await freshFolder('killed');
    const draw = uniform(Number(process.env['TEST_SEED'] ?? 1), 'bench');
    let kills = 0;
    const lines = (): number => journalLines(runsOf(cwd));
    const all = rows(reference).length;
    const isFinished = (): boolean => listRuns(runsOf(cwd))[0]?.status === 'finished';
    while (kills < mostKills && !isFinished()) {
      const started = listRuns(runsOf(cwd)).length > 0;
      // Some rows further, and not some seconds: on a machine that is less busy by now the run would be over before.
      const target = lines() + Math.floor(draw() * ((2.5 * all) / mostKills));
      const {child, outcome} = startSdq(started ? ['run', '--resume', 'latest'] : ['run'], {cwd});
      const isAtTarget = lines() >= target;
      while (lines() < target && child.exitCode === null) await setTimeout(5);
      await Promise.race([outcome, setTimeout((draw() * wholeRun) / (isAtTarget ? 3 : 20))]);
      child.kill('SIGKILL');
      const {exitCode, stderr} = await outcome;
      if (exitCode === null) kills += 1;
      else expect({exitCode, stderr}).toMatchObject({exitCode: 0});
    }
    if (!isFinished()) {
      const {exitCode, stderr} = await sdq(['run', '--resume', 'latest', '--json'], {cwd});
      expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
    }
    expect(kills).toBeGreaterThanOrEqual(thorough ? 5 : 2);
    const runs = listRuns(runsOf(cwd));
    expect(runs.map(({status}) => status)).toEqual(['finished']);
    const directory = path.join(runsOf(cwd), runs[0]!.id);
    expect(tensors(directory)).toEqual(tensors(reference));
    expect(bits(directory)).toEqual(bits(reference));
    expect(rows(directory)).toEqual(rows(reference));
    expect([...readJournal(path.join(directory, 'events.jsonl'))].map(({seq}) => seq)).toEqual(
      Array.from({length: rows(directory).length + 1}, (_, i) => i + 1),
    );
  }, 300_000);

  test('by SIGINT saves its state, exits with 130, names the command that goes on, and that one ends the same and writes --output', async () => {
    const cwd = await freshFolder('stopped');
    const started = startSdq(['run', '--output', 'shipped.safetensors'], {cwd});
    await journalHas('search/loss', cwd, started);
    started.child.kill('SIGINT');
    const {exitCode, stderr} = await started.outcome;
    const [run] = listRuns(runsOf(cwd));
    expect({exitCode, status: run!.status, code: run!.exitCode}).toEqual({
      exitCode: 130,
      status: 'interrupted',
      code: 130,
    });
    const directory = path.join(runsOf(cwd), run!.id);
    const given = path.relative(cwd, directory);
    expect(stderr).toContain(`sdq run --resume ${given}`);
    const resumed = await sdq(['run', '--resume', given, '--json'], {cwd});
    expect(resumed).toMatchObject({exitCode: 0, stderr: ''});
    expect(tensors(directory)).toEqual(tensors(reference));
    expect(rows(directory)).toEqual(rows(reference));
    const shipped = path.join(cwd, 'shipped.safetensors');
    expect(digest(shipped)).toBe(digest(path.join(directory, 'quantized.safetensors')));
    expect(JSON.parse(resumed.stdout)).toMatchObject({quantized: {checkpoint: shipped}});
  }, 300_000);

  test('by SIGTERM exits with 143 while the engine is still starting', async () => {
    const cwd = await freshFolder('terminated');
    const {child, outcome} = startSdq(['run'], {cwd});
    while (listRuns(runsOf(cwd)).length === 0) await setTimeout(5);
    child.kill('SIGTERM');
    expect((await outcome).exitCode).toBe(143);
  }, 60_000);

  test('by SIGTERM in an evaluation does not wait for its end, and is resumed at that evaluation', async () => {
    const cwd = await freshFolder('evaluating', 8000);
    const started = startSdq(['pretrain', '--set', 'pretrain.epochs=1'], {cwd});
    await journalHas('pretrain/validationAccuracy', cwd, started);
    started.child.kill('SIGTERM');
    const {exitCode, stderr} = await started.outcome;
    expect({exitCode, status: listRuns(runsOf(cwd))[0]!.status}).toEqual({exitCode: 143, status: 'interrupted'});
    expect(stderr).toContain('Stopped by SIGTERM in an evaluation; the state is saved.');
    expect(stderr).toContain('sdq pretrain --resume');
    const resumed = await sdq(['pretrain', '--resume', 'latest', '--json'], {cwd});
    expect(resumed).toMatchObject({exitCode: 0, stderr: ''});
    const {accuracy} = JSON.parse(resumed.stdout) as {accuracy: number};
    expect(accuracy).toBeGreaterThan(0.5);
  }, 120_000);

  test('cannot be resumed while it runs, nor once it is finished, nor with other settings', async () => {
    const cwd = path.dirname(path.dirname(path.dirname(reference)));
    const finished = await sdq(['run', '--resume', 'latest'], {cwd});
    expect(finished.exitCode).toBe(3);
    expect(finished.stderr).toContain('is finished; there is nothing to resume');
    const changed = await sdq(['run', '--resume', 'latest', '--set', 'seed=1'], {cwd});
    expect(changed.exitCode).toBe(2);

    const other = await freshFolder('running');
    const {child, outcome} = startSdq(['run'], {cwd: other});
    while (listRuns(runsOf(other)).length === 0) await setTimeout(20);
    const second = await sdq(['run', '--resume', 'latest'], {cwd: other});
    child.kill('SIGKILL');
    await outcome;
    expect(second.exitCode).toBe(6);
    expect(second.stderr).toContain(`in use by process ${child.pid}`);
  }, 120_000);
});
