/**
 * AIMET's encodings (quic/aimet, encoding format specification), with the scales that training left in the checkpoint. Version 2.0.0 has
 * one entry a tensor, in the terms of ONNX QuantizeLinear, and integer types of ONNX; version 1.0.0 has any number of bits.
 */
import type {StrategyFormatDefinition} from '../../plugin-api/registry.ts';
import {asJson, formatError} from './checks.ts';
import {encodedModel, encodingsOf, type Encoding} from './encodings.ts';

const types = [2, 4, 8];

function entry({name, bits, signed, steps, axis}: Encoding): object {
  if (!types.includes(bits)) {
    throw formatError(`AIMET encodings 2.0.0 have 2, 4 and 8 bits; "${name}" has ${bits}.`, [
      'Write version 1.0.0, which has all: --format aimet-1.',
    ]);
  }
  return {
    name,
    ...(steps.length === 1 ? {y_scale: steps[0]} : {y_scale: steps, axis}),
    output_dtype: `${signed ? 'int' : 'uint'}${bits}`,
  };
}

export const aimet: StrategyFormatDefinition = {
  kind: 'strategy-format',
  name: 'aimet',
  summary: 'AIMET’s encodings 2.0.0, with the scales of a trained checkpoint; 2, 4 and 8 bits.',
  extension: 'encodings.json',

  print(strategy, context) {
    const {weights, inputs} = encodingsOf(strategy, context, 'AIMET encodings');
    return {text: asJson({version: '2.0.0', encodings: [...inputs, ...weights].map(entry)}), notes: [encodedModel]};
  },
};

/** Integers count from the lowest: value = scale · (q + offset) with q in 0 … 2^bits − 1. */
const oldEntry = ({name, bits, signed, steps}: Encoding): object => ({
  name,
  enc_type: steps.length === 1 ? 'PER_TENSOR' : 'PER_CHANNEL',
  dtype: 'INT',
  bw: bits,
  is_sym: signed,
  scale: steps,
  offset: steps.map(() => lowest({bits, signed})),
});

const lowest = ({bits, signed}: Pick<Encoding, 'bits' | 'signed'>): number => (signed ? -(2 ** (bits - 1)) : 0);

export const aimet1: StrategyFormatDefinition = {
  kind: 'strategy-format',
  name: 'aimet-1',
  summary: 'AIMET’s encodings 1.0.0, with the scales of a trained checkpoint; every bitwidth from 2.',
  extension: 'encodings.json',

  print(strategy, context) {
    const {weights, inputs} = encodingsOf(strategy, context, 'AIMET encodings');
    const file = {
      version: '1.0.0',
      activation_encodings: inputs.map(oldEntry),
      param_encodings: weights.map(oldEntry),
      excluded_layers: [],
    };
    return {text: asJson(file), notes: [encodedModel]};
  },
};

/** One of the tensor's channels in `quantization_overrides`, where a range stands beside the step. */
const channel = ({bits, signed}: Encoding, scale: number): object => {
  const offset = lowest({bits, signed});
  return {
    bitwidth: bits,
    dtype: 'int',
    is_symmetric: signed ? 'True' : 'False',
    min: scale * offset,
    max: scale * (offset + 2 ** bits - 1),
    scale,
    offset,
  };
};

export const qnn: StrategyFormatDefinition = {
  kind: 'strategy-format',
  name: 'qnn',
  summary: 'quantization_overrides of Qualcomm’s QNN converters (AIMET’s encodings 0.6.1).',
  extension: 'qnn.json',

  print(strategy, context) {
    const {weights, inputs} = encodingsOf(strategy, context, 'quantization_overrides');
    const byTensor = (encodings: readonly Encoding[]): object =>
      Object.fromEntries(
        encodings.map((encoding) => [encoding.name, encoding.steps.map((step) => channel(encoding, step))]),
      );
    const file = {version: '0.6.1', activation_encodings: byTensor(inputs), param_encodings: byTensor(weights)};
    return {text: asJson(file), notes: [encodedModel]};
  },
};
