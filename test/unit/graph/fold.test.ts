import {describe, expect, test} from '@jest/globals';
import fc from 'fast-check';

import type {Attributes} from '../../../src/graph/onnx/fold/evaluator.ts';
import {evaluators} from '../../../src/graph/onnx/fold/index.ts';
import {shapeArray} from '../../../src/graph/onnx/fold/shapes.ts';
import {hostArray, withBatch, type HostArray} from '../../../src/graph/onnx/host-array.ts';
import {encodeOnnx, type OnnxAttribute, type OnnxNode} from '../../../src/graph/onnx/proto.ts';
import {floatTensor, integerTensor} from '../../../src/graph/onnx/tensors.ts';
import {loadOnnxRuntime} from '../../../src/phases/onnx-runtime.ts';

/** Numbers that repeat nowhere and are of either sign. */
const floats = (...shape: number[]): HostArray => {
  const count = shape.reduce((product, size) => product * size, 1);
  return hostArray(
    'float32',
    shape,
    Array.from({length: count}, (_, i) => Math.round(1000 * Math.sin(i + 1)) / 250),
  );
};
const ints = (...values: number[]): HostArray => hostArray('int64', [values.length], values);
const int = (value: number): HostArray => hostArray('int64', [], [value]);
/** A matrix of whole numbers. */
const grid = (rows: number, columns: number, first = -3): HostArray =>
  hostArray(
    'int64',
    [rows, columns],
    Array.from({length: rows * columns}, (_, i) => first + i),
  );

const none: Attributes = {int: (_, fallback) => fallback, float: (_, fallback) => fallback, ints: () => undefined, string: (_, fallback) => fallback, tensor: () => undefined}; // prettier-ignore

function reader(attributes: readonly OnnxAttribute[]): Attributes {
  const value = (name: string): unknown => {
    const found = attributes.find((attribute) => attribute.name === name);
    return found !== undefined && 'value' in found ? found.value : undefined;
  };
  return {
    ...none,
    int: (name, fallback) => (value(name) as number | undefined) ?? fallback,
    float: (name, fallback) => (value(name) as number | undefined) ?? fallback,
    ints: (name) => value(name) as readonly number[] | undefined,
    string: (name, fallback) => (value(name) as string | undefined) ?? fallback,
  };
}

const intAttribute = (name: string, value: number): OnnxAttribute => ({name, kind: 'int', value});
const intsAttribute = (name: string, ...value: number[]): OnnxAttribute => ({name, kind: 'ints', value});

/** What ONNX Runtime computes of the same constants, as floats. */
async function inRuntime(
  op: string,
  inputs: readonly (HostArray | undefined)[],
  attributes: readonly OnnxAttribute[],
  outputs: number,
  opset: number,
): Promise<Float32Array[]> {
  const names = inputs.map((input, i) => (input === undefined ? '' : `i${i}`));
  const results: Float32Array[] = [];
  const runtime = await loadOnnxRuntime();
  for (let index = 0; index < outputs; index++) {
    const outputNames = Array.from({length: outputs}, (_, k) => `o${k}`);
    const nodes: OnnxNode[] = [
      {name: 'n', op, inputs: names, outputs: outputNames, attributes},
      {name: 'c', op: 'Cast', inputs: [`o${index}`], outputs: ['f'], attributes: [intAttribute('to', 1)]},
      {name: 'r', op: 'Reshape', inputs: ['f', 'flat'], outputs: ['v'], attributes: []},
      {name: 'a', op: 'Add', inputs: ['v', 'x'], outputs: ['y'], attributes: []},
    ];
    const model = encodeOnnx({
      graph: {
        name: 'g',
        nodes,
        initializers: [
          integerTensor('flat', 'int64', [1], [-1]),
          ...inputs.flatMap((input, i) => {
            if (input === undefined) return [];
            const {data, shape, type} = input;
            return type === 'float32'
              ? [floatTensor(`i${i}`, {shape, data: data as Float32Array})]
              : [integerTensor(`i${i}`, 'int64', shape, data)];
          }),
        ],
        inputs: [{name: 'x', shape: [1]}],
        outputs: [{name: 'y', shape: ['N']}],
      },
      irVersion: 8,
      opsets: {'': opset},
      producerVersion: '',
      metadata: {},
    });
    const session = await runtime.open(model, `${op}.onnx`);
    results.push(...(await session.run(Float32Array.of(0), [1])));
    await session.release();
  }
  return results;
}

interface Case {
  readonly name?: string;
  readonly op: string;
  readonly inputs: readonly (HostArray | undefined)[];
  readonly attributes?: readonly OnnxAttribute[];
  readonly outputs?: number;
  readonly opset?: number;
}

const far = 2 ** 62;

const text = (name: string, value: string): OnnxAttribute => ({name, kind: 'string', value});
const scales = (...values: number[]): HostArray => hostArray('float32', [values.length], values);

/** Tables of positions at another size; ONNX Runtime antialiases linear and cubic interpolation only. */
const resizes: readonly Case[] = (['nearest', 'linear', 'cubic'] as const).flatMap((mode) =>
  ['half_pixel', 'align_corners', 'asymmetric', 'pytorch_half_pixel'].flatMap((coordinates) =>
    [0, 1].flatMap((antialias): Case[] => {
      if (antialias === 1 && mode === 'nearest') return [];
      const attributes = [
        text('mode', mode),
        text('coordinate_transformation_mode', coordinates),
        intAttribute('antialias', antialias),
      ];
      const outside = mode === 'cubic' ? [intAttribute('exclude_outside', antialias)] : [];
      const name = `${mode}, ${coordinates}${antialias === 1 ? ', antialiased' : ''}`;
      const op = 'Resize';
      const all = [...attributes, ...outside];
      return [
        {name: `${name}, other sizes`, op, inputs: [floats(1, 2, 7, 5), undefined, undefined, ints(1, 2, 3, 9)], attributes: all, opset: 18}, // prettier-ignore
        {name: `${name}, scales`, op, inputs: [floats(1, 3, 6, 4), undefined, scales(1, 1, 0.5, 1.75)], attributes: all, opset: 18}, // prettier-ignore
      ];
    }),
  ),
);

const cases: readonly Case[] = [
  ...resizes,
  {op: 'Identity', inputs: [floats(2, 3)]},
  {op: 'Cast', inputs: [floats(2, 3)], attributes: [intAttribute('to', 7)]},
  {op: 'Cast', name: 'to bool', inputs: [grid(2, 3)], attributes: [intAttribute('to', 9)]},
  {op: 'CastLike', inputs: [floats(4), int(1)], opset: 15},
  {op: 'Shape', inputs: [floats(4, 1, 3)]},
  {op: 'Shape', name: 'a part', inputs: [floats(4, 1, 3)], attributes: [intAttribute('start', -2), intAttribute('end', 9)], opset: 15}, // prettier-ignore
  {op: 'Size', inputs: [floats(4, 3)]},
  {op: 'ConstantOfShape', inputs: [ints(2, 3)]},
  {op: 'Gather', inputs: [floats(3, 4, 2), grid(2, 2)], attributes: [intAttribute('axis', 1)]},
  {op: 'Gather', name: 'one', inputs: [floats(3, 4), int(-1)]},
  {op: 'Concat', inputs: [floats(2, 3, 2), floats(2, 1, 2), floats(2, 2, 2)], attributes: [intAttribute('axis', -2)]},
  {op: 'Slice', inputs: [floats(5, 6), ints(1, -1), ints(far, -far), ints(0, 1), ints(2, -2)]},
  {op: 'Slice', name: 'to the last but one', inputs: [floats(7), ints(-3), ints(-1)]},
  {op: 'Slice', name: 'nothing left', inputs: [floats(2, 3), ints(2), ints(1), ints(1)]},
  {op: 'Slice', name: 'by attributes', inputs: [floats(5, 6)], attributes: [intsAttribute('starts', 1), intsAttribute('ends', 4), intsAttribute('axes', 1)], opset: 9}, // prettier-ignore
  {op: 'Unsqueeze', inputs: [floats(2, 3), ints(0, -1)]},
  {op: 'Unsqueeze', name: 'by attribute', inputs: [floats(2, 3)], attributes: [intsAttribute('axes', 1)], opset: 11},
  {op: 'Squeeze', inputs: [floats(1, 3, 1), ints(-1)]},
  {op: 'Squeeze', name: 'all', inputs: [floats(1, 3, 1)]},
  {op: 'Reshape', inputs: [floats(4, 3, 2), ints(0, -1)]},
  {op: 'Flatten', inputs: [floats(4, 3, 2)], attributes: [intAttribute('axis', -1)]},
  {op: 'Transpose', inputs: [floats(4, 3, 2)], attributes: [intsAttribute('perm', 2, 0, 1)]},
  {op: 'Transpose', name: 'reversed', inputs: [floats(4, 3, 2)]},
  {op: 'Expand', inputs: [floats(3, 1), ints(2, 1, 4)]},
  {op: 'Tile', inputs: [floats(2, 3), ints(3, 2)]},
  {op: 'Range', inputs: [int(7), int(-2), int(-4)]},
  {op: 'Split', inputs: [floats(2, 7)], attributes: [intAttribute('axis', 1), intAttribute('num_outputs', 3)], outputs: 3, opset: 18}, // prettier-ignore
  {op: 'Split', name: 'by lengths', inputs: [floats(5, 2), ints(1, 4)], outputs: 2},
  {op: 'ScatterND', inputs: [floats(4, 3), grid(2, 1, 1), floats(2, 3)]},
  {op: 'GatherND', inputs: [floats(4, 3), grid(2, 1, 1)]},
  {op: 'GatherND', name: 'of single elements', inputs: [floats(4, 5, 4), grid(2, 3, -2)]},
  {op: 'Trilu', inputs: [floats(2, 3, 4), int(1)], opset: 14},
  {op: 'Trilu', name: 'lower', inputs: [floats(3, 4)], attributes: [intAttribute('upper', 0)], opset: 14},
  {op: 'CumSum', inputs: [floats(3, 4, 2), int(1)]},
  {op: 'Clip', inputs: [floats(9), undefined, hostArray('float32', [], [0.5])]},
  {op: 'Gemm', inputs: [floats(3, 4), floats(4, 2), floats(2)]},
  {op: 'Gemm', name: 'transposed', inputs: [floats(3, 4), floats(5, 4)], attributes: [intAttribute('transB', 1)]},
  {op: 'Conv', inputs: [floats(2, 3, 4, 5), floats(6, 3, 1, 1), floats(6)]},
  {op: 'Softmax', inputs: [floats(2, 3, 5)], attributes: [intAttribute('axis', -1)]},
  {op: 'MatMul', inputs: [floats(2, 1, 3, 4), floats(5, 4, 2)]},
  {op: 'Less', inputs: [grid(2, 3), int(0)]},
  {op: 'LessOrEqual', inputs: [grid(2, 3), int(0)]},
  {op: 'Greater', inputs: [grid(2, 3), grid(1, 3, -4)]},
  {op: 'GreaterOrEqual', inputs: [grid(2, 3), int(0)]},
  {op: 'Equal', inputs: [grid(2, 3), int(0)]},
  {op: 'Add', inputs: [floats(3, 1), floats(4)]},
  {op: 'Sub', inputs: [grid(2, 3), grid(2, 1)]},
  {op: 'Mul', inputs: [floats(3, 1), floats(4)]},
  {op: 'Div', inputs: [floats(3, 1), floats(4)]},
  {op: 'Div', name: 'of integers', inputs: [grid(3, 3, -4), int(3)]},
  {op: 'Mod', inputs: [grid(3, 3, -4), int(3)]},
  {op: 'Mod', name: "with the dividend's sign", inputs: [grid(3, 3, -4), int(3)], attributes: [intAttribute('fmod', 1)]}, // prettier-ignore
  {op: 'Pow', inputs: [floats(5), hostArray('float32', [], [2])]},
  {op: 'Sum', inputs: [floats(2, 3), floats(3), floats(2, 1)]},
  {op: 'Min', inputs: [floats(2, 3), floats(3), floats(2, 1)]},
  {op: 'Max', inputs: [floats(2, 3), floats(3), floats(2, 1)]},
  ...['Neg', 'Abs', 'Sign', 'Exp', 'Sin', 'Cos', 'Tanh', 'Sigmoid', 'Relu', 'Floor', 'Ceil', 'Reciprocal'].map((op) => ({op, inputs: [floats(7)]})), // prettier-ignore
  {op: 'Sqrt', inputs: [hostArray('float32', [3], [0, 2, 9])]},
  {op: 'Log', inputs: [hostArray('float32', [3], [0.5, 2, 9])]},
  {op: 'Round', inputs: [hostArray('float32', [8], [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4, -2.6])]},
  ...['ReduceMean', 'ReduceProd', 'ReduceMax', 'ReduceMin', 'ReduceSumSquare', 'ReduceL2'].map((op) => ({
    op,
    inputs: [floats(2, 3, 4)],
    attributes: [intsAttribute('axes', 0, -1), intAttribute('keepdims', 0)],
    opset: 13,
  })),
  {op: 'ReduceMean', name: 'over all', inputs: [floats(2, 3)], opset: 13},
  {op: 'ReduceSum', inputs: [floats(2, 3, 4), ints(1)]},
  {op: 'ReduceSum', name: 'over none', inputs: [floats(2, 3)], attributes: [intAttribute('noop_with_empty_axes', 1)]},
  {op: 'BatchNormalization', inputs: [floats(2, 3, 4), floats(3), floats(3), floats(3), hostArray('float32', [3], [1, 2, 3])]}, // prettier-ignore
];

describe('what ONNX Runtime computes of the same constants', () => {
  test('every operator has a case', () => {
    const tested = new Set([...cases.map(({op}) => op), 'Where', 'And', 'Or', 'Xor', 'Not']);
    expect([...evaluators.keys()].filter((op) => !tested.has(op))).toEqual([]);
  });

  test.each(cases.map((each) => [`${each.op}${each.name === undefined ? '' : `, ${each.name}`}`, each] as const))(
    '%s',
    async (_, {attributes = [], inputs, op, opset = 17, outputs = 1}) => {
      const ours = evaluators.get(op)!(inputs, reader(attributes), outputs);
      const theirs = await inRuntime(op, inputs, attributes, outputs, opset);
      expect(ours).toHaveLength(outputs);
      ours.forEach(({data, shape}, index) => {
        expect(data).toHaveLength(shape.reduce((product, size) => product * size, 1));
        expect(data).toHaveLength(theirs[index]!.length);
        data.forEach((value, i) => expect(value).toBeCloseTo(theirs[index]![i]!, 5));
      });
    },
  );

  test('weights that a network standardizes, in training mode', () => {
    const inputs = [floats(1, 3, 8), floats(3), floats(3), floats(3), floats(3)];
    const [ours] = evaluators.get('BatchNormalization')!(inputs, reader([intAttribute('training_mode', 1)]), 1);
    // The same in other operators: (x - mean) / sqrt(variance + epsilon) * scale + shift over the last axis.
    const x = [...inputs[0]!.data];
    for (let channel = 0; channel < 3; channel++) {
      const row = x.slice(8 * channel, 8 * channel + 8);
      const mean = row.reduce((sum, value) => sum + value, 0) / 8;
      const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 8;
      const [scale, shift] = [inputs[1]!.data[channel]!, inputs[2]!.data[channel]!];
      row.forEach((value, i) => {
        const expected = ((value - mean) / Math.sqrt(variance + 1e-5)) * scale + shift;
        expect(ours!.data[8 * channel + i]).toBeCloseTo(expected, 5);
      });
    }
  });

  test('truth values', () => {
    const bool = (...values: number[]): HostArray => hostArray('bool', [values.length], values);
    const [a, b] = [bool(0, 0, 1, 1), bool(0, 1, 0, 1)];
    const of = (op: string, ...inputs: HostArray[]): number[] => [...evaluators.get(op)!(inputs, none, 1)[0]!.data];
    expect(of('And', a, b)).toEqual([0, 0, 0, 1]);
    expect(of('Or', a, b)).toEqual([0, 1, 1, 1]);
    expect(of('Xor', a, b)).toEqual([0, 1, 1, 0]);
    expect(of('Not', a)).toEqual([1, 1, 0, 0]);
    expect(of('Where', b, ints(1, 2, 3, 4), int(9))).toEqual([9, 2, 9, 4]);
  });
});

/** With a number of images in place of N. */
function atBatch({batch, data, shape, type}: HostArray, images: number): HostArray {
  return hostArray(
    type,
    shape,
    data.map((value, i) => value + (batch?.[i] ?? 0) * images),
  );
}

describe('numbers that depend on the size of the batch', () => {
  const whole = fc.integer({min: -4, max: 4});
  const array = fc.array(fc.tuple(whole, whole), {minLength: 1, maxLength: 1}).map((pairs) =>
    withBatch(
      ints(...pairs.map(([value]) => value)),
      Float64Array.from(pairs, ([, slope]) => slope),
    ),
  );
  const operators = ['Add', 'Sub', 'Mul', 'Div', 'Min', 'Max', 'Equal', 'Less', 'Greater', 'LessOrEqual', 'GreaterOrEqual']; // prettier-ignore

  test.each(operators)('%s is that of every size of the batch, or refused', (op) => {
    let computed = 0;
    fc.assert(
      fc.property(array, array, (a, b) => {
        let result: HostArray;
        try {
          [result] = evaluators.get(op)!([a, b], none, 1) as [HostArray];
        } catch {
          return;
        }
        computed++;
        for (const images of [1, 2, 7]) {
          const [expected] = evaluators.get(op)!([atBatch(a, images), atBatch(b, images)], none, 1);
          expect([...atBatch(result, images).data].map((value) => value + 0)).toEqual(
            [...expected!.data].map((value) => value + 0),
          );
        }
      }),
      {numRuns: 2000, seed: 1},
    );
    expect(computed).toBeGreaterThan(0);
  });

  test('a shape that is taken apart and put together again', () => {
    const shape = shapeArray([-1, 6, 4, 2], none);
    const of = (op: string, inputs: HostArray[], attributes: OnnxAttribute[] = []): HostArray =>
      evaluators.get(op)!(inputs, reader(attributes), 1)[0]!;
    const first = of('Gather', [shape, int(0)]);
    const rows = of('Mul', [first, int(6)]);
    const again = of('Concat', [of('Unsqueeze', [rows, ints(0)]), of('Slice', [shape, ints(2), ints(9)])], [intAttribute('axis', 0)]); // prettier-ignore
    expect(atBatch(again, 5).data).toEqual(Float64Array.of(30, 4, 2));
    expect(atBatch(of('Div', [rows, int(3)]), 5).data).toEqual(Float64Array.of(10));
    expect(() => of('Div', [rows, int(4)])).toThrow('depends on the size of the batch');
    expect(() => of('Sqrt', [rows])).toThrow('depends on the size of the batch');
    expect(of('Where', [of('Equal', [shape, ints(-1, -1, -1, -1)]), int(1), shape])).toEqual(shape);
  });

  test('a constant for every image has one value for all of them', () => {
    const token = floats(1, 1, 3);
    const shape = withBatch(ints(0, 1, 3), Float64Array.of(1, 0, 0));
    const [expanded] = evaluators.get('Expand')!([token, shape], none, 1);
    expect(expanded).toEqual({...token, perImage: true});
    const [again] = evaluators.get('Shape')!([expanded], none, 1);
    expect(atBatch(again!, 4).data).toEqual(Float64Array.of(4, 1, 3));
    expect(() => evaluators.get('Transpose')!([expanded], none, 1)).toThrow('a value for every image');
  });

  test('several entries for every image, and what is computed of them', () => {
    const windows = {...floats(1, 3, 2), perImage: true} as const;
    const of = (op: string, ...inputs: HostArray[]): HostArray => evaluators.get(op)!(inputs, none, 1)[0]!;
    const [entries] = [of('Reshape', windows, ints(-1, 1, 2))];
    expect(entries).toEqual({...floats(3, 1, 2), perImage: true});
    expect(of('Reshape', windows, withBatch(ints(0, 2), Float64Array.of(3, 0)))).toMatchObject({shape: [3, 2]});
    expect(atBatch(of('Shape', entries), 4).data).toEqual(Float64Array.of(12, 1, 2));
    const sum = of('Add', entries, floats(1, 4, 1));
    expect(sum).toMatchObject({shape: [3, 4, 2], perImage: true});
    expect(sum.data[9]).toBeCloseTo(entries.data[3]! + floats(1, 4, 1).data[0]!, 6);
    for (const other of [floats(3, 1, 2), {...floats(1, 1, 2), perImage: true} as const]) {
      expect(() => of('Add', entries, other)).toThrow('a value for every image');
    }
    expect(() => of('Reshape', windows, ints(6))).toThrow('a value for every image');
    expect(() => of('Reshape', windows, withBatch(ints(1, 0), Float64Array.of(0, 6)))).toThrow(
      'its batch is not the first axis',
    );
  });
});

test('a Resize of constants with more weights than values is refused', () => {
  const column = hostArray('float32', [1, 1, 2 ** 14, 1], new Float32Array(2 ** 14));
  expect(() => evaluators.get('Resize')!([column, undefined, undefined, ints(1, 1, 2 ** 15, 1)], none, 1)).toThrow(
    'it makes 32768 places of 16384, too many to compute',
  );
});

test('what would not fit into memory is refused before anything is reserved', () => {
  const huge = ints(65536, 65536, 65536);
  for (const [op, inputs] of [
    ['ConstantOfShape', [huge]],
    ['Expand', [floats(1), huge]],
    ['Tile', [floats(1, 1, 1), huge]],
    ['Range', [int(0), int(2 ** 40), int(1)]],
    ['Resize', [floats(1, 1, 4, 4), undefined, undefined, ints(1, 1, 65536, 65536)]],
  ] as const) {
    expect(() => evaluators.get(op)!(inputs, none, 1)).toThrow(
      /it would have \d+ values; at most 67108864 are computed/,
    );
  }
});
