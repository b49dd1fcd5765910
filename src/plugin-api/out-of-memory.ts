/** An engine that has no room for a tensor. */
import {ExitCode, SdqError} from '../errors.ts';

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}

export class OutOfMemoryError extends SdqError {
  readonly neededBytes: number;
  readonly limitBytes: number;

  /**
   * @param asked bytes of the tensor that found no room
   * @param inUse bytes that other tensors hold
   * @param limit bytes that the engine may use
   */
  constructor(engine: string, asked: number, inUse: number, limit: number) {
    super(
      `The ${engine} engine is out of memory: ${mebibytes(asked)} MiB were asked for while ${mebibytes(inUse)} MiB of ` +
        `${mebibytes(limit)} MiB are in use.`,
      {code: 'engine-out-of-memory', exit: ExitCode.notAvailable, suggestions: ['Use a smaller batch size.']},
    );
    this.neededBytes = inUse + asked;
    this.limitBytes = limit;
  }
}

/**
 * Adds a batch size to the suggestions of an out-of-memory error; other errors are returned unchanged. Memory grows with the batch, so
 * `batch` × limit / needed is an upper bound.
 * @param batch images of the step that failed
 */
export function suggestBatchSize(error: unknown, batch: number): unknown {
  if (!(error instanceof OutOfMemoryError)) return error;
  const most = Math.floor((batch * error.limitBytes) / error.neededBytes);
  return new SdqError(`${error.message} A step of ${batch} images does not fit; at most ${most} do.`, {
    code: error.code,
    exit: error.oclif.exit,
    suggestions: [`Use a smaller batch: --set data.batchSize=${Math.max(1, most)}.`],
    cause: error,
  });
}
