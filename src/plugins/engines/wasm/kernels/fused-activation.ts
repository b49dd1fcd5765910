/** The activation that tfjs' fused convolutions and products end with. */
import * as tf from '@tensorflow/tfjs-core';

import {backendName, type WasmBackend} from '../backend.ts';

/** Inputs of the fused convolutions. */
export interface FusedInputs {
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
  const inputs: tf.NamedTensorInfoMap = activation === 'prelu' ? {x: y, alpha: alpha!} : {x: y};
  const out = kernel.kernelFunc({inputs, attrs: {alpha: leakyreluAlpha!}, backend}) as tf.TensorInfo;
  backend.disposeData(y.dataId);
  return out;
}
