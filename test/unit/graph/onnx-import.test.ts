import {mkdtempSync, readFileSync, writeFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';

import {SdqError} from '../../../src/errors.ts';
import {filesBeside} from '../../../src/files.ts';
import {initialWeights} from '../../../src/graph/initialize.ts';
import {layerTable} from '../../../src/graph/layer-table.ts';
import {createNetwork} from '../../../src/graph/network.ts';
import {fromOnnx} from '../../../src/graph/onnx/from-onnx.ts';
import {encodeOnnx, type OnnxAttribute, type OnnxModel, type OnnxNode} from '../../../src/graph/onnx/proto.ts';
import {floatTensor, integerTensor} from '../../../src/graph/onnx/tensors.ts';
import {onnxVersion, toOnnx} from '../../../src/graph/onnx/to-onnx.ts';
import {elements} from '../../../src/graph/ops/operator.ts';
import {loadOnnxRuntime} from '../../../src/phases/onnx-runtime.ts';
import {normal, uniform} from '../../../src/random.ts';
import {batchStatistics} from '../../../src/training/batch-norm-statistics.ts';
import {networkParameters} from '../../../src/training/optimizers.ts';
import {useCpuBackend} from '../../helpers/cpu-backend.ts';
import {expectSameInRuntime} from '../../helpers/onnx-runtime.ts';
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
    const imported = fromOnnx(readFileSync(file), file, filesBeside(file));
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
    expect(() => fromOnnx(Buffer.from(model, 'latin1'), file, filesBeside(file))).toThrow(SdqError);
    expect(() => fromOnnx(Buffer.from(model, 'latin1'), file, filesBeside(file))).toThrow(message);
  });

  test('parameters that were equal, and so are in the file once, are each a parameter', () => {
    const file = path.join(import.meta.dirname, '../../fixtures/torchscript.onnx');
    const {graph, weights} = fromOnnx(readFileSync(file), file, filesBeside(file));
    const names = ['layer1.bn1.weight', 'layer1.bn2.weight', 'layer1.shortcut.1.weight'];
    expect(graph.parameters.map(({name}) => name)).toEqual(expect.arrayContaining(names));
    for (const name of names) expect([...weights.get(name)!.data]).toEqual([1, 1, 1, 1, 1, 1]);
  });
});

/** Logits of three images of noise, [3, classes], flat: of the imported network at once, and of ONNX Runtime one by one. */
async function bothLogits(bytes: Uint8Array): Promise<[ours: Float32Array, theirs: Float32Array]> {
  const images = 3;
  const {graph, weights} = fromOnnx(bytes, 'network.onnx');
  const shape = [images, ...graph.input.shape];
  const draw = uniform(5, 'bench');
  const planar = Float32Array.from({length: elements(shape)}, () => normal(draw));
  const network = createNetwork(graph, weights);
  const x = tf.tensor(planar, shape);
  const input = shape.length === 4 ? tf.transpose(x, [0, 2, 3, 1]) : x;
  const ours = network.forward(input, {training: false}).dataSync<'float32'>();
  network.dispose();
  const runtime = await (await loadOnnxRuntime()).open(bytes, 'network.onnx');
  const theirs: number[] = [];
  for (let i = 0; i < images; i++) {
    const size = planar.length / images;
    const [result] = await runtime.run(planar.subarray(i * size, (i + 1) * size), [1, ...graph.input.shape]);
    theirs.push(...result!);
  }
  await runtime.release();
  return [ours, Float32Array.from(theirs)];
}

function expectClose([ours, theirs]: readonly [Float32Array, Float32Array]): void {
  expect(ours).toHaveLength(theirs.length);
  const largest = theirs.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  expect(largest).toBeGreaterThan(0);
  ours.forEach((value, i) => expect(Math.abs(value - theirs[i]!)).toBeLessThanOrEqual(1e-5 * largest));
}

describe('what a file computes of its shapes and constants (test/fixtures/make_import_onnx.py)', () => {
  const fixtureOf = (name: string): Buffer =>
    readFileSync(path.join(import.meta.dirname, `../../fixtures/import/${name}.onnx`));

  test.each([
    ['view', 'a view of as many rows as the batch has, which is open', ['conv', 'fc']],
    ['padded', 'pads in the order of PyTorch', ['conv', 'fc']],
    ['condition', 'an If that the shape decides, and constants of other types that nothing reads', ['fc']],
  ])('%s: %s', async (name, _, layers) => {
    expectClose(await bothLogits(fixtureOf(name)));
    const {graph} = fromOnnx(fixtureOf(name), 'network.onnx');
    expect(layerTable(graph).layers.map((layer) => layer.name)).toEqual(layers);
    expect(graph.nodes.map(({op}) => op)).not.toContain('Shape');
  });

  test('batch-norms whose equal tensors PyTorch has merged have tensors of their own, and can be trained', async () => {
    expectClose(await bothLogits(fixtureOf('merged')));
    const {graph, weights} = fromOnnx(fixtureOf('merged'), 'network.onnx');
    // sum(p.numel() for p in PreActivation().parameters())
    expect(layerTable(graph).parameters).toBe(247);
    const norms = graph.nodes.filter(({op}) => op === 'BatchNormalization');
    const read = norms.flatMap(({inputs}) => inputs.slice(1));
    expect(new Set(read).size).toBe(8);
    expect(read.slice(0, 4)).toEqual(['bn1.weight', 'bn1.bias', 'bn1.running_mean', 'bn1.running_var']);
    const roles = new Map(graph.parameters.map((parameter) => [parameter.name, parameter.role]));
    expect(read.map((name) => roles.get(name))).toEqual([0, 1].flatMap(() => ['norm', 'norm', 'statistic', 'statistic'])); // prettier-ignore
    const network = createNetwork(graph, weights);
    const statistics = batchStatistics(network);
    const x = tf.randomNormal([4, 7, 5, 2], 0, 1, 'float32', 1);
    network.forward(x, {training: true, onBatchStatistics: statistics.collect});
    statistics.settle(true);
    for (const name of read.filter((each) => roles.get(each) === 'statistic')) {
      expect(new Set(network.statistics.get(name)!.dataSync()).size).toBeGreaterThan(1);
    }
    network.dispose();
  });
});

describe('names and forms of others', () => {
  const values = (length: number, low = -1): Float32Array => {
    const draw = uniform(length, 'bench', low + 2);
    return Float32Array.from({length}, () => low + draw());
  };
  const file = (
    nodes: readonly OnnxNode[],
    initializers: OnnxModel['graph']['initializers'],
    input: OnnxModel['graph']['inputs'][number] = {name: 'x', shape: ['N', 2, 6, 5]},
    opset = 17,
  ): Uint8Array => {
    const read = new Set(nodes.flatMap(({inputs}) => inputs));
    const graph = {
      name: 'g',
      nodes,
      initializers: initializers.filter(({name}) => read.has(name)),
      inputs: [input],
      outputs: [{name: 'y', shape: ['N', 3]}],
    };
    return encodeOnnx({graph, irVersion: 8, opsets: {'': opset}, producerVersion: '', metadata: {}});
  };
  const node = (op: string, inputs: string[], output: string, attributes: OnnxNode['attributes'] = [], name = `/${output}/${op}`): OnnxNode => ({name, op, inputs, outputs: [output], attributes}); // prettier-ignore
  const weight = (name: string, ...shape: number[]) => floatTensor(name, {shape, data: values(elements(shape))});
  const head = [node('GlobalAveragePool', ['c'], 'p'), node('Flatten', ['p'], 'y')];
  const same = (value: string): OnnxAttribute[] => [
    {name: 'auto_pad', kind: 'string', value},
    {name: 'strides', kind: 'ints', value: [2, 3]},
    {name: 'dilations', kind: 'ints', value: [2, 1]},
  ];
  const kernel: OnnxAttribute[] = [{name: 'kernel_shape', kind: 'ints', value: [3, 2]}];

  test.each<[string, Uint8Array]>([
    ...['SAME_UPPER', 'SAME_LOWER', 'VALID'].flatMap((rule): [string, Uint8Array][] => [
      [
        `Conv, auto_pad ${rule}`,
        file(
          [node('Conv', ['x', 'w'], 'c', same(rule).slice(0, rule === 'VALID' ? 3 : 2)), ...head],
          [weight('w', 3, 2, 3, 2)],
        ),
      ],
      ...['MaxPool', 'AveragePool'].map((op): [string, Uint8Array] => [
        `${op}, auto_pad ${rule}`,
        file(
          [node('Conv', ['x', 'w'], 'k'), node(op, ['k'], 'c', [...kernel, ...same(rule).slice(0, 2)]), ...head],
          [weight('w', 3, 2, 1, 1)],
        ),
      ]),
    ]),
    ...[-Infinity, 0].map((value): [string, Uint8Array] => [
      `MaxPool after a border of ${value}`,
      file(
        [
          node('Conv', ['x', 'w'], 'k'),
          node('Pad', ['k', 'pads', 'border'], 'q'),
          node('MaxPool', ['q'], 'c', [...kernel, {name: 'strides', kind: 'ints', value: [2, 3]}]),
          ...head,
        ],
        [
          weight('w', 3, 2, 1, 1),
          integerTensor('pads', 'int64', [8], [0, 0, 1, 0, 0, 0, 2, 1]),
          floatTensor('border', {shape: [], data: Float32Array.of(value)}),
        ],
      ),
    ]),
    [
      'Gemm with alpha, beta and a bias of one row',
      file(
        [
          node('Flatten', ['x'], 'f', [{name: 'axis', kind: 'int', value: -3}]),
          node('Gemm', ['f', 'w', 'b'], 'y', [
            {name: 'alpha', kind: 'float', value: 0.5},
            {name: 'beta', kind: 'float', value: -2},
            {name: 'transB', kind: 'int', value: 1},
          ]),
        ],
        [weight('w', 3, 60), weight('b', 1, 3)],
      ),
    ],
    [
      'Gemm with one number as its bias',
      file([node('Flatten', ['x'], 'f'), node('Gemm', ['f', 'w', 'b'], 'y')], [weight('w', 60, 3), weight('b')]),
    ],
    [
      'a mean over axes of either sign',
      file(
        [
          node('Conv', ['x', 'w'], 'c'),
          node('ReduceMean', ['c'], 'y', [
            {name: 'axes', kind: 'ints', value: [2, -1]},
            {name: 'keepdims', kind: 'int', value: 0},
          ]),
        ],
        [weight('w', 3, 2, 1, 1)],
      ),
    ],
    [
      'a sum of three, and of one',
      file(
        [
          node('Conv', ['x', 'w'], 'k'),
          node('Relu', ['k'], 'r'),
          node('Sum', ['k', 'r', 'k'], 's'),
          node('Sum', ['s'], 'c'),
          ...head,
        ],
        [weight('w', 3, 2, 1, 1)],
      ),
    ],
    [
      'parts of a Split, as even as they can be, and one that nothing reads',
      file(
        [
          node('Conv', ['x', 'w'], 'k'),
          {
            name: 'split',
            op: 'Split',
            inputs: ['k'],
            outputs: ['a', 'unread', 'b'],
            attributes: [
              {name: 'axis', kind: 'int', value: -1},
              {name: 'num_outputs', kind: 'int', value: 3},
            ],
          },
          node('GlobalAveragePool', ['a'], 'pa'),
          node('GlobalAveragePool', ['b'], 'pb'),
          node('Add', ['pa', 'pb'], 'p'),
          node('Flatten', ['p'], 'y'),
        ],
        [weight('w', 3, 2, 1, 1)],
        undefined,
        18,
      ),
    ],
    [
      'channels and pixels that change places by reshapes with numbers for one image',
      file(
        [
          node('Conv', ['x', 'w'], 'k'),
          node('Reshape', ['k', 'rows'], 'r'),
          node('Transpose', ['r'], 't', [{name: 'perm', kind: 'ints', value: [1, 0, 2]}]),
          node('Reshape', ['t', 'merged'], 'm'),
          node('Relu', ['m'], 'u'),
          node('Reshape', ['u', 'parted'], 'd'),
          node('Transpose', ['d'], 'e', [{name: 'perm', kind: 'ints', value: [1, 0, 2]}]),
          node('ReduceMean', ['e'], 'y', [
            {name: 'axes', kind: 'ints', value: [2]},
            {name: 'keepdims', kind: 'int', value: 0},
          ]),
        ],
        [
          weight('w', 3, 2, 1, 1),
          integerTensor('rows', 'int64', [3], [1, 3, 30]),
          // [channels, batch, pixels] to [channels, batch · 5, 6], and back.
          integerTensor('merged', 'int64', [3], [3, 5, 6]),
          integerTensor('parted', 'int64', [3], [3, 1, 30]),
        ],
        {name: 'x', shape: [1, 2, 6, 5]},
      ),
    ],
    ...(
      [
        ['MaxPool', [3], [2], [1, 0], []],
        ['MaxPool', [2], [2], [0, 0], [{name: 'ceil_mode', kind: 'int', value: 1}]],
        ['AveragePool', [3], [2], [1, 1], []],
        ['AveragePool', [3], [1], [0, 2], [{name: 'count_include_pad', kind: 'int', value: 1}]],
      ] as const
    ).map(([op, kernelShape, strides, pads, others]): [string, Uint8Array] => [
      `${op} over rows, kernel ${kernelShape[0]}, pads ${pads.join()}`,
      file(
        [
          node('Conv', ['x', 'w'], 'k'),
          node(op, ['k'], 'p', [
            {name: 'kernel_shape', kind: 'ints', value: kernelShape},
            {name: 'strides', kind: 'ints', value: strides},
            {name: 'pads', kind: 'ints', value: pads},
            ...others,
          ]),
          node('GlobalAveragePool', ['p'], 'g'),
          node('Flatten', ['g'], 'y'),
        ],
        [weight('w', 3, 2, 2)],
        {name: 'x', shape: ['N', 2, 8]},
      ),
    ]),
    ...['reflect', 'edge', 'wrap'].map((mode): [string, Uint8Array] => [
      `Pad, ${mode}`,
      file(
        [
          node('Pad', ['x', 'pads'], 'q', [{name: 'mode', kind: 'string', value: mode}]),
          node('Conv', ['q', 'w'], 'c', [{name: 'strides', kind: 'ints', value: [3, 2]}]),
          ...head,
        ],
        [weight('w', 3, 3, 4, 3), integerTensor('pads', 'int64', [8], [0, 1, 3, 2, 0, 0, 5, 4])],
        undefined,
        19,
      ),
    ]),
    [
      'Einsum: attention, and a bias by a parameter for each row',
      file(
        [
          node('Conv', ['x', 'w'], 'k'),
          node('Einsum', ['k', 'k'], 'scores', [{name: 'equation', kind: 'string', value: 'bchw, bcvw -> bchv'}]),
          node('Einsum', ['k', 'rows'], 'bias', [{name: 'equation', kind: 'string', value: 'bchw,hvw->bchv'}]),
          node('Einsum', ['columns', 'k'], 'others', [{name: 'equation', kind: 'string', value: 'wvc,bchw->bhvw'}]),
          node('Add', ['scores', 'bias'], 'a'),
          node('ReduceMean', ['a'], 'p', [{name: 'axes', kind: 'ints', value: [2, 3]}, {name: 'keepdims', kind: 'int', value: 0}]), // prettier-ignore
          node('ReduceMean', ['others'], 'o', [{name: 'axes', kind: 'ints', value: [1, 3]}, {name: 'keepdims', kind: 'int', value: 0}]), // prettier-ignore
          node('Add', ['p', 'o'], 'y'),
        ],
        [weight('w', 3, 2, 1, 1), weight('rows', 6, 6, 5), weight('columns', 5, 3, 3)],
      ),
    ],
    [
      'Tile of axes of size 1',
      file(
        [
          node('Conv', ['x', 'w'], 'k'),
          node('GlobalAveragePool', ['k'], 'g'),
          node('Tile', ['g', 'repeats'], 't'),
          node('Mul', ['t', 'k'], 'c'),
          ...head,
        ],
        [weight('w', 3, 2, 1, 1), integerTensor('repeats', 'int64', [4], [1, 1, 6, 5])],
      ),
    ],
    [
      'attention of PyTorch: a fully connected layer whose rows are pixels, each with all images',
      file(
        [
          node('Conv', ['x', 'w'], 'k'),
          node('Transpose', ['k'], 't', [{name: 'perm', kind: 'ints', value: [2, 3, 0, 1]}]),
          node('Reshape', ['t', 'rows'], 'r'),
          node('Gemm', ['r', 'fc.weight', 'fc.bias'], 'l', [{name: 'transB', kind: 'int', value: 1}]),
          node('Reshape', ['l', 'parted'], 'd'),
          node('Transpose', ['d'], 'e', [{name: 'perm', kind: 'ints', value: [1, 2, 0]}]),
          node('ReduceMean', ['e'], 'y', [
            {name: 'axes', kind: 'ints', value: [2]},
            {name: 'keepdims', kind: 'int', value: 0},
          ]),
        ],
        [
          weight('w', 4, 2, 1, 1),
          weight('fc.weight', 3, 4),
          weight('fc.bias', 3),
          integerTensor('rows', 'int64', [2], [30, 4]),
          integerTensor('parted', 'int64', [3], [30, 1, 3]),
        ],
        {name: 'x', shape: [1, 2, 6, 5]},
      ),
    ],
    ...(
      [
        ['all entries in their order', [0, 1, 2, 3, 4, 5]],
        ['some entries, one of them twice', [4, 0, 4, 1, 5, 2]],
      ] as const
    ).map(([name, chosen]): [string, Uint8Array] => [
      `as_strided: ${name}`,
      file(
        [
          node('Conv', ['x', 'w'], 'k'),
          node('GlobalAveragePool', ['k'], 'g'),
          node('Reshape', ['g', 'flat'], 'f'),
          node('Gather', ['f', 'chosen'], 's'),
          node('ReduceMax', ['s'], 'y', [
            {name: 'axes', kind: 'ints', value: [2, 3]},
            {name: 'keepdims', kind: 'int', value: 0},
          ]),
        ],
        [
          weight('w', 6, 2, 1, 1),
          integerTensor('flat', 'int64', [1], [-1]),
          integerTensor('chosen', 'int64', [1, 3, 2, 1], chosen),
        ],
        {name: 'x', shape: [1, 2, 6, 5]},
      ),
    ]),
    [
      'an Expand of windows that are merged with the batch',
      file(
        [
          node('Conv', ['x', 'w'], 'k'),
          node('Reshape', ['k', 'windows'], 'r'),
          node('ReduceMean', ['r'], 'm', [{name: 'axes', kind: 'ints', value: [2]}]),
          node('Expand', ['m', 'wide'], 'e'),
          node('Sub', ['r', 'e'], 'd'),
          node('Relu', ['d'], 'u'),
          node('Reshape', ['u', 'parted'], 'p'),
          node('ReduceMean', ['p'], 'y', [
            {name: 'axes', kind: 'ints', value: [2]},
            {name: 'keepdims', kind: 'int', value: 0},
          ]),
        ],
        [
          weight('w', 3, 2, 1, 1),
          integerTensor('windows', 'int64', [3], [6, 3, 5]),
          integerTensor('wide', 'int64', [3], [6, 3, 5]),
          integerTensor('parted', 'int64', [3], [1, 3, 30]),
        ],
        {name: 'x', shape: [1, 2, 6, 5]},
      ),
    ],
    [
      'a mask of windows in a network saved for one image',
      file(
        [
          node('Reshape', ['x', 'windows'], 'w'),
          node('Add', ['w', 'masks'], 'd'),
          node('Softmax', ['d'], 's', [{name: 'axis', kind: 'int', value: -1}]),
          node('Reshape', ['s', 'parted'], 'p'),
          node('ReduceMean', ['p'], 'y', [
            {name: 'axes', kind: 'ints', value: [2]},
            {name: 'keepdims', kind: 'int', value: 0},
          ]),
        ],
        [
          weight('masks', 3, 1, 2, 5),
          integerTensor('windows', 'int64', [4], [3, 2, 2, 5]),
          integerTensor('parted', 'int64', [3], [1, 3, 20]),
        ],
        {name: 'x', shape: [1, 2, 6, 5]},
      ),
    ],
    [
      'copies along axes, and powers of whole numbers',
      file(
        [
          node('Tile', ['x', 'copies'], 't'),
          node('Conv', ['t', 'w'], 'k'),
          node('Pow', ['k', 'three'], 'cube'),
          node('Conv', ['cube', 'w2'], 'c'),
          ...head,
        ],
        [
          weight('w', 4, 6, 1, 1),
          weight('w2', 3, 4, 1, 1),
          integerTensor('copies', 'int64', [4], [1, 3, 1, 2]),
          integerTensor('three', 'int64', [], [3]),
        ],
      ),
    ],
    [
      'a mask of windows that is repeated for each image, as Swin of Hugging Face has it',
      file(
        [
          node('Shape', ['x'], 'shape'),
          node('Gather', ['shape', 'first'], 'n'),
          node('Concat', ['n', 'behind'], 'wide', [{name: 'axis', kind: 'int', value: 0}]),
          node('Expand', ['mask', 'wide'], 'e'),
          node('Reshape', ['e', 'masks'], 'm'),
          node('Mul', ['m', 'table'], 'b'),
          node('Reshape', ['x', 'windows'], 'w'),
          node('Sub', ['b', 'w'], 'd'),
          node('Softmax', ['d'], 's', [{name: 'axis', kind: 'int', value: -1}]),
          node('Reshape', ['s', 'parted'], 'p'),
          node('ReduceMean', ['p'], 'y', [
            {name: 'axes', kind: 'ints', value: [2]},
            {name: 'keepdims', kind: 'int', value: 0},
          ]),
        ],
        [
          weight('mask', 1, 3, 1, 1, 5),
          weight('table', 1, 2, 2, 1),
          integerTensor('first', 'int64', [1], [0]),
          integerTensor('behind', 'int64', [4], [3, 1, 2, 5]),
          integerTensor('masks', 'int64', [4], [-1, 1, 2, 5]),
          integerTensor('windows', 'int64', [4], [-1, 2, 2, 5]),
          integerTensor('parted', 'int64', [3], [-1, 3, 20]),
        ],
      ),
    ],
    [
      'a table of constants that is gathered and written into by places',
      file(
        [
          node('GatherND', ['table', 'places'], 'g'),
          node('ScatterND', ['g', 'rows', 'g2'], 's'),
          node('Conv', ['x', 'w'], 'k'),
          node('Mul', ['k', 's'], 'c'),
          ...head,
        ],
        [
          weight('w', 3, 2, 1, 1),
          weight('table', 2, 4, 1, 1),
          weight('g2', 2, 1, 1),
          integerTensor('places', 'int64', [3, 2], [0, 3, 1, -4, 1, 2]),
          integerTensor('rows', 'int64', [2, 1], [2, 0]),
        ],
      ),
    ],
    [
      'weights that are transposed on the way',
      file(
        [node('Flatten', ['x'], 'f'), node('Transpose', ['w'], 'wt'), node('MatMul', ['f', 'wt'], 'y')],
        [weight('w', 3, 60)],
      ),
    ],
  ])('%s', async (_, bytes) => {
    expectClose(await bothLogits(bytes));
  });

  test('ONNX Runtime runs a file of two images at a time on three', async () => {
    const nodes = [node('Conv', ['x', 'w'], 'c'), ...head];
    const [any, two] = ['N', 2].map((batch) =>
      file(nodes, [weight('w', 3, 2, 1, 1)], {name: 'x', shape: [batch, 2, 6, 5]}),
    );
    const images = values(180);
    const logits = await Promise.all(
      [any!, two!].map(async (bytes) => {
        const runtime = await (await loadOnnxRuntime()).open(bytes, 'a.onnx');
        const [result] = await runtime.run(images, [3, 2, 6, 5]).finally(() => runtime.release());
        return result!;
      }),
    );
    expect(logits[0]).toHaveLength(9);
    expect(logits[1]).toEqual(logits[0]);
  });

  test('a class token of a network saved for one image is put beside every image, also in the file that is written', async () => {
    const {graph, weights} = fromOnnx(
      file(
        [
          node('Reshape', ['x', 'rows'], 'r'),
          node('Concat', ['token', 'r'], 'c', [{name: 'axis', kind: 'int', value: 1}]),
          node('Transpose', ['c'], 't', [{name: 'perm', kind: 'ints', value: [1, 0, 2]}]),
          node('Concat', ['pair', 't'], 'd', [{name: 'axis', kind: 'int', value: 0}]),
          node('ReduceSum', ['d', 'tokens'], 'y', [{name: 'keepdims', kind: 'int', value: 0}]),
        ],
        [
          integerTensor('rows', 'int64', [3], [1, 20, 3]),
          integerTensor('tokens', 'int64', [1], [0]),
          weight('token', 1, 1, 3),
          weight('pair', 2, 1, 3),
        ],
        {name: 'x', shape: [1, 2, 6, 5]},
      ),
      'a.onnx',
    );
    const network = createNetwork(graph, weights);
    const {irVersion, opset} = onnxVersion(graph, 17);
    const written = toOnnx(graph, weights, ({inputs}) => inputs);
    await expectSameInRuntime(network, {graph: written, irVersion, opsets: {'': opset}});
    const [token, pair] = ['token', 'pair'].map((name) => values(name === 'token' ? 3 : 6));
    const x = values(60);
    const ours = network.forward(tf.transpose(tf.tensor(x, [1, 2, 6, 5]), [0, 2, 3, 1]), {training: false}).dataSync();
    for (let c = 0; c < 3; c++) {
      let sum = token![c]! + pair![c]! + pair![3 + c]!;
      for (let i = c; i < 60; i += 3) sum += x[i]!;
      expect(ours[c]).toBeCloseTo(sum, 4);
    }
  });

  test('a transposed weight keeps the name of its layer, and has one of its own', () => {
    const {graph} = fromOnnx(
      file(
        [node('Flatten', ['x'], 'f'), node('Transpose', ['head.weight'], 'wt'), node('MatMul', ['f', 'wt'], 'y')],
        [weight('head.weight', 3, 60)],
      ),
      'a.onnx',
    );
    expect(layerTable(graph).layers).toMatchObject([{name: 'head', weight: 'head.weight.folded'}]);
  });

  test.each<[string, readonly OnnxNode[], string[]]>([
    [
      'layers that are named like the input',
      [node('Conv', ['x', 'x.weight'], 'a', [], '/x/Conv'), node('Relu', ['a'], 'c')],
      ['x_2'],
    ],
    ['like a weight', [node('Conv', ['x', 'w'], 'c', [], '/w/Conv')], ['w_2']],
    ['like the value of another node', [node('Conv', ['x', 'w'], 'r', [], 'c'), node('Relu', ['r'], 'c', [], 'r')], ['c']], // prettier-ignore
  ])('%s', async (_, nodes, layers) => {
    const bytes = file([...nodes, ...head], [weight('w', 3, 2, 1, 1), weight('x.weight', 3, 2, 1, 1)]);
    expectClose(await bothLogits(bytes));
    expect(layerTable(fromOnnx(bytes, 'a.onnx').graph).layers.map(({name}) => name)).toEqual(layers);
  });

  test('constants are no parameters: they are not trained, not counted, and not drawn anew', async () => {
    const bytes = file(
      [
        node('Conv', ['x', 'w'], 'k'),
        node('Shape', ['k'], 's'),
        node('Cast', ['s'], 'f', [{name: 'to', kind: 'int', value: 1}]),
        node('Gather', ['f', 'one'], 'three'),
        node('Mul', ['k', 'three'], 'm'),
        node('Mul', ['m', 'scale'], 'c'),
        ...head,
      ],
      [weight('w', 3, 2, 1, 1), integerTensor('one', 'int64', [], [1]), weight('scale', 3, 1, 1)],
    );
    expectClose(await bothLogits(bytes));
    const {graph} = fromOnnx(bytes, 'a.onnx');
    expect(graph.parameters.map(({name, role}) => [name, role])).toEqual([
      ['w', 'weight'],
      ['three', 'constant'],
      ['scale', 'bias'],
    ]);
    expect(layerTable(graph).parameters).toBe(9);
    expect(initialWeights(graph, 1).get('three')!.data).toEqual(Float32Array.of(3));
    const network = createNetwork(graph, initialWeights(graph, 1));
    expect(networkParameters(network).map(({name}) => name)).toEqual(['w', 'scale']);
    network.dispose();
  });

  test.each<[string, OnnxNode[], boolean]>([
    [
      'a Softmax over the classes, at the end',
      [node('Softmax', ['l'], 'y', [{name: 'axis', kind: 'int', value: -1}])],
      true,
    ],
    ['with an Identity behind it', [node('LogSoftmax', ['l'], 's'), node('Identity', ['s'], 'y')], true],
    ['that a node reads which nothing needs', [node('Softmax', ['l'], 'y'), node('Unheard', ['y'], 'z')], true],
    ['that another one reads', [node('Softmax', ['l'], 's'), node('Add', ['s', 'l'], 'y')], false],
  ])('%s', (_, nodes, isLeftOut) => {
    const all = [
      node('Conv', ['x', 'w'], 'k'),
      node('GlobalAveragePool', ['k'], 'p'),
      node('Flatten', ['p'], 'l'),
      ...nodes,
    ];
    const names = (): string[] =>
      fromOnnx(file(all, [weight('w', 3, 2, 1, 1)]), 'a.onnx').graph.nodes.map(({op}) => op);
    expect(names().includes('Softmax')).toBe(!isLeftOut);
  });

  test('modules that are used twice stay one; zeros that were merged do not', () => {
    const convs = (first: string, second: string): OnnxNode[] => [
      node('Conv', ['x', first, 'zeros'], 'a'),
      node('Conv', ['a', second, 'zeros'], 'c'),
      ...head,
    ];
    const zeros = floatTensor('zeros', {shape: [2], data: new Float32Array(2)});
    const parameters = (nodes: OnnxNode[]): string[] =>
      fromOnnx(file(nodes, [weight('v', 2, 2, 1, 1), weight('w', 2, 2, 1, 1), zeros]), 'a.onnx').graph.parameters.map(
        ({name}) => name,
      );
    expect(parameters(convs('v', 'v'))).toEqual(['v', 'zeros']);
    expect(parameters(convs('v', 'w'))).toEqual(['v', 'a.bias', 'w', 'c.bias']);
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
      'it has 2 inputs ("x", "z"); sdq takes networks with 1',
    ],
    [
      'a volume',
      {inputs: [{name: 'x', shape: ['N', 3, 5, 4, 4]}]},
      'Node "conv" (Conv): input "x" has the shape [3, 5, 4, 4]; it takes an image [channels, height, width]. sdq has no operators for volumes (3-D)',
    ],
    [
      'a recurrent layer behind a state for each image',
      {
        nodes: [
          {name: 'shape', op: 'Shape', inputs: ['x'], outputs: ['shape']},
          {name: 'state', op: 'Expand', inputs: ['w', 'shape'], outputs: ['state']},
          {name: '/rnn/LSTM', op: 'LSTM', inputs: ['x', 'w', 'w', '', '', 'state'], outputs: ['y']},
        ],
      },
      'node "/rnn/LSTM" (LSTM): the operator is not supported; sdq has no recurrent layers: put convolutions or attention in its place',
    ],
    ['no output', {outputs: []}, 'it has 0 outputs'],
    [
      'an image of any size',
      {inputs: [{name: 'x', shape: ['N', 3, 'H', 4]}]},
      'the input "x" has the shape [N, 3, ?, 4]; all sizes but the batch\'s must be fixed',
    ],
    [
      'an Einsum that is no product of matrices',
      {nodes: [{name: 'e', op: 'Einsum', inputs: ['x', 'x'], outputs: ['y'], attributes: [{name: 'equation', kind: 'string', value: 'bchw,bchw->bc'}]}]}, // prettier-ignore
      'Node "e" (Einsum): attribute "equation" is "bchw,bchw->bc"; it takes products of two matrices over one common axis',
    ],
    [
      'a Tile of the batch',
      {nodes: [{name: 't', op: 'Tile', inputs: ['x', 'r'], outputs: ['y']}], initializers: [integerTensor('r', 'int64', [4], [2, 1, 1, 1])]}, // prettier-ignore
      'Node "t" (Tile): it repeats [N, 3, 4, 4] by "r"; it takes constants, with 1 for the batch',
    ],
    [
      'a Tile without end',
      {nodes: [{name: 't', op: 'Tile', inputs: ['x', 'r'], outputs: ['y']}], initializers: [integerTensor('r', 'int64', [4], [1, 1, 1_000_000_000, 1])]}, // prettier-ignore
      'Node "t" (Tile): it repeats an axis 1000000000 times; it takes 1 to 1024',
    ],
    [
      'another way to keep the proportions',
      {nodes: [{name: 'r', op: 'Resize', inputs: ['x', '', '', 's'], outputs: ['y'], attributes: [{name: 'keep_aspect_ratio_policy', kind: 'string', value: 'not_larger'}]}], initializers: [integerTensor('s', 'int64', [4], [1, 3, 3, 4])]}, // prettier-ignore
      'Node "r" (Resize): attribute "keep_aspect_ratio_policy" is "not_larger"; it takes "stretch"',
    ],
    [
      'whole numbers made of computed ones',
      {nodes: [{name: 'c', op: 'Cast', inputs: ['x'], outputs: ['y'], attributes: [{name: 'to', kind: 'int', value: 7}]}]}, // prettier-ignore
      'Node "c" (Cast): it makes int64 of computed values',
    ],
    [
      'an operator that sdq has not',
      {nodes: [{...conv, op: 'Convv'}]},
      'node "conv" (Convv): the operator is not supported; docs/operators.md lists those that are',
    ],
    [
      'an operator of somebody else',
      {nodes: [{...conv, domain: 'com.microsoft'}]},
      'node "conv" (Conv): its domain is com.microsoft',
    ],
    [
      'padding by an unknown rule',
      {nodes: [{...conv, attributes: [{name: 'auto_pad', kind: 'string', value: 'SAME_MIDDLE'}]}]},
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
      'Node "conv" (Conv): the constant "w" has the type int8; it must be float32; a file that is quantized already',
    ],
    [
      'a network that is quantized already',
      {nodes: [{name: 'q', op: 'QuantizeLinear', inputs: ['x', 's'], outputs: ['y']}]},
      'node "q" (QuantizeLinear): the file is quantized already; sdq takes the network in float32',
    ],
    [
      'a batch-norm in training mode',
      {
        nodes: [
          {
            name: 'n',
            op: 'BatchNormalization',
            inputs: ['x', 'b', 'b', 'b', 'b'],
            outputs: ['y'],
            attributes: [{name: 'training_mode', kind: 'int', value: 1}],
          },
        ],
        initializers: [floatTensor('b', {shape: [3], data: new Float32Array(3)})],
      },
      'Node "n" (BatchNormalization): it was exported in training mode; call model.eval() before the export',
    ],
    [
      'a Dropout in training mode',
      {
        nodes: [{name: 'd', op: 'Dropout', inputs: ['x', '', 'on'], outputs: ['y']}],
        initializers: [integerTensor('on', 'int64', [], [1])],
      },
      'Node "d" (Dropout): it was exported in training mode',
    ],
    [
      'one value that two nodes write',
      {
        nodes: [
          {...conv, outputs: ['y']},
          {...relu(['x']), outputs: ['y']},
        ],
      },
      'two nodes write the value "y"',
    ],
    ['two initializers of one name', {initializers: [w, w]}, 'two initializers have the name "w"'],
    [
      'nodes in another order',
      {
        nodes: [
          {...relu(['c']), outputs: ['y']},
          {...conv, outputs: ['c']},
        ],
      },
      'Node "low" (Relu): input "c" is the output of a later node',
    ],
    [
      'an output that does not depend on the image',
      {outputs: [{name: 'w', shape: [2]}]},
      'its output "w" does not depend on the image',
    ],
    ['an output that is the input', {outputs: [{name: 'x', shape: ['N', 3, 4, 4]}]}, 'its output "x" is its input'],
    ['no channels', {inputs: [{name: 'x', shape: ['N', 0, 4, 4]}]}, 'the input "x" has the shape [N, 0, 4, 4]; sizes are whole'], // prettier-ignore
    ['rows without length', {inputs: [{name: 'x', shape: ['N']}]}, 'the input "x" has the shape [N]; it takes a batch'],
    [
      'control flow by the image',
      {nodes: [{name: 'if', op: 'If', inputs: ['x'], outputs: ['y']}]},
      'node "if" (If): its condition depends on the image or the batch, and sdq has no branches',
    ],
    [
      'weights that two nodes read in different orders',
      {
        nodes: [
          {name: 'f', op: 'Flatten', inputs: ['x'], outputs: ['f']},
          {name: 'a', op: 'Gemm', inputs: ['f', 'w'], outputs: ['a']},
          {name: 'b', op: 'Gemm', inputs: ['a', 'w'], outputs: ['y'], attributes: [{name: 'transB', kind: 'int', value: 1}]}, // prettier-ignore
        ],
        initializers: [floatTensor('w', {shape: [48, 2], data: new Float32Array(96)})],
      },
      'Node "b" (Gemm): it reads the parameter "w" transposed, and another node does not',
    ],
    [
      'a constant that would not fit into memory',
      {
        nodes: [
          {name: 'e', op: 'Expand', inputs: ['w', 'size'], outputs: ['v']},
          {...conv, inputs: ['x', 'v']},
        ],
        initializers: [w, integerTensor('size', 'int64', [4], [2 ** 20, 2 ** 20, 1, 1])],
      },
      'node "e" (Expand): its inputs are constants of which it makes none',
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
      'it pads chosen axes',
    ],
    [
      'weights that are computed of the image',
      {nodes: [relu(['x']), {...conv, inputs: ['x', 'low']}]},
      'Node "conv" (Conv): its weights "low" are computed from the image; sdq takes layers with weights of the file',
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
