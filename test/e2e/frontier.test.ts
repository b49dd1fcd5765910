/** A frontier of two methods, by the built command. */
import {existsSync, mkdtempSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';

import {failure, prepareQuantizedJob, smallJob} from '../helpers/failures.ts';
import {resultProblems} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const base = temporaryFolder();

interface Result {
  readonly directory: string;
  readonly picture: string;
  readonly runs: readonly {readonly method: string; readonly target: number; readonly runId: string}[];
  readonly points: readonly {readonly method: string; readonly cost: number; readonly runs: number}[];
}

test('two methods at two targets; more seeds add to it; what is wrong is said before a run', async () => {
  const cwd = mkdtempSync(path.join(base, 'job-'));
  await prepareQuantizedJob(cwd);
  const frontier = async (...args: string[]): Promise<Result> => {
    const {exitCode, stderr, stdout} = await sdq(['frontier', '--targets', '2,2.5', '--json', ...args], {cwd});
    expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
    expect(resultProblems('frontier', stdout)).toEqual([]);
    return JSON.parse(stdout) as Result;
  };
  expect(await failure(['frontier', '--targets', '2'], cwd, 3)).toContain('/model/weights is missing');
  writeFileSync(
    path.join(cwd, 'sdq.config.json'),
    JSON.stringify({...smallJob, model: {name: 'cnn-small', weights: './fp.safetensors'}, search: {target: {}}}),
  );
  for (const [flags, code, message] of [
    [['--targets', '2,x'], 2, '--targets: "x"; expected numbers above 0'],
    [['--targets', '9'], 3, '/search/target/meanWeightBits'],
    [['--targets', '2', '--methods', 'sensitiviti'], 3, 'sensitivity'],
    [['--targets', '2', '--seeds', '-1'], 2, '--seeds'],
    [['--targets', '2', '--methods', 'uniform', '--set', 'search.pareto=3'], 3, '/search/pareto'],
    [['--targets', '2', '--set', 'search.method=uniform'], 2, 'Use --methods.'],
    [['--targets', '2', '--set', 'search={target: {meanWeightBits: 3}}'], 2, 'Use --targets.'],
    [['--targets', '2', '--set', 'seed=3'], 2, 'Use --seeds.'],
  ] as const) {
    expect(await failure(['frontier', ...flags], cwd, code)).toContain(message);
  }
  const first = await frontier('--methods', 'sensitivity,uniform');
  // One bitwidth for all layers is the same at 2 and 2.5.
  expect(first.runs.map(({method, target}) => [method, target])).toEqual([
    ['sensitivity', 2],
    ['sensitivity', 2.5],
    ['uniform', 2],
  ]);
  const svg = readFileSync(first.picture, 'utf8');
  expect(svg.match(/<circle[^>]*><title>/g)).toHaveLength(3);
  expect(svg).toContain('mean weight bits');
  expect(existsSync(path.join(first.directory, 'frontier.json'))).toBe(true);
  const again = await frontier('--methods', 'uniform', '--seeds', '0,1');
  expect(again.directory).toBe(first.directory);
  expect(again.runs.map(({runId}) => runId)).toEqual([first.runs[2]!.runId, expect.any(String)]);
  expect(again.points.map(({method, runs}) => [method, runs])).toEqual([['uniform', 2]]);
  const elsewhere = ['frontier', '--targets', '2', '--directory', first.directory, '--set', 'train.epochs=2'];
  expect(await failure(elsewhere, cwd, 3)).toContain('has a frontier of other settings');
}, 240_000);
