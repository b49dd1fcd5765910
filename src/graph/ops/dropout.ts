/** In training, zeroes an element with probability `ratio` and divides the others by 1 − ratio; else returns the input. */
import {constantInput, expectValue, float, noCost, nodeError, type OperatorOf} from './operator.ts';

export const dropout: OperatorOf<1> = {
  op: 'Dropout',
  inputs: [1, 1],
  attributes: ['ratio'],
  anyBatch: true,

  infer(node, [x]) {
    expectValue(node, x);
    const ratio = float(node, 'ratio', 0.5);
    if (!(ratio >= 0 && ratio < 1)) {
      throw nodeError(node, `attribute "ratio" is ${ratio}; it takes 0 to below 1.`);
    }
    const {name: _, parameter: __, ...output} = x;
    return output;
  },

  cost: noCost,

  run(tf, node, [x], {draw}) {
    if (draw === undefined) return tf.clone(x);
    const ratio = float(node, 'ratio', 0.5);
    const mask = Float32Array.from({length: x.size}, () => (draw() < ratio ? 0 : 1 / (1 - ratio)));
    return tf.mul(x, tf.tensor(mask, x.shape));
  },

  toOnnx: () => ({op: 'Identity', attributes: {}, constants: []}),

  fromOnnx(node, constant) {
    const [ratio] = constantInput(node, 1, constant) ?? [];
    const {seed: _, ...attributes} = node.attributes;
    return {
      ...node,
      inputs: node.inputs.slice(0, 1),
      attributes: ratio === undefined ? attributes : {...attributes, ratio},
    };
  },
};
