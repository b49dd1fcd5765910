/** The network of a model definition for the inputs of a data set. */
import {invalidInput} from '../errors.ts';
import type {Graph} from '../graph/graph.ts';
import type {ModelContext, ModelDefinition} from '../plugin-api/registry.ts';

/** @throws SdqError (exit 3) for rows of numbers where the model takes images, or options that it refuses */
export function buildModel(
  definition: ModelDefinition,
  context: ModelContext,
  options: Readonly<Record<string, unknown>>,
): Graph {
  const {inputShape} = context;
  if (inputShape.length === 3 || definition.takesRows === true) return definition.build(context, options);
  throw invalidInput(
    'model-does-not-fit',
    `The model ${definition.name} takes images; the data set has rows of ${inputShape.join(' × ')} numbers.`,
    ['--set model.name=mlp', 'A network of your own: --set model.name=onnx'],
  );
}
