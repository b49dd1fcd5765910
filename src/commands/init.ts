import {existsSync, readFileSync} from 'node:fs';
import path from 'node:path';

import {Flags} from '@oclif/core';

import {SdqCommand} from '../cli/base-command.ts';
import {dataCache} from '../data/cache.ts';
import {checkFree, writeFileAtomic} from '../files.ts';
import {lookAround, schemaLine} from '../phases/found-files.ts';
import type {InitialConfig} from '../phases/init-config.ts';

const fileName = 'sdq.config.yaml';
const templates = ['mnist', 'cifar10-resnet20', 'image-folder', 'boxes', 'table'];

interface Result {
  readonly path: string;
  readonly template: string;
  /** What was found in the folder, a line each. */
  readonly found: readonly string[];
}

export default class Init extends SdqCommand {
  static override summary = 'Write a config for what is in this folder, or from a template.';
  static override description = `Takes images with boxes (YOLO, Pascal VOC, COCO), images in train/CLASS and test/CLASS, a .csv with a column label, an ONNX network, and safetensors weights of a \
built-in model. Without any of them, or with --template: mnist, a small network on digits, minutes; cifar10-resnet20, the network of the paper, hours; \
image-folder, boxes and table, for your own data.`;

  static override examples = ['<%= config.bin %> init', '<%= config.bin %> init --template cifar10-resnet20'];
  static override flags = {
    template: Flags.string({summary: 'Template to use instead of the files in the folder.', options: templates}),
    output: Flags.string({summary: 'Where to write it.', helpValue: 'FILE', default: fileName}),
  };

  async run(): Promise<Result> {
    const {flags} = await this.parse(Init);
    const file = path.resolve(flags.output);
    checkFree(file, 'Write to another file with --output FILE.');
    const folder = path.dirname(file);
    const looked = flags.template === undefined ? await this.#fromFolder(folder) : {lines: []};
    const template = looked.initial?.data ?? flags.template ?? 'mnist';
    const schema = schemaLine(folder, this.config.root);
    writeFileAtomic(file, schema + (looked.text ?? (await this.#fromTemplate(template, folder))));
    const steps = looked.initial === undefined ? nextSteps(template, file) : runSteps(file);
    this.log([...looked.lines, file, `Next: ${steps.join('\n      ')}`].join('\n'));
    return {path: file, template, found: looked.lines};
  }

  /** A config for the data that are there, its search as long as its target needs. */
  async #fromFolder(
    folder: string,
  ): Promise<{readonly initial?: InitialConfig; readonly text?: string; readonly lines: readonly string[]}> {
    const found = lookAround(folder);
    if (found.boxes === undefined && found.images === undefined && found.table === undefined)
      return {lines: found.notes};
    const {configText, initialConfig, fittedToData} = await import('../phases/init-config.ts');
    const {registry} = await this.settings({kinds: ['model'], origin: {name: 'init', base: folder, values: {}}});
    const initial = await initialConfig(found, folder, registry);
    if (initial === undefined) return {lines: found.notes};
    const settings = await fittedToData(initial.settings, await this.#resolved(folder, initial.settings));
    return {initial, text: configText(settings, initial.lines), lines: initial.lines};
  }

  /** The template; where the user's data are there, with a search as long as its target needs. */
  async #fromTemplate(template: string, folder: string): Promise<string> {
    const text = readFileSync(path.join(this.config.root, 'templates', `${template}.yaml`), 'utf8');
    if (dataSteps[template] === undefined) return text;
    const {fittedTemplate} = await import('../phases/init-config.ts');
    return fittedTemplate(text, (settings) => this.#resolved(folder, settings));
  }

  #resolved(folder: string, values: InitialConfig['settings']) {
    return this.settings({
      require: ['model', 'data'],
      kinds: ['model', 'dataset', 'task', 'weight-quantizer', 'activation-quantizer', 'searcher', 'cost-model'],
      origin: {name: 'init', base: folder, values},
    });
  }
}

/** What to type for sdq: it is not in the path where npx started it. */
const program = (): string => (process.env['npm_command'] === 'exec' ? 'npx sdq' : 'sdq');

/** How the config is used: from the folder that has it, or by its name. */
function runSteps(file: string): string[] {
  const folder = path.relative('', path.dirname(file));
  const isFound = path.basename(file) === fileName;
  return [
    ...(folder === '' || !isFound ? [] : [`cd ${folder}`]),
    `${program()} run${isFound ? '' : ` --config ${path.relative('', file)}`}`,
  ];
}

/** The commands from a template to a run: the data first where they are not there. */
function nextSteps(template: string, file: string): string[] {
  const steps = runSteps(file);
  const run = steps.slice(-1);
  return [...steps.slice(0, -1), ...(dataSteps[template] ?? []), ...missingData(dataOf[template]), ...run];
}

/** What the user brings. */
const dataSteps: Readonly<Record<string, readonly string[]>> = {
  'image-folder': ['put your images into images/train/CLASS and images/test/CLASS'],
  boxes: [
    'put your images and their boxes into photos: data.yaml of YOLO, Annotations of Pascal VOC, or annotations of COCO',
  ],
  table: ['put your rows into data/train.csv, with the class in a column label'],
};

/** What is fetched. */
const dataOf: Readonly<Record<string, string>> = {mnist: 'mnist', 'cifar10-resnet20': 'cifar10'};

const missingData = (name: string | undefined): string[] =>
  name === undefined || existsSync(path.join(dataCache(), name)) ? [] : [`${program()} data fetch ${name}`];
