/** The tensors of a file by name: safetensors, or the weights of an ONNX network. */
import {fromOnnx} from './onnx/from-onnx.ts';
import type {Weights} from './graph.ts';
import {parseSafetensors} from './safetensors.ts';

export interface TensorFile {
  readonly tensors: Weights;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * @param file its ending says what it is
 * @throws SdqError (exit 3) when it is broken
 */
export function parseTensorFile(bytes: Uint8Array, file: string): TensorFile {
  return file.endsWith('.onnx')
    ? {tensors: fromOnnx(bytes, file).weights, metadata: {}}
    : parseSafetensors(bytes, file);
}
