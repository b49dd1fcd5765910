/**
 * The fused operators of sdq: their names, inputs, attributes and outputs.
 *
 * Every one has a composed definition out of plain tfjs operators in this folder (portable, and the oracle of the
 * tests). A backend may register a kernel of the same name (`tf.registerKernel({kernelName, backendName, kernelFunc})`,
 * `kernelFunc` returns the TensorInfos listed under "out"); `runFused` picks it when it is there.
 *
 * Layouts: activations NHWC or [N, C], filters HWIO, Gemm weights [in, out]: the channel of the *output* is always the
 * last axis (depthwise filters [kh, kw, C, 1] use axis 2 and are reshaped to [kh·kw, C] by the caller). All float32.
 */
import * as tf from '@tensorflow/tfjs-core';

/**
 * The thresholds of a half-integer grid lie 2^-17 of a step below the middle between two levels [ours]. At 1 bit the middle is 0, and
 * sums that cancel are common there: of as many steps up as down float32 leaves some 1e-7 of a step, its sign by the order of the
 * additions. With the threshold below them, all engines and all exported files take them to the upper level.
 */
export const tieShift = 2 ** -16;

/**
 * A uniform grid: q = clip(round_half_even(x / s − offset + offset · tieShift), qmin, qmax), value = s · (q + offset).
 * `offset` 0.5 is the half-integer grid (1-bit ±c has s = 2c, qmin −1, qmax 0).
 * PACT is qmin 0, qmax 2^b − 1, s = α / (2^b − 1).
 */
export interface Grid {
  readonly qmin: number;
  readonly qmax: number;
  readonly offset: 0 | 0.5;
}

/**
 * How a fake-quantizer hands its gradient back. With z = x / s − offset and inside = (qmin ≤ z ≤ qmax):
 * - input: `identity` dx = dy; `clipped` dx = dy where inside, else 0.
 * - scale: `none` 0; `clip` (PACT) Σ dy·(qmax + offset) over z > qmax plus Σ dy·(qmin + offset) over z < qmin;
 *   `lsq` the same plus Σ dy·(round(z) + offset − x / s) over the inside. Multiplied by `gradientScale`.
 * A sum runs over everything that shares the scale.
 */
export interface GradientRule {
  readonly input: 'identity' | 'clipped';
  readonly scale: 'none' | 'clip' | 'lsq';
  readonly gradientScale: number;
}

/** Element-wise clip that serves Relu (0, ∞), Clip (0, 6) and no activation (−∞, ∞). */
export interface ActivationRange {
  readonly min: number;
  readonly max: number;
}

/** Attributes of the batch-norm kernels; `grid` null leaves the output unquantized and the input `scale` unused. */
export interface BatchNormActAttributes extends ActivationRange {
  readonly epsilon: number;
  readonly grid: Grid | null;
  readonly rule: GradientRule;
}

export interface GeluAttributes {
  /** By tanh. */
  readonly approximate: boolean;
}

export interface LeakyReluAttributes {
  readonly alpha: number;
}

export interface LayerNormAttributes {
  readonly epsilon: number;
}

export interface SgdAttributes {
  readonly learningRate: number;
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;
}

export interface AdamAttributes {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** true: AdamW (decoupled decay); false: decay is added to the gradient. */
  readonly decoupled: boolean;
  /** 1 for the first update. */
  readonly step: number;
}

/**
 * | kernel | inputs | attributes | out |
 * |---|---|---|---|
 * | SdqFakeQuantize | x [..., C], scale [] or [C] | Grid | y like x |
 * | SdqFakeQuantizeGrad | x, scale, dy | {grid: Grid, rule: GradientRule} | dx like x, dscale like scale |
 * | SdqBatchNormAct | x [..., C], gamma [C], beta [C], scale [] | BatchNormActAttributes | y, mean [C], variance [C] (biased, of the batch) |
 * | SdqBatchNormActGrad | x, gamma, beta, mean, variance, scale [], dy | BatchNormActAttributes | dx, dgamma, dbeta, dscale [] |
 * | SdqAddAct | a, b (same shape) | ActivationRange | clip(a + b, min, max) |
 * | SdqClipGrad | y (the clipped output), dy | ActivationRange | dy where min < y < max, else 0 |
 * | SdqGelu | x | GeluAttributes | y like x |
 * | SdqGeluGrad | x, dy | GeluAttributes | dx |
 * | SdqLeakyRelu | x | LeakyReluAttributes | x where it is positive, else alpha · x |
 * | SdqLeakyReluGrad | x, dy | LeakyReluAttributes | dy where x is positive, else alpha · dy |
 * | SdqLayerNorm | x [rows, C], gamma [C], beta [C] | LayerNormAttributes | y like x |
 * | SdqLayerNormGrad | x, gamma, dy | LayerNormAttributes | dx, dgamma, dbeta |
 * | SdqSoftmaxGrad | y (the softmax over the last axis), dy | {} | y · (dy − Σ y · dy) |
 * | SdqSoftmaxCrossEntropy | logits [N, C], targets [N, C] (rows sum to 1) | {} | mean loss [], dlogits [N, C] of it |
 * | SdqBinRegularizer | w [..., C], scale [] or [C] | Grid | loss [], dw like w of it |
 * | SdqSgdUpdate | param, grad, velocity | SgdAttributes | param', velocity' |
 * | SdqAdamUpdate | param, grad, m, v | AdamAttributes | param', m', v' |
 *
 * Batch-norm: z = gamma · (x − mean) / √(variance + epsilon) + beta, a = clip(z, min, max), y = fake-quantize(a).
 * Its gradient recomputes z from x: only x is saved. An element passes where min < z < max and by `rule.input`.
 *
 * Bin regularizer (EBR): d = w / s − (q + offset) with q the grid index, v = s²; loss = mean(v d²) + Σ over bins b with
 * n_b ≥ 2 weights of n_b / n · Σ_b v (d − m_b)² / (n_b − 1), m_b = Σ_b v d / Σ_b v; bins over the whole tensor by q.
 * dw = 2 s · (d / n + n_b / n · (d − m_b) / (n_b − 1)), the second term where n_b ≥ 2.
 *
 * Sgd as PyTorch: g = grad + weightDecay·p; v' = momentum·v + g; p' = p − lr·(nesterov ? g + momentum·v' : v').
 * Adam as PyTorch: m' = β1·m + (1−β1)·g, v' = β2·v + (1−β2)·g², p' = p·(decoupled ? 1 − lr·wd : 1) − lr·m̂/(√v̂ + ε).
 */
export type FusedKernel =
  | 'SdqFakeQuantize'
  | 'SdqFakeQuantizeGrad'
  | 'SdqBatchNormAct'
  | 'SdqBatchNormActGrad'
  | 'SdqAddAct'
  | 'SdqClipGrad'
  | 'SdqGelu'
  | 'SdqGeluGrad'
  | 'SdqLeakyRelu'
  | 'SdqLeakyReluGrad'
  | 'SdqLayerNorm'
  | 'SdqLayerNormGrad'
  | 'SdqSoftmaxGrad'
  | 'SdqSoftmaxCrossEntropy'
  | 'SdqBinRegularizer'
  | 'SdqSgdUpdate'
  | 'SdqAdamUpdate';

/** Runs the current backend's kernel of this name, or the composed definition where it has none. */
export function runFused(
  name: FusedKernel,
  inputs: Readonly<Record<string, tf.Tensor>>,
  attributes: object,
  composed: () => tf.Tensor[],
): tf.Tensor[] {
  const kernel = tf.getKernel(name, tf.getBackend()) as tf.KernelConfig | undefined;
  if (kernel === undefined) return tf.tidy(composed);
  const out: tf.Tensor | tf.Tensor[] = tf.engine().runKernel(name, {...inputs}, attributes as tf.NamedAttrMap);
  return Array.isArray(out) ? out : [out];
}
