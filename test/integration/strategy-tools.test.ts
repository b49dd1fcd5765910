/**
 * Strategy files of other tools, loaded in those tools: the bits of each layer come back. Needs `node scripts/python-services.js torch
 * tools nncf`; skips where one is missing. Quark and NNCF build their kernels, so these two skip without a C++ compiler. The tools take half
 * a minute each to start, so these are of the slow suite.
 */
import {spawnSync} from 'node:child_process';
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import {graphDigest} from '../../src/graph/digest.ts';
import {hasWeights, layerTable, type WeightLayer} from '../../src/graph/layer-table.ts';
import {models} from '../../src/plugins/models/index.ts';
import {strategyFormats} from '../../src/plugins/strategy-formats/index.ts';
import {buildStrategy} from '../../src/sdq/strategy.ts';
import {describeWith, hasCompiler, pythonProgram} from '../helpers/python-service.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const folder = temporaryFolder();
const helper = path.resolve(import.meta.dirname, '../helpers/load_strategy.py');
const graph = models.find(({name}) => name === 'resnet20')!.build({classes: 10, inputShape: [3, 32, 32]}, {});
const layers = layerTable(graph).layers.filter(hasWeights);

interface Case {
  readonly tool: string;
  readonly weightBits: readonly number[];
  readonly activationBits: number;
}

/** What the tool has for each layer: bits of the weights, of the input. */
function load(service: string, {tool, weightBits, activationBits}: Case) {
  const strategy = buildStrategy({
    model: {name: 'resnet20', digest: graphDigest(graph)},
    quantizers: {weights: 'symmetric', activations: 'pact'},
    layers,
    weightBits: cyclic(weightBits),
    activationBits: layers.map(() => activationBits),
    pinned: new Map(),
    provenance: {method: 'uniform', sdqVersion: '0.1.0'},
  });
  const format = strategyFormats.find(({name}) => name === tool)!;
  const file = path.join(folder, `strategy.${format.extension}`);
  const out = path.join(folder, `${tool}.out.json`);
  writeFileSync(file, format.print!(strategy, {graph, layers}).text);
  const python = pythonProgram(service);
  const {status, stderr} = spawnSync(python, ['-W', 'ignore', helper, tool, file, out], {
    // Some tools write logs and pictures into it.
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    env: {
      ...process.env,
      // Where PyTorch builds kernels, and with which `ninja`. A build that was killed leaves a lock that the next one waits for.
      TORCH_EXTENSIONS_DIR: path.join(folder, 'kernels'),
      PATH: [path.dirname(python), process.env['PATH']].join(path.delimiter),
    },
  });
  expect({status, stderr: status === 0 ? '' : stderr}).toEqual({status: 0, stderr: ''});
  return JSON.parse(readFileSync(out, 'utf8')) as {bits: Record<string, [number, number]>; finite?: boolean};
}

function cyclic(bits: readonly number[]): number[] {
  return layers.map((_, l) => bits[l % bits.length]!);
}

/** The bits that the tool must have for the layers of which `quantizes` says so. */
function expectBits(service: string, file: Case, quantizes: (layer: WeightLayer) => boolean = () => true): void {
  const {bits, finite} = load(service, file);
  const weightBits = cyclic(file.weightBits);
  const expected = layers.flatMap((layer, l) => {
    if (!quantizes(layer)) return [];
    // coremltools names constants, which have no dots.
    const name = file.tool === 'coremltools' ? layer.name.replaceAll('.', '_') : layer.name;
    return [[name, [weightBits[l], file.activationBits]]];
  });
  expect(bits).toEqual(Object.fromEntries(expected));
  // coremltools runs on a Mac alone.
  expect(finite ?? true).toBe(true);
}

const minutes = 60_000;

(thorough ? describeWith('tools') : describe.skip)('the bits of each layer of a ResNet20, read back', () => {
  test.each<Case>([
    {tool: 'torchao', weightBits: [2, 3, 4, 5, 6, 7, 8], activationBits: 32},
    {tool: 'modelopt', weightBits: [2, 3, 4, 5, 6, 7, 8], activationBits: 5},
    {tool: 'brevitas', weightBits: [2, 3, 4, 5, 6, 7, 8], activationBits: 5},
    {tool: 'coremltools', weightBits: [1, 2, 3, 4, 6, 8], activationBits: 32},
  ])('$tool', (file) => expectBits('tools', file), 5 * minutes);

  test.each([3, 8])(
    'neural-compressor: its one linear layer at %d bits',
    (bits) => {
      const file = {tool: 'neural-compressor', weightBits: [bits], activationBits: 32};
      expectBits('tools', file, ({op}) => op !== 'Conv');
    },
    5 * minutes,
  );

  (hasCompiler ? test : test.skip)(
    'quark, which needs a C++ compiler',
    () => expectBits('tools', {tool: 'quark', weightBits: [2, 3, 4, 8], activationBits: 4}),
    5 * minutes,
  );
});

(thorough && hasCompiler ? describeWith('nncf') : describe.skip)(
  'the bits of each layer of a ResNet20, read back',
  () => {
    test(
      'nncf, which needs a C++ compiler',
      () => expectBits('nncf', {tool: 'nncf', weightBits: [1, 2, 3, 4, 5, 6, 7, 8], activationBits: 5}),
      10 * minutes,
    );
  },
);
