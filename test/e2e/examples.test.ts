/** The sweeps and CI workflows of examples/, and the metrics that docs/metrics.md names, against the built command. */
import {mkdtempSync, readdirSync, readFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import {parse} from 'yaml';

import {readJournal} from '../../src/runs/journal.ts';
import {classification} from '../../src/plugins/tasks/classification.ts';
import {figureNames} from '../../src/sweeps/metric-names.ts';
import {flatten} from '../../src/tracking/flatten.ts';
import {writeSmallJob} from '../helpers/failures.ts';
import {root} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const base = temporaryFolder();
const sweeps = path.join(root, 'examples/sweep');

test.each(readdirSync(sweeps).filter((name) => name.endsWith('.yaml') && !name.startsWith('sdq.')))(
  'examples/sweep/%s is valid',
  async (name) => {
    expect(await sdq(['sweep', 'validate', name], {cwd: sweeps})).toMatchObject({exitCode: 0, stderr: ''});
  },
);

test.each([
  ['slurm', 'random.yaml', 'slurm.sh'],
  ['kubernetes', 'random.yaml', 'kubernetes.yaml'],
  ['ray', 'bayes-hyperband.yaml', 'ray_tune.py'],
  ['optuna', 'bayes-hyperband.yaml', 'optuna_worker.py'],
])('examples/scale-out has what `sweep export --to %s` writes', async (to, sweep, name) => {
  const output = path.join(base, name);
  const flags = ['--to', to, '--folder', '/shared/trials', '--job', '/shared/job', '--output', output];
  expect(await sdq(['sweep', 'export', sweep, ...flags], {cwd: sweeps})).toMatchObject({exitCode: 0, stderr: ''});
  expect(readFileSync(path.join(root, 'examples/scale-out', name), 'utf8')).toBe(readFileSync(output, 'utf8'));
});

/** All texts of a workflow, wherever they stand. */
function texts(node: unknown): string[] {
  if (typeof node === 'string') return [node];
  return typeof node === 'object' && node !== null ? Object.values(node).flatMap(texts) : [];
}

describe.each(['github-actions.yml', 'gitlab-ci.yml'])('examples/ci/%s', (name) => {
  const lines = texts(parse(readFileSync(path.join(root, 'examples/ci', name), 'utf8'))).flatMap((text) =>
    text.split('\n'),
  );
  const calls = lines.flatMap((line) => /(?:^|\|\| )\s*npx sdq (.*)$/.exec(line)?.slice(1) ?? []);

  test('calls commands of sdq with arguments that they take', async () => {
    expect(calls).toContain('sweep validate sweep.yaml');
    expect(calls.length).toBeGreaterThanOrEqual(5);
    for (const call of calls) {
      const words = call.split(' ').map((word) => word.replaceAll('"', ''));
      const help = await sdq([...words, '--help'], {cwd: root});
      expect({call, exitCode: help.exitCode}).toEqual({call, exitCode: 0});
      const usage = /\$ sdq ([^[]*)/.exec(help.stdout)![1]!.trim().split(/\s+/);
      const names = usage.filter((word) => word === word.toLowerCase());
      expect(words.slice(0, names.length)).toEqual(names);
      for (const flag of words.filter((word) => word.startsWith('--'))) expect(help.stdout).toContain(flag);
    }
  }, 120_000);

  test('starts a sweep agent', () => {
    expect(lines.some((line) => line.trim() === 'wandb agent --forward-signals --count "$TRIALS" "$SWEEP"')).toBe(true);
  });
});

test('a run logs the metrics that docs/metrics.md names, and no others', async () => {
  const {isLogged, metrics, optionalMetrics, summaries} = figureNames(classification);
  const cwd = mkdtempSync(path.join(base, 'metrics-'));
  writeSmallJob(cwd);
  // From the highest candidates a search takes more than an epoch.
  const settings = ['search.target.meanWeightBits=6', 'search.start=highest'].flatMap((setting) => ['--set', setting]);
  const {exitCode} = await sdq(['run', '--json', ...settings], {cwd});
  expect(exitCode).toBe(0);
  const [run] = readdirSync(path.join(cwd, '.sdq/runs'));
  const logged = new Set<string>();
  for (const {kind, data} of readJournal(path.join(cwd, '.sdq/runs', run!, 'events.jsonl'))) {
    if (kind === 'metric') for (const name of Object.keys(data)) logged.add(name.replace(/^dbp\/.*\//, 'dbp/LAYER/'));
    if (kind !== 'summary') continue;
    for (const [name, value] of flatten(data, '/')) if (typeof value === 'number') logged.add(name);
  }
  expect([...logged].filter((name) => !isLogged(name))).toEqual([]);
  expect(metrics.filter((name) => !logged.has(name))).toEqual([]);
  expect(summaries.filter((name) => !logged.has(name))).toEqual([]);

  const document = readFileSync(path.join(root, 'docs/metrics.md'), 'utf8');
  const [, phases, search] = document.split(/^## Metrics of the (?:phases|search)$/m);
  const rows = `${phases!}${search!.split(/^## /m)[0]!}`.matchAll(/^\| (`[^|]*) \|/gm);
  const documented = [...rows].flatMap(([, cell]) => {
    const names = [...cell!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);
    return names
      .map((name) => (name.startsWith('/') ? `${path.posix.dirname(names[0]!)}${name}` : name))
      .flatMap((name) =>
        name.startsWith('PHASE/')
          ? ['pretrain', 'search', 'train'].map((phase) => name.replace('PHASE', phase))
          : [name],
      );
  });
  expect(documented.toSorted()).toEqual([...metrics, ...optionalMetrics].toSorted());
}, 120_000);
