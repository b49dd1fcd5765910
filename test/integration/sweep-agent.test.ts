/** The agent of the real Python package starts `sdq` by its own command construction, and stops it; a server on loopback gets the metric. */
import {spawn} from 'node:child_process';
import {mkdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {afterAll, beforeAll, expect, test} from '@jest/globals';

import {listRuns} from '../../src/runs/find-run.ts';
import {fakeWandb, parseLine} from '../helpers/fake-wandb.ts';
import {smallJob, writeSmallJob} from '../helpers/failures.ts';
import {faultyServer} from '../helpers/faulty-server.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const folder = temporaryFolder();
const service = fakeWandb(() => server.url());
const server = faultyServer((request) => service.handle(request));
beforeAll(() => server.start());
afterAll(() => server.stop());
const bin = path.resolve(import.meta.dirname, '../../bin/run.js');

/** Gives one run to the agent, as the server would, and prints the exit code that the agent sees. */
const script = `
import json, os, sys, time
from wandb.wandb_agent import Agent
given = json.loads(sys.argv[1])
os.makedirs(os.path.join('wandb', 'sweep-' + os.environ['WANDB_SWEEP_ID']), exist_ok=True)
agent = Agent(api=None, queue=None, sweep_id=os.environ['WANDB_SWEEP_ID'])
agent._sweep_command = given['command']
agent._command_run({'run_id': given['run'], 'program': None, 'args': {k: {'value': v} for k, v in given['parameters'].items()}})
if given['stop']:
    while not os.path.exists(given['stop']): time.sleep(0.05)
    agent._command_stop({'run_id': given['run']})
print('CODE', agent._run_processes[given['run']].wait(timeout=60))
`;

/** Gives the agent its run. @returns the exit code that it sees */
async function agent(given: object, cwd: string): Promise<number> {
  const child = spawn(pythonProgram('wandb'), ['-c', script, JSON.stringify(given)], {
    cwd,
    env: {
      ...process.env,
      NODE_ENV: 'production',
      HOME: folder,
      WANDB_SWEEP_ID: 'sweep1',
      WANDB_MODE: 'online',
      WANDB_BASE_URL: server.url(),
      WANDB_API_KEY: 'f'.repeat(40),
      WANDB_DIR: cwd,
      WANDB_ERROR_REPORTING: 'false',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const timer = setTimeout(() => child.kill('SIGKILL'), 80_000);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  if (code !== 0) throw new Error(`python ended with ${String(code)}: ${errors}`);
  return Number(/^CODE (-?\d+)$/m.exec(output)?.[1]);
}

function job(name: string): string {
  const cwd = path.join(folder, name);
  mkdirSync(cwd);
  writeSmallJob(cwd);
  const config = {
    ...smallJob,
    search: {...smallJob.search, target: {meanWeightBits: 6}},
    tracking: [{name: 'wandb'}],
  };
  writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify(config));
  return cwd;
}

const command = ['${env}', process.execPath, bin, 'run', '--sweep-params'];

describeWith('wandb')('the agent of the W&B package', () => {
  test('the parameters arrive from ${args_json_file} and from ${args_json}, and the server gets the metric', async () => {
    const cwd = job('finished');
    for (const [run, placeholder] of [
      ['first', '${args_json_file}'],
      ['second', '${args_json}'],
    ] as const) {
      const given = {run, stop: '', command: [...command, placeholder], parameters: {seed: 7, train: {epochs: 2}}};
      expect(await agent(given, cwd)).toBe(0);
    }
    for (const {config, results} of listRuns(path.join(cwd, '.sdq/runs'))) {
      expect(config).toMatchObject({seed: 7, train: {epochs: 2}});
      expect(results).toHaveProperty('train');
    }
    const [first] = listRuns(path.join(cwd, '.sdq/runs'));
    const {best} = (first!.results['train'] as {accuracy: {best: number}}).accuracy;
    const stored = [...service.runs.values()].find((run) => run.path.endsWith('/first'))!;
    expect(stored.complete).toBe(true);
    expect(parseLine(stored.summary)['train/accuracy/best']).toBe(best);
    expect(parseLine(stored.summary)['train/validationAccuracy']).toEqual(expect.any(Number));
    expect(JSON.stringify(stored.variables)).toContain('sweep1');
  }, 170_000);

  test('a run that the agent stops saves its state and is no failure to the agent', async () => {
    const cwd = job('stopped');
    const stop = path.join(cwd, '.sdq/runs');
    const given = {run: 'r', stop, command: [...command, '${args_json_file}'], parameters: {'train.epochs': 300}};
    expect(await agent(given, cwd)).toBe(-15);
    expect(listRuns(stop)).toMatchObject([{status: 'interrupted', exitCode: 143}]);
  }, 90_000);
});
