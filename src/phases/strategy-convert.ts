/** From a strategy, or another tool's file, to a device's bits and to another tool's file. */
import path from 'node:path';

import type {Config} from '../config/config-types.ts';
import {invalidInput} from '../errors.ts';
import {readTextBounded} from '../files.ts';
import {graphDigest} from '../graph/digest.ts';
import type {Graph, Weights} from '../graph/graph.ts';
import {hasWeights, layerTable, sharedWeights} from '../graph/layer-table.ts';
import {listed} from '../graph/weights.ts';
import {layerGeometries} from '../hardware/geometry.ts';
import {moveToHardware, type Move} from '../hardware/move.ts';
import type {HardwareProfile} from '../hardware/profile.ts';
import {entry} from '../lookup.ts';
import type {Registry, StrategyFormatDefinition} from '../plugin-api/registry.ts';
import type {StrategyFormatContext, TrainedGrid, TrainedLayer} from '../plugin-api/strategy-format.ts';
import {
  buildStrategy,
  checkSharedBits,
  productBits,
  sameQuantization,
  weightsKiB,
  type LayerPrecision,
  type Strategy,
} from '../sdq/strategy.ts';
import type {Grid} from '../tensor/kernels.ts';
import type {QuantizationRecord} from '../training/quantization-record.ts';
import {hardwareError, placementIn, violationsOf} from './hardware-check.ts';
import {costsOn} from './hardware-estimate.ts';
import {readProfile} from './hardware-file.ts';
import {readModelFile} from './model-file.ts';
import {modelGraph} from './model-graph.ts';
import {checkedStrategy, checkQuantizers, readStrategy} from './strategy-file.ts';
import {strategyGraph} from './strategy-graph.ts';

/** Of peers' files, as of strategies: far more than the largest network needs. */
const limitBytes = 16 << 20;

export interface ConvertRequest {
  readonly file: string;
  /** `sdq`, or the format of another tool. */
  readonly from: string;
  readonly to?: string | undefined;
  readonly format: string;
  readonly checkpoint?: string | undefined;
  readonly sdqVersion: string;
}

interface StrategySize {
  readonly meanWeightBits: number;
  readonly sizeKiB: number;
  readonly bops: number;
}

export interface Converted {
  readonly strategy: Strategy;
  readonly text: string;
  readonly extension: string;
  /** Name of the device, or null. */
  readonly hardware: string | null;
  readonly moves: readonly Move[];
  /** Weight quantizers, where the device wanted another. */
  readonly quantizer: {readonly from: string; readonly to: string} | null;
  readonly before: StrategySize;
  readonly after: StrategySize;
  /** What the format cannot hold. */
  readonly notes: readonly string[];
}

/** @throws SdqError (exit 3) for files and networks that do not fit, (exit 4) for a layer that the device does not run at all */
export async function convertStrategy(
  request: ConvertRequest,
  config: Config,
  registry: Registry,
  notice: (message: string) => void,
): Promise<Converted> {
  const {file} = request;
  const read =
    request.from === 'sdq'
      ? await readOwn(file, config, registry, notice)
      : await importStrategy(
          file,
          formatFor('parse', request.from, registry),
          config,
          registry,
          request.sdqVersion,
          notice,
        );
  const profile = request.to === undefined ? undefined : readProfile(request.to);
  const {strategy, moves} =
    profile === undefined ? {strategy: read.strategy, moves: []} : moved(read, profile, registry);
  const {text, notes, extension} = print(request, strategy, read.graph, profile, registry);
  const [from, to] = [read.strategy.quantizers.weights, strategy.quantizers.weights];
  return {
    strategy,
    text,
    extension,
    hardware: profile?.name ?? null,
    moves,
    quantizer: from === to ? null : {from, to},
    before: sizeOf(read.strategy),
    after: sizeOf(strategy),
    notes,
  };
}

interface ReadStrategy {
  readonly strategy: Strategy;
  readonly graph: Graph | undefined;
}

/** @throws SdqError (exit 3) for a format that there is not, or that is not both read and written */
function formatFor<Direction extends 'parse' | 'print'>(
  direction: Direction,
  name: string,
  registry: Registry,
): StrategyFormatDefinition & Required<Pick<StrategyFormatDefinition, Direction>> {
  const format = registry.get('strategy-format', name);
  if (has(format, direction)) return format;
  const able = registry.list('strategy-format').filter((other) => has(other, direction));
  throw invalidInput(
    'strategy-format-one-way',
    `Files of ${name} are ${direction === 'parse' ? 'written, not read' : 'read, not written'}. Formats that are: ${able.map((other) => other.name).join(', ')}.`,
  );
}

const has = <Direction extends 'parse' | 'print'>(
  format: StrategyFormatDefinition,
  direction: Direction,
): format is StrategyFormatDefinition & Required<Pick<StrategyFormatDefinition, Direction>> =>
  format[direction] !== undefined;

async function readOwn(
  file: string,
  config: Config,
  registry: Registry,
  notice: (message: string) => void,
): Promise<ReadStrategy> {
  const strategy = readStrategy(file);
  checkQuantizers(strategy, registry, file);
  return {strategy, graph: await strategyGraph(config, registry, strategy, file, notice)};
}

async function importStrategy(
  file: string,
  format: StrategyFormatDefinition & Required<Pick<StrategyFormatDefinition, 'parse'>>,
  config: Config,
  registry: Registry,
  sdqVersion: string,
  notice: (message: string) => void,
): Promise<ReadStrategy> {
  const {model, quantizers, search} = config;
  if (model === undefined) {
    throw invalidInput('config-incomplete', `${file}: a file of ${format.name} does not say which network it is for.`, [
      'Choose one: --set model.name=resnet18.',
    ]);
  }
  const graph = await modelGraph(config, registry, model.name, notice);
  const {layers} = layerTable(graph);
  const names = layers.filter(hasWeights).map(({name}) => name);
  const text = readTextBounded(file, limitBytes);
  const bits = format.parse(text, names, file);
  checkSharedBits(
    names.map((name) => ({name, weightBits: entry(bits, name).weightBits})),
    sharedWeights(layers),
    file,
  );
  const activationBits = Math.max(...[search.activationBits].flat());
  // No format has the products of attention.
  const ofProducts = Math.max(...productBits(search));
  const strategy = buildStrategy({
    model: {name: model.name, digest: graphDigest(graph)},
    quantizers,
    layers,
    weightBits: layers.map(({name, product}) => (product === true ? ofProducts : entry(bits, name).weightBits)),
    activationBits: layers.map(({name, product}) =>
      product === true ? ofProducts : (entry(bits, name).activationBits ?? activationBits),
    ),
    pinned: new Map(),
    provenance: {method: format.name, sdqVersion},
  });
  return {strategy, graph};
}

/** @throws SdqError (exit 4) for a layer that has no bits at all on the device */
function moved(
  {strategy, graph}: ReadStrategy,
  profile: HardwareProfile,
  registry: Registry,
): {strategy: Strategy; moves: readonly Move[]} {
  const placement = graph === undefined ? undefined : placementIn(graph, profile.unified);
  const result = moveToHardware(profile, strategy, registry.list('weight-quantizer'), placement);
  const refusal = hardwareError(undefined, violationsOf(result.strategy, [profile], registry, graph));
  if (refusal !== undefined) throw refusal;
  return result;
}

function print(
  {format: name, checkpoint, file}: ConvertRequest,
  strategy: Strategy,
  graph: Graph | undefined,
  profile: HardwareProfile | undefined,
  registry: Registry,
): {text: string; notes: readonly string[]; extension: string} {
  if (name === 'sdq') {
    const extension = `${profile?.name ?? 'strategy'}.json`;
    return {text: `${JSON.stringify(strategy, null, 2)}\n`, notes: [], extension};
  }
  if (graph === undefined) {
    throw invalidInput(
      'strategy-network-unknown',
      `${file}: ${strategy.model.name} as the strategy has it (its digest) is not the built-in default, and ${name} needs its layers.`,
      [`Choose it in the config: --set model.name=${strategy.model.name}.`],
    );
  }
  // The formats go through layers in network order, whatever the file's order was.
  const layers = layerTable(graph).layers.filter(hasWeights);
  const layersByName = new Map(strategy.layers.map((layer) => [layer.name, layer]));
  const ordered = {...strategy, layers: layers.map((layer) => entry(layersByName, layer.name))};
  const context: StrategyFormatContext = {
    graph,
    layers,
    ...(checkpoint === undefined ? {} : {trained: layersTrainedFor(path.resolve(checkpoint), ordered)}),
    ...(profile === undefined
      ? {}
      : {costs: () => costsOn(profile, registry, 1).network(layerGeometries(graph), ordered.layers)}),
  };
  const format = formatFor('print', name, registry);
  const {text, notes} = format.print(ordered, context);
  const products = strategy.layers.filter(({product}) => product === true).length;
  const left = `The ${products} products of two activations are not in the file: ${name} has no place for their bits.`;
  return {text, notes: products === 0 ? notes : [...notes, left], extension: format.extension};
}

/**
 * The layers of a checkpoint, with steps that were learned at the bits of the strategy.
 * @throws SdqError (exit 3) naming the layers that the checkpoint has at other bits or by another quantizer
 */
function layersTrainedFor(checkpoint: string, strategy: Strategy): (layer: string) => TrainedLayer {
  const {tensors, strategy: stored, quantization} = readModelFile(checkpoint);
  if (stored === undefined) {
    throw invalidInput(
      'checkpoint-not-quantized',
      `${checkpoint} is not a quantized network: it has no strategy, so no scales that were learned at its bits.`,
      ['Give the trained network: --checkpoint quantized.safetensors.'],
    );
  }
  const trainedStrategy = checkedStrategy(stored, checkpoint);
  const {weights, inputs} = sameQuantization(trainedStrategy, strategy);
  const ofCheckpoint = new Map(trainedStrategy.layers.map((layer) => [layer.name, layer]));
  const shown = ({weightBits, activationBits}: LayerPrecision): string => `W ${weightBits} / A ${activationBits}`;
  const differing = strategy.layers
    .filter(({name}) => !weights.has(name) || !inputs.has(name))
    .map((layer) => {
      const other = ofCheckpoint.get(layer.name);
      return `"${layer.name}" (${other === undefined ? 'not there' : shown(other)}, not ${shown(layer)})`;
    });
  if (differing.length === 0) return (layer) => trainedLayer(layer, tensors, quantization, checkpoint);
  const quantizers = ({quantizers: {weights: w, activations: a}}: Strategy): string => `${w} and ${a}`;
  const [trained, wanted] = [quantizers(trainedStrategy), quantizers(strategy)];
  throw invalidInput(
    'checkpoint-of-other-bits',
    trained === wanted
      ? `${checkpoint} was trained at other bits than those of the strategy: ${listed(differing)}.`
      : `${checkpoint} was trained with the quantizers ${trained}; the strategy has ${wanted}.`,
    ['Scales hold for the bits and the quantizer they were learned at: train at this strategy first.'],
  );
}

/** @throws SdqError (exit 3) for a file of before the record of its grids */
function trainedLayer(name: string, tensors: Weights, record: unknown, checkpoint: string): TrainedLayer {
  const {layers} = (record ?? {}) as Partial<QuantizationRecord>;
  const layer = layers?.[name];
  if (layer === undefined) {
    throw invalidInput(
      'checkpoint-without-grids',
      `${checkpoint}: __metadata__/sdq.quantization says nothing of "${name}".`,
      ['Write the file again: sdq export --format safetensors --checkpoint FILE.'],
    );
  }
  const withSteps = (grid: Grid | null, tensor: string): TrainedGrid | null => {
    if (grid === null) return null;
    const steps = tensors.get(`${name}.${tensor}`)?.data;
    if (steps !== undefined) return {qmin: grid.qmin, qmax: grid.qmax, offset: grid.offset, steps};
    throw invalidInput('checkpoint-without-grids', `${checkpoint} has no tensor "${name}.${tensor}".`);
  };
  return {weights: withSteps(layer.weights, 'weight_step'), input: withSteps(layer.input, 'input_step')};
}

function sizeOf({layers, summary: {meanWeightBits, bops}}: Strategy): StrategySize {
  return {meanWeightBits, sizeKiB: weightsKiB(layers), bops};
}
