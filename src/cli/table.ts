/** Tables and bars for people; `--json` has the figures. */
import Table, {type CellOptions} from 'cli-table3';

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

const longestWord = (text: string): number => Math.max(...text.split(' ').map(({length}) => length));

/**
 * Rows under a head, without lines. Where it would be wider than `width`, first the columns that
 * wrap are narrowed, then the left-aligned ones are cut, the widest first.
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
  const longestWords = columns.map((_, i) => Math.max(0, ...cells.map((row) => longestWord(row[i]!))));
  // What wraps keeps its words whole, but for long ones such as paths.
  const narrowed = columns.map((_, i) => Math.max(8, Math.min(40, longestWords[i]!)));
  const stages: ((column: Column, i: number) => number)[] = [
    ({wrap}, i) => (wrap ? narrowed[i]! : Infinity),
    ({wrap}, i) => (wrap ? narrowed[i]! : 8),
    () => 8,
  ];
  for (const least of stages) {
    const mayShrink = (w: number, i: number): boolean => columns[i]!.align !== 'right' && w > least(columns[i]!, i);
    for (let excess = widths.reduce((sum, w) => sum + w, gaps) - width; excess > 0; excess--) {
      const widest = Math.max(...widths.filter(mayShrink));
      const cut = widths.findIndex((w, i) => w === widest && mayShrink(w, i));
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
  const cellOf = (content: string, i: number): CellOptions => ({
    content,
    wordWrap: columns[i]?.wrap ?? false,
    wrapOnWordBoundary: longestWord(content) <= widths[i]!,
  });
  drawn.push(...cells.map((row) => row.map(cellOf)));
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
