/**
 * VGG: Simonyan and Zisserman, "Very Deep Convolutional Networks", 2015, table 1, with batch-norm as torchvision's
 * `vgg16_bn`, whose weights load as they are.
 */
import {graphBuilder} from '../../graph/builder.ts';
import type {ModelDefinition} from '../../plugin-api/registry.ts';
import {stemSchema, type StemOption} from './options.ts';

interface Options extends StemOption {
  /** Default true. */
  readonly batchNorm?: boolean;
}

/** Channels of each convolution, 3 × 3; 0: the image is halved. */
const configurations = {
  vgg11: [64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0],
  vgg16: [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0],
} as const;

function vgg(name: string, channelsOf: readonly number[]): ModelDefinition<Options> {
  return {
    kind: 'model',
    name,
    summary: `${name.toUpperCase().replace('VGG', 'VGG-')}: plain 3 × 3 convolutions, with batch-norm by default.`,
    optionsSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        batchNorm: {type: 'boolean', default: true, description: 'A batch-norm after each convolution.'},
        stem: stemSchema('imagenet: three fully connected layers on 7 × 7 features; cifar: one on their mean.'),
      },
    },
    defaults: {classes: 1000, inputShape: [3, 224, 224]},

    build({classes, inputShape}, {batchNorm = true, stem = 'imagenet'}) {
      const net = graphBuilder(name, inputShape);
      let x = net.input;
      let index = 0;
      for (const channels of channelsOf) {
        if (channels === 0) {
          x = net.maxPool(`features.${index++}`, x, {kernel: 2, stride: 2});
          continue;
        }
        x = net.conv(`features.${index++}`, x, {channels, kernel: 3, bias: true});
        if (batchNorm) x = net.batchNorm(`features.${index++}`, x);
        x = net.node('Relu', `features.${index++}`, [x]);
      }
      if (stem === 'cifar') {
        x = net.node('Flatten', 'flatten', [net.node('GlobalAveragePool', 'avgpool', [x])]);
        return net.build(net.linear('classifier', x, {features: classes}));
      }
      x = net.node('Flatten', 'flatten', [x]);
      const weight = {kind: 'kaiming-normal', fan: 2 / 0.01 ** 2} as const;
      const bias = {kind: 'constant', value: 0} as const;
      for (const layer of [0, 3]) {
        x = net.linear(`classifier.${layer}`, x, {features: 4096, weight, bias});
        x = net.node('Relu', `classifier.${layer + 1}`, [x]);
        x = net.node('Dropout', `classifier.${layer + 2}`, [x], {ratio: 0.5});
      }
      return net.build(net.linear('classifier.6', x, {features: classes, weight, bias}));
    },
  };
}

export const vggModels: readonly ModelDefinition<Options>[] = Object.entries(configurations).map(([name, channels]) =>
  vgg(name, channels),
);
