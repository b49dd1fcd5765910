/**
 * Layer normalisation over the last axis (src/tensor/layer-norm.ts): a row is read into the cache once and stays there for
 * its mean, its variance and its result. Only x is kept for the gradient, which computes the statistics again.
 */
import {addToDoubles, blockRows, storeUpTo} from './rows';
import {float, int, madd, pointer, shareStart} from './task';
import {sumLanes} from './vector-math';

/** Bytes of a row that are summed in float32. */
const blockBytes: usize = 4096;

/** Σ (x − shift), or Σ (x − shift)², over a row; float64 above `blockBytes`. */
// @ts-ignore: decorator
@inline
function rowSum(squares: bool, x: usize, bytes: usize, shift: f32): f64 {
  const shifts = f32x4.splat(shift);
  let total: f64 = 0;
  for (let start: usize = 0; start < bytes; start += blockBytes) {
    const end = min(bytes, start + blockBytes);
    let sum = f32x4.splat(0);
    let i = start;
    for (; i + 16 <= end; i += 16) {
      const d = f32x4.sub(v128.load(x + i), shifts);
      sum = squares ? madd(d, d, sum) : f32x4.add(sum, d);
    }
    let rest: f32 = 0;
    for (; i < end; i += 4) {
      const d = load<f32>(x + i) - shift;
      rest += squares ? d * d : d;
    }
    total += <f64>(sumLanes(sum) + rest);
  }
  return total;
}

/** The mean is summed around the row's first element, so that a large offset costs no digits. */
// @ts-ignore: decorator
@inline
function rowMean(x: usize, bytes: usize): f32 {
  const first = load<f32>(x);
  return first + <f32>(rowSum(false, x, bytes, first) / <f64>(bytes >> 2));
}

// @ts-ignore: decorator
@inline
function inverseDeviation(x: usize, bytes: usize, mean: f32, epsilon: f32): f32 {
  return <f32>(1 / Math.sqrt(rowSum(true, x, bytes, mean) / <f64>(bytes >> 2) + <f64>epsilon));
}

/** layerNorm: [x, gamma, beta, y, rows, width] (epsilon): y = gamma · (x − mean) / √(variance + epsilon) + beta. */
export function layerNorm(task: usize, thread: i32, threads: i32): void {
  const rows = int(task, 4);
  const bytes = <usize>int(task, 5) << 2;
  const gamma = pointer(task, 1);
  const beta = pointer(task, 2);
  const end = shareStart(rows, thread + 1, threads);
  for (let row = shareStart(rows, thread, threads); row < end; row++) {
    const x = pointer(task, 0) + <usize>row * bytes;
    const y = pointer(task, 3) + <usize>row * bytes;
    const mean = rowMean(x, bytes);
    const means = f32x4.splat(mean);
    const inverse = f32x4.splat(inverseDeviation(x, bytes, mean, float(task, 0)));
    for (let i: usize = 0; i < bytes; i += 16) {
      const normal = f32x4.mul(f32x4.sub(v128.load(x + i), means), inverse);
      storeUpTo(y + i, madd(normal, v128.load(gamma + i), v128.load(beta + i)), bytes - i);
    }
  }
}

/** Adds the sums of a block of rows to the float64 totals, and clears them. */
function takeBlock(block: usize, totals: usize, columns: usize): void {
  for (let j: usize = 0; j < columns; j += 4) {
    addToDoubles(totals + (j << 3), v128.load(block + (j << 2)));
    v128.store(block + (j << 2), f32x4.splat(0));
  }
}

/**
 * layerNormGradient: [x, gamma, dy, dx, rows, width, dgamma totals f64 [threads, columns], dbeta totals, scratch [threads,
 * 2, columns]] (epsilon), columns = width rounded up to a multiple of 4.
 */
export function layerNormGradient(task: usize, thread: i32, threads: i32): void {
  const rows = int(task, 4);
  const bytes = <usize>int(task, 5) << 2;
  const columns = <usize>((int(task, 5) + 3) & ~3);
  const gamma = pointer(task, 1);
  const dgammaTotals = pointer(task, 6) + ((<usize>thread * columns) << 3);
  const dbetaTotals = pointer(task, 7) + ((<usize>thread * columns) << 3);
  const dgamma = pointer(task, 8) + ((<usize>thread * columns) << 3);
  const dbeta = dgamma + (columns << 2);
  memory.fill(dgammaTotals, 0, columns << 3);
  memory.fill(dbetaTotals, 0, columns << 3);
  memory.fill(dgamma, 0, columns << 3);
  const start = shareStart(rows, thread, threads);
  const end = shareStart(rows, thread + 1, threads);
  for (let row = start; row < end; row++) {
    const x = pointer(task, 0) + <usize>row * bytes;
    const dy = pointer(task, 2) + <usize>row * bytes;
    const dx = pointer(task, 3) + <usize>row * bytes;
    const mean = rowMean(x, bytes);
    const inverse = inverseDeviation(x, bytes, mean, float(task, 0));
    const means = f32x4.splat(mean);
    const inverses = f32x4.splat(inverse);
    let sum = f32x4.splat(0);
    let product = f32x4.splat(0);
    let restSum: f32 = 0;
    let restProduct: f32 = 0;
    let i: usize = 0;
    for (; i + 16 <= bytes; i += 16) {
      const normal = f32x4.mul(f32x4.sub(v128.load(x + i), means), inverses);
      const d = v128.load(dy + i);
      const g = f32x4.mul(d, v128.load(gamma + i));
      sum = f32x4.add(sum, g);
      product = madd(g, normal, product);
      v128.store(dgamma + i, madd(d, normal, v128.load(dgamma + i)));
      v128.store(dbeta + i, f32x4.add(d, v128.load(dbeta + i)));
    }
    for (; i < bytes; i += 4) {
      const normal = (load<f32>(x + i) - mean) * inverse;
      const d = load<f32>(dy + i);
      const g = d * load<f32>(gamma + i);
      restSum += g;
      restProduct += g * normal;
      store<f32>(dgamma + i, load<f32>(dgamma + i) + d * normal);
      store<f32>(dbeta + i, load<f32>(dbeta + i) + d);
    }
    const width = <f32>int(task, 5);
    const meanOfG = f32x4.splat((sumLanes(sum) + restSum) / width);
    const meanOfProduct = f32x4.splat((sumLanes(product) + restProduct) / width);
    for (i = 0; i < bytes; i += 16) {
      const normal = f32x4.mul(f32x4.sub(v128.load(x + i), means), inverses);
      const g = f32x4.mul(v128.load(dy + i), v128.load(gamma + i));
      const centred = f32x4.sub(f32x4.sub(g, meanOfG), f32x4.mul(normal, meanOfProduct));
      storeUpTo(dx + i, f32x4.mul(centred, inverses), bytes - i);
    }
    if ((row - start) % blockRows == blockRows - 1) {
      takeBlock(dgamma, dgammaTotals, columns);
      takeBlock(dbeta, dbetaTotals, columns);
    }
  }
  takeBlock(dgamma, dgammaTotals, columns);
  takeBlock(dbeta, dbetaTotals, columns);
}
