/**
 * The safetensors file of a trained network. Weights and statistics stand under their PyTorch names; a quantized network
 * adds its learned steps and ranges and carries its strategy in the metadata, so that the file is complete by itself.
 */
import {ExitCode, SdqError} from '../errors.ts';
import {readFileBounded, writeFileAtomic} from '../files.ts';
import type {Weights} from '../graph/graph.ts';
import {serializeSafetensors} from '../graph/safetensors.ts';
import {parseTensorFile, type TensorFile} from '../graph/tensor-file.ts';
import type {Strategy} from '../sdq/strategy.ts';

const limitBytes = 2 ** 32;
const strategyKey = 'sdq.strategy';

export interface ModelFile {
  readonly tensors: TensorFile['tensors'];
  /** As found, not yet validated; undefined for a full-precision network. */
  readonly strategy: unknown;
}

/** @throws SdqError (exit 6) when it cannot be written */
export function writeModelFile(
  file: string,
  weights: Weights,
  quantized?: {strategy: Strategy; learned: Weights},
): void {
  const tensors = quantized === undefined ? weights : new Map([...weights, ...quantized.learned]);
  const metadata = quantized === undefined ? {} : {[strategyKey]: JSON.stringify(quantized.strategy)};
  writeFileAtomic(file, serializeSafetensors(tensors, {format: 'pt', ...metadata}));
}

/** @throws SdqError (exit 3) when it is missing or broken */
export function readModelFile(file: string): ModelFile {
  const {tensors, metadata} = parseTensorFile(readFileBounded(file, limitBytes), file);
  const text = metadata[strategyKey];
  if (text === undefined) return {tensors, strategy: undefined};
  try {
    return {tensors, strategy: JSON.parse(text)};
  } catch (error) {
    throw new SdqError(`${file}: __metadata__/${strategyKey} is not JSON.`, {
      code: 'strategy-broken',
      exit: ExitCode.invalidInput,
      cause: error,
    });
  }
}
