import {wandbTracker} from '../../../../src/plugins/trackers/wandb/index.ts';
import type {TrackerDefinition} from '../../../../src/plugin-api/registry.ts';
import {fakeWandb} from '../../../helpers/fake-wandb.ts';
import {trackerFaultSuite} from '../../../helpers/tracker-suite.ts';

trackerFaultSuite('wandb', {
  define: (timeoutMs) => wandbTracker(timeoutMs) as unknown as TrackerDefinition,
  options: {project: 'faults', tags: [], transport: 'http', metricNames: 'quantity', artifacts: ['strategy', 'table']},
  env: (url, folder) => ({WANDB_BASE_URL: url, WANDB_API_KEY: 'geheim-42', HOME: folder}),
  service: fakeWandb,
  secret: 'geheim-42',
});
