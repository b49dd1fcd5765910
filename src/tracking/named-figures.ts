/** The load of the machine under the names of a tracker. */

/** Name at the tracker; name of the figure, where `N` stands for the number of a GPU; what it is divided by. */
export type FigureName = readonly [name: string, figure: string, divisor: number];

/** @param metrics of `systemMetrics`; figures that it lacks are left out */
export function namedFigures(
  names: readonly FigureName[],
  metrics: Readonly<Record<string, number>>,
): Readonly<Record<string, number>> {
  const gpus = Object.keys(metrics).flatMap((figure) => /^gpu\.(\d+)\.memoryBytes$/.exec(figure)?.slice(1) ?? []);
  const all = names.flatMap(([name, figure, divisor]): readonly FigureName[] =>
    figure.startsWith('gpu.N.')
      ? gpus.map((gpu) => [name.replace('N', gpu), figure.replace('N', gpu), divisor])
      : [[name, figure, divisor]],
  );
  return Object.fromEntries(
    all.flatMap(([name, figure, divisor]): [string, number][] => {
      const value = metrics[figure];
      return value === undefined ? [] : [[name, value / divisor]];
    }),
  );
}
