/**
 * A GPU's roofline: Williams, Waterman and Patterson, "Roofline", CACM 2009, with a constant for each kernel that is launched.
 * A bound, not a forecast: it takes the peak rate for granted. It is meant for ratios between bitwidths (docs/cost-models.md).
 */
import {invalidInput} from '../../errors.ts';
import type {Device} from '../../hardware/cost-model.ts';
import {inputValues, outputValues, secondValues} from '../../hardware/geometry.ts';
import type {CostModelDefinition} from '../../plugin-api/registry.ts';

/** Widths of operands that a profile can have a peak rate for: `peakTops4`, … */
const operandBits = [1, 4, 8, 32] as const;

/** The peak rate at the narrowest operands that both fit in, 10¹² operations a second (two a multiply-accumulate). */
function peakTops([weightBits, activationBits]: readonly [number, number], device: Device): number {
  const least = Math.max(weightBits, activationBits);
  for (const bits of operandBits) {
    const peak = device.constants[`peakTops${bits}`];
    if (bits >= least && peak !== undefined) return peak;
  }
  throw invalidInput(
    'hardware-constant-missing',
    `Hardware "${device.name}": the cost model gpu-roofline needs peakTops${operandBits.find((bits) => bits >= least) ?? least} ` +
      `for ${weightBits}-bit weights with ${activationBits}-bit activations.`,
  );
}

export const gpuRoofline: CostModelDefinition = {
  kind: 'cost-model',
  name: 'gpu-roofline',
  summary: 'Roofline of peak rate and memory bandwidth, with a constant for each kernel.',
  constants: ['memoryGBps', 'launchUs'],
  resources: [],
  energy: 'none',
  layer({geometry, executedAs, storedWeightBits, storedActivationBits}, device) {
    const {memoryGBps, launchUs} = device.constants as Readonly<Record<'memoryGBps' | 'launchUs', number>>;
    const computeUs = (2 * device.batch * geometry.macs) / peakTops(executedAs, device) / 1e6;
    const bits =
      secondValues(geometry, device.batch) * storedWeightBits +
      device.batch * (inputValues(geometry) + outputValues(geometry)) * storedActivationBits;
    const memoryUs = bits / 8 / memoryGBps / 1e3;
    const work = Math.max(computeUs, memoryUs);
    const latencyUs = launchUs + work;
    return {
      cycles: null,
      latencyUs,
      energyUj: null,
      utilisation: computeUs / latencyUs,
      boundBy: launchUs > work ? 'launch' : memoryUs > computeUs ? 'memory' : 'compute',
      details: {computeUs, memoryUs, launchUs},
    };
  },
};
