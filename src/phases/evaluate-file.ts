/** The task's metrics of a file of weights, at the bitwidths of a strategy where there is one. */
import type {Part} from '../data/splits.ts';
import {invalidInput, type SdqError} from '../errors.ts';
import type {Network} from '../graph/network.ts';
import type {Evaluation} from '../training/task.ts';
import {deployCheckpoint, readTarget, simulatedNetwork} from './deployment.ts';
import {evaluateOn} from './evaluate.ts';
import {openCheckpoint} from './open-checkpoint.ts';
import type {Session} from './session.ts';

/**
 * @param checkpoint and `strategyFile` as for `openCheckpoint`
 * @param targetName simulates this target's arithmetic, as for `readTarget`
 * @throws SdqError (exit 3) when the split is empty, or a file is broken or not of this network
 */
export async function evaluateFile(
  session: Session,
  checkpoint: string,
  strategyFile: string | undefined,
  part: Part,
  targetName?: string,
): Promise<{readonly evaluation: Evaluation; readonly meanWeightBits: number | null}> {
  const target = targetName === undefined ? undefined : readTarget(targetName);
  const opened = await openCheckpoint(session, checkpoint, strategyFile);
  const {dispose, network, quantization, strategy} = opened;
  let simulated: Network | undefined;
  try {
    if (target !== undefined) {
      const deployment = await deployCheckpoint(session, opened, target);
      deployment.notes.forEach((note) => session.reporter.line(note));
      simulated = simulatedNetwork(deployment);
    }
    const evaluation = await evaluateOn(
      session,
      simulated ?? network,
      part,
      simulated === undefined ? quantization?.forward : undefined,
    );
    if (evaluation === null) throw noValidationSplit();
    return {evaluation, meanWeightBits: strategy?.summary.meanWeightBits ?? null};
  } finally {
    simulated?.dispose();
    dispose();
  }
}

export function noValidationSplit(): SdqError {
  return invalidInput('no-validation-split', 'The validation split is empty: data.validation is 0.', [
    '--set data.validation=5000',
    '--split test',
  ]);
}
