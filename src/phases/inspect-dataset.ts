/** A data set by its name: its folder and options, and what the `data` commands say about it. */

import {datasetFolder} from '../data/cache.ts';
import type {Dataset, SplitBoxes} from '../data/dataset.ts';
import {writeFileAtomic} from '../files.ts';
import {item} from '../lookup.ts';
import type {DatasetDefinition, Registry} from '../plugin-api/registry.ts';
import {contactSheet} from './contact-sheet.ts';

/** The part of the config that is about the data. */
interface DataConfig {
  readonly name: string;
  readonly directory?: string;
  readonly options?: Readonly<Record<string, unknown>>;
}

export interface SelectedDataset {
  readonly definition: DatasetDefinition;
  /** The folder of its files. */
  readonly directory: string;
  readonly options: Readonly<Record<string, unknown>>;
}

export interface Inspection {
  readonly name: string;
  /** The folder of its files. */
  readonly path: string;
  /** Images; null when the files are not as they should be. */
  readonly splits: {readonly train: number; readonly test: number} | null;
  readonly verified: boolean;
  readonly problems: readonly string[];
  /** What was left out or changed in the files, and the number of boxes of each class: full sentences. */
  readonly notices: readonly string[];
}

/** Folder and options are the config's where it is about this data set, else the cache's and none. */
export function selectDataset(registry: Registry, name: string, data: DataConfig | undefined): SelectedDataset {
  const configured = data?.name === name ? data : undefined;
  return {
    definition: registry.get('dataset', name),
    directory: datasetFolder(configured ?? {name}),
    options: configured?.options ?? {},
  };
}

/**
 * Checks every file.
 * @param sheet PNG file that is written with some training images, where all is well
 * @throws SdqError when files that pass the check cannot be opened all the same
 */
export async function inspectDataset(
  {definition, directory, options}: SelectedDataset,
  sheet?: string,
): Promise<Inspection> {
  const problems = await definition.verify(directory, options);
  const about = {name: definition.name, path: directory, problems};
  if (problems.length > 0) return {...about, splits: null, verified: false, notices: []};
  const dataset = await definition.open(directory, options);
  if (sheet !== undefined) writeFileAtomic(sheet, await contactSheet(dataset));
  const {notices = [], test, train} = dataset;
  return {
    ...about,
    splits: {train: train.labels.length, test: test.labels.length},
    verified: true,
    notices: [...notices, ...objectCounts(dataset)],
  };
}

/** A sentence with the objects of each class, where the data set has boxes: a misspelt class is one of few objects. */
function objectCounts({classes, test, train}: Dataset): readonly string[] {
  if (train.boxes === undefined || test.boxes === undefined) return [];
  const countsOf = ({classes: indices}: SplitBoxes): Uint32Array => {
    const counts = new Uint32Array(classes.length);
    for (const index of indices) counts[index] = item(counts, index) + 1;
    return counts;
  };
  const [ofTrain, ofTest] = [countsOf(train.boxes), countsOf(test.boxes)];
  const counts = classes.map((name, index) => `${name} ${item(ofTrain, index)} and ${item(ofTest, index)}`);
  return [`Boxes in train and test: ${counts.join(', ')}.`];
}
