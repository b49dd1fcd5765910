/** Bitwidths from what each costs alone: no training. */
import type {SearcherDefinition} from '../../../plugin-api/registry.ts';
import {checkScore, scoreSchema} from './options.ts';

export const sensitivity: SearcherDefinition = {
  kind: 'searcher',
  name: 'sensitivity',
  summary: 'Measures what each bitwidth of each layer costs in loss, then solves for the best that keeps every target.',
  optionsSchema: scoreSchema('loss'),
  prepare: checkScore,
  async load() {
    const {sensitivitySearcher} = await import('./search.ts');
    return sensitivitySearcher;
  },
};
