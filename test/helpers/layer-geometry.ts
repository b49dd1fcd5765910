/** Layers of given sizes, and networks of the registry, as the cost models see them. */
import {SdqError} from '../../src/errors.ts';
import {layerGeometries, type LayerGeometry} from '../../src/hardware/geometry.ts';
import {prepareCosts, type PreparedCosts} from '../../src/hardware/cost-model.ts';
import {readProfile} from '../../src/phases/hardware-file.ts';
import {costModels} from '../../src/plugins/cost-models/index.ts';
import {models} from '../../src/plugins/models/index.ts';

/** A square convolution that is neither first nor last, with what is given in place of the rest. */
export function convolution(
  sizes: {readonly inputs: number; readonly outputs: number; readonly kernel: number; readonly size: number},
  rest: Partial<LayerGeometry> = {},
): LayerGeometry {
  const {inputs, outputs, kernel, size} = sizes;
  const groups = rest.groups ?? 1;
  const params = (outputs * inputs * kernel * kernel) / groups;
  return {
    name: 'conv',
    op: 'Conv',
    inputChannels: inputs,
    outputChannels: outputs,
    kernel: [kernel, kernel],
    strides: [1, 1],
    dilations: [1, 1],
    groups,
    depthwise: groups > 1 && groups === inputs,
    inputSize: [size, size],
    outputSize: [size, size],
    params,
    sharesWeights: false,
    macs: params * size * size,
    inputSigned: false,
    first: false,
    last: false,
    ...rest,
  };
}

export function network(name: string): LayerGeometry[] {
  const model = models.find((definition) => definition.name === name)!;
  return layerGeometries(model.build(model.defaults, {}));
}

/** The costs on a profile that comes with sdq. */
export function costsOf(hardware: string, batch = 1): PreparedCosts {
  const profile = readProfile(hardware);
  return prepareCosts(
    profile,
    costModels.find(({name}) => name === profile.costModel.family)!,
    batch,
  );
}

/** The same bits for every layer. */
export const uniform = (
  layers: readonly LayerGeometry[],
  weightBits: number,
  activationBits: number,
): {weightBits: number; activationBits: number}[] => layers.map(() => ({weightBits, activationBits}));

/** The error that it throws. */
export function refusal(compute: () => unknown): SdqError {
  try {
    compute();
  } catch (error) {
    if (error instanceof SdqError) return error;
    throw error;
  }
  throw new Error('It was not refused.');
}
