import {describe, expect, test} from '@jest/globals';

import {graphBuilder} from '../../../../src/graph/builder.ts';
import {initialWeights} from '../../../../src/graph/initialize.ts';
import {createNetwork, type Network} from '../../../../src/graph/network.ts';
import type {OnnxModel} from '../../../../src/graph/onnx/proto.ts';
import type {Quantization} from '../../../../src/training/quantized-network.ts';
import {exporters} from '../../../../src/plugins/exporters/index.ts';
import {weightQuantizers} from '../../../../src/plugins/quantizers/index.ts';
import {integerNetwork} from '../../../../src/sdq/integer-network.ts';
import {useCpuBackend} from '../../../helpers/cpu-backend.ts';
import {expectSameInRuntime} from '../../../helpers/onnx-runtime.ts';
import {quantizedAt} from '../../../helpers/quantized-network.ts';
import {tinyNetwork} from '../../../helpers/tiny-network.ts';

useCpuBackend();

async function exported(format: string, network: Network, quantization: Quantization | undefined) {
  const print = await exporters.find(({name}) => name === format)!.load();
  return print(await integerNetwork(network, quantization));
}

const bits = [1, 2, 3, 4, 5, 6, 7, 8];

const rounding = exporters.filter(({roundsInputs}) => roundsInputs !== false);

describe.each(rounding.map(({name}) => name))('%s: ONNX Runtime computes what the network computes', (format) => {
  test.each(weightQuantizers.flatMap(({name}) => bits.map((b): [string, number] => [name, b])))(
    'weights %s at %i bits',
    async (weights, weightBits) => {
      const network = tinyNetwork();
      const learnSteps = weightQuantizers.find(({name}) => name === weights)!.learnsScale;
      const quantization = await quantizedAt(network, {weights, learnSteps}, {weightBits, activationBits: 32});
      expect(quantization.steps.size).toBe(learnSteps ? 3 : 0);
      await expectSameInRuntime(network, await exported(format, network, quantization), quantization.forward);
    },
  );

  test.each(['pact', 'lsq'].flatMap((name) => bits.map((b): [string, number] => [name, b])))(
    'inputs %s at %i bits, that of the network signed',
    async (activations, activationBits) => {
      const network = tinyNetwork(2);
      const quantization = await quantizedAt(network, {activations}, {weightBits: 4, activationBits});
      expect(quantization.inputs.get('conv1')!.quantizer.signed).toBe(true);
      await expectSameInRuntime(network, await exported(format, network, quantization), quantization.forward);
    },
  );

  test('layers of different bits, and one in full precision', async () => {
    const network = tinyNetwork(3);
    const quantization = await quantizedAt(network, {learnSteps: true}, (layer) =>
      layer === 'conv2' ? {weightBits: 32, activationBits: 3} : {weightBits: 2, activationBits: 32},
    );
    await expectSameInRuntime(network, await exported(format, network, quantization), quantization.forward);
  });

  test('a network in full precision', async () => {
    const network = tinyNetwork(4);
    const model = await exported(format, network, undefined);
    expect(model.graph.nodes.map(({op}) => op)).toEqual(network.graph.nodes.map(({op}) => op));
    await expectSameInRuntime(network, model);
  });
});

/** A sum reads what the first layer reads, and the network's input is signed. */
function branches(): Network {
  const g = graphBuilder('branches', [2, 4, 4]);
  const rectified = g.node('Relu', 'relu', [g.input]);
  const left = g.node('Relu', 'left_relu', [g.conv('left', rectified, {channels: 2, kernel: 3})]);
  const sum = g.node('Add', 'sum', [rectified, g.conv('right', left, {channels: 2, kernel: 3})]);
  const pooled = g.node('Relu', 'sum_relu', [sum]);
  const features = g.node('Flatten', 'flatten', [g.node('GlobalAveragePool', 'mean', [pooled])]);
  const graph = g.build(g.linear('last', features, {features: 2}));
  return createNetwork(graph, initialWeights(graph, 1));
}

describe('what is stored', () => {
  const typesOf = ({initializers}: OnnxModel['graph'], ending: string): string[] =>
    initializers.filter(({name}) => name.endsWith(ending)).map(({type}) => type);
  const atBits = async (format: string, weights: string, weightBits: number): Promise<OnnxModel['graph']> => {
    const network = tinyNetwork();
    const quantization = await quantizedAt(network, {weights}, {weightBits, activationBits: 32});
    return (await exported(format, network, quantization)).graph;
  };

  test.each([
    ['onnx-qdq', 'symmetric', ['int4', 'int4', 'int4', 'int4', 'int8', 'int8', 'int8', 'int8']],
    ['onnx-qdq-int2', 'symmetric', ['int2', 'int2', 'int4', 'int4', 'int8', 'int8', 'int8', 'int8']],
    ['onnx-qdq', 'dorefa', ['int4', 'int4', 'int4', 'int8', 'int8', 'int8', 'int8', 'int16']],
  ])('%s holds the integers of %s in the smallest type', async (format, weights, types) => {
    for (const [i, type] of types.entries()) {
      const graph = await atBits(format, weights, i + 1);
      expect(typesOf(graph, '.weight_integers')).toEqual([type, type, type]);
      // The float weights are left out.
      expect(graph.initializers.filter(({name}) => name.endsWith('conv1.weight'))).toEqual([]);
    }
  });

  test('qonnx has the steps of a MatMul along its columns', async () => {
    const builder = graphBuilder('rows', [5, 3]);
    const w = builder.parameter({
      name: 'w',
      shape: [3, 4],
      role: 'weight',
      initializer: {kind: 'uniform', bound: 1},
    });
    const graph = builder.build(builder.node('MatMul', 'product', [builder.input, w]));
    const network = createNetwork(graph, initialWeights(graph, 1));
    const quantization = await quantizedAt(network, {}, {weightBits: 3, activationBits: 32});
    const {graph: written} = await exported('qonnx', network, quantization);
    const {inputs} = written.nodes.find(({name}) => name === 'product.weight_quantized')!;
    expect(written.initializers.find(({name}) => name === inputs[1])!.shape).toEqual([1, 4]);
  });

  test('qonnx has a Relu of its own before an unsigned Quant, but where one stands there already for it alone', async () => {
    const network = branches();
    const quantization = await quantizedAt(network, {}, {weightBits: 4, activationBits: 3});
    const model = await exported('qonnx', network, quantization);
    const added = model.graph.nodes.filter(({name, op}) => op === 'Relu' && name.endsWith('.input_rectified'));
    expect(added.map(({inputs}) => inputs)).toEqual([['relu'], ['flatten']]);
    for (const {op, inputs, attributes} of model.graph.nodes) {
      const unsigned = attributes?.some((each) => each.name === 'signed' && 'value' in each && each.value === 0);
      if (op !== 'Quant' || unsigned !== true) continue;
      const source = model.graph.nodes.find(({outputs}) => outputs[0] === inputs[0])!;
      const readers = model.graph.nodes.filter((node) => node.inputs.includes(inputs[0]!));
      expect([source.op, readers.length]).toEqual(['Relu', 1]);
    }
    await expectSameInRuntime(network, model, quantization.forward);
  });

  test('qonnx says bits, sign and range', async () => {
    const signs = async (weights: string, weightBits: number) => {
      const {initializers, nodes} = await atBits('qonnx', weights, weightBits);
      const {attributes = [], inputs, op} = nodes.find(({name}) => name === 'conv1.weight_quantized')!;
      const [, , zeroPoint, bitwidth] = inputs.map((name) => {
        const {bytes} = initializers.find((each) => each.name === name)!;
        return new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
      });
      const values = attributes.map((each) => [each.name, 'value' in each ? each.value : undefined] as const);
      return {op, zeroPoint, bitwidth, ...Object.fromEntries(values)};
    };
    const plain = {op: 'Quant', zeroPoint: 0, bitwidth: 3, signed: 1, narrow: 0, rounding_mode: 'ROUND'};
    expect(await signs('symmetric', 3)).toEqual(plain);
    expect(await signs('narrow', 3)).toEqual({...plain, narrow: 1});
    expect(await signs('dorefa', 3)).toEqual({...plain, zeroPoint: -0.5});
    expect(await signs('symmetric', 1)).toEqual({op: 'BipolarQuant'});
  });

  test('aimet has a copy of an input that others read, and weights on their grids', async () => {
    const network = branches();
    const quantization = await quantizedAt(network, {}, {weightBits: 2, activationBits: 3});
    const model = await exported('aimet', network, quantization);
    const copies = model.graph.nodes.filter(({op}) => op === 'Clip');
    expect(copies.map(({inputs, outputs}) => [...inputs, ...outputs])).toEqual([
      ['relu', 'left.input_least', 'left.input'],
    ]);
    expect(model.graph.nodes.map(({op}) => op)).not.toContain('QuantizeLinear');
    const {weight} = quantization.forward;
    await expectSameInRuntime(network, model, {weight});
  });

  test('aimet copies what would be rounded with a value that others read; a signed input has no bounds', async () => {
    const g = graphBuilder('signed', [2, 4, 4]);
    const sum = g.node('Add', 'sum', [g.input, g.conv('first', g.input, {channels: 2, kernel: 3})]);
    // AIMET rounds the input of a Relu as its output, and here an addition reads it too.
    const second = g.conv('second', g.node('Relu', 'relu', [sum]), {channels: 2, kernel: 3});
    const features = g.node('Flatten', 'flatten', [g.node('Add', 'end', [sum, second])]);
    const graph = g.build(g.linear('last', features, {features: 2}));
    const network = createNetwork(graph, initialWeights(graph, 1));
    const quantization = await quantizedAt(network, {}, {weightBits: 32, activationBits: 8});
    const model = await exported('aimet', network, quantization);
    expect(model.graph.nodes.filter(({op}) => op === 'Clip')).toMatchObject([
      {inputs: [graph.input.name], outputs: ['first.input']},
      {inputs: ['relu', 'second.input_least'], outputs: ['second.input']},
    ]);
    await expectSameInRuntime(network, model);
  });
});
