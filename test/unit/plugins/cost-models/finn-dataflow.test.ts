import {readFileSync} from 'node:fs';
import path from 'node:path';

import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';

import {
  accumulatorBits,
  bram18,
  dspBlocks,
  fold,
  foldings,
  thresholdBits,
  thresholdLuts,
  unitLuts,
  uram,
  type Folding,
  type Unit,
} from '../../../../src/plugins/cost-models/finn-dataflow.ts';
import {isRtl} from '../../../../src/hardware/finn-unit.ts';
import {convolution, costsOf, network, refusal, uniform} from '../../../helpers/layer-geometry.ts';

const unit: Unit = {
  inputs: 576,
  outputs: 64,
  vectors: 3136,
  depthwise: false,
  weightBits: 4,
  activationBits: 4,
  inputSigned: false,
  outputBits: 4,
};

interface FinnUnit {
  readonly name: string;
  readonly inputs: number;
  readonly outputs: number;
  readonly vectors: number;
  readonly pe: number;
  readonly simd: number;
  readonly weightBits: number;
  readonly activationBits: number;
  readonly inputSigned: boolean;
  readonly memory: string;
  readonly cycles: number;
  readonly bram18: number;
  readonly uram: number;
  readonly dsp: number;
  readonly lut: number;
}

/** FINN's own estimates, made by bench/finn-estimates.py. */
const finn = JSON.parse(
  readFileSync(path.resolve(import.meta.dirname, '../../../fixtures/finn-estimates.json'), 'utf8'),
) as {
  readonly networks: Readonly<
    Record<string, {readonly unknownNames: readonly string[]; readonly units: readonly FinnUnit[]}>
  >;
  readonly singles: readonly FinnUnit[];
};

/** Equal in cycles, memory and, but for what FINN does not estimate, logic. */
function expectAsFinn({name, pe, simd, memory, cycles, bram18: blocks, dsp, lut, ...rest}: FinnUnit): void {
  const own: Unit = {...rest, depthwise: name.startsWith('VVAU'), outputBits: null};
  expect(name).toMatch(isRtl(own) ? /_rtl/ : /_hls/);
  const depth = (own.inputs / simd) * (own.outputs / pe);
  const width = pe * simd * own.weightBits;
  expect(depth * own.vectors).toBe(cycles);
  expect(memory === 'block' ? bram18(width, depth, !own.depthwise) : 0).toBe(blocks);
  if (!isRtl(own)) {
    expect(dsp).toBe(0);
    const memoryLuts = memory === 'distributed' ? width * Math.ceil(depth / 64) : 0;
    expect(unitLuts(own, pe, simd) + memoryLuts).toBe(lut);
    return;
  }
  // FINN gives no LUTs of an RTL unit, and counts the 8-bit core, two products a block, as the 4-bit one.
  expect(lut).toBe(0);
  expect(dspBlocks({...own, weightBits: 4, activationBits: 4}, pe, simd)).toBe(dsp);
}

const resources = ['dsp', 'lut', 'bram18', 'uram'] as const;

describe('resources by hand', () => {
  test('DSP blocks: ⌈P/4⌉·S in the 4-bit unit, ⌈P/2⌉·S in the 8-bit unit', () => {
    expect(dspBlocks(unit, 8, 9)).toBe(18);
    expect(dspBlocks(unit, 1, 9)).toBe(9);
    expect(dspBlocks({...unit, weightBits: 5}, 8, 9)).toBe(36);
    expect(dspBlocks({...unit, depthwise: true}, 8, 9)).toBe(0);
    expect(dspBlocks({...unit, activationBits: 8}, 3, 4)).toBe(8);
  });

  test.each([
    // width, depth, blocks of 18 Kbit: ⌈d/16384⌉, ⌈d/8192⌉, ⌈d/4096⌉, ⌈d/2048⌉, ⌈d/1024⌉⌈w/18⌉, ⌈d/512⌉⌈w/36⌉
    [1, 20_000, 2],
    [2, 20_000, 3],
    [4, 4096, 1],
    [3, 4097, 2],
    [9, 2048, 1],
    [8, 9216, 5],
    [18, 1025, 2],
    [36, 1024, 2],
    [36, 512, 1],
    [144, 512, 4],
    [145, 512, 5],
    [72, 513, 4],
  ])('BRAM18 of a memory %i wide and %i deep: %i', (width, depth, blocks) => {
    expect(bram18(width, depth)).toBe(blocks);
  });

  test('URAM: 72 bits wide, 4,096 deep', () => {
    expect([uram(72, 4096), uram(73, 4096), uram(72, 4097), uram(288, 9000)]).toEqual([1, 2, 2, 12]);
  });

  test('accumulator: 576 products of 4 × 4 bits need 17 bits and a sign, one fewer for a signed input', () => {
    // α = log2 576 + 4 + 4 − 1 = 16.17; ⌈16.17 + log2(1 + 2^−16.17) + 1⌉ = 18
    expect(accumulatorBits(unit)).toBe(18);
    expect(accumulatorBits({...unit, inputSigned: true})).toBe(17);
    expect(accumulatorBits({...unit, inputs: 1, weightBits: 1, activationBits: 1})).toBe(3);
  });

  test('thresholds: 2^B − 1 a channel in the width of the accumulator', () => {
    expect(thresholdBits(unit)).toBe(64 * 15 * 18);
    expect(thresholdBits({...unit, outputBits: null})).toBe(0);
  });

  test('LUTs: an accumulator in RTL; with fewer bits FINN-R’s multipliers and adder tree too', () => {
    expect(unitLuts(unit, 8, 9)).toBe(Math.floor(300 + 1.1 * 8 * 18));
    // 2 × 4 bits: S·(2⌈6/6⌉ − 1)·6 + 6·(2S − 1), and an accumulator of 16 bits
    expect(unitLuts({...unit, weightBits: 2}, 8, 9)).toBe(Math.floor(300 + 1.1 * 8 * (9 * 6 + 6 * 17 + 16)));
    expect(dspBlocks({...unit, weightBits: 2}, 8, 9)).toBe(0);
  });

  test('thresholds of 4 bits: stages of 1, 2, 4 and 8 words a channel, and a comparator each', () => {
    // P = 8: 8 channels a PE, so 8, 16, 32 and 64 words, each one LUT deep.
    expect(thresholdLuts(unit, 8)).toBe(8 * 18 * (4 + 4));
    // P = 1: 64, 128, 256 and 512 words.
    expect(thresholdLuts(unit, 1)).toBe(18 * (4 + 1 + 2 + 4 + 8));
    expect(thresholdLuts({...unit, outputBits: null}, 8)).toBe(0);
  });

  test.each(finn.singles)(
    'as FINN estimates: $name, $weightBits × $activationBits bits, $inputs × $outputs, $memory',
    (one) => {
      expectAsFinn(one);
    },
  );
});

test('cycles are (MH/P)·(MW/S)·vectors, P and S divide them, and no folding is beaten by another', () => {
  const all = foldings(unit, true);
  for (const {pe, simd, cycles} of all) {
    expect([64 % pe, 576 % simd]).toEqual([0, 0]);
    expect(cycles).toBe((64 / pe) * (576 / simd) * 3136);
  }
  const beats = (a: Folding, b: Folding): boolean =>
    a.cycles < b.cycles && resources.every((name) => a[name] <= b[name]);
  expect(all.filter((b) => all.some((a) => beats(a, b)))).toEqual([]);
});

const size = (min: number, max: number) => fc.integer({min, max});
const tinyUnit = fc
  .record({inputs: size(1, 12), outputs: size(1, 12), vectors: size(1, 20), bits: fc.constantFrom(2, 4, 8)})
  .map(({bits, ...rest}): Unit => ({...unit, ...rest, weightBits: bits, activationBits: bits}));

test('the choice fits and is near the best of all choices', () => {
  const slower: number[] = [];
  fc.assert(
    fc.property(fc.tuple(tinyUnit, tinyUnit), size(2, 40), size(1500, 9000), size(1, 6), (units, dsp, lut, bram) => {
      const usable = {dsp, lut, bram18: bram, uram: 0};
      const {chosen, use, fits} = fold(units, usable);
      const [first, second] = units.map((one) => foldings(one, false));
      let best = Infinity;
      for (const a of first!) {
        for (const b of second!) {
          if (resources.every((name) => a[name] + b[name] <= usable[name])) {
            best = Math.min(best, Math.max(a.cycles, b.cycles));
          }
        }
      }
      if (!fits) {
        // Prices may miss a choice, but only where the board is all but full.
        slower.push(best === Infinity ? 1 : 2);
        return;
      }
      expect(resources.filter((name) => use[name] > usable[name])).toEqual([]);
      const found = Math.max(...chosen.map(({cycles}) => cycles));
      expect(found).toBeGreaterThanOrEqual(best);
      slower.push(found / best);
    }),
    {numRuns: 200, seed: 1},
  );
  expect(slower.filter((ratio) => ratio > 1).length).toBeLessThan(0.02 * slower.length);
});

describe.each(Object.entries(finn.networks))('ResNet20 in FINN, %s', (_, {unknownNames, units}) => {
  test('every name of the folding file is a node of FINN, and every unit is as FINN estimates', () => {
    expect(unknownNames).toEqual([]);
    expect(units).toHaveLength(20);
    for (const one of units) expectAsFinn(one);
  });
});

describe('a network on a board', () => {
  const layers = network('resnet20');
  const bits = uniform(layers, 2, 4);

  test('the slowest layer sets the rate; the design is within the budget; the shares bound the interval from below', () => {
    const costs = costsOf('finn-zcu102', 4);
    const {layers: rows, totals} = costs.network(layers, bits);
    const cycles = rows.map((row) => row.cycles!);
    const interval = Math.max(...cycles);
    expect(totals.cycles).toBe(cycles.reduce((sum, own) => sum + own, 0) + 3 * interval);
    expect(totals.samplesPerSecond! * interval).toBeCloseTo((totals.cycles! / totals.latencyUs!) * 1e6, 0);
    for (const {used, usable} of totals.resources) expect(used).toBeLessThanOrEqual(usable);
    expect(rows.filter(({boundBy}) => boundBy === 'compute').length).toBeGreaterThan(0);
    const share = layers.reduce((sum, layer, l) => sum + costs.layer(layer, bits[l]!).cycles! / 4, 0);
    expect(share).toBeLessThanOrEqual(interval);
    expect(costs.additive).toBe(false);
  });

  test('a larger board is no slower', () => {
    const rates = ['finn-zynq7020', 'finn-zu3eg', 'finn-zcu102'].map((name) => {
      const {cycles} = costsOf(name).network(layers, bits).totals;
      return cycles!;
    });
    expect(rates).toEqual([...rates].sort((a, b) => b - a));
  });

  test('one that does not fit is refused with what is short, the largest layer and the bits that would fit', () => {
    const large = network('resnet50');
    const error = refusal(() => costsOf('finn-zynq7020').network(large, uniform(large, 4, 4)));
    expect(error.message).toMatch(
      /does not fit finn-zynq7020: .* takes [\d,]+ bram18 of 224 usable\. Its weights take 12,453 KiB, most of them layer "layer4\.0\.conv2"/,
    );
    expect(error.suggestions[0]).toMatch(/hold 504 KiB: at most 0\.16 mean weight bits/);
    expect(error.oclif.exit).toBe(4);
  });

  test('groups that are neither one nor depthwise are refused', () => {
    const grouped = convolution({inputs: 8, outputs: 8, kernel: 3, size: 4}, {groups: 2});
    expect(refusal(() => costsOf('finn-zcu102').layer(grouped, {weightBits: 4, activationBits: 4})).message).toMatch(
      /"conv": finn-zcu102 runs convolutions of one group and depthwise ones; this one has 2 groups/,
    );
  });
});
