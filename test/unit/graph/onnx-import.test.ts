import {mkdtempSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import {SdqError} from '../../../src/errors.ts';
import {layerTable} from '../../../src/graph/layer-table.ts';
import {createNetwork} from '../../../src/graph/network.ts';
import {fromOnnx} from '../../../src/graph/onnx/from-onnx.ts';
import {encodeOnnx, type OnnxModel, type OnnxNode} from '../../../src/graph/onnx/proto.ts';
import {floatTensor, integerTensor} from '../../../src/graph/onnx/tensors.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {temporaryFolder} from '../../helpers/temporary-folder.ts';

useCpuBackend();
const base = temporaryFolder();

const fixture = readFileSync(path.join(import.meta.dirname, '../../fixtures/network.onnx'));

/** Of x[i] = sin(i), as the scripts of the fixtures print them. */
function logitsOf({graph, weights}: ReturnType<typeof fromOnnx>): Float32Array {
  const network = createNetwork(graph, weights);
  const x = tf.tensor(
    Float32Array.from({length: 70}, (_, i) => Math.sin(i)),
    [1, 2, 7, 5],
  );
  const logits = network.forward(tf.transpose(x, [0, 2, 3, 1]), {training: false}).dataSync<'float32'>();
  network.dispose();
  return logits;
}

describe('a file of another exporter (test/fixtures/make_onnx.py)', () => {
  test('computes the logits that ONNX Runtime computes', () => {
    const logits = logitsOf(fromOnnx(fixture, 'network.onnx'));
    // Printed by make_onnx.py.
    const expected = [-0.32046765089035034, -0.3823687434196472, -0.3697867691516876];
    expected.forEach((value, i) => expect(logits[i]).toBeCloseTo(value, 5));
    expect(logits).toHaveLength(3);
  });

  test('names layers after their weights, or as readably as their names allow', () => {
    const {graph} = fromOnnx(fixture, 'network.onnx');
    expect(layerTable(graph).layers.map(({name, weight}) => [name, weight])).toEqual([
      ['features.0', 'features.0.weight'],
      ['block.conv', 'onnx::Conv_7'],
      ['head', 'head.weight'],
    ]);
    const roles = Object.fromEntries(graph.parameters.map(({name, role}) => [name, role]));
    expect(roles).toMatchObject({
      'features.0.weight': 'weight',
      'features.1.weight': 'norm',
      'features.1.running_var': 'statistic',
      'onnx::Conv_8': 'bias',
    });
  });

  test('a file with any one byte changed, or cut anywhere, is imported or refused in plain words', () => {
    const outcome = (bytes: Uint8Array): void => {
      try {
        fromOnnx(bytes, 'changed.onnx');
      } catch (error) {
        if (!(error instanceof SdqError)) throw error;
        expect(error.message).toMatch(/^changed\.onnx cannot be imported: .*\.$/s);
        expect(error.message.length).toBeLessThan(600);
      }
    };
    const place = fc.nat({max: fixture.length - 1});
    fc.assert(
      fc.property(place, fc.nat({max: 255}), (at, value) => {
        const bytes = Uint8Array.from(fixture);
        bytes[at] = value;
        outcome(bytes);
      }),
      {numRuns: 2000, seed: 1},
    );
    fc.assert(
      fc.property(place, (length) => outcome(Uint8Array.from(fixture.subarray(0, length)))),
      {numRuns: 200, seed: 1},
    );
  });
});

describe('a file of PyTorch (test/fixtures/make_torch_onnx.py)', () => {
  test.each(['torchscript', 'dynamo'])('by the exporter %s computes the logits of PyTorch', (name) => {
    const file = path.join(import.meta.dirname, `../../fixtures/${name}.onnx`);
    const imported = fromOnnx(readFileSync(file), file);
    const logits = logitsOf(imported);
    // Printed by make_torch_onnx.py.
    const expected = [0.2842123210430145, -0.19214856624603271, -0.08144057542085648];
    expected.forEach((value, i) => expect(logits[i]).toBeCloseTo(value, 5));
    expect(logits).toHaveLength(3);
    expect(layerTable(imported.graph).layers.map((layer) => layer.name)).toEqual([
      'conv1',
      'layer1.conv1',
      'layer1.conv2',
      'layer1.shortcut.0',
      'se.fc1',
      'se.fc2',
      'dw',
      'fc',
    ]);
  });

  test.each([
    ['missing', 'dynamo.onnx.data', null, /Cannot read .*dynamo\.onnx\.data: no such file/],
    [
      'cut short',
      'dynamo.onnx.data',
      3000,
      /the constant ".*" has \d+ bytes from byte \d+ of dynamo\.onnx\.data, which has 3000/,
    ],
    [
      'in the folder above',
      '../amo.onnx.data',
      3124,
      /is kept in "\.\.\/amo\.onnx\.data", which is no file in the folder/,
    ],
    ['anywhere', '/ynamo.onnx.data', 3124, /is kept in "\/ynamo\.onnx\.data", which is no file in the folder/],
  ])('the file of its weights: %s', (_, location, bytes, message) => {
    const fixtures = path.join(import.meta.dirname, '../../fixtures');
    const folder = mkdtempSync(path.join(base, 'external-'));
    const data = readFileSync(path.join(fixtures, 'dynamo.onnx.data'));
    if (bytes !== null) writeFileSync(path.join(folder, 'dynamo.onnx.data'), data.subarray(0, bytes));
    const model = readFileSync(path.join(fixtures, 'dynamo.onnx'), 'latin1').replaceAll('dynamo.onnx.data', location);
    const file = path.join(folder, 'dynamo.onnx');
    expect(() => fromOnnx(Buffer.from(model, 'latin1'), file)).toThrow(SdqError);
    expect(() => fromOnnx(Buffer.from(model, 'latin1'), file)).toThrow(message);
  });

  test('parameters that were equal, and so are in the file once, are each a parameter', () => {
    const file = path.join(import.meta.dirname, '../../fixtures/torchscript.onnx');
    const {graph, weights} = fromOnnx(readFileSync(file), file);
    const names = ['layer1.bn1.weight', 'layer1.bn2.weight', 'layer1.shortcut.1.weight'];
    expect(graph.parameters.map(({name}) => name)).toEqual(expect.arrayContaining(names));
    for (const name of names) expect([...weights.get(name)!.data]).toEqual([1, 1, 1, 1, 1, 1]);
  });
});

describe('what cannot be imported is said', () => {
  const conv: OnnxNode = {name: 'conv', op: 'Conv', inputs: ['x', 'w'], outputs: ['y']};
  const w = floatTensor('w', {shape: [2, 3, 1, 1], data: new Float32Array(6)});
  const base: OnnxModel['graph'] = {
    name: 'g',
    nodes: [conv],
    initializers: [w],
    inputs: [{name: 'x', shape: ['N', 3, 4, 4]}],
    outputs: [{name: 'y', shape: ['N', 2, 4, 4]}],
  };
  const imported = (graph: Partial<OnnxModel['graph']>) =>
    fromOnnx(
      encodeOnnx({
        graph: {...base, ...graph},
        irVersion: 10,
        opsets: {'': 21},
        producerVersion: '',
        metadata: {},
      }),
      'a.onnx',
    );
  const relu = (inputs: readonly string[]): OnnxNode => ({name: 'low', op: 'Relu', inputs, outputs: ['low']});

  test('the base is fine', () => {
    expect(imported({}).graph.nodes).toHaveLength(1);
  });

  test.each<[string, Partial<OnnxModel['graph']>, string]>([
    [
      'two inputs',
      {inputs: [...base.inputs, {name: 'z', shape: ['N', 3]}]},
      'it has 2 inputs; sdq takes networks with 1',
    ],
    ['no output', {outputs: []}, 'it has 0 outputs'],
    [
      'an image of any size',
      {inputs: [{name: 'x', shape: ['N', 3, 'H', 4]}]},
      'the input "x" has the shape [N, 3, ?, 4]; all sizes but the batch\'s must be fixed',
    ],
    ['an operator that sdq has not', {nodes: [{...conv, op: 'Convv'}]}, 'the operator Convv is not supported'],
    [
      'an operator of somebody else',
      {nodes: [{...conv, domain: 'com.microsoft'}]},
      'node "conv" (Conv): it is of the domain com.microsoft',
    ],
    [
      'padding by rule',
      {nodes: [{...conv, attributes: [{name: 'auto_pad', kind: 'string', value: 'SAME_UPPER'}]}]},
      'the attribute "auto_pad" is not supported',
    ],
    [
      'a constant that lacks values',
      {initializers: [{...w, shape: [2, 3, 3, 3]}]},
      'the constant "w" of shape [2, 3, 3, 3] holds 6 values',
    ],
    [
      'quantized weights',
      {initializers: [integerTensor('w', 'int8', [2, 3, 1, 1], [1, 2, 3, 4, 5, 6])]},
      'the constant "w" has the data type 3; float, double, int32 and int64 are read',
    ],
    [
      'a bound that is computed',
      {nodes: [relu(['x']), {name: 'c', op: 'Clip', inputs: ['x', 'low'], outputs: ['y']}]},
      'Node "c" (Clip): input "low" is computed; sdq takes a constant there',
    ],
    [
      'padding of chosen axes',
      {
        nodes: [{name: 'p', op: 'Pad', inputs: ['x', 'pads', '', 'axes'], outputs: ['y']}],
        initializers: [integerTensor('pads', 'int64', [2], [1, 1]), integerTensor('axes', 'int64', [1], [2])],
      },
      'it pads axes of its own choice',
    ],
    [
      'weights that are computed',
      {nodes: [relu(['w']), {...conv, inputs: ['x', 'low']}]},
      'it must be a computed value',
    ],
  ])('%s', (_, graph, message) => {
    expect(() => imported(graph)).toThrow(SdqError);
    expect(() => imported(graph)).toThrow(`a.onnx cannot be imported: `);
    expect(() => imported(graph)).toThrow(message);
  });

  test('nodes without names, or with one name, get numbers', () => {
    const nodes: OnnxNode[] = [
      {...conv, name: '', outputs: ['a']},
      {name: '', op: 'Relu', inputs: ['a'], outputs: ['b']},
      {name: '/b/Relu', op: 'Relu', inputs: ['b'], outputs: ['c']},
      {name: '/b/Relu_1', op: 'Relu', inputs: ['c'], outputs: ['y']},
    ];
    expect(imported({nodes}).graph.nodes.map(({name}) => name)).toEqual(['conv', 'relu', 'b', 'b_2']);
  });
});
