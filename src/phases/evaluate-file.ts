/** Accuracy of a file of weights, at the bitwidths of a strategy where there is one. */
import type {Part} from '../data/splits.ts';
import {ExitCode, SdqError} from '../errors.ts';
import type {Evaluation} from '../training/evaluate.ts';
import {evaluateOn} from './evaluate.ts';
import {readModelFile} from './model-file.ts';
import {calibrateInputs, loadLearnedValues} from './quantized-network.ts';
import {createModel, firstImages, type Session} from './session.ts';
import {checkedStrategy, readStrategy} from './strategy-file.ts';
import {matchModel, quantizeByStrategy} from './train.ts';

/**
 * @param checkpoint weights; with a strategy in its metadata when `sdq train` wrote it
 * @param strategyFile quantizes by this one instead; steps and ranges that the checkpoint lacks come from statistics and
 *   from one batch of training images
 * @throws SdqError (exit 3) when the split is empty, or a file is broken or not of this network
 */
export async function evaluateFile(
  session: Session,
  checkpoint: string,
  strategyFile: string | undefined,
  part: Part,
): Promise<{readonly evaluation: Evaluation; readonly meanWeightBits: number | null}> {
  const file = readModelFile(checkpoint);
  const strategy =
    strategyFile === undefined
      ? file.strategy === undefined
        ? undefined
        : checkedStrategy(file.strategy, checkpoint)
      : readStrategy(strategyFile);
  const network = createModel(session, checkpoint);
  try {
    let evaluation: Evaluation | null;
    if (strategy === undefined) {
      evaluation = await evaluateOn(session, network, part);
    } else {
      matchModel(session, network, strategy, strategyFile ?? checkpoint);
      const hasSteps = [...file.tensors.keys()].some((name) => name.endsWith('.weight_step'));
      const quantization = await quantizeByStrategy(session, network, strategy, hasSteps && strategyFile === undefined);
      try {
        const missing = loadLearnedValues(quantization, file.tensors);
        if (missing.length > 0) {
          const images = await firstImages(session);
          calibrateInputs(network, quantization.inputs, images);
          images.dispose();
        }
        evaluation = await evaluateOn(session, network, part, quantization.forward);
      } finally {
        quantization.dispose();
      }
    }
    if (evaluation === null) {
      throw new SdqError('The validation split is empty: data.validation is 0.', {
        code: 'no-validation-split',
        exit: ExitCode.invalidInput,
        suggestions: ['--set data.validation=5000', '--split test'],
      });
    }
    return {evaluation, meanWeightBits: strategy?.summary.meanWeightBits ?? null};
  } finally {
    network.dispose();
  }
}
