/**
 * MobileNetV3: Howard et al., "Searching for MobileNetV3", 2019, tables 1 and 2. Names of nodes and parameters are
 * torchvision's, whose weights load as they are.
 */
import {graphBuilder} from '../../graph/builder.ts';
import {item} from '../../lookup.ts';
import type {ModelDefinition} from '../../plugin-api/registry.ts';
import {divisible} from './mobilenet-v2.ts';
import {squeezeExcitation} from './squeeze-excitation.ts';
import {stemSchema, widthSchema, type StemOption, type WidthOption} from './options.ts';

type Options = StemOption & WidthOption;

/** Kernel, expanded channels, output channels, squeeze-and-excitation, activation, stride. */
type Block = readonly [number, number, number, boolean, 'Relu' | 'HardSwish', number];

const large: readonly Block[] = [
  [3, 16, 16, false, 'Relu', 1],
  [3, 64, 24, false, 'Relu', 2],
  [3, 72, 24, false, 'Relu', 1],
  [5, 72, 40, true, 'Relu', 2],
  [5, 120, 40, true, 'Relu', 1],
  [5, 120, 40, true, 'Relu', 1],
  [3, 240, 80, false, 'HardSwish', 2],
  [3, 200, 80, false, 'HardSwish', 1],
  [3, 184, 80, false, 'HardSwish', 1],
  [3, 184, 80, false, 'HardSwish', 1],
  [3, 480, 112, true, 'HardSwish', 1],
  [3, 672, 112, true, 'HardSwish', 1],
  [5, 672, 160, true, 'HardSwish', 2],
  [5, 960, 160, true, 'HardSwish', 1],
  [5, 960, 160, true, 'HardSwish', 1],
];
const small: readonly Block[] = [
  [3, 16, 16, true, 'Relu', 2],
  [3, 72, 24, false, 'Relu', 2],
  [3, 88, 24, false, 'Relu', 1],
  [5, 96, 40, true, 'HardSwish', 2],
  [5, 240, 40, true, 'HardSwish', 1],
  [5, 240, 40, true, 'HardSwish', 1],
  [5, 120, 48, true, 'HardSwish', 1],
  [5, 144, 48, true, 'HardSwish', 1],
  [5, 288, 96, true, 'HardSwish', 2],
  [5, 576, 96, true, 'HardSwish', 1],
  [5, 576, 96, true, 'HardSwish', 1],
];

function mobilenetV3(size: 'large' | 'small', blocks: readonly Block[], hidden: number): ModelDefinition<Options> {
  const modelName = `mobilenet-v3-${size}`;
  return {
    kind: 'model',
    name: modelName,
    summary: `MobileNetV3 ${size} (ImageNet): squeeze-and-excitation, hard swish.`,
    optionsSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        width: widthSchema,
        stem: stemSchema('imagenet: halves the image five times; cifar: not in the stem and not in the second stride.'),
      },
    },
    defaults: {classes: 1000, inputShape: [3, 224, 224]},

    build({classes, inputShape}, {width = 1, stem = 'imagenet'}) {
      const net = graphBuilder(modelName, inputShape);
      const scaled = (channels: number): number => divisible(channels * width);
      const block = (
        name: string,
        x: string,
        activation: Block[4] | null,
        options: Parameters<typeof net.conv>[2],
      ): string => {
        const norm = net.batchNorm(`${name}.1`, net.conv(`${name}.0`, x, options), {epsilon: 1e-3, momentum: 0.99});
        return activation === null ? norm : net.node(activation, `${name}.2`, [norm]);
      };
      // The stem's stride and the first of the blocks' are left out for small images.
      let strided = stem === 'cifar' ? 2 : 0;
      const stride = (wanted: number): number => (wanted > 1 && strided-- > 0 ? 1 : wanted);
      let x = block('features.0', net.input, 'HardSwish', {channels: scaled(16), kernel: 3, stride: stride(2)});
      blocks.forEach(([kernel, expanded, wanted, excited, activation, step], index) => {
        const name = `features.${index + 1}.block`;
        const inputs = item(net.shape(x), 0);
        const channels = scaled(expanded);
        const outputs = scaled(wanted);
        const down = stride(step);
        let part = 0;
        let y = x;
        if (channels !== inputs) y = block(`${name}.${part++}`, y, activation, {channels, kernel: 1});
        y = block(`${name}.${part++}`, y, activation, {channels, kernel, stride: down, group: channels});
        if (excited) {
          const relu = (relued: string, input: string): string => net.node('Relu', relued, [input]);
          y = squeezeExcitation(net, `${name}.${part++}`, y, divisible(Math.floor(channels / 4)), relu, 'HardSigmoid');
        }
        y = block(`${name}.${part}`, y, null, {channels: outputs, kernel: 1});
        x = down === 1 && inputs === outputs ? net.node('Add', `features.${index + 1}.add`, [x, y]) : y;
      });
      const last = 6 * item(net.shape(x), 0);
      x = block(`features.${blocks.length + 1}`, x, 'HardSwish', {channels: last, kernel: 1});
      x = net.node('Flatten', 'flatten', [net.node('GlobalAveragePool', 'avgpool', [x])]);
      const weight = {kind: 'kaiming-normal', fan: 2 / 0.01 ** 2} as const;
      const bias = {kind: 'constant', value: 0} as const;
      x = net.linear('classifier.0', x, {features: scaled(hidden), weight, bias});
      x = net.node('Dropout', 'classifier.2', [net.node('HardSwish', 'classifier.1', [x])], {ratio: 0.2});
      return net.build(net.linear('classifier.3', x, {features: classes, weight, bias}));
    },
  };
}

export const mobilenetV3Models: readonly ModelDefinition<Options>[] = [
  mobilenetV3('large', large, 1280),
  mobilenetV3('small', small, 1024),
];
