/** What tfjs' fused convolutions and products end with: a bias and an activation. */
import * as tf from '@tensorflow/tfjs-core';

import {item, present} from '../../../../lookup.ts';
import {backendName, defineKernel, type WasmBackend} from '../backend.ts';

interface FusedInputs {
  readonly x: tf.TensorInfo;
  readonly filter: tf.TensorInfo;
  readonly bias?: tf.TensorInfo;
  readonly preluActivationWeights?: tf.TensorInfo;
}

export interface Clip {
  readonly min: number;
  readonly max: number;
}

export const noClip: Clip = {min: -Infinity, max: Infinity};

/** The activation as a range that the kernel clips its sums to; null where it is none. */
export function clipRange(activation: tf.fused.Activation | undefined): Clip | null {
  // tfjs leaves the attribute out, or null, where there is no activation.
  if (activation === 'linear' || (activation ?? null) === null) return noClip;
  if (activation === 'relu') return {min: 0, max: Infinity};
  if (activation === 'relu6') return {min: 0, max: 6};
  return null;
}

interface ActivationAttributes {
  readonly activation: tf.fused.Activation;
  readonly leakyreluAlpha?: number;
}

const kernelNames = {elu: tf.Elu, leakyrelu: tf.LeakyRelu, prelu: tf.Prelu, sigmoid: tf.Sigmoid} as const;

/** Applies an activation that is no range to `y`, which it disposes. */
export function activated(
  backend: WasmBackend,
  y: tf.TensorInfo,
  {activation, leakyreluAlpha}: ActivationAttributes,
  alpha: tf.TensorInfo | undefined,
): tf.TensorInfo {
  const kernel = tf.getKernel(kernelNames[activation as keyof typeof kernelNames], backendName);
  const inputs: tf.NamedTensorInfoMap =
    activation === 'prelu' ? {x: y, alpha: present(alpha, 'slopes of prelu')} : {x: y};
  const out = kernel.kernelFunc({
    inputs,
    attrs: leakyreluAlpha === undefined ? {} : {alpha: leakyreluAlpha},
    backend,
  }) as tf.TensorInfo;
  backend.disposeData(y.dataId);
  return out;
}

/**
 * A fused convolution out of a plain one that adds a bias for each channel and clips its sums; an activation that is no
 * range comes after it, a bias of another shape is the cpu backend's.
 * @param channelAxis of the filter: the one of the output's channels
 * @param covers whether `forward` takes these tensors
 * @param forward `bias` is its address, 0 for none
 */
export function fusedConvolution<Attributes extends ActivationAttributes>(
  kernelName: string,
  channelAxis: 2 | 3,
  covers: (attributes: Attributes, x: tf.TensorInfo, filter: tf.TensorInfo) => boolean,
  forward: (
    backend: WasmBackend,
    x: tf.TensorInfo,
    filter: tf.TensorInfo,
    bias: number,
    range: Clip,
    attributes: Attributes,
  ) => tf.TensorInfo,
): tf.KernelConfig {
  return defineKernel<FusedInputs, Attributes>(kernelName, ({backend, inputs, attrs, cpu}) => {
    const {x, filter, bias, preluActivationWeights} = inputs;
    const perChannel = bias === undefined || tf.util.arraysEqual(bias.shape, [item(filter.shape, channelAxis)]);
    if (!covers(attrs, x, filter) || !perChannel) return cpu();
    const address = bias === undefined ? 0 : backend.pointer(bias);
    const range = clipRange(attrs.activation);
    const y = forward(backend, x, filter, address, range ?? noClip, attrs);
    return range === null ? activated(backend, y, attrs, preluActivationWeights) : y;
  });
}
