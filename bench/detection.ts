/**
 * YOLOv4-tiny on BCCD: full precision, bits found by search, and uniform bits, for each seed; mAP at IoU 0.5 on the test images. Needs
 * `npm run build`. Finished trainings in full precision are not repeated.
 *
 *   node --import tsx bench/detection.ts --data ../shared/data/bccd [--seeds 0,1] [--out bccd-runs] [--set KEY=VALUE …]
 */
import {spawnSync} from 'node:child_process';
import {existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {parseArgs} from 'node:util';

const {values} = parseArgs({
  options: {
    data: {type: 'string'},
    seeds: {type: 'string', default: '0,1'},
    out: {type: 'string', default: 'bccd-runs'},
    set: {type: 'string', multiple: true, default: []},
  },
});
if (values.data === undefined) throw new Error('--data names the folder of BCCD');
const root = path.resolve(import.meta.dirname, '..');
const out = path.resolve(values.out);
mkdirSync(out, {recursive: true});

/** The JSON result of a command, from a file where it was run before. */
function result(name: string, command: string, ...set: string[]): Record<string, unknown> {
  const file = path.join(out, `${name}.json`);
  if (!existsSync(file)) {
    const settings = [`data.directory=${path.resolve(values.data!)}`, `runs.directory=${out}`, ...values.set, ...set];
    const {status, stdout} = spawnSync(
      process.execPath,
      [
        path.join(root, 'bin/run.js'),
        command,
        '--json',
        '--config',
        path.join(root, 'bench/reproduction/bccd.yaml'),
        ...settings.flatMap((setting) => ['--set', setting]),
      ],
      {encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit']},
    );
    if (status !== 0) throw new Error(`${name}: exit code ${status}`);
    writeFileSync(file, stdout);
  }
  return JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
}

for (const seed of values.seeds.split(',')) {
  const first = result(`full-precision-${seed}`, 'pretrain', `seed=${seed}`);
  console.log(`seed ${seed}, full precision: ${JSON.stringify(first['map50'])}`);
  for (const method of ['sdq', 'uniform']) {
    const weights = `model.weights=${String(first['checkpoint'])}`;
    const found = result(`${method}-${seed}`, 'run', `seed=${seed}`, weights, `search.method=${method}`);
    console.log(`seed ${seed}, ${method}: ${JSON.stringify(found['quantized'])}`);
  }
}
