import {createRequire} from 'node:module';

import {describe, expect, test} from '@jest/globals';
import {Ajv2020} from 'ajv/dist/2020.js';
import fc from 'fast-check';

import {
  buildStrategy,
  checkStrategy,
  diffStrategies,
  matchStrategy,
  summarize,
  uniformActivationBits,
  uniformWeightBits,
  type LayerPrecision,
  type Strategy,
  type StrategyFile,
} from '../../../src/sdq/strategy.ts';

const schema = createRequire(import.meta.url)('../../../schemas/strategy.schema.json') as {examples: Strategy[]};
const isValid = new Ajv2020({strictTypes: false}).compile(schema);

const model = {name: 'net', digest: 'a'.repeat(64)};
const layers = [
  {name: 'conv1', op: 'Conv', params: 100, macs: 1000},
  {name: 'conv2', op: 'Conv', params: 300, macs: 3000},
  {name: 'linear', op: 'Gemm', params: 600, macs: 600},
] as const;
const pinned = new Map([['conv1', 8]]);

function strategyOf(weightBits: readonly number[] = [8, 2, 3], activationBits = 4): Strategy {
  return buildStrategy({
    model,
    quantizers: {weights: 'symmetric', activations: 'pact'},
    layers,
    weightBits,
    activationBits: uniformActivationBits(
      layers.map(({name}) => name),
      activationBits,
      pinned,
    ),
    pinned,
    provenance: {method: 'sdq', sdqVersion: '0.1.0', seed: 0, target: {meanWeightBits: 3.2}},
  });
}

/** A strategy file in which anything may stand. */
interface Damaged {
  version: unknown;
  model: Record<string, unknown>;
  layers: Record<string, unknown>[];
}

const asFile = (strategy: Strategy): Strategy => JSON.parse(JSON.stringify(strategy)) as Strategy;

describe('build', () => {
  test('means by hand: bits by parameters, activations by multiply-accumulates, bops', () => {
    const strategy = strategyOf();
    expect(strategy.layers.map(({weightBits, activationBits, pinned}) => [weightBits, activationBits, pinned])).toEqual(
      [
        [8, 8, true],
        [2, 4, undefined],
        [3, 4, undefined],
      ],
    );
    expect(strategy.summary).toEqual({
      meanWeightBits: (800 + 600 + 1800) / 1000,
      meanWeightBitsUnpinned: 2400 / 900,
      meanActivationBits: (8000 + 12000 + 2400) / 4600,
      compression: 10,
      bops: 1000 * 64 + 3000 * 8 + 600 * 12,
    });
  });

  test('full-precision activations stay so, in pinned layers too', () => {
    expect(strategyOf([8, 2, 3], 32).summary.meanActivationBits).toBe(32);
  });

  test('the example of the paper: 1.93 mean bits are 16.6 times smaller', () => {
    const [layer] = strategyOf().layers as [LayerPrecision];
    const {compression} = summarize([
      {...layer, weightBits: 1, params: 7},
      {...layer, weightBits: 2, params: 93},
    ]);
    expect(compression).toBeCloseTo(16.6, 1);
  });

  test('all layers pinned: no mean without them', () => {
    const [first] = strategyOf().layers as [LayerPrecision];
    expect(summarize([first]).meanWeightBitsUnpinned).toBeNull();
  });

  test('uniform bits leave the pinned layers alone', () => {
    expect(
      uniformWeightBits(
        layers.map(({name}) => name),
        2,
        pinned,
      ),
    ).toEqual([8, 2, 2]);
  });
});

describe('schema', () => {
  test('a strategy that was built is valid, and reads back as it was', () => {
    expect(isValid(asFile(strategyOf()))).toBe(true);
    expect(checkStrategy(asFile(strategyOf()), 's.json')).toEqual(strategyOf());
  });

  test('the examples are valid and their summaries right', () => {
    for (const example of schema.examples) {
      expect(isValid(example)).toBe(true);
      expect(checkStrategy(example, 'example')).toEqual(example);
    }
  });

  test.each([
    ['bits that do not exist', (s: Damaged) => (s.layers[0]!['weightBits'] = 9)],
    ['bits as text', (s: Damaged) => (s.layers[0]!['weightBits'] = '8')],
    ['another version', (s: Damaged) => (s.version = 3)],
    ['an unknown key', (s: Damaged) => (s.layers[0]!['bits'] = 3)],
    ['no layers', (s: Damaged) => (s.layers = [])],
    ['a digest of another form', (s: Damaged) => (s.model['graphDigest'] = 'abc')],
    ['a layer without weights', (s: Damaged) => (s.layers[0]!['params'] = 0)],
  ])('%s is refused', (_, damage) => {
    const strategy = asFile(strategyOf());
    damage(strategy as unknown as Damaged);
    expect(isValid(strategy)).toBe(false);
  });
});

describe('check on load', () => {
  test('a layer twice is named by both places', () => {
    const strategy = asFile(strategyOf());
    const doubled = {...strategy, layers: [...strategy.layers, strategy.layers[1]!]};
    expect(() => checkStrategy(doubled, 's.json')).toThrow('s.json: /layers/3/name: "conv2" is already /layers/1.');
  });

  test.each(['meanWeightBits', 'meanWeightBitsUnpinned', 'meanActivationBits', 'compression', 'bops'] as const)(
    'a wrong %s names what the layers give',
    (key) => {
      const strategy = asFile(strategyOf());
      const claimed = {...strategy, summary: {...strategy.summary, [key]: 1.5}};
      expect(() => checkStrategy(claimed, 's.json')).toThrow(
        expect.objectContaining({
          code: 'strategy-summary-wrong',
          message: `s.json: /summary/${key} is 1.5; the layers give ${strategy.summary[key]!}.`,
          oclif: {exit: 3},
        }),
      );
    },
  );

  test('an edit of one layer without the summary is found; without a summary it is computed', () => {
    const strategy = asFile(strategyOf());
    const edited = {...strategy, layers: strategy.layers.with(1, {...strategy.layers[1]!, weightBits: 1})};
    expect(() => checkStrategy(edited, 's.json')).toThrow(/\/summary\/meanWeightBits is 3\.2; the layers give 2\.9/);
    const open = JSON.parse(JSON.stringify({...edited, summary: undefined})) as StrategyFile;
    expect(checkStrategy(open, 's.json').summary.meanWeightBits).toBe(2.9);
  });
});

describe('match', () => {
  const match = (strategy: Strategy): void => matchStrategy(strategy, model, layers, 's.json');

  test('its own network', () => {
    expect(() => match(strategyOf())).not.toThrow();
  });

  test('an unknown layer is named with the nearest one', () => {
    const strategy = strategyOf();
    const renamed = {...strategy, layers: strategy.layers.with(1, {...strategy.layers[1]!, name: 'conv22'})};
    expect(() => match(renamed)).toThrow(
      expect.objectContaining({
        message: expect.stringContaining('/layers/1/name: net has no quantized layer "conv22"'),
        suggestions: ['Did you mean "conv2"?'],
      }),
    );
  });

  test('a missing layer is named', () => {
    const strategy = strategyOf();
    expect(() => match({...strategy, layers: strategy.layers.slice(0, 2)})).toThrow(/net also has "linear"/);
  });

  test.each([
    ['op', 'MatMul', '/layers/2/op is MatMul; layer "linear" of net has Gemm.'],
    ['params', 5, '/layers/2/params is 5; layer "linear" of net has 600.'],
    ['macs', 6, '/layers/2/macs is 6; layer "linear" of net has 600.'],
  ])('another %s', (key, value, message) => {
    const strategy = strategyOf();
    const other = {...strategy, layers: strategy.layers.with(2, {...strategy.layers[2]!, [key]: value})};
    expect(() => match(other)).toThrow(`s.json: ${message}`);
  });

  test('another graph', () => {
    const strategy = strategyOf();
    const other = {...strategy, model: {...strategy.model, graphDigest: `sha256:${'b'.repeat(64)}`}};
    expect(() => match(other)).toThrow(/\/model\/graphDigest is sha256:b+; the graph of net has sha256:a+\./);
  });
});

describe('diff', () => {
  test('lists the layers that differ, and those of only one', () => {
    const a = strategyOf([8, 2, 3]);
    const b = {...strategyOf([8, 4, 3]), layers: strategyOf([8, 4, 3]).layers.slice(0, 2)};
    expect(diffStrategies(a, a)).toEqual([]);
    expect(diffStrategies(a, b)).toEqual([
      {name: 'conv2', weightBits: [2, 4], activationBits: [4, 4]},
      {name: 'linear', weightBits: [3, null], activationBits: [4, null]},
    ]);
    expect(diffStrategies(b, a)[1]).toEqual({name: 'linear', weightBits: [null, 3], activationBits: [null, 4]});
  });
});

test('any strategy that is built reads back, and its mean lies between its bits', () => {
  const bits = fc.constantFrom(1, 2, 3, 4, 5, 6, 7, 8, 32);
  fc.assert(
    fc.property(
      fc.array(fc.record({params: fc.integer({min: 1, max: 1e7}), macs: fc.integer({min: 1, max: 1e9}), bits}), {
        minLength: 1,
        maxLength: 60,
      }),
      bits,
      (rows, activationBits) => {
        const strategy = buildStrategy({
          model,
          quantizers: {weights: 'symmetric', activations: 'pact'},
          layers: rows.map(({params, macs}, i) => ({name: `layer ${i}`, op: 'Conv' as const, params, macs})),
          weightBits: rows.map(({bits}) => bits),
          activationBits: rows.map(() => activationBits),
          pinned: new Map(),
          provenance: {method: 'uniform', sdqVersion: '0.1.0'},
        });
        const {meanWeightBits} = strategy.summary;
        const all = rows.map(({bits}) => bits);
        expect(meanWeightBits).toBeGreaterThanOrEqual(Math.min(...all) * (1 - 1e-12));
        expect(meanWeightBits).toBeLessThanOrEqual(Math.max(...all) * (1 + 1e-12));
        expect(isValid(asFile(strategy))).toBe(true);
        expect(checkStrategy(asFile(strategy), 'x')).toEqual(strategy);
      },
    ),
  );
});
