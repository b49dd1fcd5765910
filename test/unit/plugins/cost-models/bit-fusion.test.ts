import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';

import {prepareCosts, type PreparedCosts} from '../../../../src/hardware/cost-model.ts';
import type {HardwareProfile} from '../../../../src/hardware/profile.ts';
import {readProfile} from '../../../../src/phases/hardware-file.ts';
import {bitFusion, computeCycles, fusion, type Convolution} from '../../../../src/plugins/cost-models/bit-fusion.ts';
import {convolution, costsOf} from '../../../helpers/layer-geometry.ts';

const edge = readProfile('bitfusion-edge');
const constants = Object.fromEntries(
  Object.entries(edge.costModel.constants).map(([name, {value}]) => [name, value]),
) as Parameters<typeof computeCycles>[2];

/** The edge profile with other numbers. */
function costsWith(values: Readonly<Record<string, number>>, batch: number): PreparedCosts {
  const changed = Object.entries(values).map(([name, value]) => [name, {value, unit: '-', source: 'test'}] as const);
  const profile: HardwareProfile = {
    ...edge,
    costModel: {...edge.costModel, constants: {...edge.costModel.constants, ...Object.fromEntries(changed)}},
  };
  return prepareCosts(profile, bitFusion, batch);
}

test('a fusion unit does 16 products of 2 bits, one of 8; 3 bits count as 4, 5 to 7 as 8', () => {
  const bits = [1, 2, 3, 4, 5, 6, 7, 8];
  expect(bits.map((b) => fusion(b, b))).toEqual([16, 16, 4, 4, 1, 1, 1, 1]);
  expect(bits.map((b) => fusion(b, 8))).toEqual([4, 4, 2, 2, 1, 1, 1, 1]);
});

describe("cycles are those of the authors' published sweep (batch 16, edge, ResNet-18 of twice the width)", () => {
  // hsharma35/bitfusion, results/bitfusion-eyeriss-sim-sweep.csv: total cycles and memory wait cycles.
  test.each([
    ['conv2_1_a', {inputs: 128, outputs: 128, kernel: 1, size: 56}, 401_408, 2_274_988, 1_873_580],
    ['conv2_1_b', {inputs: 128, outputs: 128, kernel: 3, size: 56}, 3_612_672, 3_613_708, 1036],
    ['conv3_1_a', {inputs: 128, outputs: 256, kernel: 1, size: 28, strides: 2}, 200_704, 1_104_555, 903_851],
    ['conv3_2_a', {inputs: 256, outputs: 256, kernel: 1, size: 28}, 401_408, 1_138_689, 737_281],
    ['conv4_1_b', {inputs: 512, outputs: 512, kernel: 3, size: 14}, 3_612_672, 4_330_838, 718_166],
    ['conv5_1_a', {inputs: 512, outputs: 1024, kernel: 1, size: 7, strides: 2}, 200_704, 345_431, 144_727],
    ['conv5_2_a', {inputs: 1024, outputs: 1024, kernel: 1, size: 7}, 401_408, 557_057, 155_649],
    ['conv5_1_b', {inputs: 1024, outputs: 1024, kernel: 3, size: 7}, 3_612_672, 3_614_180, 1508],
  ])(
    '%s',
    (
      _,
      {strides = 1, ...sizes}: {inputs: number; outputs: number; kernel: number; size: number; strides?: number},
      compute,
      total,
      stalls,
    ) => {
      const layer = convolution(sizes, {strides: [strides, strides]});
      const {cycles, details} = costsOf('bitfusion-edge', 16).layer(layer, {weightBits: 4, activationBits: 4});
      expect({cycles, ...details}).toMatchObject({cycles: total, computeCycles: compute, stallCycles: stalls});
    },
  );

  test('the first layer, as one long dot product', () => {
    const conv1 = convolution({inputs: 3, outputs: 128, kernel: 7, size: 112}, {strides: [2, 2], first: true});
    const {cycles, details} = costsOf('bitfusion-edge', 16).layer(conv1, {weightBits: 8, activationBits: 8});
    expect({cycles, stalls: details!['stallCycles']}).toEqual({cycles: 9_793_537, stalls: 1_765_377});
  });

  test("at the server's bandwidth with the edge's memories", () => {
    const layer = convolution({inputs: 128, outputs: 128, kernel: 3, size: 56});
    const {cycles} = costsWith({dramBitsPerCycle: 4096}, 16).layer(layer, {weightBits: 4, activationBits: 4});
    expect(cycles).toBe(3_612_693);
  });
});

test("energy is the sum over the published sweep's reads and writes of conv2_1_b", () => {
  const layer = convolution({inputs: 128, outputs: 128, kernel: 3, size: 56});
  const {energyUj} = costsOf('bitfusion-edge', 16).layer(layer, {weightBits: 4, activationBits: 4});
  const picojoule =
    3_612_672 * 235.104 +
    29_595_009_024 * 0.0214 +
    589_824 * 0.0289 +
    29_595_009_024 * 0.0595 +
    231_211_008 * 0.1137 +
    411_041_792 * (0.0332 + 0.0731) +
    (437_321_728 + 205_520_896) * constants.dramPjPerBit;
  expect(energyUj).toBeCloseTo(picojoule * 1e-6, 3);
});

const size = (max: number) => fc.integer({min: 1, max});

/** Counts cycles by walking the array over every product. */
function walked(c: Convolution): number {
  const [rows, columns] = [constants.arrayRows, constants.arrayColumns];
  const taps = c.kernel[0] * c.kernel[1];
  const [steps, inner] = c.im2col ? [1, taps * c.inputs] : [taps, c.inputs];
  let cycles = 0;
  for (let pixel = 0; pixel < c.samples * c.height * c.width; pixel++) {
    for (let output = 0; output < c.outputs; output += columns) {
      for (let step = 0; step < steps; step++) {
        for (let input = 0; input < inner; input += rows * c.fusion) cycles++;
      }
    }
  }
  return cycles;
}

const anyConvolution = fc
  .record({
    samples: size(3),
    height: size(6),
    width: size(6),
    inputs: size(200),
    outputs: size(100),
    kernel: fc.tuple(size(3), size(3)),
    im2col: fc.boolean(),
    bits: fc.tuple(size(8), size(8)),
  })
  .map(({bits, ...rest}): Convolution => {
    return {
      ...rest,
      strides: [1, 1],
      extent: rest.kernel,
      weightBits: bits[0],
      activationBits: bits[1],
      fusion: fusion(...bits),
    };
  });

test('compute cycles equal those of a walk over every product', () => {
  fc.assert(
    fc.property(anyConvolution, (whole) => {
      expect(computeCycles(whole, whole, constants)).toBe(walked(whole));
    }),
    {numRuns: 300},
  );
});

interface Tiny {
  readonly samples: number;
  readonly size: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly kernel: number;
  readonly bits: number;
}

/** Fewest cycles over every tiling and all 120 loop orders, written down from the simulator's rules without any short cut. */
function fewestCycles({samples, size: side, inputs, outputs, kernel, bits}: Tiny): number {
  const c = constants;
  const lanes = c.arrayRows * fusion(bits, bits);
  const half = [c.weightSramKiB, c.activationSramKiB, c.outputSramKiB].map((kib) => kib * 4096);
  const parts = (n: number): number[] => [...new Set([1, 2, 4, 8, 16, 32, 64, 128, 256].map((p) => Math.min(p, n)))];
  const orders = (items: readonly string[]): string[][] =>
    items.length < 2 ? [[...items]] : items.flatMap((x) => orders(items.filter((y) => y !== x)).map((o) => [x, ...o]));
  const changes: Record<string, readonly boolean[]> = {
    b: [false, true, true],
    h: [false, true, true],
    w: [false, true, true],
    i: [true, true, false],
    o: [true, false, true],
  };
  const all = orders(['b', 'h', 'w', 'i', 'o']);
  let best = Infinity;
  for (const b of parts(samples)) {
    for (const s of parts(side)) {
      for (const i of parts(inputs)) {
        for (const blocks of parts(Math.ceil(outputs / c.arrayColumns))) {
          const o = Math.min(blocks * c.arrayColumns, outputs);
          const columns = Math.ceil(o / c.arrayColumns);
          const first = [
            Math.ceil((kernel * kernel * i) / lanes) * lanes * o * bits,
            (kernel + s - 1) ** 2 * i * b * bits,
            s * s * columns * c.arrayColumns * b * c.partialSumBits,
          ];
          if (first.some((x, k) => x > half[k]!)) continue;
          const tiles: Record<string, number> = {
            b: Math.ceil(samples / b),
            h: Math.ceil(side / s),
            w: Math.ceil(side / s),
            i: Math.ceil(inputs / i),
            o: Math.ceil(outputs / o),
          };
          const count = Object.values(tiles).reduce((p, n) => p * n, 1);
          const compute = count * b * columns * s * s * kernel * kernel * Math.ceil(i / lanes);
          for (const order of all) {
            const moved = [...first];
            const held = [...first];
            const stays = [true, true, true];
            for (const loop of [...order].reverse()) {
              for (const k of [0, 1, 2]) {
                if (stays[k]! && !changes[loop]![k]!) continue;
                moved[k]! *= tiles[loop]!;
                if (!stays[k]!) continue;
                if (moved[k]! > half[k]!) stays[k] = false;
                else held[k] = moved[k]!;
              }
            }
            const start = held[0]! + held[1]! + held[2]!;
            const traffic = moved[0]! + moved[1]! + 2 * moved[2]!;
            const cyclesFor = (x: number): number => Math.ceil(x / c.dramBitsPerCycle);
            const between = cyclesFor(traffic - start - held[2]!);
            const stalls = Math.max(0, between - compute) + cyclesFor(start) + cyclesFor(held[2]!);
            best = Math.min(best, compute + stalls);
          }
        }
      }
    }
  }
  return best;
}

test('the schedule has the fewest cycles of all tilings and loop orders', () => {
  fc.assert(
    fc.property(
      fc.record({
        samples: size(3),
        size: size(15),
        inputs: size(250),
        outputs: size(250),
        kernel: fc.constantFrom(1, 3),
        bits: fc.constantFrom(2, 4, 8),
      }),
      (tiny) => {
        const {cycles} = costsOf('bitfusion-edge', tiny.samples).layer(convolution(tiny), {
          weightBits: tiny.bits,
          activationBits: tiny.bits,
        });
        expect(cycles).toBe(fewestCycles(tiny));
      },
    ),
    {numRuns: 15},
  );
});

test('a depthwise layer runs channel by channel', () => {
  const one = costsOf('bitfusion-edge').layer(convolution({inputs: 1, outputs: 1, kernel: 3, size: 7}), {
    weightBits: 8,
    activationBits: 8,
  });
  const all = costsOf('bitfusion-edge').layer(
    convolution({inputs: 24, outputs: 24, kernel: 3, size: 7}, {groups: 24}),
    {weightBits: 8, activationBits: 8},
  );
  expect(all.cycles).toBe(24 * one.cycles!);
});

test('a layer whose smallest block exceeds a memory is named with what it needs', () => {
  const layer = convolution({inputs: 64, outputs: 64, kernel: 3, size: 8});
  expect(() => costsWith({outputSramKiB: 0.125}, 1).layer(layer, {weightBits: 8, activationBits: 8})).toThrow(
    /Layer "conv" does not fit bitfusion-edge: its smallest block has .* 0\.13 KiB of outputs, but 64, 32 and 0\.125 KiB × 0\.5/,
  );
});
