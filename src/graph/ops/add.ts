/** a + b, with broadcasting. */
import {binary} from './elementwise.ts';

export const add = binary('Add', (tf, a, b) => tf.add(a, b));
