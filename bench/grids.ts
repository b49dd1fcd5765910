/**
 * What each bitwidth of each layer costs before any training: loss and error on training images with the weights (or the inputs)
 * of one layer rounded, the rest in full precision, batch-norm's statistics as they are. Counts the layers in which a bit more is
 * worse. Written to --to after each layer; a second start takes the layers that are there. From the project's folder:
 *
 *   node --import tsx bench/grids.ts sdq.config.yaml [--grid narrow --grid symmetric] [--of weights] [--bits 1,2,3,4] [--to FILE]
 */
import {existsSync, readFileSync} from 'node:fs';
import {parseArgs} from 'node:util';

import {table} from '../src/cli/table.ts';
import {loadConfig} from '../src/config/load-config.ts';
import {writeFileAtomic} from '../src/files.ts';
import {hasWeights, inputSites} from '../src/graph/layer-table.ts';
import register from '../src/hooks/register.ts';
import {item} from '../src/lookup.ts';
import {openSample, sampleTrainingInputs} from '../src/phases/calibration.ts';
import {loadQuantizers} from '../src/phases/load-quantizers.ts';
import {createModel, openSession, type JobConfig} from '../src/phases/session.ts';
import {Registry} from '../src/plugin-api/registry.ts';
import {fullPrecision} from '../src/sdq/strategy.ts';
import {calibrateInputs} from '../src/training/calibration.ts';
import {evaluate} from '../src/training/evaluate.ts';
import {quantize} from '../src/training/quantized-network.ts';

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    grid: {type: 'string', multiple: true, default: ['narrow', 'symmetric']},
    of: {type: 'string', default: 'weights'},
    bits: {type: 'string', default: '1,2,3,4,6,8'},
    images: {type: 'string', default: '1024'},
    set: {type: 'string', multiple: true, default: []},
    to: {type: 'string', default: 'grids.json'},
  },
});

/** Of one layer, by grid: [loss, % wrong] at each of the bits. */
interface Row {
  readonly layer: string;
  /** Of `inputs`: whether one of them can be negative. */
  readonly signed: boolean;
  readonly grids: Record<string, [loss: number, error: number][]>;
}
interface Result {
  readonly of: string;
  readonly bits: number[];
  readonly images: number;
  base: [loss: number, error: number];
  readonly rows: Row[];
}

const {config, registry} = await loadConfig({
  cwd: process.cwd(),
  env: process.env,
  file: positionals[0],
  set: values.set,
  sweepParams: undefined,
  require: ['model', 'data'],
  async loadRegistry() {
    const kinds = [
      'dataset',
      'engine',
      'model',
      'task',
      'searcher',
      'weight-quantizer',
      'activation-quantizer',
    ] as const;
    const known = new Registry([...kinds, 'tracker']);
    await register({registry: known});
    return known;
  },
});
const session = await openSession(config as JobConfig, registry, {
  update: () => undefined,
  line: (text) => console.error(text),
});
const network = createModel(session, config.model?.weights);
const source = openSample(session);
const batches = Math.ceil(Number(values.images) / (source.samples / source.batchesPerEpoch));
const bits = values.bits.split(',').map(Number);

async function judge(forward?: Parameters<typeof evaluate>[3]): Promise<[number, number]> {
  const {loss, accuracy} = await evaluate(network, session.task, source, forward, undefined, undefined, batches);
  return [loss, 100 * (1 - (accuracy ?? 0))];
}

const result: Result = existsSync(values.to)
  ? (JSON.parse(readFileSync(values.to, 'utf8')) as Result)
  : {of: values.of, bits, images: Number(values.images), base: await judge(), rows: []};
const layers = network.layers.filter((layer) => values.of === 'inputs' || hasWeights(layer));
const sample = values.of === 'inputs' ? await sampleTrainingInputs(session, network, sites()) : new Map();

function sites(): string[] {
  return layers.flatMap(inputSites).map(({id}) => id);
}

for (const layer of layers) {
  if (result.rows.some((row) => row.layer === layer.name)) continue;
  const grids: Row['grids'] = {};
  for (const grid of values.grid) {
    const names =
      values.of === 'inputs' ? {weights: 'narrow', activations: grid} : {weights: grid, activations: 'pact'};
    const quantizers = await loadQuantizers(registry, names);
    const judged: [number, number][] = [];
    for (const b of bits) {
      const precision = {
        weightBits: values.of === 'inputs' && hasWeights(layer) ? fullPrecision : b,
        activationBits: values.of === 'inputs' ? b : fullPrecision,
      };
      const none = {weightBits: fullPrecision, activationBits: fullPrecision};
      const quantization = quantize(network, quantizers, ({name}) => (name === layer.name ? precision : none), {
        learnSteps: false,
      });
      calibrateInputs(quantization.inputs, sample);
      judged.push(await judge(quantization.forward));
      quantization.dispose();
    }
    grids[grid] = judged;
  }
  result.rows.push({layer: layer.name, signed: inputSites(layer).some(({signed}) => signed), grids});
  writeFileAtomic(values.to, `${JSON.stringify(result)}\n`);
}

/** Loss above that of full precision: rounding may lower the loss by chance, which later bits lose again. */
const excess = (judged: readonly [number, number][], i: number): number =>
  Math.max(0, item(judged, i)[0] - result.base[0]);

/** Bits at which the excess is above that of the bits before, by more than two thousandths of a nat. */
const rises = (judged: readonly [number, number][]): number[] =>
  result.bits.filter((_, i) => i > 0 && excess(judged, i) > excess(judged, i - 1) + 2e-3);

for (const grid of values.grid) {
  const rows = result.rows.map(({layer, signed, grids}) => {
    const judged = grids[grid] ?? [];
    const cells = judged.map(([loss, error]) => `${(loss - result.base[0]).toFixed(3)} ${error.toFixed(1)}`);
    return [`${layer}${values.of === 'inputs' && signed ? ' ±' : ''}`, ...cells, rises(judged).join(' ')];
  });
  const [loss, error] = result.base;
  console.log(`\n${grid}: added loss and % wrong with one layer's ${result.of} at so many bits.`);
  console.log(`Full precision: loss ${loss.toFixed(4)}, ${error.toFixed(2)} % wrong.`);
  const heads = ['layer', ...result.bits.map(String), 'worse than fewer bits'];
  console.log(
    table(
      heads.map((head) => ({head})),
      rows,
    ),
  );
  const risen = result.rows.filter(({grids}) => rises(grids[grid] ?? []).length > 0).length;
  console.log(`A bit more is worse in ${risen} of ${rows.length} layers.`);
}
await source.close();
network.dispose();
await session.close();
