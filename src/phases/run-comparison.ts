/** Several runs side by side as one HTML page: results, settings that differ, bits of each layer, curves over each other. */
import {writeFileAtomic} from '../files.ts';
import {item} from '../lookup.ts';
import {leaves} from '../mapping.ts';
import {lineChart} from '../report/charts.ts';
import {figure, html, table} from '../report/page.ts';
import type {FoundRun} from '../runs/find-run.ts';
import {journalOf} from '../runs/journal.ts';
import {metricOfRun, prefixedMetric} from '../runs/run-record.ts';
import type {Strategy} from '../sdq/strategy.ts';
import {readCurves, type Curves} from './run-curves.ts';
import {factsOf, tilesOf} from './run-report.ts';
import {strategyIn} from './strategy-file.ts';

/**
 * Writes the page.
 * @param runs two or more
 * @returns the file
 * @throws SdqError (exit 3) for a broken run, (exit 6) where it cannot be written
 */
export function writeComparison(runs: readonly FoundRun[], file: string): string {
  const all = runs.map((run) => ({
    ...run,
    curves: readCurves(journalOf(run.directory)).curves,
    strategy: strategyIn(run.directory),
  }));
  writeFileAtomic(file, comparisonOf(all));
  return file;
}

interface ComparedRun extends FoundRun {
  readonly curves: Curves;
  readonly strategy: Strategy | undefined;
}

function comparisonOf(runs: readonly ComparedRun[]): string {
  const ids = runs.map(({record}) => record.id);
  const head = ['', ...ids];
  const tiles = runs.map(({record, strategy}) => tilesOf(metricOfRun(record), record.results, strategy));
  const labels = [...new Set(tiles.flat().map(({label}) => label))];
  const results = labels.map((label) => [
    label,
    ...tiles.map((own) => own.find((tile) => tile.label === label)?.value ?? '–'),
  ]);
  const facts = factsOf(runs.map(({record}) => record));
  const leavesOf = runs.map(({record}) => leaves({...(record.config as Readonly<Record<string, unknown>>)}, '.'));
  const text = (value: unknown): string => (value === undefined ? '–' : JSON.stringify(value));
  const settings = [...new Set(leavesOf.flatMap((own) => [...own.keys()]))]
    .toSorted()
    .map((key) => [key, ...leavesOf.map((own) => text(own.get(key)))])
    .filter(([, first, ...others]) => others.some((other) => other !== first));
  const layers = [...new Set(runs.flatMap(({strategy}) => strategy?.layers.map(({name}) => name) ?? []))];
  const bits = layers.map((name) => [
    name,
    ...runs.map(({strategy}) => {
      const layer = strategy?.layers.find((own) => own.name === name);
      return layer === undefined ? '–' : `${layer.weightBits} / ${layer.activationBits}`;
    }),
  ]);
  const metric = metricOfRun(item(runs, 0).record);
  const chart = (title: string, name: string): string | undefined =>
    figure(
      title,
      lineChart(
        title,
        runs.map(({record, curves}) => ({name: record.id, points: curves.get(name) ?? []})),
      ),
    );
  return html({
    title: `${runs.length} runs of sdq`,
    subtitle: ids.join(' · '),
    tiles: [],
    sections: [
      {heading: 'Results', parts: [table(head, [...results, ...facts])]},
      {heading: 'Settings that differ', parts: settings.length === 0 ? ['<p>None.</p>'] : [table(head, settings)]},
      {
        heading: 'Curves',
        parts: [
          chart('Mean weight bits of the search', 'search/committedMeanBits'),
          chart('Loss of the search', 'search/loss'),
          chart('Loss at these bits (phase 2)', 'train/loss'),
          chart(`Validation ${metric.name} at these bits`, `train/${prefixedMetric('validation', metric)}`),
        ],
      },
      ...(bits.length === 0 ? [] : [{heading: 'Bits of each layer: weights / inputs', parts: [table(head, bits)]}]),
    ],
  });
}
