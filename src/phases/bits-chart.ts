/** The bits per layer of a strategy as a picture, for the pages of trackers. */
import {existsSync} from 'node:fs';

import {bitsOfLayers, type LayerBars} from '../report/charts.ts';
import {loadSharp} from '../data/sharp.ts';

export interface Picture {
  readonly png: Uint8Array;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
}

/** The chart has no colours of its own. */
const style = 'text{fill:#333;font:11px sans-serif}.grid{stroke:#ddd}.f0{fill:#1f5f99}.f1{fill:#d9822b}';
/** 144 per inch are two pixels for each of the chart's. */
const density = 144;

/** @throws SdqError (exit 6) when `sharp` cannot be loaded */
export async function bitsChart({layers}: {readonly layers: readonly LayerBars[]}): Promise<Picture> {
  const sharp = await loadSharp();
  const chart = bitsOfLayers(layers).replace(
    '>',
    `><style>${style}</style><rect width="100%" height="100%" fill="white"/>`,
  );
  // Without fonts each text would be a complaint of fontconfig on stderr.
  const hasFonts = process.platform !== 'linux' || existsSync('/etc/fonts/fonts.conf');
  const svg = hasFonts ? chart : chart.replaceAll(/<text.*?<\/text>/g, '');
  const {data, info} = await sharp(Buffer.from(svg), {density}).png().toBuffer({resolveWithObject: true});
  return {png: data, width: info.width, height: info.height};
}
