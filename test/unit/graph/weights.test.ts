import {existsSync, readFileSync} from 'node:fs';

import {describe, expect, test} from '@jest/globals';

import type {SdqError} from '../../../src/errors.ts';
import {graphBuilder} from '../../../src/graph/builder.ts';
import type {Array32, Graph} from '../../../src/graph/graph.ts';
import {initialWeights} from '../../../src/graph/initialize.ts';
import {parseSafetensors} from '../../../src/graph/safetensors.ts';
import {matchWeights} from '../../../src/graph/weights.ts';
import {models} from '../../../src/plugins/models/index.ts';

function build(name: string, options: Record<string, unknown> = {}): Graph {
  const model = models.find((definition) => definition.name === name)!;
  return model.build(model.defaults, options);
}

type Tensors = Map<string, Array32 & {dtype: string}>;

/** What a PyTorch file of this graph holds. */
function saved(graph: Graph, rename: (name: string) => string = (name) => name): Tensors {
  return new Map([...initialWeights(graph, 0)].map(([name, array]) => [rename(name), {dtype: 'F32', ...array}]));
}

const match = (graph: Graph, tensors: Tensors) => matchWeights(graph, {tensors}, 'w.safetensors');

test('weights for other classes: the error says so', () => {
  const model = models.find(({name}) => name === 'resnet20')!;
  const own = model.build({...model.defaults, classes: 3}, {});
  const found = saved(build('resnet20'));
  let error: SdqError | undefined;
  try {
    match(own, found);
  } catch (thrown) {
    error = thrown as SdqError;
  }
  expect(error?.message).toContain('it must be [3');
  expect(error?.suggestions.join()).toContain('a network with other classes: 10 in place of 3');
  // A wrong layer elsewhere is no matter of classes.
  const first = found.get('conv1.weight')!;
  found.set('conv1.weight', {...first, shape: [1, ...first.shape]});
  try {
    match(own, found);
  } catch (thrown) {
    expect((thrown as SdqError).suggestions).toEqual([]);
  }
});

describe('matchWeights', () => {
  const graph = build('resnet20', {shortcut: 'B'});

  test('takes a complete file and ignores num_batches_tracked', () => {
    const tensors = saved(graph);
    tensors.set('bn1.num_batches_tracked', {dtype: 'I64', shape: [], data: new Float32Array([1])});
    const {weights, missing, unexpected} = match(graph, tensors);
    expect({missing, unexpected}).toEqual({missing: [], unexpected: []});
    expect(weights.size).toBe(graph.parameters.length);
  });

  test('takes names with the prefix of DataParallel and those of the other family', () => {
    const other = (name: string) => `module.${name.replace('shortcut', 'downsample').replace('linear', 'fc')}`;
    const {weights, missing, unexpected} = match(graph, saved(graph, other));
    expect({missing, unexpected}).toEqual({missing: [], unexpected: []});
    const wanted = initialWeights(graph, 0).get('layer2.0.shortcut.0.weight')!;
    expect(weights.get('layer2.0.shortcut.0.weight')!.data).toEqual(wanted.data);
  });

  test('lists what is missing and what is not expected', () => {
    const tensors = saved(graph);
    tensors.delete('bn1.running_var');
    tensors.set('head.weight', {dtype: 'F32', shape: [1], data: new Float32Array(1)});
    const {missing, unexpected} = match(graph, tensors);
    expect({missing, unexpected}).toEqual({missing: ['bn1.running_var'], unexpected: ['head.weight']});
  });

  test('refuses wrong shapes, by name, with both shapes', () => {
    const tensors = saved(graph);
    tensors.set('linear.weight', {dtype: 'F32', shape: [100, 64], data: new Float32Array(6400)});
    expect(() => match(graph, tensors)).toThrow(
      'w.safetensors does not fit resnet20: "linear.weight" has the shape [100, 64], it must be [10, 64].',
    );
  });

  test.each([NaN, Infinity, -Infinity])('refuses %p, naming tensor and element', (value) => {
    const tensors = saved(graph);
    tensors.get('bn1.bias')!.data[3] = value;
    expect(() => match(graph, tensors)).toThrow(`"bn1.bias" is ${value} at element 3; weights must be finite.`);
  });

  test('refuses two tensors for one parameter', () => {
    const tensors = saved(graph);
    tensors.set('module.conv1.weight', tensors.get('conv1.weight')!);
    expect(() => match(graph, tensors)).toThrow(
      '"conv1.weight" and "module.conv1.weight" both stand for "conv1.weight"',
    );
  });

  test('an exact name goes before a common one', () => {
    const net = graphBuilder('two', [4]);
    const both = net.build(net.linear('fc', net.linear('linear', net.input, {features: 4}), {features: 4}));
    const {weights} = match(both, saved(both));
    expect(weights.get('fc.weight')!.data).toEqual(initialWeights(both, 0).get('fc.weight')!.data);
    expect(weights.get('linear.weight')!.data).toEqual(initialWeights(both, 0).get('linear.weight')!.data);
  });
});

describe('published weights', () => {
  for (const depth of [20, 56]) {
    const file = `../shared/weights/resnet${depth}-cifar10.safetensors`;
    const whenPresent = existsSync(file) ? test : test.skip;
    whenPresent(`resnet${depth} of akamaster/pytorch_resnet_cifar10 loads completely`, () => {
      const graph = build(`resnet${depth}`);
      const {weights, missing, unexpected} = matchWeights(graph, parseSafetensors(readFileSync(file), file), file);
      expect({missing, unexpected, found: weights.size}).toEqual({
        missing: [],
        unexpected: [],
        found: graph.parameters.length,
      });
    });
  }
});
