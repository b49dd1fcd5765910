import {graphBuilder} from '../../src/graph/builder.ts';
import type {ModelDefinition} from '../../src/plugin-api/registry.ts';

/** Two heads of two anchors each, on grids of 1/8 and 1/4 of the image; every operator of YOLOv4-tiny. */
export const tinyDetector: ModelDefinition = {
  kind: 'model',
  name: 'tiny-detector',
  summary: 'Two heads.',
  task: 'detection',
  optionsSchema: {type: 'object', properties: {}, additionalProperties: false},
  defaults: {classes: 2, inputShape: [3, 32, 32]},
  build({classes, inputShape}) {
    const g = graphBuilder('tiny-detector', inputShape);
    const layer = (name: string, x: string, channels: number, stride = 1): string => {
      const y = g.batchNorm(`${name}.norm`, g.conv(`${name}.conv`, x, {channels, kernel: 3, stride}));
      return g.node('LeakyRelu', `${name}.leaky`, [y], {alpha: 0.1});
    };
    const head = (name: string, x: string): string =>
      g.conv(name, x, {channels: 2 * (5 + classes), kernel: 1, bias: true});
    const fine = layer('fine', layer('stem', g.input, 4, 2), 8, 2);
    const half = g.node('Slice', 'half', [fine], {starts: [4], ends: [8], axes: [1], steps: [1]});
    const parts = g.node('Concat', 'parts', [layer('part', half, 4), fine], {axis: 1});
    const coarse = layer('coarse', g.maxPool('pool', parts, {kernel: 2, stride: 2}), 8);
    const large = g.node('Resize', 'resize', [coarse], {
      mode: 'nearest',
      coordinate_transformation_mode: 'asymmetric',
      nearest_mode: 'floor',
      scales: [2, 2],
    });
    const joined = g.node('Concat', 'joined', [large, fine], {axis: 1});
    return g.build(head('head0', coarse), head('head1', layer('last', joined, 8)));
  },
};
