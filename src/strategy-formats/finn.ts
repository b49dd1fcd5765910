/**
 * `folding_config.json` of FINN (Xilinx/finn): how many processing elements (PE) and inputs each (SIMD) the hardware of each layer has.
 * FINN numbers the matrix-vector units in the order of the network.
 */
import {formatError, type StrategyFormat} from './format.ts';

export const finn: StrategyFormat = {
  name: 'finn',
  summary: 'FINN’s folding_config.json, with PE and SIMD as the cost model chose them.',
  extension: 'folding_config.json',

  print({layers}, {costs}) {
    if (costs === undefined) {
      throw formatError('The folding of FINN is chosen for a board.', ['Name one: --to finn-zcu102.']);
    }
    const config: Record<string, object> = {Defaults: {}};
    const next = {MVAU: 0, VVAU: 0};
    layers.forEach(({name, depthwise, weightBits, activationBits}, l) => {
      const {pe, simd} = costs.layers[l]!.details ?? {};
      if (pe === undefined || simd === undefined) {
        throw formatError(`The cost model of this hardware chooses no PE and SIMD (layer "${name}").`, [
          'Name a board of FINN: --to finn-zcu102.',
        ]);
      }
      const unit = depthwise === true ? 'VVAU' : 'MVAU';
      // FINN's own choice: RTL where both operands have at least 4 bits; depthwise units in RTL are for Versal alone.
      const kind = unit === 'MVAU' && weightBits >= 4 && activationBits >= 4 ? 'rtl' : 'hls';
      config[`${unit}_${kind}_${next[unit]++}`] = {
        PE: pe,
        SIMD: simd,
        ram_style: 'auto',
        resType: kind === 'rtl' ? 'dsp' : 'auto',
      };
    });
    return {
      text: `${JSON.stringify(config, null, 2)}\n`,
      notes: [
        'Names are those that FINN gives the units in network order; sliding windows and thresholds keep their defaults.',
      ],
    };
  },
};
