/** Tables and bars for people; `--json` has the figures. */
import Table from 'cli-table3';

export interface Column {
  readonly head: string;
  readonly align?: 'left' | 'right';
  /** Over several lines where there is no room for one, in place of cut. */
  readonly wrap?: true;
}

const none = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/** The columns of the terminal; undefined where stdout is none. */
const terminalWidth = (): number | undefined => (process.stdout.isTTY ? process.stdout.columns : undefined);

/**
 * Rows under a head, without lines. Where it would be wider than `width`, the widest left-aligned columns are cut or wrapped.
 *
 * @param rows one cell a column; null prints as `-`
 */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly (string | number | null)[])[],
  width = terminalWidth() ?? Infinity,
): string {
  const cells = rows.map((row) => row.map((cell) => (cell === null ? '-' : String(cell))));
  const widths = columns.map(({head}, i) => Math.max(head.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const gaps = 2 * (columns.length - 1);
  const least = columns.map(({align}, i) => (align === 'right' ? widths[i]! : 8));
  const wholeWords = columns.map(({wrap}, i) =>
    Math.max(least[i]!, ...(wrap ? cells.flatMap((row) => row[i]!.split(' ').map(({length}) => length)) : [])),
  );
  for (const floors of [wholeWords, least]) {
    for (let excess = widths.reduce((sum, w) => sum + w, gaps) - width; excess > 0; excess--) {
      const widest = Math.max(...widths.filter((w, i) => w > floors[i]!));
      const cut = widths.findIndex((w, i) => w === widest && w > floors[i]!);
      if (cut < 0) break;
      widths[cut]!--;
    }
  }
  const drawn = new Table({
    head: columns.map(({head}) => head),
    colWidths: widths,
    colAligns: columns.map(({align}) => align ?? 'left'),
    chars: none,
    style: {'padding-left': 0, 'padding-right': 0, head: [], border: []},
  });
  drawn.push(...cells.map((row) => row.map((content, i) => ({content, wordWrap: columns[i]?.wrap ?? false}))));
  return drawn.toString().replaceAll(/ +$/gm, '');
}

/**
 * One line a value: name, bar, value; the longest bar is the largest value. E.g. the bits of every layer.
 *
 * @param unit written after each value
 */
export function bars(
  values: readonly {readonly name: string; readonly value: number}[],
  unit: string,
  width = terminalWidth() ?? 100,
): string {
  const largest = Math.max(1, ...values.map(({value}) => value));
  const names = Math.min(Math.max(0, ...values.map(({name}) => name.length)), Math.floor(width / 2));
  const room = Math.max(8, Math.min(40, width - names - unit.length - 8));
  return values
    .map(({name, value}) => {
      const label = name.length > names ? `${name.slice(0, names - 1)}…` : name.padEnd(names);
      return `${label}  ${'█'.repeat(Math.round((value / largest) * room)).padEnd(room)} ${value} ${unit}`;
    })
    .join('\n');
}
