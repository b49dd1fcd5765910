/** The input as it is. */
import {unary} from './elementwise.ts';

export const identity = unary('Identity', (tf, x) => tf.clone(x));
