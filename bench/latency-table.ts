/**
 * How well a measured latency table says what a network takes that is not in it. `sdq hardware measure` runs networks with the same
 * bits in all layers; here networks with bits drawn layer by layer are predicted by the table, and run. They take turns with the
 * network of 8 bits, so that the ratio to it holds on a busy machine too. In half of them a fifth of the layers have inputs in float.
 *
 *   node --import tsx bench/latency-table.ts [--models resnet20,mobilenet-v2] [--mixes 4] [--runs 100] [--runtime onnxruntime-node] [--python PYTHON]
 */
import {parseArgs} from 'node:util';

import {initialWeights} from '../src/graph/initialize.ts';
import {layerTable} from '../src/graph/layer-table.ts';
import {elements} from '../src/graph/ops/operator.ts';
import {encodeOnnx} from '../src/graph/onnx/proto.ts';
import {prepareCosts} from '../src/hardware/cost-model.ts';
import {layerGeometries} from '../src/hardware/geometry.ts';
import {withMeasured} from '../src/hardware/latency-table.ts';
import {allowedPairs, type Bits} from '../src/hardware/rules.ts';
import {readTarget} from '../src/phases/deployment.ts';
import {madeUpNetwork, measureLayers} from '../src/phases/hardware-measure.ts';
import {timesInTurns, timing} from '../src/phases/latency.ts';
import {withRuntime, type Runtime} from '../src/phases/runtime.ts';
import {genericBops} from '../src/plugins/cost-models/generic-bops.ts';
import {models} from '../src/plugins/models/index.ts';
import {uniform} from '../src/random.ts';
import {fullPrecision} from '../src/sdq/strategy.ts';

const {values} = parseArgs({
  options: {
    models: {type: 'string', default: 'resnet20,mobilenet-v2'},
    mixes: {type: 'string', default: '4'},
    runs: {type: 'string', default: '100'},
    runtime: {type: 'string', default: 'onnxruntime-node'},
    python: {type: 'string', default: 'python3'},
  },
});
const runs = Number(values.runs);
const target = readTarget('onnxruntime');

async function compare(runtime: Runtime, name: string): Promise<void> {
  const model = models.find((each) => each.name === name)!;
  const cifar = {classes: 10, inputShape: [3, 32, 32]} as const;
  const graph = name === 'mobilenet-v2' ? model.build(cifar, {stem: 'cifar'}) : model.build(model.defaults, {});
  const {layers} = layerTable(graph);
  const {rows} = await measureLayers(runtime, {target, graph, batch: 1, runs, seed: 0, progress: () => undefined});
  const head = {version: 1, hardware: target.name, model: {name, graphDigest: ''}, batch: 1} as const;
  const modelled = prepareCosts(target.profile, genericBops, 1);
  const costs = withMeasured(modelled, {...head, rows}, 'latency-table.json');
  const allowed = allowedPairs(target.profile, layers);
  const draw = uniform(0, 'bench');
  const uniformBits = allowed.map((pairs) => pairs.find((p) => p.weightBits === 8 && p.activationBits === 8)!);
  const isFloat = ({activationBits}: Bits): boolean => activationBits === fullPrecision;
  const drawn = (floats: number): Bits[] =>
    allowed.map((pairs) => {
      const takesFloat = draw() < floats;
      const fitting = pairs.filter((pair) =>
        takesFloat ? isFloat(pair) : Math.max(pair.weightBits, pair.activationBits) <= 8,
      );
      return fitting[Math.floor(draw() * fitting.length)]!;
    });
  const networks = [uniformBits, ...Array.from({length: Number(values.mixes)}, (_, n) => drawn(n % 2 === 0 ? 0 : 0.2))];
  const shape = [1, ...graph.input.shape];
  const images = Float32Array.from({length: elements(shape)}, () => draw());
  const opened = [];
  const parameters = initialWeights(graph, 0);
  for (const bits of networks) {
    const {model: file} = await madeUpNetwork(graph, target, bits, parameters);
    opened.push({network: await runtime.open(encodeOnnx(file), name, 'all'), images, shape});
  }
  const measured = (await timesInTurns(opened, Math.ceil(runs / 5), 5)).map((each) => timing(each).medianMs);
  for (const {network} of opened) await network.release();
  const predicted = networks.map((bits) => costs.network(layerGeometries(graph), bits).totals.latencyUs! / 1000);
  for (const [n, ms] of measured.entries()) {
    const ratio = predicted[n]! / ms;
    const beside = ratio / (predicted[0]! / measured[0]!);
    console.log(
      `${name}, ${n === 0 ? '8/8 bits' : `mix ${n}, ${networks[n]!.filter(isFloat).length} in float`}: predicted ${predicted[n]!.toFixed(3)} ms, measured ${ms.toFixed(3)}, ` +
        `${(100 * (ratio - 1)).toFixed(1)} %; as a multiple of 8/8 ${(100 * (beside - 1)).toFixed(1)} %`,
    );
  }
}

await withRuntime({name: values.runtime as 'onnxruntime-node', python: values.python, threads: 1}, async (runtime) => {
  console.log(runtime.name);
  for (const name of values.models.split(',')) await compare(runtime, name);
});
