import {execFileSync, spawnSync} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';

import {SdqError} from '../../../src/errors.ts';
import {parseSafetensors, serializeSafetensors} from '../../../src/graph/safetensors.ts';

/** A file with this header, exactly as given, and this much data. */
function fileOf(header: unknown, data: Uint8Array | number = 0): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return new Uint8Array(Buffer.concat([length, json, typeof data === 'number' ? Buffer.alloc(data) : data]));
}

const parse = (bytes: Uint8Array) => parseSafetensors(bytes, 'a.safetensors');

const pair = (a: unknown, b: unknown) => ({a, b});
const f32 = (shape: unknown, begin: unknown, end: unknown) => ({dtype: 'F32', shape, data_offsets: [begin, end]});

describe('parseSafetensors', () => {
  test('reads every supported type into float32', () => {
    const bytes = (array: ArrayBufferView) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
    // Bit patterns by IEEE 754: half 1.5 = 0x3e00, −2 = 0xc000, smallest subnormal 2⁻²⁴ = 1, infinity 0x7c00; bfloat16 1.5 = 0x3fc0.
    const parts: [string, number[], Buffer][] = [
      ['F32', [1.5, -2], bytes(new Float32Array([1.5, -2]))],
      ['F64', [1.5, -2], bytes(new Float64Array([1.5, -2]))],
      ['F16', [1.5, -2, 2 ** -24, Infinity], bytes(new Uint16Array([0x3e00, 0xc000, 1, 0x7c00]))],
      ['BF16', [1.5, -2], bytes(new Uint16Array([0x3fc0, 0xc000]))],
      ['I64', [7, -3], bytes(new BigInt64Array([7n, -3n]))],
      ['I32', [7, -3], bytes(new Int32Array([7, -3]))],
      ['I16', [7, -3], bytes(new Int16Array([7, -3]))],
      ['I8', [7, -3], bytes(new Int8Array([7, -3]))],
      ['U8', [7, 253], bytes(new Uint8Array([7, 253]))],
      ['BOOL', [0, 1], bytes(new Uint8Array([0, 1]))],
    ];
    let at = 0;
    const header = Object.fromEntries(
      parts.map(([dtype, values, data]) => {
        const begin = at;
        at += data.length;
        return [dtype, {dtype, shape: [values.length], data_offsets: [begin, at]}];
      }),
    );
    const {tensors} = parse(fileOf(header, Buffer.concat(parts.map(([, , data]) => data))));
    for (const [dtype, values] of parts) {
      expect([...tensors.get(dtype)!.data]).toEqual(values);
      expect(tensors.get(dtype)).toMatchObject({dtype, shape: [values.length]});
    }
  });

  test('reads scalars, empty tensors, metadata and bytes that start anywhere in their buffer', () => {
    const file = fileOf({__metadata__: {format: 'pt'}, one: f32([], 0, 4), none: f32([0, 3], 4, 4)}, 4);
    const shifted = new Uint8Array(file.length + 3);
    shifted.set(file, 3);
    const {tensors, metadata} = parse(shifted.subarray(3));
    expect(metadata).toEqual({format: 'pt'});
    expect([...tensors]).toEqual([
      ['one', {dtype: 'F32', shape: [], data: new Float32Array([0])}],
      ['none', {dtype: 'F32', shape: [0, 3], data: new Float32Array([])}],
    ]);
  });

  const lying = fileOf({a: f32([1], 0, 4)}, 4);
  lying.set([255, 255, 255, 255, 255, 255, 255, 255]);
  const longer = fileOf({a: f32([1], 0, 4)}, 4);
  longer[0]!++;
  const notUtf8 = fileOf({a: f32([1], 0, 4)}, 4);
  notUtf8[10] = 0xff;

  test.each<[string, Uint8Array, RegExp]>([
    ['an empty file', new Uint8Array(0), /it has 0 bytes/],
    [
      'a header length beyond the file',
      lying,
      /header's length at byte 0 is 18446744073709552000; it must be 2 to 58,/,
    ],
    ['a header length that reaches into the data', longer, /header, bytes 8 to \d+, is not JSON/],
    ['a header that is not JSON', fileOf('{"a": '), /header, bytes 8 to 13, is not JSON/],
    ['a header that is not UTF-8', notUtf8, /is not UTF-8/],
    ['a header that is a list', fileOf([]), /header is \[\]; it must be a JSON object/],
    ['a header nested without end', fileOf('['.repeat(100_000)), /is not JSON/],
    ['metadata that is not text', fileOf({__metadata__: {n: 1}}), /\/__metadata__\/n is 1; it must be a string/],
    ['a tensor that is no object', fileOf({a: 1}), /tensor "a" is 1/],
    [
      'an unknown type',
      fileOf({a: {...f32([1], 0, 4), dtype: 'F8_E4M3'}}, 4),
      /"a" has the dtype "F8_E4M3"; sdq reads F32/,
    ],
    ['a shape with a fraction', fileOf({a: f32([1.5], 0, 6)}, 6), /"a" has the shape \[1.5\]/],
    ['a negative size', fileOf({a: f32([-1], 0, 4)}, 4), /"a" has the shape \[-1\]/],
    ['a missing shape', fileOf({a: {dtype: 'F32', data_offsets: [0, 4]}}, 4), /"a" has the shape missing/],
    ['offsets the wrong way round', fileOf({a: f32([1], 4, 0)}, 4), /"a" has the data_offsets \[4,0\]/],
    ['a shape whose product overflows', fileOf({a: f32([2 ** 52, 2 ** 52], 0, 4)}, 4), /"a" has 4 bytes/],
    ['a size that is not that of the shape', fileOf({a: f32([2], 0, 4)}, 4), /\[2\] of F32 takes 8/],
    [
      'overlapping tensors',
      fileOf(pair(f32([2], 0, 8), f32([2], 4, 12)), 12),
      /"b" begins at data byte 4 and overlaps/,
    ],
    [
      'a gap between tensors',
      fileOf(pair(f32([1], 0, 4), f32([1], 8, 12)), 12),
      /"b" begins at data byte 8 and leaves a gap/,
    ],
    ['a gap before the first', fileOf({a: f32([1], 4, 8)}, 8), /"a" begins at data byte 4 .* must begin at 0/],
    ['data cut short', fileOf({a: f32([2], 0, 8)}, 5), /cut short: the header describes 8 bytes .* the file has 5/],
    ['bytes left over', fileOf({a: f32([1], 0, 4)}, 9), /bytes are left over/],
    [
      'a name given twice',
      fileOf(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\\u0061":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        4,
      ),
      /names "a" twice/,
    ],
  ])('refuses %s', (_what, bytes, message) => {
    const error = (() => {
      try {
        parse(bytes);
      } catch (thrown) {
        return thrown;
      }
      return undefined;
    })();
    expect(error).toBeInstanceOf(SdqError);
    expect((error as SdqError).message).toMatch(/^a\.safetensors is not a valid safetensors file: /);
    expect((error as SdqError).message).toMatch(message);
    expect((error as SdqError).oclif.exit).toBe(3);
  });

  test("refuses a header above the format's limit of 100 MB without reading it", () => {
    const bytes = new Uint8Array(100_000_100);
    new DataView(bytes.buffer).setBigUint64(0, 100_000_001n, true);
    expect(() => parse(bytes)).toThrow(/is 100000001; it must be 2 to 100000000/);
  });

  test('random and damaged bytes give tensors or an SdqError, never anything else', () => {
    const valid = fileOf({__metadata__: {k: 'v'}, ...pair(f32([3], 0, 12), f32([2, 2], 12, 28))}, 28);
    const damaged = fc
      .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), {minLength: 1, maxLength: 6})
      .map((changes) => {
        const bytes = valid.slice();
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      });
    const anything = fc.oneof(
      fc.uint8Array({maxLength: 200}),
      damaged,
      fc.nat(valid.length).map((end) => valid.subarray(0, end)),
      fc.json().map((json) => fileOf(json, 16)),
    );
    fc.assert(
      fc.property(anything, (bytes) => {
        try {
          parse(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(SdqError);
        }
      }),
      {numRuns: 2000},
    );
  });
});

describe('serializeSafetensors', () => {
  test('gives back names, order, shapes, values and metadata bit by bit', () => {
    const tensors = fc.uniqueArray(fc.tuple(fc.string(), fc.float32Array({maxLength: 9})), {
      selector: ([name]) => name,
      maxLength: 5,
    });
    fc.assert(
      fc.property(tensors, fc.dictionary(fc.string(), fc.string()), (list, metadata) => {
        fc.pre(list.every(([name]) => name !== '__metadata__'));
        const saved = new Map(list.map(([name, data]) => [name, {shape: [data.length, 1], data}]));
        const bytes = serializeSafetensors(saved, metadata);
        const loaded = parse(bytes);
        expect(Object.entries(loaded.metadata)).toEqual(Object.entries(metadata));
        expect(new Set(loaded.tensors.keys())).toEqual(new Set(saved.keys()));
        for (const [name, {shape, data}] of saved) {
          const found = loaded.tensors.get(name)!;
          expect(found.shape).toEqual(shape);
          expect(new Uint32Array(found.data.buffer)).toEqual(new Uint32Array(data.slice().buffer));
        }
        expect(serializeSafetensors(saved, metadata)).toEqual(bytes);
      }),
      {numRuns: 200},
    );
  });

  test('aligns the data to 8 bytes', () => {
    const bytes = serializeSafetensors(new Map([['w', {shape: [1], data: new Float32Array([1])}]]), {a: 'b'});
    expect(Number(new DataView(bytes.buffer).getBigUint64(0, true)) % 8).toBe(0);
  });

  test('refuses values that do not fill the shape', () => {
    expect(() => serializeSafetensors(new Map([['w', {shape: [2], data: new Float32Array(3)}]]), {})).toThrow(
      /"w" has 3 values/,
    );
  });
});

const python = spawnSync('python3', ['-c', 'import torch, safetensors.torch']);
const withPyTorch = python.status === 0 ? describe : describe.skip;

withPyTorch('with PyTorch (python3 with torch and safetensors)', () => {
  test('PyTorch reads what we write, and we read what PyTorch writes back', () => {
    const folder = mkdtempSync(join(tmpdir(), 'sdq-safetensors-'));
    try {
      const ours = join(folder, 'ours.safetensors');
      const theirs = join(folder, 'theirs.safetensors');
      const tensors = new Map([
        ['conv.weight', {shape: [2, 3], data: new Float32Array([1, -2, 3.5, 1e-30, 0, 7])}],
        ['step', {shape: [], data: new Float32Array([42])}],
      ]);
      writeFileSync(ours, serializeSafetensors(tensors, {format: 'pt', by: 'sdq'}));
      const script = `
import sys, torch
from safetensors import safe_open
from safetensors.torch import save_file
with safe_open(sys.argv[1], 'pt') as f:
    assert f.metadata() == {'format': 'pt', 'by': 'sdq'}, f.metadata()
    t = {k: f.get_tensor(k) for k in f.keys()}
assert t['conv.weight'].shape == (2, 3) and t['step'].shape == (), t
t['half'] = t['conv.weight'].half()
t['bf16'] = t['conv.weight'].bfloat16()
t['count'] = torch.tensor(5)
save_file(t, sys.argv[2], {'who': 'torch'})`;
      execFileSync('python3', ['-c', script, ours, theirs], {stdio: 'pipe'});
      const {tensors: back, metadata} = parse(readFileSync(theirs));
      expect(metadata).toEqual({who: 'torch'});
      expect(back.get('conv.weight')!.data).toEqual(tensors.get('conv.weight')!.data);
      expect([...back.get('half')!.data]).toEqual([1, -2, 3.5, 0, 0, 7]);
      expect([...back.get('bf16')!.data].slice(0, 3)).toEqual([1, -2, 3.5]);
      expect(back.get('count')).toMatchObject({dtype: 'I64', shape: [], data: new Float32Array([5])});
    } finally {
      rmSync(folder, {recursive: true});
    }
  });
});
