/** A border of one value, or of the input's own elements. */
import type * as tfjs from '@tensorflow/tfjs-core';

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

/** The lowest number of float32. It stands for −∞, which attributes in JSON cannot hold. */
export const lowestFloat = -3.4028234663852886e38;

type Mode = 'constant' | 'reflect' | 'edge' | 'wrap';

const modeOf = (node: Node): Mode => oneOf<Mode>(node, 'mode', 'constant', ['constant', 'reflect', 'edge', 'wrap']);

/** The element of an axis that stands at each place of the padded axis. */
function sources(mode: Mode, size: number, before: number, after: number): number[] {
  return Array.from({length: before + size + after}, (_, place) => {
    const from = place - before;
    if (mode === 'edge') return Math.min(Math.max(from, 0), size - 1);
    if (mode === 'wrap') return (from + size) % size;
    return from < 0 ? -from : from < size ? from : 2 * (size - 1) - from;
  });
}

export const pad: OperatorOf<1> = {
  op: 'Pad',
  inputs: [1, 1],
  attributes: ['mode', 'pads', 'value'],

  infer(node, [x]) {
    expectValue(node, x);
    const mode = modeOf(node);
    const [, ...around] = borders(node, x.shape.length + 1);
    const most = (size: number): number => (mode === 'reflect' ? size - 1 : mode === 'wrap' ? size : Infinity);
    const tooWide = x.shape.find((size, axis) => Math.max(...item(around, axis)) > most(size));
    if (tooWide !== undefined) {
      throw nodeError(node, `an axis of ${tooWide} takes pads up to ${most(tooWide)} in the mode ${mode}.`);
    }
    return {
      shape: x.shape.map((size, axis) => item(around, axis)[0] + size + item(around, axis)[1]),
      signed: x.signed || (mode === 'constant' && float(node, 'value', 0) < 0),
    };
  },

  cost: noCost,

  run(tf, node, [x], {layout}) {
    const around = borders(node, x.rank).map(([before, after]): [number, number] => [before, after]);
    const inMemory = memoryOrder(x.rank, layout).map((axis) => item(around, axis));
    const mode = modeOf(node);
    if (mode === 'constant') return tf.pad(x, inMemory, float(node, 'value', 0));
    return inMemory.reduce(
      (y: tfjs.Tensor, [before, after], axis) =>
        before + after === 0
          ? y
          : tf.gather(y, tf.tensor1d(sources(mode, item(x.shape, axis), before, after), 'int32'), axis),
      tf.clone(x),
    );
  },
  since: (node) => (modeOf(node) === 'wrap' ? 20 : 17),

  toOnnx(node) {
    const pads = integers(node, 'pads', undefined, 0);
    const mode = modeOf(node);
    const value = mode === 'constant' ? [scalar(`${node.name}.value`, float(node, 'value', 0))] : [];
    return {
      op: 'Pad',
      attributes: {mode},
      constants: [integerTensor(`${node.name}.pads`, 'int64', [pads.length], pads), ...value],
    };
  },

  fromOnnx(node, constant) {
    const [pads, [value] = [], axes] = [1, 2, 3].map((index) => constantInput(node, index, constant));
    if (axes !== undefined) throw nodeError(node, 'it pads chosen axes (input "axes"); sdq pads all axes.');
    return {
      ...node,
      inputs: node.inputs.slice(0, 1),
      attributes: {
        ...node.attributes,
        ...(pads && {pads}),
        ...(value === undefined ? {} : {value: Math.min(Math.max(value, lowestFloat), -lowestFloat)}),
      },
    };
  },
};
