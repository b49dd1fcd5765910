/** ONNX's operators on arrays that a file fixes: what a network computes of its own shapes and weights, whatever the image. */
import {elementWise} from './element-wise.ts';
import type {Evaluator} from './evaluator.ts';
import {movement} from './movement.ts';
import {products} from './products.ts';
import {resizing} from './resize.ts';
import {shapes} from './shapes.ts';

export const evaluators: ReadonlyMap<string, Evaluator> = new Map([
  ...elementWise,
  ...movement,
  ...products,
  ...resizing,
  ...shapes,
]);
