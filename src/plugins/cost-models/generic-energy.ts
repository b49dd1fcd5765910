/**
 * Energy of the arithmetic and of DRAM in 45 nm: Horowitz, "Computing's energy problem", ISSCC 2014, as fitted by google/qkeras
 * (qkeras/qtools). [ours]: an integer product is added to a sum of `accumulatorBits`; weights, input and output cross DRAM once.
 */
import {inputValues, outputValues, secondValues} from '../../hardware/geometry.ts';
import type {CostModelDefinition} from '../../plugin-api/registry.ts';

const constants = [
  'addPjPerBit',
  'multiplyPjPerSquareBit',
  'multiplyPjPerBit',
  'floatAddPj',
  'floatMultiplyPj',
  'dramPjPerBit',
] as const;

export type EnergyConstants = Readonly<Record<(typeof constants)[number], number>>;

/** Width of the sums, bits: what integer engines accumulate in. */
const accumulatorBits = 32;

/** Energy of one multiplication, pJ; floating point where one operand is not quantized. */
export function multiplyPj(weightBits: number, activationBits: number, constant: EnergyConstants): number {
  if (isFloat(weightBits, activationBits)) return constant.floatMultiplyPj;
  const bits = Math.sqrt(weightBits * activationBits);
  return constant.multiplyPjPerSquareBit * bits * bits + constant.multiplyPjPerBit * bits;
}

/** Energy of adding its product to the sum, pJ. */
function addPj(weightBits: number, activationBits: number, constant: EnergyConstants): number {
  return isFloat(weightBits, activationBits) ? constant.floatAddPj : constant.addPjPerBit * accumulatorBits;
}

const isFloat = (weightBits: number, activationBits: number): boolean => Math.max(weightBits, activationBits) === 32;

export const genericEnergy: CostModelDefinition = {
  kind: 'cost-model',
  name: 'generic-energy',
  summary: 'Energy of multiplications, additions and DRAM traffic in a process of the profile.',
  constants,
  resources: [],
  energy: 'absolute',
  layer({geometry, executedAs, storedWeightBits, storedActivationBits}, {batch, constants: numbers}) {
    const constant = numbers as EnergyConstants;
    const macPj = multiplyPj(...executedAs, constant) + addPj(...executedAs, constant);
    const dramBits =
      secondValues(geometry, batch) * storedWeightBits +
      batch * (inputValues(geometry) + outputValues(geometry)) * storedActivationBits;
    const arithmeticUj = batch * geometry.macs * macPj * 1e-6;
    const dramUj = dramBits * constant.dramPjPerBit * 1e-6;
    return {
      cycles: null,
      latencyUs: null,
      energyUj: arithmeticUj + dramUj,
      utilisation: null,
      boundBy: dramUj > arithmeticUj ? 'memory' : 'compute',
      details: {arithmeticUj, dramUj},
    };
  },
};
