/** What W&B draws of a search and a training that follows it: strategy and weights → checkpoint → exported network. */
import {execFileSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import path from 'node:path';

import {afterAll, beforeAll, expect, test} from '@jest/globals';

import {readJournal} from '../../src/runs/journal.ts';
import {allRuns} from '../../src/runs/find-run.ts';
import {smallJob, writeSmallJob} from '../helpers/failures.ts';
import {fakeWandb} from '../helpers/fake-wandb.ts';
import {faultyServer} from '../helpers/faulty-server.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const cwd = temporaryFolder();
const service = fakeWandb(() => server.url());
const server = faultyServer((request) => service.handle(request));
beforeAll(() => server.start());
afterAll(() => server.stop());

(thorough ? test : test.skip)(
  'runs use what other runs made, also from a copy by --output (in the slow suite)',
  async () => {
    writeSmallJob(cwd);
    const tracking = [
      {name: 'wandb', project: 'p', artifacts: ['strategy', 'checkpoint', 'model'], gitDiff: true, saveCode: true},
    ];
    const search = {method: 'uniform', target: {meanWeightBits: 4}, epochs: 1};
    writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify({...smallJob, search, tracking}));
    const git = (...args: string[]): unknown => execFileSync('git', args, {cwd});
    git('init', '-q');
    writeFileSync(path.join(cwd, 'notes.txt'), 'before\n');
    git('add', 'notes.txt');
    git('-c', 'user.name=a', '-c', 'user.email=a@b.c', 'commit', '-qm', 'first');
    writeFileSync(path.join(cwd, 'notes.txt'), 'after\n');
    const env = {WANDB_API_KEY: 'f'.repeat(40), WANDB_BASE_URL: server.url(), WANDB_MODE: 'online'};
    const step = async (...args: string[]): Promise<string> => {
      const {exitCode, stderr, stdout} = await sdq([...args, '--tracker-strict', '--json'], {cwd, env});
      expect({exitCode, stderr}).toEqual({exitCode: 0, stderr: ''});
      return (JSON.parse(stdout) as {runId: string}).runId;
    };
    const pretrain = await step('pretrain', '--output', 'full.safetensors');
    const searched = await step('search', '--set', 'model.weights=full.safetensors', '--output', 'bits.json');
    const weights = path.join('.sdq/runs', searched, 'searched.safetensors');
    const trained = await step('train', '--strategy', 'bits.json', '--checkpoint', weights);
    const id = new Map(
      [...service.runs.values()].map(({path: place, config}) => [
        place.split('/').at(-1),
        (config['sdq']!.value as {run: string}).run,
      ]),
    );
    const edges = service.artifacts.map(({input, users}) => [
      id.get(input.runName),
      input.artifactCollectionName.replace(/^run-[^-]*-/, ''),
      [...users].map((user) => id.get(user)),
    ]);
    expect(edges).toEqual([
      [pretrain, 'full-precision.safetensors', [searched]],
      [searched, 'strategy.json', [trained]],
      [searched, 'searched.safetensors', [trained]],
      [trained, 'strategy.json', []],
      [trained, 'quantized.safetensors', [trained]],
      [trained, 'model.onnx', []],
    ]);

    expect(service.files.get('diff.patch')?.toString()).toContain('-before\n+after');
    expect(JSON.parse(String(service.files.get('code/sdq.config.json')))).toMatchObject({search});

    // `sdq run` has its phases in one run: the strategy that it found, and its weights, are its inputs too.
    const whole = await step('run');
    const {directory} = allRuns(path.join(cwd, '.sdq/runs')).at(-1)!;
    const inputs = [...readJournal(path.join(directory, 'events.jsonl'))].filter(({data}) => data['type'] === 'input');
    expect([path.basename(directory), inputs.map(({data}) => data['path'])]).toEqual([
      whole,
      ['strategy.json', 'quantized.safetensors'],
    ]);
  },
  240_000,
);
