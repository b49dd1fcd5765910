/** Batch normalisation by running statistics (training by batch statistics is a fused operator, see network.ts). */
import {item} from '../../lookup.ts';
import {channelsLast, expectParameter, expectValue, float, type OperatorOf} from './operator.ts';

export const batchNormalization: OperatorOf<5> = {
  op: 'BatchNormalization',
  inputs: [5, 5],
  attributes: ['epsilon', 'momentum'],

  infer(node, [x, ...parameters]) {
    expectValue(node, x);
    float(node, 'epsilon', 1e-5);
    float(node, 'momentum', 0.9);
    for (const parameter of parameters) expectParameter(node, parameter, [item(x.shape, 0)]);
    return {shape: x.shape, signed: true};
  },

  cost: (_node, [, gamma]) => ({macs: 0, parameters: 2 * item(gamma.shape, 0)}),

  layout: channelsLast,

  run(tf, node, inputs) {
    const [x, gamma, beta, mean, variance] = inputs as [(typeof inputs)[0], ...typeof inputs];
    const factor = tf.mul(gamma, tf.rsqrt(tf.add(variance, float(node, 'epsilon', 1e-5))));
    return tf.add(tf.mul(x, factor), tf.sub(beta, tf.mul(mean, factor)));
  },
};
