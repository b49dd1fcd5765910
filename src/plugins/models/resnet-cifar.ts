/**
 * ResNet for 32 × 32 images: He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2. Names of nodes and
 * parameters are those of akamaster/pytorch_resnet_cifar10, whose weights load as they are.
 */
import {graphBuilder, type GraphBuilder} from '../../graph/builder.ts';
import {item, last} from '../../lookup.ts';
import type {ModelDefinition} from '../../plugin-api/registry.ts';

interface Options {
  /** What carries the input past a block that changes its size. Default A. */
  readonly shortcut?: 'A' | 'B';
}

/** Option A: every second pixel, and zeros for the new channels, half of them on each side; no weights. */
function subsample(net: GraphBuilder, name: string, x: string, channels: number): string {
  const thin = net.maxPool(`${name}.subsample`, x, {kernel: 1, stride: 2});
  const added = channels - item(net.shape(x), 0);
  const before = added >> 1;
  return net.node('Pad', `${name}.pad`, [thin], {pads: [0, before, 0, 0, 0, added - before, 0, 0]});
}

/** Two 3 × 3 convolutions with the input added: the basic block. */
function block(
  net: GraphBuilder,
  name: string,
  x: string,
  channels: number,
  stride: number,
  shortcut: 'A' | 'B',
): string {
  let y = net.conv(`${name}.conv1`, x, {channels, kernel: 3, stride, fan: 'in'});
  y = net.node('Relu', `${name}.relu1`, [net.batchNorm(`${name}.bn1`, y)]);
  y = net.conv(`${name}.conv2`, y, {channels, kernel: 3, fan: 'in'});
  y = net.batchNorm(`${name}.bn2`, y);
  let past = x;
  if (stride !== 1 || net.shape(x)[0] !== channels) {
    past =
      shortcut === 'A'
        ? subsample(net, `${name}.shortcut`, x, channels)
        : net.batchNorm(
            `${name}.shortcut.1`,
            net.conv(`${name}.shortcut.0`, x, {channels, kernel: 1, stride, fan: 'in'}),
          );
  }
  return net.node('Relu', `${name}.relu2`, [net.node('Add', `${name}.add`, [y, past])]);
}

/**
 * The body that ResNets for small images share: stem, stages of basic blocks that halve the size from the second on, mean
 * over the image, classifier.
 * @param widths channels of each stage
 * @param blocks blocks in each stage
 */
export function smallImageResnet(
  net: GraphBuilder,
  classes: number,
  {
    widths,
    blocks,
    stemStride,
    shortcut,
  }: {
    readonly widths: readonly number[];
    readonly blocks: number;
    readonly stemStride: number;
    readonly shortcut: 'A' | 'B';
  },
): string {
  let x = net.conv('conv1', net.input, {channels: item(widths, 0), kernel: 3, stride: stemStride, fan: 'in'});
  x = net.node('Relu', 'relu', [net.batchNorm('bn1', x)]);
  widths.forEach((channels, stage) => {
    for (let index = 0; index < blocks; index++) {
      const stride = stage > 0 && index === 0 ? 2 : 1;
      x = block(net, `layer${stage + 1}.${index}`, x, channels, stride, shortcut);
    }
  });
  x = net.node('Flatten', 'flatten', [net.node('GlobalAveragePool', 'avgpool', [x])]);
  const weight = {kind: 'kaiming-normal', fan: last(widths)} as const;
  return net.linear('linear', x, {features: classes, weight});
}

const definition = (depth: number): ModelDefinition<Options> => ({
  kind: 'model',
  name: `resnet${depth}`,
  summary: `ResNet${depth} for small images (CIFAR).`,
  optionsSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      shortcut: {
        enum: ['A', 'B'],
        default: 'A',
        description: 'Past a block that halves the image: A subsamples and pads with zeros, B convolves 1 × 1.',
      },
    },
  },
  defaults: {classes: 10, inputShape: [3, 32, 32]},
  build({classes, inputShape}, {shortcut = 'A'}) {
    const net = graphBuilder(`resnet${depth}`, inputShape);
    const blocks = (depth - 2) / 6;
    return net.build(smallImageResnet(net, classes, {widths: [16, 32, 64], blocks, stemStride: 1, shortcut}));
  },
});

export const resnetCifar = [20, 32, 44, 56].map(definition);
