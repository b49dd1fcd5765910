/** What a run leaves for its trackers: where it comes from, the files of its phases, charts and tables. */
import {splitDigest} from '../data/split-digest.ts';
import {sampleShape} from '../data/dataset.ts';
import {partRange} from '../data/splits.ts';
import {writeFileAtomic} from '../files.ts';
import {present} from '../lookup.ts';
import {logArtifact, logDataset, logImage, logTable} from '../runs/artifacts.ts';
import type {Run} from '../runs/run-directory.ts';
import {keepCode, keepDiff} from '../runs/source-files.ts';
import type {Strategy} from '../sdq/strategy.ts';
import {trackersOf} from '../tracking/sync.ts';
import {bitsChart} from './bits-chart.ts';
import {logDetections} from './detection-images.ts';
import {writeHardwareCosts} from './hardware-costs-file.ts';
import {selectDataset} from './inspect-dataset.ts';
import {logModel, wantsModel} from './logged-model.ts';
import type {Results} from './results.ts';
import {logInputs, logOwnInput} from './run-inputs.ts';
import type {Session} from './session.ts';
import {readStrategy} from './strategy-file.ts';

const phaseCheckpoints: Readonly<Partial<Record<keyof Results, string>>> = {
  pretrain: 'full-precision.safetensors',
  search: 'searched.safetensors',
  train: 'quantized.safetensors',
};

/** What data the run works on, which files of other runs, and with which code, for its trackers. */
export function logSources(
  run: Run,
  {config, dataset, registry}: Session,
  {
    inputs,
    notice,
    root,
  }: {
    readonly inputs: readonly string[];
    readonly notice: (message: string) => void;
    readonly root: string;
  },
): void {
  logInputs(run, root, inputs);
  const asks = (option: string): boolean => trackersOf({config}).some((settings) => settings[option] === true);
  if (asks('gitDiff')) keepDiff(run, process.env, notice);
  if (asks('saveCode')) keepCode(run, process.env, notice);
  const {directory} = selectDataset(registry, config.data.name, config.data);
  for (const split of ['train', 'test'] as const) {
    const samples = dataset[split].labels.length;
    logDataset(run, {
      name: dataset.name,
      split,
      digest: splitDigest(dataset, split, directory),
      samples,
      validation: split === 'test' ? 0 : samples - partRange(dataset, 'train', config.data.validation).end,
      shape: sampleShape(dataset),
      classes: dataset.classes.length,
    });
  }
}

/** What a phase leaves for the trackers: its weights, and the strategy, as table and chart too, where it is made or brought along. */
export async function logArtifacts(
  run: Run,
  phase: keyof Results,
  session: Session,
  notice: (message: string) => void,
): Promise<void> {
  // `sdq run` evaluates in full precision after training.
  const isLast = phase === (run.record().command === 'run' ? 'fullPrecision' : 'train');
  if (isLast) await picture('pictures of the boxes', notice, () => logDetections(run));
  const checkpoint = phaseCheckpoints[phase];
  if (checkpoint === undefined) return;
  if (phase === 'search' || run.record().command === 'train') {
    const file = run.path('strategy.json');
    logArtifact(run, 'strategy', file);
    const strategy = readStrategy(file);
    logTable(
      run,
      'bits-per-layer',
      ['layer', 'op', 'weightBits', 'activationBits', 'params', 'macs'],
      strategy.layers.map(({activationBits, macs, name, op, params, weightBits}) => [
        name,
        op,
        weightBits,
        activationBits,
        params,
        macs,
      ]),
    );
    await picture('charts of the bits', notice, () => logChart(run, strategy));
    await picture('costs on the hardware', notice, () => writeHardwareCosts(run.directory, session));
  }
  logArtifact(run, 'checkpoint', run.path(checkpoint));
  // Phase 2 follows.
  if (phase === 'search' && run.record().command === 'run') logOwnInput(run, 'strategy.json');
  if (phase === 'train' && wantsModel(session)) await logTrained(session, run, notice);
}

/** A network that cannot be exported is as good as trained. */
async function logTrained(session: Session, run: Run, notice: (message: string) => void): Promise<void> {
  logOwnInput(run, 'quantized.safetensors');
  try {
    await logModel(session, run, run.path(present(phaseCheckpoints.train, 'checkpoint')));
  } catch (error) {
    notice(`There is no model for the trackers: ${(error as Error).message}`);
  }
}

async function logChart(run: Run, strategy: Strategy): Promise<void> {
  const {png, ...size} = await bitsChart(strategy);
  const file = run.path('bits-chart.png');
  writeFileAtomic(file, png);
  logImage(run, file, size);
}

/** What goes wrong with a picture or a table of the report does not end the run. @param what it shows, in the plural */
async function picture(what: string, notice: (message: string) => void, make: () => Promise<void>): Promise<void> {
  try {
    await make();
  } catch (error) {
    notice(`There are no ${what}: ${(error as Error).message}`);
  }
}
