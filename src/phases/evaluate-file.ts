/** The task's metrics of a file of weights, at the bitwidths of a strategy where there is one. */
import type {Part} from '../data/splits.ts';
import {ExitCode, SdqError} from '../errors.ts';
import type {Evaluation} from '../training/task.ts';
import {evaluateOn} from './evaluate.ts';
import {openCheckpoint} from './open-checkpoint.ts';
import type {Session} from './session.ts';

/**
 * @param checkpoint and `strategyFile` as for `openCheckpoint`
 * @throws SdqError (exit 3) when the split is empty, or a file is broken or not of this network
 */
export async function evaluateFile(
  session: Session,
  checkpoint: string,
  strategyFile: string | undefined,
  part: Part,
): Promise<{readonly evaluation: Evaluation; readonly meanWeightBits: number | null}> {
  const {dispose, network, quantization, strategy} = await openCheckpoint(session, checkpoint, strategyFile);
  try {
    const evaluation = await evaluateOn(session, network, part, quantization?.forward);
    if (evaluation === null) throw noValidationSplit();
    return {evaluation, meanWeightBits: strategy?.summary.meanWeightBits ?? null};
  } finally {
    dispose();
  }
}

export function noValidationSplit(): SdqError {
  return new SdqError('The validation split is empty: data.validation is 0.', {
    code: 'no-validation-split',
    exit: ExitCode.invalidInput,
    suggestions: ['--set data.validation=5000', '--split test'],
  });
}
