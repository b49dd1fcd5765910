/**
 * What a search gains by knowing its device: one search under a latency budget, then one without hardware down to the mean weight
 * bits that the first came to, from the same weights. Both strategies are modelled on the device; their validation accuracy is
 * that at the end of the search, and after `--epochs` of phase 2 from the weights of the config's model (not those of the search).
 * After `npm run build`, with the data fetched:
 *
 *   node --import tsx bench/hardware-search.ts sdq.config.yaml --hardware bitfusion-server --latency-ms 0.09 [--seeds 3] [--set …]
 */
import {spawnSync} from 'node:child_process';
import path from 'node:path';
import {parseArgs} from 'node:util';

import {table} from '../src/cli/table.ts';

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    hardware: {type: 'string', default: 'bitfusion-server'},
    'latency-ms': {type: 'string'},
    seeds: {type: 'string', default: '3'},
    epochs: {type: 'string', default: '1'},
    set: {type: 'string', multiple: true, default: []},
  },
});
const config = path.resolve(positionals[0] ?? 'sdq.config.yaml');
const bin = path.resolve(import.meta.dirname, '../bin/run.js');

function sdq(args: readonly string[], set: readonly string[]): unknown {
  const settings = [...values.set, ...set].map((setting) => `--set=${setting}`);
  const {status, stdout, stderr} = spawnSync(
    process.execPath,
    [bin, ...args, '--json', `--config=${config}`, ...settings],
    {cwd: path.dirname(config), encoding: 'utf8', env: {...process.env, NODE_ENV: 'production'}},
  );
  // A budget that was missed is exit code 5: its row would compare unequal things.
  if (status !== 0) throw new Error(`sdq ${args.join(' ')} ${settings.join(' ')}: ${status}\n${stdout}${stderr}`);
  return JSON.parse(stdout);
}

interface Outcome {
  readonly meanWeightBits: number;
  readonly latencyMs: number;
  readonly searched: number;
  readonly trained: number;
}

function outcome(target: string, seed: number): Outcome {
  const {strategy, meanWeightBits, pareto} = sdq(
    ['search'],
    [`search.target=${target}`, `seed=${seed}`, 'search.pareto=1', 'hardware=[]'],
  ) as {strategy: string; meanWeightBits: number; pareto: {accuracy: number}[]};
  const {totals} = sdq(['hardware', 'estimate', values.hardware, '--strategy', strategy], []) as {
    totals: {latencyUs: number};
  };
  const {accuracy} = sdq(['train', '--strategy', strategy], [`seed=${seed}`, `train.epochs=${values.epochs}`]) as {
    accuracy: {best: number};
  };
  const searched = pareto.at(-1)!.accuracy;
  return {meanWeightBits, latencyMs: totals.latencyUs / 1000, searched, trained: accuracy.best};
}

const cells = ({meanWeightBits, latencyMs, searched, trained}: Outcome): string[] => [
  meanWeightBits.toFixed(2),
  latencyMs.toPrecision(4),
  (100 * searched).toFixed(2),
  (100 * trained).toFixed(2),
];

const rows: string[][] = [];
const add = (...row: string[]): void => {
  rows.push(row);
  process.stderr.write(`${row.join('  ')}\n`);
};
for (let seed = 0; seed < Number(values.seeds); seed++) {
  const aware = outcome(`{hardware: ${values.hardware}, latencyMs: ${values['latency-ms']}}`, seed);
  add(`latency, seed ${seed}`, ...cells(aware), '');
  const blind = outcome(`{meanWeightBits: ${aware.meanWeightBits}}`, seed);
  add('mean weight bits', ...cells(blind), `${(blind.latencyMs / aware.latencyMs).toFixed(3)}×`);
}
process.stdout.write(
  `${table(
    ['budget', 'W bits', 'latency ms', 'searched %', 'trained %', 'first is faster'].map((head, c) => ({
      head,
      align: c === 0 ? 'left' : 'right',
    })),
    rows,
  )}\nLatency modelled for ${values.hardware}, batch 1; accuracy on the validation images.\n`,
);
