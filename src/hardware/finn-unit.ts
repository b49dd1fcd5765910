/** Of which kind FINN (Xilinx/finn 39f0c9a6) builds the matrix-vector unit of a layer. */

export interface Bits {
  readonly weightBits: number;
  readonly activationBits: number;
}

/**
 * Whether FINN builds the unit in RTL, from DSP blocks; else HLS builds it from LUTs (specialize_layers.py, without a preference: both
 * operands of at least 4 bits, thresholds in a node of their own; depthwise units in RTL are for Versal alone).
 */
export function isRtl({
  depthwise = false,
  weightBits,
  activationBits,
}: Bits & {readonly depthwise?: boolean | undefined}): boolean {
  return !depthwise && Math.min(weightBits, activationBits) >= 4;
}
