/** Einsum of two inputs that is a product of matrices, as a MatMul between transpositions. */
import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {nodeError} from '../ops/operator.ts';
import {sizesOf} from '../ops/sizes.ts';
import {moved, stridesOf, walk} from './host-array.ts';
import type {RewriteContext} from './rewrite.ts';

interface Product {
  /** The inputs in the order of the product. */
  readonly inputs: readonly [string, string];
  /** Letters of the axes of each factor and of the result, as MatMul wants them. */
  readonly left: readonly string[];
  readonly right: readonly string[];
  readonly result: readonly string[];
}

/** @returns undefined where it is no product of matrices over one common axis */
function productOf(a: string, b: string, out: string, inputs: readonly [string, string]): Product | undefined {
  const letters = Array.from(new Set(a + b));
  const inBoth = letters.filter((letter) => a.includes(letter) && b.includes(letter));
  const onlyLeft = Array.from(out).filter((letter) => a.includes(letter) && !b.includes(letter));
  const onlyRight = Array.from(out).filter((letter) => b.includes(letter) && !a.includes(letter));
  const summed = letters.filter((letter) => !out.includes(letter));
  const isOnce = [a, b, out].every((term) => new Set(term).size === term.length);
  if (!isOnce || summed.length !== 1 || !inBoth.includes(item(summed, 0))) return undefined;
  if (onlyLeft.length === 0 || onlyRight.length === 0) return undefined;
  // Axes of one factor alone are broadcast over the other: the right one has its columns and no more.
  if (onlyRight.length > 1) return onlyLeft.length > 1 ? undefined : productOf(b, a, out, [inputs[1], inputs[0]]);
  const shared = inBoth.filter((letter) => out.includes(letter));
  const rows = item(onlyLeft, onlyLeft.length - 1);
  const lead = [...onlyLeft.slice(0, -1), ...shared];
  return {
    inputs,
    left: [...lead, rows, ...summed],
    right: [...shared, ...summed, ...onlyRight],
    result: [...lead, rows, ...onlyRight],
  };
}

/** @throws SdqError (exit 3) for any other equation */
export function einsum(node: Node, {constant, define, operand}: RewriteContext): readonly Node[] {
  const [x = '', y = ''] = node.inputs;
  const equation = String(node.attributes['equation']).replaceAll(' ', '');
  const [, a = '', b = '', out = ''] = /^([a-z]+),([a-z]+)->([a-z]+)$/i.exec(equation) ?? [];
  const product = productOf(a, b, out, [x, y]);
  if (product === undefined) {
    throw nodeError(
      node,
      `attribute "equation" is "${equation}"; it takes products of two matrices over one common axis.`,
    );
  }
  const nodes: Node[] = [];
  const output = item(node.outputs, 0);
  const ordered = (name: string, from: string, to: readonly string[], suffix: string): string => {
    const rank = constant(name)?.array.shape.length ?? sizesOf(operand(name)).length;
    if (rank !== from.length) throw nodeError(node, `input "${name}" has ${rank} axes; the equation is "${equation}".`);
    const perm = to.map((letter) => from.indexOf(letter));
    if (perm.every((axis, index) => axis === index)) return name;
    const turned = `${output}.${suffix}`;
    const known = constant(name);
    if (known === undefined) {
      nodes.push({name: '', op: 'Transpose', inputs: [name], outputs: [turned], attributes: {perm}});
      return turned;
    }
    const strides = stridesOf(known.array.shape);
    const shape = perm.map((axis) => item(known.array.shape, axis));
    const next = walk(
      shape,
      perm.map((axis) => item(strides, axis)),
    );
    define(turned, {...known, array: moved(known.array, shape, next)});
    return turned;
  };
  const isSwapped = product.inputs[0] !== x;
  const inputs = [
    ordered(product.inputs[0], isSwapped ? b : a, product.left, 'left'),
    ordered(product.inputs[1], isSwapped ? a : b, product.right, 'right'),
  ];
  const perm = Array.from(out).map((letter) => product.result.indexOf(letter));
  const {name, outputs} = node;
  if (perm.every((axis, index) => axis === index)) {
    return [...nodes, {name, op: 'MatMul', inputs, outputs, attributes: {}}];
  }
  const matrix = `${output}.product`;
  return [
    ...nodes,
    {name, op: 'MatMul', inputs, outputs: [matrix], attributes: {}},
    {name: '', op: 'Transpose', inputs: [matrix], outputs, attributes: {perm}},
  ];
}
