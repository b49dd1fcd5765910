/** Flags that stand for keys of the config: the ones that everybody changes. */
import {Flags} from '@oclif/core';

import {relationships} from './base-command.ts';
import {settingOfFlag} from '../config/overrides.ts';
import type {Source} from '../schema/settings.ts';

const bits = Flags.string({
  summary: 'Mean bits of the weights to reach; short for search.target.meanWeightBits.',
  helpValue: 'N',
  relationships,
});

type TextFlag = typeof bits;

const epochs = (keys: string): TextFlag =>
  Flags.string({summary: `Epochs; short for ${keys}.`, helpValue: 'N', relationships});

const learningRate = (key: string): TextFlag =>
  Flags.string({summary: `Learning rate; short for ${key}.`, helpValue: 'RATE', relationships});

/** A try is a run from the beginning. As `relationships` and not as `exclusive`, which usage lines show as an empty alternative. */
const beginsAnew = [{type: 'none' as const, flags: ['resume']}];

const tries = {
  'dry-run': Flags.boolean({
    summary: 'Check settings, data, weights and memory, print the plan, and write nothing.',
    relationships: beginsAnew,
    default: false,
  }),
  'fast-dev-run': Flags.boolean({
    summary: 'Run every phase for one epoch on 80 images to check that it works; the accuracies mean nothing.',
    relationships: beginsAnew,
    default: false,
  }),
};

/** By command. */
export const settingFlags = {
  pretrain: {...tries, epochs: epochs('pretrain.epochs'), lr: learningRate('pretrain.optimizer.learningRate')},
  search: {...tries, bits, epochs: epochs('search.epochs'), lr: learningRate('search.optimizer.learningRate')},
  train: {...tries, epochs: epochs('train.epochs'), lr: learningRate('train.optimizer.learningRate')},
  run: {...tries, bits, epochs: epochs('pretrain.epochs, search.epochs and train.epochs')},
} as const;

export interface GivenSettings {
  readonly bits?: string | undefined;
  readonly epochs?: string | undefined;
  readonly lr?: string | undefined;
  readonly 'dry-run': boolean;
  readonly 'fast-dev-run': boolean;
}

/**
 * The settings of `--fast-dev-run`: 64 images to train on, 16 held out, 80 to test on; a target that eight steps reach.
 * The first source empties the target, whose other budgets those steps would miss.
 */
const fast: readonly Source['values'][] = [
  {search: {target: {}}},
  {
    data: {limit: 80, batchSize: 8, validation: 0.2},
    pretrain: {epochs: 1},
    search: {epochs: 1, target: {meanWeightBits: 7.9}, dualRate: 1000, dbp: {learningRate: 1}, pareto: 0},
    train: {epochs: 1},
  },
];

/**
 * What the flags of a command set, above `--set`.
 * @throws SdqError (exit 2) for a value that is not YAML
 */
export function settingsOfCommand(
  command: keyof typeof settingFlags,
  flags: GivenSettings,
  cwd: string,
): readonly Source[] {
  const phases = command === 'run' ? ['pretrain', 'search', 'train'] : [command];
  const given: readonly [flag: string, text: string | undefined, keys: readonly string[]][] = [
    ['bits', flags.bits, ['search.target.meanWeightBits']],
    ['epochs', flags.epochs, phases.map((phase) => `${phase}.epochs`)],
    ['lr', flags.lr, phases.map((phase) => `${phase}.optimizer.learningRate`)],
  ];
  const tried = flags['fast-dev-run'] ? fast : [];
  return [
    ...tried.map((values) => ({name: '--fast-dev-run', base: cwd, values})),
    ...given.flatMap(([flag, text, keys]) =>
      text === undefined ? [] : keys.map((key) => settingOfFlag(`--${flag}`, key, text, cwd)),
    ),
  ];
}
