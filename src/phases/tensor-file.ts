/** The tensors of a file by name: safetensors, or the weights of an ONNX network. */
import {filesBeside, readFileBounded} from '../files.ts';
import type {Weights} from '../graph/graph.ts';
import {fromOnnx} from '../graph/onnx/from-onnx.ts';
import {parseSafetensors} from '../graph/safetensors.ts';

export interface TensorFile {
  readonly tensors: Weights;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * @param file its ending says what it is
 * @throws SdqError (exit 3) when it is missing or broken
 */
export function readTensorFile(file: string): TensorFile {
  const bytes = readFileBounded(file);
  return file.endsWith('.onnx')
    ? {tensors: fromOnnx(bytes, file, filesBeside(file)).weights, metadata: {}}
    : parseSafetensors(bytes, file);
}
