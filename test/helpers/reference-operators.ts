/** Convolution and pooling as plain loops in double precision on [N, channels, height, width]: oracles of the operators. */

/** Row-major values with their shape. */
export interface Array64 {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

interface Sliding {
  readonly strides: readonly [number, number];
  /** Top, left, bottom, right. */
  readonly pads: readonly [number, number, number, number];
}

/** @param w [out, in / group, height, width] */
export function referenceConv(
  x: Array64,
  w: Array64,
  bias: readonly number[] | null,
  {strides, pads, dilations, group}: Sliding & {readonly dilations: readonly [number, number]; readonly group: number},
): Array64 {
  const [batch, channels, height, width] = x.shape as [number, number, number, number];
  const [outputs, inputs, kernelHeight, kernelWidth] = w.shape as [number, number, number, number];
  const rows = Math.floor((height + pads[0] + pads[2] - dilations[0] * (kernelHeight - 1) - 1) / strides[0]) + 1;
  const columns = Math.floor((width + pads[1] + pads[3] - dilations[1] * (kernelWidth - 1) - 1) / strides[1]) + 1;
  const data: number[] = [];
  for (let n = 0; n < batch; n++)
    for (let o = 0; o < outputs; o++)
      for (let row = 0; row < rows; row++)
        for (let column = 0; column < columns; column++) {
          let sum = bias?.[o] ?? 0;
          for (let i = 0; i < inputs; i++)
            for (let kh = 0; kh < kernelHeight; kh++)
              for (let kw = 0; kw < kernelWidth; kw++) {
                const c = Math.floor(o / (outputs / group)) * inputs + i;
                const h = row * strides[0] + kh * dilations[0] - pads[0];
                const v = column * strides[1] + kw * dilations[1] - pads[1];
                if (h < 0 || h >= height || v < 0 || v >= width) continue;
                sum +=
                  x.data[((n * channels + c) * height + h) * width + v]! *
                  w.data[((o * inputs + i) * kernelHeight + kh) * kernelWidth + kw]!;
              }
          data.push(sum);
        }
  return {shape: [batch, outputs, rows, columns], data};
}
