import {graphBuilder} from '../../src/graph/builder.ts';
import type {Graph} from '../../src/graph/graph.ts';
import {initialWeights} from '../../src/graph/initialize.ts';
import {createNetwork, type Network} from '../../src/graph/network.ts';
import {normal, uniform} from '../../src/random.ts';
import type {BatchSource} from '../../src/data/batches.ts';
import {arraySource} from './array-source.ts';

export const tinyShape = [2, 6, 5] as const;
export const tinyClasses = 3;

/** Two convolutions with batch-norm and a classifier, on [2, 6, 5] images of three classes. */
export function tinyGraph(): Graph {
  const g = graphBuilder('tiny', tinyShape);
  let x = g.input;
  for (const [i, channels] of [4, 5].entries()) {
    x = g.conv(`conv${i + 1}`, x, {channels, kernel: 3, stride: i + 1});
    x = g.node('Relu', `relu${i + 1}`, [g.batchNorm(`bn${i + 1}`, x)]);
  }
  x = g.node('Flatten', 'flatten', [g.node('GlobalAveragePool', 'pool', [x])]);
  return g.build(g.linear('fc', x, {features: tinyClasses}));
}

export function tinyNetwork(seed = 1): Network {
  const graph = tinyGraph();
  return createNetwork(graph, initialWeights(graph, seed));
}

/** Noise with a bright patch whose place and channel tell the class; a pure function of (epoch, index). */
export function tinySource(sizes: readonly number[]): BatchSource {
  const [channels, height, width] = tinyShape;
  return arraySource(sizes, (epoch, index, size) => {
    const draw = uniform(7, 'bench', epoch, index);
    const labels = Int32Array.from({length: size}, () => Math.floor(draw() * tinyClasses));
    const images = Float32Array.from({length: size * height * width * channels}, (_, i) => {
      const channel = i % channels;
      const row = Math.floor(i / (channels * width)) % height;
      const label = labels[Math.floor(i / (channels * width * height))]!;
      const patch =
        label === 0 ? channel === 0 && row < 3 : label === 1 ? channel === 1 && row >= 3 : channel === 1 && row < 2;
      return 0.5 * normal(draw) + (patch ? 1.5 : 0);
    });
    return {images, labels};
  });
}
