/**
 * MobileNetV2: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, table 2. Names of nodes and
 * parameters are torchvision's, whose weights load as they are.
 */
import {graphBuilder} from '../../graph/builder.ts';
import {item} from '../../lookup.ts';
import type {ModelDefinition} from '../../plugin-api/registry.ts';
import {stemSchema, widthSchema, type StemOption, type WidthOption} from './options.ts';

type Options = StemOption & WidthOption;

/** Expansion, output channels, repetitions and stride of each stage. */
const stages = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;

/** The multiple of 8 nearest to the value, but not more than a tenth below it: the authors' rounding. */
export function divisible(value: number): number {
  const rounded = Math.max(8, Math.floor((value + 4) / 8) * 8);
  return rounded < 0.9 * value ? rounded + 8 : rounded;
}

export const mobilenetV2: ModelDefinition<Options> = {
  kind: 'model',
  name: 'mobilenet-v2',
  summary: 'MobileNetV2 (ImageNet): depthwise convolutions, linear bottlenecks.',
  optionsSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      width: widthSchema,
      stem: stemSchema('imagenet: halves the image five times; cifar: three times, not in the first two places.'),
    },
  },
  defaults: {classes: 1000, inputShape: [3, 224, 224]},

  build({classes, inputShape}, {width = 1, stem = 'imagenet'}) {
    const net = graphBuilder('mobilenet-v2', inputShape);
    const small = stem === 'cifar';
    const activated = (
      name: string,
      x: string,
      options: {readonly channels: number; readonly kernel: number; readonly stride?: number; readonly group?: number},
    ): string =>
      net.node('Clip', `${name}.2`, [net.batchNorm(`${name}.1`, net.conv(`${name}.0`, x, options))], {min: 0, max: 6});

    let x = activated('features.0', net.input, {channels: divisible(32 * width), kernel: 3, stride: small ? 1 : 2});
    let index = 1;
    stages.forEach(([expansion, wanted, count, first], stage) => {
      const channels = divisible(wanted * width);
      for (let repetition = 0; repetition < count; repetition++, index++) {
        const name = `features.${index}`;
        const stride = repetition > 0 || (small && stage === 1) ? 1 : first;
        const inputs = item(net.shape(x), 0);
        const hidden = inputs * expansion;
        let y = x;
        let part = 0;
        if (expansion !== 1) y = activated(`${name}.conv.${part++}`, y, {channels: hidden, kernel: 1});
        y = activated(`${name}.conv.${part++}`, y, {channels: hidden, kernel: 3, stride, group: hidden});
        y = net.conv(`${name}.conv.${part++}`, y, {channels, kernel: 1});
        y = net.batchNorm(`${name}.conv.${part}`, y);
        x = stride === 1 && inputs === channels ? net.node('Add', `${name}.add`, [x, y]) : y;
      }
    });
    x = activated(`features.${index}`, x, {channels: divisible(1280 * Math.max(1, width)), kernel: 1});
    x = net.node('Flatten', 'flatten', [net.node('GlobalAveragePool', 'avgpool', [x])]);
    x = net.node('Dropout', 'classifier.0', [x], {ratio: 0.2});
    return net.build(
      net.linear('classifier.1', x, {
        features: classes,
        // N(0, 0.01²) and zero, as torchvision draws them.
        weight: {kind: 'kaiming-normal', fan: 2 / 0.01 ** 2},
        bias: {kind: 'constant', value: 0},
      }),
    );
  },
};
