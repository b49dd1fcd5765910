import {existsSync} from 'node:fs';
import path from 'node:path';

import {Args} from '@oclif/core';

import {SdqCommand} from '../../cli/base-command.ts';
import {table} from '../../cli/table.ts';
import type {Graph} from '../../graph/graph.ts';
import {layerTable} from '../../graph/layer-table.ts';
import {inferShapes} from '../../graph/shape.ts';
import {entry} from '../../lookup.ts';
import {readModelFile} from '../../phases/model-file.ts';
import {modelGraph} from '../../phases/model-graph.ts';
import {readNetwork} from '../../network-file.ts';

interface ShownModel {
  readonly name: string;
  readonly layers: readonly {
    readonly name: string;
    readonly op: string;
    /** 0 where an earlier layer, `sharedWith`, has the same weights. */
    readonly params: number;
    readonly sharedWith?: string;
    readonly macs: number;
    readonly inputShape: readonly number[];
    readonly outputShape: readonly number[];
  }[];
  readonly params: number;
  readonly macs: number;
}

interface ShownFile {
  readonly file: string;
  readonly tensors: readonly {readonly name: string; readonly shape: readonly number[]; readonly params: number}[];
  readonly params: number;
}

export default class ModelShow extends SdqCommand {
  static override summary = 'Show the layers of a model or of an ONNX file, or the tensors of a safetensors file.';
  static override description =
    "Of a model: every layer that is quantized, with its weights, multiply-accumulates and shapes, and the network's totals. Input and classes are those of the config's data set where it has been fetched.";
  static override examples = [
    '<%= config.bin %> model show resnet20',
    '<%= config.bin %> model show mobilenet-v2 --json',
    '<%= config.bin %> model show network.onnx',
  ];
  static override args = {
    model: Args.string({description: 'Name of a model, or an ONNX or safetensors file.', required: true}),
  };

  async run(): Promise<ShownModel | ShownFile> {
    const {args} = await this.parse(ModelShow);
    if (args.model.endsWith('.onnx')) {
      const {graph} = readNetwork(path.resolve(args.model));
      const shown = this.#showGraph(args.model, graph);
      this.#noticeOutputs(graph);
      if (shown.layers.length === 0) this.notice('It has no layer to quantize.');
      return shown;
    }
    if (args.model.endsWith('.safetensors') || existsSync(args.model)) return this.#showFile(path.resolve(args.model));
    const {config, registry} = await this.settings({kinds: ['model', 'dataset', 'task']});
    return this.#showGraph(
      args.model,
      await modelGraph(config, registry, args.model, (message) => this.notice(message)),
    );
  }

  #noticeOutputs(graph: Graph): void {
    const known = inferShapes(graph);
    const outputs = graph.outputs.map((name) => ({name, shape: entry(known, name).shape}));
    for (const [name, problem] of graph.refused ?? []) {
      this.notice(`Its output "${name}" is left out, with what only this output needs: ${problem}`);
    }
    if (outputs.length > 1) {
      const shown = outputs.map(({name, shape}) => `"${name}" [${shape.join(', ')}]`);
      this.notice(`It has the outputs ${shown.join(', ')} for one image: --set task.options.output=NAME chooses one.`);
    }
    if (!outputs.some(({shape}) => shape.length === 1)) {
      const shown = outputs.map(({shape}) => `[${shape.join(', ')}]`).join(' and ');
      this.notice(`Its output for one image is ${shown}; the commands that train or run it need [classes].`);
    }
  }

  #showGraph(name: string, graph: Graph): ShownModel {
    const network = layerTable(graph);
    const layers = network.layers.map(({name: layer, op, params, macs, inputShape, outputShape, sharedWith}) => {
      return {
        name: layer,
        op,
        params,
        macs,
        inputShape,
        outputShape,
        ...(sharedWith === undefined ? {} : {sharedWith}),
      };
    });
    const result = {name, layers, params: network.parameters, macs: network.macs};
    this.log(
      table(
        [
          {head: 'layer'},
          {head: 'op'},
          {head: 'weights', align: 'right'},
          {head: 'MACs', align: 'right'},
          {head: 'input', align: 'right'},
          {head: 'output', align: 'right'},
        ],
        layers.map((layer) => [
          layer.name,
          layer.op,
          layer.sharedWith === undefined ? grouped(layer.params) : `those of ${layer.sharedWith}`,
          grouped(layer.macs),
          layer.inputShape.join('×'),
          layer.outputShape.join('×'),
        ]),
      ),
    );
    this.log(`\n${grouped(result.params)} parameters, ${grouped(result.macs)} MACs for one image`);
    return result;
  }

  #showFile(file: string): ShownFile {
    const {tensors: found} = readModelFile(file);
    const tensors = [...found].map(([name, {shape, data}]) => ({name, shape, params: data.length}));
    const params = tensors.reduce((sum, tensor) => sum + tensor.params, 0);
    this.log(
      table(
        [{head: 'tensor'}, {head: 'shape', align: 'right'}, {head: 'values', align: 'right'}],
        tensors.map((tensor) => [tensor.name, tensor.shape.join('×'), grouped(tensor.params)]),
      ),
    );
    this.log(`\n${grouped(params)} values`);
    return {file, tensors, params};
  }
}

const grouped = (count: number): string => count.toLocaleString('en-US');
