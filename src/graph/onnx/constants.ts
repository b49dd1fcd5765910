/** Constants of an ONNX file: their types, and how their bytes become numbers. */
import path from 'node:path';

import type {SdqError} from '../../errors.ts';
import {elements} from '../ops/operator.ts';
import type {HostArray} from './host-array.ts';
import type {Long, TensorMessage} from './proto.ts';

/** A message for the file, `what` without a full stop. */
export type Refuse = (what: string) => SdqError;

/** Bytes of a model's other files and of the constants in them. */
const externalLimit = 2 ** 32;

/** `TensorProto.DataType` by number, as ONNX names them. */
const typeNames: readonly string[] = [
  'undefined',
  'float32',
  'uint8',
  'int8',
  'uint16',
  'int16',
  'int32',
  'int64',
  'string',
  'bool',
  'float16',
  'float64',
  'uint32',
  'uint64',
  'complex64',
  'complex128',
  'bfloat16',
  'float8e4m3fn',
  'float8e4m3fnuz',
  'float8e5m2',
  'float8e5m2fnuz',
  'uint4',
  'int4',
  'float4e2m1',
  'float8e8m0',
  'uint2',
  'int2',
];

export const typeName = (dataType: number): string => typeNames[dataType] ?? `number ${dataType}`;

/** What to do about a value of a type that sdq has no arithmetic for; '' where nothing helps. */
export function typeHint(type: string): string {
  if (/^b?float(16|8|4)/.test(type)) return '; export the network in float32 (`model.float()`)';
  if (/^u?int[248]/.test(type))
    return '; a file that is quantized already cannot be quantized anew: export the network in float32';
  return type === 'float64' ? '; export the network in float32 (`model.float()`)' : '';
}

interface Reader {
  /** Bytes an element. */
  readonly size: number;
  read(buffer: ArrayBuffer): ArrayLike<number>;
}

const readers: Readonly<Record<string, Reader>> = {
  float32: {size: 4, read: (buffer) => new Float32Array(buffer)},
  uint8: {size: 1, read: (buffer) => new Uint8Array(buffer)},
  int8: {size: 1, read: (buffer) => new Int8Array(buffer)},
  uint16: {size: 2, read: (buffer) => new Uint16Array(buffer)},
  int16: {size: 2, read: (buffer) => new Int16Array(buffer)},
  int32: {size: 4, read: (buffer) => new Int32Array(buffer)},
  int64: {size: 8, read: (buffer) => Float64Array.from(new BigInt64Array(buffer), Number)},
  bool: {size: 1, read: (buffer) => new Uint8Array(buffer)},
  float64: {size: 8, read: (buffer) => new Float64Array(buffer)},
  uint32: {size: 4, read: (buffer) => new Uint32Array(buffer)},
  uint64: {size: 8, read: (buffer) => Float64Array.from(new BigUint64Array(buffer), Number)},
};

export const toNumber = (value: Long): number => (typeof value === 'number' ? value : value.toNumber());

/** The bytes of a constant that is kept outside of the model's file. */
export type External = (tensor: TensorMessage) => Uint8Array;

/** Reads a file in the folder of the model's. @throws SdqError (exit 3) when it is missing or has more than `limit` bytes */
export type ReadBeside = (name: string, limit: number) => Uint8Array;

/** Reads the files beside a model, each once, and none outside of its folder. */
export function externalFiles(readBeside: ReadBeside | undefined, refuse: Refuse): External {
  const files = new Map<string, Uint8Array>();
  let left = externalLimit;
  return ({externalData, name}) => {
    const {location = '', ...range} = Object.fromEntries(externalData.map(({key, value}) => [key, value]));
    if (location === '' || path.isAbsolute(location) || location.split(/[\\/]/).includes('..')) {
      throw refuse(`the constant "${name}" is kept in "${location}", which is no file in the folder of the model`);
    }
    if (readBeside === undefined) throw refuse(`the constant "${name}" is kept in "${location}", which is not read`);
    let bytes = files.get(location);
    if (bytes === undefined) {
      bytes = readBeside(location, left);
      files.set(location, bytes);
      left -= bytes.length;
    }
    const offset = Number(range['offset'] ?? 0);
    const length = Number(range['length'] ?? bytes.length - offset);
    if (![offset, length].every((n) => Number.isSafeInteger(n) && n >= 0) || offset + length > bytes.length) {
      throw refuse(
        `the constant "${name}" has ${length} bytes from byte ${offset} of ${location}, which has ${bytes.length}`,
      );
    }
    // Constants may share their bytes, but each is a copy.
    left -= length;
    if (left < 0) throw refuse(`its constants have more than ${externalLimit} bytes with their files`);
    return bytes.subarray(offset, offset + length);
  };
}

/**
 * @param name for errors
 * @throws SdqError (exit 3) for a type that sdq does not read, or bytes that do not make the shape
 */
export function readTensor(tensor: TensorMessage, external: External, refuse: Refuse, name = tensor.name): HostArray {
  const {dataLocation, dataType, dims, doubleData, floatData, int32Data, int64Data} = tensor;
  const shape = dims.map(toNumber);
  const type = typeName(dataType);
  const reader = readers[type];
  if (reader === undefined) throw refuse(`the constant "${name}" has the type ${type}${typeHint(type)}`);
  const rawData = dataLocation === 1 ? external(tensor) : tensor.rawData;
  const listed: readonly Long[] = [floatData, doubleData, int32Data, int64Data].find(({length}) => length > 0) ?? [];
  const count = elements(shape);
  const length = rawData.length > 0 ? rawData.length / reader.size : listed.length;
  if (length !== count) throw refuse(`the constant "${name}" of shape [${shape.join(', ')}] holds ${length} values`);
  const values = rawData.length > 0 ? reader.read(new Uint8Array(rawData).buffer) : listed.map(toNumber);
  if (type !== 'float32') return {type, shape, data: Float64Array.from(values)};
  return {type, shape, data: values instanceof Float32Array ? values : Float32Array.from(values)};
}
