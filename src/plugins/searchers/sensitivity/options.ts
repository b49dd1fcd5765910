/** `search.options` of the methods that score bitwidths. */
import {invalidInput} from '../../../errors.ts';
import type {OptionsSchema} from '../../../plugin-api/registry.ts';
import type {SearchSettings} from '../../../plugin-api/searcher.ts';

const scores = ['loss', 'taylor', 'hessian'] as const;
type Score = (typeof scores)[number];

/** @param standard the score of a config that names none */
export function scoreSchema(standard: Score): OptionsSchema {
  return {
    type: 'object',
    additionalProperties: false,
    properties: {
      score: {
        description:
          'What a bitwidth costs: `loss` measures the loss with it, `taylor` takes squared gradients times squared rounding errors, `hessian` the trace of the Hessian times the squared rounding error of the weights. The last two need no forward pass for each bitwidth.',
        enum: [...scores],
        default: standard,
      },
    },
  };
}

/** @throws SdqError (exit 3) for a score that does not cover what is searched */
export function checkScore(settings: SearchSettings): SearchSettings {
  if (settings.options?.['score'] === 'hessian' && typeof settings.activationBits !== 'number') {
    throw invalidInput(
      'score-of-weights-only',
      '/search/options/score is hessian, which scores weights only; /search/activationBits is a list.',
      ['Take score: taylor or score: loss, or one number of activation bits.'],
    );
  }
  return settings;
}
