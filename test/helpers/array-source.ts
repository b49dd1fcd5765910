import type {BatchSource} from '../../src/data/batches.ts';

/** Batches of given sizes out of a function: what the loop sees of the input pipeline. */
export function arraySource(
  sizes: readonly number[],
  make: (epoch: number, index: number, size: number) => {images: Float32Array; labels: Int32Array},
): BatchSource {
  return {
    batchesPerEpoch: sizes.length,
    samples: sizes.reduce((sum, size) => sum + size, 0),
    batch: (epoch, index) => {
      const size = sizes[index]!;
      return Promise.resolve({...make(epoch, index, size), size, waitMs: 2});
    },
    close: () => Promise.resolve(),
  };
}
