import {mlflowTracker} from '../../../../src/plugins/trackers/mlflow/index.ts';
import type {TrackerDefinition} from '../../../../src/plugin-api/registry.ts';
import {fakeMlflow} from '../../../helpers/fake-mlflow.ts';
import {trackerFaultSuite} from '../../../helpers/tracker-suite.ts';

trackerFaultSuite('mlflow', {
  define: (timeoutMs) => mlflowTracker(timeoutMs) as unknown as TrackerDefinition,
  options: {experiment: 'faults', artifacts: ['strategy', 'table']},
  env: (url) => ({MLFLOW_TRACKING_URI: url, MLFLOW_TRACKING_USERNAME: 'me', MLFLOW_TRACKING_PASSWORD: 'geheim-42'}),
  service: fakeMlflow,
  secret: 'geheim-42',
});
