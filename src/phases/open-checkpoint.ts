/** The network of a file of weights, at the bitwidths of a strategy where there is one. */
import {createNetwork, type Network} from '../graph/network.ts';
import type {Strategy} from '../sdq/strategy.ts';
import {calibrateInputs} from '../training/calibration.ts';
import {checkRecord, quantizationRecord} from '../training/quantization-record.ts';
import {loadLearnedValues, rangeName, usableLearnedValues, type Quantization} from '../training/quantized-network.ts';
import {sampleTrainingInputs} from './calibration.ts';
import {readModelFile} from './model-file.ts';
import {buildGraph, fittingWeights, type Session} from './session.ts';
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
 * @param strategyFile quantizes by this one instead. Learned steps and ranges of the checkpoint are used in the layers where both
 *   strategies have the same bits and quantizer; the others come from the weights' statistics and from a sample of training images
 * @throws SdqError (exit 3) when a file is broken or not of this network
 */
export async function openCheckpoint(
  session: Session,
  checkpoint: string,
  strategyFile: string | undefined,
): Promise<OpenCheckpoint> {
  const file = readModelFile(checkpoint);
  const own = file.strategy === undefined ? undefined : checkedStrategy(file.strategy, checkpoint);
  const strategy = strategyFile === undefined ? own : readStrategy(strategyFile);
  const graph = buildGraph(session, session.config.model, (message) => session.reporter.line(message));
  const network = createNetwork(graph, fittingWeights(graph, file, checkpoint));
  let quantization: Quantization | undefined;
  const dispose = (): void => {
    quantization?.dispose();
    network.dispose();
  };
  try {
    if (strategy !== undefined) {
      matchModel(session, network, strategy, strategyFile ?? checkpoint);
      const learned = usableLearnedValues(file.tensors, own, strategy);
      const hasSteps = [...learned.keys()].some((name) => name.endsWith('.weight_step'));
      quantization = await quantizeByStrategy(session, network, strategy, hasSteps);
      if (strategyFile === undefined)
        checkRecord(file.quantization, quantizationRecord(network, quantization), checkpoint);
      const missing = new Set(loadLearnedValues(quantization, learned));
      const open = new Map([...quantization.inputs].filter(([layer]) => missing.has(rangeName(layer))));
      const note = calibrateInputs(open, await sampleTrainingInputs(session, network, open.keys()));
      if (note !== undefined) session.reporter.line(note);
    }
    return {network, strategy, quantization, dispose};
  } catch (error) {
    dispose();
    throw error;
  }
}
