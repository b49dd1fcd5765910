/** Bitwidths from the loss that each costs alone: no training. */
import type {SearcherDefinition} from '../../../plugin-api/registry.ts';

export const sensitivity: SearcherDefinition = {
  kind: 'searcher',
  name: 'sensitivity',
  summary: 'Measures what each bitwidth of each layer costs in loss, then solves for the best that keeps every target.',
  async load() {
    const {sensitivitySearcher} = await import('./search.ts');
    return sensitivitySearcher;
  },
};
