/** The commands that list, tag, watch and delete runs, on runs that are made without training. */
import {existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';

import {findRun} from '../../../src/runs/find-run.ts';
import {createRun, type Run} from '../../../src/runs/run-directory.ts';
import {bytesOf} from '../../../src/runs/remove-run.ts';
import {resultProblems} from '../../helpers/result-schemas.ts';
import {sdq} from '../../helpers/sdq.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

const base = temporaryFolder();
const newFolder = (): string => mkdtempSync(path.join(base, 'runs-'));
const rootOf = (cwd: string): string => path.join(cwd, '.sdq/runs');

/** A run that began at this second and is still running. */
function begin(cwd: string, second: number, command = 'run', settings: object = {}): Run {
  const config = {model: {name: 'cnn-small'}, data: {name: 'mnist'}, ...settings};
  const spec = {command, config, seed: 0, versions: {sdq: '0'}};
  return createRun(rootOf(cwd), spec, new Date(Date.UTC(2026, 0, 2, 3, 4, second)), () => undefined);
}

/** Ends a run with an accuracy of phase 2, or as failed. */
function end(run: Run, accuracy?: number): string {
  if (accuracy === undefined) run.end('failed', 5, {code: 'target-missed', message: 'The target was missed.'});
  else {
    const train = {accuracy: {best: accuracy, last: accuracy, test: accuracy}, meanWeightBits: 8 * accuracy};
    run.update({results: {train}});
    run.end('finished', 0);
  }
  return run.id;
}

async function json(cwd: string, ...args: string[]): Promise<Record<string, unknown>> {
  const {exitCode, stderr, stdout} = await sdq([...args, '--json'], {cwd});
  expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
  expect(resultProblems(args.slice(0, 2).join('-'), stdout)).toEqual([]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

async function listed(cwd: string, ...args: string[]): Promise<string[]> {
  const {runs} = (await json(cwd, 'runs', 'list', ...args)) as {runs: {id: string}[]};
  return runs.map(({id}) => id);
}

test('runs list: filters, order, the newest few, tags', async () => {
  const cwd = newFolder();
  const [a, b, c, d] = [
    end(begin(cwd, 1), 0.9),
    end(begin(cwd, 2, 'pretrain')),
    end(begin(cwd, 3, 'train', {model: {name: 'vit'}}), 0.5),
    end(begin(cwd, 4), 0.7),
  ];
  expect(await listed(cwd)).toEqual([a, b, c, d]);
  expect(await listed(cwd, '--last', '2')).toEqual([c, d]);
  expect(await listed(cwd, '--sort', 'metric')).toEqual([c, d, a, b]);
  expect(await listed(cwd, '--sort', 'metric', '--reverse')).toEqual([a, d, c, b]);
  expect(await listed(cwd, '--sort', 'bits', '--last', '2')).toEqual([c, d]);
  expect(await listed(cwd, '--filter', 'status=finished', '--filter', 'model=cnn-small')).toEqual([a, d]);
  expect(await listed(cwd, '--filter', 'command=train', '--filter', 'command=pretrain')).toEqual([b, c]);
  await json(cwd, 'runs', 'tag', c, 'best');
  expect(await listed(cwd, '--filter', 'tag=best')).toEqual([c]);
  const {stdout} = await sdq(['runs', 'list'], {cwd});
  expect(stdout).toMatch(/^run +command +status .* tags$/m);
  expect(stdout).toMatch(new RegExp(`^${c} +train +finished +vit .* 50\\.00 +best$`, 'm'));
  const {exitCode, stderr} = await sdq(['runs', 'list', '--filter', 'stat=failed'], {cwd});
  expect({exitCode, stderr}).toMatchObject({exitCode: 2, stderr: expect.stringContaining('Did you mean "status"?')});
});

test('runs tag: a tag names its run; a word that is no file name is refused', async () => {
  const cwd = newFolder();
  const [a, b] = [end(begin(cwd, 1), 0.9), begin(cwd, 2)];
  expect(await json(cwd, 'runs', 'tag', a, 'best', 'table-2')).toEqual({id: a, tags: ['best', 'table-2']});
  expect(findRun(rootOf(cwd), 'best').record.id).toBe(a);
  // A run that another process writes is tagged too.
  expect(await json(cwd, 'runs', 'tag', 'latest', 'live')).toEqual({id: b.id, tags: ['live']});
  expect(await json(cwd, 'runs', 'tag', 'best', '--remove', 'best')).toEqual({id: a, tags: ['table-2']});
  expect(await json(cwd, 'runs', 'show', a)).toMatchObject({tags: ['table-2'], next: null});
  for (const word of ['../x', '.hidden', 'a b', 'x'.repeat(65)]) {
    expect(await sdq(['runs', 'tag', a, word], {cwd})).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('is not a tag'),
    });
  }
  end(b);
});

test('runs show says why a run failed and what goes on from it', async () => {
  const cwd = newFolder();
  const id = end(begin(cwd, 1));
  expect(await json(cwd, 'runs', 'show')).toMatchObject({next: `sdq run --from .sdq/runs/${id}`});
  const {stdout} = await sdq(['runs', 'show'], {cwd});
  expect(stdout).toMatch(/^status +failed \(exit code 5\)\nwhy +The target was missed\.\nnext +sdq run --from /m);
});

test('runs delete asks nobody in a script, and never deletes a live run', async () => {
  const cwd = newFolder();
  const [a, live] = [begin(cwd, 1), begin(cwd, 2)];
  end(a, 0.5);
  expect(await sdq(['runs', 'delete', a.id], {cwd})).toMatchObject({
    exitCode: 2,
    stderr: expect.stringContaining(`→ sdq runs delete ${a.id} --yes`),
  });
  expect(await json(cwd, 'runs', 'delete', a.id, '--dry-run')).toMatchObject({
    dryRun: true,
    runs: [{id: a.id, bytes: bytesOf(a.directory)}],
  });
  expect(bytesOf(a.directory)).toBeGreaterThan(0);
  // One of several that cannot go: none goes.
  for (const force of [[], ['--force']]) {
    const {exitCode, stderr} = await sdq(['runs', 'delete', a.id, live.id, '--yes', ...force], {cwd});
    expect({exitCode, stderr}).toMatchObject({exitCode: 6, stderr: expect.stringContaining('a process works on it')});
  }
  expect(await listed(cwd)).toEqual([a.id, live.id]);
  await json(cwd, 'runs', 'delete', a.id, a.directory, '--yes');
  expect(readdirSync(rootOf(cwd))).toEqual([live.id]);
  expect(await sdq(['runs', 'delete', a.id, '--yes'], {cwd})).toMatchObject({exitCode: 3});
  end(live);
});

test('a deletion that was killed leaves no run, and its rest goes with the next one', async () => {
  const cwd = newFolder();
  const [a, b] = [begin(cwd, 1), begin(cwd, 2)];
  end(a);
  end(b);
  renameSync(a.directory, path.join(rootOf(cwd), `.deleted-${a.id}`));
  expect(await listed(cwd)).toEqual([b.id]);
  await json(cwd, 'runs', 'delete', 'latest', '--yes');
  expect(readdirSync(rootOf(cwd))).toEqual([]);
});

test('a run with events that a tracker lacks stays, but for --force', async () => {
  const cwd = newFolder();
  const run = begin(cwd, 1, 'run', {tracking: [{name: 'mlflow'}]});
  run.journal.log('metric', {'search/loss': 1}, 1);
  end(run);
  expect(await sdq(['runs', 'delete', run.id, '--yes'], {cwd})).toMatchObject({
    exitCode: 6,
    stderr: expect.stringMatching(/tracker mlflow lacks 2 of its events.*→ Send them: sdq track sync/s),
  });
  expect(await json(cwd, 'runs', 'prune', '--yes')).toMatchObject({
    runs: [],
    kept: [{id: run.id, reason: 'tracker mlflow lacks 2 of its events'}],
  });
  await json(cwd, 'runs', 'delete', run.id, '--force', '--yes');
  expect(existsSync(run.directory)).toBe(false);
});

test('runs prune takes what failed, by age and number, and leaves what is tagged', async () => {
  const cwd = newFolder();
  const runs = [1, 2, 3, 4].map((second) => begin(cwd, second));
  const [tagged, a, b, done] = runs.map((run, i) => end(run, i === 3 ? 0.5 : undefined));
  await json(cwd, 'runs', 'tag', tagged!, 'keep');
  const pruned = async (...args: string[]): Promise<unknown> => {
    const {runs, kept} = (await json(cwd, 'runs', 'prune', ...args)) as Record<'runs' | 'kept', {id: string}[]>;
    return {runs: runs.map(({id}) => id), kept: kept.map(({id}) => id)};
  };
  expect(await pruned('--dry-run')).toEqual({runs: [a, b], kept: [tagged]});
  expect(await pruned('--dry-run', '--keep-last', '1')).toEqual({runs: [a], kept: [tagged, b]});
  // They began in January 2026.
  expect(await pruned('--dry-run', '--older-than', '999999w')).toEqual({runs: [], kept: []});
  expect(await pruned('--yes', '--older-than', '1h')).toEqual({runs: [a, b], kept: [tagged]});
  expect(await pruned('--yes', '--status', 'finished')).toEqual({runs: [done], kept: []});
  expect(await listed(cwd)).toEqual([tagged]);
  expect(await sdq(['runs', 'prune', '--older-than', '3'], {cwd})).toMatchObject({exitCode: 2});
});

test('runs watch follows the journal of a live run to its end', async () => {
  const cwd = newFolder();
  const run = begin(cwd, 1, 'run', {search: {epochs: 2}});
  const metrics = (step: number, epoch: number, values: object): void =>
    run.journal.log('metric', {'search/epoch': epoch, ...values}, step);
  metrics(3, 1, {'search/loss': 2, 'search/imagesPerSecond': 99.6});
  metrics(4, 1, {'search/epochLoss': 1.5});
  const watched = sdq(['runs', 'watch', '--exit-status'], {cwd});
  setTimeout(() => {
    metrics(8, 2, {'search/epochLoss': 0.25, 'search/validationAccuracy': 0.5});
    end(run);
  }, 50);
  const {exitCode, stderr, stdout} = await watched;
  expect(stderr.split('\n').slice(1)).toEqual([
    'search, epoch 1/2: loss 1.500',
    'search, epoch 2/2: loss 0.250, validation 50.00 %',
    '',
  ]);
  expect({exitCode, stdout}).toEqual({exitCode: 5, stdout: `${run.id}: failed: The target was missed.\n`});
  expect(await json(cwd, 'runs', 'watch')).toMatchObject({id: run.id, status: 'failed', exitCode: 5});
});

test('runs watch tells a process that died without a word', async () => {
  const cwd = newFolder();
  const run = begin(cwd, 1);
  const copy = path.join(rootOf(cwd), '20260102-030405-run-ffff');
  mkdirSync(copy);
  // Its lock is left; its pid is nobody's.
  writeFileSync(path.join(copy, 'run.json'), JSON.stringify({...run.record(), id: path.basename(copy)}));
  writeFileSync(path.join(copy, 'lock'), JSON.stringify({pid: 2 ** 22 + 1, started: '1'}));
  expect(await json(cwd, 'runs', 'watch', copy)).toMatchObject({status: 'interrupted', exitCode: null});
  const {exitCode, stdout} = await sdq(['runs', 'watch', copy, '--exit-status'], {cwd});
  expect({exitCode, stdout}).toMatchObject({exitCode: 1, stdout: expect.stringContaining('Next: sdq run --resume')});
  end(run);
});
