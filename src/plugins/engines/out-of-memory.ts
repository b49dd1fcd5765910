/** An engine that has no room for a tensor. */
import {ExitCode, SdqError} from '../../errors.ts';

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
 * What to throw for an error in a step of `batch` images: an out-of-memory then also says which batch size would fit. The
 * memory of a step grows with its batch, and it took at least what was needed when it failed: at most so many images fit.
 */
export function withFittingBatch(error: unknown, batch: number): unknown {
  if (!(error instanceof OutOfMemoryError)) return error;
  const most = Math.floor((batch * error.limitBytes) / error.neededBytes);
  return new SdqError(`${error.message} A step of ${batch} images does not fit; at most ${most} do.`, {
    code: error.code,
    exit: error.oclif.exit,
    suggestions: [`Use a smaller batch: --set data.batchSize=${Math.max(1, most)}.`],
    cause: error,
  });
}
