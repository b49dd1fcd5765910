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

/** Filters up to this size are summed as transformed tiles by each thread. */
export const winogradFilterFloats = 256 * 256;

/** `convolveFilterGradient` by Winograd; false where an element is not finite. */
export function winogradFilterGradient(
  backend: WasmBackend,
  source: number,
  dy: number,
  target: number,
  g: Geometry,
): boolean {
  const threads = backend.threadsFor(multiplyAdds(g));
  const {group} = tiled(g, threads);
  const widest = Math.max(g.channels, g.outChannels);
  const threadBytes = winogradBytes(g, group, widest);
  const size = g.channels * g.outChannels;
  const scratch = backend.allocate(threads * threadBytes);
  const sums = backend.allocate(4 * winogradPositions * size * threads);
  const head = [source, dy, sums, scratch, ...planned(g, threads).ints];
  backend.run('winogradFilterGradient', [...head, threadBytes, group], [], threads);
  const spoilt = withFlag(backend, (flag) =>
    backend.run(
      'winogradFilterResult',
      [sums, target, threads, g.channels, g.outChannels, flag],
      [],
      Math.min(threads, backend.threadsFor(winogradPositions * size * threads)),
    ),
  );
  backend.release(sums);
  backend.release(scratch);
  return !spoilt;
}
