/**
 * All axes of an operand in ONNX's order. The size of the batch axis is written as −k, where each image has k entries of
 * it: [-1, 197, 192] are the tokens of a ViT, [-4, 49, 96] those of four windows an image.
 */
import {item} from '../../lookup.ts';
import type {Node} from '../graph.ts';
import {nodeError, show, type Operand} from './operator.ts';

export type Sizes = readonly number[];

export function sizesOf({parameter, shape, batchAxis = 0, perImage = 1}: Operand): Sizes {
  return parameter ? shape : shape.toSpliced(batchAxis, 0, -perImage);
}

/** @throws SdqError (exit 3) where not exactly one axis is the batch's */
export function valueOf(node: Node, sizes: Sizes): Pick<Operand, 'shape' | 'batchAxis' | 'perImage'> {
  const batchAxis = sizes.findIndex((size) => size < 0);
  if (batchAxis === -1 || sizes.some((size, axis) => size < 0 && axis !== batchAxis)) {
    throw nodeError(node, `its output ${showSizes(sizes)} must have one axis of the batch.`);
  }
  const perImage = -item(sizes, batchAxis);
  return {
    shape: sizes.toSpliced(batchAxis, 1),
    ...(batchAxis === 0 ? {} : {batchAxis}),
    ...(perImage === 1 ? {} : {perImage}),
  };
}

/** The sizes with the number of images in place: those of a tensor. */
export function tensorSizes(sizes: Sizes, images: number): number[] {
  return sizes.map((size) => (size < 0 ? -size * images : size));
}

/** Sizes in messages: the batch axis as `N` or `4N`. */
export function showSizes(sizes: Sizes): string {
  return show(sizes.map((size) => (size < 0 ? `${size === -1 ? '' : -size}N` : size)));
}

/**
 * NumPy's rule: aligned at the last axis, where one size is 1 the other counts.
 * @throws SdqError (exit 3) where the operands do not go together
 */
export function broadcastSizes(node: Node, operands: readonly Operand[]): Sizes {
  return broadcastedSizes(
    node,
    operands.map((operand) => [operand.name, sizesOf(operand)]),
  );
}

/** @param named name and sizes of each operand */
export function broadcastedSizes(node: Node, named: readonly (readonly [string, Sizes])[]): Sizes {
  const rank = Math.max(...named.map(([, {length}]) => length));
  const aligned = named.map(([, sizes]) => [...new Array<number>(rank - sizes.length).fill(1), ...sizes]);
  return Array.from({length: rank}, (_, axis) => {
    const sizes = new Set(aligned.map((each) => item(each, axis)).filter((size) => size !== 1));
    if (sizes.size > 1) {
      const shown = named.map(([name, each]) => `"${name}" ${showSizes(each)}`).join(' and ');
      throw nodeError(node, `inputs ${shown} do not broadcast to one shape.`);
    }
    return [...sizes][0] ?? 1;
  });
}

/** An axis attribute counted from the start. @throws SdqError (exit 3) where there is no such axis */
export function axisIn(node: Node, axis: number, rank: number, name = 'axis'): number {
  if (!Number.isSafeInteger(axis) || axis < -rank || axis >= rank) {
    throw nodeError(node, `attribute "${name}" is ${axis}; it takes ${-rank} … ${rank - 1}.`);
  }
  return axis < 0 ? axis + rank : axis;
}
