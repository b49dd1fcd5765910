/** 1 / (1 + e^−x). */
import {unary} from './elementwise.ts';

export const sigmoid = unary('Sigmoid', (tf, x) => tf.sigmoid(x), {signed: false});
