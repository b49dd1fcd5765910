import {readFileSync} from 'node:fs';

/** The tensors of a safetensors file, without the run that its header names. */
export function tensorBytes(file: string): Buffer {
  const bytes = readFileSync(file);
  return bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)));
}
