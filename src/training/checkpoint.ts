/**
 * The content of a checkpoint: all that the next step depends on, as the bytes of a safetensors file. Weights and running
 * statistics stand under their PyTorch names, so that any tool reads them; other arrays are prefixed by their group.
 * Numbers that must survive exactly and are not float32 are in the file's metadata as JSON.
 */
import {invalidInput, type SdqError} from '../errors.ts';
import type {Array32, Weights} from '../graph/graph.ts';
import {parseSafetensors, serializeSafetensors} from '../graph/safetensors.ts';
import {entry, item} from '../lookup.ts';

/** Plain data that JSON gives back as it was: no NaN, Infinity or undefined. */
export type Json = null | boolean | number | string | readonly Json[] | {readonly [key: string]: Json};

/** A group's arrays are named `<group>:<array>` in the file. */
const separator = ':';

export interface Checkpoint {
  /** Parameters and running statistics, in ONNX layout. */
  readonly weights: Weights;
  /** Further arrays by group and name: the optimizer's moments, learned steps, the best weights so far. */
  readonly groups: Readonly<Record<string, Weights>>;
  /** Position, optimizer step, method state, best result. */
  readonly state: {readonly [key: string]: Json};
}

/** `-1`, of builds before there were tasks, had accuracies in place of values of the task's metric. */
const format = 'sdq-checkpoint-2';
const olderFormat = 'sdq-checkpoint-1';

/** @throws Error (a bug) when the state holds a number that is not finite, or a group's name is not usable */
export function encodeCheckpoint({weights, groups, state}: Checkpoint): Uint8Array {
  const tensors = new Map<string, Array32>(weights);
  for (const [group, arrays] of Object.entries(groups)) {
    if (!/^[a-z-]+$/.test(group)) throw new Error(`Checkpoint group "${group}" is not kebab case.`);
    for (const [name, array] of arrays) tensors.set(`${group}${separator}${name}`, array);
  }
  const text = JSON.stringify(state, (key, value: unknown) => {
    if (typeof value === 'number' && !Number.isFinite(value)) throw new Error(`Checkpoint state "${key}" is ${value}.`);
    return value;
  });
  return serializeSafetensors(tensors, {format, state: text});
}

/**
 * @param file named in errors
 * @throws SdqError (exit 3) when the bytes are not a safetensors file, or not a checkpoint of sdq
 */
export function decodeCheckpoint(bytes: Uint8Array, file: string): Checkpoint {
  const {tensors, metadata} = parseSafetensors(bytes, file);
  const broken = (what: string): SdqError =>
    invalidInput('not-a-checkpoint', `${file}: ${what}.`, [
      'To start from weights alone, name the file as `model.weights` in the config.',
    ]);
  if (metadata['format'] === olderFormat) {
    throw invalidInput(
      'checkpoint-older',
      `${file}: an older version of sdq wrote it (${olderFormat}; this one reads ${format}).`,
      [
        'Resume with the version that the run names in run.json, under versions.',
        'Or start from its weights: --set model.weights=FILE.',
      ],
    );
  }
  if (metadata['format'] !== format) {
    const formatOfFile = metadata['format'];
    throw broken(
      `it is not a checkpoint of a run: __metadata__/format is ${JSON.stringify(formatOfFile ?? null)}, expected "${format}"`,
    );
  }
  let state: unknown;
  try {
    state = JSON.parse(metadata['state'] ?? '');
  } catch {
    throw broken('__metadata__/state is not JSON');
  }
  if (typeof state !== 'object' || state === null || Array.isArray(state)) {
    throw broken('__metadata__/state is not a JSON object');
  }
  const weights = new Map<string, Array32>();
  const groups = new Map<string, Map<string, Array32>>();
  for (const [name, {shape, data}] of tensors) {
    const bad = data.findIndex((value) => !Number.isFinite(value));
    if (bad !== -1) throw broken(`tensor "${name}" is ${item(data, bad)} at index ${bad}; every value must be finite`);
    const end = name.indexOf(separator);
    if (end === -1) {
      weights.set(name, {shape, data});
      continue;
    }
    const group = name.slice(0, end);
    if (!groups.has(group)) groups.set(group, new Map());
    entry(groups, group).set(name.slice(end + 1), {shape, data});
  }
  return {weights, groups: Object.fromEntries(groups), state: state as Checkpoint['state']};
}
