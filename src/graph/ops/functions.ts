/** Element-wise functions of one and of two inputs. Names, attributes and their defaults are ONNX's. */
import type * as tfjs from '@tensorflow/tfjs-core';

import {withoutGradient} from './conditions.ts';
import {binary, unary} from './elementwise.ts';
import {oneOf, type Operator, type OperatorOf, type Tf} from './operator.ts';

/** ln(1 + e^x), without overflow. */
const softplus = (tf: Tf, x: tfjs.Tensor): tfjs.Tensor =>
  tf.add(tf.relu(x), tf.log(tf.add(tf.exp(tf.neg(tf.abs(x))), 1)));

/** alpha · (e^(x / width) − 1) where x is negative, else 0. */
const exponentialTail = (tf: Tf, x: tfjs.Tensor, alpha: number, width = 1): tfjs.Tensor =>
  tf.mul(tf.sub(tf.exp(tf.neg(tf.relu(tf.div(tf.neg(x), width)))), 1), alpha);

const negative = unary('Neg', (tf, x) => tf.neg(x), {signed: true});

/** x · Φ(x), or its approximation by tanh (Hendrycks and Gimpel, 2016). */
const gelu: OperatorOf<1> = {
  ...negative,
  op: 'Gelu',
  since: () => 20,
  attributes: ['approximate'],
  infer(node, inputs) {
    oneOf(node, 'approximate', 'none', ['none', 'tanh']);
    return negative.infer(node, inputs);
  },
  run: (_tf, node, [x], {fused}) => fused.gelu(x, oneOf(node, 'approximate', 'none', ['none', 'tanh']) === 'tanh'),
};

/** Every value is float32 here, and so is what a Cast makes of it: importing refuses casts to anything else. */
const cast: OperatorOf<1> = {...unary('Cast', (tf, x) => tf.clone(x)), attributes: ['to', 'saturate']};

export const functions: readonly Operator[] = [
  unary('Abs', (tf, x) => tf.abs(x), {signed: false}),
  cast,
  unary('Ceil', (tf, x) => withoutGradient(tf, () => tf.ceil(x))),
  unary('Celu', (tf, x, {alpha}) => tf.add(tf.relu(x), exponentialTail(tf, x, alpha, alpha)), {defaults: {alpha: 1}}),
  unary('Cos', (tf, x) => tf.cos(x), {signed: true}),
  unary('Elu', (tf, x, {alpha}) => tf.add(tf.relu(x), exponentialTail(tf, x, alpha)), {defaults: {alpha: 1}}),
  unary('Erf', (tf, x) => tf.erf(x)),
  unary('Exp', (tf, x) => tf.exp(x), {signed: false}),
  gelu,
  /** min(max(alpha · x + beta, 0), 1); PyTorch's has alpha 1/6. */
  unary('HardSigmoid', (tf, x, {alpha, beta}) => tf.clipByValue(tf.add(tf.mul(x, alpha), beta), 0, 1), {
    signed: false,
    defaults: {alpha: 0.2, beta: 0.5},
  }),
  /** x · min(max(x + 3, 0), 6) / 6 (Howard et al., 2019). */
  unary('HardSwish', (tf, x) => tf.mul(tf.mul(x, 1 / 6), tf.relu6(tf.add(x, 3)))),
  unary('Floor', (tf, x) => withoutGradient(tf, () => tf.floor(x))),
  unary('Identity', (tf, x) => tf.clone(x)),
  /** x where it is positive, else alpha · x (Maas et al., 2013). */
  unary('LeakyRelu', (_tf, x, {alpha}, {leakyRelu}) => leakyRelu(x, alpha), {defaults: {alpha: 0.01}}),
  unary('Log', (tf, x) => tf.log(x), {signed: true}),
  /** x · tanh(ln(1 + e^x)) (Misra, 2019). */
  {...unary('Mish', (tf, x) => tf.mul(x, tf.tanh(softplus(tf, x)))), since: () => 20},
  negative,
  unary('Reciprocal', (tf, x) => tf.div(1, x)),
  /** max(x, 0). */
  unary('Relu', (tf, x) => tf.relu(x), {signed: false}),
  // Halves go to the even number. Steps have no gradient.
  unary('Round', (tf, x) => withoutGradient(tf, () => tf.round(x))),
  /** gamma · (x where positive, else alpha · (e^x − 1)) (Klambauer et al., 2017). */
  unary('Selu', (tf, x, {alpha, gamma}) => tf.mul(tf.add(tf.relu(x), exponentialTail(tf, x, alpha)), gamma), {
    defaults: {alpha: 1.67326319217681884765625, gamma: 1.05070102214813232421875},
  }),
  /** 1 / (1 + e^−x). */
  unary('Sigmoid', (tf, x) => tf.sigmoid(x), {signed: false}),
  /** −1, 0 or 1. */
  unary('Sign', (tf, x) => withoutGradient(tf, () => tf.sign(x))),
  unary('Sin', (tf, x) => tf.sin(x), {signed: true}),
  unary('Softplus', softplus, {signed: false}),
  unary('Softsign', (tf, x) => tf.div(x, tf.add(tf.abs(x), 1))),
  unary('Sqrt', (tf, x) => tf.sqrt(x), {signed: false}),
  unary('Tanh', (tf, x) => tf.tanh(x)),

  binary('Add', (tf, a, b) => tf.add(a, b)),
  binary('Div', (tf, a, b) => tf.div(a, b)),
  binary(
    'Max',
    (tf, a, b) => tf.maximum(a, b),
    (a, b) => a && b,
  ),
  binary('Min', (tf, a, b) => tf.minimum(a, b)),
  binary('Mul', (tf, a, b) => tf.mul(a, b)),
  /** a^b; its derivative by b counts only where a is positive. */
  binary(
    'Pow',
    (tf, a, b) => tf.pow(a, b),
    () => true,
  ),
  /** x where it is positive, else slope · x (He et al., 2015). */
  binary('PRelu', (tf, x, slope) => tf.sub(tf.relu(x), tf.mul(tf.relu(tf.neg(x)), slope))),
  binary(
    'Sub',
    (tf, a, b) => tf.sub(a, b),
    () => true,
  ),
];
