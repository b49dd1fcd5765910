/**
 * tfjs-node's convolution gradients and poolings refuse explicit padding, which is the only one that sdq's graphs have. Here they run
 * without padding, on an input that was padded first.
 */
import * as tf from '@tensorflow/tfjs-core';

import {item, present} from '../../../lookup.ts';
import {windowOverCovered} from '../../../tensor/gradients.ts';

type Size = [number, number, number, number];
/** A kernel gets those of these that it has. */
type Inputs = Readonly<Record<'x' | 'dy' | 'filter' | 'input' | 'output', tf.Tensor4D>>;

interface Attributes {
  readonly pad: tf.backend_util.ExplicitPadding;
  readonly strides: number | [number, number];
  /** Of the gradients by a convolution's input, [N, height, width, C]. */
  readonly inputShape?: Size;
  /** Of the poolings. */
  readonly filterSize?: number | [number, number];
}

/** @param original the kernel of that name, called without padding; `inputShape` replaces that of the attributes */
type Padded = (
  inputs: Inputs,
  attributes: Attributes,
  original: (inputs: Partial<Inputs>, inputShape?: Size) => tf.Tensor4D,
) => tf.Tensor;

const padded = (x: tf.Tensor4D, {pad}: Attributes, value = 0): tf.Tensor4D => tf.pad(x, pad, value);

/** The part of a padded tensor that is the one of `size`. */
function cropped(x: tf.Tensor4D, {pad}: Attributes, size: Size): tf.Tensor {
  const before = pad.map(([first]) => first);
  return tf.slice(x, before, size);
}

const inputGradient: Padded = ({dy, filter}, attributes, original) => {
  const size = present(attributes.inputShape, 'shape of the input');
  const paddedSize = size.map((n, axis) => n + item(attributes.pad, axis)[0] + item(attributes.pad, axis)[1]) as Size;
  return cropped(original({dy: dy, filter: filter}, paddedSize), attributes, size);
};

const filterGradient: Padded = ({x, dy}, attributes, original) => original({x: padded(x, attributes), dy: dy});

const kernels: Readonly<Record<string, Padded>> = {
  [tf.Conv2DBackpropInput]: inputGradient,
  [tf.Conv2DBackpropFilter]: filterGradient,
  [tf.DepthwiseConv2dNativeBackpropInput]: inputGradient,
  [tf.DepthwiseConv2dNativeBackpropFilter]: filterGradient,
  [tf.MaxPool]: ({x}, attributes, original) => original({x: padded(x, attributes, -Infinity)}),
  [tf.MaxPoolGrad]({dy, input, output}, attributes, original) {
    const dx = original({dy: dy, input: padded(input, attributes, -Infinity), output: output});
    return cropped(dx, attributes, input.shape);
  },
  // A mean is of the part of the window that lies on the input; its gradient kernel divides by the whole window (tensor/gradients.ts).
  [tf.AvgPool]({x}, attributes, original) {
    const mean = original({x: padded(x, attributes)});
    const factors = windowOverCovered(x.shape, {
      ...attributes,
      filterSize: present(attributes.filterSize, 'size of the window'),
    });
    return factors === null ? mean : tf.mul(mean, factors);
  },
  [tf.AvgPoolGrad]({dy, input}, attributes, original) {
    return cropped(original({dy: dy, input: padded(input, attributes)}), attributes, input.shape);
  },
};

/** Replaces these kernels of a backend. */
export function padBeforeKernels(backendName: string): void {
  for (const [kernelName, run] of Object.entries(kernels)) {
    const {kernelFunc} = tf.getKernel(kernelName, backendName);
    tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc(call) {
        const {attrs, backend, inputs} = call;
        if (!Array.isArray(attrs?.['pad'])) return kernelFunc(call);
        const attributes = attrs as unknown as Attributes;
        return tf.tidy(() =>
          run(inputs as unknown as Inputs, attributes, (changed, inputShape = attributes.inputShape) => {
            const valid = {...attributes, inputShape, pad: 'valid'} as unknown as tf.NamedAttrMap;
            return kernelFunc({inputs: changed, attrs: valid, backend}) as tf.Tensor4D;
          }),
        );
      },
    });
  }
}
