/** Softmax over the last axis and softmax cross-entropy with its gradient; sums in float64. */
import {int, pointer, shareStart} from './task';

/** Largest value of a row, NaN if there is one. */
// @ts-ignore: decorator
@inline
function rowMax(row: usize, bytes: usize): f32 {
  let largest: f32 = -Infinity;
  for (let j: usize = 0; j < bytes; j += 4) largest = max<f32>(largest, load<f32>(row + j));
  return largest;
}

/** softmax: [x, y, rows, columns]. */
export function softmax(task: usize, thread: i32, threads: i32): void {
  const rows = int(task, 2);
  const bytes = <usize>int(task, 3) << 2;
  const end = shareStart(rows, thread + 1, threads);
  for (let r = shareStart(rows, thread, threads); r < end; r++) {
    const x = pointer(task, 0) + <usize>r * bytes;
    const y = pointer(task, 1) + <usize>r * bytes;
    const largest = rowMax(x, bytes);
    let sum: f64 = 0;
    for (let j: usize = 0; j < bytes; j += 4) {
      const e = Math.exp(<f64>(load<f32>(x + j) - largest));
      sum += e;
      store<f32>(y + j, <f32>e);
    }
    for (let j: usize = 0; j < bytes; j += 4) store<f32>(y + j, <f32>(<f64>load<f32>(y + j) / sum));
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
