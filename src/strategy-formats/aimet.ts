/**
 * AIMET's encodings 2.0.0 (quic/aimet, encoding format specification): one entry a tensor, one to one with ONNX QuantizeLinear. The
 * scales are those that training left in the checkpoint.
 */
import type {QuantizedLayer} from '../graph/layer-table.ts';
import {formatError, type StrategyFormat} from './format.ts';

/** The integer types of the format that hold so many bits. */
const container = (bits: number): number => (bits <= 2 ? 2 : bits <= 4 ? 4 : 8);

/** Half-integer grid of 1 bit: (q + ½) times the step. */
const zeroPoint = (bits: number, signed: boolean): {y_zero_point?: number} =>
  bits === 1 && signed ? {y_zero_point: -0.5} : {};

/** The step of a layer's input from its learned parameter, by quantizer. */
function inputStep(quantizer: string, parameter: number, bits: number, {name, inputSigned}: QuantizedLayer): number {
  if (quantizer === 'lsq' || (quantizer === 'pact' && inputSigned)) return parameter;
  if (quantizer === 'pact') return parameter / (2 ** bits - 1);
  throw formatError(
    `AIMET encodings are written for the activation quantizers pact and lsq; layer "${name}" has ${quantizer}.`,
  );
}

export const aimet: StrategyFormat = {
  name: 'aimet',
  summary: 'AIMET’s encodings 2.0.0, with the scales of a trained checkpoint.',
  extension: 'encodings.json',

  print({layers, quantizers}, {layers: table, tensors}) {
    if (tensors === undefined) {
      throw formatError('AIMET encodings hold scales, which are learned in training.', [
        'Give the trained network: --checkpoint quantized.safetensors.',
      ]);
    }
    const tensor = (name: string): Float32Array => {
      const found = tensors.get(name);
      if (found === undefined) {
        throw formatError(`The checkpoint has no tensor "${name}".`, [
          'It must be a quantized network, trained with train.learnScales.',
        ]);
      }
      return found.data;
    };
    const notes = new Set<string>();
    const weights = layers.flatMap(({name, weightBits}, l) => {
      if (weightBits === 32) return [];
      const {weight, op, sharedWith} = table[l]!;
      const steps = [...tensor(`${sharedWith ?? name}.weight_step`)];
      if (container(weightBits) !== weightBits)
        notes.add('Widths that the format has not stand in the next type: int2, int4, int8.');
      return [
        {
          name: weight,
          y_scale: steps.length === 1 ? steps[0] : steps,
          ...(steps.length === 1 ? {} : {axis: op === 'MatMul' ? 1 : 0}),
          ...zeroPoint(weightBits, true),
          output_dtype: `int${container(weightBits)}`,
        },
      ];
    });
    const activations = layers.flatMap(({name, activationBits}, l) => {
      if (activationBits === 32) return [];
      const layer = table[l]!;
      const [parameter] = tensor(`${name}.input_range`);
      return [
        {
          name: layer.inputValue,
          y_scale: inputStep(quantizers.activations, parameter!, activationBits, layer),
          ...zeroPoint(activationBits, layer.inputSigned),
          output_dtype: `${layer.inputSigned ? 'int' : 'uint'}${container(activationBits)}`,
        },
      ];
    });
    const byTensor = new Map<string, object>();
    for (const encoding of [...activations, ...weights]) {
      if (byTensor.has(encoding.name))
        notes.add(`"${encoding.name}" is read by several layers and has the encoding of the first.`);
      else byTensor.set(encoding.name, encoding);
    }
    const file = {version: '2.0.0', encodings: [...byTensor.values()]};
    return {text: `${JSON.stringify(file, null, 2)}\n`, notes: [...notes]};
  },
};
