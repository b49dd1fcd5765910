/** A page that is complete by itself: no script, nothing from elsewhere. */
import {escaped} from './charts.ts';

export interface Tile {
  readonly label: string;
  readonly value: string;
  /** A line below it. */
  readonly note?: string;
}

export interface Section {
  readonly heading: string;
  /** A sentence below it. */
  readonly note?: string;
  /** HTML, side by side where there is room; undefined ones are left out, and with them a section that has no other. */
  readonly parts: readonly (string | undefined)[];
}

export interface Page {
  readonly title: string;
  readonly subtitle: string;
  readonly tiles: readonly Tile[];
  readonly sections: readonly Section[];
}

/** @param rows texts; numbers stand to the right */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cell = (value: string | number): string =>
    typeof value === 'number' ? `<td class="number">${value.toLocaleString('en')}</td>` : `<td>${escaped(value)}</td>`;
  const body = rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`).join('');
  return `<table><thead><tr>${head.map((name) => `<th>${escaped(name)}</th>`).join('')}</tr></thead><tbody>${body}</tbody></table>`;
}

/** Preformatted text, folded away. */
export function folded(summary: string, content: string): string {
  return `<details><summary>${escaped(summary)}</summary><pre>${escaped(content)}</pre></details>`;
}

/**
 * A chart with its title.
 * @param wide it has a row of its own
 */
export function figure(
  title: string,
  chart: string | undefined,
  {wide = false}: {readonly wide?: boolean} = {},
): string | undefined {
  const open = wide ? '<figure class="wide">' : '<figure>';
  return chart === undefined ? undefined : `${open}<figcaption>${escaped(title)}</figcaption>${chart}</figure>`;
}

/** Small images, each with a caption. */
export function gallery(images: readonly {readonly source: string; readonly caption: string}[]): string | undefined {
  if (images.length === 0) return undefined;
  const one = ({caption, source}: {readonly source: string; readonly caption: string}): string =>
    `<figure><img src="${escaped(source)}" alt="${escaped(caption)}"/>${escaped(caption)}</figure>`;
  return `<div class="images">${images.map(one).join('')}</div>`;
}

const style = `
:root { color-scheme: light dark; --text: #222; --soft: #667; --line: #d8dce2; --back: #fff; --tile: #f4f6f9;
  --c0: #1f5f99; --c1: #d9822b; --c2: #2e8b57; --c3: #b03a5b; --c4: #7a5fb0; --c5: #6b6b6b; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e6ea; --soft: #9aa3b0; --line: #3a4048; --back: #16191d; --tile: #20252b;
  --c0: #6cb0ee; --c1: #f0a860; --c2: #66c796; --c3: #ec7f9d; --c4: #b39ce8; --c5: #b0b0b0; } }
body { margin: 0 auto; max-width: 1120px; padding: 24px; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 18px; margin: 32px 0 4px; } p { color: var(--soft); margin: 0 0 8px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin-top: 16px; }
.tile { background: var(--tile); border-radius: 8px; padding: 10px 16px; min-width: 130px; }
.tile b { display: block; font-size: 24px; } .tile span { color: var(--soft); font-size: 13px; display: block; }
.parts { display: flex; flex-wrap: wrap; gap: 16px; align-items: flex-start; }
.parts > * { flex: 1 1 500px; min-width: 0; margin: 0; overflow-x: auto; } figcaption { font-weight: 600; font-size: 14px; }
figure.wide { flex-basis: 100%; } figure.wide svg { min-width: 760px; } figure:not(.wide) svg, .parts > svg { max-width: 600px; }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; } svg text { fill: var(--text); pointer-events: none; } svg text.on { fill: var(--back); } svg tspan.f0 { fill: var(--c0); } svg tspan.f1 { fill: var(--c1); }
.hit { fill: transparent; } .hit:hover { fill: var(--text); fill-opacity: 0.5; }
.images { display: flex; flex-wrap: wrap; gap: 12px; } .images figure { margin: 0; width: 120px; font-size: 12px; overflow-wrap: anywhere; }
.images img { width: 96px; height: 96px; object-fit: contain; image-rendering: pixelated; display: block; }
.boxes { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; margin-bottom: 12px; } figure.wide .boxes svg { min-width: 0; }
.boxes rect { fill: transparent; stroke-width: 1.5; } .boxes .truth { stroke: #fff; stroke-dasharray: 4 3; stroke-width: 1; }
.boxes svg text { font-size: 8px; fill: #fff; stroke: #000; stroke-width: 2; paint-order: stroke; }
.grid { stroke: var(--line); } .line { fill: none; stroke-width: 1.6; stroke-linejoin: round; stroke-linecap: round; }
.dot { stroke-width: 6; } .thin { stroke-width: 1.2; } .thin:hover { stroke-width: 3; } .lead { stroke-width: 0.7; stroke-opacity: 0.6; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); } .c3 { stroke: var(--c3); } .c4 { stroke: var(--c4); }
.c5 { stroke: var(--c5); } .f0, .heat { fill: var(--c0); } .f1 { fill: var(--c1); }
table { border-collapse: collapse; font-size: 13px; } th { text-align: left; } th, td { border-bottom: 1px solid var(--line); padding: 3px 10px 3px 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; } pre { overflow-x: auto; font-size: 13px; }
h1, p { overflow-wrap: anywhere; }
@media (max-width: 560px) { body { padding: 12px; } .tiles { gap: 8px; } .tile { flex: 1 1 120px; min-width: 0; padding: 8px 10px; }
  .tile b { font-size: 19px; } table { font-size: 12px; } th, td { padding-right: 5px; } td:first-child { overflow-wrap: anywhere; } .parts > table { display: block; } .parts > * { flex-basis: 100%; max-width: 100%; } }
@media print { :root { color-scheme: light; --text: #000; --soft: #444; --line: #bbb; --back: #fff; --tile: #f4f6f9; --c0: #1f5f99; --c1: #d9822b; --c2: #2e8b57;
  --c3: #b03a5b; --c4: #7a5fb0; --c5: #6b6b6b; } body { max-width: none; padding: 0; } .parts > * { overflow: visible; }
  figure.wide svg { min-width: 0; } figure, svg, tr, .tile { break-inside: avoid; } h2 { break-after: avoid; } .tile { border: 1px solid var(--line); } }
`;

/** The HTML of the page; it is XML too. */
export function html({sections, subtitle, tiles, title}: Page): string {
  const tile = ({label, note, value}: Tile): string =>
    `<div class="tile"><span>${escaped(label)}</span><b>${escaped(value)}</b><span>${escaped(note ?? '')}</span></div>`;
  const shown = sections
    .map((section) => ({...section, parts: section.parts.filter((part) => part !== undefined)}))
    .filter(({parts}) => parts.length > 0)
    .map(({heading, note, parts}) => {
      const paragraph = note === undefined ? '' : `<p>${escaped(note)}</p>`;
      return `<h2>${escaped(heading)}</h2>${paragraph}<div class="parts">${parts.join('\n')}</div>`;
    });
  return `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>${escaped(title)}</title><style>${style}</style></head>
<body><h1>${escaped(title)}</h1><p>${escaped(subtitle)}</p>
<div class="tiles">${tiles.map(tile).join('')}</div>
${shown.join('\n')}
</body></html>
`;
}
