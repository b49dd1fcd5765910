/** Softmax over the last axis with its gradient, and softmax cross-entropy with its own. */
import {storeUpTo} from './rows';
import {int, madd, pointer, shareStart} from './task';
import {exp4, sumLanes} from './vector-math';

/** Largest value of a row, NaN if there is one. */
// @ts-ignore: decorator
@inline
function rowMax(row: usize, bytes: usize): f32 {
  let lanes = f32x4.splat(-Infinity);
  let j: usize = 0;
  for (; j + 16 <= bytes; j += 16) lanes = f32x4.max(lanes, v128.load(row + j));
  const pairs = f32x4.max(lanes, i64x2.shuffle(lanes, lanes, 1, 1));
  let largest = max<f32>(f32x4.extract_lane(pairs, 0), f32x4.extract_lane(pairs, 1));
  for (; j < bytes; j += 4) largest = max<f32>(largest, load<f32>(row + j));
  return largest;
}

/** Bytes of a row that are summed in float32. */
const blockBytes: usize = 4096;

/** softmax: [x, y, rows, columns]. */
export function softmax(task: usize, thread: i32, threads: i32): void {
  const rows = int(task, 2);
  const bytes = <usize>int(task, 3) << 2;
  const end = shareStart(rows, thread + 1, threads);
  for (let r = shareStart(rows, thread, threads); r < end; r++) {
    const x = pointer(task, 0) + <usize>r * bytes;
    const y = pointer(task, 1) + <usize>r * bytes;
    const largest = f32x4.splat(rowMax(x, bytes));
    let total: f64 = 0;
    for (let start: usize = 0; start < bytes; start += blockBytes) {
      const stop = min(bytes, start + blockBytes);
      let sum = f32x4.splat(0);
      let j = start;
      for (; j + 16 <= stop; j += 16) {
        const e = exp4(f32x4.sub(v128.load(x + j), largest));
        sum = f32x4.add(sum, e);
        v128.store(y + j, e);
      }
      let rest: f32 = 0;
      if (j < stop) {
        storeUpTo(y + j, exp4(f32x4.sub(v128.load(x + j), largest)), stop - j);
        for (; j < stop; j += 4) rest += load<f32>(y + j);
      }
      total += <f64>(sumLanes(sum) + rest);
    }
    const factor = f32x4.splat(<f32>(1 / total));
    for (let j: usize = 0; j < bytes; j += 16) storeUpTo(y + j, f32x4.mul(v128.load(y + j), factor), bytes - j);
  }
}

/** softmaxGradient: [y, dy, dx, rows, columns]: dx = y · (dy − Σ y · dy of the row). */
export function softmaxGradient(task: usize, thread: i32, threads: i32): void {
  const rows = int(task, 3);
  const bytes = <usize>int(task, 4) << 2;
  const end = shareStart(rows, thread + 1, threads);
  for (let r = shareStart(rows, thread, threads); r < end; r++) {
    const y = pointer(task, 0) + <usize>r * bytes;
    const dy = pointer(task, 1) + <usize>r * bytes;
    const dx = pointer(task, 2) + <usize>r * bytes;
    let total: f64 = 0;
    for (let start: usize = 0; start < bytes; start += blockBytes) {
      const stop = min(bytes, start + blockBytes);
      let sum = f32x4.splat(0);
      let j = start;
      for (; j + 16 <= stop; j += 16) sum = madd(v128.load(y + j), v128.load(dy + j), sum);
      let rest: f32 = 0;
      for (; j < stop; j += 4) rest += load<f32>(y + j) * load<f32>(dy + j);
      total += <f64>(sumLanes(sum) + rest);
    }
    const shift = f32x4.splat(<f32>total);
    for (let j: usize = 0; j < bytes; j += 16) {
      const d = f32x4.sub(v128.load(dy + j), shift);
      storeUpTo(dx + j, f32x4.mul(v128.load(y + j), d), bytes - j);
    }
  }
}

/**
 * softmaxCrossEntropy: [logits, targets, dlogits, rows, columns, losses f64 [rows]]: each row's loss, and the gradient
 * (softmax − targets) / rows of their mean.
 */
export function softmaxCrossEntropy(task: usize, thread: i32, threads: i32): void {
  const rows = int(task, 3);
  const bytes = <usize>int(task, 4) << 2;
  const end = shareStart(rows, thread + 1, threads);
  for (let r = shareStart(rows, thread, threads); r < end; r++) {
    const logits = pointer(task, 0) + <usize>r * bytes;
    const targets = pointer(task, 1) + <usize>r * bytes;
    const gradient = pointer(task, 2) + <usize>r * bytes;
    const largest = rowMax(logits, bytes);
    let sum: f64 = 0;
    for (let j: usize = 0; j < bytes; j += 4) {
      const e = Math.exp(<f64>(load<f32>(logits + j) - largest));
      sum += e;
      store<f32>(gradient + j, <f32>e);
    }
    const logSum = Math.log(sum);
    let loss: f64 = 0;
    for (let j: usize = 0; j < bytes; j += 4) {
      const target = <f64>load<f32>(targets + j);
      loss -= target * (<f64>(load<f32>(logits + j) - largest) - logSum);
      store<f32>(gradient + j, <f32>((<f64>load<f32>(gradient + j) / sum - target) / <f64>rows));
    }
    store<f64>(pointer(task, 5) + (<usize>r << 3), loss);
  }
}

/** meanOfDoubles: [values f64 [length], length, out f32 []]; one thread. */
export function meanOfDoubles(task: usize, thread: i32, threads: i32): void {
  const length = int(task, 1);
  let sum: f64 = 0;
  for (let i = 0; i < length; i++) sum += load<f64>(pointer(task, 0) + (<usize>i << 3));
  store<f32>(pointer(task, 2), <f32>(sum / <f64>length));
}
