/**
 * Bit Fusion: Sharma et al., "Bit Fusion: Bit-Level Dynamically Composable Architecture for Accelerating Deep Neural Networks",
 * ISCA 2018. A systolic array of fusion units, each 16 multipliers of 2 × 2 bits that are fused to the width at hand.
 * The figures are those of the authors' simulator (hsharma35/bitfusion): compute cycles, DRAM traffic of the best tiling and loop order,
 * stalls and energy. [ours]: groups run one after the other, sizes may differ in height and width, dilation widens the input tile.
 */
import {ExitCode, SdqError} from '../../errors.ts';
import type {Device, LayerFigures, LayerWork} from '../../hardware/cost-model.ts';
import type {LayerGeometry} from '../../hardware/geometry.ts';
import {item} from '../../lookup.ts';
import type {CostModelDefinition} from '../../plugin-api/registry.ts';

const constants = [
  'arrayRows',
  'arrayColumns',
  'clockMHz',
  'weightSramKiB',
  'activationSramKiB',
  'outputSramKiB',
  'usableSram',
  'dramBitsPerCycle',
  'partialSumBits',
  'activeCyclePj',
  'weightReadPjPerBit',
  'weightWritePjPerBit',
  'activationReadPjPerBit',
  'activationWritePjPerBit',
  'outputReadPjPerBit',
  'outputWritePjPerBit',
  'dramPjPerBit',
] as const;

type Constants = Readonly<Record<(typeof constants)[number], number>>;

/** Multiplications that one fusion unit does in a cycle: ⌊8 / max(a, 2)⌋ · ⌊8 / max(w, 2)⌋, so 3 bits count as 4 and 5 to 7 as 8. */
export function fusion(weightBits: number, activationBits: number): number {
  return Math.floor(8 / Math.max(activationBits, 2)) * Math.floor(8 / Math.max(weightBits, 2));
}

/** A block of the loops over samples, output pixels and channels. */
export interface Block {
  readonly samples: number;
  readonly height: number;
  readonly width: number;
  readonly inputs: number;
  readonly outputs: number;
}

/** One convolution of one group. */
export interface Convolution extends Block {
  readonly kernel: readonly [number, number];
  /** Rows and columns of the input that one more output row and column takes. */
  readonly strides: readonly [number, number];
  /** Rows and columns of the input that one output pixel takes. */
  readonly extent: readonly [number, number];
  /** The first layer: the host lays out the windows, the array sees one long dot product. */
  readonly im2col: boolean;
  /** Stored bits. */
  readonly weightBits: number;
  readonly activationBits: number;
  readonly fusion: number;
}

/** Cycles in which the array multiplies, for a block of a convolution. */
export function computeCycles(
  block: Block,
  {kernel, im2col, fusion: fused}: Convolution,
  {arrayRows, arrayColumns}: Constants,
) {
  const taps = kernel[0] * kernel[1];
  const lanes = arrayRows * fused;
  const pixels = block.samples * block.height * block.width * Math.ceil(block.outputs / arrayColumns);
  return im2col ? pixels * Math.ceil((taps * block.inputs) / lanes) : pixels * taps * Math.ceil(block.inputs / lanes);
}

interface Traffic {
  readonly weights: number;
  readonly activations: number;
  readonly outputs: number;
}

/** Bits that a block takes in the three memories; outputs are partial sums. */
function blockBits(
  block: Block,
  convolution: Convolution,
  {arrayRows, arrayColumns, partialSumBits}: Constants,
): Traffic {
  const {kernel, strides, extent, im2col, weightBits, activationBits, fusion: fused} = convolution;
  const taps = kernel[0] * kernel[1];
  const lanes = arrayRows * fused;
  const pixels = block.samples * block.height * block.width;
  const window = im2col
    ? pixels * taps
    : block.samples * (extent[0] + (block.height - 1) * strides[0]) * (extent[1] + (block.width - 1) * strides[1]);
  return {
    weights: Math.ceil((taps * block.inputs) / lanes) * lanes * block.outputs * weightBits,
    activations: window * block.inputs * activationBits,
    outputs: pixels * Math.ceil(block.outputs / arrayColumns) * arrayColumns * partialSumBits,
  };
}

/** The five loops over blocks. */
const loops = ['samples', 'height', 'width', 'inputs', 'outputs'] as const satisfies readonly (keyof Block)[];

/** One bit a loop: another block of it means other weights, activations, outputs. */
const changing = {weights: 0b11000, activations: 0b01111, outputs: 0b10111} as const;

/**
 * Orders of some of the loops, from the innermost out, by a mask of the loops that have more than one block. Height before width only:
 * the two have as many blocks, unless the output is not square.
 */
const ordersOf = Array.from({length: 1 << loops.length}, (_, mask) =>
  permutations(loops.map((__, loop) => loop).filter((loop) => (mask & (1 << loop)) !== 0)).filter(
    (order) => !(order.includes(1) && order.includes(2)) || order.indexOf(1) < order.indexOf(2),
  ),
);

function permutations(items: readonly number[]): number[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item) => permutations(items.filter((other) => other !== item)).map((rest) => [item, ...rest]));
}

/** Bits that one memory holds at once, and that are moved between it and DRAM in all. */
interface Reuse {
  held: number;
  moved: number;
}

/**
 * A block stays in its memory while loops that do not change it run, as long as it fits.
 * @param changes mask of the loops that change it
 * @param counts blocks along each loop
 * @param into gets the result: this is the innermost loop of a search
 */
function reuse(
  bits: number,
  changes: number,
  order: readonly number[],
  counts: readonly number[],
  memoryBits: number,
  into: Reuse,
): void {
  let moved = bits;
  let held = bits;
  let stays = true;
  for (let i = 0; i < order.length; i++) {
    const loop = item(order, i);
    if (stays && ((changes >> loop) & 1) === 0) continue;
    moved *= item(counts, loop);
    if (stays && moved > memoryBits) stays = false;
    if (stays) held = moved;
  }
  into.held = held;
  into.moved = moved;
}

/** What the inner loops read and write in the three memories, bits, for one block. */
function memoryAccesses(
  block: Block,
  convolution: Convolution,
  {arrayRows, arrayColumns, partialSumBits}: Constants,
): Traffic {
  const {kernel, im2col, weightBits, activationBits, fusion: fused} = convolution;
  const taps = kernel[0] * kernel[1];
  const lanes = arrayRows * fused;
  const outputs = Math.ceil(block.outputs / arrayColumns) * arrayColumns;
  const inputs = im2col
    ? Math.ceil((block.inputs * taps) / lanes) * lanes
    : Math.ceil(block.inputs / lanes) * lanes * taps;
  const pixels = block.samples * block.height * block.width;
  const inputStationary = inputs * pixels * (activationBits + outputs * (weightBits + partialSumBits));
  const outputStationary = outputs * pixels * (partialSumBits + inputs * (activationBits + weightBits));
  const weightStationary = inputs * outputs * (weightBits + pixels * (activationBits + partialSumBits));
  const least = Math.min(inputStationary, outputStationary, weightStationary);
  const products = taps * block.inputs * block.outputs * pixels;
  if (inputStationary === least) {
    return {
      weights: products * weightBits,
      activations: taps * block.inputs * pixels * activationBits,
      outputs: products * partialSumBits,
    };
  }
  if (outputStationary === least) {
    return {
      weights: products * weightBits,
      activations: products * activationBits,
      outputs: block.outputs * pixels * partialSumBits,
    };
  }
  return {
    weights: taps * block.inputs * block.outputs * weightBits,
    activations: products * activationBits,
    outputs: products * partialSumBits,
  };
}

interface Schedule {
  readonly computeCycles: number;
  /** Cycles that wait for DRAM, the first and last transfers included. */
  readonly stallCycles: number;
  readonly energyPj: number;
  readonly dramBits: number;
  readonly memoryBound: boolean;
}

/** 1, 2, 4, … and the size itself. */
function doublings(size: number): number[] {
  const sizes: number[] = [];
  for (let part = 1; part < size; part *= 2) sizes.push(part);
  return [...sizes, size];
}

/** All blocks that the simulator tries: powers of two, rows and columns together. */
function blocksOf(whole: Convolution, arrayColumns: number): Block[] {
  const outputs = whole.im2col
    ? doublings(whole.outputs)
    : doublings(Math.ceil(whole.outputs / arrayColumns)).map((part) => Math.min(part * arrayColumns, whole.outputs));
  return doublings(whole.samples).flatMap((samples) =>
    doublings(Math.max(whole.height, whole.width)).flatMap((side) =>
      doublings(whole.inputs).flatMap((inputs) =>
        outputs.map((part): Block => {
          const [height, width] = [Math.min(side, whole.height), Math.min(side, whole.width)];
          return {samples, height, width, inputs, outputs: part};
        }),
      ),
    ),
  );
}

/** A block that fits, with no more cycles than any order of its loops can have. */
interface Candidate {
  readonly block: Block;
  readonly bits: Traffic;
  /** Blocks along each loop. */
  readonly counts: readonly number[];
  readonly blockCount: number;
  readonly compute: number;
  readonly leastCycles: number;
}

function candidatesOf(whole: Convolution, limits: Traffic, constant: Constants): Candidate[] {
  const {dramBitsPerCycle} = constant;
  const tilings: Candidate[] = [];
  for (const block of blocksOf(whole, constant.arrayColumns)) {
    const bits = blockBits(block, whole, constant);
    if (bits.weights > limits.weights || bits.activations > limits.activations || bits.outputs > limits.outputs)
      continue;
    const counts = loops.map((loop) => Math.ceil(whole[loop] / block[loop]));
    const [samples, height, width, inputs, outputs] = counts as [number, number, number, number, number];
    const places = samples * height * width;
    const blockCount = places * inputs * outputs;
    const compute = blockCount * computeCycles(block, whole, constant);
    const leastBits =
      bits.weights * inputs * outputs + bits.activations * places * inputs + 2 * bits.outputs * places * outputs;
    const leastEnds = bits.weights + bits.activations + 2 * bits.outputs;
    const leastCycles = Math.max(compute + leastEnds / dramBitsPerCycle, leastBits / dramBitsPerCycle);
    tilings.push({block, bits, counts, blockCount, compute, leastCycles});
  }
  return tilings.sort((a, b) => a.leastCycles - b.leastCycles);
}

/**
 * The schedule of fewest cycles, and of these the one of least energy: every block size in powers of two and every order of the five loops.
 * @returns undefined where not even the smallest block fits the memories
 */
function bestSchedule(whole: Convolution, constant: Constants): Schedule | undefined {
  const memory = (kib: number): number => kib * 8192 * constant.usableSram;
  const limits: Traffic = {
    weights: memory(constant.weightSramKiB),
    activations: memory(constant.activationSramKiB),
    outputs: memory(constant.outputSramKiB),
  };
  const cyclesFor = (bits: number): number => Math.ceil(bits / constant.dramBitsPerCycle);
  const weights: Reuse = {held: 0, moved: 0};
  const activations: Reuse = {held: 0, moved: 0};
  const outputs: Reuse = {held: 0, moved: 0};
  let best: Schedule | undefined;
  let bestCycles = Infinity;
  for (const {block, bits, counts, blockCount, compute, leastCycles} of candidatesOf(whole, limits, constant)) {
    if (leastCycles > bestCycles) break;
    const inner = memoryAccesses(block, whole, constant);
    for (const order of item(
      ordersOf,
      counts.reduce((mask, count, loop) => (count > 1 ? mask | (1 << loop) : mask), 0),
    )) {
      reuse(bits.weights, changing.weights, order, counts, limits.weights, weights);
      reuse(bits.activations, changing.activations, order, counts, limits.activations, activations);
      reuse(bits.outputs, changing.outputs, order, counts, limits.outputs, outputs);
      const firstBits = weights.held + activations.held + outputs.held;
      const dramBits = weights.moved + activations.moved + 2 * outputs.moved;
      const between = cyclesFor(dramBits - firstBits - outputs.held);
      const stallCycles = Math.max(0, between - compute) + cyclesFor(firstBits) + cyclesFor(outputs.held);
      if (compute + stallCycles > bestCycles) continue;
      const energyPj =
        compute * constant.activeCyclePj +
        blockCount * inner.weights * constant.weightReadPjPerBit +
        weights.moved * constant.weightWritePjPerBit +
        blockCount * inner.activations * constant.activationReadPjPerBit +
        activations.moved * constant.activationWritePjPerBit +
        (blockCount * inner.outputs + outputs.moved) * (constant.outputReadPjPerBit + constant.outputWritePjPerBit) +
        dramBits * constant.dramPjPerBit;
      if (best !== undefined && compute + stallCycles === bestCycles && energyPj >= best.energyPj) continue;
      best = {computeCycles: compute, stallCycles, energyPj, dramBits, memoryBound: between > compute};
      bestCycles = compute + stallCycles;
    }
  }
  return best;
}

function convolutionOf(geometry: LayerGeometry, work: LayerWork, batch: number): Convolution {
  const {kernel, dilations, groups, inputChannels, outputChannels, outputSize} = geometry;
  return {
    samples: batch,
    height: outputSize[0],
    width: outputSize[1],
    inputs: inputChannels / groups,
    outputs: outputChannels / groups,
    kernel,
    strides: geometry.strides,
    extent: [dilations[0] * (kernel[0] - 1) + 1, dilations[1] * (kernel[1] - 1) + 1],
    im2col: geometry.op === 'Conv' && geometry.first,
    weightBits: work.storedWeightBits,
    activationBits: work.storedActivationBits,
    fusion: fusion(...work.executedAs),
  };
}

function doesNotFit(work: LayerWork, convolution: Convolution, constant: Constants, device: Device): SdqError {
  const least: Block = {
    samples: 1,
    height: 1,
    width: 1,
    inputs: 1,
    outputs: Math.min(convolution.outputs, constant.arrayColumns),
  };
  const bits = blockBits(convolution.im2col ? {...least, outputs: 1} : least, convolution, constant);
  const need = (['weights', 'activations', 'outputs'] as const).map(
    (key) => `${(bits[key] / 8192).toFixed(2)} KiB of ${key}`,
  );
  return new SdqError(
    `Layer "${work.geometry.name}" does not fit ${device.name}: its smallest block has ${need.join(', ')}, but ` +
      `${constant.weightSramKiB}, ${constant.activationSramKiB} and ${constant.outputSramKiB} KiB × ${constant.usableSram} are usable.`,
    {
      code: 'hardware-layer-too-large',
      exit: ExitCode.hardwareViolated,
      suggestions: ['Use fewer bits for this layer, or a profile with larger memories.'],
    },
  );
}

export const bitFusion: CostModelDefinition = {
  kind: 'cost-model',
  name: 'bit-fusion',
  summary: 'Systolic array of fused 2-bit multipliers: cycles of the Bit Fusion simulator.',
  constants,
  resources: [],
  energy: 'relative',
  layer(work, device): LayerFigures {
    const constant = device.constants as Constants;
    const {geometry} = work;
    const convolution = convolutionOf(geometry, work, device.batch);
    const schedule = bestSchedule(convolution, constant);
    if (schedule === undefined) throw doesNotFit(work, convolution, constant, device);
    const cycles = geometry.groups * (schedule.computeCycles + schedule.stallCycles);
    const perCycle = constant.arrayRows * constant.arrayColumns * convolution.fusion;
    return {
      cycles,
      latencyUs: cycles / constant.clockMHz,
      energyUj: geometry.groups * schedule.energyPj * 1e-6,
      utilisation: (device.batch * geometry.macs) / (cycles * perCycle),
      boundBy: schedule.memoryBound ? 'memory' : 'compute',
      details: {
        computeCycles: geometry.groups * schedule.computeCycles,
        stallCycles: geometry.groups * schedule.stallCycles,
        dramKiB: (geometry.groups * schedule.dramBits) / 8192,
      },
    };
  },
};
