/**
 * The safetensors file of a trained network. Weights and statistics stand under their PyTorch names; a quantized network
 * adds its learned steps and ranges and carries its strategy in the metadata, so that the file is complete by itself.
 */
import {ExitCode, SdqError} from '../errors.ts';
import {writeFileAtomic} from '../files.ts';
import type {Weights} from '../graph/graph.ts';
import {serializeSafetensors} from '../graph/safetensors.ts';
import type {Strategy} from '../sdq/strategy.ts';
import type {QuantizationRecord} from '../training/quantization-record.ts';
import {readTensorFile, type TensorFile} from './tensor-file.ts';

const strategyKey = 'sdq.strategy';
const quantizationKey = 'sdq.quantization';

export interface ModelFile {
  readonly tensors: TensorFile['tensors'];
  /** As found, not yet validated; undefined for a full-precision network. */
  readonly strategy: unknown;
  /** The same of a `QuantizationRecord`; files of earlier versions have none. */
  readonly quantization: unknown;
}

/** What a quantized network adds to its weights. */
interface QuantizedPart {
  readonly strategy: Strategy;
  readonly record: QuantizationRecord;
  /** `quantizationValues` */
  readonly values: Weights;
}

/** @returns the file's bytes @throws SdqError (exit 6) when it cannot be written */
export function writeModelFile(file: string, weights: Weights, quantized?: QuantizedPart): number {
  const tensors = quantized === undefined ? weights : new Map([...weights, ...quantized.values]);
  const metadata =
    quantized === undefined
      ? {}
      : {[strategyKey]: JSON.stringify(quantized.strategy), [quantizationKey]: JSON.stringify(quantized.record)};
  const bytes = serializeSafetensors(tensors, {format: 'pt', ...metadata});
  writeFileAtomic(file, bytes);
  return bytes.length;
}

/** @throws SdqError (exit 3) when it is missing or broken */
export function readModelFile(file: string): ModelFile {
  const {tensors, metadata} = readTensorFile(file);
  const json = (key: string): unknown => {
    const text = metadata[key];
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new SdqError(`${file}: __metadata__/${key} is not JSON.`, {
        code: 'strategy-broken',
        exit: ExitCode.invalidInput,
        cause: error,
      });
    }
  };
  return {tensors, strategy: json(strategyKey), quantization: json(quantizationKey)};
}
