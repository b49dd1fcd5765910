import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';
import {parse} from 'yaml';

import {layerTable} from '../../../src/graph/layer-table.ts';
import type {NetworkCost} from '../../../src/hardware/cost-model.ts';
import {models} from '../../../src/plugins/models/index.ts';
import {buildStrategy, type Strategy} from '../../../src/sdq/strategy.ts';
import {aimet} from '../../../src/strategy-formats/aimet.ts';
import {finn} from '../../../src/strategy-formats/finn.ts';
import type {StrategyFormat} from '../../../src/strategy-formats/format.ts';
import {hawq} from '../../../src/strategy-formats/hawq.ts';
import {hls4ml} from '../../../src/strategy-formats/hls4ml.ts';
import {nncf} from '../../../src/strategy-formats/nncf.ts';

const layersOf = (name: string) => {
  const model = models.find((definition) => definition.name === name)!;
  return layerTable(model.build(model.defaults, {})).layers;
};
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
const print = (format: StrategyFormat, strategy: Strategy) => format.print!(strategy, {layers: resnet18});

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
    const {text} = hawq.print!(uniform(4, 4, resnet50), {layers: resnet50});
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

describe('aimet', () => {
  const layers = layersOf('cnn-small').slice(0, 2);
  const [first, second] = layers as [(typeof layers)[0], (typeof layers)[0]];
  const channels = first.outputShape[0]!;
  const tensors = new Map([
    [`${first.name}.weight_step`, {shape: [channels], data: new Float32Array(channels).fill(0.25)}],
    [`${first.name}.input_range`, {shape: [], data: Float32Array.of(0.5)}],
    [`${second.name}.weight_step`, {shape: [], data: Float32Array.of(0.125)}],
    [`${second.name}.input_range`, {shape: [], data: Float32Array.of(6)}],
  ]);

  test('one entry a tensor: step, axis and the integer type that holds the bits', () => {
    const strategy = strategyOf([3, 1], [8, 4], layers);
    const {text, notes} = aimet.print!(strategy, {layers, tensors});
    expect(JSON.parse(text)).toEqual({
      version: '2.0.0',
      encodings: [
        // The network's input can be negative: a signed grid, whose step is the learned parameter.
        {name: first.inputValue, y_scale: 0.5, output_dtype: 'int8'},
        // PACT: the clipping value 6 over 15 steps.
        {name: second.inputValue, y_scale: 0.4, output_dtype: 'uint4'},
        {name: first.weight, y_scale: Array(channels).fill(0.25), axis: 0, output_dtype: 'int4'},
        {name: second.weight, y_scale: 0.125, y_zero_point: -0.5, output_dtype: 'int2'},
      ],
    });
    expect(notes).toHaveLength(1);
  });

  test('refuses without the trained network, or with one that has no scales', () => {
    const strategy = uniform(4, 4, layers);
    expect(() => aimet.print!(strategy, {layers})).toThrow('learned in training');
    expect(() => aimet.print!(strategy, {layers, tensors: new Map()})).toThrow(`no tensor "${first.name}.weight_step"`);
  });
});

describe('finn', () => {
  const layers = layersOf('mobilenet-v2').slice(0, 3);
  const costs = {
    layers: layers.map((_, l) => ({details: {pe: 2 ** l, simd: 3, bram18: l === 0 ? 2 : 0, uram: l === 1 ? 1 : 0}})),
  } as unknown as NetworkCost;

  test('PE, SIMD and memory of each unit, numbered by type in network order', () => {
    const strategy = strategyOf([4, 4, 2], [8, 4, 4], layers);
    const {text} = finn.print!(strategy, {layers, costs});
    expect(JSON.parse(text)).toEqual({
      Defaults: {},
      MVAU_rtl_0: {PE: 1, SIMD: 3, ram_style: 'block', resType: 'dsp'},
      VVAU_hls_0: {PE: 2, SIMD: 3, ram_style: 'ultra', runtime_writeable_weights: 1, resType: 'lut'},
      MVAU_hls_0: {PE: 4, SIMD: 3, ram_style: 'distributed', resType: 'lut'},
    });
  });

  test('refuses without a board, and one whose model folds nothing', () => {
    const strategy = uniform(4, 4, layers);
    expect(() => finn.print!(strategy, {layers})).toThrow('chosen for a board');
    const others = {layers: layers.map(() => ({}))} as unknown as NetworkCost;
    expect(() => finn.print!(strategy, {layers, costs: others})).toThrow('chooses no PE and SIMD');
  });
});
