/**
 * How long `sdq --help` takes against an empty Node program, in turns, on an idle machine, after `npm run build`:
 *
 *   node --import tsx bench/startup.ts
 */
import {spawnSync} from 'node:child_process';
import path from 'node:path';

const bin = path.resolve(import.meta.dirname, '../bin/run.js');
const turns = 20;

function milliseconds(args: readonly string[]): number {
  const start = performance.now();
  spawnSync(process.execPath, args, {env: {...process.env, NODE_ENV: 'production'}});
  return performance.now() - start;
}

const times = Array.from({length: turns + 1}, () => ({
  empty: milliseconds(['-e', '0']),
  help: milliseconds([bin, '--help']),
})).slice(1); // the first turn warms the caches
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const empty = median(times.map((time) => time.empty));
const help = median(times.map((time) => time.help));
process.stdout.write(
  `node -e 0: ${empty.toFixed(0)} ms; sdq --help: ${help.toFixed(0)} ms; ratio of medians ${(help / empty).toFixed(2)}\n`,
);
