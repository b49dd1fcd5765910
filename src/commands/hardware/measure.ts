import path from 'node:path';

import {Args, Flags} from '@oclif/core';

import {checkFree} from '../../files.ts';
import {SdqCommand} from '../../cli/base-command.ts';
import {percent} from '../../cli/output.ts';
import {table} from '../../cli/table.ts';
import {graphDigest} from '../../graph/digest.ts';
import type {LatencyTable, MeasuredNetwork} from '../../hardware/latency-table.ts';
import {readTarget} from '../../phases/deployment.ts';
import {measureLayers, processorName} from '../../phases/hardware-measure.ts';
import {writeTable} from '../../phases/latency-table-file.ts';
import {modelGraph} from '../../phases/model-graph.ts';
import {withRuntime} from '../../phases/runtime.ts';

interface MeasuredTable extends Omit<LatencyTable, 'version' | 'rows'> {
  readonly path: string;
  readonly rows: number;
}

export default class HardwareMeasure extends SdqCommand {
  static override summary = 'Time each layer at each combination of bits in a runtime on this machine.';
  static override description = `The network runs whole, as \`<%= config.bin %> export --target\` writes it, with made-up weights, once for all combinations of bits that give the same nodes. \
The runtime's profile says what each node takes; what follows a layer, such as an Add, counts for it. The times of a network's layers add up to its time without a profile. \
What the change between layers in float and layers of integers takes is measured too. \
\`<%= config.bin %> hardware estimate --latency-table\` and \`search.target.latencyTable\` read the file. It is never overwritten.`;

  static override examples = [
    '<%= config.bin %> hardware measure onnxruntime --model resnet20',
    '<%= config.bin %> hardware measure onnxruntime --model mobilenet-v2 --runtime onnxruntime --python .venv/bin/python --batch 8',
  ];
  static override args = {
    target: Args.string({
      description: 'A target of sdq export: a profile with a section "deployment", or a file that ends in .json.',
      required: true,
    }),
  };
  static override flags = {
    model: Flags.string({summary: 'The model.', helpValue: 'NAME', required: true}),
    runtime: Flags.option({
      summary: 'Runtime to time; only these report the time of each node.',
      options: ['onnxruntime-node', 'onnxruntime'] as const,
      default: 'onnxruntime-node' as const,
    })(),
    python: Flags.string({
      summary: 'The interpreter that has the package onnxruntime.',
      helpValue: 'PROGRAM',
      default: 'python3',
    }),
    batch: Flags.integer({summary: 'Samples computed together.', helpValue: 'N', default: 1, min: 1}),
    threads: Flags.integer({summary: 'Threads of the runtime.', helpValue: 'N', default: 1, min: 1}),
    runs: Flags.integer({
      summary: 'Timed runs of each distinct network, and the same number of profiled runs.',
      helpValue: 'N',
      default: 100,
      min: 5,
    }),
    output: Flags.string({summary: 'Where to write it.', helpValue: 'FILE', default: 'latency-table.json'}),
  };

  async run(): Promise<MeasuredTable> {
    const {args, flags} = await this.parse(HardwareMeasure);
    const {batch, model, python, runs, runtime: name, threads} = flags;
    const {config, registry} = await this.settings({kinds: ['model', 'dataset', 'task']});
    const target = readTarget(args.target);
    const file = path.resolve(flags.output);
    checkFree(file, 'Choose another file with --output.');
    const graph = await modelGraph(config, registry, model, (message) => this.notice(message));
    const progress = this.progress();
    const {networks, rows, runtime} = await withRuntime({name, python, threads}, async (opened) => ({
      runtime: opened.name,
      ...(await measureLayers(opened, {
        ...{batch, graph, runs, target, seed: config.seed},
        progress: (done, all) => progress.update('timing networks', done, all),
      })),
    }));
    progress.stop();
    const head = {
      hardware: target.name,
      model: {name: model, graphDigest: `sha256:${graphDigest(graph)}`},
      batch,
      measured: {runtime, processor: processorName(), threads, runs, networks},
    };
    writeTable(file, {version: 1, ...head, rows});
    this.log(
      table(
        [{head: 'weight / activation bits'}, {head: 'ms', align: 'right'}, {head: '± %', align: 'right'}],
        grouped(networks).map(([bits, {latencyUs, spread}]) => [
          bits,
          (latencyUs / 1000).toPrecision(3),
          percent(spread / 2),
        ]),
      ),
    );
    this.log(`${rows.length} rows, measured in ${runtime} on ${processorName()}.\n${file}`);
    return {path: file, ...head, rows: rows.length};
  }
}

/** Combinations of bits that are the same network to the runtime, in one line. */
function grouped(networks: readonly MeasuredNetwork[]): [string, MeasuredNetwork][] {
  const lines = new Map<string, {bits: string[]; network: MeasuredNetwork}>();
  for (const network of networks) {
    const key = `${network.latencyUs} ${network.spread}`;
    const line = lines.get(key) ?? {bits: [], network};
    line.bits.push(`${network.weightBits}/${network.activationBits}`);
    lines.set(key, line);
  }
  return [...lines.values()].map(({bits, network}) => [
    bits.length > 4 ? `${bits.slice(0, 3).join(' ')} … ${bits.at(-1) ?? ''}` : bits.join(' '),
    network,
  ]);
}
