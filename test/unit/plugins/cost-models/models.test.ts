/** GPU roofline, DPU, bit operations and energy. */
import {describe, expect, test} from '@jest/globals';

import {readProfile} from '../../../../src/phases/hardware-file.ts';
import {multiplyPj, type EnergyConstants} from '../../../../src/plugins/cost-models/generic-energy.ts';
import {convolution, costsOf, network, refusal, uniform} from '../../../helpers/layer-geometry.ts';

describe('bit operations of ResNet18 at 224 × 224', () => {
  const layers = network('resnet18');

  test.each([
    // HAWQ-V3, table 1: 1858 G at 32/32 and 116 G at 8/8.
    [32, 1858],
    [8, 116],
  ])('%i/%i bits: %i G', (bits, published) => {
    const {totals} = costsOf('generic-bops').network(layers, uniform(layers, bits, bits));
    expect(Math.round(totals.bops / 1e9)).toBe(published);
    expect(totals).toMatchObject({cycles: null, latencyUs: null, energyUj: null, samplesPerSecond: null});
  });

  test('a batch multiplies them', () => {
    const one = costsOf('generic-bops').network(layers, uniform(layers, 4, 4)).totals.bops;
    expect(costsOf('generic-bops', 16).network(layers, uniform(layers, 4, 4)).totals.bops).toBe(16 * one);
  });
});

describe('energy in 45 nm', () => {
  const constants = Object.fromEntries(
    Object.entries(readProfile('generic-energy-45nm').costModel.constants).map(([name, {value}]) => [name, value]),
  ) as EnergyConstants;

  test("Horowitz's table: 0.2 pJ for 8 bits, 3.1 pJ for 32-bit integers, 3.7 pJ for floating point", () => {
    expect(multiplyPj(8, 8, constants)).toBeCloseTo(0.2, 6);
    const square = constants.multiplyPjPerSquareBit * 32 * 32 + constants.multiplyPjPerBit * 32;
    expect(square).toBeCloseTo(3.1, 5);
    expect(multiplyPj(32, 32, constants)).toBe(3.7);
  });

  test('a layer by hand: products, 32-bit additions, and each value across DRAM once', () => {
    const layer = convolution({inputs: 3, outputs: 5, kernel: 3, size: 7});
    const {energyUj} = costsOf('generic-energy-45nm', 2).layer(layer, {weightBits: 4, activationBits: 4});
    const macs = 2 * 3 * 5 * 9 * 49;
    const product = 0.002994791667 * 16 + 0.001041666667 * 4;
    const dramBits = 4 * (3 * 5 * 9) + 4 * 2 * (3 + 5) * 49;
    expect(energyUj).toBeCloseTo((macs * (product + 0.003125 * 32) + dramBits * 20.3125) * 1e-6, 9);
  });
});

describe('GPU roofline', () => {
  test('T4, the 19 inner layers of ResNet18 at batch 8: INT8 over INT4 within 15 % of the measured 1.70', () => {
    // Zhen-Dong/HAWQ, ILP notebook: 5.344 ms and 3.149 ms in all.
    const layers = network('resnet18').filter(({first, last}) => !first && !last);
    expect(layers).toHaveLength(19);
    const costs = costsOf('cutlass-sm75', 8);
    const latency = (bits: number): number => costs.network(layers, uniform(layers, bits, bits)).totals.latencyUs!;
    const ratio = latency(8) / latency(4);
    expect(Math.abs(ratio / 1.7 - 1)).toBeLessThan(0.15);
  });

  test('a layer by hand: the longer of compute and memory after the launch; 3 × 4 bits run as 4 × 4', () => {
    const layer = convolution({inputs: 256, outputs: 256, kernel: 3, size: 14});
    const {latencyUs, boundBy, executedAs} = costsOf('cutlass-sm75', 8).layer(layer, {
      weightBits: 3,
      activationBits: 4,
    });
    const computeUs = (2 * 8 * 256 * 256 * 9 * 196) / 260e6;
    expect(latencyUs).toBeCloseTo(5 + computeUs, 9);
    expect({boundBy, executedAs}).toEqual({boundBy: 'compute', executedAs: [4, 4]});
  });

  test('a fully connected layer of one sample is bound by memory, a tiny one by the launch', () => {
    const costs = costsOf('cutlass-sm75');
    const wide = convolution({inputs: 8192, outputs: 8192, kernel: 1, size: 1});
    const {boundBy, latencyUs} = costs.layer(wide, {weightBits: 8, activationBits: 8});
    expect(boundBy).toBe('memory');
    expect(latencyUs).toBeCloseTo(5 + (8192 * 8192 + 2 * 8192) / 320e3, 9);
    const tiny = convolution({inputs: 8, outputs: 8, kernel: 1, size: 1});
    expect(costs.layer(tiny, {weightBits: 8, activationBits: 8}).boundBy).toBe('launch');
  });
});

describe('DPU', () => {
  test('B4096 does 2,048 multiply-accumulates a cycle where sizes divide evenly', () => {
    const layer = convolution({inputs: 64, outputs: 64, kernel: 3, size: 56});
    const {cycles, utilisation, boundBy} = costsOf('dpu-b4096').layer(layer, {weightBits: 8, activationBits: 8});
    expect({cycles, utilisation, boundBy}).toEqual({cycles: layer.macs / 2048, utilisation: 1, boundBy: 'compute'});
  });

  test('what is left over of a row and of the channels idles', () => {
    const layer = convolution({inputs: 17, outputs: 33, kernel: 3, size: 9});
    const {details} = costsOf('dpu-b4096').layer(layer, {weightBits: 8, activationBits: 8});
    expect(details!['computeCycles']).toBe(9 * 2 * 9 * 2 * 3);
  });

  test('other bits than 8 do not run', () => {
    const layer = convolution({inputs: 16, outputs: 16, kernel: 3, size: 8});
    const error = refusal(() => costsOf('dpu-b4096').layer(layer, {weightBits: 4, activationBits: 8}));
    expect(error.message).toMatch(/"conv" \(Conv\): dpu-b4096 does not run 4-bit weights with 8-bit activations/);
    expect(error.oclif.exit).toBe(4);
  });
});
