/** max(x, 0). */
import {unary} from './elementwise.ts';

export const relu = unary('Relu', (tf, x) => tf.relu(x), {signed: false});
