/** How a runtime wants a quantized network written: the section `deployment` of a hardware profile. */
export interface DeploymentRules {
  /**
   * The type of every rounded value. `uint8`: signed grids are moved by a zero point; `int8`: zero points are 0, so that values which
   * cannot be negative have 128 levels; `either`: uint8 where a value cannot be negative, int8 with a zero point of 0 elsewhere.
   */
  readonly activations: 'uint8' | 'int8' | 'either';
  /** Where a grid of fewer than 8 bits is clipped: as integers behind QuantizeLinear, or as floats before it. */
  readonly clip: 'integer' | 'float';
  /** `float`: for runtimes that refuse a DequantizeLinear of 32-bit integers. */
  readonly biases: 'int32' | 'float';
  /** Operators whose inputs are rounded to 8 bits, so that they run on integers, e.g. `Add`. */
  readonly joins: readonly string[];
  /** What to set in the runtime, in sentences. */
  readonly advice?: readonly string[];
}
