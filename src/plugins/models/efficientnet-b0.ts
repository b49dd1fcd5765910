/**
 * EfficientNet-B0: Tan and Le, "EfficientNet: Rethinking Model Scaling", 2019, table 1. Names of nodes and parameters are
 * torchvision's, whose weights load as they are. Its stochastic depth is left out: it only acts in training.
 */
import {graphBuilder} from '../../graph/builder.ts';
import {item} from '../../lookup.ts';
import type {ModelDefinition} from '../../plugin-api/registry.ts';
import {silu, squeezeExcitation} from './squeeze-excitation.ts';
import {stemSchema, type StemOption} from './options.ts';

type Options = StemOption;

/** Expansion, kernel, stride, output channels and repetitions of each stage. */
const stages = [
  [1, 3, 1, 16, 1],
  [6, 3, 2, 24, 2],
  [6, 5, 2, 40, 2],
  [6, 3, 2, 80, 3],
  [6, 5, 1, 112, 3],
  [6, 5, 2, 192, 4],
  [6, 3, 1, 320, 1],
] as const;

export const efficientnetB0: ModelDefinition<Options> = {
  kind: 'model',
  name: 'efficientnet-b0',
  summary: 'EfficientNet-B0 (ImageNet): depthwise convolutions, squeeze-and-excitation, SiLU.',
  optionsSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      stem: stemSchema('imagenet: halves the image five times; cifar: three times, not in the first two places.'),
    },
  },
  defaults: {classes: 1000, inputShape: [3, 224, 224]},

  build({classes, inputShape}, {stem = 'imagenet'}) {
    const net = graphBuilder('efficientnet-b0', inputShape);
    const small = stem === 'cifar';
    const block = (name: string, x: string, activated: boolean, options: Parameters<typeof net.conv>[2]): string => {
      const norm = net.batchNorm(`${name}.1`, net.conv(`${name}.0`, x, options));
      return activated ? silu(net, `${name}.2`, norm) : norm;
    };
    let x = block('features.0', net.input, true, {channels: 32, kernel: 3, stride: small ? 1 : 2});
    stages.forEach(([expansion, kernel, first, channels, count], stage) => {
      for (let repetition = 0; repetition < count; repetition++) {
        const name = `features.${stage + 1}.${repetition}`;
        const stride = repetition > 0 || (small && stage === 1) ? 1 : first;
        const inputs = item(net.shape(x), 0);
        const expanded = inputs * expansion;
        let part = 0;
        let y = x;
        if (expansion !== 1) y = block(`${name}.block.${part++}`, y, true, {channels: expanded, kernel: 1});
        y = block(`${name}.block.${part++}`, y, true, {channels: expanded, kernel, stride, group: expanded});
        const squeezed = Math.max(1, Math.floor(inputs / 4));
        const activation = (activated: string, input: string): string => silu(net, activated, input);
        y = squeezeExcitation(net, `${name}.block.${part++}`, y, squeezed, activation, 'Sigmoid');
        y = block(`${name}.block.${part}`, y, false, {channels, kernel: 1});
        x = stride === 1 && inputs === channels ? net.node('Add', `${name}.add`, [x, y]) : y;
      }
    });
    x = block(`features.${stages.length + 1}`, x, true, {channels: 1280, kernel: 1});
    x = net.node('Flatten', 'flatten', [net.node('GlobalAveragePool', 'avgpool', [x])]);
    x = net.node('Dropout', 'classifier.0', [x], {ratio: 0.2});
    // U(±1/√classes) and zero, as torchvision draws them.
    const weight = {kind: 'uniform', bound: 1 / Math.sqrt(classes)} as const;
    return net.build(net.linear('classifier.1', x, {features: classes, weight, bias: {kind: 'constant', value: 0}}));
  },
};
