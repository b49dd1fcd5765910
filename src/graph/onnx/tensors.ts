/** Constants of an ONNX file. */
import {item} from '../../lookup.ts';
import type {Array32} from '../graph.ts';
import type {DataType, OnnxTensor} from './proto.ts';

const bitsOf: Readonly<Partial<Record<DataType, number>>> = {int2: 2, int4: 4};

/** Whole numbers of a signed or unsigned type; below 8 bits packed, the first in the lowest bits. */
export function integerTensor(
  name: string,
  type: Exclude<DataType, 'float'>,
  shape: readonly number[],
  values: ArrayLike<number>,
): OnnxTensor {
  return {name, type, shape, bytes: integerBytes(type, values)};
}

function integerBytes(type: Exclude<DataType, 'float'>, values: ArrayLike<number>): Uint8Array {
  const bits = bitsOf[type];
  if (bits !== undefined) {
    const perByte = 8 / bits;
    const bytes = new Uint8Array(Math.ceil(values.length / perByte));
    const mask = 2 ** bits - 1;
    for (const [i, value] of Array.from(values).entries()) {
      const byte = Math.floor(i / perByte);
      bytes[byte] = item(bytes, byte) | ((value & mask) << (bits * (i % perByte)));
    }
    return bytes;
  }
  const whole = Array.from(values);
  if (type === 'int64') return new Uint8Array(BigInt64Array.from(whole, BigInt).buffer);
  if (type === 'int32') return new Uint8Array(Int32Array.from(whole).buffer);
  return type === 'int16' ? new Uint8Array(Int16Array.from(whole).buffer) : Uint8Array.from(whole);
}

export function floatTensor(name: string, {data, shape}: Array32): OnnxTensor {
  return {name, type: 'float', shape, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice()};
}

export const scalar = (name: string, value: number): OnnxTensor =>
  floatTensor(name, {shape: [], data: Float32Array.of(value)});
