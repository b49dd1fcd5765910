import {describe, expect, test} from '@jest/globals';

import {prepareCosts, type CostModel} from '../../../src/hardware/cost-model.ts';
import {checkLatencyTable, emptyRows, withMeasured, type LatencyTable} from '../../../src/hardware/latency-table.ts';
import type {Bits} from '../../../src/hardware/rules.ts';
import {readProfile} from '../../../src/phases/hardware-file.ts';
import {bitFusion} from '../../../src/plugins/cost-models/bit-fusion.ts';
import {convolution, costsOf, network, refusal, uniform} from '../../helpers/layer-geometry.ts';

const layer = convolution({inputs: 4, outputs: 8, kernel: 3, size: 6});

function counting(): CostModel & {calls: number} {
  const model = {
    calls: 0,
    constants: [],
    resources: [],
    energy: 'none' as const,
    layer: () => {
      model.calls++;
      return {cycles: 7, latencyUs: 3, energyUj: null, utilisation: 0.5, boundBy: 'compute' as const};
    },
  };
  return model;
}

describe('costs on a device', () => {
  test("memory, bit operations and sums are those of the layers' sizes", () => {
    const costs = prepareCosts(readProfile('generic-bops'), counting(), 2);
    const {layers, totals} = costs.network([layer, layer], uniform([layer, layer], 2, 4));
    expect(layers[0]).toMatchObject({
      weightMemoryKiB: (288 * 2) / 8192,
      activationMemoryKiB: (2 * (4 + 8) * 36 * 4) / 8192,
      bops: 2 * 288 * 36 * 8,
      source: 'modelled',
    });
    expect(totals).toMatchObject({
      cycles: 14,
      latencyUs: 6,
      energyUj: null,
      samplesPerSecond: 2 / 6e-6,
      weightMemoryKiB: (2 * 288 * 2) / 8192,
      activationMemoryKiB: (2 * 12 * 36 * 4) / 8192,
    });
  });

  test('the same geometry at the same bits is computed once', () => {
    const model = counting();
    const costs = prepareCosts(readProfile('generic-bops'), model, 1);
    for (const name of ['a', 'b', 'a']) costs.layer({...layer, name}, {weightBits: 2, activationBits: 4});
    costs.layer(layer, {weightBits: 3, activationBits: 4});
    expect(model.calls).toBe(2);
  });

  test.each([0, -1, 1.5, 1e9, NaN, Infinity])('a batch of %d is refused with what is allowed', (batch) => {
    const error = refusal(() => costsOf('bitfusion-edge', batch));
    expect(error.message).toBe(`The batch is ${batch}; it is a whole number from 1 to 65536.`);
    expect(error.oclif.exit).toBe(3);
  });

  test('a profile without a number that the model needs is refused by name', () => {
    const model: CostModel = {...counting(), constants: ['tilesPerCycle'], resources: ['tiles']};
    expect(refusal(() => prepareCosts(readProfile('generic-bops'), model, 1)).message).toBe(
      'Hardware "generic-bops": the cost model generic-bops also needs constants/tilesPerCycle, resources/tiles.',
    );
  });

  test('constants that give no number for a layer are refused, not printed', () => {
    const profile = readProfile('bitfusion-edge');
    const {constants} = profile.costModel;
    const stopped = {...constants, clockMHz: {...constants['clockMHz']!, value: 0}};
    const costs = prepareCosts({...profile, costModel: {...profile.costModel, constants: stopped}}, bitFusion, 1);
    expect(refusal(() => costs.layer(layer, {weightBits: 2, activationBits: 4})).message).toBe(
      `Layer "${layer.name}": the constants of bitfusion-edge give no number for latencyUs, but Infinity.`,
    );
  });

  test('every profile gives costs of a network at the bits that it allows', () => {
    const layers = network('resnet20');
    const found = [
      ['bitfusion-edge', 4, 4],
      ['bitfusion-server', 2, 2],
      ['cutlass-sm75', 4, 4],
      ['cutlass-sm90', 8, 8],
      ['tensorrt-int8', 8, 8],
      ['finn-zcu102', 2, 2],
      ['dpu-b512', 8, 8],
      ['generic-energy-45nm', 5, 3],
    ].map(([name, w, a]) => {
      const costs = costsOf(name as string);
      const {totals, layers: rows} = costs.network(layers, uniform(layers, w as number, a as number));
      const utilisations = rows.map(({utilisation}) => utilisation ?? 1);
      return (totals.latencyUs ?? totals.energyUj)! > 0 && utilisations.every((used) => used > 0 && used <= 1 + 1e-9);
    });
    expect(found).not.toContain(false);
  });
});

describe('geometry', () => {
  test('ResNet18: first convolution, a downsampling one and the classifier', () => {
    const layers = network('resnet18');
    expect(layers).toHaveLength(21);
    expect(layers[0]).toMatchObject({
      name: 'conv1',
      inputChannels: 3,
      outputChannels: 64,
      kernel: [7, 7],
      strides: [2, 2],
      inputSize: [224, 224],
      outputSize: [112, 112],
      inputSigned: true,
      first: true,
      last: false,
    });
    expect(layers.find(({name}) => name === 'layer2.0.downsample.0')).toMatchObject({
      kernel: [1, 1],
      inputSize: [56, 56],
      outputSize: [28, 28],
      inputSigned: false,
    });
    expect(layers.at(-1)).toMatchObject({
      op: 'Gemm',
      inputChannels: 512,
      outputChannels: 1000,
      outputSize: [1, 1],
      last: true,
    });
  });

  test('both heads of a detector are last layers', () => {
    const last = network('yolov4-tiny').filter((layer) => layer.last);
    expect(last.map(({name}) => name)).toEqual(['head0', 'head1']);
  });

  test('macs are those of the sizes, in depthwise layers too', () => {
    for (const {macs, kernel, inputChannels, outputChannels, groups, outputSize} of network('mobilenet-v2')) {
      expect(macs).toBe(
        kernel[0] * kernel[1] * (inputChannels / groups) * outputChannels * outputSize[0] * outputSize[1],
      );
    }
    expect(network('mobilenet-v2').filter(({depthwise}) => depthwise)).toHaveLength(17);
  });
});

describe('measured times', () => {
  const digest = `sha256:${'0'.repeat(64)}`;
  const table = (rows: LatencyTable['rows']): LatencyTable => {
    return {version: 1, hardware: 'bitfusion-edge', model: {name: 'net', graphDigest: digest}, batch: 1, rows};
  };
  const row = {layer: 'conv', weightBits: 4, activationBits: 4, latencyUs: 12.5};
  const expected = {hardware: 'bitfusion-edge', model: {name: 'net', graphDigest: digest}, batch: 1, layers: ['conv']};

  test('take the place of modelled ones; a row of null does not', () => {
    const modelled = costsOf('bitfusion-edge');
    const other = {...layer, name: 'other'};
    const measured = withMeasured(
      modelled,
      table([
        {...row, energyUj: 2},
        {...row, layer: 'other', latencyUs: null},
      ]),
      't.json',
    );
    const {layers, totals} = measured.network([layer, other], uniform([layer, other], 4, 4));
    const own = modelled.layer(other, {weightBits: 4, activationBits: 4});
    expect(layers[0]).toMatchObject({source: 'measured', latencyUs: 12.5, energyUj: 2, cycles: null, boundBy: null});
    expect(layers[1]).toEqual(own);
    expect(totals).toMatchObject({cycles: null, latencyUs: 12.5 + own.latencyUs!, energyUj: 2 + own.energyUj!});
  });

  test('the change to floats counts behind a layer whose input is rounded, and there alone', () => {
    const float = {weightBits: 32, activationBits: 32};
    const eight = {weightBits: 8, activationBits: 8};
    const rows = ['a', 'b', 'c'].flatMap((name) => [
      {layer: name, ...eight, latencyUs: 1},
      {layer: name, ...float, latencyUs: 10, transitionUs: 100},
    ]);
    const costs = withMeasured(costsOf('onnxruntime'), {...table(rows), hardware: 'onnxruntime'}, 't.json');
    const layers = ['a', 'b', 'c'].map((name) => ({...layer, name}));
    const latencyUs = (...bits: Bits[]): number | null => costs.network(layers, bits).totals.latencyUs;
    expect(latencyUs(eight, eight, eight)).toBe(3);
    expect(latencyUs(float, float, float)).toBe(30);
    expect(latencyUs(float, eight, eight)).toBe(12);
    expect(latencyUs(eight, float, float)).toBe(121);
    expect(latencyUs(eight, float, eight)).toBe(112);
  });

  test.each([
    ['/hardware is bitfusion-server; it is used for bitfusion-edge', {hardware: 'bitfusion-server'}],
    ['/model/name is other; it is used for net', {model: {name: 'other', graphDigest: digest}}],
    ['/batch is 8; it is used for 1', {batch: 8}],
    ['/rows/0/layer: net has no quantized layer "cnv"', {rows: [{...row, layer: 'cnv'}]}],
    ['/rows/1: "conv" at 4/4 bits is already /rows/0', {rows: [row, row]}],
  ])('%s', (message, change: Partial<LatencyTable>) => {
    const error = refusal(() => checkLatencyTable({...table([row]), ...change}, expected, 't.json'));
    expect(error.message).toContain(`t.json: ${message}`);
    expect(error.oclif.exit).toBe(3);
  });

  test('of layers that run at the same time do not add up', () => {
    expect(refusal(() => withMeasured(costsOf('finn-zcu102'), table([row]), 't.json')).message).toMatch(
      /the layers of finn-zcu102 run at the same time/,
    );
  });

  test('a template has a row for each combination that the device allows each layer', () => {
    const rows = emptyRows(readProfile('tensorrt-int8'), [layer]);
    expect(rows).toContainEqual({layer: 'conv', weightBits: 8, activationBits: 8, latencyUs: null});
    expect(rows.every(({latencyUs}) => latencyUs === null)).toBe(true);
    expect(emptyRows(readProfile('dpu-b4096'), [layer, layer])).toHaveLength(2);
  });
});
