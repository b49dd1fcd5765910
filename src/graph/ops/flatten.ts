/** All of an image as one row of features, in ONNX's order: channel, row, column. */
import {axisIn, type Sizes} from './sizes.ts';
import {integer, nodeError} from './operator.ts';
import type {Node} from '../graph.ts';
import {regrouping} from './reshape.ts';

function rows(node: Node, from: Sizes): Sizes {
  const axis = axisIn(node, integer(node, 'axis', 1, -from.length), from.length);
  const product = (sizes: Sizes): number => sizes.reduce((all, size) => all * size, 1);
  if (axis === 0) throw nodeError(node, 'attribute "axis" is 0; sdq keeps the batch axis separate.');
  return [product(from.slice(0, axis)), product(from.slice(axis))];
}

export const flatten = regrouping('Flatten', ['axis'], rows);
