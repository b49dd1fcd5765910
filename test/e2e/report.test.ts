/** `report.html` of real runs: what it shows, and of which run. */
import {cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {beforeAll, expect, test} from '@jest/globals';

import {failure, writeSmallJob} from '../helpers/failures.ts';
import {resultProblems} from '../helpers/result-schemas.ts';
import {sdq} from '../helpers/sdq.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';

const cwd = path.join(temporaryFolder(), 'job');
let folder: string;
let result: {fullPrecision: {accuracy: number}; quantized: {accuracy: {test: number}}};

beforeAll(async () => {
  writeSmallJob(cwd);
  const {exitCode, stdout} = await sdq(
    [
      ...['run', '--json', '--set', 'search.target.meanWeightBits=6', '--set', 'search.pareto=2'],
      ...['--set', 'hardware=[generic-energy-45nm]'],
    ],
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
  expect(shown).toContain('meanWeightBits: 6');
});

test('what the network gets wrong: mistakes.json counts every test image, and the page shows them', () => {
  const file = JSON.parse(readFileSync(path.join(folder, 'mistakes.json'), 'utf8')) as {
    samples: number;
    confusion: [number, number, number][];
    worst: {actual: number; predicted: number; image: string}[];
  };
  const counted = file.confusion.reduce((sum, [, , images]) => sum + images, 0);
  const right = file.confusion.filter(([actual, predicted]) => actual === predicted);
  expect(counted).toBe(file.samples);
  expect(right.reduce((sum, [, , images]) => sum + images, 0) / counted).toBeCloseTo(
    result.quantized.accuracy.test,
    12,
  );
  expect(file.worst.length).toBeGreaterThan(0);
  const shown = page();
  expect(shown).toContain(`${counted - right.reduce((sum, [, , images]) => sum + images, 0)} of ${counted} images`);
  for (const {actual, image, predicted} of file.worst) {
    expect(actual).not.toBe(predicted);
    expect(shown).toContain(image);
  }
  expect(shown).toMatch(/<circle class="hit"[^>]*><title>committed: \d[.\d]* at step \d+<\/title>/);
  for (const phase of ['pretrain', 'search', 'train'])
    expect(shown).toMatch(new RegExp(`<td>time of ${phase}</td><td>(\\d+ min )?\\d+ s</td>`));
});

test('what the strategy costs on the devices of the config, as `hardware compare` has it', async () => {
  const strategy = ['--strategy', path.join(folder, 'strategy.json')];
  const compared = ['hardware', 'compare', ...strategy, '--hardware', 'generic-energy-45nm', '--json'];
  const {stdout} = await sdq(compared, {cwd});
  const {rows} = JSON.parse(stdout) as {rows: {totals: {energyUj: number; weightMemoryKiB: number}}[]};
  const file = readFileSync(path.join(folder, 'hardware-costs.json'), 'utf8');
  expect(resultProblems('hardware-compare', file)).toEqual([]);
  expect(JSON.parse(file)).toMatchObject({rows: rows.map((row) => ({...row, strategy: 'strategy.json'}))});
  const [shown] = /<h2>Cost on the hardware<\/h2>.*?<\/table>/s.exec(page())!;
  expect(shown).toContain('<td>generic-energy-45nm</td>');
  expect(shown).toContain(`<td>${rows[0]!.totals.energyUj.toLocaleString('en', {maximumSignificantDigits: 3})} µJ`);
  expect(shown).toContain('not measured');
});

test.each([
  ['mistakes.json', 'classes'],
  ['hardware-costs.json', 'rows'],
])('a broken %s is named', async (name, missing) => {
  const copy = `${folder}-broken`;
  cpSync(folder, copy, {recursive: true});
  writeFileSync(path.join(copy, name), '{"version": 1}');
  const error = await failure(['report', copy], cwd, 3);
  expect(error).toContain(name);
  expect(error).toContain(missing);
  rmSync(copy, {recursive: true});
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

test('the run itself: command, duration, commit, and what goes on from a failure', async () => {
  const record = JSON.parse(readFileSync(path.join(folder, 'run.json'), 'utf8')) as Record<string, unknown>;
  const shown = page();
  for (const [name, text] of [
    ['command', 'sdq run'],
    ['seed', '0'],
  ])
    expect(shown).toContain(`<td>${name}</td><td>${text}</td>`);
  expect(shown).toMatch(/<td>took<\/td><td>(\d+ min )?\d+ s<\/td>/);
  const copy = `${folder}-failed`;
  mkdirSync(copy);
  const error = {code: 'target-not-reached', message: 'The search ended above <its target>.'};
  writeFileSync(path.join(copy, 'run.json'), JSON.stringify({...record, status: 'failed', exitCode: 5, error}));
  expect(await sdq(['report', copy, '--output', 'failed.html'], {cwd})).toMatchObject({exitCode: 0});
  const failed = readFileSync(path.join(cwd, 'failed.html'), 'utf8');
  expect(failed).toContain('The search ended above &lt;its target&gt;.');
  expect(failed).toContain(`<pre>sdq run --from .sdq/runs/${path.basename(copy)}</pre>`);
  rmSync(copy, {recursive: true});
});

test('two runs side by side: their figures, the settings that differ, curves over each other', async () => {
  const other = await sdq(['search', '--json', '--from', folder, '--bits', '6.5', '--epochs', '3'], {cwd});
  expect(other.exitCode).toBe(0);
  const {runId} = JSON.parse(other.stdout) as {runId: string};
  const {exitCode, stdout} = await sdq(['report', folder, runId, '--json'], {cwd});
  expect(exitCode).toBe(0);
  expect(resultProblems('report', stdout)).toEqual([]);
  const {path: file, runIds} = JSON.parse(stdout) as {path: string; runIds: string[]};
  expect(runIds).toEqual([path.basename(folder), runId]);
  const shown = readFileSync(file, 'utf8');
  expect(shown).toContain('<td>search.target.meanWeightBits</td><td>6</td><td>6.5</td>');
  expect(shown).toContain('<td>search.epochs</td><td>2</td><td>3</td>');
  expect(shown).not.toContain('<td>model.name</td>');
  expect(shown).toMatch(/<figcaption>Loss of the search<\/figcaption><svg[^]*?class="line c0"[^]*?class="line c1"/);
  expect(await failure(['report', folder, runId], cwd, 3)).toContain('is not overwritten');
});
