/** The agent of the real Python package starts `sdq` by its own command construction, stops it, and reads the metric. */
import {spawn} from 'node:child_process';
import {mkdirSync, readdirSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';

import {listRuns} from '../../src/runs/run-directory.ts';
import {smallJob, writeSmallJob} from '../helpers/failures.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const folder = temporaryFolder();
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

/** Reads a log with the package's own reader: the run's sweep and the summary, by name. */
const reader = `
import json, sys
from wandb.sdk.internal.datastore import DataStore
from wandb.proto import wandb_internal_pb2 as pb
store = DataStore(); store.open_for_scan(sys.argv[1])
summary, sweep = {}, None
while True:
    data = store.scan_data()
    if data is None: break
    record = pb.Record(); record.ParseFromString(data)
    if record.WhichOneof('record_type') == 'run': sweep = record.run.sweep_id
    for item in record.summary.update: summary[item.key or '/'.join(item.nested_key)] = json.loads(item.value_json)
print(json.dumps({'sweep': sweep, 'summary': summary}))
`;

async function python(code: string, args: readonly string[], cwd: string): Promise<string> {
  const child = spawn(pythonProgram('wandb'), ['-c', code, ...args], {
    cwd,
    env: {
      ...process.env,
      NODE_ENV: 'production',
      HOME: folder,
      WANDB_SWEEP_ID: 'sweep1',
      WANDB_MODE: 'offline',
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
  const code_ = await new Promise((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  if (code_ !== 0) throw new Error(`python ended with ${String(code_)}: ${errors}`);
  return output;
}

function job(name: string): string {
  const cwd = path.join(folder, name);
  mkdirSync(cwd);
  writeSmallJob(cwd);
  const config = {
    ...smallJob,
    search: {...smallJob.search, target: {meanWeightBits: 5.5}},
    tracking: [{name: 'wandb'}],
  };
  writeFileSync(path.join(cwd, 'sdq.config.json'), JSON.stringify(config));
  return cwd;
}

const command = ['${env}', process.execPath, bin, 'run', '--sweep-params'];

describeWith('wandb')('the agent of the W&B package', () => {
  test('the parameters arrive from ${args_json_file} and from ${args_json}, and the metric is in the log that W&B reads', async () => {
    const cwd = job('finished');
    for (const [run, placeholder] of [
      ['first', '${args_json_file}'],
      ['second', '${args_json}'],
    ] as const) {
      const given = {run, stop: '', command: [...command, placeholder], parameters: {seed: 7, train: {epochs: 2}}};
      expect(await python(script, [JSON.stringify(given)], cwd)).toContain('CODE 0');
    }
    for (const {config, results} of listRuns(path.join(cwd, '.sdq/runs'))) {
      expect(config).toMatchObject({seed: 7, train: {epochs: 2}});
      expect(results).toHaveProperty('train');
    }
    const [log] = readdirSync(cwd, {recursive: true, encoding: 'utf8'}).filter((file) =>
      file.endsWith('run-first.wandb'),
    );
    const read = JSON.parse(await python(reader, [log!], cwd)) as {sweep: string; summary: Record<string, unknown>};
    const [first] = listRuns(path.join(cwd, '.sdq/runs'));
    const {best} = (first!.results['train'] as {accuracy: {best: number}}).accuracy;
    expect(read.sweep).toBe('sweep1');
    expect(read.summary['train/accuracy/best']).toBe(best);
    expect(read.summary['train/validationAccuracy']).toEqual(expect.any(Number));
  }, 170_000);

  test('a run that the agent stops saves its state and is no failure to the agent', async () => {
    const cwd = job('stopped');
    const stop = path.join(cwd, '.sdq/runs');
    const given = {run: 'r', stop, command: [...command, '${args_json_file}'], parameters: {'train.epochs': 300}};
    const code = Number(/CODE (-?\d+)/.exec(await python(script, [JSON.stringify(given)], cwd))?.[1]);
    expect(code).toBe(-15);
    expect(listRuns(stop)).toMatchObject([{status: 'interrupted', exitCode: 143}]);
  }, 90_000);
});
