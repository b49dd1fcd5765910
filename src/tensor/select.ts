/** The choice between two tensors, element by element. */
import * as tf from '@tensorflow/tfjs-core';

import {withGradient} from './custom-gradient.ts';
import {sumToShape} from './sum-to-shape.ts';

/**
 * `yes` where the condition is 1, `no` where it is 0: broadcast to one shape. What is not chosen may be infinite or no number.
 * Each gets the gradient of its elements.
 */
export function select(condition: tf.Tensor, yes: tf.Tensor, no: tf.Tensor): tf.Tensor {
  const choose = (chosen: tf.Tensor, a: tf.Tensor, b: tf.Tensor): tf.Tensor =>
    tf.tidy(() => tf.where(tf.cast(chosen, 'bool'), a, b));
  return withGradient(
    [yes, no],
    (save) => {
      save([condition]);
      return choose(condition, yes, no);
    },
    (dy, saved) => {
      const [chosen] = saved as [tf.Tensor];
      const none = tf.zerosLike(dy);
      return [sumToShape(choose(chosen, dy, none), yes.shape), sumToShape(choose(chosen, none, dy), no.shape)];
    },
  );
}
