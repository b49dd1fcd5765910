/** Arithmetic, comparisons and reductions. */
import {item} from '../../../lookup.ts';
import {elements} from '../../ops/operator.ts';
import {typeName} from '../constants.ts';
import {
  NotConstant,
  elementwise,
  fixed,
  hostArray,
  isFloat,
  linear,
  numbers,
  stridesOf,
  walk,
  type HostArray,
} from '../host-array.ts';
import {listOf, need, positive, type Attributes, type Evaluator, type Inputs} from './evaluator.ts';

/** The result on integers beyond which float64 is not exact is refused; on floats it is rounded when it is stored. */
function exact(type: string, value: number): number {
  if (!isFloat(type) && !Number.isSafeInteger(value)) throw new NotConstant(`${value} is no whole number below 2^53`);
  return value;
}

type Linear = Parameters<typeof linear.same>[0];
type LinearRule = (...values: Linear[]) => Linear;

/** Element-wise of two inputs, or of several from the left. */
function arithmetic(
  run: (a: number, b: number, type: string) => number,
  rule?: (a: Linear, b: Linear) => Linear,
): Evaluator {
  return (inputs) => {
    const [first, ...others] = inputs.map((_, index) => need(inputs, index));
    if (first === undefined) throw new NotConstant('it has no inputs');
    const {type} = first;
    return [
      others.reduce(
        (sum, other) => elementwise([sum, other], type, (a, b) => exact(type, run(a, b, type)), rule as LinearRule),
        first,
      ),
    ];
  };
}

function comparison(accepts: (sign: number) => boolean): Evaluator {
  return (inputs) => [
    elementwise(
      [need(inputs, 0), need(inputs, 1)],
      'bool',
      (a, b) => Number(accepts(Math.sign(a - b) || Number(a > b) - Number(a < b))),
      linear.compare(accepts),
    ),
  ];
}

const logical = (run: (a: boolean, b: boolean) => boolean): Evaluator =>
  arithmetic((a, b) => Number(run(a !== 0, b !== 0)));

function unary(run: (value: number) => number, rule?: (value: Linear) => Linear): Evaluator {
  return (inputs) => {
    const x = need(inputs, 0);
    return [elementwise([x], x.type, (value) => exact(x.type, run(value)), rule)];
  };
}

function cast(x: HostArray, type: string): HostArray {
  const convert = (value: number): number => {
    if (isFloat(type)) return value;
    return type === 'bool' ? Number(value !== 0) : Math.trunc(value);
  };
  if (type !== 'bool' && !isFloat(type) && !/^u?int/.test(type))
    throw new NotConstant(`the type ${type} is not computed`);
  return elementwise([x], type, (value) => convert(value), linear.same);
}

/** Half-way cases to the even number, as ONNX has it. */
function roundEven(value: number): number {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** @param combine an element into what its group has so far */
function reduction(
  initial: number,
  combine: (sum: number, value: number) => number,
  finish: (sum: number, count: number) => number = (sum) => sum,
): Evaluator {
  return (inputs, attributes) => {
    const x = fixed(need(inputs, 0));
    const rank = x.shape.length;
    const named = listOf(inputs, attributes, {name: 'axes', index: 1}) ?? [];
    if (named.length === 0 && attributes.int('noop_with_empty_axes', 0) === 1) return [x];
    const axes = new Set(named.length === 0 ? x.shape.keys() : named.map((axis) => positive(axis, rank)));
    const reduced = x.shape.map((size, axis) => (axes.has(axis) ? 1 : size));
    const sums = new Float64Array(elements(reduced)).fill(initial);
    const next = walk(
      x.shape,
      stridesOf(reduced).map((stride, axis) => (axes.has(axis) ? 0 : stride)),
    );
    for (let i = 0; i < x.data.length; i++) {
      const group = next();
      sums[group] = combine(item(sums, group), item(x.data, i));
    }
    const count = x.data.length / sums.length;
    const shape = attributes.int('keepdims', 1) === 1 ? reduced : x.shape.filter((_, axis) => !axes.has(axis));
    return [
      hostArray(
        x.type,
        shape,
        sums.map((sum) => exact(x.type, finish(sum, count))),
      ),
    ];
  };
}

function clip(inputs: Inputs, attributes: Attributes): readonly HostArray[] {
  const x = need(inputs, 0);
  const bound = (index: number, name: string, fallback: number): number =>
    inputs[index] === undefined ? attributes.float(name, fallback) : item(numbers(inputs[index]), 0);
  const [least, greatest] = [bound(1, 'min', -Infinity), bound(2, 'max', Infinity)];
  return [elementwise([x], x.type, (value) => Math.min(Math.max(value, least), greatest))];
}

const divide = (a: number, b: number, type: string): number => {
  if (isFloat(type)) return a / b;
  if (b === 0) throw new NotConstant('it divides by 0');
  return Math.trunc(a / b);
};

const squares = (sum: number, value: number): number => sum + value * value;

export const elementWise: readonly (readonly [string, Evaluator])[] = [
  ['Cast', (inputs, attributes) => [cast(need(inputs, 0), typeName(attributes.int('to', 0)))]],
  ['CastLike', (inputs) => [cast(need(inputs, 0), need(inputs, 1).type)]],
  ['Clip', clip],
  [
    'Where',
    (inputs) => {
      const [condition, yes, no] = [0, 1, 2].map((index) => need(inputs, index)) as [HostArray, HostArray, HostArray];
      const select = (c = 0, a = 0, b = 0): number => (c === 0 ? b : a);
      return [elementwise([condition, yes, no], yes.type, select, linear.select)];
    },
  ],
  ['Equal', comparison((sign) => sign === 0)],
  ['Less', comparison((sign) => sign < 0)],
  ['Greater', comparison((sign) => sign > 0)],
  ['LessOrEqual', comparison((sign) => sign <= 0)],
  ['GreaterOrEqual', comparison((sign) => sign >= 0)],
  ['And', logical((a, b) => a && b)],
  ['Or', logical((a, b) => a || b)],
  ['Xor', logical((a, b) => a !== b)],
  ['Not', unary((a) => Number(a === 0))],
  ['Add', arithmetic((a, b) => a + b, linear.add)],
  ['Sum', arithmetic((a, b) => a + b, linear.add)],
  ['Sub', arithmetic((a, b) => a - b, linear.subtract)],
  ['Mul', arithmetic((a, b) => a * b, linear.multiply)],
  ['Div', arithmetic(divide, linear.divide)],
  [
    'Mod',
    (inputs, attributes) =>
      arithmetic((a, b) => (attributes.int('fmod', 0) === 1 ? a % b : a - b * Math.floor(a / b)))(
        inputs,
        attributes,
        1,
      ),
  ],
  ['Pow', arithmetic((a, b, type) => (isFloat(type) ? a ** b : Math.trunc(a ** b)))],
  ['Min', arithmetic((a, b) => Math.min(a, b), linear.least)],
  ['Max', arithmetic((a, b) => Math.max(a, b), linear.greatest)],
  ['Neg', unary((a) => -a, linear.negate)],
  ['Abs', unary(Math.abs)],
  ['Sign', unary(Math.sign)],
  ['Sqrt', unary(Math.sqrt)],
  ['Reciprocal', unary((a) => 1 / a)],
  ['Exp', unary(Math.exp)],
  ['Log', unary(Math.log)],
  ['Sin', unary(Math.sin)],
  ['Cos', unary(Math.cos)],
  ['Tanh', unary(Math.tanh)],
  ['Sigmoid', unary((a) => 1 / (1 + Math.exp(-a)))],
  ['Relu', unary((a) => Math.max(a, 0))],
  ['Floor', unary(Math.floor)],
  ['Ceil', unary(Math.ceil)],
  ['Round', unary(roundEven)],
  ['ReduceSum', reduction(0, (sum, value) => sum + value)],
  ['ReduceMean', reduction(0, (sum, value) => sum + value, (sum, count) => sum / count)], // prettier-ignore
  ['ReduceProd', reduction(1, (product, value) => product * value)],
  ['ReduceMax', reduction(-Infinity, Math.max)],
  ['ReduceMin', reduction(Infinity, Math.min)],
  ['ReduceSumSquare', reduction(0, squares)],
  ['ReduceL2', reduction(0, squares, Math.sqrt)],
];
