import {existsSync, readFileSync} from 'node:fs';
import path from 'node:path';

import {Flags} from '@oclif/core';

import {SdqCommand} from '../cli/base-command.ts';
import {dataCache} from '../data/cache.ts';
import {ExitCode, SdqError} from '../errors.ts';
import {writeFileAtomic} from '../files.ts';

const fileName = 'sdq.config.yaml';
const templates = ['mnist', 'cifar10-resnet20', 'image-folder', 'table'];

export default class Init extends SdqCommand {
  static override summary = 'Write a config file to start from.';
  static override description =
    'mnist: a small network on digits, minutes. cifar10-resnet20: the network of the paper, hours. image-folder: your own images. table: your own rows of numbers.';
  static override examples = ['<%= config.bin %> init', '<%= config.bin %> init --template cifar10-resnet20'];
  static override flags = {
    template: Flags.string({summary: 'What to start from.', options: templates, default: 'mnist'}),
    output: Flags.string({summary: 'Where to write it.', helpValue: 'FILE', default: fileName}),
  };

  async run(): Promise<{path: string; template: string}> {
    const {flags} = await this.parse(Init);
    const file = path.resolve(flags.output);
    if (existsSync(file)) {
      throw new SdqError(`${file} is already there; it is not overwritten.`, {
        code: 'file-exists',
        exit: ExitCode.invalidInput,
        suggestions: ['Write to another file with --output FILE.'],
      });
    }
    writeFileAtomic(file, readFileSync(path.join(this.config.root, 'templates', `${flags.template}.yaml`)));
    this.log(`${file}\nNext: ${nextSteps(flags.template, file).join('\n      ')}`);
    return {path: file, template: flags.template};
  }
}

/** The commands from this config to a run: the data first where they are not there, and from the folder that has the config. */
function nextSteps(template: string, file: string): string[] {
  const folder = path.relative('', path.dirname(file));
  const isFound = path.basename(file) === fileName;
  return [
    ...(folder === '' || !isFound ? [] : [`cd ${folder}`]),
    ...(dataSteps[template] ?? []),
    ...missingData(dataOf[template]),
    `sdq run${isFound ? '' : ` --config ${path.relative('', file)}`}`,
  ];
}

/** What the user brings. */
const dataSteps: Readonly<Record<string, readonly string[]>> = {
  'image-folder': ['put your images into images/train/CLASS and images/test/CLASS'],
  table: ['put your rows into data/train.csv, with the class in a column label'],
};

/** What is fetched. */
const dataOf: Readonly<Record<string, string>> = {mnist: 'mnist', 'cifar10-resnet20': 'cifar10'};

const missingData = (name: string | undefined): string[] =>
  name === undefined || existsSync(path.join(dataCache(), name)) ? [] : [`sdq data fetch ${name}`];
