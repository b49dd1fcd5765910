// Writes docs/operators.md from the operators that sdq runs; with --check it only says whether it is up to date.
import {readFile, writeFile} from 'node:fs/promises';
import path from 'node:path';

import {operators} from '../src/graph/ops/index.ts';

const file = path.resolve(import.meta.dirname, '../docs/operators.md');

const count = ([least, most]) => {
  if (most === Infinity) return `${least} or more`;
  return least === most ? `${least}` : `${least} to ${most}`;
};
const quantized = {
  Conv: 'weights and input',
  Gemm: 'weights and input',
  MatMul: 'weights and input, where the right side is a parameter',
};
const rows = [...operators.values()].map(({op, inputs, attributes}) => {
  const names = attributes.map((name) => `\`${name}\``).join(', ');
  return `| ${op} | ${count(inputs)} | ${names === '' ? 'none' : names} | ${quantized[op] ?? ''} |`;
});
const text = [
  '# Operators',
  '',
  'Generated from `src/graph/ops/` by `npm run operators-reference`.',
  '',
  'The ONNX operators that `sdq` runs, trains and exports. Inputs are those that are computed or trained: bounds, pads,',
  'axes, shapes and the like must be constants in the file, and count as attributes here. `sdq` reads opsets 7 to 25 and',
  'writes 21. Every engine runs every operator; `wasm` takes the kernels that it has not from the stock CPU backend.',
  '',
  '| operator | inputs | attributes | quantized |',
  '|---|---|---|---|',
  ...rows,
  '',
].join('\n');

if (process.argv.includes('--check')) {
  if ((await readFile(file, 'utf8').catch(() => '')) !== text) {
    console.error('docs/operators.md is not up to date: npm run operators-reference');
    process.exitCode = 1;
  }
} else await writeFile(file, text);
