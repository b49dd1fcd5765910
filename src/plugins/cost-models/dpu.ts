/**
 * AMD's DPUCZDX8G (PG338): an array that multiplies `pixelParallelism` pixels × `inputParallelism` × `outputParallelism` channels a
 * cycle, so B4096 = 8 × 16 × 16 does 4,096 operations. [ours]: what is left over of a row of pixels or of the channels idles, samples
 * follow one another, and a depthwise convolution multiplies pixels × input channels.
 */
import type {LayerGeometry} from '../../hardware/geometry.ts';
import {inputValues, outputValues, secondValues} from '../../hardware/geometry.ts';
import type {CostModelDefinition} from '../../plugin-api/registry.ts';

const constants = ['clockMHz', 'pixelParallelism', 'inputParallelism', 'outputParallelism', 'memoryGBps'] as const;

type Constants = Readonly<Record<(typeof constants)[number], number>>;

/** Cycles for one sample. */
function cyclesOf(geometry: LayerGeometry, constant: Constants): number {
  const {kernel, groups, inputChannels, outputChannels, outputSize, depthwise} = geometry;
  // Rows of a MatMul stand below one another; its pixels are one wide.
  const [height, width] = outputSize[1] === 1 ? [1, outputSize[0]] : outputSize;
  const pixels = height * Math.ceil(width / constant.pixelParallelism) * kernel[0] * kernel[1];
  if (depthwise) return pixels * Math.ceil(outputChannels / constant.inputParallelism);
  return (
    groups *
    pixels *
    Math.ceil(inputChannels / groups / constant.inputParallelism) *
    Math.ceil(outputChannels / groups / constant.outputParallelism)
  );
}

export const dpu: CostModelDefinition = {
  kind: 'cost-model',
  name: 'dpu',
  summary: 'DPUCZDX8G: an INT8 array over pixels, input and output channels.',
  constants,
  resources: [],
  energy: 'none',
  layer({geometry, storedWeightBits, storedActivationBits}, {batch, constants: numbers}) {
    const constant = numbers as Constants;
    const computeCycles = batch * cyclesOf(geometry, constant);
    const bits =
      secondValues(geometry, batch) * storedWeightBits +
      batch * (inputValues(geometry) + outputValues(geometry)) * storedActivationBits;
    const memoryCycles = Math.ceil((bits / 8 / constant.memoryGBps / 1e3) * constant.clockMHz);
    const cycles = Math.max(computeCycles, memoryCycles);
    const perCycle = constant.pixelParallelism * constant.inputParallelism * constant.outputParallelism;
    return {
      cycles,
      latencyUs: cycles / constant.clockMHz,
      energyUj: null,
      utilisation: (batch * geometry.macs) / (cycles * perCycle),
      boundBy: memoryCycles > computeCycles ? 'memory' : 'compute',
      details: {computeCycles, memoryCycles},
    };
  },
};
