/**
 * ResNet for 224 × 224 images: He et al., 2015, table 1, with the stride of a bottleneck in its 3 × 3 convolution
 * ("v1.5"). Names of nodes and parameters are torchvision's, whose weights load as they are.
 */
import {graphBuilder, type GraphBuilder} from '../../graph/builder.ts';
import {item} from '../../lookup.ts';
import type {ModelDefinition} from '../../plugin-api/registry.ts';
import {stemSchema, type StemOption} from './options.ts';

type Options = StemOption;

type Block = (net: GraphBuilder, name: string, x: string, width: number, stride: number) => string;

function convNorm(
  net: GraphBuilder,
  names: readonly [conv: string, norm: string],
  x: string,
  options: {readonly channels: number; readonly kernel: number; readonly stride?: number},
): string {
  return net.batchNorm(names[1], net.conv(names[0], x, options));
}

function addInput(net: GraphBuilder, name: string, x: string, y: string, stride: number): string {
  const channels = item(net.shape(y), 0);
  const same = stride === 1 && net.shape(x)[0] === channels;
  const past = same
    ? x
    : convNorm(net, [`${name}.downsample.0`, `${name}.downsample.1`], x, {channels, kernel: 1, stride});
  return net.node('Relu', `${name}.relu`, [net.node('Add', `${name}.add`, [y, past])]);
}

const basic: Block = (net, name, x, width, stride) => {
  let y = convNorm(net, [`${name}.conv1`, `${name}.bn1`], x, {channels: width, kernel: 3, stride});
  y = net.node('Relu', `${name}.relu1`, [y]);
  y = convNorm(net, [`${name}.conv2`, `${name}.bn2`], y, {channels: width, kernel: 3});
  return addInput(net, name, x, y, stride);
};

const bottleneck: Block = (net, name, x, width, stride) => {
  let y = convNorm(net, [`${name}.conv1`, `${name}.bn1`], x, {channels: width, kernel: 1});
  y = net.node('Relu', `${name}.relu1`, [y]);
  y = convNorm(net, [`${name}.conv2`, `${name}.bn2`], y, {channels: width, kernel: 3, stride});
  y = net.node('Relu', `${name}.relu2`, [y]);
  y = convNorm(net, [`${name}.conv3`, `${name}.bn3`], y, {channels: 4 * width, kernel: 1});
  return addInput(net, name, x, y, stride);
};

const definition = (depth: number, block: Block, blocks: readonly number[]): ModelDefinition<Options> => ({
  kind: 'model',
  name: `resnet${depth}`,
  summary: `ResNet${depth} (ImageNet).`,
  optionsSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      stem: stemSchema('imagenet: 7 × 7 convolution and pooling, a quarter of the size; cifar: 3 × 3 at full size.'),
    },
  },
  defaults: {classes: 1000, inputShape: [3, 224, 224]},
  build({classes, inputShape}, {stem = 'imagenet'}) {
    const net = graphBuilder(`resnet${depth}`, inputShape);
    const large = stem === 'imagenet';
    let x = net.conv('conv1', net.input, {channels: 64, kernel: large ? 7 : 3, stride: large ? 2 : 1});
    x = net.node('Relu', 'relu', [net.batchNorm('bn1', x)]);
    if (large) x = net.maxPool('maxpool', x, {kernel: 3, stride: 2, padding: 1});
    blocks.forEach((count, stage) => {
      for (let index = 0; index < count; index++) {
        const stride = stage > 0 && index === 0 ? 2 : 1;
        x = block(net, `layer${stage + 1}.${index}`, x, 64 << stage, stride);
      }
    });
    x = net.node('Flatten', 'flatten', [net.node('GlobalAveragePool', 'avgpool', [x])]);
    return net.build(net.linear('fc', x, {features: classes}));
  },
});

export const resnetImagenet = [
  definition(18, basic, [2, 2, 2, 2]),
  definition(34, basic, [3, 4, 6, 3]),
  definition(50, bottleneck, [3, 4, 6, 3]),
];
