/** The network of a file of weights, at the bitwidths of a strategy where there is one. */
import {createNetwork, type Network} from '../graph/network.ts';
import type {Strategy} from '../sdq/strategy.ts';
import {readModelFile} from './model-file.ts';
import {calibrateInputs, loadLearnedValues, type Quantization} from './quantized-network.ts';
import {buildGraph, firstImages, fittingWeights, type Session} from './session.ts';
import {checkedStrategy, readStrategy} from './strategy-file.ts';
import {matchModel, quantizeByStrategy} from './train.ts';

export interface OpenCheckpoint {
  readonly network: Network;
  /** Undefined in full precision, as is `quantization`. */
  readonly strategy: Strategy | undefined;
  readonly quantization: Quantization | undefined;
  readonly dispose: () => void;
}

/**
 * @param checkpoint weights; with a strategy in its metadata when `sdq train` wrote it
 * @param strategyFile quantizes by this one instead; steps and ranges that the checkpoint lacks come from statistics and
 *   from one batch of training images
 * @throws SdqError (exit 3) when a file is broken or not of this network
 */
export async function openCheckpoint(
  session: Session,
  checkpoint: string,
  strategyFile: string | undefined,
): Promise<OpenCheckpoint> {
  const file = readModelFile(checkpoint);
  const strategy =
    strategyFile === undefined
      ? file.strategy === undefined
        ? undefined
        : checkedStrategy(file.strategy, checkpoint)
      : readStrategy(strategyFile);
  const graph = buildGraph(session, session.config.model);
  const network = createNetwork(graph, fittingWeights(graph, file, checkpoint));
  let quantization: Quantization | undefined;
  const dispose = (): void => {
    quantization?.dispose();
    network.dispose();
  };
  try {
    if (strategy !== undefined) {
      matchModel(session, network, strategy, strategyFile ?? checkpoint);
      const hasSteps = [...file.tensors.keys()].some((name) => name.endsWith('.weight_step'));
      quantization = await quantizeByStrategy(session, network, strategy, hasSteps && strategyFile === undefined);
      const missing = loadLearnedValues(quantization, file.tensors);
      if (missing.length > 0) {
        const images = await firstImages(session);
        calibrateInputs(network, quantization.inputs, images);
        images.dispose();
      }
    }
    return {network, strategy, quantization, dispose};
  } catch (error) {
    dispose();
    throw error;
  }
}
