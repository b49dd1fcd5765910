/**
 * FINN: Blott et al., "FINN-R", TRETS 2018. Every layer is a piece of hardware of its own, all run at the same time, and the slowest
 * one sets the rate. A layer is folded: `PE` outputs times `SIMD` inputs are multiplied a cycle. Cycles, DSP, BRAM, URAM and LUT are FINN's own
 * estimates (Xilinx/finn 39f0c9a6, src/finn/custom_op/fpgadataflow: matrixvectoractivation.py, hls/ and rtl/). [ours]: the choice of PE,
 * SIMD and memory for each layer, so that the design fits the board and the slowest layer is as fast as the search finds.
 */
import {ExitCode, SdqError} from '../../errors.ts';
import type {Device, LayerFigures, LayerWork} from '../../hardware/cost-model.ts';
import {isRtl, type Bits} from '../../hardware/finn-unit.ts';
import {item, last, present, property} from '../../lookup.ts';
import type {CostModelDefinition} from '../../plugin-api/registry.ts';

/** The streams between and into the units are at most this wide, bits (arbitrary-precision integers of Vitis HLS). */
const widestStream = 8191;

const resources = ['dsp', 'lut', 'bram18', 'uram'] as const;
type Use = Readonly<Record<(typeof resources)[number], number>>;

/** The matrix-vector unit of a layer. */
export interface Unit {
  /** Inputs of one dot product, MW; of a depthwise layer the taps of its kernel. */
  readonly inputs: number;
  /** Dot products a vector, MH. */
  readonly outputs: number;
  /** Vectors a sample: output pixels. */
  readonly vectors: number;
  readonly depthwise: boolean;
  readonly weightBits: number;
  readonly activationBits: number;
  readonly inputSigned: boolean;
  /** Bits of the values it hands on; null for the last layer of an output, which has no thresholds. */
  readonly outputBits: number | null;
}

export interface Folding extends Use {
  readonly pe: number;
  readonly simd: number;
  /** For one sample. */
  readonly cycles: number;
}

/** DSP blocks: of the RTL unit, with 4 bits on both sides four multiplications a block, else two. */
export function dspBlocks(unit: Unit, pe: number, simd: number): number {
  return isRtl(unit) ? Math.ceil(pe * blocksAProduct(unit)) * simd : 0;
}

/** The cores mvu_4sx4u and mvu_8sx8u_dsp48 of finn-rtllib/mvu. FINN's own estimate counts the second as the first. */
const blocksAProduct = ({weightBits, activationBits}: Bits): number =>
  Math.max(weightBits, activationBits) <= 4 ? 1 / 4 : 1 / 2;

/** LUTs of `simd` multipliers of the HLS unit (FINN-R). */
const multiplierLuts = (bits: number, simd: number): number => simd * (2 * Math.ceil(bits / 6) - 1) * bits;

/**
 * Block RAMs of 18 Kbit for a memory of `depth` words of `width` bits (UG573, simple dual port).
 * @param parity whether the ninth bit of each byte is used; a depthwise unit, whose memory HLS makes, does without
 */
export function bram18(width: number, depth: number, parity = true): number {
  const byte = parity ? 9 : 8;
  if (width === 1) return Math.ceil(depth / 16_384);
  if (width === 2) return Math.ceil(depth / 8192);
  if (width <= 4) return Math.ceil(depth / 4096);
  if (width <= 9) return Math.ceil(depth / 2048) * Math.ceil(width / byte);
  if (width <= 18 || depth > 512) return Math.ceil(depth / 1024) * Math.ceil(width / (2 * byte));
  return Math.ceil(depth / 512) * Math.ceil(width / (4 * byte));
}

/** UltraRAMs of 4,096 words of 72 bits. */
export function uram(width: number, depth: number): number {
  return Math.ceil(width / 72) * Math.ceil(depth / 4096);
}

/** Bits that no sum of products can overflow: Colbert et al., "Quantized neural networks for low-precision accumulation", 2023. */
export function accumulatorBits({inputs, weightBits, activationBits, inputSigned}: Unit): number {
  const alpha = Math.log2(inputs) + weightBits + activationBits - 1 - (inputSigned ? 1 : 0);
  return Math.ceil(alpha + Math.log2(1 + 2 ** -alpha) + 1);
}

/** Thresholds of all output channels: a B-bit output takes 2^B − 1 each, in the width of the accumulator. */
export function thresholdBits(unit: Unit): number {
  return unit.outputBits === null ? 0 : unit.outputs * (2 ** unit.outputBits - 1) * accumulatorBits(unit);
}

/** FINN-R's fit; multipliers and adder tree only where they are not in DSP blocks. FINN gives no figure for the RTL unit. */
export function unitLuts(unit: Unit, pe: number, simd: number): number {
  const bits = unit.weightBits + unit.activationBits;
  const products = isRtl(unit) ? 0 : multiplierLuts(bits, simd) + bits * (2 * simd - 1);
  return Math.floor(300 + 1.1 * pe * (products + accumulatorBits(unit)));
}

/**
 * The thresholds, a node of its own that finds the level by bisection (rtl/thresholding_rtl.py): the memory of stage s has 2^s words a
 * channel, here in LUTs of 64 bits. [ours]: a comparator of the accumulator's width for each stage.
 */
export function thresholdLuts(unit: Unit, pe: number): number {
  const width = accumulatorBits(unit);
  let words = 0;
  for (let stage = 0; stage < (unit.outputBits ?? 0); stage++) {
    words += 1 + Math.ceil(((unit.outputs / pe) * 2 ** stage) / 64);
  }
  return pe * width * words;
}

/** A folding with its weights in each kind of memory that the board has. */
function* variants(unit: Unit, pe: number, simd: number, hasUram: boolean): Generator<Folding> {
  const folds = (unit.inputs / simd) * (unit.outputs / pe);
  const width = pe * simd * unit.weightBits;
  const common = {pe, simd, cycles: folds * unit.vectors, dsp: dspBlocks(unit, pe, simd), bram18: 0, uram: 0};
  const lut = unitLuts(unit, pe, simd) + thresholdLuts(unit, pe);
  yield {...common, lut, bram18: bram18(width, folds, !unit.depthwise)};
  if (hasUram) yield {...common, lut, uram: uram(width, folds)};
  yield {...common, lut: lut + width * Math.ceil(folds / 64)};
}

function divisors(size: number): number[] {
  return Array.from({length: size}, (_, i) => i + 1).filter((part) => size % part === 0);
}

/** The foldings worth having: of two that are as fast, or slower, and take no less of anything, one is left out. The fastest first. */
export function foldings(unit: Unit, hasUram: boolean): Folding[] {
  const all: Folding[] = [];
  for (const pe of divisors(unit.outputs)) {
    for (const simd of divisors(unit.inputs)) {
      if (pe * simd * unit.weightBits > widestStream || simd * unit.activationBits > widestStream) continue;
      // FINN folds the window of a depthwise unit only when its channels are unfolded.
      if (unit.depthwise && simd > 1 && pe < unit.outputs) continue;
      all.push(...variants(unit, pe, simd, hasUram));
    }
  }
  all.sort((a, b) => a.cycles - b.cycles);
  const frontier: Folding[] = [];
  for (const folding of all.reverse()) {
    // Slowest first: a faster one that takes no more replaces those that it beats.
    for (let i = frontier.length - 1; i >= 0; i--) {
      if (resources.every((name) => folding[name] <= item(frontier, i)[name])) frontier.splice(i, 1);
    }
    frontier.push(folding);
  }
  return frontier.reverse();
}

/** What the choice for all layers takes of the board. */
function totalUse(chosen: readonly Folding[]): Use {
  const total = (name: keyof Use): number => chosen.reduce((sum, folding) => sum + folding[name], 0);
  return {dsp: total('dsp'), lut: total('lut'), bram18: total('bram18'), uram: total('uram')};
}

interface Choice {
  readonly chosen: readonly Folding[];
  readonly use: Use;
  readonly fits: boolean;
}

/** Times that the prices of what is short are raised. */
const rounds = 40;

/**
 * For each layer a folding of at most `cycles`, the cheapest at prices of the resources; prices rise where the board is overfull.
 * @param options of each layer, one of them fast enough
 */
function chooseAt(cycles: number, options: readonly (readonly Folding[])[], usable: Use): Choice {
  const fast = options.map((layer) => layer.filter((folding) => folding.cycles <= cycles));
  const prices = {dsp: 1, lut: 1, bram18: 1, uram: 1};
  let best: Choice | undefined;
  for (let round = 0; round < rounds; round++) {
    const price = (folding: Folding): number =>
      resources.reduce((sum, name) => sum + (prices[name] * folding[name]) / Math.max(1, usable[name]), 0);
    const chosen = fast.map((layer) => layer.reduce((a, b) => (price(b) < price(a) ? b : a)));
    const use = totalUse(chosen);
    const fits = resources.every((name) => use[name] <= usable[name]);
    if (fits) return {chosen, use, fits};
    if (best === undefined || overfull(use, usable) < overfull(best.use, usable)) best = {chosen, use, fits};
    for (const name of resources) prices[name] *= (use[name] / Math.max(1, usable[name])) ** (1 / (1 + round / 4));
    for (const name of resources) prices[name] = Math.max(prices[name], 1e-6);
  }
  return repaired(present(best, 'folding'), fast, usable);
}

/** By how much the resources are overfull, in parts of what is usable. */
const overfull = (use: Use, usable: Use): number =>
  resources.reduce((sum, name) => sum + Math.max(0, use[name] / Math.max(1, usable[name]) - 1), 0);

/** Exchanges the folding of one layer after the other, each time the exchange that helps most, until the design fits or none helps. */
function repaired(choice: Choice, options: readonly (readonly Folding[])[], usable: Use): Choice {
  const chosen = [...choice.chosen];
  let use = choice.use;
  for (;;) {
    let least = overfull(use, usable);
    if (least === 0) return {chosen, use, fits: true};
    let exchange: {layer: number; folding: Folding; use: Use} | undefined;
    for (const [layer, foldingsOfLayer] of options.entries()) {
      const current = item(chosen, layer);
      for (const folding of foldingsOfLayer) {
        const other = {
          dsp: use.dsp - current.dsp + folding.dsp,
          lut: use.lut - current.lut + folding.lut,
          bram18: use.bram18 - current.bram18 + folding.bram18,
          uram: use.uram - current.uram + folding.uram,
        };
        const left = overfull(other, usable);
        if (left < least) {
          least = left;
          exchange = {layer, folding, use: other};
        }
      }
    }
    if (exchange === undefined) return {chosen, use, fits: false};
    chosen[exchange.layer] = exchange.folding;
    use = exchange.use;
  }
}

/**
 * The folding of every layer for which the design fits and the slowest layer is fastest.
 * @returns a choice that does not fit where none was found, the least overfull one
 */
export function fold(units: readonly Unit[], usable: Use): Choice {
  const known = new Map<string, readonly Folding[]>();
  const options = units.map((unit) => {
    const key = JSON.stringify(unit);
    const candidates = known.get(key) ?? foldings(unit, usable.uram > 0);
    known.set(key, candidates);
    return candidates;
  });
  const fastest = Math.max(...options.map((layer) => item(layer, 0).cycles));
  const steps = [...new Set(options.flatMap((layer) => layer.map(({cycles}) => cycles)))]
    .filter((cycles) => cycles >= fastest)
    .sort((a, b) => a - b);
  let best = chooseAt(last(steps), options, usable);
  let [low, high] = [0, steps.length - 1];
  while (best.fits && low < high) {
    const middle = (low + high) >> 1;
    const choice = chooseAt(item(steps, middle), options, usable);
    if (choice.fits) {
      best = choice;
      high = middle;
    } else low = middle + 1;
  }
  return best;
}

/** At most, of the whole board. An HLS unit takes a multiplier and an adder for each. */
function productsACycle(unit: Unit, {dsp, lut}: Use): number {
  if (isRtl(unit)) return dsp / blocksAProduct(unit);
  const bits = unit.weightBits + unit.activationBits;
  return lut / (1.1 * (multiplierLuts(bits, 1) + bits));
}

function usableOf({usable}: Device): Use {
  return {
    dsp: usable['dsp'] ?? 0,
    lut: usable['lut'] ?? 0,
    bram18: usable['bram18'] ?? 0,
    uram: usable['uram'] ?? 0,
  };
}

function unitOf({geometry, weightBits, activationBits}: LayerWork, outputBits: number | null, device: Device): Unit {
  const {depthwise, groups, inputChannels, outputChannels, outputSize, kernel, inputSigned} = geometry;
  if (groups > 1 && !depthwise) {
    throw new SdqError(
      `Layer "${geometry.name}": ${device.name} runs convolutions of one group and depthwise ones; this one has ${groups} groups.`,
      {code: 'hardware-groups-not-supported', exit: ExitCode.hardwareViolated},
    );
  }
  return {
    inputs: kernel[0] * kernel[1] * (inputChannels / groups),
    outputs: outputChannels,
    vectors: outputSize[0] * outputSize[1],
    depthwise,
    weightBits,
    activationBits,
    inputSigned,
    outputBits,
  };
}

/** Bits of memory for weights: all block RAMs and UltraRAMs that can be filled. */
const memoryBits = (usable: Use): number => usable.bram18 * 18_432 + usable.uram * 4096 * 72;

function doesNotFit(works: readonly LayerWork[], {use}: Choice, usable: Use, device: Device): SdqError {
  const fullness = (name: keyof Use): number => use[name] / Math.max(1, usable[name]);
  const short = resources.reduce((a, b) => (fullness(b) > fullness(a) ? b : a));
  const bits = works.reduce((sum, {geometry, weightBits}) => sum + geometry.params * weightBits, 0);
  const params = works.reduce((sum, {geometry}) => sum + geometry.params, 0);
  const largest = works.reduce((a, b) => (weightsOf(b) > weightsOf(a) ? b : a));
  return new SdqError(
    `The network does not fit ${device.name}: the smallest design found takes ${count(use[short])} ${short} of ${count(usable[short])} usable. ` +
      `Its weights take ${kib(bits)} KiB, most of them layer "${largest.geometry.name}" (${kib(weightsOf(largest))} KiB).`,
    {
      code: 'hardware-design-too-large',
      exit: ExitCode.hardwareViolated,
      suggestions:
        short === 'lut'
          ? [
              'Each bit more of the activations doubles the thresholds, which are in LUTs: 4 bits or fewer are the rule.',
            ]
          : [
              `Block RAM and UltraRAM of ${device.name} hold ${kib(memoryBits(usable))} KiB: at most ${(memoryBits(usable) / params).toFixed(2)} mean weight bits of this network.`,
            ],
    },
  );
}

const weightsOf = ({geometry, weightBits}: LayerWork): number => geometry.params * weightBits;
const count = (value: number): string => value.toLocaleString('en-US');
const kib = (bits: number): string => count(Math.ceil(bits / 8192));

export const finnDataflow: CostModelDefinition = {
  kind: 'cost-model',
  name: 'finn-dataflow',
  summary: 'FINN: a unit for every layer, folded so that the design fits the board.',
  constants: ['clockMHz'],
  resources: ['lut', 'bram18', 'dsp'],
  energy: 'none',

  /** The interval if what multiplies (DSP blocks in RTL, else LUTs) could be shared out without remainder: MACs · use a MAC / usable. */
  layer(work, device): LayerFigures {
    const unit = unitOf(work, null, device);
    const cycles = (device.batch * work.geometry.macs) / productsACycle(unit, usableOf(device));
    return {
      cycles,
      latencyUs: cycles / property(device.constants, 'clockMHz'),
      energyUj: null,
      utilisation: 1,
      boundBy: 'compute',
    };
  },

  network(works, device) {
    const usable = usableOf(device);
    const clockMHz = property(device.constants, 'clockMHz');
    const units = works.map((work, l) =>
      unitOf(work, work.geometry.last ? null : (works[l + 1]?.activationBits ?? null), device),
    );
    const choice = fold(units, usable);
    if (!choice.fits) throw doesNotFit(works, choice, usable, device);
    const interval = Math.max(...choice.chosen.map(({cycles}) => cycles));
    const fill = choice.chosen.reduce((sum, {cycles}) => sum + cycles, 0);
    const cycles = fill + (device.batch - 1) * interval;
    return {
      layers: choice.chosen.map(
        ({pe, simd, cycles: layerCycles, dsp, lut, bram18: blocks, uram: ultra}, l): LayerFigures => {
          return {
            cycles: layerCycles,
            latencyUs: layerCycles / clockMHz,
            energyUj: null,
            utilisation: layerCycles / interval,
            boundBy: layerCycles === interval ? 'compute' : 'pipeline',
            details: {pe, simd, dsp, lut, bram18: blocks, uram: ultra, ...unitDetails(item(units, l))},
          };
        },
      ),
      cycles,
      latencyUs: cycles / clockMHz,
      samplesPerSecond: (clockMHz / interval) * 1e6,
      resources: resources.map((name) => ({name, used: choice.use[name], usable: usable[name]})),
    };
  },
};

function unitDetails(unit: Unit): Readonly<Record<string, number>> {
  return {accumulatorBits: accumulatorBits(unit), thresholdKiB: thresholdBits(unit) / 8192};
}
