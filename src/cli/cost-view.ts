/** What a strategy costs, for people. */
import type {LayerCost, NetworkTotals, PreparedCosts} from '../hardware/cost-model.ts';
import {table} from './table.ts';

type Row = LayerCost & {
  readonly name: string;
  readonly weightBits: number;
  readonly activationBits: number;
};

/** Three significant digits, thousands grouped. */
export function figure(value: number): string;
export function figure(value: number | null): string | null;
export function figure(value: number | null): string | null {
  if (value === null) return null;
  return value.toLocaleString('en-US', value >= 1000 ? {maximumFractionDigits: 0} : {maximumSignificantDigits: 3});
}

/** One row a layer. Columns that the device has no figures for are left out, and so are measured ones where nothing was. */
export function costTable(layers: readonly Row[]): string {
  const columns = [
    {head: 'layer', of: ({name}: Row) => name, align: 'left'},
    {head: 'W/A bits', of: ({weightBits, activationBits}: Row) => `${weightBits}/${activationBits}`},
    {head: 'runs as', of: ({executedAs}: Row) => executedAs.join('/')},
    {head: 'cycles', of: ({cycles}: Row) => figure(cycles)},
    {head: 'µs', of: ({latencyUs}: Row) => figure(latencyUs)},
    {head: 'energy µJ', of: ({energyUj}: Row) => figure(energyUj)},
    {head: 'G bit ops', of: ({bops}: Row) => figure(bops / 1e9)},
    {head: 'weights KiB', of: ({weightMemoryKiB}: Row) => figure(weightMemoryKiB)},
    {head: 'activations KiB', of: ({activationMemoryKiB}: Row) => figure(activationMemoryKiB)},
    ...detailColumns.map(({head, key}) => ({head, of: ({details}: Row) => figure(details?.[key] ?? null)})),
    {head: 'used %', of: ({utilisation}: Row) => figure(utilisation === null ? null : 100 * utilisation)},
    {head: 'bound by', of: ({boundBy}: Row) => boundBy, align: 'left'},
    {head: 'source', of: ({source}: Row) => (source === 'measured' ? 'measured by you' : null), align: 'left'},
  ] as const;
  const shown = columns.filter(({of}) => layers.some((layer) => of(layer) !== null));
  return table(
    shown.map((column) => ({head: column.head, align: 'align' in column ? column.align : 'right'})),
    layers.map((layer) => shown.map(({of}) => of(layer))),
  );
}

const detailColumns = [
  {head: 'PE', key: 'pe'},
  {head: 'SIMD', key: 'simd'},
  {head: 'DSP', key: 'dsp'},
  {head: 'BRAM18', key: 'bram18'},
  {head: 'URAM', key: 'uram'},
  {head: 'LUT', key: 'lut'},
] as const;

/** `1.73 ms`. */
export function milliseconds(latencyUs: number | null): string | null {
  return latencyUs === null ? null : `${figure(latencyUs / 1000)} ms`;
}

/** The network's totals and what they are worth. */
export function costSummary(result: {
  readonly hardware: string;
  readonly batch: number;
  readonly energy: PreparedCosts['energy'];
  readonly source: LayerCost['source'] | 'mixed';
  readonly totals: NetworkTotals;
}): string {
  const {totals, energy, batch} = result;
  const time = milliseconds(totals.latencyUs);
  const per = batch === 1 ? 'a sample' : `a batch of ${batch}`;
  const figures = [
    time === null ? [] : `${time} ${per}`,
    totals.cycles === null ? [] : `${figure(totals.cycles)} cycles`,
    totals.samplesPerSecond === null ? [] : `${figure(totals.samplesPerSecond)} samples/s`,
    totals.energyUj === null ? [] : `${figure(totals.energyUj)} µJ${energy === 'relative' ? ' (relative)' : ''}`,
    `${figure(totals.bops / 1e9)} G bit operations`,
    `${figure(totals.weightMemoryKiB)} KiB of weights`,
    `${figure(totals.activationMemoryKiB)} KiB of activations at most`,
  ].flat();
  const used = totals.resources
    .filter(({usable}) => usable > 0)
    .map(
      ({name, used: taken, usable}) => `${name} ${taken.toLocaleString('en-US')} of ${usable.toLocaleString('en-US')}`,
    );
  const source = {
    modelled: `Modelled for ${result.hardware}, not measured.`,
    measured: `Measured by you on ${result.hardware}.`,
    mixed: `For ${result.hardware}: some layers measured by you, the others modelled.`,
  }[result.source];
  return [`${figures.join(', ')}.`, ...(used.length === 0 ? [] : [`Uses ${used.join(', ')}.`]), source].join('\n');
}
