/**
 * 3×3 convolution of stride 1 by Winograd's minimal filtering F(4×4, 3×3) (Lavin and Gray 2015, arXiv:1509.09308): 36
 * multiplications give 16 outputs, which take 144 directly.
 *
 *   y = Aᵀ [(G w Gᵀ) ⊙ (Bᵀ x B)] A      x: tile of 6 × 6 inputs, y: 4 × 4 outputs
 *   dw = Gᵀ [Σ over tiles (Bᵀ x B) ⊙ (A dy Aᵀ)] G      (its gradient; ours)
 *
 * Polynomials are interpolated at 0, ±√½, ±√2 and ∞. With the usual 0, ±1, ±2 and ∞ the largest error of an output is four
 * times as large (bench/kernels.ts).
 *
 * The products ⊙, summed over channels, are 36 products of matrices, one for each position in the 6 × 6. Tiles are taken in
 * groups whose transforms stay in the second-level cache: position, tile, channel. Channels come in multiples of 8.
 */
import {
  afterGeometry,
  batch,
  channels,
  height,
  outChannels,
  outHeight,
  outWidth,
  padLeft,
  padTop,
  width,
} from './bands';
import {clip} from './rows';
import {tileColumns, winogradAddresses, winogradPositions, winogradSlack, winogradZeros} from './shared';
import {float, int, madd, pointer, shareStart} from './task';
import {outerTile4, splatRows} from './tiles';
import {gradientTile, inputTile, outputTile, root} from './winograd-transforms';

/**
 * Addresses of the 6 × 6 pixels from (top, left) of an image; those outside are a pixel of zeros.
 */
function writeAddresses(
  addresses: usize,
  image: usize,
  top: i32,
  left: i32,
  rows: i32,
  columns: i32,
  pixelBytes: usize,
  zeros: usize,
): void {
  for (let y = top; y < top + 6; y++) {
    const inside = y >= 0 && y < rows;
    let from = image + <usize>(y * columns + left) * pixelBytes;
    for (let x = left; x < left + 6; x++) {
      store<usize>(addresses, inside && x >= 0 && x < columns ? from : zeros);
      addresses += 4;
      from += pixelBytes;
    }
  }
}

/** target[t][8] = source[t][…] · panel for `tiles` rows, a multiple of 4, and an even number of `steps`. */
function multiply(source: usize, sourceRow: usize, target: usize, targetRow: usize, tiles: i32, panel: usize, steps: i32): void {
  for (let t = 0; t < tiles; t += 4) {
    const zero = f32x4.splat(0);
    let a0 = zero;
    let a1 = zero;
    let a2 = zero;
    let a3 = zero;
    let b0 = zero;
    let b1 = zero;
    let b2 = zero;
    let b3 = zero;
    let w = panel;
    let p0 = source;
    let p1 = p0 + sourceRow;
    let p2 = p1 + sourceRow;
    let p3 = p2 + sourceRow;
    source = p3 + sourceRow;
    // Two steps a turn: counting takes the ports that multiply.
    for (let k = steps; k > 0; k -= 2) {
      let w0 = v128.load(w);
      let w1 = v128.load(w, 16);
      let s = v128.load32_splat(p0);
      a0 = madd(s, w0, a0);
      b0 = madd(s, w1, b0);
      s = v128.load32_splat(p1);
      a1 = madd(s, w0, a1);
      b1 = madd(s, w1, b1);
      s = v128.load32_splat(p2);
      a2 = madd(s, w0, a2);
      b2 = madd(s, w1, b2);
      s = v128.load32_splat(p3);
      a3 = madd(s, w0, a3);
      b3 = madd(s, w1, b3);
      w0 = v128.load(w, 32);
      w1 = v128.load(w, 48);
      s = v128.load32_splat(p0, 4);
      a0 = madd(s, w0, a0);
      b0 = madd(s, w1, b0);
      s = v128.load32_splat(p1, 4);
      a1 = madd(s, w0, a1);
      b1 = madd(s, w1, b1);
      s = v128.load32_splat(p2, 4);
      a2 = madd(s, w0, a2);
      b2 = madd(s, w1, b2);
      s = v128.load32_splat(p3, 4);
      a3 = madd(s, w0, a3);
      b3 = madd(s, w1, b3);
      w += 64;
      p0 += 8;
      p1 += 8;
      p2 += 8;
      p3 += 8;
    }
    v128.store(target, a0);
    v128.store(target, b0, 16);
    target += targetRow;
    v128.store(target, a1);
    v128.store(target, b1, 16);
    target += targetRow;
    v128.store(target, a2);
    v128.store(target, b2, 16);
    target += targetRow;
    v128.store(target, a3);
    v128.store(target, b3, 16);
    target += targetRow;
  }
}

// @ts-ignore: decorator
@inline
function tilesDown(task: usize): i32 {
  return (outHeight(task) + 3) >> 2;
}
// @ts-ignore: decorator
@inline
function tilesAcross(task: usize): i32 {
  return (outWidth(task) + 3) >> 2;
}

/**
 * Transforms the inputs of tiles first … first + count − 1.
 * @param tileStep bytes from one tile to the next
 * @param step bytes from four channels to the next four
 */
function inputGroup(
  task: usize,
  first: i32,
  count: i32,
  scratch: usize,
  target: usize,
  positionBytes: usize,
  tileStep: usize,
  step: usize,
): void {
  const pixelBytes = <usize>channels(task) << 2;
  const imageBytes = <usize>(height(task) * width(task)) * pixelBytes;
  const ofImage = tilesDown(task) * tilesAcross(task);
  for (let tile = first; tile < first + count; tile++) {
    const place = tile % ofImage;
    writeAddresses(
      scratch + <usize>winogradAddresses,
      pointer(task, 0) + <usize>(tile / ofImage) * imageBytes,
      (place / tilesAcross(task)) * 4 - padTop(task),
      (place % tilesAcross(task)) * 4 - padLeft(task),
      height(task),
      width(task),
      pixelBytes,
      scratch + <usize>winogradZeros,
    );
    inputTile(scratch + <usize>winogradAddresses, scratch, pixelBytes, target, positionBytes, step);
    target += tileStep;
  }
}

/**
 * winogradWeights: [panels of packPanels with 9 taps, target, steps, panels]: G w Gᵀ as [position][panel][step][8].
 */
export function winogradWeights(task: usize, thread: i32, threads: i32): void {
  const steps = int(task, 2);
  const panels = int(task, 3);
  const positionBytes = <usize>(panels * steps) << 5;
  const tapBytes = <usize>steps << 5;
  const total = panels * steps;
  for (let i = shareStart(total, thread, threads); i < shareStart(total, thread + 1, threads); i++) {
    const panel = i / steps;
    const from = pointer(task, 0) + <usize>panel * (9 * tapBytes + 32) + 32 + (<usize>(i % steps) << 5);
    for (let side: usize = 0; side < 32; side += 16) {
      let to = pointer(task, 1) + (<usize>i << 5) + side;
      for (let y: usize = 0; y < 6; y++) {
        // A row of G w, then the row times Gᵀ.
        const g0 = weightRow(from + side, 3 * tapBytes, y);
        const g1 = weightRow(from + side + tapBytes, 3 * tapBytes, y);
        const g2 = weightRow(from + side + 2 * tapBytes, 3 * tapBytes, y);
        const even = nearEven(g0, g2);
        const odd = f32x4.mul(g1, f32x4.splat(nearOdd));
        const even2 = farEven(g0, g2);
        const odd2 = f32x4.mul(g1, f32x4.splat(farOdd));
        v128.store(to, g0);
        to += positionBytes;
        v128.store(to, f32x4.add(even, odd));
        to += positionBytes;
        v128.store(to, f32x4.sub(even, odd));
        to += positionBytes;
        v128.store(to, f32x4.add(even2, odd2));
        to += positionBytes;
        v128.store(to, f32x4.sub(even2, odd2));
        to += positionBytes;
        v128.store(to, g2);
        to += positionBytes;
      }
    }
  }
}

/** Members of G at the odd powers of √½ and of √2. */
const nearOdd: f32 = (-2.0 / 3.0) * root;
const farOdd: f32 = root / 3.0;

// @ts-ignore: decorator
@inline
function nearEven(w0: v128, w2: v128): v128 {
  return f32x4.mul(madd(f32x4.splat(0.5), w2, w0), f32x4.splat(-2.0 / 3.0));
}
// @ts-ignore: decorator
@inline
function farEven(w0: v128, w2: v128): v128 {
  return f32x4.mul(madd(f32x4.splat(2), w2, w0), f32x4.splat(1.0 / 6.0));
}

/** Row y of G times the column (w0, w1, w2) whose members are `step` apart. */
function weightRow(column: usize, step: usize, y: usize): v128 {
  const w0 = v128.load(column);
  const w1 = v128.load(column + step);
  const w2 = v128.load(column + 2 * step);
  if (y == 0) return w0;
  if (y == 5) return w2;
  const even = y < 3 ? nearEven(w0, w2) : farEven(w0, w2);
  const odd = f32x4.mul(w1, f32x4.splat(y < 3 ? nearOdd : farOdd));
  return (y & 1) == 1 ? f32x4.add(even, odd) : f32x4.sub(even, odd);
}

/**
 * winograd: [x, y, weights of winogradWeights, scratch, …geometry, bytes of scratch per thread, tiles of a group (a multiple
 * of 4), bias or 0, notFinite] (min, max): y = clip(conv(x, w) + bias, min, max).
 *
 * `notFinite` is the address of an integer that becomes 1 when an output is NaN or infinite: one such input spoils its
 * whole tile here.
 */
export function winograd(task: usize, thread: i32, threads: i32): void {
  const scratch = pointer(task, 3) + <usize>thread * pointer(task, afterGeometry);
  const group = int(task, afterGeometry + 1);
  const bias = pointer(task, afterGeometry + 2);
  const low = f32x4.splat(float(task, 0));
  const high = f32x4.splat(float(task, 1));
  const inBytes = <usize>channels(task) << 2;
  const outBytes = <usize>outChannels(task) << 2;
  const inPosition = <usize>group * inBytes + <usize>winogradSlack;
  const outPosition = <usize>group * outBytes + <usize>winogradSlack;
  const inputs = scratch + <usize>winogradZeros + inBytes;
  const products = inputs + <usize>winogradPositions * inPosition;
  const panelBytes = <usize>channels(task) << 5;
  const across = tilesAcross(task);
  const ofImage = tilesDown(task) * across;
  const total = batch(task) * ofImage;
  const groups = (total + group - 1) / group;
  memory.fill(scratch + <usize>winogradZeros, 0, inBytes);
  let check = f32x4.splat(0);
  for (let g = shareStart(groups, thread, threads); g < shareStart(groups, thread + 1, threads); g++) {
    const first = g * group;
    const count = min(group, total - first);
    inputGroup(task, first, count, scratch, inputs, inPosition, inBytes, 16);
    let weights = pointer(task, 2);
    for (let position: usize = 0; position < <usize>winogradPositions; position++) {
      for (let c: usize = 0; c < outBytes; c += 32) {
        multiply(
          inputs + position * inPosition,
          inBytes,
          products + position * outPosition + c,
          outBytes,
          (count + 3) & ~3,
          weights,
          channels(task),
        );
        weights += panelBytes;
      }
    }
    for (let tile = first; tile < first + count; tile++) {
      const place = tile % ofImage;
      const top = (place / across) * 4;
      const left = (place % across) * 4;
      const rows = min(4, outHeight(task) - top);
      const columns = min(4, outWidth(task) - left);
      const image = <usize>((tile / ofImage) * outHeight(task) * outWidth(task)) * outBytes;
      const target = pointer(task, 1) + image + <usize>(top * outWidth(task) + left) * outBytes;
      for (let c: usize = 0; c < outBytes; c += 16) {
        outputTile(products + <usize>(tile - first) * outBytes + c, outPosition, scratch);
        const offset = bias == 0 ? f32x4.splat(0) : v128.load(bias + c);
        // Every input of the tile reaches one of the four corners.
        check = madd(v128.load(scratch), f32x4.splat(0), check);
        check = madd(v128.load(scratch, 48), f32x4.splat(0), check);
        check = madd(v128.load(scratch, 192), f32x4.splat(0), check);
        check = madd(v128.load(scratch, 240), f32x4.splat(0), check);
        for (let y = 0; y < rows; y++) {
          let to = target + <usize>(y * outWidth(task)) * outBytes + c;
          let from = scratch + (<usize>y << 6);
          for (let x = 0; x < columns; x++) {
            v128.store(to, clip(f32x4.add(v128.load(from), offset), low, high));
            to += outBytes;
            from += 16;
          }
        }
      }
    }
  }
  if (v128.any_true(f32x4.ne(check, check))) store<i32>(pointer(task, afterGeometry + 3), 1);
}

/** Transforms dy of tiles first … first + count − 1 to panels, [position][panel][tile][8]. */
function gradientGroup(
  task: usize,
  first: i32,
  count: i32,
  scratch: usize,
  target: usize,
  positionBytes: usize,
  panelBytes: usize,
): void {
  const outBytes = <usize>outChannels(task) << 2;
  const across = tilesAcross(task);
  const ofImage = tilesDown(task) * across;
  for (let tile = first; tile < first + count; tile++) {
    const place = tile % ofImage;
    writeAddresses(
      scratch + <usize>winogradAddresses,
      pointer(task, 1) + <usize>((tile / ofImage) * outHeight(task) * outWidth(task)) * outBytes,
      (place / across) * 4,
      (place % across) * 4,
      outHeight(task),
      outWidth(task),
      outBytes,
      scratch + <usize>winogradZeros,
    );
    gradientTile(scratch + <usize>winogradAddresses, scratch, outBytes, target, panelBytes, positionBytes);
    target += 32;
  }
}

/** sums[channel][8] += Σ over `tiles` rows of source[row][channel] · panel[row][8]. */
function addOuterProducts(source: usize, sourceRow: usize, panel: usize, tiles: i32, sums: usize): void {
  for (let c: usize = 0; c < sourceRow; c += 16) {
    let a0 = v128.load(sums);
    let b0 = v128.load(sums, 16);
    let a1 = v128.load(sums, 32);
    let b1 = v128.load(sums, 48);
    let a2 = v128.load(sums, 64);
    let b2 = v128.load(sums, 80);
    let a3 = v128.load(sums, 96);
    let b3 = v128.load(sums, 112);
    let p = source + c;
    let w = panel;
    for (let t = tiles; t > 0; t--) {
      const w0 = v128.load(w);
      const w1 = v128.load(w, 16);
      let s = v128.load32_splat(p);
      a0 = madd(s, w0, a0);
      b0 = madd(s, w1, b0);
      s = v128.load32_splat(p, 4);
      a1 = madd(s, w0, a1);
      b1 = madd(s, w1, b1);
      s = v128.load32_splat(p, 8);
      a2 = madd(s, w0, a2);
      b2 = madd(s, w1, b2);
      s = v128.load32_splat(p, 12);
      a3 = madd(s, w0, a3);
      b3 = madd(s, w1, b3);
      w += 32;
      p += sourceRow;
    }
    v128.store(sums, a0);
    v128.store(sums, b0, 16);
    v128.store(sums, a1, 32);
    v128.store(sums, b1, 48);
    v128.store(sums, a2, 64);
    v128.store(sums, b2, 80);
    v128.store(sums, a3, 96);
    v128.store(sums, b3, 112);
    sums += 128;
  }
}

/**
 * winogradFilterGradient: [x, dy, sums, scratch, …geometry, bytes of scratch per thread, tiles of a group]:
 * sums [thread][position][panel][channel][8] of each thread's tiles.
 */
export function winogradFilterGradient(task: usize, thread: i32, threads: i32): void {
  const scratch = pointer(task, 3) + <usize>thread * pointer(task, afterGeometry);
  const group = int(task, afterGeometry + 1);
  const inBytes = <usize>channels(task) << 2;
  const outBytes = <usize>outChannels(task) << 2;
  const inPosition = <usize>group * inBytes + <usize>winogradSlack;
  const outPosition = <usize>group * outBytes + <usize>winogradSlack;
  const inputs = scratch + <usize>winogradZeros + max(inBytes, outBytes);
  const gradients = inputs + <usize>winogradPositions * inPosition;
  const panelBytes = <usize>group << 5;
  const sumsBytes = (inBytes * outBytes) >> 2;
  const sums = pointer(task, 2) + <usize>(thread * winogradPositions) * sumsBytes;
  const total = batch(task) * tilesDown(task) * tilesAcross(task);
  const groups = (total + group - 1) / group;
  memory.fill(scratch + <usize>winogradZeros, 0, max(inBytes, outBytes));
  memory.fill(sums, 0, <usize>winogradPositions * sumsBytes);
  for (let g = shareStart(groups, thread, threads); g < shareStart(groups, thread + 1, threads); g++) {
    const first = g * group;
    const count = min(group, total - first);
    inputGroup(task, first, count, scratch, inputs, inPosition, inBytes, 16);
    gradientGroup(task, first, count, scratch, gradients, outPosition, panelBytes);
    let sum = sums;
    for (let position: usize = 0; position < <usize>winogradPositions; position++) {
      let panel = gradients + position * outPosition;
      for (let c: usize = 0; c < outBytes; c += 32) {
        addOuterProducts(inputs + position * inPosition, inBytes, panel, count, sum);
        panel += panelBytes;
        sum += inBytes << 3;
      }
    }
  }
}

/**
 * winogradFilterTiles: [x, dy, inputs, scratch, …geometry, bytes of scratch per thread, tiles of a group, gradients, first tile]:
 * the transformed tiles of one group, in whose channels the threads share (winogradFilterProducts), for filters whose sums are too
 * large for each thread to have its own. Scratch: its head.
 */
export function winogradFilterTiles(task: usize, thread: i32, threads: i32): void {
  const scratch = pointer(task, 3) + <usize>thread * pointer(task, afterGeometry);
  const group = int(task, afterGeometry + 1);
  const first = int(task, afterGeometry + 3);
  const inBytes = <usize>channels(task) << 2;
  const outBytes = <usize>outChannels(task) << 2;
  const total = batch(task) * tilesDown(task) * tilesAcross(task);
  const count = min(group, total - first);
  const start = shareStart(count, thread, threads);
  const here = shareStart(count, thread + 1, threads) - start;
  memory.fill(scratch + <usize>winogradZeros, 0, max(inBytes, outBytes));
  const inputs = pointer(task, 2) + (<usize>start << 4);
  const inPosition = <usize>group * inBytes + <usize>winogradSlack;
  inputGroup(task, first + start, here, scratch, inputs, inPosition, 16, <usize>group << 4);
  const gradients = pointer(task, afterGeometry + 2) + (<usize>start << 5);
  const outPosition = <usize>group * outBytes + <usize>winogradSlack;
  gradientGroup(task, first + start, here, scratch, gradients, outPosition, <usize>group << 5);
}

/**
 * winogradFilterProducts: [inputs, gradients, sums, scratch, channels, outChannels, tiles, tiles of a group, adds (0, 1)]: sums
 * [position][panel][channel][8] = (or +=) the products of the tiles of `winogradFilterTiles`. Scratch: 64 bytes a tile and thread.
 */
export function winogradFilterProducts(task: usize, thread: i32, threads: i32): void {
  const length = int(task, 4);
  const columns = int(task, 5);
  const tiles = int(task, 6);
  const group = int(task, 7);
  const quads = pointer(task, 3) + (<usize>(thread * group) << 6);
  const inPosition = (<usize>(group * length) << 2) + <usize>winogradSlack;
  const outPosition = (<usize>(group * columns) << 2) + <usize>winogradSlack;
  const sumsBytes = <usize>(length * columns) << 2;
  const end = shareStart(winogradPositions, thread + 1, threads);
  for (let position = shareStart(winogradPositions, thread, threads); position < end; position++) {
    const sums = pointer(task, 2) + <usize>position * sumsBytes;
    if (int(task, 8) == 0) memory.fill(sums, 0, sumsBytes);
    const inputs = pointer(task, 0) + <usize>position * inPosition;
    const gradients = pointer(task, 1) + <usize>position * outPosition;
    for (let channel = 0; channel < length; channel += 4) {
      splatRows(inputs + (<usize>(channel * group) << 2), tiles, quads);
      let panel = gradients;
      let sum = sums + (<usize>channel << 5);
      for (let column = 0; column < columns; column += tileColumns) {
        outerTile4(quads, tiles, panel, sum);
        panel += <usize>group << 5;
        sum += <usize>length << 5;
      }
    }
  }
}

/**
 * winogradFilterResult: [sums, dw, parts, channels, outChannels, notFinite]: dw = Gᵀ (Σ of the parts, in their order) G.
 * `notFinite` as in `winograd`.
 */
export function winogradFilterResult(task: usize, thread: i32, threads: i32): void {
  const parts = int(task, 2);
  const length = int(task, 3);
  const columns = int(task, 4);
  const positionBytes = <usize>(length * columns) << 2;
  const partBytes = <usize>winogradPositions * positionBytes;
  const tapBytes = positionBytes;
  const total = (columns >> 2) * length;
  let check = f32x4.splat(0);
  for (let i = shareStart(total, thread, threads); i < shareStart(total, thread + 1, threads); i++) {
    const channel = i % length;
    const column = (i / length) << 2;
    const from =
      pointer(task, 0) + (<usize>((column >> 3) * length + channel) << 5) + (<usize>(column & 4) << 2);
    const to = pointer(task, 1) + (<usize>(channel * columns + column) << 2);
    // The six columns of the 6 × 6 are reduced one after the other to three values each, which go to rows 0 … 2 of dw.
    for (let row: usize = 0; row < 3; row++) {
      const u0 = reducedColumn(from, 6 * positionBytes, parts, partBytes, row);
      const u1 = reducedColumn(from + positionBytes, 6 * positionBytes, parts, partBytes, row);
      const u2 = reducedColumn(from + 2 * positionBytes, 6 * positionBytes, parts, partBytes, row);
      const u3 = reducedColumn(from + 3 * positionBytes, 6 * positionBytes, parts, partBytes, row);
      const u4 = reducedColumn(from + 4 * positionBytes, 6 * positionBytes, parts, partBytes, row);
      const u5 = reducedColumn(from + 5 * positionBytes, 6 * positionBytes, parts, partBytes, row);
      const w0 = filterMember(0, u0, u1, u2, u3, u4);
      const w1 = filterMember(1, u0, u1, u2, u3, u4);
      const w2 = filterMember(2, u5, u1, u2, u3, u4);
      check = madd(f32x4.add(w0, f32x4.add(w1, w2)), f32x4.splat(0), check);
      v128.store(to + 3 * row * tapBytes, w0);
      v128.store(to + (3 * row + 1) * tapBytes, w1);
      v128.store(to + (3 * row + 2) * tapBytes, w2);
    }
  }
  if (v128.any_true(f32x4.ne(check, check))) store<i32>(pointer(task, 5), 1);
}

// @ts-ignore: decorator
@inline
function sumOfParts(from: usize, parts: i32, partBytes: usize): v128 {
  let sum = v128.load(from);
  for (let part = 1; part < parts; part++) sum = f32x4.add(sum, v128.load(from + <usize>part * partBytes));
  return sum;
}

/** Row `row` of Gᵀ times (u0, u1, u2, u3, u4, u5); `end` is u0 for row 0 and u5 for row 2. */
// @ts-ignore: decorator
@inline
function filterMember(row: usize, end: v128, u1: v128, u2: v128, u3: v128, u4: v128): v128 {
  if (row == 1) {
    const near = f32x4.mul(f32x4.sub(u1, u2), f32x4.splat(nearOdd));
    return madd(f32x4.splat(farOdd), f32x4.sub(u3, u4), near);
  }
  const near = madd(f32x4.splat(row == 0 ? -2.0 / 3.0 : -1.0 / 3.0), f32x4.add(u1, u2), end);
  return madd(f32x4.splat(row == 0 ? 1.0 / 6.0 : 1.0 / 3.0), f32x4.add(u3, u4), near);
}

/** Row `row` of Gᵀ times the column of six sums that are `step` apart. */
function reducedColumn(from: usize, step: usize, parts: i32, partBytes: usize, row: usize): v128 {
  return filterMember(
    row,
    sumOfParts(row == 2 ? from + 5 * step : from, parts, partBytes),
    sumOfParts(from + step, parts, partBytes),
    sumOfParts(from + 2 * step, parts, partBytes),
    sumOfParts(from + 3 * step, parts, partBytes),
    sumOfParts(from + 4 * step, parts, partBytes),
  );
}
