/**
 * tfjs-node's convolution gradients and poolings refuse explicit padding, which is the only one that sdq's graphs have. Here they run as
 * `valid` on an input that was padded first.
 */
import * as tf from '@tensorflow/tfjs-core';

import {windowOverCovered} from '../../../tensor/gradients.ts';

type Size = [number, number, number, number];
type Inputs = Readonly<Record<string, tf.Tensor4D>>;

/** The attributes that these kernels share; `pad` and the sizes of the window say the rest. */
interface Attributes {
  readonly strides: number | [number, number];
  readonly pad: tf.backend_util.ExplicitPadding | 'valid';
  readonly dimRoundingMode?: 'floor' | 'round' | 'ceil';
  readonly dilations?: number | [number, number];
  readonly dataFormat?: 'NHWC' | 'NCHW';
  /** Of Conv2DBackpropInput and DepthwiseConv2dNativeBackpropInput, [N, height, width, C]. */
  readonly inputShape?: Size;
  /** Of the BackpropFilter kernels. */
  readonly filterShape?: Size;
  /** Of the poolings. */
  readonly filterSize?: number | [number, number];
}

/** One kernel on a padded input, by its original that then needs no padding. */
type Padded = (
  padding: Padding,
  inputs: Inputs,
  attributes: Attributes,
  original: (inputs: Inputs, changed?: Partial<Attributes>) => tf.Tensor4D,
) => tf.Tensor;

/** What surrounds an input of `size` [N, height, width, C] so that its windows are those of the padding asked for. */
class Padding {
  readonly size: Size;
  readonly around: [[0, 0], [number, number], [number, number], [0, 0]];

  constructor(size: Size, {outHeight, outWidth, padInfo, ...info}: Info) {
    const beside = (out: number, stride: number, window: number, before: number, inside: number): [number, number] => [
      before,
      Math.max(0, (out - 1) * stride + window - before - inside),
    ];
    this.size = size;
    this.around = [
      [0, 0],
      beside(outHeight, info.strideHeight, info.effectiveFilterHeight, padInfo.top, size[1]),
      beside(outWidth, info.strideWidth, info.effectiveFilterWidth, padInfo.left, size[2]),
      [0, 0],
    ];
  }

  get paddedSize(): Size {
    return this.size.map((n, axis) => n + this.around[axis]![0] + this.around[axis]![1]) as Size;
  }

  pad(x: tf.Tensor4D, value = 0): tf.Tensor4D {
    return tf.pad(x, this.around, value);
  }

  crop(padded: tf.Tensor4D): tf.Tensor4D {
    return tf.slice(
      padded,
      this.around.map(([before]) => before),
      this.size,
    );
  }
}

type Info = Pick<
  tf.backend_util.Conv2DInfo,
  | 'outHeight'
  | 'outWidth'
  | 'strideHeight'
  | 'strideWidth'
  | 'effectiveFilterHeight'
  | 'effectiveFilterWidth'
  | 'padInfo'
>;

const inputGradient: Padded = (padding, {dy, filter}, _, original) =>
  padding.crop(original({dy: dy!, filter: filter!}, {inputShape: padding.paddedSize}));
const filterGradient: Padded = (padding, {x, dy}, _, original) => original({x: padding.pad(x!), dy: dy!});

const convolutions: Readonly<Record<string, Padded>> = {
  [tf.Conv2DBackpropInput]: inputGradient,
  [tf.Conv2DBackpropFilter]: filterGradient,
  [tf.DepthwiseConv2dNativeBackpropInput]: inputGradient,
  [tf.DepthwiseConv2dNativeBackpropFilter]: filterGradient,
};

const poolings: Readonly<Record<string, Padded>> = {
  [tf.MaxPool]: (padding, {x}, _, original) => original({x: padding.pad(x!, -Infinity)}),
  [tf.MaxPoolGrad]: (padding, {dy, input, output}, _, original) =>
    padding.crop(original({dy: dy!, input: padding.pad(input!, -Infinity), output: output!})),
  [tf.AvgPool]: (padding, {x}, attributes, original) => {
    const mean = original({x: padding.pad(x!)});
    const factors = windowOverCovered(x!.shape, {...attributes, filterSize: attributes.filterSize!});
    return factors === null ? mean : tf.mul(mean, factors);
  },
  [tf.AvgPoolGrad]: (padding, {dy, input}, _, original) =>
    padding.crop(original({dy: dy!, input: padding.pad(input!)})),
};

function convolutionInfo(depthwise: boolean, {x, filter}: Inputs, attributes: Attributes): [Size, Info] {
  const {strides, pad, dilations, dimRoundingMode} = attributes;
  const size = attributes.inputShape ?? x!.shape;
  const filterSize = attributes.filterShape ?? filter!.shape;
  return [
    size,
    tf.backend_util.computeConv2DInfo(size, filterSize, strides, dilations ?? 1, pad, dimRoundingMode, depthwise),
  ];
}

function poolingInfo({x, input}: Inputs, {filterSize, strides, pad, dimRoundingMode}: Attributes): [Size, Info] {
  const size = (input ?? x)!.shape;
  return [size, tf.backend_util.computePool2DInfo(size, filterSize!, strides, 1, pad, dimRoundingMode)];
}

/** Replaces these kernels of a backend. */
export function padBeforeKernels(backendName: string): void {
  const replace = (
    kernelName: string,
    run: Padded,
    geometry: (inputs: Inputs, attributes: Attributes) => [Size, Info],
  ): void => {
    const {kernelFunc} = tf.getKernel(kernelName, backendName);
    tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc({inputs, attrs, backend}) {
        const given = inputs as unknown as Inputs;
        const attributes = attrs as unknown as Attributes;
        tf.util.assert(attributes.dataFormat !== 'NCHW', () => `${kernelName} takes NHWC only.`);
        const [size, info] = geometry(given, attributes);
        if (attributes.pad === 'valid') return kernelFunc({inputs, attrs: attrs!, backend});
        return tf.tidy(() =>
          run(new Padding(size, info), given, attributes, (changed, others = {}) => {
            const valid = {...attributes, ...others, pad: 'valid'} as unknown as tf.NamedAttrMap;
            const out = kernelFunc({inputs: changed, attrs: valid, backend}) as tf.TensorInfo;
            return (out instanceof tf.Tensor ? out : tf.engine().makeTensorFromTensorInfo(out)) as tf.Tensor4D;
          }),
        );
      },
    });
  };
  for (const [name, run] of Object.entries(convolutions)) {
    const depthwise = name.startsWith('Depthwise');
    replace(name, run, (inputs, attributes) => convolutionInfo(depthwise, inputs, attributes));
  }
  for (const [name, run] of Object.entries(poolings)) replace(name, run, poolingInfo);
}
