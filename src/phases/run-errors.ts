/** How a run ends after an error, and the command that its error suggests. */
import path from 'node:path';

import {epochBatches} from '../data/batches.ts';
import {ExitCode, SdqError} from '../errors.ts';
import {item} from '../lookup.ts';
import {leaves} from '../mapping.ts';
import {fromCommand, resumeCommand} from '../runs/run-commands.ts';
import type {Run} from '../runs/run-directory.ts';
import {epochsToReach} from './preflight.ts';
import {digits, inUnits, type SearchResult} from './results.ts';
import {buildGraph, type Session} from './session.ts';

/** The error with a command: one that continues from the last checkpoint, or one that begins a new run where that would fail again. */
export function resumable(error: unknown, run: Run): unknown {
  if (error instanceof SdqError && error.code === 'engine-out-of-memory') {
    // A resumed run keeps its batch size.
    const batch = error.suggestions.flatMap((text) => /data\.batchSize=\d+/.exec(text) ?? []);
    const {command} = run.record();
    if (batch.length === 0) return error;
    return new SdqError(error.message, {
      code: error.code,
      exit: error.oclif.exit,
      suggestions: [
        `Begin a new run with a smaller batch: ${fromCommand(command, run.directory)} --set ${item(batch, 0)}`,
      ],
      cause: error,
    });
  }
  if (!(error instanceof SdqError) || error.code === 'checkpoints-damaged' || run.checkpoints.isEmpty()) return error;
  const {exit} = error.oclif;
  if (![ExitCode.invalidInput, ExitCode.notAvailable].some((code) => code === exit)) return error;
  const moved = placeNamed(run.record().config, error.message);
  const command = `${resumeCommand(run.record().command, run.directory)}${moved === undefined ? '' : ` --set ${moved}=PATH`}`;
  return new SdqError(error.message, {
    code: error.code,
    exit,
    suggestions: [...error.suggestions, `Then continue from the last checkpoint: ${command}`],
    cause: error,
  });
}

/** What `run.json` keeps of an error. */
export function reasonOf(error: unknown): {readonly code: string; readonly message: string} {
  if (error instanceof SdqError) return {code: error.code, message: error.message};
  return {code: 'bug', message: error instanceof Error ? `${error.name}: ${error.message}` : String(error)};
}

/** The key of the config whose path a message names, the longest of several; the folder of the runs aside. */
function placeNamed(config: unknown, message: string): string | undefined {
  const places = [...leaves(config as Record<string, unknown>, '.')].filter(
    (leaf): leaf is [string, string] =>
      typeof leaf[1] === 'string' &&
      path.isAbsolute(leaf[1]) &&
      message.includes(leaf[1]) &&
      !leaf[0].split('.').includes('runs'),
  );
  return places.toSorted(([, a], [, b]) => b.length - a.length)[0]?.[0];
}

/** Ends the run after an error, without hiding it behind a second one, e.g. of the same full disk. */
export function endAfter(error: unknown, run: Run): void {
  const exit = error instanceof SdqError ? error.oclif.exit : ExitCode.bug;
  const isStopped = exit === ExitCode.interrupted || exit === ExitCode.terminated;
  try {
    run.end(isStopped ? 'interrupted' : 'failed', exit, reasonOf(error));
  } catch (second) {
    if (!(second instanceof SdqError)) throw second;
  }
}

/** The error of a search that ended above a target; undefined when all were reached, or the method does not promise to. */
export function targetMissed(session: Session, budgets: SearchResult['budgets'], run: Run): SdqError | undefined {
  const {config, dataset, registry} = session;
  if (registry.get('searcher', config.search.method).keepsTargets === false) return undefined;
  const missed = budgets.filter(({missedBy}) => missedBy > 0);
  if (missed.length === 0) return undefined;
  const needed = epochsToReach(session, buildGraph(session, config.model), epochBatches(dataset, config.data)) ?? 0;
  const epochs = Math.max(needed, 2 * config.search.epochs);
  return new SdqError(
    missed
      .map(
        ({name, target, cost, missedBy}) =>
          `The search ended at ${inUnits(name, cost)}, ${digits(missedBy)} above the target of ${target}.`,
      )
      .join(' '),
    {
      code: 'target-not-reached',
      exit: ExitCode.targetNotReached,
      suggestions: [
        `Search longer: ${fromCommand(run.record().command, run.directory)} --set search.epochs=${epochs}`,
        'Or give it a higher search.dualRate or a higher target.',
      ],
    },
  );
}
