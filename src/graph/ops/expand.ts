/**
 * Repeats axes of size 1. A parameter becomes a value of every image by an axis of the batch: in the attribute `shape`, −k
 * stands for k entries an image.
 */
import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {integerTensor} from '../onnx/tensors.ts';
import {constantInput, elements, integers, plain, type Operand, type OperatorOf} from './operator.ts';
import {broadcastedSizes, sizesOf, tensorSizes, valueOf, type Sizes} from './sizes.ts';

function target(node: Node, x: Operand): Sizes {
  const shape = integers(node, 'shape', undefined, -Infinity);
  return broadcastedSizes(node, [
    [x.name, sizesOf(x)],
    ['shape', shape],
  ]);
}

export const expand: OperatorOf<1> = {
  op: 'Expand',
  inputs: [1, 1],
  attributes: ['shape'],
  anyBatch: true,
  infer: (node, [x]) => ({...valueOf(node, target(node, x)), signed: x.signed}),
  cost: (_node, [x]) => ({macs: 0, parameters: x.parameter ? elements(x.shape) : 0}),
  layout: plain,
  run: (tf, _node, [x], {images, output}) => {
    const shape = tensorSizes(sizesOf(output), images);
    return tf.broadcastTo(tf.reshape(x, [...new Array<number>(shape.length - x.rank).fill(1), ...x.shape]), shape);
  },

  fromOnnx(node, constant) {
    const shape = constantInput(node, 1, constant);
    if (shape === undefined) return node;
    // In a network that was saved for one image, a parameter's 1 in the first place stands for the batch.
    const ofParameter = constant(item(node.inputs, 0)) !== undefined;
    const marked = ofParameter && shape[0] === 1 ? [-1, ...shape.slice(1)] : shape;
    return {...node, inputs: node.inputs.slice(0, 1), attributes: {...node.attributes, shape: marked}};
  },

  toOnnx(node, input) {
    const shape = integers(node, 'shape', undefined, -Infinity);
    const batch = shape.findIndex((size) => size < 0);
    const list = (name: string, values: readonly number[]) =>
      integerTensor(`${node.name}.${name}`, 'int64', [values.length], values);
    if (batch === -1) return {op: 'Expand', attributes: {}, constants: [list('shape', shape)]};
    // [..., k · N, ...] with N from the graph's input.
    const [before, after] = [list('before', shape.slice(0, batch)), list('after', shape.slice(batch + 1))];
    const perImage = list('perImage', [-item(shape, batch)]);
    const [images, entries, whole] = [`${node.name}.images`, `${node.name}.entries`, `${node.name}.shape`];
    return {
      op: 'Expand',
      attributes: {},
      constants: [],
      computed: {
        nodes: [
          {op: 'Shape', inputs: [input], output: images, attributes: {start: 0, end: 1}},
          {op: 'Mul', inputs: [images, perImage.name], output: entries, attributes: {}},
          {op: 'Concat', inputs: [before.name, entries, after.name], output: whole, attributes: {axis: 0}},
        ],
        constants: [before, after, perImage],
      },
    };
  },
};
