/** Tables and bars for people; `--json` has the figures. */
import Table, {type CellOptions} from 'cli-table3';

import {item} from '../lookup.ts';
import {painted} from './colours.ts';
import {withoutControls} from './output.ts';

export interface Column {
  readonly head: string;
  readonly align?: 'left' | 'right';
  /** Over several lines where there is no room for one, in place of cut. */
  readonly wrap?: true;
  /** Never cut: ids and keys, which are copied. */
  readonly keep?: true;
  /** Left out, the last one first, where the others would have no room. */
  readonly optional?: true;
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

/** The name of a layer is a file's: whatever it holds, it is a part of one line. */
const oneLine = (text: string): string => withoutControls(text).replaceAll(/[\t\n]/g, '\ufffd');

/** Letters that a column keeps at least, and those of the longest word that one keeps whole if it wraps. */
const leastWidth = 8;
const wholeWord = 40;

/**
 * Narrows the widest left-aligned columns until all are within `room`: those that wrap down to their longest word, then the
 * others, then all.
 */
function shrink(
  widths: number[],
  room: number,
  columns: readonly Column[],
  longestWordOf: (column: number) => number,
): void {
  const words = columns.map((_, i) => Math.max(leastWidth, Math.min(wholeWord, longestWordOf(i))));
  const stages: ((column: Column, i: number) => number)[] = [
    ({wrap}, i) => (wrap ? item(words, i) : Infinity),
    ({keep, wrap}, i) => (keep ? Infinity : wrap ? item(words, i) : leastWidth),
    ({keep}) => (keep ? Infinity : leastWidth),
  ];
  for (const least of stages) {
    const mayShrink = (w: number, i: number): boolean =>
      item(columns, i).align !== 'right' && w > least(item(columns, i), i);
    for (let excess = widths.reduce((sum, w) => sum + w, -room); excess > 0; excess--) {
      const widest = Math.max(...widths.filter(mayShrink));
      const cut = widths.findIndex((w, i) => w === widest && mayShrink(w, i));
      if (cut < 0) break;
      widths[cut] = item(widths, cut) - 1;
    }
  }
}

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
  const least = columns.reduce(
    (sum, {head, align, keep}, i) =>
      sum +
      2 +
      (keep || align === 'right'
        ? Math.max(head.length, ...rows.map((row) => String(row[i] ?? '-').length))
        : leastWidth),
    -2,
  );
  const drop = least > width ? columns.findLastIndex(({optional}) => optional) : -1;
  if (drop >= 0) {
    return table(
      columns.filter((_, i) => i !== drop),
      rows.map((row) => row.filter((_, i) => i !== drop)),
      width,
    );
  }
  const cells = rows.map((row) => row.map((cell) => (cell === null ? '-' : oneLine(String(cell)))));
  const widths = columns.map(({head}, i) => Math.max(head.length, ...cells.map((row) => row[i]?.length ?? 0)));
  shrink(widths, width - 2 * (columns.length - 1), columns, (i) =>
    Math.max(0, ...cells.map((row) => longestWord(item(row, i)))),
  );
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
    wrapOnWordBoundary: longestWord(content) <= item(widths, i),
  });
  drawn.push(...cells.map((row) => row.map(cellOf)));
  const [head = '', ...body] = drawn.toString().replaceAll(/ +$/gm, '').split('\n');
  return [painted(process.stdout, 'bold', head), ...body].join('\n');
}

/** One line a layer: name, bar, bits; the longest bar has the most bits. */
export function bitBars(
  layers: readonly {readonly name: string; readonly bits: number}[],
  width = terminalWidth() ?? 100,
): string {
  const most = Math.max(1, ...layers.map(({bits}) => bits));
  const names = Math.min(Math.max(0, ...layers.map(({name}) => name.length)), Math.floor(width / 2));
  const room = Math.max(8, Math.min(40, width - names - 12));
  return layers
    .map(({name: text, bits}) => {
      const name = oneLine(text);
      const label = name.length > names ? `${name.slice(0, names - 1)}…` : name.padEnd(names);
      return `${label}  ${'█'.repeat(Math.round((bits / most) * room)).padEnd(room)} ${bits} ${bits === 1 ? 'bit' : 'bits'}`;
    })
    .join('\n');
}

/** Text in lines of at most `width`, broken at spaces; a longer word has a line for itself. */
export function wrapped(text: string, width = terminalWidth() ?? Infinity): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line].join('\n');
}
