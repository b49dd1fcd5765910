/** Convolutions by Winograd's minimal filtering, and how many tiles a group of them has: ../assembly/winograd.ts. */
import {tileColumns, winogradPositions, winogradSlack, winogradZeros} from '../assembly/shared.ts';
import type {WasmBackend} from '../backend.ts';
import {align, multiplyAdds, planned, type Geometry} from './conv-geometry.ts';
import type {Clip} from './fused-activation.ts';
import {panelCount, withFlag} from './panels.ts';

/** Bytes of transformed tiles that stay in the second-level cache next to the weights. */
const groupBytes = 384 * 1024;

/** Tiles of 4 × 4 outputs, and how many of them a group has. */
function tiled(g: Geometry, threads: number): {readonly tiles: number; readonly group: number} {
  const tiles = g.batch * Math.ceil(g.outHeight / 4) * Math.ceil(g.outWidth / 4);
  const fit = Math.floor(groupBytes / (4 * winogradPositions * (g.channels + g.outChannels)));
  // Where the weights are too large for the cache, enough tiles that each group reads about as much of them as of its own.
  const balanced = (g.channels * g.outChannels) / (2 * (g.channels + g.outChannels));
  const most = Math.max(16, Math.min(64, Math.max(fit, balanced)));
  return {tiles, group: 4 * Math.ceil(Math.min(most, tiles / (2 * threads)) / 4)};
}

/** A thread's scratch: its head with a pixel of zeros, then the tiles of a group of both sides. @param widest channels of the pixel */
function winogradBytes(g: Geometry, group: number, widest: number): number {
  const tiles = 4 * group * (g.channels + g.outChannels) + 2 * winogradSlack;
  return align(winogradZeros + 4 * widest + winogradPositions * tiles);
}

/** Whether F(4×4, 3×3) takes this convolution, and saves at least a third of the multiplications. */
export function suitsWinograd(g: Geometry): boolean {
  return (
    [g.kernelHeight, g.kernelWidth].every((size) => size === 3) &&
    [g.strideHeight, g.strideWidth, g.dilationHeight, g.dilationWidth].every((step) => step === 1) &&
    g.channels % tileColumns === 0 &&
    g.outChannels % tileColumns === 0 &&
    9 * g.outHeight * g.outWidth >= 1.5 * winogradPositions * Math.ceil(g.outHeight / 4) * Math.ceil(g.outWidth / 4)
  );
}

/** `convolve` by Winograd; false where an output is not finite: the direct kernels keep NaN to the pixels it belongs to. */
export function convolveWinograd(
  backend: WasmBackend,
  {source, target, panels, bias}: {source: number; target: number; panels: number; bias: number},
  g: Geometry,
  range: Clip,
  threads: number,
): boolean {
  const {group} = tiled(g, threads);
  const threadBytes = winogradBytes(g, group, g.channels);
  const size = winogradPositions * g.channels * g.outChannels;
  const weights = backend.allocate(4 * size);
  const scratch = backend.allocate(threads * threadBytes);
  const weightThreads = Math.min(threads, backend.threadsFor(size));
  backend.run('winogradWeights', [panels, weights, g.channels, panelCount(g.outChannels)], [], weightThreads);
  const spoilt = withFlag(backend, (flag) =>
    backend.run(
      'winograd',
      [source, target, weights, scratch, ...planned(g, threads).ints, threadBytes, group, bias, flag],
      [range.min, range.max],
      threads,
    ),
  );
  backend.release(scratch);
  backend.release(weights);
  return !spoilt;
}

/** Filters up to this size are summed as transformed tiles by each thread; of larger ones the threads share the positions. */
const partFloats = 128 * 128;
/** Bytes of transformed tiles of a group that the threads share. */
const sharedBytes = 32 * 2 ** 20;

interface FilterGradient {
  readonly source: number;
  readonly dy: number;
  readonly target: number;
  readonly g: Geometry;
}

/** `convolveFilterGradient` by Winograd; false where an element is not finite. */
export function winogradFilterGradient(
  backend: WasmBackend,
  source: number,
  dy: number,
  target: number,
  g: Geometry,
): boolean {
  const size = g.channels * g.outChannels;
  const threads = backend.threadsFor(multiplyAdds(g));
  const shared = size > partFloats;
  const parts = shared ? 1 : threads;
  const sums = backend.allocate(4 * winogradPositions * size * parts);
  const addresses = {source, dy, target: sums, g};
  if (shared) sumTogether(backend, addresses, threads);
  else sumParts(backend, addresses, threads);
  const spoilt = withFlag(backend, (flag) =>
    backend.run(
      'winogradFilterResult',
      [sums, target, parts, g.channels, g.outChannels, flag],
      [],
      Math.min(threads, backend.threadsFor(winogradPositions * size * parts)),
    ),
  );
  backend.release(sums);
  return !spoilt;
}

/** target = [thread][position][panel][channel][8] of each thread's tiles. */
function sumParts(backend: WasmBackend, {source, dy, target, g}: FilterGradient, threads: number): void {
  const {group} = tiled(g, threads);
  const threadBytes = winogradBytes(g, group, Math.max(g.channels, g.outChannels));
  const scratch = backend.allocate(threads * threadBytes);
  const head = [source, dy, target, scratch, ...planned(g, threads).ints];
  backend.run('winogradFilterGradient', [...head, threadBytes, group], [], threads);
  backend.release(scratch);
}

/** target = [position][panel][channel][8] of all tiles: these are transformed, then each thread multiplies its positions. */
function sumTogether(backend: WasmBackend, {source, dy, target, g}: FilterGradient, threads: number): void {
  const {tiles} = tiled(g, threads);
  const most = Math.max(64, Math.floor(sharedBytes / (4 * winogradPositions * (g.channels + g.outChannels))));
  const group = Math.ceil(tiles / Math.ceil(tiles / most));
  const headBytes = align(winogradZeros + 4 * Math.max(g.channels, g.outChannels));
  const bytes = (channels: number): number => winogradPositions * (4 * group * channels + winogradSlack);
  const inputs = backend.allocate(bytes(g.channels));
  const gradients = backend.allocate(bytes(g.outChannels));
  const scratch = backend.allocate(threads * Math.max(headBytes, 64 * group));
  const head = [source, dy, inputs, scratch, ...planned(g, threads).ints, headBytes, group, gradients];
  for (let first = 0; first < tiles; first += group) {
    backend.run('winogradFilterTiles', [...head, first], [], threads);
    const count = Math.min(group, tiles - first);
    const sizes = [g.channels, g.outChannels, count, group, first === 0 ? 0 : 1];
    backend.run('winogradFilterProducts', [inputs, gradients, target, scratch, ...sizes], [], threads);
  }
  for (const address of [scratch, gradients, inputs]) backend.release(address);
}
