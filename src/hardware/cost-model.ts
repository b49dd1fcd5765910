/**
 * What a strategy costs on a device: the interface of the cost models (kind `cost-model` of the registry, one a family), and the
 * part that all of them share. Every figure of a model is modelled; none was measured on a device.
 */
import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {item} from '../lookup.ts';
import {inputValues, outputValues, secondValues, type LayerGeometry} from './geometry.ts';
import type {HardwareProfile} from './profile.ts';
import {executedAs, storedBits, type Bits} from './rules.ts';

/** The device as a cost model sees it: the numbers of its profile. */
export interface Device {
  /** Name of the profile. */
  readonly name: string;
  /** Samples that are computed together. */
  readonly batch: number;
  /** Constants of the profile by name; those that the model names in `constants` are there. */
  readonly constants: Readonly<Record<string, number>>;
  /** amount · usable of each of the profile's resources. */
  readonly usable: Readonly<Record<string, number>>;
}

/** One layer at some bits. */
export interface LayerWork extends Bits {
  readonly geometry: LayerGeometry;
  /** What the multiplier runs the bits as. */
  readonly executedAs: readonly [weightBits: number, activationBits: number];
  /** Bits that a weight and a value of the input take in memory. */
  readonly storedWeightBits: number;
  readonly storedActivationBits: number;
}

/** What holds a layer back; `pipeline`: it waits for a slower layer that runs at the same time. */
type Bound = 'compute' | 'memory' | 'launch' | 'pipeline';

/** What a model says of a layer, for the whole batch; null where its family models no such thing. */
export interface LayerFigures {
  readonly cycles: number | null;
  readonly latencyUs: number | null;
  readonly energyUj: number | null;
  /** 0 to 1: work done of the work that the multipliers could do in this time. */
  readonly utilisation: number | null;
  readonly boundBy: Bound | null;
  /** What only this family has, e.g. `pe`; the model's documentation says what. */
  readonly details?: Readonly<Record<string, number>>;
}

export interface LayerCost extends LayerFigures {
  /** `measured`: time and energy are the user's own (src/hardware/latency-table.ts). */
  readonly source: 'modelled' | 'measured';
  readonly executedAs: readonly [weightBits: number, activationBits: number];
  /** Of the weights. */
  readonly weightMemoryKiB: number;
  /** Of input and output for the whole batch, both at the bits of the input; of a product, of the second input too. */
  readonly activationMemoryKiB: number;
  /** macs · weightBits · activationBits for the whole batch. */
  readonly bops: number;
}

/** What a design takes of a resource of the device. */
interface ResourceUse {
  readonly name: string;
  readonly used: number;
  readonly usable: number;
}

export interface NetworkTotals {
  readonly cycles: number | null;
  readonly latencyUs: number | null;
  readonly energyUj: number | null;
  readonly samplesPerSecond: number | null;
  readonly weightMemoryKiB: number;
  /** Of the layer that holds most; what a shortcut keeps alive meanwhile is not in it. */
  readonly activationMemoryKiB: number;
  readonly bops: number;
  /** Empty where the device is not filled by a design of its own. */
  readonly resources: readonly ResourceUse[];
}

export interface NetworkCost {
  /** In network order. */
  readonly layers: readonly LayerCost[];
  readonly totals: NetworkTotals;
}

/** What a model whose layers run at the same time says of the whole network. */
export interface NetworkFigures {
  readonly layers: readonly LayerFigures[];
  readonly cycles: number;
  readonly latencyUs: number;
  readonly samplesPerSecond: number;
  readonly resources: readonly ResourceUse[];
}

/** The cost of a family of devices as a function of the numbers in a profile. Pure. */
export interface CostModel {
  /** Names of the constants that it cannot do without. */
  readonly constants: readonly string[];
  /** Names of the profile's resources that it uses up. */
  readonly resources: readonly string[];
  /** `relative`: fit to compare strategies, not to plan a battery. `none`: `energyUj` is null. */
  readonly energy: 'absolute' | 'relative' | 'none';
  /**
   * One layer. Latency and energy of a network are the sums over its layers, unless there is `network`: this is then a layer's
   * share of the device, and the sum of the shares a lower bound of the latency.
   * @throws SdqError (exit 4) where it does not fit
   */
  layer(work: LayerWork, device: Device): LayerFigures;
  /** The whole network, for devices whose layers run at the same time. @throws SdqError (exit 4) where it does not fit */
  network?(works: readonly LayerWork[], device: Device): NetworkFigures;
}

/** A model with a device and a batch: what an estimate and a search work with. */
export interface PreparedCosts {
  /** Name of the profile. */
  readonly hardware: string;
  readonly batch: number;
  /** Whether latency and energy of a network are the sums over its layers. */
  readonly additive: boolean;
  readonly energy: CostModel['energy'];
  /**
   * For the whole batch. The same geometry at the same bits is computed once.
   * @param before bits of the layer before it, which measured times depend on; left out for the first layer
   * @throws SdqError (exit 4) where the device does not run the layer at these bits, or it does not fit
   */
  layer(geometry: LayerGeometry, bits: Bits, before?: Bits): LayerCost;
  /**
   * @param bits one a layer
   * @throws SdqError (exit 4)
   */
  network(geometries: readonly LayerGeometry[], bits: readonly Bits[]): NetworkCost;
}

/** More samples than this are no batch but a mistake. */
const largestBatch = 65_536;

function checkBatch(batch: number): void {
  if (Number.isSafeInteger(batch) && batch >= 1 && batch <= largestBatch) return;
  throw invalidInput('batch-out-of-range', `The batch is ${batch}; it is a whole number from 1 to ${largestBatch}.`, [
    'Use --batch 1 for the latency of one sample.',
  ]);
}

function deviceOf(profile: HardwareProfile, model: CostModel, batch: number): Device {
  const {family, constants} = profile.costModel;
  const values = Object.fromEntries(Object.entries(constants).map(([name, {value}]) => [name, value]));
  const missing = (
    [
      ['constants', model.constants, values],
      ['resources', model.resources, profile.resources],
    ] as const
  ).flatMap(([kind, names, given]) => names.filter((name) => !(name in given)).map((name) => `${kind}/${name}`));
  if (missing.length > 0) {
    throw invalidInput(
      'hardware-constant-missing',
      `Hardware "${profile.name}": the cost model ${family} also needs ${missing.join(', ')}.`,
    );
  }
  const usable = Object.entries(profile.resources).map(([name, has]) => [name, Math.floor(has.amount * has.usable)]);
  return {name: profile.name, batch, constants: values, usable: Object.fromEntries(usable) as Device['usable']};
}

const kib = (bits: number): number => bits / 8192;

/**
 * @param model of the profile's family: `registry.get('cost-model', profile.costModel.family)`
 * @param batch samples that are computed together, 1 to 65,536
 * @throws SdqError (exit 3) for a batch out of range or a profile that lacks a number the model needs
 */
export function prepareCosts(profile: HardwareProfile, model: CostModel, batch: number): PreparedCosts {
  checkBatch(batch);
  const device = deviceOf(profile, model, batch);
  const known = new Map<string, LayerCost>();

  const workOf = (geometry: LayerGeometry, {weightBits, activationBits}: Bits): LayerWork => {
    const executed = executedAs(profile, geometry, {weightBits, activationBits});
    if (executed === undefined) {
      throw new SdqError(
        `Layer "${geometry.name}" (${geometry.depthwise ? 'depthwise ' : ''}${geometry.op}): ${profile.name} does not run ` +
          `${weightBits}-bit weights with ${activationBits}-bit activations.`,
        {
          code: 'hardware-pair-not-allowed',
          exit: ExitCode.hardwareViolated,
          suggestions: [
            `See \`sdq strategy validate FILE --hardware ${profile.name}\` for all that is allowed.`,
            `\`sdq strategy convert FILE --to ${profile.name}\` moves each layer up to what is allowed.`,
          ],
        },
      );
    }
    return {
      geometry,
      weightBits,
      activationBits,
      executedAs: executed,
      storedWeightBits: storedBits(profile, geometry, 'weights', weightBits),
      storedActivationBits: storedBits(profile, geometry, 'activations', activationBits),
    };
  };
  const complete = (work: LayerWork, figures: LayerFigures): LayerCost => {
    const {geometry, weightBits, activationBits, storedWeightBits, storedActivationBits} = work;
    const isProduct = geometry.product === true;
    for (const key of ['cycles', 'latencyUs', 'energyUj', 'utilisation'] as const) {
      if (figures[key] !== null && !Number.isFinite(figures[key])) {
        throw invalidInput(
          'hardware-constant-out-of-range',
          `Layer "${geometry.name}": the constants of ${profile.name} give no number for ${key}, but ${figures[key]}.`,
        );
      }
    }
    return {
      ...figures,
      source: 'modelled',
      executedAs: work.executedAs,
      weightMemoryKiB: geometry.sharesWeights || isProduct ? 0 : kib(geometry.params * storedWeightBits),
      activationMemoryKiB: kib(
        batch * (inputValues(geometry) + outputValues(geometry)) * storedActivationBits +
          (isProduct ? secondValues(geometry, batch) * storedWeightBits : 0),
      ),
      bops: batch * geometry.macs * weightBits * activationBits,
    };
  };
  const layer: PreparedCosts['layer'] = (geometry, {weightBits, activationBits}) => {
    const key = `${weightBits} ${activationBits} ${JSON.stringify({...geometry, name: ''})}`;
    const cached = known.get(key);
    if (cached !== undefined) return cached;
    const work = workOf(geometry, {weightBits, activationBits});
    const cost = complete(work, model.layer(work, device));
    known.set(key, cost);
    return cost;
  };

  return {
    hardware: profile.name,
    batch,
    additive: model.network === undefined,
    energy: model.energy,
    layer,
    network(geometries, bits) {
      if (model.network === undefined) {
        return sumCosts(
          geometries.map((geometry, l) => layer(geometry, item(bits, l))),
          batch,
        );
      }
      const works = geometries.map((geometry, l) => workOf(geometry, item(bits, l)));
      const {layers: figures, ...totals} = model.network(works, device);
      const layers = works.map((work, l) => complete(work, item(figures, l)));
      return {layers, totals: {...sumCosts(layers, batch).totals, ...totals}};
    },
  };
}

function sumOrNull(values: readonly (number | null)[]): number | null {
  return values.reduce((sum, value) => (sum === null || value === null ? null : sum + value), 0);
}

/** The cost of layers that run one after the other. */
export function sumCosts(layers: readonly LayerCost[], batch: number): NetworkCost {
  const sum = (pick: (layer: LayerCost) => number | null): number | null => sumOrNull(layers.map(pick));
  const latencyUs = sum((layer) => layer.latencyUs);
  return {
    layers,
    totals: {
      cycles: sum((layer) => layer.cycles),
      latencyUs,
      energyUj: sum((layer) => layer.energyUj),
      samplesPerSecond: latencyUs === null ? null : (batch / latencyUs) * 1e6,
      weightMemoryKiB: layers.reduce((total, layer) => total + layer.weightMemoryKiB, 0),
      activationMemoryKiB: layers.reduce((most, layer) => Math.max(most, layer.activationMemoryKiB), 0),
      bops: layers.reduce((total, layer) => total + layer.bops, 0),
      resources: [],
    },
  };
}
