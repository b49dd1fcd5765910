/** The part of a network that its task uses, where a file has several outputs. */
import type {Config} from '../config/config-types.ts';
import {invalidInput} from '../errors.ts';
import type {Graph} from '../graph/graph.ts';
import {withClasses} from '../graph/head.ts';
import {withOutputs} from '../graph/reachable.ts';
import {inferShapes} from '../graph/shape.ts';
import {entry, item} from '../lookup.ts';
import type {NetworkOutput, Registry} from '../plugin-api/registry.ts';

/** A network and what is asked of it. */
interface TaskNetwork {
  readonly graph: Graph;
  readonly task: Config['task'];
  /** Values that the task needs of its output for one image; undefined where no data set says so. */
  readonly classes: number | undefined;
  /** The task's options name an output of the network that is trained: a teacher with one output has no other. */
  readonly isTeacher?: boolean;
}

/**
 * A network for other classes gets last layers for those of the data set, as built-in models have them: no weights fit these yet.
 * @param notice told which outputs are left out, where the config does not choose
 * @returns the graph itself where it has one output
 * @throws SdqError (exit 3) where no output, or not the chosen one, fits
 */
export function taskGraph(
  {graph, task, classes, isTeacher = false}: TaskNetwork,
  registry: Registry,
  notice: (message: string) => void,
): Graph {
  const isOnlyOutput = graph.outputs.length === 1 && graph.refused === undefined;
  const shapes = inferShapes(graph);
  const outputs: readonly NetworkOutput[] = [
    ...graph.outputs.map((output) => ({name: output, shape: entry(shapes, output).shape})),
    ...[...(graph.refused ?? [])].map(([output, problem]) => ({name: output, shape: null, problem})),
  ];
  const definition = registry.get('task', task.name);
  const chosen =
    isOnlyOutput && isTeacher ? {names: graph.outputs} : definition.chooseOutputs?.(outputs, task.options, classes);
  if (chosen === undefined) return graph;
  const missing = chosen.names.filter((name) => !graph.outputs.includes(name));
  if (missing.length > 0) {
    throw invalidInput(
      'output-unknown',
      `The task ${task.name} learns ${quoted(chosen.names)}; ${graph.name} has ${quoted(graph.outputs)}.`,
    );
  }
  const [first = ''] = chosen.names;
  const shape = shapes.get(first)?.shape ?? [];
  const isRow = chosen.names.length === 1 && shape.length === 1;
  if (isRow && classes !== undefined && shape.join() !== `${classes}`) {
    const fitting = outputs.filter((output) => output.shape?.join() === `${classes}`);
    const changed = isTeacher || fitting.length > 0 ? undefined : withClasses(graph, first, classes);
    if (changed !== undefined) return taskGraph({graph: changed, task, classes}, registry, notice);
    throw invalidInput(
      'model-does-not-fit',
      `The output "${first}" of ${graph.name} has the shape [${shape.join(', ')}] for one image; the data set wants [${classes}].`,
      fitting.length > 0
        ? fitting.map((output) => `--set task.options.output=${output.name}`)
        : [`Use a network with ${classes} outputs.`],
    );
  }
  if (isOnlyOutput) return graph;
  if (chosen.notice !== undefined) notice(chosen.notice);
  return withOutputs(
    graph,
    chosen.names.map((output) => logitsOf(graph, output)),
  );
}

const quoted = (names: readonly string[]): string => names.map((name) => `"${name}"`).join(', ');

/** What a Softmax over the classes reads: losses and teachers want logits, and the first class is the same. */
function logitsOf(graph: Graph, output: string): string {
  const node = graph.nodes.find(({outputs}) => outputs.includes(output));
  const isSoftmax = node?.op === 'Softmax' || node?.op === 'LogSoftmax';
  return isSoftmax && entry(inferShapes(graph), output).shape.length === 1 ? item(node.inputs, 0) : output;
}
