import {describe, expect, test} from '@jest/globals';

import {graphBuilder} from '../../../src/graph/builder.ts';
import {layerTable} from '../../../src/graph/layer-table.ts';
import {joinedLayers} from '../../../src/hardware/joined-layers.ts';
import {moveToHardware} from '../../../src/hardware/move.ts';
import type {HardwareProfile, IntegerFormat} from '../../../src/hardware/profile.ts';
import {
  allowedPairs,
  commonPairs,
  executedAs,
  fittingQuantizers,
  hardwareViolations,
  nearestPair,
  storedBits,
  violationText,
  type Bits,
  type Violation,
} from '../../../src/hardware/rules.ts';
import {profileNames, readProfile} from '../../../src/phases/hardware-file.ts';
import {models} from '../../../src/plugins/models/index.ts';
import {weightQuantizers} from '../../../src/plugins/quantizers/index.ts';
import {buildStrategy, summarize, type LayerPrecision, type Strategy} from '../../../src/sdq/strategy.ts';

/** [op, weight bits, activation bits] of each layer, in network order. */
type Row = readonly [op: 'Conv' | 'Gemm' | 'MatMul' | 'depthwise', weightBits: number, activationBits: number];

function strategyOf(rows: readonly Row[], weights = 'symmetric'): Strategy {
  const layers = rows.map(([op, weightBits, activationBits], l): LayerPrecision => ({
    name: `layer${l}`,
    op: op === 'depthwise' ? 'Conv' : op,
    weightBits,
    activationBits,
    params: 10,
    macs: 100,
    ...(op === 'depthwise' ? {depthwise: true} : {}),
  }));
  return {
    version: 1,
    model: {name: 'net', graphDigest: `sha256:${'0'.repeat(64)}`},
    quantizers: {weights, activations: 'pact'},
    layers,
    summary: summarize(layers),
    provenance: {method: 'uniform', sdqVersion: '0.1.0', target: {meanWeightBits: 4}},
  };
}

const violations = (profile: HardwareProfile, strategy: Strategy): Violation[] =>
  hardwareViolations(profile, strategy, weightQuantizers);

const all = [1, 2, 3, 4, 5, 6, 7, 8];

interface Case {
  /** Strategies that run: rows and, where it is not `symmetric`, the weight quantizer. */
  readonly runs: readonly {readonly rows: readonly Row[]; readonly weights?: string}[];
  readonly fails: readonly {
    readonly rows: readonly Row[];
    readonly weights?: string;
    readonly violations: readonly Omit<Violation, 'hardware'>[];
  }[];
}

const bitFusion: Case = {
  runs: [
    {
      rows: [
        ['Conv', 8, 8],
        ['depthwise', 1, 3],
        ['Gemm', 7, 2],
      ],
    },
    {rows: [['MatMul', 5, 6]], weights: 'narrow'},
  ],
  fails: [
    {
      rows: [
        ['Conv', 2, 32],
        ['Gemm', 32, 32],
      ],
      violations: [
        {layer: 'layer0', rule: 'activation-bits', found: 32, allowed: all, nearest: 8},
        {layer: 'layer1', rule: 'weight-bits', found: 32, allowed: all, nearest: 8},
        {layer: 'layer1', rule: 'activation-bits', found: 32, allowed: all, nearest: 8},
      ],
    },
    {
      rows: [['Conv', 4, 4]],
      weights: 'dorefa',
      violations: [
        {
          layer: null,
          rule: 'weight-quantizer',
          found: 'dorefa',
          allowed: ['narrow', 'symmetric', 'narrow-per-tensor'],
          nearest: 'narrow',
        },
      ],
    },
  ],
};

/** The combinations of a GPU that has 4-bit operands: any up to 8 bits, or full precision in both. */
const gpuPairs = [...all.flatMap((w) => all.map((a) => [w, a] as const)), [32, 32] as const];
const depthwisePairs = [...[5, 6, 7, 8].flatMap((w) => [5, 6, 7, 8].map((a) => [w, a] as const)), [32, 32] as const];

const fourBitGpu: Case = {
  runs: [
    {
      rows: [
        ['Conv', 3, 4],
        ['depthwise', 8, 8],
        ['Gemm', 4, 8],
        ['Conv', 32, 32],
      ],
    },
  ],
  fails: [
    {
      rows: [['Conv', 4, 32]],
      violations: [{layer: 'layer0', rule: 'pair', found: [4, 32], allowed: gpuPairs, nearest: [4, 8]}],
    },
    {
      rows: [
        ['depthwise', 4, 4],
        ['depthwise', 8, 32],
      ],
      violations: [
        {layer: 'layer0', rule: 'weight-bits', found: 4, allowed: [5, 6, 7, 8, 32], nearest: 5},
        {layer: 'layer0', rule: 'activation-bits', found: 4, allowed: [5, 6, 7, 8, 32], nearest: 5},
        {layer: 'layer1', rule: 'pair', found: [8, 32], allowed: depthwisePairs, nearest: [8, 8]},
      ],
    },
  ],
};

const finn: Case = {
  runs: [
    {
      rows: [
        ['Conv', 8, 8],
        ['depthwise', 2, 4],
        ['Gemm', 1, 2],
      ],
    },
  ],
  fails: [
    {
      rows: [['Conv', 32, 8]],
      violations: [{layer: 'layer0', rule: 'weight-bits', found: 32, allowed: all, nearest: 8}],
    },
    {
      rows: [['Conv', 1, 1]],
      violations: [{layer: 'layer0', rule: 'activation-bits', found: 1, allowed: [2, 3, 4, 5, 6, 7, 8], nearest: 2}],
    },
    {
      rows: [['Conv', 4, 4]],
      weights: 'entropy',
      violations: [
        {
          layer: null,
          rule: 'weight-quantizer',
          found: 'entropy',
          allowed: ['narrow', 'symmetric', 'narrow-per-tensor'],
          nearest: 'narrow',
        },
      ],
    },
  ],
};

const dpu: Case = {
  runs: [
    {
      rows: [
        ['Conv', 8, 8],
        ['depthwise', 8, 8],
        ['Gemm', 8, 8],
      ],
      weights: 'narrow-per-tensor',
    },
  ],
  fails: [
    {
      rows: [
        ['Conv', 4, 8],
        ['MatMul', 8, 8],
      ],
      weights: 'narrow-per-tensor',
      violations: [
        {layer: 'layer0', rule: 'weight-bits', found: 4, allowed: [8], nearest: 8},
        {layer: 'layer1', rule: 'operator', found: 'MatMul', allowed: ['Conv', 'Gemm'], nearest: null},
      ],
    },
    {
      rows: [['Conv', 8, 8]],
      violations: [
        {
          layer: null,
          rule: 'weight-quantizer',
          found: 'symmetric',
          allowed: ['narrow-per-tensor'],
          nearest: 'narrow-per-tensor',
        },
      ],
    },
  ],
};

const generic: Case = {
  runs: [
    {
      rows: [
        ['Conv', 1, 32],
        ['depthwise', 32, 1],
        ['MatMul', 3, 5],
      ],
      weights: 'dorefa',
    },
  ],
  fails: [
    {
      rows: [['Conv', 8, 8]],
      weights: 'none-of-ours',
      violations: [
        {
          layer: null,
          rule: 'weight-quantizer',
          found: 'none-of-ours',
          allowed: weightQuantizers.map(({name}) => name),
          nearest: 'narrow',
        },
      ],
    },
  ],
};

const bytes: Case = {
  runs: [
    {
      rows: [
        ['Conv', 1, 8],
        ['depthwise', 4, 2],
        ['Gemm', 8, 32],
      ],
    },
  ],
  fails: [
    {
      rows: [['Conv', 8, 1]],
      violations: [
        {layer: 'layer0', rule: 'activation-bits', found: 1, allowed: [2, 3, 4, 5, 6, 7, 8, 32], nearest: 2},
      ],
    },
    {
      // 8 bits without a zero are written in half steps, from -255 to 255.
      rows: [
        ['Conv', 8, 8],
        ['Conv', 7, 8],
      ],
      weights: 'mid-rise',
      violations: [{layer: 'layer0', rule: 'weight-bits', found: 8, allowed: [1, 2, 3, 4, 5, 6, 7, 32], nearest: 7}],
    },
  ],
};

const cases: Readonly<Record<string, Case>> = {
  'bitfusion-edge': bitFusion,
  'bitfusion-server': bitFusion,
  'cutlass-sm75': fourBitGpu,
  'cutlass-sm80': fourBitGpu,
  'cutlass-sm86': fourBitGpu,
  'cutlass-sm89': fourBitGpu,
  'cutlass-sm90': {
    runs: fourBitGpu.runs,
    fails: [
      {
        rows: [['Conv', 4, 32]],
        violations: [{layer: 'layer0', rule: 'pair', found: [4, 32], allowed: gpuPairs, nearest: [4, 8]}],
      },
      {
        rows: [['depthwise', 4, 4]],
        violations: [{layer: 'layer0', rule: 'weight-bits', found: 4, allowed: [5, 6, 7, 8, 32], nearest: 5}],
      },
    ],
  },
  'tensorrt-int8': {
    runs: [
      {
        rows: [
          ['Conv', 32, 32],
          ['depthwise', 8, 8],
          ['Gemm', 8, 8],
        ],
      },
    ],
    fails: [
      {
        rows: [
          ['Conv', 4, 8],
          ['Gemm', 8, 32],
        ],
        violations: [
          {layer: 'layer0', rule: 'weight-bits', found: 4, allowed: [8, 32], nearest: 8},
          {
            layer: 'layer1',
            rule: 'pair',
            found: [8, 32],
            allowed: [
              [8, 8],
              [32, 32],
            ],
            nearest: [8, 8],
          },
        ],
      },
    ],
  },
  'tensorrt-int4-weight-only': {
    runs: [
      {
        rows: [
          ['Conv', 32, 32],
          ['Gemm', 4, 32],
          ['MatMul', 32, 32],
        ],
      },
    ],
    fails: [
      {
        rows: [
          ['Conv', 4, 32],
          ['Gemm', 3, 8],
        ],
        violations: [
          {layer: 'layer0', rule: 'weight-bits', found: 4, allowed: [32], nearest: 32},
          {layer: 'layer1', rule: 'weight-bits', found: 3, allowed: [4, 32], nearest: 4},
          {layer: 'layer1', rule: 'activation-bits', found: 8, allowed: [32], nearest: 32},
        ],
      },
    ],
  },
  'finn-zynq7020': {
    runs: finn.runs.map(({rows}) => ({rows, weights: 'narrow'})),
    fails: [
      {
        rows: [['Conv', 4, 4]],
        violations: [
          {
            layer: null,
            rule: 'weight-quantizer',
            found: 'symmetric',
            allowed: ['narrow', 'narrow-per-tensor'],
            nearest: 'narrow',
          },
        ],
      },
    ],
  },
  'finn-zu3eg': finn,
  'finn-zu7ev': finn,
  'finn-zcu102': finn,
  'dpu-b2304': dpu,
  'dpu-b512': dpu,
  'dpu-b4096': dpu,
  'generic-bops': generic,
  ...Object.fromEntries(['onnxruntime', 'openvino', 'portable', 'tensorrt'].map((name) => [name, bytes])),
  'generic-energy-45nm': generic,
};

test('every profile that comes with sdq has its cases, and its file has its name', () => {
  expect(Object.keys(cases).sort()).toEqual(profileNames());
  for (const name of profileNames()) expect(readProfile(name).name).toBe(name);
});

describe.each(Object.entries(cases))('%s', (name, {runs, fails}) => {
  const profile = readProfile(name);

  test('runs what it can', () => {
    for (const {rows, weights} of runs) expect(violations(profile, strategyOf(rows, weights))).toEqual([]);
  });

  test('refuses the rest: layer, rule, found, allowed, nearest', () => {
    for (const {rows, weights, violations: expected} of fails) {
      expect(violations(profile, strategyOf(rows, weights))).toEqual(expected.map((one) => ({hardware: name, ...one})));
    }
  });

  test('a strategy moved to it runs, but for operators that it has not', () => {
    for (const {rows, weights} of fails) {
      const {strategy, stuck} = moveToHardware(profile, strategyOf(rows, weights), weightQuantizers);
      expect(violations(profile, strategy).map(({layer}) => layer)).toEqual(stuck);
    }
  });

  test('what a combination is executed as runs as it is', () => {
    for (const op of ['Conv', 'Gemm', 'MatMul']) {
      const layer = {name: 'layer', op};
      for (const pair of allowedPairs(profile, [layer])[0]!) {
        const [weightBits, activationBits] = pair.executedAs;
        expect(weightBits).toBeGreaterThanOrEqual(pair.weightBits);
        expect(activationBits === 32 || activationBits >= pair.activationBits).toBe(true);
        const again = executedAs(profile, layer, {weightBits, activationBits});
        if (again !== undefined) expect(again).toEqual(pair.executedAs);
      }
    }
  });
});

describe('what the multiplier runs bits as', () => {
  test.each([
    ['bitfusion-edge', 3, 4, [4, 4]],
    ['bitfusion-edge', 1, 5, [2, 8]],
    ['cutlass-sm80', 3, 4, [4, 4]],
    ['cutlass-sm80', 1, 1, [1, 1]],
    ['cutlass-sm75', 1, 1, [4, 4]],
    ['cutlass-sm80', 4, 8, [8, 8]],
    ['cutlass-sm90', 2, 2, [8, 8]],
    ['finn-zcu102', 3, 4, [3, 4]],
    ['finn-zcu102', 4, 4, [4, 4]],
    ['finn-zcu102', 2, 5, [2, 5]],
    ['finn-zcu102', 4, 5, [8, 8]],
    ['tensorrt-int4-weight-only', 4, 32, [32, 32]],
    ['generic-bops', 3, 5, [3, 5]],
    ['dpu-b512', 4, 8, undefined],
  ] as const)('%s: %i × %i', (name, weightBits, activationBits, expected) => {
    expect(executedAs(readProfile(name), {name: 'layer', op: 'Gemm'}, {weightBits, activationBits})).toEqual(expected);
  });

  test.each([
    ['cutlass-sm80', 'weights', 3, 4],
    ['cutlass-sm90', 'weights', 3, 4],
    ['cutlass-sm90', 'activations', 3, 8],
    ['bitfusion-edge', 'weights', 3, 3],
    ['tensorrt-int8', 'activations', 32, 16],
  ] as const)('%s: %s of %i bits take %i in memory', (name, of, bits, expected) => {
    expect(storedBits(readProfile(name), {name: 'layer', op: 'Conv'}, of, bits)).toBe(expected);
  });
});

describe('nearest combination', () => {
  const pairs = [
    [4, 4],
    [8, 8],
    [32, 32],
  ].map(([weightBits, activationBits]) => ({weightBits: weightBits!, activationBits: activationBits!}));

  test.each([
    [3, 2, [4, 4]],
    [4, 5, [8, 8]],
    [2, 32, [8, 8]],
    [32, 32, [32, 32]],
  ] as const)('%i × %i', (weightBits, activationBits, [w, a]) => {
    expect(nearestPair(pairs, {weightBits, activationBits})).toEqual({weightBits: w, activationBits: a});
  });

  test('nothing is near where nothing is allowed', () => {
    const none: readonly Bits[] = [];
    expect(nearestPair(none, {weightBits: 4, activationBits: 4})).toBeUndefined();
  });
});

test('of several devices the combinations that all have', () => {
  const devices = ['cutlass-sm80', 'tensorrt-int8'].map(readProfile);
  expect(commonPairs(devices, [{name: 'layer', op: 'Conv'}])).toEqual([
    [
      {weightBits: 8, activationBits: 8},
      {weightBits: 32, activationBits: 32},
    ],
  ]);
});

describe('a device with stricter rules for the first and the last layer', () => {
  const base = readProfile('bitfusion-edge');
  const eight: IntegerFormat = {...(base.formats['weights'] as IntegerFormat), bits: [8]};
  const strict = {weights: ['eight'], activations: ['eight']};
  const profile: HardwareProfile = {...base, formats: {...base.formats, eight}, first: strict, last: strict};

  test('they hold at the ends alone', () => {
    const strategy = strategyOf([
      ['Conv', 4, 8],
      ['Conv', 4, 4],
      ['Gemm', 8, 4],
    ]);
    expect(violations(profile, strategy)).toEqual([
      {hardware: 'bitfusion-edge', layer: 'layer0', rule: 'weight-bits', found: 4, allowed: [8], nearest: 8},
      {hardware: 'bitfusion-edge', layer: 'layer2', rule: 'activation-bits', found: 4, allowed: [8], nearest: 8},
    ]);
  });

  test('each output has a last layer', () => {
    const strategy = strategyOf([
      ['Conv', 8, 8],
      ['Conv', 4, 8],
      ['Conv', 4, 4],
      ['Conv', 8, 8],
    ]);
    const last = ['layer1', 'layer3'];
    expect(violations(profile, strategy)).toEqual([]);
    expect(hardwareViolations(profile, strategy, weightQuantizers, {last})).toEqual([
      {hardware: 'bitfusion-edge', layer: 'layer1', rule: 'weight-bits', found: 4, allowed: [8], nearest: 8},
    ]);
    expect(allowedPairs(profile, strategy.layers, last).map(({length}) => length)).toEqual([1, 1, 64, 1]);
    const {moves} = moveToHardware(profile, strategy, weightQuantizers, {last});
    expect(moves.map(({layer, to}) => [layer, to.weightBits])).toEqual([['layer1', 8]]);
  });
});

describe('inputs that share a scale', () => {
  // a ─ conv1 ─ relu1 ┬ conv2 ┐            The Add joins relu1 and conv2's output; conv3 and conv2 read relu1.
  //                   ├───────┴ add ─ …
  //                   └ conv3 ┐
  //                     add ──┴ concat ─ conv4
  const net = graphBuilder('joined', [3, 8, 8]);
  const first = net.node('Relu', 'relu1', [net.conv('conv1', net.input, {channels: 4, kernel: 3})]);
  const second = net.conv('conv2', first, {channels: 4, kernel: 3});
  const sum = net.node('Add', 'add', [second, first]);
  const third = net.conv('conv3', first, {channels: 4, kernel: 3});
  const both = net.node('Concat', 'concat', [sum, third], {axis: 1});
  const fourth = net.conv('conv4', net.node('Relu', 'relu2', [both]), {channels: 4, kernel: 3});
  const graph = net.build(net.conv('conv5', net.node('Add', 'add2', [sum, fourth]), {channels: 4, kernel: 3}));
  const {layers} = layerTable(graph);

  test('an Add joins its inputs, a Concat its inputs and its output; Relu keeps the grid', () => {
    expect(joinedLayers(graph, layers, ['Add'])).toEqual([['conv2', 'conv3']]);
    expect(joinedLayers(graph, layers, ['Concat'])).toEqual([]);
    expect(joinedLayers(graph, layers, [])).toEqual([]);
  });

  test('a layer with fewer bits than its group is a violation, and moves up', () => {
    const profile = readProfile('finn-zcu102');
    const strategy = strategyOf([
      ['Conv', 4, 8],
      ['Conv', 4, 3],
      ['Conv', 4, 4],
    ]);
    const joined = [['layer1', 'layer2']];
    const [violation, ...others] = hardwareViolations(profile, strategy, weightQuantizers, {joined});
    expect(violation).toEqual({
      hardware: 'finn-zcu102',
      layer: 'layer1',
      rule: 'unified',
      found: 3,
      allowed: [4],
      nearest: 4,
    });
    expect(others).toEqual([]);
    const moved = moveToHardware(profile, strategy, weightQuantizers, {joined});
    expect(moved.moves).toEqual([
      {
        layer: 'layer1',
        from: {weightBits: 4, activationBits: 3},
        to: {weightBits: 4, activationBits: 4},
        lossy: false,
      },
    ]);
  });
});

test('the depthwise layers of MobileNetV2 are its 17 middle convolutions, and its strategy says so', () => {
  const model = models.find(({name}) => name === 'mobilenet-v2')!;
  const {layers} = layerTable(model.build(model.defaults, {}));
  const depthwise = layers.filter((layer) => layer.depthwise === true);
  expect(depthwise).toHaveLength(17);
  const bits = layers.map(() => 4);
  const strategy = buildStrategy({
    model: {name: 'mobilenet-v2', digest: '0'.repeat(64)},
    quantizers: {weights: 'symmetric', activations: 'pact'},
    layers,
    weightBits: bits,
    activationBits: bits,
    pinned: new Map(),
    provenance: {method: 'uniform', sdqVersion: '0.1.0'},
  });
  const found = violations(readProfile('cutlass-sm80'), strategy).filter(({rule}) => rule === 'weight-bits');
  expect(found.map(({layer}) => layer)).toEqual(depthwise.map(({name}) => name));
});

describe('moving', () => {
  test('up where there is something above, and down, told as lossy, where there is not', () => {
    const strategy = strategyOf([
      ['Conv', 3, 3],
      ['Conv', 8, 8],
      ['Conv', 8, 32],
    ]);
    const {moves, strategy: moved} = moveToHardware(readProfile('tensorrt-int8'), strategy, weightQuantizers);
    expect(moves).toEqual([
      {
        layer: 'layer0',
        from: {weightBits: 3, activationBits: 3},
        to: {weightBits: 8, activationBits: 8},
        lossy: false,
      },
      {
        layer: 'layer2',
        from: {weightBits: 8, activationBits: 32},
        to: {weightBits: 8, activationBits: 8},
        lossy: true,
      },
    ]);
    expect(moved.hardware).toEqual(['tensorrt-int8']);
    expect(moved.summary).toEqual(summarize(moved.layers));
    expect(moved.provenance).not.toHaveProperty('target');
  });

  test('a strategy that runs stays as it is, target included', () => {
    const strategy = strategyOf([['Conv', 8, 8]]);
    const {moves, strategy: moved} = moveToHardware(readProfile('tensorrt-int8'), strategy, weightQuantizers);
    expect(moves).toEqual([]);
    expect(moved).toEqual({...strategy, hardware: ['tensorrt-int8']});
  });
});

test('weight quantizers by what the formats ask for', () => {
  const known = weightQuantizers;
  expect(fittingQuantizers(readProfile('generic-bops'), known)).toHaveLength(known.length);
  expect(fittingQuantizers(readProfile('cutlass-sm80'), known)).toEqual(['narrow', 'symmetric', 'narrow-per-tensor']);
});

test('a violation in words', () => {
  const [violation] = violations(readProfile('tensorrt-int8'), strategyOf([['Conv', 8, 32]]));
  expect(violationText(violation!)).toBe(
    'tensorrt-int8: layer "layer0": weight × activation bits 8×32; allowed: 8×8, 32×32; nearest: 8×8.',
  );
});
