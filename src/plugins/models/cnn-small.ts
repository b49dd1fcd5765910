/**
 * A small network for 28 × 28 images: a residual network of eight layers whose first convolution halves the image, so
 * that an epoch of MNIST takes seconds on two cores. Ours; the blocks are those of resnet-cifar.ts.
 */
import {graphBuilder} from '../../graph/builder.ts';
import type {ModelDefinition} from '../../plugin-api/registry.ts';
import {smallImageResnet} from './resnet-cifar.ts';

export const cnnSmall: ModelDefinition = {
  kind: 'model',
  name: 'cnn-small',
  summary: 'Eight layers for 28 × 28 images (MNIST): the quickstart.',
  defaults: {classes: 10, inputShape: [1, 28, 28]},
  build({classes, inputShape}) {
    const net = graphBuilder('cnn-small', inputShape);
    const output = smallImageResnet(net, classes, {widths: [16, 32, 64], blocks: 1, stemStride: 2, shortcut: 'A'});
    return net.build(output);
  },
};
