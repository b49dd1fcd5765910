/** Bitwidths from what each costs alone: no training. */
import {invalidInput} from '../../../errors.ts';
import type {SearcherDefinition} from '../../../plugin-api/registry.ts';

export const sensitivity: SearcherDefinition = {
  kind: 'searcher',
  name: 'sensitivity',
  summary: 'Measures what each bitwidth of each layer costs in loss, then solves for the best that keeps every target.',
  optionsSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      score: {
        description:
          'What a bitwidth costs: `loss` measures the loss with it, `taylor` takes squared gradients times squared rounding errors, `hessian` the trace of the Hessian times the squared rounding error of the weights. The last two need no forward pass for each bitwidth.',
        enum: ['loss', 'taylor', 'hessian'],
        default: 'loss',
      },
    },
  },
  prepare(settings) {
    if (settings.options?.['score'] === 'hessian' && typeof settings.activationBits !== 'number') {
      throw invalidInput(
        'score-of-weights-only',
        '/search/options/score is hessian, which scores weights only; /search/activationBits is a list.',
        ['Take score: taylor or score: loss, or one number of activation bits.'],
      );
    }
    return settings;
  },
  async load() {
    const {sensitivitySearcher} = await import('./search.ts');
    return sensitivitySearcher;
  },
};
