/**
 * `folding_config.json` of FINN (Xilinx/finn): how many processing elements (PE) and inputs each (SIMD) the hardware of each layer has.
 * FINN numbers the units of each type (MVAU_rtl, MVAU_hls, VVAU_hls) in the order of the network.
 */
import {isRtl} from '../../hardware/finn-unit.ts';
import {item} from '../../lookup.ts';
import type {StrategyFormatDefinition} from '../../plugin-api/registry.ts';
import {formatError} from './checks.ts';

export const finn: StrategyFormatDefinition = {
  kind: 'strategy-format',
  name: 'finn',
  summary: 'FINN’s folding_config.json, with PE and SIMD as the cost model chose them.',
  extension: 'folding_config.json',

  print({layers}, {costs: costsOnBoard}) {
    if (costsOnBoard === undefined) {
      throw formatError('The folding of FINN is chosen for a board.', ['Name one: --to finn-zcu102.']);
    }
    const costs = costsOnBoard();
    const config: Record<string, object> = {Defaults: {}};
    /** FINN counts the nodes of each type by themselves (GiveUniqueNodeNames after SpecializeLayers). */
    const next = new Map<string, number>();
    layers.forEach(({name, depthwise, weightBits, activationBits}, l) => {
      const {pe, simd, bram18 = 0, uram = 0} = item(costs.layers, l).details ?? {};
      if (pe === undefined || simd === undefined) {
        throw formatError(`The cost model of this hardware chooses no PE and SIMD (layer "${name}").`, [
          'Name a board of FINN: --to finn-zcu102.',
        ]);
      }
      const kind = isRtl({depthwise, weightBits, activationBits}) ? 'rtl' : 'hls';
      const type = `${depthwise === true ? 'VVAU' : 'MVAU'}_${kind}`;
      const index = next.get(type) ?? 0;
      next.set(type, index + 1);
      config[`${type}_${index}`] = {
        PE: pe,
        SIMD: simd,
        ram_style: uram > 0 ? 'ultra' : bram18 > 0 ? 'block' : 'distributed',
        // FINN takes UltraRAM for weights that can be written while it runs.
        ...(uram > 0 ? {runtime_writeable_weights: 1} : {}),
        resType: kind === 'rtl' ? 'dsp' : 'lut',
      };
    });
    return {
      text: `${JSON.stringify(config, null, 2)}\n`,
      notes: [
        'Build with standalone_thresholds: True: units in RTL cannot hold thresholds, and the names count on them.',
        'Sliding windows and thresholds keep FINN’s defaults.',
      ],
    };
  },
};
