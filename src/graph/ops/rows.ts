/** Windows over rows [channels, length] as windows over images that are one pixel high. */
import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import type {Operand, OperatorOf} from './operator.ts';

/** The attributes of a window over rows for such images. */
export function asImages(node: Node): Node {
  const lift: Readonly<Record<string, (list: readonly number[]) => readonly number[]>> = {
    kernel_shape: (list) => [1, item(list, 0)],
    strides: (list) => [1, item(list, 0)],
    dilations: (list) => [1, item(list, 0)],
    pads: (list) => [0, item(list, 0), 0, item(list, 1)],
  };
  const attributes = Object.entries(node.attributes).map(([name, value]) => [
    name,
    Array.isArray(value) ? (lift[name]?.(value as readonly number[]) ?? value) : value,
  ]);
  return {...node, attributes: Object.fromEntries(attributes) as Node['attributes']};
}

/** [channels, length] → [channels, 1, length]; likewise of weights. */
export const withHeight = (operand: Operand): Operand => ({
  ...operand,
  shape: operand.shape.toSpliced(operand.shape.length - 1, 0, 1),
});

/** A pooling operator of images, for rows as well. */
export function pooling(ofImages: OperatorOf<1>): OperatorOf<1> {
  const isRows = (rank: number): boolean => rank === 2;
  return {
    ...ofImages,
    infer(node, [x]) {
      if (!isRows(x.shape.length) || x.parameter) return ofImages.infer(node, [x]);
      const {shape, ...output} = ofImages.infer(asImages(node), [withHeight(x)]);
      return {...output, shape: [item(shape, 0), item(shape, 2)]};
    },
    run(tf, node, [x], options) {
      if (!isRows(x.rank - 1)) return ofImages.run(tf, node, [x], options);
      return tf.squeeze(ofImages.run(tf, asImages(node), [tf.expandDims(x, 1)], options), [1]);
    },
  };
}
