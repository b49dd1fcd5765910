/** The task's metrics on a split, in full precision or at the bitwidths of a strategy. */
import type {Part} from '../data/splits.ts';
import {ExitCode, SdqError} from '../errors.ts';
import type {ForwardOptions, Network} from '../graph/network.ts';
import {evaluate, type BatchObserver} from '../training/evaluate.ts';
import type {Evaluation, Task} from '../training/task.ts';
import {openPart, type Session} from './session.ts';

/**
 * @returns null when the split is empty: no validation images were held out
 * @param signal ends it before the next batch
 * @param observe is called with the outputs of each batch, in the order of the split
 * @throws SdqError (exit 5) when the loss is not finite; the signal's reason
 */
export async function evaluateOn(
  session: Session,
  network: Network,
  part: Part,
  options: Pick<ForwardOptions, 'weight' | 'activation'> = {},
  signal?: AbortSignal,
  observe?: BatchObserver,
): Promise<Evaluation | null> {
  if (part === 'validation' && session.config.data.validation === 0) return null;
  const source = openPart(session, part, 'evaluation', session.config.seed);
  try {
    const onProgress = (done: number, total: number): void =>
      session.reporter.update(`evaluating on ${part}`, done, total);
    const evaluation = await evaluate(network, observed(session.task, observe), source, options, onProgress, signal);
    if (Number.isFinite(evaluation.loss)) return evaluation;
    throw new SdqError(
      `The loss on ${part} is ${evaluation.loss}: the weights are finite, so the activations overflowed.`,
      {
        code: 'loss-not-finite',
        exit: ExitCode.targetNotReached,
        suggestions: ['Train with a lower learningRate, or evaluate an earlier checkpoint.'],
      },
    );
  } finally {
    await source.close();
  }
}

function observed(task: Pick<Task, 'meter'>, observe: BatchObserver | undefined): Parameters<typeof evaluate>[1] {
  if (observe === undefined) return task;
  return {
    meter() {
      const meter = task.meter();
      return {
        add(outputs, batch) {
          meter.add(outputs, batch);
          observe(outputs, batch);
        },
        result: () => meter.result(),
      };
    },
  };
}
