import {graphBuilder} from 'sdq';

/**
 * Two convolutions and a classifier. Node names become the names of the layers, and of the weights in a safetensors file.
 * @type {import('sdq').ModelDefinition}
 */
export const tinyNet = {
  kind: 'model',
  name: 'tiny-net',
  summary: 'Two convolutions and a classifier.',
  optionsSchema: {
    type: 'object',
    properties: {
      channels: {
        description: 'Channels of the first convolution.',
        type: 'integer',
        minimum: 1,
        maximum: 1024,
        default: 8,
      },
    },
  },
  defaults: {classes: 2, inputShape: [1, 16, 16]},
  build({classes, inputShape}, options) {
    const channels = /** @type {number} */ (options.channels ?? 8);
    const net = graphBuilder('tiny-net', inputShape);
    let x = net.conv('conv1', net.input, {channels, kernel: 3, stride: 2});
    x = net.node('Relu', 'relu1', [net.batchNorm('bn1', x)]);
    x = net.conv('conv2', x, {channels: 2 * channels, kernel: 3, stride: 2});
    x = net.node('Relu', 'relu2', [net.batchNorm('bn2', x)]);
    x = net.node('Flatten', 'flatten', [net.node('GlobalAveragePool', 'pool', [x])], {axis: 1});
    return net.build(net.linear('linear', x, {features: classes}));
  },
};
