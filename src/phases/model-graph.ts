/** The graph of a model for commands that need no tensors: data set and task, where they are there, say its input and outputs. */
import type {Config} from '../config/config-types.ts';
import {sampleShape} from '../data/dataset.ts';
import {SdqError} from '../errors.ts';
import type {Graph} from '../graph/graph.ts';
import {selectDataset} from './inspect-dataset.ts';
import type {ModelContext, ModelDefinition, Registry} from '../plugin-api/registry.ts';
import {buildModel} from './build-model.ts';
import {taskGraph} from './task-graph.ts';

/**
 * @param name of the model; the config's options count where it is the config's model
 * @param notice told when the config's data set cannot be opened: the graph is then the model's default one
 * @throws SdqError (exit 3) for an unknown name or options that the model refuses
 */
export async function modelGraph(
  config: Config,
  registry: Registry,
  name: string,
  notice: (message: string) => void,
): Promise<Graph> {
  const definition = registry.get('model', name);
  const options = config.model?.name === name ? config.model.options : {};
  const task = taskOf(config, definition);
  const context = await dataContext({...config, task}, registry, notice);
  const graph = buildModel(definition, context ?? definition.defaults, options);
  return taskGraph({graph, task, classes: context?.classes}, registry, notice);
}

/** That of the config, unless the network is made for another one. */
export function taskOf({task}: Pick<Config, 'task'>, definition: ModelDefinition): Config['task'] {
  if (definition.task === undefined || definition.task === task.name) return task;
  return {name: definition.task, options: {}};
}

/** Input and outputs that the config's data set asks for; undefined where there is none, and with a notice where it cannot be opened. */
export async function dataContext(
  {data, task}: Pick<Config, 'data' | 'task'>,
  registry: Registry,
  notice: (message: string) => void,
): Promise<ModelContext | undefined> {
  if (data === undefined) return undefined;
  const {definition, directory, options} = selectDataset(registry, data.name, data);
  try {
    const dataset = await definition.open(directory, options);
    return {
      classes: registry.get('task', task.name).outputs(dataset, task.options),
      inputShape: sampleShape(dataset),
    };
  } catch (error) {
    if (!(error instanceof SdqError)) throw error;
    notice(`The model's default input and classes are taken: ${error.message}`);
    return undefined;
  }
}
