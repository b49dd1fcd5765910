/**
 * How well a measured latency table says what a network takes that is not in it. `sdq hardware measure` runs networks with the same
 * bits in all layers; here networks with bits drawn layer by layer are predicted by the table, and run. They take turns with the
 * network of 8 bits, so that the ratio to it holds on a busy machine too. Layers in float are left out: next to quantized ones the
 * runtime converts values, which no network of the table does.
 *
 *   node --import tsx bench/latency-table.ts [--models resnet20,mobilenet-v2] [--mixes 4] [--runs 100] [--runtime onnxruntime-node] [--python PYTHON]
 */
import {parseArgs} from 'node:util';

import {layerTable} from '../src/graph/layer-table.ts';
import {elements} from '../src/graph/ops/operator.ts';
import {encodeOnnx} from '../src/graph/onnx/proto.ts';
import {allowedPairs, type Bits} from '../src/hardware/rules.ts';
import {readTarget} from '../src/phases/deployment.ts';
import {madeUpNetwork, measureLayers} from '../src/phases/hardware-measure.ts';
import {timesInTurns, timing} from '../src/phases/latency.ts';
import {withRuntime, type Runtime} from '../src/phases/runtime.ts';
import {models} from '../src/plugins/models/index.ts';
import {uniform} from '../src/random.ts';

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
  const times = new Map(
    rows.map(({layer, weightBits, activationBits, latencyUs}) => [
      `${layer} ${weightBits} ${activationBits}`,
      latencyUs!,
    ]),
  );
  const allowed = allowedPairs(target.profile, layers);
  const draw = uniform(0, 'bench');
  const uniformBits = allowed.map((pairs) => pairs.find((p) => p.weightBits === 8 && p.activationBits === 8)!);
  const drawn = (): Bits[] =>
    allowed.map((pairs) => {
      const integers = pairs.filter(({weightBits, activationBits}) => Math.max(weightBits, activationBits) <= 8);
      return integers[Math.floor(draw() * integers.length)]!;
    });
  const networks = [uniformBits, ...Array.from({length: Number(values.mixes)}, drawn)];
  const shape = [1, ...graph.input.shape];
  const images = Float32Array.from({length: elements(shape)}, () => draw());
  const opened = [];
  for (const bits of networks) {
    const {model: file} = await madeUpNetwork(graph, target, bits, 0);
    opened.push({network: await runtime.open(encodeOnnx(file), name, 'all'), images, shape});
  }
  const measured = (await timesInTurns(opened, Math.ceil(runs / 5), 5)).map((each) => timing(each).medianMs);
  for (const {network} of opened) await network.release();
  const predicted = networks.map((bits) =>
    bits.reduce(
      (sum, {weightBits, activationBits}, l) =>
        sum + times.get(`${layers[l]!.name} ${weightBits} ${activationBits}`)! / 1000,
      0,
    ),
  );
  for (const [n, ms] of measured.entries()) {
    const ratio = predicted[n]! / ms;
    const beside = ratio / (predicted[0]! / measured[0]!);
    console.log(
      `${name}, ${n === 0 ? '8/8 bits' : `mix ${n}`}: predicted ${predicted[n]!.toFixed(3)} ms, measured ${ms.toFixed(3)}, ` +
        `${(100 * (ratio - 1)).toFixed(1)} %; as a multiple of 8/8 ${(100 * (beside - 1)).toFixed(1)} %`,
    );
  }
}

await withRuntime({name: values.runtime as 'onnxruntime-node', python: values.python, threads: 1}, async (runtime) => {
  console.log(runtime.name);
  for (const name of values.models.split(',')) await compare(runtime, name);
});
