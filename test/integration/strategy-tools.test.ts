/**
 * Strategy files of other tools, loaded in those tools: the bits of each layer come back. Needs `node scripts/python-services.js torch
 * tools`; skips where it is missing. The tools take half a minute each to start, so these are of the slow suite.
 */
import {spawnSync} from 'node:child_process';
import {readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';

import type {StrategyFormatDefinition} from '../../src/plugin-api/registry.ts';
import {graphDigest} from '../../src/graph/digest.ts';
import {hasWeights, layerTable} from '../../src/graph/layer-table.ts';
import {models} from '../../src/plugins/models/index.ts';
import {strategyFormats} from '../../src/plugins/strategy-formats/index.ts';
import {buildStrategy} from '../../src/sdq/strategy.ts';
import {describeWith, pythonProgram} from '../helpers/python-service.ts';
import {temporaryFolder} from '../helpers/temporary-folder.ts';
import {thorough} from '../helpers/thorough.ts';

const folder = temporaryFolder();
const helper = path.resolve(import.meta.dirname, '../helpers/load_strategy.py');
const graph = models.find(({name}) => name === 'resnet20')!.build({classes: 10, inputShape: [3, 32, 32]}, {});
const layers = layerTable(graph).layers.filter(hasWeights);

/** What the tool has for each layer: bits of the weights, of the input. */
function load(format: StrategyFormatDefinition, weightBits: readonly number[], activationBits: number) {
  const strategy = buildStrategy({
    model: {name: 'resnet20', digest: graphDigest(graph)},
    quantizers: {weights: 'symmetric', activations: 'pact'},
    layers,
    weightBits,
    activationBits: layers.map(() => activationBits),
    pinned: new Map(),
    provenance: {method: 'uniform', sdqVersion: '0.1.0'},
  });
  const file = path.join(folder, `strategy.${format.extension}`);
  const out = path.join(folder, `${format.name}.out.json`);
  writeFileSync(file, format.print!(strategy, {graph, layers}).text);
  const {status, stderr} = spawnSync(pythonProgram('tools'), ['-W', 'ignore', helper, format.name, file, out], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  expect({status, stderr: status === 0 ? '' : stderr}).toEqual({status: 0, stderr: ''});
  return JSON.parse(readFileSync(out, 'utf8')) as {bits: Record<string, [number, number]>; finite?: boolean};
}

const cyclic = (bits: readonly number[]): number[] => layers.map((_, l) => bits[l % bits.length]!);

(thorough ? describeWith('tools') : describe.skip)('the bits of each layer of a ResNet20, read back', () => {
  const cases: readonly [string, readonly number[], number][] = [
    ['torchao', [2, 3, 4, 5, 6, 7, 8], 32],
    ['modelopt', [2, 3, 4, 5, 6, 7, 8], 5],
    ['brevitas', [2, 3, 4, 5, 6, 7, 8], 5],
    ['coremltools', [1, 2, 3, 4, 6, 8], 32],
  ];

  test.each(cases)(
    '%s',
    (name, bits, activationBits) => {
      const format = strategyFormats.find((definition) => definition.name === name)!;
      const weightBits = cyclic(bits);
      const {bits: found, finite} = load(format, weightBits, activationBits);
      const expected = layers.map((layer, l) => [
        // coremltools names constants, which have no dots.
        name === 'coremltools' ? layer.name.replaceAll('.', '_') : layer.name,
        [weightBits[l], activationBits],
      ]);
      expect(found).toEqual(Object.fromEntries(expected));
      // coremltools runs on a Mac alone.
      expect(finite ?? true).toBe(true);
    },
    300_000,
  );
});
