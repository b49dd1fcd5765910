/** `report.html` of real runs: what it shows, and of which run. */
import {existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, expect, test} from '@jest/globals';

import {failure, writeSmallJob} from '../helpers/failures.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const cwd = path.join(temporaryFolder(), 'job');
let folder: string;
let result: {fullPrecision: {accuracy: number}; quantized: {accuracy: {test: number}}};

beforeAll(async () => {
  writeSmallJob(cwd);
  const {exitCode, stdout} = await sdq(
    ['run', '--json', '--set', 'search.target.meanWeightBits=5.5', '--set', 'search.pareto=2'],
    {cwd},
  );
  expect(exitCode).toBe(0);
  result = JSON.parse(stdout) as typeof result;
  const runs = path.join(cwd, '.sdq/runs');
  folder = path.join(runs, readdirSync(runs)[0]!);
}, 120_000);

const page = (): string => readFileSync(path.join(folder, 'report.html'), 'utf8');

test('a run writes it at its end: results, every layer, every phase, the settings', () => {
  const shown = page();
  for (const accuracy of [result.fullPrecision.accuracy, result.quantized.accuracy.test])
    expect(shown).toContain(`<b>${(100 * accuracy).toFixed(2)} %</b>`);
  const {layers} = JSON.parse(readFileSync(path.join(folder, 'strategy.json'), 'utf8')) as {
    layers: {name: string; weightBits: number; activationBits: number}[];
  };
  for (const {activationBits, name, weightBits} of layers) {
    expect(shown).toContain(`<td>${name}</td>`);
    expect(shown).toContain(`>${weightBits} / ${activationBits}</text>`);
    expect(shown).toContain(`<title>${name}: ${weightBits} bits from step `);
  }
  for (const heading of [
    'Bits of each layer',
    'Search (phase 1)',
    'Training at these bits (phase 2)',
    'Full precision',
  ])
    expect(shown).toContain(`<h2>${heading}</h2>`);
  expect(shown).toContain('strategy on the way');
  expect(shown).toContain('meanWeightBits: 5.5');
});

test('sdq report writes the same again, and elsewhere', async () => {
  const before = page();
  rmSync(path.join(folder, 'report.html'));
  expect(await sdq(['report'], {cwd})).toMatchObject({exitCode: 0, stdout: `${path.join(folder, 'report.html')}\n`});
  expect(page()).toBe(before);
  expect(await sdq(['report', folder, '--output', 'sub/r.html', '--quiet'], {cwd})).toMatchObject({exitCode: 0});
  expect(readFileSync(path.join(cwd, 'sub/r.html'), 'utf8')).toBe(before);
});

test('a run that had only begun has a page too; no run has none', async () => {
  const begun = path.join(path.dirname(folder), '20260101-000000-search-0000');
  const record = JSON.parse(readFileSync(path.join(folder, 'run.json'), 'utf8')) as object;
  mkdirSync(begun);
  const own = {
    ...record,
    id: path.basename(begun),
    command: 'search',
    results: {},
    engine: null,
    status: 'interrupted',
  };
  writeFileSync(path.join(begun, 'run.json'), JSON.stringify(own));
  expect(await sdq(['report', begun], {cwd})).toMatchObject({exitCode: 0, stderr: ''});
  expect(existsSync(path.join(begun, 'report.html'))).toBe(true);
  expect(await failure(['report', '2025'], cwd, 3)).toContain('There is no run "2025"');
});
