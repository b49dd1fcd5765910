/**
 * Numbers that the kernels share with their callers in ../kernels. AssemblyScript and TypeScript both compile this file: it holds
 * whole numbers without a type, and nothing else.
 */

/** Integers and addresses of a parameter block, then its floats. */
export const taskInts = 48;
export const taskFloats = 16;

/** Register tiles of the convolutions and matrix products: rows, and columns of a panel. */
export const tileRows = 4;
export const tileColumns = 8;

/** Positions of a tile that Winograd's kernels transform. */
export const winogradPositions = 36;
/** Bytes behind the tiles of a position: they keep a channel of neighbouring positions out of each other's cache sets. */
export const winogradSlack = 64;
/** A thread's scratch: 36 vectors, from here 36 addresses, from here a pixel of zeros. */
export const winogradAddresses = 576;
export const winogradZeros = 768;

/** Operations of `binary` and `broadcast`. */
export const addition = 0;
export const subtraction = 1;
export const multiplication = 2;
export const division = 3;
export const maximum = 4;
export const minimum = 5;

/** Operations of `unary`; `roundEven` rounds half to even. */
export const relu = 0;
export const relu6 = 1;
export const clipping = 2;
export const squareRoot = 3;
export const reciprocalRoot = 4;
export const square = 5;
export const negation = 6;
export const absolute = 7;
export const roundEven = 8;
export const leaky = 9;

/** Operations of `transcendental`. */
export const exponential = 0;
export const logarithm = 1;
export const sigmoid = 2;
export const tangent = 3;
export const errorFunction = 4;

/** Operations of `reduce` and `combineParts`. */
export const reduceSum = 0;
export const reduceMaximum = 1;

/** Gradients of a scale: none, that of a clipped activation, LSQ's. */
export const scaleNone = 0;
export const scaleClip = 1;
export const scaleLsq = 2;
