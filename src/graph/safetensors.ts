/**
 * The safetensors file format on bytes: 8 bytes little-endian header length, the header as JSON (tensor name → dtype, shape,
 * data_offsets; `__metadata__` → strings), then the tensors' bytes without gaps. https://github.com/huggingface/safetensors
 *
 * A file is input from outside: every number in its header is checked against the bytes that are there before it is used.
 */
import {invalidInput, type SdqError} from '../errors.ts';
import {entry, item} from '../lookup.ts';
import {isMapping} from '../mapping.ts';
import type {Array32, Shape} from './graph.ts';

/** The reference implementation's limit. */
const headerLimit = 100_000_000;

interface Dtype {
  /** Bytes an element. */
  readonly size: number;
  /** Values as float32, from a copy of the tensor's bytes that starts at 0. */
  read(buffer: ArrayBuffer): Float32Array;
}

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const dtypes: ReadonlyMap<string, Dtype> = new Map<string, Dtype>([
  ['F32', {size: 4, read: (buffer) => new Float32Array(buffer)}],
  ['F64', {size: 8, read: (buffer) => Float32Array.from(new Float64Array(buffer))}],
  ['F16', {size: 2, read: (buffer) => Float32Array.from(new Uint16Array(buffer), half)}],
  // bfloat16 is the upper half of a float32.
  [
    'BF16',
    {
      size: 2,
      read: (buffer) => new Float32Array(Uint32Array.from(new Uint16Array(buffer), (bits) => bits << 16).buffer),
    },
  ],
  ['I64', {size: 8, read: (buffer) => Float32Array.from(Array.from(new BigInt64Array(buffer), Number))}],
  ['I32', {size: 4, read: (buffer) => Float32Array.from(new Int32Array(buffer))}],
  ['I16', {size: 2, read: (buffer) => Float32Array.from(new Int16Array(buffer))}],
  ['I8', {size: 1, read: (buffer) => Float32Array.from(new Int8Array(buffer))}],
  ['U8', {size: 1, read: (buffer) => Float32Array.from(new Uint8Array(buffer))}],
  ['BOOL', {size: 1, read: (buffer) => Float32Array.from(new Uint8Array(buffer), (value) => (value === 0 ? 0 : 1))}],
]);

export interface SafetensorsFile {
  /** By name, in the order of their bytes; values as float32 whatever the file's type. */
  readonly tensors: ReadonlyMap<string, Array32 & {readonly dtype: string}>;
  readonly metadata: Readonly<Record<string, string>>;
}

interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

/** The first name that a JSON object, already known to be valid, gives twice. */
function repeatedKey(json: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  let text = '';
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:]/g)) {
    if (token === '{' || token === '[') depth++;
    else if (token === '}' || token === ']') depth--;
    else if (token !== ':') text = token;
    else if (depth === 1) {
      const key = JSON.parse(text) as string;
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** What was found, short enough for a message. */
function kindOf(value: unknown): string {
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined) return 'missing';
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/**
 * @param file named in errors
 * @throws SdqError (exit 3) naming the byte offset or the tensor, what was found and what is allowed
 */
export function parseSafetensors(bytes: Uint8Array, file: string): SafetensorsFile {
  const broken = (what: string): SdqError =>
    invalidInput('safetensors-invalid', `${file} is not a valid safetensors file: ${what}.`);
  if (bytes.length < 8) throw broken(`it has ${bytes.length} bytes; the header's length alone takes 8`);
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  const available = Math.min(bytes.length - 8, headerLimit);
  if (length < 2 || length > available) {
    throw broken(`the header's length at byte 0 is ${length}; it must be 2 to ${available}, the bytes that follow it`);
  }
  const base = 8 + length;
  let header: unknown;
  let json: string;
  try {
    json = new TextDecoder('utf-8', {fatal: true}).decode(bytes.subarray(8, base));
    header = JSON.parse(json);
  } catch (error) {
    const reason = error instanceof SyntaxError ? 'JSON' : 'UTF-8';
    throw broken(`the header, bytes 8 to ${base - 1}, is not ${reason}`);
  }
  if (!isMapping(header)) throw broken(`the header is ${kindOf(header)}; it must be a JSON object`);
  const repeated = repeatedKey(json);
  if (repeated !== undefined) throw broken(`the header names "${repeated}" twice`);

  const {__metadata__: notes = {}, ...rest} = header;
  if (!isMapping(notes)) throw broken(`/__metadata__ is ${kindOf(notes)}; it must be an object of strings`);
  for (const [key, value] of Object.entries(notes)) {
    if (typeof value !== 'string') throw broken(`/__metadata__/${key} is ${kindOf(value)}; it must be a string`);
  }

  const entries = Object.entries(rest).map(([name, value]): Entry => {
    if (!isMapping(value)) throw broken(`tensor "${name}" is ${kindOf(value)}; it must be an object`);
    const {dtype, shape, data_offsets: offsets} = value;
    const type = typeof dtype === 'string' ? dtypes.get(dtype) : undefined;
    if (type === undefined) {
      throw broken(`tensor "${name}" has the dtype ${kindOf(dtype)}; sdq reads ${[...dtypes.keys()].join(', ')}`);
    }
    if (!Array.isArray(shape) || !shape.every(isSize)) {
      throw broken(`tensor "${name}" has the shape ${kindOf(shape)}; it must be a list of whole numbers from 0`);
    }
    if (
      !Array.isArray(offsets) ||
      offsets.length !== 2 ||
      !offsets.every(isSize) ||
      item(offsets, 0) > item(offsets, 1)
    ) {
      throw broken(`tensor "${name}" has the data_offsets ${kindOf(offsets)}; they must be [begin, end] in bytes`);
    }
    const [begin, end] = offsets as [number, number];
    const size = shape.reduce((product, axis) => product * axis, type.size);
    if (end - begin !== size) {
      const wanted = `${kindOf(shape)} of ${dtype as string} takes ${size}`;
      throw broken(`tensor "${name}" has ${end - begin} bytes (data_offsets ${begin} to ${end}); ${wanted}`);
    }
    return {name, dtype: dtype as string, shape, begin, end};
  });
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let next = 0;
  for (const {name, begin, end} of entries) {
    if (begin !== next) {
      const what = begin < next ? 'overlaps the one before it' : 'leaves a gap';
      throw broken(`tensor "${name}" begins at data byte ${begin} and ${what}; it must begin at ${next}`);
    }
    next = end;
  }
  const data = bytes.length - base;
  if (next !== data) {
    const state = next > data ? 'the file is cut short' : 'bytes are left over';
    throw broken(`${state}: the header describes ${next} bytes of data after byte ${base}, the file has ${data}`);
  }

  return {
    tensors: new Map(
      entries.map(({name, dtype, shape, begin, end}) => {
        const {buffer} = new Uint8Array(bytes.subarray(base + begin, base + end));
        return [name, {dtype, shape, data: entry(dtypes, dtype).read(buffer)}];
      }),
    ),
    metadata: notes as Record<string, string>,
  };
}

/**
 * The same tensors and metadata in the same order give the same bytes. Tensors are F32; the data begins at a multiple of 8.
 * @throws Error (a bug) when the values do not fill the shape
 */
export function serializeSafetensors(
  tensors: ReadonlyMap<string, Array32>,
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const header: [string, unknown][] = Object.keys(metadata).length === 0 ? [] : [['__metadata__', metadata]];
  let end = 0;
  for (const [name, {shape, data}] of tensors) {
    if (data.length !== shape.reduce((product, size) => product * size, 1)) {
      throw new Error(`Tensor "${name}" has ${data.length} values, which do not fill [${shape.join(', ')}].`);
    }
    header.push([name, {dtype: 'F32', shape, data_offsets: [end, end + 4 * data.length]}]);
    end += 4 * data.length;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.fill(0x20, 8, 8 + length);
  bytes.set(json, 8);
  let offset = 8 + length;
  for (const {data} of tensors.values()) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset);
    offset += data.byteLength;
  }
  return bytes;
}
