import {describe, expect, test} from '@jest/globals';

import {graphBuilder, type GraphBuilder} from '../../../src/graph/builder.ts';
import type {Graph} from '../../../src/graph/graph.ts';
import {headParameters, withClasses} from '../../../src/graph/head.ts';
import {models} from '../../../src/plugins/models/index.ts';

test('every head starts fresh, and nothing that another output reads', () => {
  const g = graphBuilder('heads', [2, 6, 5]);
  const features = g.batchNorm('bn', g.conv('conv', g.input, {channels: 4, kernel: 3}));
  const flat = g.node('Flatten', 'flatten', [g.node('GlobalAveragePool', 'pool', [features])]);
  const numbers = g.node('Sigmoid', 'numbers', [g.linear('squashed', flat, {features: 3})]);
  const graph = g.build(numbers, g.linear('logits', flat, {features: 3}), features);
  expect([...headParameters(graph)].sort()).toEqual([
    'logits.bias',
    'logits.weight',
    'squashed.bias',
    'squashed.weight',
  ]);
});

describe('other classes', () => {
  /** All but how parameters are drawn. */
  const structure = ({parameters, ...graph}: Graph) => ({
    ...graph,
    parameters: parameters.map(({initializer: _, ...parameter}) => parameter),
  });
  const classifiers = models.filter(({name}) => !['onnx', 'yolov4-tiny'].includes(name));

  test.each(classifiers.map((model) => [model.name, model] as const))('%s is as it is built for them', (_, model) => {
    const {inputShape} = model.defaults;
    const seven = model.build({classes: 7, inputShape}, {});
    const changed = withClasses(seven, seven.outputs[0]!, 3);
    expect(structure(changed!)).toEqual(structure(model.build({classes: 3, inputShape}, {})));
  });

  /** Shapes of the parameters and attributes of the Reshapes, for 3 classes in place of `classes`. */
  function changed(classes: number, build: (g: GraphBuilder, pooled: string) => string) {
    const g = graphBuilder('head', [2, 6, 5]);
    const x = g.conv('body', g.input, {channels: 4, kernel: 3});
    const graph = g.build(build(g, g.node('GlobalAveragePool', 'pool', [x])));
    const result = withClasses(graph, graph.outputs[0]!, 3);
    if (result === undefined) return undefined;
    expect(result.parameters.find(({name}) => name === 'body.weight')!.shape).toEqual([4, 2, 3, 3]);
    const parameters = result.parameters.filter(({name}) => name !== 'body.weight');
    return {
      ...Object.fromEntries(parameters.map(({name, shape}) => [name, shape])),
      ...Object.fromEntries(result.nodes.flatMap(({name, attributes: {shape}}) => (shape ? [[name, shape]] : []))),
      classes,
    };
  }
  const weight = (name: string, shape: readonly number[], role: 'weight' | 'bias' | 'constant' = 'weight') => ({
    name,
    shape,
    role,
    initializer: {kind: 'constant', value: 0} as const,
  });

  test('a convolution before the pooling, and a Reshape that counts the classes', () => {
    expect(
      changed(10, (g, pooled) => {
        const y = g.node('Conv', 'last', [pooled, g.parameter(weight('last.weight', [10, 4, 1, 1]))], {
          kernel_shape: [1, 1],
        });
        return g.node('Reshape', 'rows', [g.node('Relu', 'relu', [y])], {shape: [-1, 10]});
      }),
    ).toEqual({'last.weight': [3, 4, 1, 1], rows: [-1, 3], classes: 10});
  });

  test('as many inputs as outputs: a MatMul with a bias, the mean of two heads', () => {
    expect(
      changed(4, (g, pooled) => {
        const flat = g.node('Flatten', 'flatten', [pooled]);
        const head = (name: string): string =>
          g.node('Add', `${name}.add`, [
            g.node('MatMul', name, [flat, g.parameter(weight(`${name}.weight`, [4, 4]))]),
            g.parameter(weight(`${name}.bias`, [1, 4], 'bias')),
          ]);
        return g.node('Add', 'sum', [head('first'), head('second')]);
      }),
    ).toEqual({
      'first.weight': [4, 3],
      'first.bias': [1, 3],
      'second.weight': [4, 3],
      'second.bias': [1, 3],
      classes: 4,
    });
  });

  test('undefined where more than the last layers hangs on them', () => {
    const constants = changed(4, (g, pooled) => {
      const y = g.linear('last', g.node('Flatten', 'flatten', [pooled]), {features: 4});
      return g.node('Mul', 'scaled', [y, g.parameter(weight('scale', [4], 'constant'))]);
    });
    const shared = changed(4, (g, pooled) => {
      const w = g.parameter(weight('shared', [4, 4]));
      const x = g.node('MatMul', 'first', [g.node('Flatten', 'flatten', [pooled]), w]);
      return g.node('MatMul', 'second', [g.node('Relu', 'relu', [x]), w]);
    });
    expect([constants, shared]).toEqual([undefined, undefined]);
  });
});
