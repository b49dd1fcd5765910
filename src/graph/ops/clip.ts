/** min(max(x, least), greatest); the bounds are attributes, as in ONNX up to opset 10. */
import {scalar} from '../onnx/tensors.ts';
import {constantInput, expectValue, float, noCost, nodeError, type OperatorOf} from './operator.ts';

export const clip: OperatorOf<1> = {
  op: 'Clip',
  inputs: [1, 1],
  attributes: ['min', 'max'],
  anyBatch: true,

  infer(node, [x]) {
    expectValue(node, x);
    const min = float(node, 'min', -Infinity);
    const max = float(node, 'max', Infinity);
    if (!(min <= max)) throw nodeError(node, `attribute "min" is ${min}; it must not be above "max", ${max}.`);
    const {name: _, parameter: __, ...output} = x;
    return {...output, signed: max < 0 || (min < 0 && x.signed)};
  },

  cost: noCost,

  run(tf, node, [x]) {
    const min = float(node, 'min', -Infinity);
    const max = float(node, 'max', Infinity);
    return min === 0 && max === 6 ? tf.relu6(x) : tf.clipByValue(x, min, max);
  },

  toOnnx: (node) => ({
    op: 'Clip',
    attributes: {},
    constants: [
      scalar(`${node.name}.min`, float(node, 'min', -Infinity)),
      scalar(`${node.name}.max`, float(node, 'max', Infinity)),
    ],
  }),

  fromOnnx(node, constant) {
    const bounds = Object.entries({min: 1, max: 2}).flatMap(([name, index]) => {
      const [value] = constantInput(node, index, constant) ?? [];
      return value === undefined ? [] : [[name, value] as const];
    });
    return {...node, inputs: node.inputs.slice(0, 1), attributes: {...node.attributes, ...Object.fromEntries(bounds)}};
  },
};
