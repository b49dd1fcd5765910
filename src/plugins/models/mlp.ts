/**
 * A multilayer perceptron for rows of numbers; images are flattened. Ours; `fc1`, `bn1`, … are the names that people give such layers
 * in PyTorch.
 */
import {graphBuilder} from '../../graph/builder.ts';
import type {ModelDefinition} from '../../plugin-api/registry.ts';

interface MlpOptions {
  /** Default [64, 64]. */
  readonly hidden?: readonly number[];
  /** Default true. */
  readonly batchNorm?: boolean;
}

export const mlp: ModelDefinition<MlpOptions> = {
  kind: 'model',
  name: 'mlp',
  summary: 'Fully connected layers with ReLU, for rows of numbers (the data set table).',
  optionsSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      hidden: {
        type: 'array',
        items: {type: 'integer', minimum: 1, maximum: 65_536},
        maxItems: 64,
        default: [64, 64],
        description: 'Outputs of each hidden layer.',
      },
      batchNorm: {type: 'boolean', default: true, description: 'A batch-norm behind each hidden layer.'},
    },
  },
  defaults: {classes: 10, inputShape: [64]},
  takesRows: true,
  build({classes, inputShape}, {hidden = [64, 64], batchNorm = true}) {
    const net = graphBuilder('mlp', inputShape);
    let x = inputShape.length === 1 ? net.input : net.node('Flatten', 'flatten', [net.input], {axis: 1});
    for (const [index, features] of hidden.entries()) {
      const number = index + 1;
      const layer = net.linear(`fc${number}`, x, {features});
      x = net.node('Relu', `relu${number}`, [batchNorm ? net.batchNorm(`bn${number}`, layer) : layer]);
    }
    return net.build(net.linear('linear', x, {features: classes}));
  },
};
