/** First values of input ranges: from which images and values, and which learned values of a checkpoint stay. */
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';

import type {Dataset} from '../../../src/data/dataset.ts';
import {graphBuilder} from '../../../src/graph/builder.ts';
import {graphDigest} from '../../../src/graph/digest.ts';
import {initialWeights} from '../../../src/graph/initialize.ts';
import {layerTable} from '../../../src/graph/layer-table.ts';
import {createNetwork} from '../../../src/graph/network.ts';
import {writeFileAtomic} from '../../../src/files.ts';
import {imagesInBackwardPass, sampleTrainingInputs} from '../../../src/phases/calibration.ts';
import {loadQuantizers} from '../../../src/phases/load-quantizers.ts';
import {writeModelFile} from '../../../src/phases/model-file.ts';
import {openCheckpoint} from '../../../src/phases/open-checkpoint.ts';
import {calibrateInputs} from '../../../src/training/calibration.ts';
import {quantizationRecord} from '../../../src/training/quantization-record.ts';
import {learnedValues, quantize} from '../../../src/training/quantized-network.ts';
import type {Session} from '../../../src/phases/session.ts';
import {activationQuantizers, weightQuantizers} from '../../../src/plugins/quantizers/index.ts';
import {models} from '../../../src/plugins/models/index.ts';
import {Registry} from '../../../src/plugin-api/registry.ts';
import {classification} from '../../../src/plugins/tasks/classification.ts';
import {buildStrategy, type Strategy} from '../../../src/sdq/strategy.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {madeDataset, memorySplit} from '../../helpers/made-dataset.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

useCpuBackend();

test('a backward pass takes 32 images, fewer where their values need more than 1 GiB', () => {
  const images = (name: string): number => {
    const model = models.find((one) => one.name === name)!;
    return imagesInBackwardPass(model.build(model.defaults, {}));
  };
  expect(images('resnet20')).toBe(32);
  // ResNet50's convolutions alone have 11.1 million outputs an image (Radosavovic et al., 2020, table 4): 44 MB, the rest as much again and more.
  expect(images('resnet50')).toBeGreaterThan(4);
  expect(images('resnet50')).toBeLessThan(12);
});

/** 4 × 4 RGB images whose blue alone says anything: red and green are black. */
function blueDataset(): Dataset {
  const split = memorySplit(40, [4, 4, 3], 2, (image, row, column, channel) =>
    channel === 2 ? (37 * image + 11 * row + 5 * column) % 256 : 0,
  );
  const none = {mean: [0, 0, 0], std: [1, 1, 1]};
  return {
    ...madeDataset(1, 1),
    name: 'blue',
    classes: ['a', 'b'],
    height: 4,
    width: 4,
    ...none,
    train: split,
    test: split,
  };
}

const graph = (() => {
  const g = graphBuilder('two', [3, 4, 4]);
  const x = g.node('Relu', 'relu', [g.conv('conv', g.input, {channels: 4, kernel: 3})]);
  const pooled = g.node('Flatten', 'flatten', [g.node('GlobalAveragePool', 'pool', [x])]);
  return g.build(g.linear('fc', pooled, {features: 2}));
})();

function session(batchSize = 8): Session & {readonly lines: string[]} {
  const registry = new Registry([]);
  for (const definition of [...weightQuantizers, ...activationQuantizers, classification]) registry.add(definition);
  registry.add({
    kind: 'model',
    name: 'two',
    summary: 'Two layers.',
    optionsSchema: {type: 'object', properties: {}},
    build: () => graph,
    defaults: {},
  } as unknown as Parameters<Registry['add']>[0]);
  const dataset = blueDataset();
  const lines: string[] = [];
  return {
    config: {
      seed: 3,
      model: {name: 'two', options: {}},
      task: {name: 'classification', options: {}},
      data: {batchSize, validation: 7, augment: true},
    },
    registry,
    dataset,
    task: {outputs: 2},
    normalization: {mean: [0, 0, 0], std: [1, 1, 1]},
    reporter: {update: () => undefined, line: (text: string) => void lines.push(text)},
    lines,
  } as unknown as Session & {readonly lines: string[]};
}

describe('the sample', () => {
  test('is the same whatever the batch size, and has all channels', async () => {
    const network = createNetwork(graph, initialWeights(graph, 1));
    const samples = [];
    for (const batchSize of [1, 5, 8, 33, 100]) {
      samples.push(await sampleTrainingInputs(session(batchSize), network, ['conv', 'fc']));
    }
    const [first, ...others] = samples;
    // 33 images: 40 less 7 for validation.
    expect(first!.get('conv')).toHaveLength(33 * 48);
    expect(first!.get('conv')!.filter((value) => value > 0).length).toBeGreaterThan(33 * 15);
    for (const other of others) {
      expect(other.get('conv')).toEqual(first!.get('conv'));
      const [a, b] = [first!.get('fc')!, other.get('fc')!];
      expect(b).toHaveLength(a.length);
      expect(Math.max(...a.map((value, i) => Math.abs(value - b[i]!)))).toBeLessThan(1e-6);
    }
    network.dispose();
  });

  test('of one value throughout is told', async () => {
    const weights = new Map(initialWeights(graph, 1));
    const {shape, data} = weights.get('conv.weight')!;
    weights.set('conv.weight', {shape, data: data.map((value) => -Math.abs(value))});
    const network = createNetwork(graph, weights);
    const quantizers = await loadQuantizers(session().registry, {weights: 'symmetric', activations: 'lsq'});
    const bits = {weightBits: 8, activationBits: 4};
    const quantization = quantize(network, quantizers, () => bits, {learnSteps: false});
    const {inputs} = quantization;
    const note = calibrateInputs(inputs, await sampleTrainingInputs(session(), network, inputs.keys()));
    expect(note).toBe('Every sampled value of the input is the same for layer "fc" (0): its range is a guess.');
    quantization.dispose();
    network.dispose();
  });
});

const names = layerTable(graph).layers.map(({name}) => name);

function strategy(
  activationBits: number[],
  quantizers: Partial<Strategy['quantizers']> = {},
  weightBits = [8, 8],
): Strategy {
  return buildStrategy({
    model: {name: 'two', digest: graphDigest(graph)},
    quantizers: {weights: 'symmetric', activations: 'lsq', ...quantizers},
    layers: layerTable(graph).layers,
    weightBits,
    activationBits,
    pinned: new Map(),
    provenance: {method: 'uniform', sdqVersion: ''},
  });
}

describe('a checkpoint under another strategy', () => {
  const folder = temporaryFolder();
  const checkpoint = path.join(folder, 'q.safetensors');
  const strategyFile = path.join(folder, 'other.json');

  /** Writes a checkpoint of W 8 / A 8 whose learned values are no statistics, without the tensors in `without`. */
  async function writeCheckpoint(own: Strategy | undefined, without: readonly string[] = []): Promise<void> {
    const network = createNetwork(graph, initialWeights(graph, 1));
    const quantizers = await loadQuantizers(session().registry, {weights: 'symmetric', activations: 'lsq'});
    const quantization = quantize(network, quantizers, () => ({weightBits: 8, activationBits: 8}), {learnSteps: true});
    for (const {variable} of quantization.parameters) variable.assign(tf.fill(variable.shape, 123));
    const learned = new Map([...(await learnedValues(quantization))].filter(([name]) => !without.includes(name)));
    const weights = await network.weights();
    if (own === undefined) writeModelFile(checkpoint, new Map([...weights, ...learned]));
    else {
      const record = quantizationRecord(network, quantization);
      writeModelFile(checkpoint, weights, {strategy: own, record, values: learned});
    }
    quantization.dispose();
    network.dispose();
  }

  /** First value of each learned parameter; 123 is the checkpoint's. */
  async function values(other: Strategy | undefined): Promise<Record<string, number>> {
    if (other !== undefined) writeFileAtomic(strategyFile, JSON.stringify(other));
    const {quantization, dispose} = await openCheckpoint(session(), checkpoint, other && strategyFile);
    const found = quantization!.parameters.map(({name, variable}) => [name, variable.dataSync()[0]!]);
    dispose();
    return Object.fromEntries(found) as Record<string, number>;
  }

  const learned = (found: Record<string, number>): string[] => Object.keys(found).filter((name) => found[name] === 123);

  test('its own, from the file or given again, has every learned value', async () => {
    await writeCheckpoint(strategy([8, 8]));
    const all = names.map((name) => `${name}.weight_step`).concat(names.map((name) => `${name}.input_range`));
    expect(learned(await values(undefined))).toEqual(all);
    expect(learned(await values(strategy([8, 8])))).toEqual(all);
  });

  test('an input at other bits is calibrated, the others keep what they learned', async () => {
    await writeCheckpoint(strategy([8, 8]));
    const found = await values(strategy([8, 4]));
    expect(learned(found)).toEqual(['conv.weight_step', 'fc.weight_step', 'conv.input_range']);
    await writeCheckpoint(
      strategy([8, 8]),
      names.map((name) => `${name}.input_range`),
    );
    expect(found['fc.input_range']).toBeCloseTo((await values(strategy([8, 4])))['fc.input_range']!, 6);
  });

  test('weights at other bits take their step from statistics', async () => {
    await writeCheckpoint(strategy([8, 8]));
    const found = await values(strategy([8, 8], {}, [8, 2]));
    expect(learned(found)).toEqual(['conv.weight_step', 'conv.input_range', 'fc.input_range']);
  });

  test('another quantizer of the inputs, or of the weights, has none of theirs', async () => {
    await writeCheckpoint(strategy([8, 8]));
    expect(learned(await values(strategy([8, 8], {activations: 'pact'})))).toEqual([
      'conv.weight_step',
      'fc.weight_step',
    ]);
    expect(learned(await values(strategy([8, 8], {weights: 'mid-rise'})))).toEqual([
      'conv.input_range',
      'fc.input_range',
    ]);
  });

  test('one missing range is calibrated alone', async () => {
    await writeCheckpoint(strategy([8, 8]), ['fc.input_range']);
    expect(learned(await values(undefined))).toEqual(['conv.weight_step', 'fc.weight_step', 'conv.input_range']);
  });

  test('a file that does not say at which bits its values were learned has none that hold', async () => {
    await writeCheckpoint(undefined);
    expect(learned(await values(strategy([8, 8])))).toEqual([]);
  });
});
