/** Finds a graph's parameters among the tensors of a file by their PyTorch names. */
import {invalidInput, type SdqError} from '../errors.ts';
import {item} from '../lookup.ts';
import type {Array32, Graph, Weights} from './graph.ts';
import {headParameters} from './head.ts';
import {initialWeights} from './initialize.ts';

export interface MatchedWeights {
  /** By the graph's names. */
  readonly weights: Weights;
  /** Parameters of the graph that the file has not; those that the architecture fixes are in `weights` all the same. */
  readonly missing: readonly string[];
  /** Tensors of the file, by its names, that the graph has no use for. */
  readonly unexpected: readonly string[];
}

/**
 * One name for what is called differently: `module.` is DataParallel's prefix; torchvision writes `downsample` and `fc`
 * where networks for CIFAR write `shortcut` and `linear`.
 */
function commonName(name: string): string {
  return name
    .replace(/^module\./, '')
    .replace(/(^|\.)downsample\./, '$1shortcut.')
    .replace(/^fc\./, 'linear.');
}

/** Counts batches for PyTorch's cumulative average; nothing depends on it. */
const uncounted = /(^|\.)num_batches_tracked$/;

/** The first five, and how many more there are. */
export const listed = (items: readonly string[]): string =>
  `${items.slice(0, 5).join('; ')}${items.length > 5 ? `; and ${items.length - 5} more` : ''}`;

/**
 * @param file named in errors
 * @param ignored parameters that the file's tensors are not taken for; they count as missing
 * @throws SdqError (exit 3) when a tensor has another shape than its parameter, holds NaN or infinity, or two tensors
 * stand for one parameter
 */
export function matchWeights(
  graph: Graph,
  {tensors}: {readonly tensors: Weights},
  file: string,
  ignored: ReadonlySet<string> = new Set(),
): MatchedWeights {
  const broken = (code: string, what: string, suggestions: readonly string[] = []): SdqError =>
    invalidInput(code, `${file} does not fit ${graph.name}: ${what}.`, suggestions);
  const exact = new Map(graph.parameters.map((parameter) => [parameter.name, parameter]));
  const common = new Map(graph.parameters.map((parameter) => [commonName(parameter.name), parameter]));
  const weights = new Map<string, Array32>();
  const sources = new Map<string, string>();
  const unexpected: string[] = [];
  const wrong: string[] = [];
  const notFinite: string[] = [];
  const negative: string[] = [];
  const norms = graph.nodes.filter(({op}) => op === 'BatchNormalization');
  const variances = new Set(norms.map(({inputs}) => inputs[4]));
  for (const [name, {shape, data}] of tensors) {
    const parameter = exact.get(name) ?? common.get(commonName(name));
    if (parameter === undefined) {
      if (!uncounted.test(name)) unexpected.push(name);
      continue;
    }
    if (ignored.has(parameter.name)) continue;
    const other = sources.get(parameter.name);
    if (other !== undefined) {
      throw broken('weights-ambiguous', `"${other}" and "${name}" both stand for "${parameter.name}"`);
    }
    sources.set(parameter.name, name);
    weights.set(parameter.name, {shape, data});
    if (shape.join() !== parameter.shape.join()) {
      wrong.push(`"${name}" has the shape [${shape.join(', ')}], it must be [${parameter.shape.join(', ')}]`);
    }
    const index = data.findIndex((value) => !Number.isFinite(value));
    if (index >= 0) notFinite.push(`"${name}" is ${item(data, index)} at element ${index}`);
    const below = variances.has(parameter.name) ? data.findIndex((value) => value < 0) : -1;
    if (below >= 0) negative.push(`"${name}" is ${item(data, below)} at element ${below}`);
  }
  if (wrong.length > 0) throw broken('weights-shape', listed(wrong), otherClasses(graph, tensors));
  if (notFinite.length > 0) throw broken('weights-not-finite', `${listed(notFinite)}; weights must be finite`);
  if (negative.length > 0) throw broken('weights-variance', `${listed(negative)}; a variance is at least 0`);
  // What the architecture fixes need not be in the file.
  const fixed = initialWeights(graph, 0, ({role}) => role === 'constant');
  for (const [name, value] of fixed) if (!weights.has(name)) weights.set(name, value);
  const missing = graph.parameters.map(({name}) => name).filter((name) => !weights.has(name));
  return {weights, missing, unexpected};
}

/** Where only the last layer differs, and only in its outputs: the network was trained on other classes. */
function otherClasses(graph: Graph, tensors: Weights): readonly string[] {
  const differing = graph.parameters.flatMap(({name, shape}) => {
    const found =
      tensors.get(name)?.shape ?? [...tensors].find(([other]) => commonName(other) === commonName(name))?.[1].shape;
    return found === undefined || found.join() === shape.join() ? [] : [{name, shape, found}];
  });
  const head = headParameters(graph);
  const isHead = differing.every(({name, shape, found}) => head.has(name) && shape.length === found.length);
  const [first] = differing;
  if (!isHead || first === undefined) return [];
  return [
    `The file is of a network with other classes: ${item(first.found, 0)} in place of ${item(first.shape, 0)}. Start with a fresh last layer: --set model.head=reset.`,
  ];
}
