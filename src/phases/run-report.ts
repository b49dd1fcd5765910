/** A run as one HTML page: results, bits of each layer, how the search found them, curves of the training. */
import {existsSync} from 'node:fs';
import path from 'node:path';

import {stringify} from 'yaml';

import {present} from '../lookup.ts';
import {writeFileAtomic} from '../files.ts';
import {bitsOfLayers, bitsOverSteps, escaped, lineChart, namedLines, type Series} from '../report/charts.ts';
import {confusionChart, confusionLimit} from '../report/confusion.ts';
import {boxedImage, boxedPairs, precisionRecallChart} from '../report/detections.ts';
import {figure, folded, gallery, html, table, type Section, type Tile} from '../report/page.ts';
import {journalOf} from '../runs/journal.ts';
import type {FoundRun} from '../runs/find-run.ts';
import {metricOfRun, prefixedMetric, type RunMetric, type RunRecord} from '../runs/run-record.ts';
import {weightsKiB, type Strategy} from '../sdq/strategy.ts';
import {detectionsIn, type RunDetections} from './detections-file.ts';
import {readHardwareCosts} from './hardware-costs-file.ts';
import type {ComparedRow} from './hardware-estimate.ts';
import {readMistakes, type MistakesFile} from './mistakes-file.ts';
import {figureOf, inUnits, shownMetric, trainingMetric, type Results} from './results.ts';
import {bitsMetric, readCurves, type Curves, type PhaseSeconds} from './run-curves.ts';
import {durationOf, nextCommand, shownSeconds} from './run-summary.ts';
import {strategyIn} from './strategy-file.ts';

/**
 * Writes `report.html`, also while the run is still going.
 * @param file where to write it; by default in the run's folder
 * @returns its path
 * @throws SdqError (exit 3) for a broken run, (exit 6) where it cannot be written
 */
export function writeReport({directory, record}: FoundRun, file = path.join(directory, 'report.html')): string {
  const mistakesFile = path.join(directory, 'mistakes.json');
  const report: Report = {
    record,
    ...readCurves(journalOf(directory)),
    strategy: strategyIn(directory),
    costs: readHardwareCosts(directory),
    mistakes: existsSync(mistakesFile) ? readMistakes(mistakesFile) : undefined,
    detections: detectionsIn(directory),
    next: nextCommand({record, directory}),
  };
  writeFileAtomic(file, reportOf(report));
  return file;
}

/** Rows about runs: when, how long, where, from which commit, and why they ended. */
export function factsOf(records: readonly RunRecord[]): string[][] {
  const row = (name: string, of: (record: RunRecord) => string | null | undefined): string[] => [
    name,
    ...records.map((record) => of(record) ?? '–'),
  ];
  return [
    row('command', ({command}) => `sdq ${command}`),
    row('status', ({exitCode, status}) => (exitCode === null ? status : `${status} (exit code ${exitCode})`)),
    row('why', ({error}) => error?.message),
    row('started', ({startedAt}) => startedAt),
    row('took', durationOf),
    row('resumed', ({resumedAt}) => (resumedAt.length === 0 ? null : resumedAt.join(', '))),
    row('engine', ({engine}) => (engine === null ? null : `${engine.name}: ${engine.device}`)),
    row('git commit', ({git}) => (git === null ? null : `${git.commit}${git.dirty ? ' with changes' : ''}`)),
    row('seed', ({seed}) => String(seed)),
    row('sdq', ({versions}) => versions['sdq']),
  ].filter(([, ...cells]) => cells.some((cell) => cell !== '–'));
}

interface Report {
  readonly record: RunRecord;
  readonly curves: Curves;
  readonly seconds: PhaseSeconds;
  readonly strategy: Strategy | undefined;
  /** Of the strategy, on each device that the run names. */
  readonly costs: readonly ComparedRow[];
  readonly mistakes: MistakesFile | undefined;
  /** Of a detector, on the test images. */
  readonly detections: RunDetections;
  /** The command that continues it. */
  readonly next: string | null;
}

function reportOf({costs, curves, detections, mistakes, next, record, seconds, strategy}: Report): string {
  const {command, config, error, id, status} = record;
  const metric = metricOfRun(record);
  const {data, model} = config as {readonly data?: {readonly name: string}; readonly model?: {readonly name: string}};
  const what = [model?.name, data?.name].filter((name) => name !== undefined).join(' on ');
  return html({
    title: what === '' ? `sdq ${command}` : `sdq ${command}: ${what}`,
    subtitle: `${id} · ${status}`,
    tiles: tilesOf(metric, record.results, strategy),
    sections: [
      ...(error === null
        ? []
        : [
            {
              heading: `Why it ${status === 'interrupted' ? 'stopped' : 'failed'}`,
              note: error.message,
              parts: [next === null ? '' : `<pre>${escaped(next)}</pre>`],
            },
          ]),
      ...(strategy === undefined ? [] : [bitsSection(strategy)]),
      ...(costs.length === 0 ? [] : [costsSection(costs)]),
      searchSection(metric, record.results, curves),
      trainingSection('Training at these bits (phase 2)', 'train', metric, curves),
      trainingSection('Full precision', 'pretrain', metric, curves),
      ...(mistakes === undefined ? [] : [mistakesSection(mistakes)]),
      detectionsSection(detections),
      {heading: 'Run', parts: [table(['', ''], [...factsOf([record]), ...timesOf(seconds)])]},
      {heading: 'Settings', parts: [folded('The whole config', stringify(config))]},
    ],
  });
}

/** The figures at the top: accuracy in full precision and quantized, mean bits, size. */
export function tilesOf(
  metric: RunMetric,
  {fullPrecision, pretrain, train}: Results,
  strategy: Strategy | undefined,
): Tile[] {
  const before =
    (fullPrecision && figureOf(metric, fullPrecision)) ?? (pretrain && trainingMetric(metric, pretrain).test);
  const tiles: Tile[] = [];
  const note = `test ${metric.name}`;
  if (before !== undefined) tiles.push({label: 'full precision', value: shownMetric(metric, before), note});
  if (train !== undefined) {
    const {test} = trainingMetric(metric, train);
    const change = before === undefined ? '' : `, ${shownChange(metric, test - before)}`;
    tiles.push({label: 'quantized', value: shownMetric(metric, test), note: `${note}${change}`});
  }
  if (strategy !== undefined) {
    const {compression, meanActivationBits, meanWeightBits} = strategy.summary;
    const bits = (value: number): string => String(Number(value.toFixed(2)));
    tiles.push(
      {
        label: 'mean bits',
        value: `W ${bits(meanWeightBits)} / A ${bits(meanActivationBits)}`,
        note: 'weights / inputs',
      },
      {
        label: 'weights',
        value: `${weightsKiB(strategy.layers).toFixed(1)} KiB`,
        note: `${compression.toFixed(1)} × smaller than at 32 bits`,
      },
    );
  }
  return tiles;
}

/** A device that does not run the strategy says why in its row. */
function costsSection(costs: readonly ComparedRow[]): Section {
  const shown = (value: number | null | undefined, unit: string): string =>
    value === null || value === undefined
      ? '–'
      : `${value.toLocaleString('en', {maximumSignificantDigits: 3})} ${unit}`.trim();
  return {
    heading: 'Cost on the hardware',
    note: 'Modelled by sdq hardware estimate, not measured; one sample at a time.',
    parts: [
      table(
        ['hardware', 'latency', 'samples/s', 'energy', 'weights', 'bit operations', ''],
        costs.map(({energy, hardware, problem, totals}) => [
          hardware,
          shown(totals && totals.latencyUs && totals.latencyUs / 1000, 'ms'),
          shown(totals?.samplesPerSecond, ''),
          shown(totals?.energyUj, energy === 'relative' ? 'µJ (relative)' : 'µJ'),
          shown(totals?.weightMemoryKiB, 'KiB'),
          shown(totals && totals.bops / 1e9, 'G'),
          problem ?? '',
        ]),
      ),
    ],
  };
}

const timesOf = (seconds: PhaseSeconds): string[][] =>
  [...seconds].map(([phase, time]) => [`time of ${phase}`, shownSeconds(Math.round(time))]);

/** Pairs of classes in the table. */
const pairLimit = 10;

function mistakesSection({classes, confusion, samples, worst}: MistakesFile): Section {
  const name = (index: number): string => classes[index] ?? String(index);
  const wrong = confusion.filter(([actual, predicted]) => actual !== predicted);
  const count = wrong.reduce((sum, [, , images]) => sum + images, 0);
  const pairs = wrong.toSorted((a, b) => b[2] - a[2]).slice(0, pairLimit);
  const shown = worst.flatMap(({actual, image, index, predicted, probability}) =>
    image === null
      ? []
      : [
          {
            source: image,
            caption: `${name(actual)} → ${name(predicted)}, ${(100 * probability).toFixed(1)} % (image ${index})`,
          },
        ],
  );
  return {
    heading: 'Mistakes on the test images',
    note: `${count} of ${samples} images are taken for another class at these bits.`,
    parts: [
      classes.length > confusionLimit ? undefined : figure('Confusion matrix', confusionChart(classes, confusion)),
      pairs.length === 0
        ? undefined
        : table(
            ['class', 'taken for', 'images'],
            pairs.map(([actual, predicted, images]) => [name(actual), name(predicted), images]),
          ),
      figure('Worst images: class → prediction, its probability', gallery(shown), {wide: true}),
    ],
  };
}

function detectionsSection({fullPrecision, quantized}: Report['detections']): Section {
  const files = [
    {name: 'full precision', file: fullPrecision},
    {name: 'quantized', file: quantized},
  ].flatMap(({file, name}) => (file === undefined ? [] : [{file, name}]));
  const names = files.map(({name}) => name).join(' and ');
  const pairs = (files[0]?.file.images ?? []).map(({index}) => ({
    caption: `Test image ${index}`,
    images: files.flatMap(({file, name}) =>
      file.images
        .filter((image) => image.index === index)
        .map((image) => boxedImage(`Test image ${index}, ${name}`, image, file.classes)),
    ),
  }));
  return {
    heading: 'Objects in the test images',
    parts: [
      ...files.map(({file: {classes, curves}, name}) => {
        const title = `Precision over recall at IoU 0.5, ${name}`;
        return figure(title, precisionRecallChart(title, classes, curves));
      }),
      figure(`Boxes of a score of 0.25 or more, ${names}; dashed: the objects`, boxedPairs(pairs), {wide: true}),
    ],
  };
}

/** `−0.31 points`, `+0.0123`. */
function shownChange({isFraction}: RunMetric, change: number): string {
  const size = isFraction ? `${(100 * Math.abs(change)).toFixed(2)} points` : Math.abs(change).toPrecision(3);
  return `${change < 0 ? '−' : '+'}${size}`;
}

function bitsSection({layers}: Strategy): Section {
  return {
    heading: 'Bits of each layer',
    note: 'Pinned layers were held, not searched.',
    parts: [
      bitsOfLayers(layers),
      table(
        ['layer', 'operator', 'weights', 'MACs', 'W', 'A', ''],
        layers.map(({activationBits, macs, name, op, params, pinned, weightBits}) => [
          name,
          op,
          params,
          macs,
          weightBits,
          activationBits,
          pinned === true ? 'pinned' : '',
        ]),
      ),
    ],
  };
}

function searchSection(metric: RunMetric, {search}: Results, curves: Curves): Section {
  const budgets = [...curves.keys()].flatMap((name) => /^search\/(.+)\/committed$/.exec(name)?.slice(1) ?? []);
  const layers = [...curves.keys()].flatMap((name) => bitsMetric.exec(name)?.slice(1) ?? []);
  const spans = layers.map((name) => ({name, spans: curves.get(`dbp/${name}/bits`) ?? []}));
  const lastStep = curves.get('search/loss')?.at(-1)?.[0] ?? 0;
  const of = (names: Readonly<Record<string, string>>): Series[] => seriesOf(curves, 'search', names);
  const charts: readonly [string, Series[]][] = [
    [lossTitle(metric), of({loss: 'loss'})],
    [
      'Mean weight bits',
      of({
        expected: 'expectedMeanBits',
        committed: 'committedMeanBits',
        scheduled: 'scheduledMeanBits',
      }),
    ],
    ...budgets.map((budget): [string, Series[]] => [
      `Budget ${budget}`,
      of({
        expected: `${budget}/expected`,
        committed: `${budget}/committed`,
        scheduled: `${budget}/scheduled`,
      }),
    ]),
  ];
  const keep = 'DBP β of each layer: the probability to keep its bits';
  const betas = layers.map((name) => ({name, points: curves.get(`dbp/${name}/beta`) ?? []}));
  const reached = search?.budgets.map(({cost, name, target}) => `${inUnits(name, cost)}, target ${target}`) ?? [];
  return {
    heading: 'Search (phase 1)',
    ...(reached.length === 0 ? {} : {note: `${present(search, 'search').steps} steps; ${reached.join('; ')}.`}),
    parts: [
      ...charts.map(([title, series]) => figure(title, lineChart(title, series))),
      figure(keep, namedLines(keep, betas), {wide: true}),
      figure('Bits over the steps', bitsOverSteps('Bits over the steps', spans, lastStep), {wide: true}),
      paretoTable(metric, search?.pareto ?? []),
    ],
  };
}

/** Strategies on the way, from the most expensive. */
function paretoTable(metric: RunMetric, points: NonNullable<Results['search']>['pareto']): string | undefined {
  if (points.length === 0) return undefined;
  return table(
    ['strategy on the way', 'step', 'mean weight bits', `validation ${metric.name}`, 'loss', ''],
    points.map((point) => [
      path.basename(point.strategy),
      point.step,
      point.meanWeightBits,
      shownMetric(metric, figureOf(metric, point) ?? NaN),
      point.loss,
      point.dominated ? 'dominated' : '',
    ]),
  );
}

function trainingSection(heading: string, phase: 'train' | 'pretrain', metric: RunMetric, curves: Curves): Section {
  const of = (names: Readonly<Record<string, string>>): Series[] => seriesOf(curves, phase, names);
  const charts: readonly [string, Series[]][] = [
    [
      `${metric.name.slice(0, 1).toUpperCase()}${metric.name.slice(1)}`,
      of({'training images': metric.name, validation: prefixedMetric('validation', metric)}),
    ],
    [lossTitle(metric), of({loss: 'loss', 'without regularizer': 'taskLoss'})],
    ['Bin regularizer', of({'bin regularizer': 'binRegularizer'})],
    ['Learning rate', of({'learning rate': 'learningRate'})],
  ];
  return {heading, parts: charts.map(([title, series]) => figure(title, lineChart(title, series)))};
}

/** Cross-entropy has a unit. */
const lossTitle = ({name}: RunMetric): string => (name === 'accuracy' ? 'Loss, nats' : 'Loss');

/** @param names of metrics below the phase's, by what they are called in the chart */
function seriesOf(curves: Curves, phase: string, names: Readonly<Record<string, string>>): Series[] {
  return Object.entries(names).map(([name, metric]) => ({name, points: curves.get(`${phase}/${metric}`) ?? []}));
}
