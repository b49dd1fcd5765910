import {readFileSync} from 'node:fs';
import path from 'node:path';

import {expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import {hasWeights} from '../../../../src/graph/layer-table.ts';
import {createNetwork} from '../../../../src/graph/network.ts';
import {parseSafetensors} from '../../../../src/graph/safetensors.ts';
import {fittingWeights} from '../../../../src/phases/session.ts';
import {vit} from '../../../../src/plugins/models/vit.ts';
import {useCpuBackend} from '../../../helpers/cpu-backend.ts';
import {expectClose} from '../../../helpers/gradient-check.ts';

useCpuBackend();

// test/fixtures/make_vit.py
const fixture = path.resolve(import.meta.dirname, '../../../fixtures/vit');
const options = {patch: 4, width: 12, depth: 2, heads: 3, mlpRatio: 2};

test('the weights of a ViT of timm load by their names and give its logits', () => {
  const file = path.join(fixture, 'vit.safetensors');
  const values = JSON.parse(readFileSync(path.join(fixture, 'values.json'), 'utf8')) as {
    images: number[];
    logits: number[];
  };
  const graph = vit.build({classes: 5, inputShape: [3, 8, 8]}, options);
  const network = createNetwork(graph, fittingWeights(graph, parseSafetensors(readFileSync(file), file), file));
  const images = tf.transpose(tf.tensor4d(values.images, [2, 3, 8, 8]), [0, 2, 3, 1]);
  expectClose(network.forward(images, {training: false}), values.logits, {absolute: 1e-5, relative: 1e-5});
  // qkv, proj and the two layers of the MLP in both blocks, patches and head; two products in both blocks.
  const {length} = network.layers.filter(hasWeights);
  expect([length, network.layers.length - length]).toEqual([10, 4]);
});

test.each([
  [{heads: 5}, 'model.options.heads is 5; it must divide the width, 192.'],
  [{patch: 5}, 'model.options.patch is 5; it must divide the image, 224 × 224.'],
])('%j is refused', (wrong, message) => {
  expect(() => vit.build(vit.defaults, wrong)).toThrow(message);
});
