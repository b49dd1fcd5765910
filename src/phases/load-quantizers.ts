import type {Registry} from '../plugin-api/registry.ts';
import type {Quantizers} from '../training/quantized-network.ts';

/** The quantizers of a strategy or config, with their arithmetic. @throws SdqError (exit 3) for an unknown name */
export async function loadQuantizers(
  registry: Registry,
  names: {readonly weights: string; readonly activations: string},
): Promise<Quantizers> {
  const [weights, activations, signedActivations] = await Promise.all([
    registry.get('weight-quantizer', names.weights).load(),
    registry.get('activation-quantizer', names.activations).load(),
    registry.get('activation-quantizer', 'lsq').load(),
  ]);
  return {weights, activations, signedActivations};
}
