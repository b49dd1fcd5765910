/** a · b, with broadcasting. */
import {binary} from './elementwise.ts';

export const mul = binary('Mul', (tf, a, b) => tf.mul(a, b));
