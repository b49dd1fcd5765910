/** The built-ins enter by the same hook as a plugin does. A kind is loaded only when the command at hand wants it. */
import type {RegisterHook} from '../plugin-api/registry.ts';

const register: RegisterHook = async ({registry}) => {
  if (registry.wants('engine')) {
    const {engines} = await import('../plugins/engines/index.ts');
    for (const engine of engines) registry.add(engine);
  }
  if (registry.wants('dataset')) {
    const {datasets} = await import('../plugins/datasets/index.ts');
    for (const dataset of datasets) registry.add(dataset);
  }
  if (registry.wants('model')) {
    const {models} = await import('../plugins/models/index.ts');
    for (const model of models) registry.add(model);
  }
  if (registry.wants('task')) {
    const {tasks} = await import('../plugins/tasks/index.ts');
    for (const task of tasks) registry.add(task);
  }
  if (registry.wants('weight-quantizer') || registry.wants('activation-quantizer')) {
    const {activationQuantizers, weightQuantizers} = await import('../plugins/quantizers/index.ts');
    for (const quantizer of [...weightQuantizers, ...activationQuantizers]) registry.add(quantizer);
  }
  if (registry.wants('searcher')) {
    const {searchers} = await import('../plugins/searchers/index.ts');
    for (const searcher of searchers) registry.add(searcher);
  }
  if (registry.wants('cost-model')) {
    const {costModels} = await import('../plugins/cost-models/index.ts');
    for (const costModel of costModels) registry.add(costModel);
  }
  if (registry.wants('exporter')) {
    const {exporters} = await import('../plugins/exporters/index.ts');
    for (const exporter of exporters) registry.add(exporter);
  }
  if (registry.wants('strategy-format')) {
    const {strategyFormats} = await import('../plugins/strategy-formats/index.ts');
    for (const format of strategyFormats) registry.add(format);
  }
  if (registry.wants('tracker')) {
    const {trackers} = await import('../plugins/trackers/index.ts');
    for (const tracker of trackers) registry.add(tracker);
  }
};

export default register;
