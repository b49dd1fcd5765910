/**
 * YOLOv4-tiny: darknet's `yolov4-tiny.cfg` (Wang, Bochkovskiy and Liao, 2021, "Scaled-YOLOv4", section 4.2). The layers stand in
 * the file's order, so that darknet's weights can be read by counting. Node names are ours.
 */
import {invalidInput} from '../../errors.ts';
import {graphBuilder, type GraphBuilder} from '../../graph/builder.ts';
import {item} from '../../lookup.ts';
import type {ModelDefinition} from '../../plugin-api/registry.ts';

interface Options {
  readonly activation?: 'leaky-relu' | 'relu';
  readonly anchors?: number;
}

/** The network halves the image five times. */
const stride = 32;
/** [ours] Objectness that a fresh network gives every box: almost all of them are empty (Lin et al. 2017, section 4.1). */
const prior = 0.01;

interface Block {
  readonly channels: number;
  readonly kernel: number;
  readonly stride?: number;
}

type Layer = (name: string, x: string, block: Block) => string;

const layerOf =
  (net: GraphBuilder, activation: NonNullable<Options['activation']>): Layer =>
  (name, x, block) => {
    const y = net.batchNorm(`${name}.norm`, net.conv(`${name}.conv`, x, block));
    if (activation === 'relu') return net.node('Relu', `${name}.relu`, [y]);
    return net.node('LeakyRelu', `${name}.leaky`, [y], {alpha: 0.1});
  };

/** Half of the channels pass through two convolutions; all of them are joined. @returns the block, and its last convolution */
function crossStage(net: GraphBuilder, layer: Layer, name: string, x: string): readonly [joined: string, last: string] {
  const channels = item(net.shape(x), 0);
  const half = channels / 2;
  const part = net.node('Slice', `${name}.half`, [x], {starts: [half], ends: [channels], axes: [1], steps: [1]});
  const first = layer(`${name}.first`, part, {channels: half, kernel: 3});
  const second = layer(`${name}.second`, first, {channels: half, kernel: 3});
  const both = net.node('Concat', `${name}.parts`, [second, first], {axis: 1});
  const last = layer(`${name}.last`, both, {channels, kernel: 1});
  return [net.node('Concat', `${name}.joined`, [x, last], {axis: 1}), last];
}

export const yolov4Tiny: ModelDefinition<Options> = {
  kind: 'model',
  name: 'yolov4-tiny',
  summary: 'YOLOv4-tiny: a detector with two heads, for images whose sides are multiples of 32.',
  task: 'detection',
  optionsSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      activation: {
        enum: ['leaky-relu', 'relu'],
        default: 'leaky-relu',
        description: 'relu: for hardware without LeakyRelu; the network is then another one, and is trained as such.',
      },
      anchors: {
        type: 'integer',
        minimum: 1,
        maximum: 9,
        default: 3,
        description: 'Boxes that each cell of a head predicts: as many as each of `task.options.masks` has.',
      },
    },
  },
  defaults: {classes: 80, inputShape: [3, 416, 416]},
  build({classes, inputShape}, {activation = 'leaky-relu', anchors = 3}) {
    const [, height = 0, width = 0] = inputShape;
    if (height % stride !== 0 || width % stride !== 0) {
      throw invalidInput(
        'model-does-not-fit',
        `yolov4-tiny takes images whose height and width are multiples of ${stride}; the data set has ${height} × ${width}.`,
        [`--set data.options.size=${Math.max(stride, stride * Math.round(Math.max(height, width) / stride))}`],
      );
    }
    const net = graphBuilder('yolov4-tiny', inputShape);
    const layer = layerOf(net, activation);
    const head = (name: string, x: string): string => {
      const bias = Float32Array.from({length: anchors * (5 + classes)}, (_, i) =>
        i % (5 + classes) === 4 ? Math.log(prior / (1 - prior)) : 0,
      );
      return net.conv(name, x, {channels: bias.length, kernel: 1, bias});
    };
    let x = layer('stem.0', net.input, {channels: 32, kernel: 3, stride: 2});
    x = layer('stem.1', x, {channels: 64, kernel: 3, stride: 2});
    let fine = '';
    [64, 128, 256].forEach((channels, stage) => {
      x = layer(`stage${stage}.start`, x, {channels, kernel: 3});
      const [joined, last] = crossStage(net, layer, `stage${stage}`, x);
      fine = last;
      x = net.maxPool(`stage${stage}.pool`, joined, {kernel: 2, stride: 2});
    });
    x = layer('neck.0', x, {channels: 512, kernel: 3});
    const middle = layer('neck.1', x, {channels: 256, kernel: 1});
    const coarse = head('head0', layer('neck.2', middle, {channels: 512, kernel: 3}));
    const small = layer('up.reduce', middle, {channels: 128, kernel: 1});
    const large = net.node('Resize', 'up.resize', [small], {
      mode: 'nearest',
      coordinate_transformation_mode: 'asymmetric',
      nearest_mode: 'floor',
      scales: [2, 2],
    });
    const joined = net.node('Concat', 'up.joined', [large, fine], {axis: 1});
    return net.build(coarse, head('head1', layer('up.last', joined, {channels: 256, kernel: 3})));
  },
};
