import {item} from '../../../lookup.ts';
import type {SearchContext} from '../../../plugin-api/searcher.ts';
import type {Candidate, Decision} from '../../../sdq/search/problem.ts';
import {fullPrecision} from '../../../sdq/strategy.ts';
import {calibrateInputs, type InputSample} from '../../../training/calibration.ts';
import {quantize, type Quantization} from '../../../training/quantized-network.ts';

/**
 * The network with one decision at a candidate's bits and all else in full precision: weight steps from statistics, input
 * ranges from the sample. The caller disposes it.
 */
export function quantizedAlone(
  {network, quantizers}: Pick<SearchContext, 'network' | 'quantizers'>,
  {layers}: Decision,
  {weightBits = fullPrecision, activationBits = fullPrecision}: Candidate,
  inputs: InputSample,
): Quantization {
  const names = new Set(layers.map((l) => item(network.layers, l).name));
  const none = {weightBits: fullPrecision, activationBits: fullPrecision};
  const precision = {weightBits, activationBits};
  const quantization = quantize(network, quantizers, ({name}) => (names.has(name) ? precision : none), {
    learnSteps: false,
  });
  calibrateInputs(quantization.inputs, inputs);
  return quantization;
}
