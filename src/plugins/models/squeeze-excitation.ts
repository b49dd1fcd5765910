/** Parts that MobileNetV3 and EfficientNet share, under torchvision's names. */
import type {GraphBuilder} from '../../graph/builder.ts';
import {item} from '../../lookup.ts';

/**
 * Weighs the channels of x by what is seen in the whole image (Hu et al., 2018).
 * @param squeezed channels between the two layers
 */
export function squeezeExcitation(
  net: GraphBuilder,
  name: string,
  x: string,
  squeezed: number,
  activation: (name: string, x: string) => string,
  gate: 'Sigmoid' | 'HardSigmoid',
): string {
  const channels = item(net.shape(x), 0);
  const layer = (part: string, input: string, outputs: number): string =>
    net.conv(`${name}.${part}`, input, {channels: outputs, kernel: 1, bias: true});
  const pooled = net.node('GlobalAveragePool', `${name}.avgpool`, [x]);
  const hidden = activation(`${name}.activation`, layer('fc1', pooled, squeezed));
  // PyTorch's hard sigmoid has the slope 1/6, ONNX's default is 0.2.
  const attributes = gate === 'HardSigmoid' ? {alpha: 1 / 6, beta: 0.5} : {};
  const weights = net.node(gate, `${name}.scale_activation`, [layer('fc2', hidden, channels)], attributes);
  return net.node('Mul', `${name}.scaled`, [x, weights]);
}

/** x · sigmoid(x) (Elfwing et al., 2018). */
export function silu(net: GraphBuilder, name: string, x: string): string {
  return net.node('Mul', name, [x, net.node('Sigmoid', `${name}.sigmoid`, [x])]);
}
