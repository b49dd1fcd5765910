/** A border of one value. */
import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {memoryOrder} from '../layout.ts';
import {integerTensor, scalar} from '../onnx/tensors.ts';
import {
  constantInput,
  expectValue,
  float,
  integers,
  noCost,
  nodeError,
  oneOf,
  show,
  type OperatorOf,
} from './operator.ts';

/** [before, after] an axis in ONNX's order, the batch included. */
function borders(node: Node, rank: number): readonly (readonly [number, number])[] {
  const pads = integers(node, 'pads', undefined, 0, 2 * rank);
  if (pads[0] !== 0 || pads[rank] !== 0) {
    throw nodeError(node, `attribute "pads" is ${show(pads)}; the batch axis takes 0.`);
  }
  return Array.from({length: rank}, (_, axis) => [item(pads, axis), item(pads, axis + rank)] as const);
}

export const pad: OperatorOf<1> = {
  op: 'Pad',
  inputs: [1, 1],
  attributes: ['mode', 'pads', 'value'],

  infer(node, [x]) {
    expectValue(node, x);
    oneOf(node, 'mode', 'constant', ['constant']);
    const [, ...around] = borders(node, x.shape.length + 1);
    return {
      shape: x.shape.map((size, axis) => item(around, axis)[0] + size + item(around, axis)[1]),
      signed: x.signed || float(node, 'value', 0) < 0,
    };
  },

  cost: noCost,

  run(tf, node, [x], {layout}) {
    const around = borders(node, x.rank).map(([before, after]): [number, number] => [before, after]);
    const inMemory = memoryOrder(x.rank, layout).map((axis) => item(around, axis));
    return tf.pad(x, inMemory, float(node, 'value', 0));
  },
  toOnnx(node) {
    const pads = integers(node, 'pads', undefined, 0);
    return {
      op: 'Pad',
      attributes: {mode: 'constant'},
      constants: [
        integerTensor(`${node.name}.pads`, 'int64', [pads.length], pads),
        scalar(`${node.name}.value`, float(node, 'value', 0)),
      ],
    };
  },

  fromOnnx(node, constant) {
    const [pads, [value] = [], axes] = [1, 2, 3].map((index) => constantInput(node, index, constant));
    if (axes !== undefined)
      throw nodeError(node, 'it pads axes of its own choice (input "axes"); sdq takes all of them.');
    return {
      ...node,
      inputs: node.inputs.slice(0, 1),
      attributes: {...node.attributes, ...(pads && {pads}), ...(value === undefined ? {} : {value})},
    };
  },
};
