import {ExitCode, SdqError} from '../errors.ts';
import {syncCommand} from '../runs/run-commands.ts';
import type {PumpOutcome} from '../tracking/pump.ts';

/** The error of trackers that have not got everything; undefined when all have. */
export function trackersFailed(
  outcomes: readonly PumpOutcome[],
  run: {readonly id: string; readonly directory: string},
): SdqError | undefined {
  const failed = outcomes.filter(({complete}) => !complete);
  if (failed.length === 0) return undefined;
  const reasons = failed.map(({message, name}) => `${name}: ${message ?? 'not all was sent'}.`);
  return new SdqError(`Not everything of ${run.id} is at its trackers. ${reasons.join(' ')}`, {
    code: 'tracking-incomplete',
    exit: ExitCode.notAvailable,
    suggestions: [syncCommand(run.directory)],
  });
}
