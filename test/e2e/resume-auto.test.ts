import {writeFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';

import {describe, expect, test} from '@jest/globals';

import {readJournal} from '../../src/runs/journal.ts';
import {listRuns} from '../../src/runs/find-run.ts';
import {journalText} from '../helpers/run-journal.ts';
import {sdq, startSdq} from '../helpers/sdq.ts';
import {writeSmallImages} from '../helpers/small-images.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const folder = temporaryFolder();

const config = {
  model: {name: 'cnn-small'},
  data: {name: 'mnist', directory: './images', batchSize: 16, validation: 64},
  engine: {threads: 1},
  runs: {checkpointSeconds: 0, logEverySteps: 1},
};

const command = ['pretrain', '--resume', 'auto', '--set', 'pretrain.epochs=2', '--preempted-exit', '85'];

const steps = (directory: string): number[] =>
  [...readJournal(path.join(directory, 'events.jsonl'))].flatMap(({step, data}) =>
    step !== undefined && 'pretrain/loss' in data ? [step] : [],
  );

describe('--resume auto', () => {
  const cwd = path.join(folder, 'job');
  const runs = path.join(cwd, '.sdq/runs');
  const params = path.join(cwd, 'params.json');

  async function preempt(signals: readonly NodeJS.Signals[]): Promise<{exitCode: number | null; stderr: string}> {
    const rows = journalText(runs).split('\n').length;
    const {child, outcome} = startSdq([...command, '--sweep-params', params], {cwd, env: {SDQ_AGENT_TOKEN: 'x'}});
    while (journalText(runs).split('\n').length < rows + 3 && child.exitCode === null) await setTimeout(5);
    for (const signal of signals) {
      child.kill(signal);
      // Two of the same that wait together are one.
      await setTimeout(2);
    }
    return outcome;
  }

  test('begins a run, goes on with it after SIGUSR1 and SIGTERM, and begins another when it is finished', async () => {
    writeSmallImages(path.join(cwd, 'images'), {train: 384, test: 64});
    writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify(config));
    writeFileSync(params, JSON.stringify({'pretrain.optimizer': {learningRate: 0.02}, 'data.directory': './images'}));
    const warned = await preempt(['SIGUSR1']);
    expect(warned).toMatchObject({exitCode: 85});
    expect(warned.stderr).toContain('Stopped by SIGUSR1 after step');
    expect(warned.stderr).toContain('Ignored SDQ_AGENT_TOKEN: it sets no key of the config.');
    expect(await preempt(['SIGUSR1', 'SIGTERM'])).toMatchObject({exitCode: 85});
    // A scheduler's to the process, and that of the shell which passes it on.
    expect(await preempt(['SIGTERM', 'SIGTERM', 'SIGTERM'])).toMatchObject({exitCode: 85});
    expect(listRuns(runs).map(({status, resumedAt}) => [status, resumedAt.length])).toEqual([['interrupted', 2]]);

    const other = await sdq([...command, '--sweep-params', '{"seed": 3, "pretrain.epochs": 4}'], {cwd});
    expect(other.exitCode).toBe(3);
    expect(other.stderr).toContain('seed: 3 by --sweep-params, 0 in the run');
    expect(other.stderr).not.toContain('epochs');
    expect(listRuns(runs)[0]?.status).toBe('interrupted');

    expect(await sdq([...command, '--sweep-params', params, '--quiet'], {cwd})).toMatchObject({exitCode: 0});
    const [first] = listRuns(runs);
    expect(first?.status).toBe('finished');
    expect(steps(path.join(runs, first?.id ?? ''))).toEqual(Array.from({length: 40}, (_, i) => i + 1));

    const next = await sdq(['pretrain', '--resume', 'auto', '--epochs', '1', '--json'], {cwd});
    expect(next.exitCode).toBe(0);
    expect(listRuns(runs).map(({status}) => status)).toEqual(['finished', 'finished']);
  }, 120_000);

  test('refuses settings beside a run that is named, and a try of the run to continue', async () => {
    for (const args of [
      ['--resume', 'latest', '--sweep-params', params],
      ['--resume', 'latest', '--epochs', '1'],
      ['--resume', 'auto', '--dry-run'],
    ]) {
      expect((await sdq(['pretrain', ...args], {cwd})).exitCode).toBe(2);
    }
  });
});
