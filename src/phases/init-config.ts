/** The config that `sdq init` writes for what is in the folder: settings that run, with a search that is long enough. */
import path from 'node:path';

import {Document, parseDocument, visit} from 'yaml';

import {headParameters, withClasses} from '../graph/head.ts';
import {inferShapes} from '../graph/shape.ts';
import {matchWeights} from '../graph/weights.ts';
import {entry} from '../lookup.ts';
import type {Registry} from '../plugin-api/registry.ts';
import {readNetwork} from '../network-file.ts';
import {SdqError} from '../errors.ts';
import {epochBatches} from '../data/batches.ts';
import {imageSize} from '../data/decode-image.ts';
import {partRange} from '../data/splits.ts';
import {buildModel} from './build-model.ts';
import {firstOf, type FoundFiles} from './found-files.ts';
import {modelGraph} from './model-graph.ts';
import {epochsToReach} from './preflight.ts';
import type {JobConfig} from './session.ts';
import {readTensorFile} from './tensor-file.ts';

export interface InitialConfig {
  readonly data: 'boxes' | 'image-folder' | 'table';
  /** Nested settings; paths are relative to the folder. */
  readonly settings: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** What was found and what was made of it, a line each. */
  readonly lines: readonly string[];
}

interface ChosenModel {
  readonly model: Readonly<Record<string, unknown>>;
  /** Height and width of its images. */
  readonly size: number;
  readonly line: string;
}

/** Side of the images for a network with random weights: that of the files, within these limits [ours]. */
const smallestSize = 16;
const largestSize = 64;
/** The default rates are for batches of 128. A smaller batch takes a rate as much smaller (the linear scaling rule, arXiv 1706.02677). */
const ratePerImage = {pretrain: 0.1 / 128, search: 0.01 / 128, train: 0.02 / 128};
/** Side of the images for a detector: a multiple of 32 [ours]. */
const detectorSize = 256;

/**
 * @returns undefined where nothing was found to train on
 * @throws SdqError (exit 3) for an image that cannot be read; (exit 6) without the package that reads it
 */
export async function initialConfig(
  found: FoundFiles,
  folder: string,
  registry: Registry,
): Promise<InitialConfig | undefined> {
  const {boxes, images, table} = found;
  const relative = (file: string): string => `./${path.relative(folder, file).split(path.sep).join('/')}`;
  if (boxes !== undefined) {
    return {
      data: 'boxes',
      settings: {
        model: {name: 'yolov4-tiny'},
        task: {name: 'detection', options: {anchors: 'kmeans'}},
        data: {
          name: 'boxes',
          directory: relative(boxes.directory),
          batchSize: 8,
          validation: 0.15,
          options: {size: detectorSize},
        },
        pretrain: {epochs: 60, optimizer: {name: 'adam', learningRate: 0.001}},
        search: {
          target: {meanWeightBits: 4},
          epochs: 10,
          activationBits: 8,
          optimizer: {name: 'adam', learningRate: 0.0002},
        },
        train: {epochs: 20, optimizer: {name: 'adam', learningRate: 0.0002}},
      },
      lines: [
        `Images with boxes: ${relative(boxes.directory)}, ${boxes.format}`,
        `Network: yolov4-tiny with random weights, for images of ${detectorSize} × ${detectorSize}, anchors fitted to the boxes`,
        ...found.notes,
      ],
    };
  }
  if (images !== undefined) {
    const chosen =
      fittingModel(found, images.classes, relative, registry) ??
      freshModel(found, images, folder, await usualSide(images.samples));
    const batchSize = fittingBatch(images.count);
    return {
      data: 'image-folder',
      settings: {
        model: chosen.model,
        data: {
          name: 'image-folder',
          directory: relative(images.directory),
          batchSize,
          validation: 0.15,
          options: {size: chosen.size},
        },
        pretrain: {epochs: 30, optimizer: {learningRate: ratePerImage.pretrain * batchSize}},
        search: {
          target: {meanWeightBits: 4},
          epochs: 4,
          activationBits: 8,
          optimizer: {learningRate: ratePerImage.search * batchSize},
        },
        train: {epochs: 15, optimizer: {learningRate: ratePerImage.train * batchSize}},
      },
      lines: [
        `Images: ${relative(images.directory)}, ${images.count} of ${images.classes} classes to train on`,
        chosen.line,
        ...found.notes,
      ],
    };
  }
  if (table === undefined) return undefined;
  return {
    data: 'table',
    settings: {
      model: {name: 'mlp', options: {hidden: [64, 64]}},
      data: {
        name: 'table',
        directory: relative(path.dirname(table.file)),
        batchSize: 32,
        validation: 0.15,
        options: {file: path.basename(table.file), label: table.label},
      },
      pretrain: {epochs: 40, optimizer: {learningRate: 0.05}},
      search: {target: {meanWeightBits: 4}, epochs: 40, activationBits: 8},
      train: {epochs: 20, optimizer: {learningRate: 0.01}},
    },
    lines: [`Table: ${relative(table.file)}, its class in the column ${table.label}`, ...found.notes],
  };
}

/** A power of two from 8 to 64 with about 20 steps an epoch on the images left for training. */
function fittingBatch(count: number): number {
  const wanted = (0.85 * count) / 20;
  return 2 ** Math.min(6, Math.max(3, Math.floor(Math.log2(Math.max(1, wanted)))));
}

/** A network or weights in the folder that fit the classes. */
function fittingModel(
  {networks, weights}: FoundFiles,
  classes: number,
  relative: (file: string) => string,
  registry: Registry,
): ChosenModel | undefined {
  for (const file of networks) {
    const network = squareNetwork(file, classes);
    if (network === undefined) continue;
    const {size, isWhole} = network;
    const {head, line} = headFor(isWhole);
    const model = {name: 'onnx', options: {file: relative(file)}, weights: relative(file), ...head};
    return {model, size, line: `Network: ${relative(file)}, for images of ${size} × ${size}${line}`};
  }
  for (const file of weights) {
    const known = knownModel(file, classes, registry);
    if (known === undefined) continue;
    const {name, isWhole, size} = known;
    const {head, line} = headFor(isWhole);
    return {
      model: {name, weights: relative(file), ...head},
      size,
      line: `Weights: ${relative(file)}, a ${name}${line}`,
    };
  }
  return undefined;
}

function freshModel(
  {networks, weights}: FoundFiles,
  {classes}: {readonly classes: number},
  folder: string,
  size: number,
): ChosenModel {
  const unused = [...networks, ...weights];
  const why =
    unused.length === 0
      ? ''
      : ` (${firstOf(unused, folder)} does not fit ${classes} classes, or is no network of \`sdq model list\`)`;
  return {
    model: {name: 'resnet20'},
    size,
    line: `Network: resnet20 with random weights, for images of ${size} × ${size}${why}`,
  };
}

/** The median of the shorter sides, within the limits for a network with random weights. */
async function usualSide(files: readonly string[]): Promise<number> {
  const sides: number[] = [];
  for (const file of files) {
    const {width, height} = await imageSize(file);
    sides.push(Math.min(width, height));
  }
  const median = sides.sort((a, b) => a - b)[sides.length >> 1] ?? largestSize;
  return Math.min(largestSize, Math.max(smallestSize, median));
}

/** What the config says of the last layer, and what the user is told. @param isWhole whether it has the classes */
function headFor(isWhole: boolean): {readonly head: {readonly head?: 'reset'}; readonly line: string} {
  return isWhole
    ? {head: {}, line: ''}
    : {head: {head: 'reset'}, line: '; its last layer starts fresh for your classes'};
}

/** An ONNX network that maps square colour images to so many classes, with a fresh last layer if need be; else undefined. */
function squareNetwork(file: string, classes: number): Pick<KnownModel, 'size' | 'isWhole'> | undefined {
  return attempt(() => {
    const {graph} = readNetwork(file);
    const [channels, height, width] = graph.input.shape;
    if (channels !== 3 || height === undefined || height !== width) return undefined;
    const shapes = inferShapes(graph);
    const rows = graph.outputs.filter((output) => entry(shapes, output).shape.length === 1);
    const isWhole = rows.some((output) => entry(shapes, output).shape.join() === String(classes));
    const [first] = rows;
    const fits = isWhole || (first !== undefined && withClasses(graph, first, classes) !== undefined);
    return fits ? {size: height, isWhole} : undefined;
  });
}

interface KnownModel {
  readonly name: string;
  readonly size: number;
  /** Whether the last layer has the classes too. */
  readonly isWhole: boolean;
}

/** The built-in model whose parameters, but for those of the last layer, are all in the file. */
function knownModel(file: string, classes: number, registry: Registry): KnownModel | undefined {
  const tensors = attempt(() => readTensorFile(file).tensors);
  if (tensors === undefined) return undefined;
  for (const definition of registry.list('model')) {
    const [channels, size = 0] = definition.defaults.inputShape;
    if (definition.name === 'onnx' || channels === undefined || size === 0) continue;
    const graph = buildModel(definition, {classes, inputShape: [3, size, size]}, {});
    const head = headParameters(graph);
    const lacks = (ignored: ReadonlySet<string>): readonly string[] | undefined =>
      attempt(() => {
        const {missing, unexpected} = matchWeights(graph, {tensors}, file, ignored);
        return [...missing.filter((name) => !ignored.has(name)), ...unexpected];
      });
    if (lacks(head)?.length === 0) return {name: definition.name, size, isWhole: lacks(new Set())?.length === 0};
  }
  return undefined;
}

/** Undefined for a file that is not what it would have to be. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof SdqError) return undefined;
    throw error;
  }
}

/**
 * The settings with a batch that the training samples fill, and epochs enough for the search to reach its target.
 * @param resolved the same settings with their defaults
 * @throws SdqError (exit 3) for data that cannot be opened
 */
export async function fittedToData(
  settings: InitialConfig['settings'],
  resolved: Resolved,
): Promise<InitialConfig['settings']> {
  const {batchSize, epochs} = await fit(resolved);
  return {
    ...settings,
    data: {...settings['data'], batchSize},
    search: {...settings['search'], epochs},
  };
}

/** The template's text with a batch and epochs that fit the user's data, where these can be opened; comments stay. */
export async function fittedTemplate(
  text: string,
  resolve: (settings: InitialConfig['settings']) => Promise<Resolved>,
): Promise<string> {
  const document = parseDocument(text);
  const resolved = await resolve(document.toJS() as InitialConfig['settings']);
  try {
    const {batchSize, epochs} = await fit(resolved);
    document.setIn(['data', 'batchSize'], batchSize);
    document.setIn(['search', 'epochs'], epochs);
  } catch (error) {
    if (error instanceof SdqError) return text;
    throw error;
  }
  return document.toString(yamlStyle);
}

interface Resolved {
  readonly config: JobConfig;
  readonly registry: Registry;
}

/** A batch that the training samples fill, at most the config's; and epochs enough for the search to reach its target. */
async function fit(resolved: Resolved): Promise<{readonly batchSize: number; readonly epochs: number}> {
  const {config, registry} = resolved;
  const {data, model} = config;
  const dataset = await registry.get('dataset', data.name).open(data.directory ?? '', data.options);
  const graph = await modelGraph(config, registry, model.name, () => undefined);
  const {start, end} = partRange(dataset, 'train', data.validation);
  const most = 2 ** Math.floor(Math.log2(Math.max(1, end - start)));
  const batchSize = end - start < data.batchSize ? most : data.batchSize;
  const needed = epochsToReach(resolved, graph, epochBatches(dataset, {...data, batchSize})) ?? 0;
  return {batchSize, epochs: Math.max(config.search.epochs, needed)};
}

const yamlStyle = {lineWidth: 0, flowCollectionPadding: false};

/** The config as YAML. @param comment lines above it, without `#` */
export function configText(settings: InitialConfig['settings'], comment: readonly string[]): string {
  const document = new Document({...settings, seed: 0});
  visit(document, {
    // Sections in blocks, what is in them in one line each.
    Map: (_, node, path) => {
      node.flow = path.length > 2;
    },
  });
  return comment.map((line) => `# ${line}\n`).join('') + document.toString(yamlStyle);
}
