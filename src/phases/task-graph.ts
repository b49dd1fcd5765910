/** The part of a network that its task uses, where a file has several outputs. */
import type {Config} from '../config/config-types.ts';
import {ExitCode, SdqError} from '../errors.ts';
import type {Graph} from '../graph/graph.ts';
import {withOutputs} from '../graph/reachable.ts';
import {inferShapes} from '../graph/shape.ts';
import {entry, item} from '../lookup.ts';
import type {NetworkOutput, Registry} from '../plugin-api/registry.ts';

/**
 * @param classes values that the task needs of its output for one image; undefined where no data set says so
 * @param notice told which outputs are left out, where the config does not choose
 * @returns the graph itself where it has one output
 * @throws SdqError (exit 3) where no output, or not the chosen one, fits
 */
export function taskGraph(
  graph: Graph,
  {name, options}: Config['task'],
  registry: Registry,
  classes: number | undefined,
  notice: (message: string) => void,
): Graph {
  if (graph.outputs.length === 1 && graph.refused === undefined) return graph;
  const shapes = inferShapes(graph);
  const outputs: readonly NetworkOutput[] = [
    ...graph.outputs.map((output) => ({name: output, shape: entry(shapes, output).shape})),
    ...[...(graph.refused ?? [])].map(([output, problem]) => ({name: output, shape: null, problem})),
  ];
  const chosen = registry.get('task', name).chooseOutputs?.(outputs, options);
  if (chosen === undefined) return graph;
  const [first = ''] = chosen.names;
  const shape = shapes.get(first)?.shape ?? [];
  if (chosen.names.length === 1 && classes !== undefined && shape.join() !== `${classes}`) {
    const fitting = outputs.filter((output) => output.shape?.join() === `${classes}`);
    throw new SdqError(
      `The output "${first}" of ${graph.name} has the shape [${shape.join(', ')}] for one image; the data set wants [${classes}].`,
      {
        code: 'model-does-not-fit',
        exit: ExitCode.invalidInput,
        suggestions: fitting.map((output) => `--set task.options.output=${output.name}`),
      },
    );
  }
  if (chosen.notice !== undefined) notice(chosen.notice);
  return withOutputs(
    graph,
    chosen.names.map((output) => logitsOf(graph, output)),
  );
}

/** What a Softmax over the classes reads: losses and teachers want logits, and the first class is the same. */
function logitsOf(graph: Graph, output: string): string {
  const node = graph.nodes.find(({outputs}) => outputs.includes(output));
  const isSoftmax = node?.op === 'Softmax' || node?.op === 'LogSoftmax';
  return isSoftmax && entry(inferShapes(graph), output).shape.length === 1 ? item(node.inputs, 0) : output;
}
