import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';
import {parse} from 'yaml';

import {hasWeights, layerTable} from '../../../../src/graph/layer-table.ts';
import type {Graph} from '../../../../src/graph/graph.ts';
import type {NetworkCost} from '../../../../src/hardware/cost-model.ts';
import type {StrategyFormatDefinition} from '../../../../src/plugin-api/registry.ts';
import type {TrainedLayer} from '../../../../src/plugin-api/strategy-format.ts';
import {models} from '../../../../src/plugins/models/index.ts';
import {buildStrategy, type Strategy} from '../../../../src/sdq/strategy.ts';
import {aimet, aimet1, qnn} from '../../../../src/plugins/strategy-formats/aimet.ts';
import {finn} from '../../../../src/plugins/strategy-formats/finn.ts';
import {hawq} from '../../../../src/plugins/strategy-formats/hawq.ts';
import {hls4ml} from '../../../../src/plugins/strategy-formats/hls4ml.ts';
import {brevitas} from '../../../../src/plugins/strategy-formats/brevitas.ts';
import {coremltools} from '../../../../src/plugins/strategy-formats/coremltools.ts';
import {modelopt} from '../../../../src/plugins/strategy-formats/modelopt.ts';
import {neuralCompressor} from '../../../../src/plugins/strategy-formats/neural-compressor.ts';
import {nncf} from '../../../../src/plugins/strategy-formats/nncf.ts';
import {quark} from '../../../../src/plugins/strategy-formats/quark.ts';
import {torchao} from '../../../../src/plugins/strategy-formats/torchao.ts';

const graphOf = (name: string): Graph => {
  const model = models.find((definition) => definition.name === name)!;
  return model.build(model.defaults, {});
};
const layersOf = (name: string) => layerTable(graphOf(name)).layers.filter(hasWeights);
const resnet18 = layersOf('resnet18');
const names = resnet18.map(({name}) => name);

function strategyOf(weightBits: readonly number[], activationBits: readonly number[], layers = resnet18): Strategy {
  return buildStrategy({
    model: {name: 'net', digest: '0'.repeat(64)},
    quantizers: {weights: 'symmetric', activations: 'pact'},
    layers,
    weightBits,
    activationBits,
    pinned: new Map(),
    provenance: {method: 'uniform', sdqVersion: '0.1.0'},
  });
}
const uniform = (weightBits: number, activationBits: number, layers = resnet18): Strategy =>
  strategyOf(
    layers.map(() => weightBits),
    layers.map(() => activationBits),
    layers,
  );
const bits = fc.array(fc.integer({min: 1, max: 8}), {minLength: names.length, maxLength: names.length});
const graph = graphOf('resnet18');
const print = (format: StrategyFormatDefinition, strategy: Strategy) =>
  format.print!(strategy, {graph, layers: resnet18});

describe('round trips of the weights', () => {
  test.each([hawq, nncf, hls4ml])('$name', (format) => {
    fc.assert(
      fc.property(bits, (weightBits) => {
        const found = format.parse!(
          print(
            format,
            strategyOf(
              weightBits,
              names.map(() => 4),
            ),
          ).text,
          names,
          'file',
        );
        expect(names.map((name) => found.get(name)!.weightBits)).toEqual(weightBits);
      }),
      {numRuns: 20},
    );
  });

  test.each([hawq, nncf])('$name keeps the bits of inputs where they are all the same', (format) => {
    const {text, notes} = print(format, uniform(4, 5));
    expect(notes).toEqual([]);
    expect([...format.parse!(text, names, 'file').values()].map(({activationBits}) => activationBits)).toEqual(
      names.map(() => 5),
    );
  });
});

describe('hawq', () => {
  // Part of bit_config_resnet18_uniform4, as it stands in HAWQ's bit_config.py, with a 6 and a 3 put in.
  const units = [
    ['stage1', 'unit1'],
    ['stage1', 'unit2'],
    ...[2, 3, 4].flatMap((stage) => [
      [`stage${stage}`, 'unit1'],
      [`stage${stage}`, 'unit2'],
    ]),
  ];
  const python = `{
'quant_input': 8,
'quant_init_block_convbn': 8,
'quant_act_int32': 16,
${units
  .map(([stage, unit]) => {
    const place = `${stage!}.${unit!}`;
    const identity = unit === 'unit1' && stage !== 'stage1' ? `'${place}.quant_identity_convbn': 6,\n` : '';
    return `'${place}.quant_act': 4,\n'${place}.quant_convbn1': 4,\n'${place}.quant_act1': 3,\n'${place}.quant_convbn2': 4,\n${identity}'${place}.quant_act_int32': 16,`;
  })
  .join('\n')}
'quant_act_output': 8,
'quant_output': 8
}`;

  test('reads a Python dictionary: modules of pytorchcv as layers of torchvision', () => {
    const found = hawq.parse!(python, names, 'bit_config.py');
    expect(found.get('conv1')).toEqual({weightBits: 8, activationBits: 8});
    expect(found.get('layer2.0.conv1')).toEqual({weightBits: 4, activationBits: 4});
    expect(found.get('layer2.0.conv2')).toEqual({weightBits: 4, activationBits: 3});
    expect(found.get('layer2.0.downsample.0')).toEqual({weightBits: 6, activationBits: 4});
    expect(found.get('fc')).toEqual({weightBits: 8, activationBits: 8});
  });

  test('writes the keys that it reads, and says where a shared input has the most bits', () => {
    const mixed = names.map((name) => (name.includes('downsample') ? 8 : 4));
    const {text, notes} = print(
      hawq,
      strategyOf(
        names.map(() => 2),
        mixed,
      ),
    );
    const config = JSON.parse(text) as Record<string, number>;
    const keys = Object.keys(parse(python) as Record<string, number>);
    expect(Object.keys(config).sort()).toEqual(keys.sort());
    expect(config['stage2.unit1.quant_act']).toBe(8);
    expect(notes).toHaveLength(3);
  });

  test('three convolutions a block have the other name of the first layer', () => {
    const resnet50 = layersOf('resnet50');
    const {text} = hawq.print!(uniform(4, 4, resnet50), {graph: graphOf('resnet50'), layers: resnet50});
    expect(Object.keys(JSON.parse(text) as object)).toContain('quant_init_convbn');
    expect(
      hawq.parse!(
        text,
        resnet50.map(({name}) => name),
        'file',
      ).size,
    ).toBe(54);
  });

  test.each([
    [
      'a module of 16 bits',
      python.replace("'quant_output': 8", "'quant_output': 16"),
      /quant_output: expected 1 to 8 bits/,
    ],
    ['a layer without bits', python.replace("'quant_output': 8", ''), /no bits for fc/],
    ['no dictionary', '[1, 2]', /expected a dictionary/],
    ['no Python', '{', /is no dictionary/],
  ])('refuses %s', (_, text, message) => {
    expect(() => hawq.parse!(text, names, 'bit_config.py')).toThrow(message);
  });

  test('refuses a network that is no ResNet, and full precision', () => {
    expect(() => hawq.parse!('{}', ['features.0.0'], 'file')).toThrow('"features.0.0" is no layer of one');
    expect(() => print(hawq, uniform(4, 32))).toThrow('HAWQ has integers only');
  });
});

describe('nncf', () => {
  test('places of weights are the layers of torchvision’s ResNet', () => {
    const {text} = print(nncf, uniform(4, 4));
    expect(text).toContain('ResNet/NNCFConv2d[conv1]/conv2d_0|WEIGHT');
    expect(text).toContain('ResNet/Sequential[layer1]/BasicBlock[0]/NNCFConv2d[conv1]/conv2d_0|WEIGHT');
    expect(text).toContain(
      'ResNet/Sequential[layer2]/BasicBlock[0]/Sequential[downsample]/NNCFConv2d[0]/conv2d_0|WEIGHT',
    );
    expect(text).toContain('ResNet/NNCFLinear[fc]/linear_0|WEIGHT');
    expect(JSON.parse(text)).toMatchObject({input_info: {sample_size: [1, ...graph.input.shape]}});
  });

  test('what the list does not name has the default, 8 bits or what the config says', () => {
    const config = {
      compression: {
        algorithm: 'quantization',
        weights: {bits: 6},
        initializer: {
          precision: {
            bitwidth_per_scope: [
              [2, 'ResNet/NNCFConv2d[conv1]/conv2d_0|WEIGHT'],
              [3, 'ResNet/NNCFLinear[fc]/linear_0|INPUT0'],
              [4, 'ResNet/ReLU[relu]/relu__0|OUTPUT'],
            ],
          },
        },
      },
    };
    const found = nncf.parse!(JSON.stringify(config), names, 'file');
    expect(found.get('conv1')).toEqual({weightBits: 2, activationBits: 8});
    expect(found.get('fc')).toEqual({weightBits: 6, activationBits: 3});
    expect(found.get('layer1.0.conv1')).toEqual({weightBits: 6, activationBits: 8});
  });

  test.each([
    ['no JSON', '{', /is not JSON/],
    ['no list', '{"compression": {}}', /no list "bitwidth_per_scope"/],
    ['an unknown layer', '{"bitwidth_per_scope": [[4, "Net/NNCFConv2d[conv9]/conv2d_0|WEIGHT"]]}', /no layer "conv9"/],
    ['an entry that is no pair', '{"bitwidth_per_scope": [4]}', /expected \[bits, scope\], found 4/],
    ['half a bit', '{"bitwidth_per_scope": [[4.5, "[conv1]|WEIGHT"]]}', /found 4.5/],
  ])('refuses %s', (_, text, message) => {
    expect(() => nncf.parse!(text, names, 'nncf.json')).toThrow(message);
  });
});

describe('hls4ml', () => {
  test('a fixed-point type a layer, under a name without dots', () => {
    const {text} = print(hls4ml, uniform(3, 4));
    const config = parse(text) as {HLSConfig: {LayerName: Record<string, unknown>}};
    expect(config.HLSConfig.LayerName['layer1_0_conv1']).toEqual({Precision: {weight: 'ap_fixed<3,1>'}});
  });

  test.each([
    ['ap_fixed<4,1>', 4],
    ['ap_uint<2>', 2],
    ['fixed<8,3>', 8],
    ['float', 32],
  ])('%s has %i bits', (type, expected) => {
    const text = `HLSConfig: {LayerName: {conv1: {Precision: "${type}"}}}`;
    expect(hls4ml.parse!(text, ['conv1'], 'file').get('conv1')).toEqual({weightBits: expected});
  });

  test.each([
    ['ap_fixed<16,6>', /found 16/],
    ['decimal', /expected a type like ap_fixed<4,1>/],
  ])('%s is refused', (type, message) => {
    const text = `HLSConfig: {LayerName: {conv1: {Precision: {weight: "${type}"}}}}`;
    expect(() => hls4ml.parse!(text, ['conv1'], 'file')).toThrow(message);
  });
});

describe('aimet and qnn', () => {
  const [first, second] = layersOf('cnn-small') as [(typeof resnet18)[0], (typeof resnet18)[0]];
  const layers = [first, second];
  const small = graphOf('cnn-small');
  const signed = (bits: number) => ({qmin: -(2 ** (bits - 1)), qmax: 2 ** (bits - 1) - 1, offset: 0 as const});
  const trained = new Map<string, TrainedLayer>([
    [
      first.name,
      {
        weights: {...signed(4), steps: Float32Array.of(0.25, 0.5)},
        input: {...signed(8), steps: Float32Array.of(0.5)},
      },
    ],
    [
      second.name,
      {
        weights: {...signed(2), steps: Float32Array.of(0.125)},
        input: {qmin: 0, qmax: 15, offset: 0, steps: Float32Array.of(0.375)},
      },
    ],
  ]);
  const context = {graph: small, layers, trained: (name: string) => trained.get(name)!};
  const strategy = strategyOf([4, 2], [8, 4], layers);

  test('2.0.0: step, axis and integer type of each tensor', () => {
    const {text, notes} = aimet.print!(strategy, context);
    expect(JSON.parse(text)).toEqual({
      version: '2.0.0',
      encodings: [
        {name: first.inputValue, y_scale: 0.5, output_dtype: 'int8'},
        {name: `${second.name}.input`, y_scale: 0.375, output_dtype: 'uint4'},
        {name: first.weight, y_scale: [0.25, 0.5], axis: 0, output_dtype: 'int4'},
        {name: second.weight, y_scale: 0.125, output_dtype: 'int2'},
      ],
    });
    expect(notes).toEqual([expect.stringContaining('sdq export --format aimet')]);
  });

  test('1.0.0: the offset is the lowest integer, once a channel', () => {
    const {activation_encodings: inputs, param_encodings: weights} = JSON.parse(
      aimet1.print!(strategy, context).text,
    ) as Record<string, Record<string, unknown>[]>;
    expect(inputs![1]).toEqual({
      // A residual sum reads the layer's input too: the exported model has a copy.
      name: `${second.name}.input`,
      enc_type: 'PER_TENSOR',
      dtype: 'INT',
      bw: 4,
      is_sym: false,
      scale: [0.375],
      offset: [0],
    });
    expect(weights![0]).toMatchObject({
      enc_type: 'PER_CHANNEL',
      bw: 4,
      is_sym: true,
      scale: [0.25, 0.5],
      offset: [-8, -8],
    });
  });

  test('quantization_overrides: the range beside the step', () => {
    const {param_encodings: weights} = JSON.parse(qnn.print!(strategy, context).text) as {
      param_encodings: Record<string, unknown[]>;
    };
    expect(weights[second.weight]).toEqual([
      {bitwidth: 2, dtype: 'int', is_symmetric: 'True', min: -0.25, max: 0.125, scale: 0.125, offset: -2},
    ]);
  });

  test('the axis of a Gemm whose weights are not transposed is the second', () => {
    const layer = {...first, op: 'Gemm', name: 'fc', weight: 'fc.weight'} as const;
    const node = {name: 'fc', op: 'Gemm', inputs: ['x', 'fc.weight'], outputs: ['y'], attributes: {transB: 0}};
    const trainedWeights = {weights: {...signed(4), steps: Float32Array.of(0.25, 0.5)}, input: null};
    const {text} = aimet.print!(strategyOf([4], [32], [layer]), {
      graph: {...small, nodes: [node]},
      layers: [layer],
      trained: () => trainedWeights,
    });
    expect(JSON.parse(text)).toMatchObject({encodings: [{name: 'fc.weight', axis: 1}]});
  });

  test.each([aimet, aimet1, qnn])('$name: weights of a narrow grid have all integers of their type', (format) => {
    const print = (grid: {qmin: number; qmax: number}) =>
      format.print!(strategyOf([4], [32], [first]), {
        graph: small,
        layers: [first],
        trained: () => ({weights: {...grid, offset: 0, steps: Float32Array.of(1, 2)}, input: null}),
      });
    expect(print({qmin: -7, qmax: 7})).toEqual(print({qmin: -8, qmax: 7}));
  });

  const narrow = {qmin: -7, qmax: 7, offset: 0, steps: Float32Array.of(1)} as const;
  const halves = {qmin: -2, qmax: 1, offset: 0.5, steps: Float32Array.of(1)} as const;
  test.each([
    ['half a step', {weights: halves, input: null}, 2, /odd multiples of half a step/],
    ['inputs of a narrow range', {weights: null, input: narrow}, 4, /integers -7 … 7/],
  ] as const)('refuses %s', (_, layer, bits, message) => {
    const run = () =>
      aimet.print!(strategyOf([bits], [4], [first]), {graph: small, layers: [first], trained: () => layer});
    expect(run).toThrow(message);
    expect(run).toThrow(`of layer "${first.name}"`);
  });

  test('2.0.0 refuses 3 bits and names the version that has them', () => {
    const layer = {weights: {...signed(3), steps: Float32Array.of(1)}, input: null};
    const only = {graph: small, layers: [first], trained: () => layer};
    expect(() => aimet.print!(strategyOf([3], [32], [first]), only)).toThrow(`"${first.weight}" has 3`);
    expect(aimet1.print!(strategyOf([3], [32], [first]), only).text).toContain('"bw": 3');
  });

  test('refuses without the trained network', () => {
    expect(() => aimet.print!(strategy, {graph: small, layers})).toThrow('learned in training');
  });
});

describe('torchao, modelopt, brevitas, coremltools, quark and neural-compressor', () => {
  const layers = layersOf('cnn-small');
  const small = graphOf('cnn-small');
  const write = (format: StrategyFormatDefinition, weightBits: number, activationBits: number) =>
    format.print!(uniform(weightBits, activationBits, layers), {graph: small, layers});

  test.each([torchao, modelopt, brevitas, quark, neuralCompressor])('$name refuses 1 bit by name', (format) => {
    expect(() => write(format, 1, 8)).toThrow(`1 bit has here: `);
  });

  test.each([
    [modelopt, 4, 8, []],
    [brevitas, 5, 6, []],
    [quark, 3, 8, [expect.stringContaining('(3 → 4)')]],
    [quark, 4, 3, [expect.stringContaining('(3 → 4)')]],
    [coremltools, 5, 32, [expect.stringContaining('(5 → 6)')]],
    [coremltools, 6, 32, []],
    [torchao, 7, 32, [expect.stringContaining('torchao chooses the steps of a convolution')]],
  ] as const)('%#: says what the file does not hold', (format, weightBits, activationBits, notes) => {
    // Weights of 3 bits are a type of Quark; its unsigned inputs have none.
    const expected = format === quark && weightBits === 3 ? [] : notes;
    expect(write(format, weightBits, activationBits).notes).toEqual(expected);
  });

  test('neural-compressor gives bits to linear layers alone', () => {
    const {text, notes} = write(neuralCompressor, 4, 32);
    const linear = layers.filter(({op}) => op !== 'Conv').map(({name}) => name);
    expect(Object.keys((JSON.parse(text) as {local: object}).local)).toEqual(linear);
    expect(notes).toEqual([expect.stringMatching(/^Convolutions stay in float: /)]);
  });
});

describe('finn', () => {
  const layers = layersOf('mobilenet-v2').slice(0, 3);
  const costs = {
    layers: layers.map((_, l) => ({details: {pe: 2 ** l, simd: 3, bram18: l === 0 ? 2 : 0, uram: l === 1 ? 1 : 0}})),
  } as unknown as NetworkCost;

  test('PE, SIMD and memory of each unit, numbered by type in network order', () => {
    const strategy = strategyOf([4, 4, 2], [8, 4, 4], layers);
    const {text} = finn.print!(strategy, {graph, layers, costs: () => costs});
    expect(JSON.parse(text)).toEqual({
      Defaults: {},
      MVAU_rtl_0: {PE: 1, SIMD: 3, ram_style: 'block', resType: 'dsp'},
      VVAU_hls_0: {PE: 2, SIMD: 3, ram_style: 'ultra', runtime_writeable_weights: 1, resType: 'lut'},
      MVAU_hls_0: {PE: 4, SIMD: 3, ram_style: 'distributed', resType: 'lut'},
    });
  });

  test('refuses without a board, and one whose model folds nothing', () => {
    const strategy = uniform(4, 4, layers);
    expect(() => finn.print!(strategy, {graph, layers})).toThrow('chosen for a board');
    const others = {layers: layers.map(() => ({}))} as unknown as NetworkCost;
    expect(() => finn.print!(strategy, {graph, layers, costs: () => others})).toThrow('chooses no PE and SIMD');
  });
});
