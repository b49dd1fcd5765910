/** The steps of action.yml, run as a runner does, on two strategies of which the hardware refuses one. */
import {spawnSync} from 'node:child_process';
import {chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';
import {parse} from 'yaml';

import {root} from '../helpers/result-schemas.ts';
import {bin, sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

interface Step {
  readonly id?: string;
  readonly name: string;
  readonly run: string;
  readonly env: Readonly<Record<string, string>>;
}

const action = parse(readFileSync(path.join(root, 'action.yml'), 'utf8')) as {
  readonly inputs: Readonly<Record<string, {readonly default?: string}>>;
  readonly runs: {readonly steps: readonly Step[]};
};
const cwd = temporaryFolder();
const file = (name: string): string => path.join(cwd, name);

/** Replaces expressions by their values. */
function evaluated(text: string, values: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$\{\{ (.*?) \}\}/g, (_, name: string) => {
    if (!(name in values)) throw new Error(`no value for ${name}`);
    return values[name]!;
  });
}

test('checks, prices, comments, and fails for a refused strategy', async () => {
  for (const [name, bits] of [
    ['good', '8'],
    ['float', '32'],
  ] as const) {
    const settings = ['model.name=cnn-small', 'data.name=mnist', `search.activationBits=${bits}`];
    const set = settings.flatMap((setting) => ['--set', setting]);
    const create = ['strategy', 'create', '--weight-bits', '4', '--output', `strategies/${name}.json`];
    expect(await sdq([...create, ...set], {cwd})).toMatchObject({exitCode: 0});
  }
  mkdirSync(file('bin'));
  const script = (name: string, text: string): void => {
    writeFileSync(file(`bin/${name}`), `#!/bin/sh\n${text}\n`);
    chmodSync(file(`bin/${name}`), 0o755);
  };
  script('sdq', `exec ${process.execPath} ${bin} "$@"`);
  script('gh', `echo "$@" > ${file('gh.txt')}`);
  const values: Record<string, string> = {
    'inputs.strategies': action.inputs['strategies']!.default!,
    'inputs.hardware': 'bitfusion-edge',
    'inputs.token': 'secret',
    'github.action_path': root,
    'github.event.pull_request.number': '7',
  };
  const outputs = file('outputs');
  writeFileSync(outputs, '');
  const codes: Record<string, number | null> = {};
  // The first step installs the package: test/e2e/plugin-types.test.ts packs it.
  for (const {env, name, run} of action.runs.steps.slice(1)) {
    const given = Object.entries(env).map(([key, text]) => [key, evaluated(text, values)]);
    const {status, stderr} = spawnSync('bash', ['-eo', 'pipefail', '-c', run], {
      cwd,
      encoding: 'utf8',
      env: {
        ...process.env,
        NODE_ENV: 'production',
        PATH: `${file('bin')}:${process.env['PATH']}`,
        RUNNER_TEMP: cwd,
        GITHUB_OUTPUT: outputs,
        GITHUB_STEP_SUMMARY: file('summary.md'),
        ...(Object.fromEntries(given) as Record<string, string>),
      },
    });
    expect(stderr).toBe('');
    codes[name] = status;
    for (const line of readFileSync(outputs, 'utf8').split('\n')) {
      const [key, value] = line.split('=');
      if (value !== undefined) values[`steps.report.outputs.${key}`] = value;
    }
  }
  expect(codes).toEqual({'Check and price the strategies': 0, Comment: 0, Result: 4});
  const table = readFileSync(values['steps.report.outputs.table']!, 'utf8');
  expect(table).toMatch(
    /^\| strategies\/good\.json \| bitfusion-edge \| ✓ \| 4\.04 \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$/m,
  );
  expect(table).toMatch(/^\| strategies\/float\.json \| bitfusion-edge \| ✗ \|/m);
  expect(table).toMatch(/^- `strategies\/float\.json` on bitfusion-edge: /m);
  expect(readFileSync(file('summary.md'), 'utf8')).toBe(table);
  expect(readFileSync(file('gh.txt'), 'utf8')).toBe(
    `pr comment 7 --edit-last --create-if-none --body-file ${values['steps.report.outputs.table']}\n`,
  );
  expect(existsSync(file('node_modules'))).toBe(false);
}, 60_000);
