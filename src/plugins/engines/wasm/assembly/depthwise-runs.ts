/**
 * Which pixels and weights of a depthwise convolution meet (depthwise.ts). The parameter block is
 *
 *   [source, target, filter, bias or 0, scratch, batch, sourceHeight, sourceWidth, channels, targetHeight, targetWidth,
 *   kernelHeight, kernelWidth, step y, step x, tap step y, tap step x, start y, start x, divisor y, divisor x,
 *   bytes of a thread's scratch]
 *
 * Target pixel (y, x) takes through tap (ky, kx) the source pixel (y · step + ky · tap step + start) / divisor where this
 * is a whole number inside the image: step = stride, divisor 1 forward; step 1, tap step −stride, divisor = stride backward.
 *
 * Every divisor-th pixel of a target row is of one *phase*: its pixels take the same taps, the next one `step` columns further.
 * Taps of a phase whose columns are `step` apart are neighbours: what pixel i takes through the first of them, pixel i − 1 takes
 * through the second. Up to five neighbours make a *run*, whose columns are read once.
 *
 * A thread's scratch: the source rows of a target row, where each phase's runs begin, the runs of all phases, and then the runs of
 * a phase on all those rows, as the inner loops walk them.
 */
import {int, pointer} from './task';

/** Pixels of a target row that the inner loops take at once. */
export const blockPixels = 8;

/** Taps of a run: so many weights stay in registers. */
const mostTaps: i32 = 5;

/** (address, the filter row's weights) */
const rowBytes: usize = 8;
/** (offset of pixel 0's column from the row's start, offset of the weights, taps) */
const columnRunBytes: usize = 12;
/** (the row, offset of pixel 0's column, weights, offset of the first column not to take, taps) */
export const runBytes: usize = 20;

export function scratchOf(task: usize, thread: i32): usize {
  return pointer(task, 4) + <usize>(thread * int(task, 21));
}

// @ts-ignore: decorator
@inline
function phasesIn(task: usize, scratch: usize): usize {
  return scratch + <usize>int(task, 11) * rowBytes;
}

/** Writes the runs of every phase. */
export function writePhases(task: usize, scratch: usize): void {
  const across = int(task, 12);
  const step = int(task, 14);
  const tapStep = int(task, 16);
  const divisor = int(task, 20);
  const bytes = int(task, 8) << 2;
  // Taps that are neighbours are so far apart.
  const apart = (step * divisor) % tapStep == 0 ? (step * divisor) / tapStep : across;
  let phases = phasesIn(task, scratch);
  let runs = phases + ((<usize>(divisor + 1)) << 2);
  for (let phase = 0; phase < divisor; phase++) {
    store<usize>(phases, runs);
    phases += 4;
    for (let first = 0; first < across; first++) {
      const from = phase * step + int(task, 18) + first * tapStep;
      // A tap of another phase, or one that is no run's first.
      if (from % divisor != 0 || <u32>(first - apart) < <u32>across) continue;
      for (let kx = first; <u32>kx < <u32>across;) {
        store<i32>(runs, ((phase * step + int(task, 18) + kx * tapStep) / divisor) * bytes);
        store<i32>(runs, kx * bytes, 4);
        let taps = 0;
        while (taps < mostTaps && <u32>kx < <u32>across) {
          taps++;
          kx += apart;
        }
        store<i32>(runs, taps, 8);
        runs += columnRunBytes;
      }
    }
  }
  store<usize>(phases, runs);
}

/** The distance in bytes between the weights of neighbouring taps. */
export function weightStep(task: usize): usize {
  const step = int(task, 14) * int(task, 20);
  return step % int(task, 16) == 0 ? <usize>((step / int(task, 16)) * (int(task, 8) << 2)) : 0;
}

/** Writes the source rows that target row `y` takes; returns their end. @param source the image */
export function writeRows(task: usize, scratch: usize, source: usize, y: i32): usize {
  const bytes = (<usize>int(task, 8)) << 2;
  const divisor = int(task, 19);
  for (let ky = 0; ky < int(task, 11); ky++) {
    const from = y * int(task, 13) + ky * int(task, 15) + int(task, 17);
    const row = divisor == 1 ? from : from / divisor;
    if (from < 0 || row >= int(task, 6) || row * divisor != from) continue;
    store<usize>(scratch, source + <usize>(row * int(task, 7)) * bytes);
    store<usize>(scratch, pointer(task, 2) + <usize>(ky * int(task, 12)) * bytes, 4);
    scratch += rowBytes;
  }
  return scratch;
}

/** Where the runs of a phase on the rows of a target row are written. */
export function runsOf(task: usize, scratch: usize): usize {
  return phasesIn(task, scratch) + ((<usize>(int(task, 20) + 1)) << 2) + <usize>int(task, 12) * columnRunBytes;
}

/** Writes the runs of a phase on all rows to `to`, those of most taps first; returns their end. */
export function writeRuns(task: usize, scratch: usize, rowsEnd: usize, phase: i32, to: usize): usize {
  const phases = phasesIn(task, scratch) + ((<usize>phase) << 2);
  const end = load<usize>(phases, 4);
  for (let taps = mostTaps; taps > 0; taps--) {
    for (let row = scratch; row < rowsEnd; row += rowBytes) {
      for (let run = load<usize>(phases); run < end; run += columnRunBytes) {
        if (load<i32>(run, 8) != taps) continue;
        store<usize>(to, load<usize>(row));
        store<usize>(to, load<usize>(run), 4);
        store<usize>(to, load<usize>(row, 4) + load<usize>(run, 4), 8);
        store<i32>(to, taps, 16);
        to += runBytes;
      }
    }
  }
  return to;
}

/** How many taps a run has; 1 if there is none. */
export function tapsOf(run: usize, runsEnd: usize): i32 {
  return run < runsEnd ? load<i32>(run, 16) : 1;
}

/**
 * Ends the next runs of `taps` taps behind the last column that one of the pixels up to `pixelsEnd` takes, or at the end of the row;
 * returns the end of these runs.
 */
export function limitRuns(task: usize, runs: usize, runsEnd: usize, taps: i32, pixelsEnd: i32): usize {
  const bytes = int(task, 8) << 2;
  const row = int(task, 7) * bytes;
  const length = (pixelsEnd + taps - 1) * int(task, 14) * bytes;
  for (; runs < runsEnd && load<i32>(runs, 16) == taps; runs += runBytes) {
    store<i32>(runs, max(0, min(row, load<i32>(runs, 4) + length)), 12);
  }
  return runs;
}
